"""Images turned upside down: is a network steady to a rotation that an object is symmetric under (Fig. 5 c)?"""

from typing import NamedTuple

import numpy as np

from deconv.diagnostics.invariance import invariance
from deconv.figures.published import Finding
from deconv.imaging.affine_transforms import transform

MOST, VALUES = 500, 2e7
"""Images that are turned, at most; fewer of large pictures, so that they have no more than 20 million values."""

SYMMETRIC, STEADY, FEWEST = 0.75, 0.75, 3
"""An image is symmetric if it correlates that much with itself turned; the predictions of symmetric images are steady
if that share of them stays; with fewer images of either sort nothing is said."""


class HalfTurn(NamedTuple):
    """What a turn by 180 degrees does to each of some images.

    Attributes:
        ids, labels: `(n,)`, which images, and their classes in the data.
        correlation: `(n,)`, of all pixel values with those of the turned image, see below.
        kept: `(n,)`, probability of the class in the turned image as a share of that in the image as it is.
        unchanged: `(n,)` bools, whether the most probable class is the same.
    """

    ids: np.ndarray
    labels: np.ndarray
    correlation: np.ndarray
    kept: np.ndarray
    unchanged: np.ndarray


def half_turn_data(subject, layer):
    """Images drawn with the seed, turned by 180 degrees, which moves pixels and makes none.

    Args:
        subject: A `Subject`.
        layer: Any layer of its model.

    Returns:
        `HalfTurn`.
    """
    labels, ids = subject.data.listing()
    most = max(1, min(len(ids), MOST, int(VALUES / np.prod(subject.data.image_shape))))
    drawn = np.sort(np.random.default_rng(subject.seed).choice(len(ids), most, replace=False))
    labels, ids = labels[drawn], ids[drawn]
    images = subject.pick(ids)
    found = invariance(
        subject.model, images, subject.targets(labels), "rotation", [180.0], layer, preprocess=subject.preprocess
    )
    before, believed = found.untransformed
    kept = found.probability[:, 0] / np.maximum(before, np.finfo(np.float64).tiny)
    itself = correlation(images, transform(images, "rotation", 180))
    return HalfTurn(ids, labels, itself, kept, found.predicted[:, 0] == believed)


def correlation(images, others):
    """Pearson's correlation of all pixel values of each image with those of another.

    Args:
        images, others: `(n, height, width, channels)`.

    Returns:
        `(n,)`, from -1 to 1; NaN if either image has but one value.
    """
    flat = [np.asarray(side, np.float64).reshape(len(side), -1) for side in (images, others)]
    first, second = (side - side.mean(axis=1, keepdims=True) for side in flat)
    scale = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.divide((first * second).sum(axis=1), scale, out=np.full(len(scale), np.nan), where=scale > 0)


def symmetry_finding(turned, class_names):
    """The claim that what looks the same after a turn is recognised after it.

    Args:
        turned: A `HalfTurn`.
        class_names: Names of the data's classes.
    """
    symmetric = turned.correlation >= SYMMETRIC
    others = turned.correlation < SYMMETRIC
    criterion = (
        f"after a turn by 180 degrees {STEADY:.0%} or more of the predictions for symmetric images are the same, and "
        f"more than for the others; symmetric are those whose pixels correlate by at least {SYMMETRIC:g} with the "
        f"turned image's, and there are at least {FEWEST} of either sort"
    )
    best = turned.correlation[~np.isnan(turned.correlation)].max(initial=-1)
    if symmetric.sum() < FEWEST or others.sum() < FEWEST:
        reason = f"{symmetric.sum()} of {len(turned.ids)} images are symmetric; the largest correlation is {best:.2f}"
        return Finding("fig5-symmetry", None, criterion, reason)
    kept, kept_by_others = turned.unchanged[symmetric].mean(), turned.unchanged[others].mean()
    classes, times = np.unique(turned.labels[symmetric], return_counts=True)
    counted = ", ".join(f"{class_names[classes[place]]} {times[place]}" for place in np.argsort(-times, kind="stable"))
    return Finding(
        "fig5-symmetry",
        bool(kept >= STEADY and kept > kept_by_others),
        criterion,
        f"{kept:.0%} of {symmetric.sum()} symmetric images (of class {counted}) keep their prediction, "
        f"{kept_by_others:.0%} of the {others.sum()} others",
    )
