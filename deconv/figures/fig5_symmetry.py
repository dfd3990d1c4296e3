"""Invariance to a rotation by 180 degrees for objects that are symmetric under it (Fig. 5 c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deconv.diagnostics.invariance import invariance
from deconv.figures.published_results import NO_CLASSES, Finding
from deconv.figures.subject import Subject
from deconv.imaging.affine_transforms import transform
from deconv.runtime.short_repr import short_repr

MOST, VALUES = 500, 2e7
"""Maximum number of rotated images, and maximum number of their values in total (fewer images if they are large)."""

SYMMETRIC, STEADY, FEWEST = 0.75, 0.75, 3
"""Thresholds: an image is symmetric if its correlation with the rotated image is at least the first. Predictions of
symmetric images are steady if at least the second, as a fraction, is unchanged. The third is the minimum number of
symmetric and of other images for a test."""


class HalfTurn(NamedTuple):
    """Effect of a rotation by 180 degrees on each image.

    Attributes:
        ids, labels: `(n,)`, ids of the images and their classes in the data.
        correlation: `(n,)`, correlation of all pixel values with those of the rotated image; see `correlation`.
        kept: `(n,)`, probability of the class for the rotated image as a fraction of that for the original image.
        unchanged: `(n,)` bools, whether the most probable class is unchanged.
    """

    ids: np.ndarray
    labels: np.ndarray
    correlation: np.ndarray
    kept: np.ndarray
    unchanged: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


def half_turn_data(subject: Subject, layer: str) -> HalfTurn:
    """Rotate random images by 180 degrees, which moves pixels without interpolation, and compute the class scores.

    Args:
        subject: A `Subject`.
        layer: Name of any layer of its model.

    Returns:
        `HalfTurn`.
    """
    labels, ids = subject.data.listing()
    most = max(1, min(len(ids), MOST, int(VALUES / np.prod(subject.data.image_shape))))
    drawn = np.sort(np.random.default_rng(subject.seed).choice(len(ids), most, replace=False))
    labels, ids = labels[drawn], ids[drawn]
    images = subject.pick(ids)
    turned = invariance(
        subject.model, images, subject.targets(labels), "rotation", [180.0], layer, preprocess=subject.preprocess
    )
    assert turned.untransformed is not None and turned.probability is not None and turned.predicted is not None
    before, predicted = turned.untransformed
    kept = turned.probability[:, 0] / np.maximum(before, np.finfo(np.float64).tiny)
    itself = correlation(images, transform(images, "rotation", 180))
    unchanged = turned.predicted[:, 0] == predicted
    return HalfTurn(ids=ids, labels=labels, correlation=itself, kept=kept, unchanged=unchanged)


def correlation(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pearson correlation of all pixel values of each image with those of another image.

    Args:
        images, others: `(n, height, width, channels)`.

    Returns:
        `(n,)`, from -1 to 1; NaN if either image is constant.
    """
    flat = [np.asarray(side, np.float64).reshape(len(side), -1) for side in (images, others)]
    first, second = (side - side.mean(axis=1, keepdims=True) for side in flat)
    scale = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.divide((first * second).sum(axis=1), scale, out=np.full(len(scale), np.nan), where=scale > 0)


def symmetry_finding(turned: HalfTurn | None, class_names: Sequence[str]) -> Finding:
    """Test the claim that the output is stable under rotation of an object with rotational symmetry.

    Args:
        turned: A `HalfTurn`; None without class outputs.
        class_names: Names of the data's classes.

    Returns:
        `Finding`.
    """
    criterion = (
        f"after a turn by 180 degrees {STEADY:.0%} or more of the predictions for symmetric images are the same, and "
        f"more than for the others; symmetric are those whose pixels correlate by at least {SYMMETRIC:g} with the "
        f"turned image's, and there are at least {FEWEST} of either sort"
    )
    if turned is None:
        return Finding("fig5-symmetry", None, criterion, NO_CLASSES)
    symmetric = turned.correlation >= SYMMETRIC
    others = turned.correlation < SYMMETRIC
    best = turned.correlation[~np.isnan(turned.correlation)].max(initial=-1)
    if symmetric.sum() < FEWEST or others.sum() < FEWEST:
        reason = f"{symmetric.sum()} of {len(turned.ids)} images are symmetric; the largest correlation is {best:.2f}"
        return Finding("fig5-symmetry", None, criterion, reason)
    unchanged, of_others = turned.unchanged[symmetric].mean(), turned.unchanged[others].mean()
    classes, times = np.unique(turned.labels[symmetric], return_counts=True)
    counted = ", ".join(f"{class_names[classes[place]]} {times[place]}" for place in np.argsort(-times, kind="stable"))
    return Finding(
        "fig5-symmetry",
        bool(unchanged >= STEADY and unchanged > of_others),
        criterion,
        f"{unchanged:.0%} of {symmetric.sum()} symmetric images (of class {counted}) keep their prediction, "
        f"{of_others:.0%} of the {others.sum()} others",
    )
