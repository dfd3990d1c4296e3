"""Determine what a function of maps computes by calling it on test values.

The function is called on a few hundred values of both signs and many magnitudes. Changing one value at a time shows
which inputs an output depends on; the output values show whether it is one of the named functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

CELL, POSITION, EVERYTHING = "cell", "position", "everything"


class Behaviour(NamedTuple):
    """What a function of maps computes.

    Attributes:
        kind: "identity", "rectifier" (`max(0, x)`, with or without an upper limit), "sigmoid", "softmax" (over any
            axes), or "other".
        sees: Which inputs an output value depends on: the value in the same cell (`CELL`), all channels of the same
            position (`POSITION`), or more (`EVERYTHING`).
        alike: Whether it computes the same at every position.
        end: Upper limit of a rectifier; None if it has none.
        keeps_sign: Whether f(0) = 0, and every other value has the sign of its input or is 0.
        hides_rectifier: Whether it may contain a rectifier in another form: it is constant over an interval, mixes
            values in an unknown way, or could not be called.
    """

    kind: str = "other"
    sees: str = EVERYTHING
    alike: bool = False
    end: float | None = None
    keeps_sign: bool = False
    hides_rectifier: bool = True


IDENTITY = Behaviour("identity", CELL, True, None, True, False)
RECTIFIER = Behaviour("rectifier", CELL, True, None, True, False)
UNKNOWN = Behaviour()

_FIRST = np.array([2.0**-10, 2.0**-6, 5, 5.5, 6, 6.5, 7, 8, 64, 1024, 2.0**15, 2.0**100], np.float32)
_NEAR = np.arange(-16, 17, dtype=np.float32) / 8
_VALUES = np.concatenate([_NEAR, [-3, 3, -4, 4], -_FIRST, _FIRST]).astype(np.float32)
"""Exact in every floating-point type, except for the largest values."""


def tried(call: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int, ...]) -> Behaviour:
    """Determine the `Behaviour` of a function.

    Args:
        call: Function of float32 tensors `(n, *shape)`.
        shape: Shape of the maps, without the batch.

    Returns:
        A `Behaviour`; `UNKNOWN` if the function raises or returns another shape or dtype kind.
    """

    def values(maps):
        found = np.asarray(keras.ops.convert_to_numpy(call(tf.constant(maps, tf.float32))))
        if found.shape != maps.shape or found.dtype.kind in "biuc":
            raise ValueError
        return found.astype(np.float64)

    with np.errstate(all="ignore"):
        try:
            return _judged(values, shape)
        except Exception:  # a user's function may raise any exception
            return UNKNOWN


def _judged(values, shape):
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((1, *shape)).astype(np.float32)
    sees = _what_it_sees(values, maps)
    spatial = range(1, len(shape))
    alike = sees != EVERYTHING and all(
        _equal(values(np.roll(maps, 1, axis)), np.roll(values(maps), 1, axis)) for axis in spatial
    )
    if sees != CELL or not alike or not _equal(values(np.roll(maps, 1, -1)), np.roll(values(maps), 1, -1)):
        softmax = _is_softmax(values, maps)
        return Behaviour(
            "softmax" if softmax else "other", sees, alike, None, False, not (softmax or _adds(values, maps))
        )
    rows = -(-len(_VALUES) // max(maps.size, 1))
    given = np.resize(_VALUES, (rows, *shape))
    seen, found = _VALUES.astype(np.float64), values(given).ravel()[: len(_VALUES)]
    exact = np.abs(seen) <= 2.0**15
    if np.array_equal(found[exact], seen[exact]) and found[-1] >= 2.0**15:
        return IDENTITY
    finite = np.isfinite(found)
    keeps_sign = bool(finite[exact].all() and not found[seen == 0].any() and (found * seen >= 0)[finite].all())
    end = float(found[-1]) if found[-1] < 2.0**90 else None
    if found[-1] > 0 and np.array_equal(found[exact], np.clip(seen, 0, end)[exact]):
        return RECTIFIER._replace(end=end)
    near = found[: len(_NEAR)]
    steps = np.diff(near) == 0
    flat = bool((steps[1:] & steps[:-1]).any() and not steps.all())
    sigmoid = _same(near, 1 / (1 + np.exp(-seen[: len(_NEAR)])))
    return Behaviour("sigmoid" if sigmoid else "other", CELL, True, None, keeps_sign, flat)


def _what_it_sees(values, maps):
    """Change one cell at a time and return which outputs change: `CELL`, `POSITION` or `EVERYTHING`."""
    before, again = values(maps)[0], values(maps)[0]
    if not np.array_equal(before, again, equal_nan=True):
        return EVERYTHING  # it is random
    shape, cells, sees = before.shape, np.arange(before.size), CELL
    if before.size > 200:
        cells = np.random.default_rng(1).choice(before.size, 4, replace=False)
    for value in (8, -8, 1000, -1000):
        for some in np.array_split(cells, min(-(-cells.size * before.size // 500_000), cells.size)):
            given = np.repeat(maps.reshape(1, -1), len(some) + 1, axis=0)
            given[np.arange(len(some)), some] = value
            found = values(given.reshape(-1, *shape))
            if not _equal(found[-1], before):
                return EVERYTHING  # it mixes images
            changed = ~np.isclose(found[:-1], before, rtol=1e-5, atol=1e-6, equal_nan=True)
            changed = changed.reshape(len(some), -1)
            changed[np.arange(len(some)), some] = False
            if not changed.any():
                continue
            depth = shape[-1] if shape else 1
            elsewhere = np.arange(before.size) // depth != (some // depth)[:, None]
            if (changed & elsewhere).any():
                return EVERYTHING
            sees = POSITION
    return sees


def _is_softmax(values, maps):
    """Whether a function is a softmax over a subset of the axes."""
    found = values(maps)
    count = maps.ndim - 1
    subsets = [[axis + 1 for axis in range(count) if number >> axis & 1] for number in range(1, 2**count)]
    powers = np.exp(maps.astype(np.float64))
    return any(_same(found, powers / powers.sum(axis=tuple(axes), keepdims=True)) for axes in subsets)


def _adds(values, maps):
    """Whether a function of maps is affine."""
    one, two = 3 * maps, 3 * maps[..., ::-1] + 1
    return adds_up(*values(np.concatenate([0 * one, one, two, one + two, -one])))


def _equal(found, expected):
    """Equal up to rounding differences of another order of operations."""
    return np.allclose(found, expected, rtol=1e-5, atol=1e-6, equal_nan=True)


def _same(found, expected):
    """Equal up to the rounding of half precision."""
    return found.shape == expected.shape and np.allclose(found, expected, rtol=1e-2, atol=1e-5, equal_nan=True)


def adds_up(nothing: np.ndarray, one: np.ndarray, two: np.ndarray, both: np.ndarray, minus: np.ndarray) -> bool:
    """Return whether values at 0, x, y, x + y and -x are those of an affine function, up to rounding."""
    size = max(np.abs(one - nothing).max(), np.abs(two - nothing).max(), np.finfo(np.float32).tiny)
    errors = np.abs(one + two - nothing - both).max(), np.abs(one + minus - 2 * nothing).max()
    return bool(max(errors) <= 0.02 * size)
