"""Unpooling as masked, shifted additions: deterministic on every device, without scatter or atomic operations.

On a GPU a scatter sums colliding values in an order that differs from run to run, and TensorFlow refuses the gradient
of max pooling by switches there under `enable_op_determinism`. If the pooling windows are known, no scatter is needed:
for each block of strides that the windows cover, a cell of the map is the cell `(i, j)` of one window. It receives the
value of that window if its switch is `(i, j)`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deconv.ops.arguments import Collisions


class Windows(NamedTuple):
    """The windows of a pooling, as pairs (down, right).

    Attributes:
        size: Rows and columns of a window.
        strides: Distance between neighbouring windows.
        before: Number of cells by which the first window extends beyond the top and left edges.
    """

    size: tuple[int, int]
    strides: tuple[int, int]
    before: tuple[int, int] = (0, 0)


def cells_of(switches: tf.Tensor, width: int, windows: Windows) -> tuple[tf.Tensor, tf.Tensor]:
    """Convert switches to rows and columns within their windows.

    Args:
        switches: Integer tensor `(batch, rows, columns, channels)`, `row * width + column` of the map.
        width: Width of the map.
        windows: `Windows`.

    Returns:
        Two int64 tensors shaped like `switches`. A switch outside of its window gives a cell outside of the window.
    """
    rows, columns = (
        np.arange(count) * stride - before
        for count, stride, before in zip(switches.shape[1:3], windows.strides, windows.before, strict=True)
    )
    switches = tf.cast(switches, tf.int64)  # TensorFlow computes int32 on the CPU even with a GPU
    row = switches // width
    return row - rows[:, None, None], switches - row * width - columns[:, None]


def place(
    values: tf.Tensor,
    cells: tuple[tf.Tensor, tf.Tensor],
    shape: Sequence[int],
    windows: Windows,
    collisions: Collisions = "sum",
) -> tf.Tensor:
    """Place pooled values at cells of their windows, in maps that are zero elsewhere.

    Args:
        values: Tensor `(batch, rows, columns, channels)`.
        cells: From `cells_of`.
        shape: `(height, width, channels)` of the maps, as ints.
        windows: `Windows`.
        collisions: As for `deconv.ops.pooling.unpool`. Windows are visited in row-major order, as in a scatter on a
            CPU, so that sums are equal to the last bit.

    Returns:
        Tensor `(batch, height, width, channels)`.
    """
    height, width, channels = shape
    counts, size = values.shape[1:3], windows.size
    # A single window overlaps no other, so its stride can be enlarged to its size.
    strides = [
        max(stride, cells) if count == 1 else stride
        for count, stride, cells in zip(counts, windows.strides, size, strict=True)
    ]
    # (batch, window row, row in a stride, window column, column in a stride, channel), to be reshaped to maps.
    split_shape = [-1, counts[0], 1, counts[1], 1, channels]
    merged_shape = [-1, counts[0] * strides[0], counts[1] * strides[1], channels]
    argmax, values = tf.reshape(cells[0] * size[1] + cells[1], split_shape), tf.reshape(values, split_shape)
    blocks = [math.ceil(cells / stride) for cells, stride in zip(size, strides, strict=True)]
    maps = is_set = None
    # Reversed, because the last block of strides belongs to the first window in row-major order.
    for down, right in ((row, column) for row in reversed(range(blocks[0])) for column in reversed(range(blocks[1]))):
        row, column = (block * stride + np.arange(stride) for block, stride in zip((down, right), strides, strict=True))
        inside = (row < size[0])[:, None] & (column < size[1])
        cell = np.where(inside, row[:, None] * size[1] + column, -1)[:, None, :, None]
        is_argmax = argmax == cell.astype(np.int64)
        corner = [
            block * stride - before
            for block, stride, before in zip((down, right), strides, windows.before, strict=True)
        ]

        def on_map(values, corner=corner):
            return _on_map(tf.reshape(values, merged_shape), corner, (height, width))

        shifted = on_map(tf.where(is_argmax, values, tf.zeros([], values.dtype)))
        if collisions == "sum":
            maps = shifted if maps is None else maps + shifted
            continue
        hits = on_map(tf.cast(is_argmax, values.dtype)) > 0
        if maps is None:
            maps, is_set = shifted, hits
        elif collisions == "last":
            maps = tf.where(hits, shifted, maps)
        else:
            maps = tf.where(hits & is_set, tf.maximum(maps, shifted), tf.where(hits, shifted, maps))
            is_set |= hits
    return tf.ensure_shape(maps, (None, height, width, channels))


def _on_map(maps, corner, size):
    """Place maps with their first cell at `corner` of maps of another size: cropped, and zero elsewhere."""
    starts, ends, borders = [0], [None], [[0, 0]]
    for length, first, cells in zip(maps.shape[1:3], corner, size, strict=True):
        start, end = max(-first, 0), max(min(length, cells - first), 0)
        start = min(start, end)
        before = min(max(first, 0), cells)
        starts, ends, borders = [*starts, start], [*ends, end], [*borders, [before, cells - before - (end - start)]]
    maps = maps[:, starts[1] : ends[1], starts[2] : ends[2]]
    borders.append([0, 0])
    return tf.pad(maps, borders) if any(any(border) for border in borders) else maps
