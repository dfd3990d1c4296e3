"""Convolutions and their transposes as pure functions of tensors (Zeiler & Fergus, arXiv:1311.2901, section 2.1).

All functions take and return NHWC tensors of any float dtype and preserve that dtype. The `transpose_*` functions are
exact adjoints: `<conv(x), y> == <x, transpose_conv(y)>` up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from deconv.ops.arguments import IntOrPair, Padding
from deconv.ops.pooling import pair, window_padding


def conv(
    maps: tf.Tensor,
    kernel: tf.Tensor,
    strides: IntOrPair = 1,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> tf.Tensor:
    """Convolve maps without padding or bias; the transpose is `transpose_conv`.

    Args:
        maps: Tensor `(batch, height, width, channels)`.
        kernel: `(kernel rows, kernel columns, channels / groups, filters)`.
        strides, dilation: Int or pair.
        groups: Int.

    Returns:
        Tensor `(batch, rows, columns, filters)`.
    """
    # One group at a time, as in `transpose_conv`.
    parts = zip(tf.split(maps, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True)
    maps = [tf.nn.conv2d(part, filters, pair(strides), "VALID", dilations=pair(dilation)) for part, filters in parts]
    return maps[0] if groups == 1 else tf.concat(maps, axis=-1)


def depthwise_conv(maps: tf.Tensor, kernel: tf.Tensor, strides: IntOrPair = 1, dilation: IntOrPair = 1) -> tf.Tensor:
    """Convolve each channel without padding or bias; as `conv`, with a kernel `(.., .., channels, multiplier)`."""
    # TensorFlow supports only equal strides in both directions, and no strides together with dilation.
    (down, right), step = pair(strides), [1, 1, 1, 1]
    if down == right and pair(dilation) == (1, 1):
        return tf.nn.depthwise_conv2d(maps, kernel, [1, down, right, 1], "VALID")
    return tf.nn.depthwise_conv2d(maps, _dilate(kernel, pair(dilation)), step, "VALID")[:, ::down, ::right]


def transpose_conv(
    maps: tf.Tensor,
    kernel: tf.Tensor,
    input_shape: Sequence[int],
    strides: IntOrPair = 1,
    padding: Padding = "valid",
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> tf.Tensor:
    """Apply the transpose of a convolution, that is the same filters flipped (section 2.1). Biases are not used.

    Args:
        maps: Tensor `(batch, rows, columns, filters)`.
        kernel: `(kernel rows, kernel columns, channels / groups, filters)`, as the convolution holds it.
        input_shape: `(height, width, channels)` of the input of the convolution, as ints.
        strides, padding, dilation, groups: Those of the convolution.

    Returns:
        Tensor `(batch, height, width, channels)`.
    """
    kernel, strides = _dilate(kernel, pair(dilation)), pair(strides)
    if strides != (1, 1):
        return _transpose_strided_conv(maps, kernel, input_shape, strides, padding, groups)
    shape = tf.stack([tf.shape(maps)[0], *input_shape[:2], input_shape[2] // groups])
    # One group at a time: TensorFlow has no grouped transpose in float64, nor without oneDNN.
    below = [
        tf.nn.conv2d_transpose(group, filters, shape, 1, padding.upper())
        for group, filters in zip(tf.split(maps, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True)
    ]
    below = below[0] if groups == 1 else tf.concat(below, axis=-1)
    return tf.ensure_shape(below, [None, *input_shape])


def transpose_depthwise_conv(
    maps: tf.Tensor,
    kernel: tf.Tensor,
    input_shape: Sequence[int],
    strides: IntOrPair = 1,
    padding: Padding = "valid",
    dilation: IntOrPair = 1,
) -> tf.Tensor:
    """Transpose a depthwise convolution; as `transpose_conv`, with a kernel `(.., .., channels, multiplier)`."""
    kernel = _dilate(kernel, pair(dilation))
    shape = tf.stack([tf.shape(maps)[0], *input_shape])
    strides = [1, *pair(strides), 1]
    below = tf.nn.depthwise_conv2d_backprop_input(shape, kernel, maps, strides, padding.upper())
    return tf.ensure_shape(below, [None, *input_shape])


def _transpose_strided_conv(maps, kernel, input_shape, strides, padding, groups):
    """Compute the transpose of a strided convolution as a convolution without strides: the same sums in another order.

    Row `i * stride + phase` of the result depends on every `stride`-th row of a filter only. Each phase is therefore a
    separate convolution, and all phases together are one convolution with `stride` times as many channels per axis.
    TensorFlow's own transpose is several times slower if the input has few channels, as in a first layer.
    """
    height, width, channels = input_shape
    (down, right), taps = strides, kernel.shape[:2]
    blocks = [math.ceil(size / stride) for size, stride in zip(taps, strides, strict=True)]
    whole = [[0, block * stride - size] for block, stride, size in zip(blocks, strides, taps, strict=True)]
    parts = []
    for group, filters in zip(tf.split(maps, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True):
        filters = tf.pad(filters, [*whole, [0, 0], [0, 0]])
        filters = tf.reshape(filters, [blocks[0], down, blocks[1], right, *kernel.shape[2:3], -1])
        filters = tf.reverse(tf.transpose(filters, [0, 2, 5, 1, 3, 4]), [0, 1])
        filters = tf.reshape(filters, [*blocks, group.shape[-1], down * right * channels // groups])
        borders = [[0, 0], *([block - 1, block - 1] for block in blocks), [0, 0]]
        parts.append(tf.nn.conv2d(tf.pad(group, borders), filters, 1, "VALID"))
    rows, columns = (size + block - 1 for size, block in zip(maps.shape[1:3], blocks, strict=True))
    parts = [tf.reshape(part, [-1, rows, columns, down, right, channels // groups]) for part in parts]
    below = parts[0] if groups == 1 else tf.concat(parts, axis=-1)
    below = tf.reshape(tf.transpose(below, [0, 1, 3, 2, 4, 5]), [-1, rows * down, columns * right, channels])
    # Crop the padding; rows and columns that no filter covers are zero.
    top, left = (
        window_padding(size, tap, stride, padding)[0]
        for size, tap, stride in zip((height, width), taps, strides, strict=True)
    )
    below = below[:, top : top + height, left : left + width]
    missing = [[0, height - below.shape[1]], [0, width - below.shape[2]]]
    return tf.ensure_shape(tf.pad(below, [[0, 0], *missing, [0, 0]]), [None, *input_shape])


def _dilate(kernel, dilation):
    """Insert zeros between the taps of a kernel, which turns a dilated convolution into an ordinary one."""
    if dilation == (1, 1):
        return kernel
    for axis, rate in enumerate(dilation):
        shape = kernel.shape.as_list()
        taps = tf.expand_dims(kernel, axis + 1)
        taps = tf.pad(taps, [[0, rate - 1] if place == axis + 1 else [0, 0] for place in range(5)])
        shape[axis] *= rate
        kernel = tf.reshape(taps, shape)
    rows, columns = (size - rate + 1 for size, rate in zip(kernel.shape[:2], dilation, strict=True))
    return kernel[:rows, :columns]
