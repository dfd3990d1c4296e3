"""The curves of Fig. 5 as numbers: how quickly a layer moves, how straight, and how steady the output stays."""

import numpy as np


def quickness(offsets, distances):
    """How much of its way a layer has gone at the smallest step: 1 for all at once.

    Args:
        offsets: `(values,)`, see `Invariance.offsets`.
        distances: `(images, values)`.

    Returns:
        `(images,)`, the distance at the smallest offset above and below zero, averaged, over the largest distance of
        all. For a distance in proportion to the offset that is the smallest over the largest offset. NaN for a layer
        that does not move.
    """
    sizes = np.abs(offsets)
    if not sizes.any():
        return np.full(len(distances), np.nan)
    first = np.isclose(sizes, sizes[sizes > 0].min())
    with np.errstate(invalid="ignore"):
        return distances[:, first].mean(axis=1) / distances.max(axis=1)


def linearity(offsets, distances):
    """How nearly the distance is in proportion to the offset.

    Args:
        offsets, distances: As for `quickness`.

    Returns:
        `(images,)`, R² of the best line through the origin, `1 - sum (d - s|o|)² / sum (d - mean d)²`, for offsets
        above and below zero apart, averaged: 1 for a straight line, negative where a constant would do better. NaN
        where a side has fewer than two offsets or does not move.
    """
    sides = []
    for side in (offsets > 0, offsets < 0):
        if side.sum() > 1:
            sizes, found = np.abs(offsets[side]), distances[:, side]
            slopes = found @ sizes / (sizes @ sizes)
            left = np.square(found - slopes[:, None] * sizes).sum(axis=1)
            spread = np.square(found - found.mean(axis=1, keepdims=True)).sum(axis=1)
            sides.append(1 - np.divide(left, spread, out=np.full(len(found), np.nan), where=spread > 0))
    return np.mean(sides, axis=0) if sides else np.full(len(distances), np.nan)


def stability(found):
    """How steady the output is.

    Args:
        found: `Invariance`.

    Returns:
        `(kept, unchanged)`, over all images and all values that do change the image: the mean probability of the target
        class as a share of its mean in the images as they are, and the share of predictions that are the same as there.
    """
    before, believed = found.untransformed
    moved = found.offsets != 0
    if not moved.any():
        return np.nan, np.nan
    kept = found.probability[:, moved].mean() / max(before.mean(), np.finfo(np.float64).tiny)
    return float(kept), float((found.predicted[:, moved] == believed[:, None]).mean())
