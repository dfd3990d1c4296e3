"""Whether layers that say what they are `mirrored_as` compute what they say.

A mirror takes the word of such a layer (`graph.kind`). Filters and pools are compared with their mirrors like any other
layer, by their derivative and their switches. The word of two kinds must be compared with numbers:

- A layer that says `Identity` is passed over on the way down, for the paper leads nothing through its contrast
  normalisation. That is honest for a layer that divides each value by a positive number which grows with the values
  around it. It is not for one that leads values to other positions or channels or turns their sign, nor for one that
  multiplies everything by the same number, which a mirror can do too.
- A layer that says it is an activation is replaced by it on the way down.
"""

import keras
import numpy as np
import tensorflow as tf

from deconv import graph


def claims(model_graph, rules=None):
    """The steps whose layer names what it is mirrored as, and whose word is taken: identities and activations."""
    kinds = (*graph.IDLE, *_ACTIVATIONS)
    overridden = rules or {}
    return [
        step
        for step in model_graph.steps
        if "mirrored_as" in vars(type(step.layer))
        and issubclass(graph.kind(step.layer), kinds)
        and not {step.name, type(step.layer)} & set(overridden)
    ]


def claim_error(step, random):
    """Measure how far a layer is from its `mirrored_as`, for noise of both signs in which every second cell is zero.

    Args:
        step: One of `claims`.
        random: A `np.random.Generator`.

    Returns:
        For an identity the larger of two numbers, both zero for contrast normalisation: the largest value that stands
        where a value of another sign, or zero, went in, as a share of the largest value; and, for a layer that is
        linear, how far its factors are from 1. For an activation the largest relative difference.
    """
    edge = step.inputs[0]
    dtype = np.dtype(tf.as_dtype(edge.dtype).as_numpy_dtype)
    maps = random.standard_normal((2, *edge.shape)) * (random.random((2, *edge.shape)) < 0.5)
    low, high = (maps * scale for scale in ((2**-8, 2**8) if dtype.itemsize < 4 else (2**-8, 2**12)))
    kind = next((kind for kind in _ACTIVATIONS if issubclass(graph.kind(step.layer), kind)), None)
    if kind is not None:  # at several sizes, for a rectifier with an end hides what it does below among large values
        return max((_activation_error(step, kind, part.astype(dtype)) for part in (low, maps, high)), key=_nan_last)
    one, other = (_output(step, part, dtype) for part in (low, high))
    moved = max((_share(np.where(up * down > 0, 0, up), up) for up, down in ((one, low), (other, high))), key=_nan_last)
    factors = np.divide(one, low, out=np.ones_like(low), where=low != 0)
    again = np.divide(other, high, out=np.ones_like(high), where=high != 0)
    linear = _share(again - factors, factors) < 100 * _epsilon(dtype)
    return max(moved, float(np.abs(factors - 1).max()) if linear else 0.0, key=_nan_last)


def _activation_error(step, kind, maps):
    expected = np.asarray(_ACTIVATIONS[kind](step, tf.constant(maps))).astype(np.float64)
    return _share(_output(step, maps, maps.dtype) - expected, expected)


def factors(before, after):
    """The least and the largest factor by which a contrast normalisation has scaled what is not zero."""
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    scale = after[before != 0] / before[before != 0]
    return (float(scale.min()), float(scale.max())) if scale.size else (1.0, 1.0)


def _output(step, maps, dtype):
    alone = graph.Graph(step.name, step.inputs[:1], (step,))
    return np.asarray(graph.run(alone, tf.constant(maps.astype(dtype)))[step.output]).astype(np.float64)


def _share(difference, whole):
    return float(np.abs(difference).max() / max(np.abs(whole).max(), np.finfo(np.float64).tiny))


def _epsilon(dtype):
    return float(tf.experimental.numpy.finfo(dtype).eps) if dtype.kind == "f" else 2.0**-7  # bfloat16


def _nan_last(number):
    return np.inf if np.isnan(number) else number


def _rectified(step, maps):
    end = getattr(step.layer, "max_value", None)
    return tf.nn.relu(maps) if end is None else tf.minimum(tf.nn.relu(maps), end)


_ACTIVATIONS = {
    keras.layers.ReLU: _rectified,
    keras.layers.Softmax: lambda step, maps: keras.activations.softmax(maps, axis=getattr(step.layer, "axis", -1)),
    keras.layers.Activation: lambda step, maps: step.layer.activation(maps),
}
