"""Linear layers as pairs of functions of their weights, for the rules of LRP.

A rule of LRP evaluates a layer with other weights than its own: their positive part, their squares, or ones. So a layer
is decomposed into its weights, its linear map and the transpose; both maps accept any weights of that shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from deconv import graph
from deconv.graph.effective_weights import kernel_of
from deconv.ops import convolution, pooling
from deconv.validation import check_channels_last


class Linear(NamedTuple):
    """A linear layer: sums of contributions `a_j w_jk`, and a bias.

    Attributes:
        kernel: Tensor of weights.
        bias: Tensor that broadcasts to the sums, or 0.
        up: `up(maps, kernel)` computes the sums without bias.
        down: `down(signal, kernel)`, the transpose of `up`.
        signed: Whether an input may be negative.
        inside: Ones where an input is a cell of a map, zeros where it is padding added by a layer below.
        bounds: `(low, high)` of the inputs for a layer that pixels feed; else None.
    """

    kernel: Any
    bias: Any
    up: Callable
    down: Callable
    signed: bool = True
    inside: Any = 1.0
    bounds: tuple[Any, Any] | None = None


def linears(step: graph.Step, dtype: tf.DType, norm: keras.layers.BatchNormalization | None = None) -> list[Linear]:
    """Decompose a layer into `Linear` parts, the lowest first: two for a separable convolution, one for any other.

    Args:
        step: A `Step` for which `is_filter` or `is_sum` holds.
        dtype: Dtype to which its weights are cast.
        norm: A batch normalisation layer that is the only user of its output; it is merged into the weights and bias.
    """
    kind = graph.kind(step.layer)
    parts = (FILTERS.get(kind) or SUMS.get(kind, add))(step, dtype)
    if norm is None:
        return parts
    factor = tf.math.rsqrt(_weights(norm.moving_variance, dtype) + norm.epsilon)
    factor = factor * _weights(norm.gamma, dtype) if norm.scale else factor
    shift = (_weights(norm.beta, dtype) if norm.center else 0.0) - _weights(norm.moving_mean, dtype) * factor
    top = parts[-1]
    spread = tf.reshape(factor, top.kernel.shape[2:]) if kind is keras.layers.DepthwiseConv2D else factor
    return [*parts[:-1], top._replace(kernel=top.kernel * spread, bias=top.bias * factor + shift)]


def conv(step: graph.Step, dtype: tf.DType) -> list[Linear]:
    """Decompose a convolution, with or without groups."""
    groups = {"groups": step.layer.groups}
    part = _filter(step, kernel_of(step.layer), dtype, convolution.conv, convolution.transpose_conv, **groups)
    return [part._replace(bias=_bias(step, dtype))]


def depthwise_conv(step: graph.Step, dtype: tf.DType) -> list[Linear]:
    """Decompose a depthwise convolution."""
    part = _filter(step, step.layer.kernel, dtype, convolution.depthwise_conv, convolution.transpose_depthwise_conv)
    return [part._replace(bias=_bias(step, dtype))]


def separable_conv(step: graph.Step, dtype: tf.DType) -> list[Linear]:
    """Decompose a separable convolution: a depthwise convolution followed by a 1x1 convolution."""
    depthwise, pointwise = (_weights(step.layer.depthwise_kernel, dtype), _weights(step.layer.pointwise_kernel, dtype))
    between = (*step.output.shape[:2], pointwise.shape[2])

    def down(signal, kernel):
        return convolution.transpose_conv(signal, kernel, between)

    lower = _filter(step, depthwise, dtype, convolution.depthwise_conv, convolution.transpose_depthwise_conv)
    return [lower, Linear(pointwise, _bias(step, dtype), convolution.conv, down)]


def dense(step: graph.Step, dtype: tf.DType) -> list[Linear]:
    """Decompose a dense layer."""

    def down(signal, kernel):
        return tf.matmul(signal, kernel, transpose_b=True)

    return [Linear(_weights(kernel_of(step.layer), dtype), _bias(step, dtype), tf.matmul, down)]


def average_pool(step: graph.Step, dtype: tf.DType) -> list[Linear]:
    """Decompose an average pooling."""
    check_channels_last(step)
    pool, shape = step.layer, step.inputs[0].shape

    def up(maps, weight):
        return tf.nn.avg_pool2d(maps, pool.pool_size, pool.strides, pool.padding.upper()) * weight

    def down(signal, weight):
        return pooling.transpose_average_pool(signal, shape, pool.pool_size, pool.strides, pool.padding) * weight

    return [_plain(up, down, dtype)]


def global_average(step: graph.Step, dtype: tf.DType) -> list[Linear]:
    """Decompose a global average pooling."""
    check_channels_last(step)
    keeps, shape = step.layer.keepdims, step.inputs[0].shape

    def up(maps, weight):
        return tf.reduce_mean(maps, axis=(1, 2), keepdims=keeps) * weight

    def down(signal, weight):
        signal = signal if keeps else signal[:, None, None]
        return tf.tile(signal, [1, *shape[:2], 1]) * (weight / (shape[0] * shape[1]))

    return [_plain(up, down, dtype)]


def add(step: graph.Step, dtype: tf.DType) -> list[Linear]:
    """Decompose a sum or average of maps, which are stacked along a first axis.

    Raises:
        ValueError: If the maps have different shapes.
    """
    if len({edge.shape for edge in step.inputs}) > 1:
        raise ValueError(
            f"Layer '{step.name}' ({type(step.layer).__name__}) adds maps of different shapes, "
            f"{[edge.shape for edge in step.inputs]}; LRP has a rule for equal shapes only. Choose a layer below it."
        )

    def down(signal, weight):
        return tf.stack([signal * weight] * len(step.inputs))

    part = _plain(lambda maps, weight: tf.reduce_sum(maps, axis=0) * weight, down, dtype)
    is_mean = graph.kind(step.layer) is keras.layers.Average
    return [part._replace(kernel=part.kernel / len(step.inputs)) if is_mean else part]


FILTERS = {
    keras.layers.Conv2D: conv,
    keras.layers.DepthwiseConv2D: depthwise_conv,
    keras.layers.SeparableConv2D: separable_conv,
    keras.layers.Dense: dense,
}
"""{kind of a layer with weights: function that returns its parts}"""

SUMS = {
    keras.layers.AveragePooling2D: average_pool,
    keras.layers.GlobalAveragePooling2D: global_average,
    keras.layers.Add: add,
    keras.layers.Average: add,
}
"""{kind of a layer that sums or averages: function that returns its parts}"""


def is_filter(step: graph.Step) -> bool:
    """Whether a step is a convolution or a dense layer."""
    return graph.kind(step.layer) in FILTERS


def is_sum(step: graph.Step) -> bool:
    """Whether a step sums or averages; this includes the operation `a + b`, which is not a layer."""
    return graph.kind(step.layer) in SUMS or (type(step.layer).__name__ == "Add" and len(step.inputs) > 1)


def _filter(step, kernel, dtype, up, down, **settings):
    check_channels_last(step)
    layer, shape = step.layer, step.inputs[0].shape
    taps = [(size - 1) * rate + 1 for size, rate in zip(kernel.shape[:2], layer.dilation_rate, strict=True)]
    borders = [
        pooling.window_padding(*axis, layer.padding) for axis in zip(shape[:2], taps, layer.strides, strict=True)
    ]

    def padded(maps, kernel):
        maps = tf.pad(maps, [(0, 0), *borders, (0, 0)])
        return up(maps, kernel, layer.strides, layer.dilation_rate, **settings)

    def transposed(signal, kernel):
        return down(signal, kernel, shape, layer.strides, layer.padding, layer.dilation_rate, **settings)

    return Linear(_weights(kernel, dtype), 0.0, padded, transposed)


def _plain(up, down, dtype):
    """A linear map with equal weights, given by a single number."""
    return Linear(tf.ones([], dtype), 0.0, up, down)


def _weights(variable, dtype):
    return tf.cast(tf.convert_to_tensor(variable), dtype)


def _bias(step, dtype):
    return _weights(step.layer.bias, dtype) if step.layer.use_bias else 0.0
