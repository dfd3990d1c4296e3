"""Classify a function of maps by calling it on test values.

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
    """Properties of a function of maps.

    Attributes:
        kind: "identity", "rectifier" (`max(0, x)`, with or without an upper limit), "sigmoid", "softmax" (over any
            axes), or "other".
        depends_on: Which inputs an output value depends on: the value in the same cell (`CELL`), all channels of the
            same position (`POSITION`), or more (`EVERYTHING`).
        alike: Whether it computes the same at every position.
        end: Upper limit of a rectifier; None if it has none.
        keeps_sign: Whether f(0) = 0, and every other value has the sign of its input or is 0.
        hides_rectifier: Whether it may contain a rectifier in another form: it is constant over an interval, mixes
            values in an unknown way, or could not be called.
    """

    kind: str = "other"
    depends_on: str = EVERYTHING
    alike: bool = False
    end: float | None = None
    keeps_sign: bool = False
    hides_rectifier: bool = True


IDENTITY = Behaviour("identity", CELL, alike=True, keeps_sign=True, hides_rectifier=False)
RECTIFIER = IDENTITY._replace(kind="rectifier")
UNKNOWN = Behaviour()

_FIRST = np.array([2.0**-10, 2.0**-6, 5, 5.5, 6, 6.5, 7, 8, 64, 1024, 2.0**15, 2.0**100], np.float32)
_NEAR = np.arange(-16, 17, dtype=np.float32) / 8
_VALUES = np.concatenate([_NEAR, [-3, 3, -4, 4], -_FIRST, _FIRST]).astype(np.float32)
"""Exact in every floating-point type, except for the largest values."""


def classify_by_calling(call: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int, ...]) -> Behaviour:
    """Determine the `Behaviour` of a function.

    Args:
        call: Function of float32 tensors `(n, *shape)`.
        shape: Shape of the maps, without the batch.

    Returns:
        A `Behaviour`; `UNKNOWN` if the function raises or returns another shape or dtype kind.
    """

    def values(maps):
        outputs = np.asarray(keras.ops.convert_to_numpy(call(tf.constant(maps, tf.float32))))
        if outputs.shape != maps.shape or outputs.dtype.kind in "biuc":
            raise ValueError
        return outputs.astype(np.float64)

    with np.errstate(all="ignore"):
        try:
            return _classify(values, shape)
        except Exception:  # a user's function may raise any exception
            return UNKNOWN


def _classify(values, shape):
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((1, *shape)).astype(np.float32)
    depends_on = _dependence(values, maps)
    spatial = range(1, len(shape))
    alike = depends_on != EVERYTHING and all(
        _equal(values(np.roll(maps, 1, axis)), np.roll(values(maps), 1, axis)) for axis in spatial
    )
    if depends_on != CELL or not alike or not _equal(values(np.roll(maps, 1, -1)), np.roll(values(maps), 1, -1)):
        softmax = _is_softmax(values, maps)
        kind, hides_rectifier = "softmax" if softmax else "other", not (softmax or _adds(values, maps))
        return Behaviour(kind, depends_on, alike, hides_rectifier=hides_rectifier)
    rows = -(-len(_VALUES) // max(maps.size, 1))
    given = np.resize(_VALUES, (rows, *shape))
    inputs, outputs = _VALUES.astype(np.float64), values(given).ravel()[: len(_VALUES)]
    exact = np.abs(inputs) <= 2.0**15
    if np.array_equal(outputs[exact], inputs[exact]) and outputs[-1] >= 2.0**15:
        return IDENTITY
    finite = np.isfinite(outputs)
    keeps_sign = bool(finite[exact].all() and not outputs[inputs == 0].any() and (outputs * inputs >= 0)[finite].all())
    end = float(outputs[-1]) if outputs[-1] < 2.0**90 else None
    if outputs[-1] > 0 and np.array_equal(outputs[exact], np.clip(inputs, 0, end)[exact]):
        return RECTIFIER._replace(end=end)
    near = outputs[: len(_NEAR)]
    steps = np.diff(near) == 0
    flat = bool((steps[1:] & steps[:-1]).any() and not steps.all())
    sigmoid = _same(near, 1 / (1 + np.exp(-inputs[: len(_NEAR)])))
    kind = "sigmoid" if sigmoid else "other"
    return Behaviour(kind, CELL, alike=True, keeps_sign=keeps_sign, hides_rectifier=flat)


def _dependence(values, maps):
    """Change one cell at a time and return which outputs change: `CELL`, `POSITION` or `EVERYTHING`."""
    before, repeated = values(maps)[0], values(maps)[0]
    if not np.array_equal(before, repeated, equal_nan=True):
        return EVERYTHING  # it is random
    shape, cells, depends_on = before.shape, np.arange(before.size), CELL
    if before.size > 200:
        cells = np.random.default_rng(1).choice(before.size, 4, replace=False)
    for value in (8, -8, 1000, -1000):
        for changed_cells in np.array_split(cells, min(-(-cells.size * before.size // 500_000), cells.size)):
            inputs = np.repeat(maps.reshape(1, -1), len(changed_cells) + 1, axis=0)
            inputs[np.arange(len(changed_cells)), changed_cells] = value
            outputs = values(inputs.reshape(-1, *shape))
            if not _equal(outputs[-1], before):
                return EVERYTHING  # it mixes images
            changed = ~np.isclose(outputs[:-1], before, rtol=1e-5, atol=1e-6, equal_nan=True)
            changed = changed.reshape(len(changed_cells), -1)
            changed[np.arange(len(changed_cells)), changed_cells] = False
            if not changed.any():
                continue
            depth = shape[-1] if shape else 1
            elsewhere = np.arange(before.size) // depth != (changed_cells // depth)[:, None]
            if (changed & elsewhere).any():
                return EVERYTHING
            depends_on = POSITION
    return depends_on


def _is_softmax(values, maps):
    """Whether a function is a softmax over a subset of the axes."""
    outputs = values(maps)
    count = maps.ndim - 1
    subsets = [[axis + 1 for axis in range(count) if number >> axis & 1] for number in range(1, 2**count)]
    powers = np.exp(maps.astype(np.float64))
    return any(_same(outputs, powers / powers.sum(axis=tuple(axes), keepdims=True)) for axes in subsets)


def _adds(values, maps):
    """Whether a function of maps is affine."""
    one, two = 3 * maps, 3 * maps[..., ::-1] + 1
    return is_affine(*values(np.concatenate([0 * one, one, two, one + two, -one])))


def _equal(values, expected):
    """Equal up to rounding differences of another order of operations."""
    return np.allclose(values, expected, rtol=1e-5, atol=1e-6, equal_nan=True)


def _same(values, expected):
    """Equal up to the rounding of half precision."""
    return values.shape == expected.shape and np.allclose(values, expected, rtol=1e-2, atol=1e-5, equal_nan=True)


def is_affine(
    at_zero: np.ndarray, at_x: np.ndarray, at_y: np.ndarray, at_sum: np.ndarray, at_negative: np.ndarray
) -> bool:
    """Return whether values at 0, x, y, x + y and -x are those of an affine function, up to rounding."""
    size = max(np.abs(at_x - at_zero).max(), np.abs(at_y - at_zero).max(), np.finfo(np.float32).tiny)
    errors = np.abs(at_x + at_y - at_zero - at_sum).max(), np.abs(at_x + at_negative - 2 * at_zero).max()
    return bool(max(errors) <= 0.02 * size)
