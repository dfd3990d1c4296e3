"""Cut, paste and pad windows of maps at individual positions, as pure functions of tensors.

The *corner* `(row, column)` of a window is its first cell in the map. A window may extend beyond the edge of the map,
where a layer would pad. All windows of a batch have the same size; sizes may be tensors, so that one trace serves all
sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def cut(maps: tf.Tensor, numbers: tf.Tensor, corners: tf.Tensor, size: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Cut windows out of maps.

    Args:
        maps: Tensor `(m, height, width, channels)`.
        numbers: int32 `(n,)`, index of the map for each window.
        corners: int32 `(n, 2)`.
        size: `(rows, columns)` of every window.

    Returns:
        Tensor `(n, rows, columns, channels)`. Cells outside of the map repeat its edge; use `blank` to set them.
    """
    shape = tf.shape(maps)
    rows, columns = (
        tf.clip_by_value(cells, 0, shape[1 + axis] - 1) for axis, cells in enumerate(_cells(corners, size))
    )
    places = ((numbers[:, None] * shape[1] + rows) * shape[2])[:, :, None] + columns[:, None, :]
    return tf.gather(tf.reshape(maps, tf.stack([-1, maps.shape[-1]])), places)


def paste(
    windows: tf.Tensor,
    corners: tf.Tensor,
    below: tf.Tensor,
    numbers: tf.Tensor,
    below_corners: tf.Tensor,
    size: Sequence[int] | tf.Tensor,
) -> tf.Tensor:
    """Cut windows out of maps in which a part of each has been replaced.

    Args:
        windows: `(n, k, l, channels)`, the replaced parts.
        corners: int32 `(n, 2)`, their corners.
        below: `(m, height, width, channels)`, the original maps.
        numbers: int32 `(n,)`, index of the original map for each window.
        below_corners: int32 `(n, 2)`, corners of the windows to cut out.
        size: `(rows, columns)` of the windows to cut out.

    Returns:
        Tensor `(n, rows, columns, channels)`: the replaced part where there is one, the original map elsewhere; cells
        outside of the map repeat its edge.
    """
    shape, part = tf.shape(below), tf.shape(windows)
    cells = _cells(below_corners, size)
    rows, columns = (tf.clip_by_value(axis, 0, shape[1 + place] - 1) for place, axis in enumerate(cells))
    row, column = rows - corners[:, :1], columns - corners[:, 1:]
    changed = ((row >= 0) & (row < part[1]))[:, :, None] & ((column >= 0) & (column < part[2]))[:, None, :]
    old = ((numbers[:, None] * shape[1] + rows) * shape[2])[:, :, None] + columns[:, None, :]
    first = tf.range(part[0])[:, None] * part[1]
    new = ((first + row) * part[2])[:, :, None] + column[:, None, :]
    channels = below.shape[-1]
    both = tf.concat([tf.reshape(below, [-1, channels]), tf.reshape(windows, [-1, channels])], axis=0)
    return tf.gather(both, tf.where(changed, new + shape[0] * shape[1] * shape[2], old))


def blank(windows: tf.Tensor, corners: tf.Tensor, shape: Sequence[int] | tf.Tensor, value: float = 0.0) -> tf.Tensor:
    """Set the cells outside of the map to the padding value: zero for filters, minus infinity for max pooling.

    Args:
        windows: Float tensor `(n, rows, columns, channels)` of finite values.
        corners: int32 `(n, 2)`.
        shape: `(height, width)` of the map.
        value: 0 or `-math.inf`.

    Returns:
        Tensor of the same shape and dtype.
    """
    cells = _cells(corners, tf.shape(windows)[1:3])
    rows, columns = ((axis >= 0) & (axis < side) for axis, side in zip(cells, shape[:2], strict=True))
    inside = (rows[:, :, None] & columns[:, None, :])[..., None]
    if value:
        blanked = windows + tf.where(inside, tf.zeros([], windows.dtype), tf.constant(value, windows.dtype))
    else:
        blanked = windows * tf.cast(inside, windows.dtype)
    return tf.ensure_shape(blanked, windows.shape)


def _cells(corners, size):
    """Rows `(n, rows)` and columns `(n, columns)` of the cells of windows."""
    return [corners[:, axis, None] + tf.range(size[axis]) for axis in (0, 1)]
