"""Receptive-field arithmetic on the graph: the window of the image, and of every map below, that a unit sees.

A window is `(top, left, bottom, right)`, bottom and right exclusive. A position `r` behind a filter of `k` cells with
stride `s` and `p` cells of padding before the map sees the cells `r * s - p` to `r * s - p + k`, and a window of
positions sees from its first cell's first to its last cell's last; what lies outside the map is padding and is cut off.
"""

import keras
import numpy as np

from deconv import graph
from deconv.inputs import check_channels_last
from deconv.ops import window_padding

POOLS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
FILTERS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
POINTWISE = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
    keras.layers.Softmax,
    keras.layers.BatchNormalization,
    keras.layers.Dense,
    keras.layers.Rescaling,
    *graph.IDLE,
    keras.layers.Concatenate,
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Subtract,
    keras.layers.Multiply,
    keras.layers.Maximum,
    keras.layers.Minimum,
)
"""Layers each of whose units sees one position of each map below. What is in no list is taken to see everything."""
POINTWISE_OPERATIONS = ("Add", "Cast", "Subtract", "Multiply", "Relu", "Relu6", "ReLU")
"""The same for operations such as `a + b`."""


def receptive_windows(model, layer, positions, *, input_shape=None):
    """The window of the image that each unit of a layer sees, clipped to the image.

    Args:
        model: A functional or Sequential `keras.Model`.
        layer: Name, path or index.
        positions: Ints `(..., 2)`, row and column of each unit. For a dense layer they do not matter.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.

    Returns:
        int64 array `(..., 4)`: top, left, bottom, right.

    Raises:
        ValueError: If there is no such layer, or a position lies outside its map.
    """
    laid = graph.walk(model, input_shape)
    step = graph.find(laid, layer)
    laid = graph.below(laid, step)
    positions = np.asarray(positions)
    size = step.output.shape[:2] if len(step.output.shape) == 3 else (1, 1)
    if (
        positions.shape[-1:] != (2,)
        or positions.dtype.kind not in "iu"
        or (positions < 0).any()
        or (positions >= size).any()
    ):
        raise ValueError(
            f"positions must be pairs (row, column) inside the map of layer '{step.name}', {size[0]} rows by {size[1]} "
            f"columns; received {positions.tolist()!r}."
        )
    seen = windows_below(laid, positions.reshape(-1, 2).astype(np.int64))[laid.inputs[0]]
    return seen.reshape(*positions.shape[:-1], 4)


def windows_below(laid, positions):
    """For units of the last step of a graph, the window of every edge below: `{edge: (n, 4) ints}`, clipped."""
    top = laid.steps[-1].output
    windows = {top: np.concatenate([positions, positions + 1], axis=1)}
    if len(top.shape) != 3:
        windows[top] = _everything(top, len(positions))
    for step in reversed(laid.steps):
        for edge in step.inputs:
            above = windows[step.output]
            window = np.where(_is_empty(above), 0, _seen_through(step, edge, above))
            windows[edge] = _union(windows[edge], window) if edge in windows else window
    return windows


def _seen_through(step, edge, windows):
    """The window of `edge`, an input of `step`, that the window of its output needs."""
    layer, shape = step.layer, edge.shape
    if len(shape) != 3 or len(step.output.shape) != 3:
        return _everything(edge, len(windows))
    if isinstance(layer, POOLS + FILTERS):
        check_channels_last(step)
    if isinstance(layer, POOLS):
        return _clip(_through_filter(windows, shape, layer.pool_size, layer.strides, layer.padding), shape)
    if isinstance(layer, FILTERS):
        cells = [(size - 1) * rate + 1 for size, rate in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
        return _clip(_through_filter(windows, shape, cells, layer.strides, layer.padding), shape)
    if isinstance(layer, keras.layers.ZeroPadding2D):
        (above, _), (before, _) = layer.padding
        return _clip(windows - [above, before, above, before], shape)
    pointwise = issubclass(graph.kind(layer), POINTWISE) or type(layer).__name__ in POINTWISE_OPERATIONS
    if isinstance(layer, keras.layers.Softmax) and layer.axis not in (-1, 3):
        pointwise = False
    if pointwise and shape[:2] == step.output.shape[:2]:
        return windows
    return _everything(edge, len(windows))


def _through_filter(windows, shape, cells, strides, padding):
    first, last = windows[:, :2], windows[:, 2:] - 1
    before = [
        window_padding(size, cell, stride, padding)[0]
        for size, cell, stride in zip(shape[:2], cells, strides, strict=True)
    ]
    return np.concatenate([first * strides - before, last * strides - before + cells], axis=1)


def _is_empty(windows):
    """`(n, 1)` bools: a unit that sees nothing but padding, seen from below."""
    return (windows[:, 2:] <= windows[:, :2]).any(axis=1, keepdims=True)


def _clip(windows, shape):
    height, width = shape[:2]
    return np.clip(windows, 0, [height, width, height, width])


def _union(one, other):
    both = np.concatenate([np.minimum(one[:, :2], other[:, :2]), np.maximum(one[:, 2:], other[:, 2:])], axis=1)
    return np.where(_is_empty(one), other, np.where(_is_empty(other), one, both))


def _everything(edge, count):
    height, width = edge.shape[:2] if len(edge.shape) == 3 else (1, 1)
    return np.tile(np.array([0, 0, height, width], dtype=np.int64), (count, 1))
