"""Windows of maps, each at a place of its own, as pure functions of tensors.

A window has a *corner* `(row, column)`, its first cell in the map. It may reach over the edge of the map, where a layer
would pad; all windows of a batch have one size. Sizes may be tensors, so that one trace serves windows of any size.
"""

import tensorflow as tf


def cut(maps, numbers, corners, size):
    """Cut windows out of maps.

    Args:
        maps: Tensor `(m, height, width, channels)`.
        numbers: int32 `(n,)`, from which map each window is.
        corners: int32 `(n, 2)`.
        size: `(rows, columns)` of every window.

    Returns:
        Tensor `(n, rows, columns, channels)`. Cells outside of the map repeat its edge; `blank` them where they count.
    """
    shape = tf.shape(maps)
    rows, columns = (
        tf.clip_by_value(cells, 0, shape[1 + axis] - 1) for axis, cells in enumerate(_cells(corners, size))
    )
    places = ((numbers[:, None] * shape[1] + rows) * shape[2])[:, :, None] + columns[:, None, :]
    return tf.gather(tf.reshape(maps, tf.stack([-1, maps.shape[-1]])), places)


def paste(windows, corners, below, numbers, below_corners, size):
    """Windows of maps of which a part has changed.

    Args:
        windows: `(n, k, l, channels)`, the changed part of each.
        corners: int32 `(n, 2)`, where it is.
        below: `(m, height, width, channels)`, the maps as they were.
        numbers: int32 `(n,)`, which of them has changed.
        below_corners: int32 `(n, 2)`, where the windows that are wanted begin.
        size: `(rows, columns)` of them.

    Returns:
        Tensor `(n, rows, columns, channels)`: the changed part where it is, else the map as it was; outside of the map
        its edge is repeated.
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


def blank(windows, corners, shape, value=0.0):
    """Set what lies outside of the map to a value: zero, as before filters, or minus infinity, as before max pooling.

    Args:
        windows: Float tensor `(n, rows, columns, channels)` of finite values.
        corners: int32 `(n, 2)`.
        shape: `(height, width)` of the map.
        value: 0 or `-math.inf`.
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
