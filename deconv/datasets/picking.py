"""Images of any data set by their ids."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deconv.datasets.batches import as_batches


def images_by_id(dataset: Any, ids: ArrayLike, batch_size: int = 64) -> np.ndarray:
    """Read the images with the given ids; memory holds these and one batch.

    Args:
        dataset: Anything that `as_batches` accepts. An `ImageSet` decodes no other images. Any other data set is read
            from its start up to the last of these images. Without ids of its own, images are numbered in the order of
            reading, so that it must give the same images in the same order as when the ids were collected.
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
    wanted = set(ids.tolist())
    images: dict[int, np.ndarray] = {}
    for batch in as_batches(dataset).batches(batch_size):
        images |= {int(id): image for image, id in zip(batch.images, batch.ids, strict=True) if int(id) in wanted}
        if len(images) == len(wanted):
            break
    if missing := sorted(wanted - set(images)):
        raise ValueError(
            f"The data set has no image with the id {missing[0]}. A data set that is read twice must give the same "
            "images in the same order both times, or ids with them."
        )
    return np.stack([images[id] for id in ids.tolist()])
