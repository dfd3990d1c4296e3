"""Estimate the largest error of an approximation over a grid from a part of its positions.

`POSITIONS` positions are drawn at random, one from each of as many equal parts of the grid. Then up to as many more are
measured: the neighbours of the worst position, repeatedly. The random positions alone bound the quantile: the
probability that none of n drawn positions is among the worst share 1 - q of all positions is at most q**n, for equal
parts by the inequality of arithmetic and geometric means. The neighbours approach the largest error where errors vary
smoothly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

POSITIONS = 32
"""Number of positions that are drawn, and largest number of neighbours that are measured in addition."""

QUANTILE = 0.9
"""With a probability of 1 - 0.9**32, 97 %, over the draw the estimate is at least this quantile of all errors."""


def largest_error(shape: tuple[int, int], measure: Callable[[np.ndarray], ArrayLike], seed: int = 0) -> np.ndarray:
    """Estimate the largest error over a grid; exact where the grid has at most `2 * POSITIONS` positions.

    Args:
        shape: `(rows, columns)` of the grid.
        measure: Function from `(n,)` ints, flat positions, to the errors there, `(n,)` or `(n, kinds)`. The first kind
            determines the worst position. No position is measured twice.
        seed: Seed of the random positions.

    Returns:
        The largest error of each kind among the measured positions, `()` or `(kinds,)`.
    """
    rows, columns = shape
    if rows * columns <= 2 * POSITIONS:
        return np.asarray(measure(np.arange(rows * columns))).max(axis=0)
    measured = stratified_positions(shape, POSITIONS, seed)
    errors = np.asarray(measure(measured))
    remaining = POSITIONS
    while remaining:
        first = errors if errors.ndim == 1 else errors[:, 0]
        around = _neighbours_of_worst(measured[np.argsort(-first, kind="stable")], measured, shape)[:remaining]
        if not len(around):
            break
        errors = np.concatenate([errors, np.asarray(measure(around))])
        measured, remaining = np.concatenate([measured, around]), remaining - len(around)
    return errors.max(axis=0)


def stratified_positions(shape: tuple[int, int], count: int, seed: int = 0) -> np.ndarray:
    """Draw random positions, one from each of `count` equal, nearly square parts of a grid.

    All positions have the same probability, so two parts share a position where the grid does not divide evenly. A
    position that is drawn twice is returned once.

    Args:
        shape: `(rows, columns)` of the grid.
        count: Number of parts.
        seed: Seed of the random positions.

    Returns:
        Sorted ints, flat positions, at most `count` of them.
    """
    rows, columns = shape
    row, column = np.divmod(np.arange(rows * columns), columns)
    band = row // max(1, round(np.sqrt(rows * columns / count)))
    # Bands of rows, alternately from left to right and from right to left.
    order = np.lexsort([row, np.where(band % 2, -column, column), band])
    places = (np.arange(count) + np.random.default_rng(seed).random(count)) * (rows * columns / count)
    return np.unique(order[np.minimum(places.astype(int), rows * columns - 1)])


def _neighbours_of_worst(worst_first, measured, shape):
    """Sorted unmeasured neighbours of the worst position that has any; empty if none has."""
    around = np.array([(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right])
    places = np.stack(np.divmod(worst_first, shape[1]), axis=1)[:, None] + around
    inside = ((places >= 0) & (places < shape)).all(axis=-1)
    flat = places[..., 0] * shape[1] + places[..., 1]
    new = inside & ~np.isin(flat, measured)
    candidates = np.flatnonzero(new.any(axis=1))
    return flat[candidates[0]][new[candidates[0]]] if len(candidates) else flat[:0, 0]
