"""Pooling and unpooling of the deconvnet as pure functions of tensors (Zeiler & Fergus, arXiv:1311.2901, section 2.1).

All functions take and return NHWC tensors of any float dtype and preserve that dtype.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from deconv.ops import unpooling
from deconv.ops.arguments import Collisions, IntOrPair, Padding
from deconv.ops.unpooling import Windows
from deconv.runtime import devices

COLLISIONS = ("sum", "last", "max")


def rectify(maps: tf.Tensor) -> tf.Tensor:
    """Set negative values to zero: feature maps are positive, so their reconstructions should be too (section 2.1)."""
    return tf.nn.relu(maps)


def max_pool_with_switches(
    maps: tf.Tensor,
    pool_size: IntOrPair,
    strides: IntOrPair | None = None,
    padding: Padding = "valid",
) -> tuple[tf.Tensor, tf.Tensor]:
    """Compute max pooling and the position of each maximum.

    Switches are positions in the input map in row-major order (`row * width + column`), without batch, channel or
    padding. Among several equal maxima of a window, as in regions that are zero everywhere, the first in row-major
    order is selected. A padded cell is never selected.

    Args:
        maps: Float tensor `(batch, height, width, channels)` of finite values; height and width must be static.
        pool_size: Int or `(rows, columns)` of a window.
        strides: Int or pair, by default `pool_size`.
        padding: `"valid"` or `"same"`, TensorFlow's conventions; or `"ceil"`, Caffe's, where the last window may extend
            beyond the bottom and right edges.

    Returns:
        `(pooled, switches)`, both `(batch, rows, columns, channels)`; `switches` is int32.
    """
    maps = tf.convert_to_tensor(maps)
    pool, strides = pair(pool_size), pair(pool_size if strides is None else strides)
    height, width = maps.shape[1:3]
    (rows, top, bottom), (columns, left, right) = (
        _windows(size, cell, stride, padding) for size, cell, stride in zip((height, width), pool, strides, strict=True)
    )
    if top or bottom or left or right:
        lowest = tf.constant(-math.inf, maps.dtype)
        maps = tf.pad(maps, [[0, 0], [top, bottom], [left, right], [0, 0]], constant_values=lowest)
    pooled, argmax = max_pool_with_argmax(maps, pool, strides)
    row_of = tf.range(rows)[:, None, None] * strides[0] - top + argmax // pool[1]
    column_of = tf.range(columns)[:, None] * strides[1] - left + argmax % pool[1]
    return pooled, row_of * width + column_of


def max_pool_with_argmax(
    maps: tf.Tensor, pool_size: tuple[int, int], strides: tuple[int, int]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Compute max pooling without padding, and the index of each maximum in its window.

    Args:
        maps: Float tensor `(batch, height, width, channels)`; height and width must be static.
        pool_size, strides: Pairs `(rows, columns)`.

    Returns:
        `(pooled, argmax)`, both `(batch, rows, columns, channels)`; `argmax` is int32, `row * columns + column` in
        the window, the first in row-major order of equal maxima.
    """
    count = pool_size[0] * pool_size[1]
    if tuple(maps.shape[1:3]) == tuple(pool_size):
        cells = tf.reshape(maps, [-1, 1, count, maps.shape[-1]])
        pooled = tf.reduce_max(cells, axis=2, keepdims=True)
        # tf.argmax does not define which of several equal maxima it returns; GPUs and CPUs differ.
        argmax = tf.reduce_min(tf.where(cells == pooled, tf.range(count)[:, None], count - 1), axis=2, keepdims=True)
        return pooled, argmax
    pooled = tf.nn.max_pool2d(maps, pool_size, strides, "VALID")
    first = [np.arange(size) * stride for size, stride in zip(pooled.shape[1:3], strides, strict=True)]
    rank = tf.zeros(tf.shape(pooled), tf.int32)
    for row in range(pool_size[0]):
        rows = tf.gather(maps, first[0] + row, axis=1)  # several times as fast as a slice with a stride
        for column in range(pool_size[1]):
            is_maximum = tf.gather(rows, first[1] + column, axis=2) == pooled
            rank = tf.maximum(rank, tf.cast(is_maximum, tf.int32) * (count - row * pool_size[1] - column))
    return pooled, count - rank


def unpool(
    pooled: tf.Tensor,
    switches: tf.Tensor,
    input_shape: Sequence[int],
    collisions: Collisions = "sum",
    *,
    pool_size: IntOrPair | None = None,
    strides: IntOrPair | None = None,
    padding: Padding = "valid",
) -> tf.Tensor:
    """Place every pooled value at the position of its maximum; all other cells are zero (arXiv:1311.2901, section 2.1).

    Overlapping windows may share a maximum; by default their values are summed, which makes `unpool` the exact
    transpose of pooling with fixed switches. The paper does not specify this case. The result is deterministic on every
    device. With a GPU it is computed there if the windows are given, otherwise on the CPU: TensorFlow has no
    deterministic scatter for GPUs.

    Args:
        pooled: Tensor `(batch, rows, columns, channels)`, the values.
        switches: Integer tensor of the same shape, from `max_pool_with_switches`.
        input_shape: `(height, width, channels)` of the input of the pooling, as ints.
        collisions: `"sum"`; or, to measure the effect of that choice, `"last"` (the later window in row-major order
            overwrites) or `"max"` (the larger value is kept).
        pool_size, strides, padding: Those of the pooling (`max_pool_with_switches`). They do not affect the values.

    Returns:
        Tensor `(batch, height, width, channels)`, with the dtype of `pooled`.

    Raises:
        ValueError: If `pooled` and `switches` differ in shape, `collisions` is not one of the three, or the number of
            windows differs from the number of values.
    """
    check_collisions(collisions)
    pooled, switches = tf.convert_to_tensor(pooled), tf.convert_to_tensor(switches)
    if not pooled.shape.is_compatible_with(switches.shape):
        raise ValueError(
            f"pooled and switches must have the same shape; received {tuple(pooled.shape)} and {tuple(switches.shape)}."
            " Take both from the same call of max_pool_with_switches."
        )
    height, width, _ = input_shape
    windows = None if pool_size is None else pooling_windows((height, width), pool_size, strides, padding)
    if windows is not None:
        counts = tuple(count for count, _, _ in map(_windows, (height, width), *windows[:2], (padding, padding)))
        if counts != tuple(pooled.shape[1:3]):
            raise ValueError(
                f"Windows of {windows.size} with strides {windows.strides} and padding {padding!r} give {counts} "
                f"values for a map of {height} x {width}; received {tuple(pooled.shape[1:3])}. Give the pooling's own."
            )
    switches = tf.cast(switches, tf.int32)
    inside = (switches >= 0) & (switches < height * width)
    where = f"switches must lie in a map of {height} x {width}"
    cells = None
    if windows is not None and devices.on_gpu():
        cells = unpooling.cells_of(switches, width, windows)
        for cell, size in zip(cells, windows.size, strict=True):
            inside &= (cell >= 0) & (cell < size)
        where += f", in their windows of {windows.size[0]} x {windows.size[1]}"
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(inside), [where])]):
        if windows is not None and cells is not None:
            return unpooling.place(tf.identity(pooled), cells, input_shape, windows, collisions)
        switches = tf.identity(switches)
    with _on_cpu():
        return _scatter(pooled, switches, input_shape, collisions)


def scatter(values: tf.Tensor, places: tf.Tensor, shape: Sequence[int], windows: Windows | None = None) -> tf.Tensor:
    """Sum values at positions in maps that are zero elsewhere: `unpool` without checks of the positions.

    Args:
        values: Tensor `(batch, rows, columns, channels)`.
        places: Integer tensor of the same shape, `row * width + column` of a map; one outside of it ends the process.
        shape: `(height, width, channels)` of the maps, as ints.
        windows: The `Windows` of the pooling that contain the positions, None if unknown; needed to compute on a GPU.

    Returns:
        Tensor `(batch, height, width, channels)`.
    """
    if windows is not None and devices.on_gpu():
        return unpooling.place(values, unpooling.cells_of(places, shape[1], windows), shape, windows)
    with _on_cpu():
        return _scatter(values, places, shape, "sum")


def pooling_windows(
    size: Sequence[int],
    pool_size: IntOrPair,
    strides: IntOrPair | None = None,
    padding: Padding = "valid",
) -> Windows:
    """Return the `Windows` of a pooling of maps of `size`; other arguments as for `max_pool_with_switches`."""
    pool, strides = pair(pool_size), pair(pool_size if strides is None else strides)
    before = [window_padding(*axis, padding)[0] for axis in zip(size, pool, strides, strict=True)]
    return Windows(pool, strides, pair(before))


def _scatter(values, places, shape, collisions):
    """Scatter values on a CPU, where this is several times as fast as masked additions."""
    height, width, channels = shape
    if collisions == "sum":
        places = tf.cast(places, tf.int64) * channels + tf.range(channels, dtype=tf.int64)
        # TensorFlow's gradient of max pooling sums at the maxima, several times as fast as a segment sum. The window
        # size has no effect, as long as the pooled maps have the size of `values`.
        rows, columns = values.shape[1:3]
        maps = tf.raw_ops.MaxPoolGradWithArgmax(
            input=tf.zeros(tf.stack([tf.shape(values)[0], height, width, channels]), values.dtype),
            grad=values,
            argmax=places,
            ksize=[1, height - rows + 1, width - columns + 1, 1],
            strides=[1, 1, 1, 1],
            padding="VALID",
        )
        return tf.ensure_shape(maps, (None, height, width, channels))
    batch = tf.shape(values)[0]
    image = tf.range(batch)[:, None, None, None] * (height * width)
    place = tf.reshape((image + places) * channels + tf.range(channels), [-1])
    places = batch * (height * width * channels)
    values = tf.reshape(values, [-1])
    if collisions == "max":
        unpooled = tf.math.unsorted_segment_max(values, place, places)
    else:
        last = tf.math.unsorted_segment_max(tf.range(tf.size(values)), place, places)
        unpooled = tf.gather(values, tf.maximum(last, 0))
    unpooled = tf.where(_is_hit(place, places), unpooled, tf.zeros_like(unpooled))
    return tf.reshape(unpooled, tf.stack([batch, height, width, channels]))


def _on_cpu():
    """Device scope of the CPU if there is a GPU, for operations without a deterministic GPU kernel."""
    return tf.device("CPU:0") if devices.on_gpu() else contextlib.nullcontext()


def transpose_average_pool(
    maps: tf.Tensor,
    input_shape: Sequence[int],
    pool_size: IntOrPair,
    strides: IntOrPair | None = None,
    padding: Padding = "valid",
) -> tf.Tensor:
    """Apply the transpose of average pooling: each cell of a window receives its share of the value.

    With `"same"` padding the average is over the cells inside the map only, as in TensorFlow.

    Args:
        maps: Tensor `(batch, rows, columns, channels)`.
        input_shape: `(height, width, channels)` of the input of the pooling, as ints.
        pool_size, strides, padding: Those of the pooling; `padding` is `"valid"` or `"same"`.

    Returns:
        Tensor `(batch, height, width, channels)`.
    """
    shape = tf.stack([tf.shape(maps)[0], *input_shape])
    pool, strides = pair(pool_size), pair(strides or pool_size)
    below = tf.raw_ops.AvgPoolGrad(
        orig_input_shape=shape,
        grad=maps,
        ksize=[1, *pool, 1],
        strides=[1, *strides, 1],
        padding=padding.upper(),
    )
    return tf.ensure_shape(below, [None, *input_shape])


def window_padding(size: int, kernel: int, stride: int, padding: Padding) -> tuple[int, int]:
    """Compute the padding `(before, after)` along one axis of length `size`, in cells.

    `"valid"` and `"same"` are TensorFlow's conventions. `"ceil"` pads at the end so that the number of windows is
    rounded up, as in Caffe and cuda-convnet.

    Raises:
        ValueError: If `padding` is none of these.
    """
    if padding not in ("valid", "same", "ceil"):
        raise ValueError(f"padding must be 'valid', 'same' or 'ceil'; received {padding!r}.")
    if padding == "valid":
        return 0, 0
    if padding == "ceil":
        return 0, max(math.ceil((size - kernel) / stride) * stride + kernel - size, 0)
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _windows(size, cells, stride, padding):
    """`(windows, before, after)` along one axis."""
    before, after = window_padding(size, cells, stride, padding)
    return (size + before + after - cells) // stride + 1, before, after


def _is_hit(place, places):
    return tf.math.unsorted_segment_max(tf.ones_like(place), place, places) > 0


def pair(value: IntOrPair | np.ndarray) -> tuple[int, int]:
    """Return a pair of ints from one int or a pair."""
    rows, columns = (value, value) if isinstance(value, int) else value
    return int(rows), int(columns)


def check_collisions(collisions: str) -> None:
    """Check that a value is one of `COLLISIONS`, the policies of `unpool`.

    Raises:
        ValueError: If it is not.
    """
    if collisions not in COLLISIONS:
        raise ValueError(f"collisions must be one of {', '.join(COLLISIONS)}; received {collisions!r}.")
