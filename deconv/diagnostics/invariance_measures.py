"""Measures of the curves of Fig. 5: how fast and how linearly distances grow, and how stable the output is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from deconv.diagnostics.invariance import Invariance


def quickness(offsets: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Compute the distance at the smallest offset as a share of the largest distance.

    It is 1 if the smallest transform already changes a layer as much as the largest. If the distance is proportional to
    the offset, it is the smallest offset divided by the largest.

    Args:
        offsets: `(values,)`, see `Invariance.offsets`.
        distances: `(images, values)`.

    Returns:
        `(images,)`, the mean distance at the smallest offsets above and below zero, divided by the largest of all. NaN
        for a layer that does not change.
    """
    sizes = np.abs(offsets)
    if not sizes.any():
        return np.full(len(distances), np.nan)
    smallest = np.isclose(sizes, sizes[sizes > 0].min())
    with np.errstate(invalid="ignore"):
        return distances[:, smallest].mean(axis=1) / distances.max(axis=1)


def linearity(offsets: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Compute the coefficient of determination of distances that are proportional to the offset.

    Args:
        offsets, distances: As for `quickness`.

    Returns:
        `(images,)`, R² of the best line through the origin, `1 - sum (d - s|o|)² / sum (d - mean d)²`, averaged over
        the offsets above and those below zero: 1 for a straight line, negative where a constant would fit better. NaN
        where a side has fewer than two offsets or no change of the distance.
    """
    sides = []
    for side in (offsets > 0, offsets < 0):
        if side.sum() > 1:
            sizes, heights = np.abs(offsets[side]), distances[:, side]
            slopes = heights @ sizes / (sizes @ sizes)
            residual = np.square(heights - slopes[:, None] * sizes).sum(axis=1)
            total = np.square(heights - heights.mean(axis=1, keepdims=True)).sum(axis=1)
            sides.append(1 - np.divide(residual, total, out=np.full(len(heights), np.nan), where=total > 0))
    return np.mean(sides, axis=0) if sides else np.full(len(distances), np.nan)


def stability(found: Invariance) -> tuple[float, float]:
    """Compute how stable the output is, over all images and all values other than the identity.

    Args:
        found: `Invariance`.

    Returns:
        `(kept, unchanged)`: the mean probability of the target class as a share of its mean for the original images,
        and the share of predictions that are those of the original images. NaN without such values, or without class
        outputs.
    """
    if found.untransformed is None or found.probability is None or found.predicted is None:
        return np.nan, np.nan
    probability, predicted = found.untransformed
    is_changed = found.offsets != 0
    if not is_changed.any():
        return np.nan, np.nan
    share = found.probability[:, is_changed].mean() / max(probability.mean(), np.finfo(np.float64).tiny)
    return float(share), float((found.predicted[:, is_changed] == predicted[:, None]).mean())
