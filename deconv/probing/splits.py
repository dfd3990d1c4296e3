"""Random splits of a data set into training and test images, in several folds (section 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deconv.runtime.dtypes import any_array
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_positive, check_seed


class Fold(NamedTuple):
    """Training and test images of one fold.

    Attributes:
        train: `(classes, n)` ints, indices in the data set; the first m of each row are the draw of m per class.
        test: `(tests,)` ints, other indices.
    """

    train: np.ndarray
    test: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


def draw_folds(
    labels: ArrayLike,
    per_class: int | Sequence[int] | np.ndarray,
    test_per_class: int = 50,
    folds: int = 5,
    seed: int = 0,
) -> list[Fold]:
    """Draw images of each class for training and others for testing, several times.

    Args:
        labels: Ints `(n,)`; those below zero belong to no class.
        per_class: Number of training images per class; of several numbers the largest.
        test_per_class: Largest number of test images per class; a class with fewer images left uses all of them.
        folds: Number of draws, each independent of the others.
        seed: Seed of the draws.

    Returns:
        List of `Fold`.

    Raises:
        ValueError: If there are fewer than two classes, or one has no image left for testing.
    """
    size = int(check_sizes(per_class).max())
    check_seed(seed)
    check_positive("test_per_class", test_per_class)
    labels = np.asarray(labels)
    classes, counts = np.unique(labels[labels >= 0], return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"The data set must have at least two classes; it has {len(classes)}.")
    if counts.min() <= size:
        smallest = counts.min()
        raise ValueError(
            f"Class {classes[counts.argmin()]} has {smallest} {'image' if smallest == 1 else 'images'}; {size} for "
            "training and at least one for testing are needed. Use a larger part of the data set"
            + (f", or at most per_class={smallest - 1}." if smallest > 1 else ".")
        )
    draws = []
    for number in range(check_positive("folds", folds)):
        random = np.random.default_rng([seed, number])
        mixed = [random.permutation(np.flatnonzero(labels == label)) for label in classes]
        train = np.stack([places[:size] for places in mixed])
        draws.append(Fold(train, np.concatenate([places[size : size + test_per_class] for places in mixed])))
    return draws


def class_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean of the classes' accuracies: all classes have equal weight, whatever their numbers of images."""
    _, places = np.unique(labels, return_inverse=True)
    return float((np.bincount(places, np.equal(labels, predicted)) / np.bincount(places)).mean())


def deviation(accuracy: np.ndarray) -> np.ndarray:
    """Standard deviation over the last axis, the folds (n - 1 in the denominator); NaN for a single fold."""
    if accuracy.shape[-1] == 1:
        return np.full(accuracy.shape[:-1], np.nan)
    return accuracy.std(axis=-1, ddof=1)


def check_sizes(per_class: int | Sequence[int] | np.ndarray) -> np.ndarray:
    """Sorted distinct numbers of images per class, as an int array."""
    return np.unique([check_positive("per_class", size) for size in np.atleast_1d(any_array(per_class)).tolist()])
