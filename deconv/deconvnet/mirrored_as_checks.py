"""Check layers that declare a Keras layer as `mirrored_as` against what they compute.

A mirror relies on this declaration (`deconv.graph.kind`). Filters and pools are verified like any other layer, by their
derivative and their switches. The declarations of two kinds of layers must be checked numerically:

- A layer that declares `Identity` is skipped by the mirror, because the paper propagates no signal through its contrast
  normalization. This is valid for a layer that divides each value by a positive number which grows with the values
  around it. It is not valid for a layer that moves values to other positions or channels or changes their sign, nor for
  one that multiplies all values by the same number, which a mirror can do too.
- A layer that declares an activation is replaced by that activation in the mirror.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.deconvnet.rules import Rules


def claims(model_graph: graph.Graph, rules: Rules | None = None) -> list[graph.Step]:
    """Return the steps that declare an identity or an activation as `mirrored_as` and have no rule of the user."""
    kinds = (*graph.IDLE, *_ACTIVATIONS)
    overridden = rules or {}
    return [
        step
        for step in model_graph.steps
        if "mirrored_as" in vars(type(step.layer))
        and issubclass(graph.kind(step.layer), kinds)
        and not {step.name, type(step.layer)} & set(overridden)
    ]


def claim_error(step: graph.Step, random: np.random.Generator) -> float:
    """Measure how far a layer is from its `mirrored_as`, on noise of both signs of which half the cells are zero.

    Args:
        step: One of `claims`.
        random: A `np.random.Generator`.

    Returns:
        For an activation, the largest relative difference. For an identity, the larger of two numbers, both zero for
        contrast normalization: the largest output value whose input is zero or has the other sign, as a share of the
        largest value; and, if the layer is linear, the largest distance of its factors from 1.
    """
    edge = step.inputs[0]
    dtype = np.dtype(tf.as_dtype(edge.dtype).as_numpy_dtype)
    maps = random.standard_normal((2, *edge.shape)) * (random.random((2, *edge.shape)) < 0.5)
    low, high = (maps * scale for scale in ((2**-8, 2**8) if dtype.itemsize < 4 else (2**-8, 2**12)))
    kind = next((kind for kind in _ACTIVATIONS if issubclass(graph.kind(step.layer), kind)), None)
    if kind is not None:
        # At several magnitudes: large values beyond the limit of a rectifier hide differences between smaller ones.
        return max((_activation_error(step, kind, part.astype(dtype)) for part in (low, maps, high)), key=_nan_last)
    one, other = (_output(step, part, dtype) for part in (low, high))
    pairs = ((one, low), (other, high))
    moved = max((_share(np.where(after * before > 0, 0, after), after) for after, before in pairs), key=_nan_last)
    factors = np.divide(one, low, out=np.ones_like(low), where=low != 0)
    again = np.divide(other, high, out=np.ones_like(high), where=high != 0)
    linear = _share(again - factors, factors) < 100 * _epsilon(dtype)
    return max(moved, float(np.abs(factors - 1).max()) if linear else 0.0, key=_nan_last)


def _activation_error(step: graph.Step, kind: type, maps: np.ndarray) -> float:
    expected = np.asarray(_ACTIVATIONS[kind](step, tf.constant(maps))).astype(np.float64)
    return _share(_output(step, maps, maps.dtype) - expected, expected)


def factors(before: ArrayLike, after: ArrayLike) -> tuple[float, float]:
    """Compute the smallest and largest factor by which a contrast normalization scaled its nonzero inputs.

    Args:
        before: Float array, the input of the layer.
        after: Its output, of the same shape.

    Returns:
        `(smallest, largest)`; `(1, 1)` if all inputs are zero.
    """
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    scale = after[before != 0] / before[before != 0]
    return (float(scale.min()), float(scale.max())) if scale.size else (1.0, 1.0)


def _output(step: graph.Step, maps: np.ndarray, dtype: np.dtype) -> np.ndarray:
    alone = graph.Graph(step.name, step.inputs[:1], (step,))
    return np.asarray(graph.run(alone, tf.constant(maps.astype(dtype)))[step.output]).astype(np.float64)


def _share(difference: np.ndarray, whole: np.ndarray) -> float:
    return float(np.abs(difference).max() / max(np.abs(whole).max(), np.finfo(np.float64).tiny))


def _epsilon(dtype: np.dtype) -> float:
    return float(tf.experimental.numpy.finfo(dtype).eps) if dtype.kind == "f" else 2.0**-7  # bfloat16


def _nan_last(number: float) -> float:
    return np.inf if np.isnan(number) else number


def _rectified(step: graph.Step, maps: tf.Tensor) -> tf.Tensor:
    limit = getattr(step.layer, "max_value", None)
    return tf.nn.relu(maps) if limit is None else tf.minimum(tf.nn.relu(maps), limit)


_ACTIVATIONS = {
    keras.layers.ReLU: _rectified,
    keras.layers.Softmax: lambda step, maps: keras.activations.softmax(maps, axis=getattr(step.layer, "axis", -1)),
    keras.layers.Activation: lambda step, maps: step.layer.activation(maps),
}
