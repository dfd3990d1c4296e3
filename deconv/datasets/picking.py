"""Images of any data set by their ids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deconv.datasets.batches import Arrays, as_batches


def images_by_id(dataset: Any, ids: ArrayLike, batch_size: int = 64) -> np.ndarray:
    """Read the images with the given ids; memory holds these and one batch.

    Args:
        dataset: Anything that `as_batches` accepts. An `ImageSet` decodes no other images, and arrays are indexed. Any
            other data set is read from its start up to the last of these images. Without ids of its own, images are
            numbered in the order of reading, so that it must give the same images in the same order as when the ids
            were collected.
        ids: `(n,)` ints; an id may occur more than once.
        batch_size: Images read at a time, if the data set is not in batches already.

    Returns:
        `(n, height, width, channels)`, in the order of the ids, as the data set gives them.

    Raises:
        ValueError: If the data set has no image with one of the ids.
    """
    ids = np.asarray(ids, np.int64)
    if hasattr(dataset, "pick"):
        return dataset.pick(ids)
    source, wanted = as_batches(dataset), np.unique(ids)
    if isinstance(source, Arrays):
        known = np.arange(len(source.images)) if source.ids is None else np.asarray(source.ids)
        places = np.flatnonzero(np.isin(known, wanted))
        present, images = known[places], np.asarray(source.images[places])
    else:
        present, images = _read(source, wanted, batch_size)
    if len(missing := np.setdiff1d(wanted, present)):
        raise ValueError(
            f"The data set has no image with the id {missing[0]}. A data set that is read twice must give the same "
            "images in the same order both times, or ids with them."
        )
    order = np.argsort(present, kind="stable")
    return images[order[np.searchsorted(present, ids, sorter=order)]]


def _read(source: Any, wanted: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and images of a data set whose ids are in `wanted`, read until all have been seen."""
    ids, images, remaining = [wanted[:0]], [], wanted
    for batch in source.batches(batch_size):
        places = np.flatnonzero(np.isin(batch.ids, wanted))
        ids.append(batch.ids[places])
        images.append(batch.images[places])
        remaining = np.setdiff1d(remaining, ids[-1])
        if not len(remaining):
            break
    return np.concatenate(ids), np.concatenate(images) if images else np.empty(0)
