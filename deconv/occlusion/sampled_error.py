"""The error of an approximation on a grid, estimated from a part of its positions.

`POSITIONS` positions are drawn at random, one from each of as many equal parts of the grid. Then up to as many more are
measured: the neighbours of the worst one, again and again. The draw alone gives the quantile: the chance that none of n
draws lies among the worst share 1 - q of the positions is at most q**n, for equal parts by the inequality of arithmetic
and geometric means. The steps to the neighbours come close to the largest error, where errors vary smoothly.
"""

import numpy as np

POSITIONS = 32
"""How many positions are drawn, and how many more are measured around the worst."""

QUANTILE = 0.9
"""With a probability of 1 - 0.9**32, 97 %, over the draw the estimate is at least this quantile of all errors."""


def largest_error(shape, measure, seed=0):
    """Estimate the largest error over a grid; exact where the grid has at most `2 * POSITIONS` positions.

    Args:
        shape: `(rows, columns)` of the grid.
        measure: Function of `(n,)` ints, flat positions, that returns the errors there, `(n,)` or `(n, kinds)`. The
            first kind says where the worst position is. No position is asked for twice.
        seed: Of the draw.

    Returns:
        The largest error of each kind among the positions measured, `()` or `(kinds,)`.
    """
    rows, columns = shape
    if rows * columns <= 2 * POSITIONS:
        return np.asarray(measure(np.arange(rows * columns))).max(axis=0)
    measured = drawn(shape, POSITIONS, seed)
    errors = np.asarray(measure(measured))
    left = POSITIONS
    while left:
        first = errors if errors.ndim == 1 else errors[:, 0]
        around = _next_to_the_worst(measured[np.argsort(-first, kind="stable")], measured, shape)[:left]
        if not len(around):
            break
        errors = np.concatenate([errors, np.asarray(measure(around))])
        measured, left = np.concatenate([measured, around]), left - len(around)
    return errors.max(axis=0)


def drawn(shape, count, seed=0):
    """Flat positions drawn at random, one from each of `count` equal, nearly square parts of a grid, in order.

    Every position is as probable as every other, so where the grid does not divide evenly two parts share a position.
    A position that is drawn twice is returned once.
    """
    rows, columns = shape
    row, column = np.divmod(np.arange(rows * columns), columns)
    band = row // max(1, round(np.sqrt(rows * columns / count)))
    order = np.lexsort([row, np.where(band % 2, -column, column), band])  # bands of rows, to the right and to the left
    places = (np.arange(count) + np.random.default_rng(seed).random(count)) * (rows * columns / count)
    return np.unique(order[np.minimum(places.astype(int), rows * columns - 1)])


def _next_to_the_worst(worst_first, measured, shape):
    """The neighbours, not measured yet, of the worst position that has such, in order; empty if none has."""
    around = np.array([(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right])
    places = np.stack(np.divmod(worst_first, shape[1]), axis=1)[:, None] + around
    inside = ((places >= 0) & (places < shape)).all(axis=-1)
    flat = places[..., 0] * shape[1] + places[..., 1]
    new = inside & ~np.isin(flat, measured)
    some = np.flatnonzero(new.any(axis=1))
    return flat[some[0]][new[some[0]]] if len(some) else flat[:0, 0]
