"""Samples of a data set, drawn at random or selected by id, with one label per image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deconv.datasets.batches import Arrays, as_batches, whole_numbers
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_positive, check_seed

PIXELS = "pixels"
"""Name of the input image where layers are listed."""


class Drawn(NamedTuple):
    """A sample of the images of a data set.

    Attributes:
        images: `(n, height, width, channels)`, as the data set gives them.
        labels: int64 `(n,)`; -1 where there is none.
        ids: int64 `(n,)`.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


def draw(dataset: Any, count: int, seed: int = 0, *, even: bool = False) -> Drawn:
    """Draw images of a data set without replacement, returned in the order of the data set.

    Args:
        dataset: An `ImageSet`; or an array of images, or arrays `(images, labels)` or `(images, labels, ids)`. Without
            ids, images are numbered.
        count: Maximum number of images.
        seed: Seed of the draw.
        even: Whether to draw the same number of each class, or all of a class that has fewer; images without a label
            are then omitted.

    Returns:
        `Drawn`.

    Raises:
        ValueError: If the data set is of another kind, or has no labels where they are needed.
    """
    check_positive("images", count)
    labels, ids, pick = listing(dataset, needs_labels=even)
    random = np.random.default_rng(check_seed(seed))
    if even:
        classes = np.unique(labels[labels >= 0])
        each = max(1, count // max(1, len(classes)))
        of_classes = [random.permutation(np.flatnonzero(labels == label))[:each] for label in classes]
        places = np.sort(np.concatenate([*of_classes, np.empty(0, np.int64)]))
    else:
        places = np.sort(random.permutation(len(ids))[:count])
    if not len(places):
        raise ValueError(f"The data set must have at least one image{' with a label' if even else ''}; it has none.")
    return Drawn(pick(places), labels[places], ids[places])


def listing(
    dataset: Any, needs_labels: bool = False
) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Labels and ids of a data set, int64 `(n,)` each, and a function from positions to images.

    Args:
        dataset: As for `draw`.
        needs_labels: Whether each image must have one label. If False, missing labels are -1, as are those of a set
            with several labels per image.

    Raises:
        ValueError: If the data set is of another kind, or has no labels, or several per image, where one is needed.
    """
    if hasattr(dataset, "listing") and hasattr(dataset, "pick"):
        labels, ids = dataset.listing()
        if needs_labels:
            check_one_label(labels, dataset.name)
        labels = labels.astype(np.int64) if labels.ndim == 1 else np.full(len(ids), -1)
        return labels, ids, lambda places: dataset.pick(ids[places])
    source = as_batches(dataset)
    if not isinstance(source, Arrays) or source.images.ndim != 4 or (needs_labels and source.labels is None):
        raise ValueError(
            "The data set must be an ImageSet, or arrays (images, labels) with images (n, height, width, channels); "
            f"received {type(dataset).__name__}."
        )
    images, count = np.asarray(source.images), len(source.images)
    labels = np.full(count, -1) if source.labels is None else whole_numbers("labels", source.labels)
    ids = np.arange(count) if source.ids is None else whole_numbers("ids", source.ids)
    return labels, ids, lambda places: images[places]


def check_one_label(labels: ArrayLike, name: str) -> None:
    """Check that each image of a data set has one label.

    Raises:
        ValueError: If the labels are `(n, classes)`.
    """
    if np.ndim(labels) != 1:
        raise ValueError(
            f"An image of '{name}' may belong to several classes, but one label per image is needed; use another data "
            "set. For several classes per image, see deconv.probing.linear_classifiers.average_precisions."
        )
