"""Receptive fields and projective fields on the model graph.

A window is `(top, left, bottom, right)`, bottom and right exclusive. The receptive field of one position is a
`ReceptiveField`. The receptive field of a window of positions reaches from the first cell of the first position to the
last cell of the last; the projective field of a window of cells holds every position that depends on one of them. The
part outside of a map is padding and is clipped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import ArrayLike

from deconv import graph
from deconv.graph import activation_functions
from deconv.graph.affine_layers import AFFINE_OPERATIONS
from deconv.graph.function_behaviour import EVERYTHING
from deconv.graph.layer_receptive_field import ONE, ReceptiveField, of
from deconv.ops.pooling import window_padding
from deconv.runtime.dtypes import any_array
from deconv.validation import check_channels_last

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
    keras.layers.Normalization,
    *graph.IDLE,
    keras.layers.Concatenate,
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Subtract,
    keras.layers.Multiply,
    keras.layers.Maximum,
    keras.layers.Minimum,
)
"""Layers each of whose units depends on one position of each input, if its activation does too. Unknown activations
are classified by calling them (`activation_functions`). Layers in no list are taken to depend on the whole input."""
ALONG_AN_AXIS = ("LayerNormalization", "UnitNormalization", "RMSNormalization", "Concatenate", "Flip", "Roll", "Split")
"""Layers and operations that are pointwise if their axis is the channel axis, and depend on the whole input
otherwise."""


def receptive_windows(
    model: keras.Model, layer: str | int, positions: ArrayLike, *, input_shape: Sequence[int] | None = None
) -> np.ndarray:
    """Compute the receptive field of units of a layer in the image, clipped to the image.

    Args:
        model: A functional or Sequential `keras.Model`.
        layer: Name, path or index.
        positions: Ints `(..., 2)`, row and column of each unit. They have no effect for a dense layer.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Returns:
        int64 array `(..., 4)`: top, left, bottom, right. No pixel outside of its window changes a unit. A unit that
        depends on padding only has an empty window: bottom equals top, or right equals left.

    Raises:
        ValueError: If there is no such layer, a position lies outside its map, or the input of the model is not an
            image.
    """
    model_graph, step = _cut(model, layer, input_shape)
    positions = any_array(positions)
    size = _plane(step.output)
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
    windows = windows_below(model_graph, positions.reshape(-1, 2).astype(np.int64))[model_graph.inputs[0]]
    return windows.reshape(*positions.shape[:-1], 4)


def touched_windows(
    model: keras.Model, layer: str | int, rectangles: ArrayLike, *, input_shape: Sequence[int] | None = None
) -> np.ndarray:
    """Compute the projective field of rectangles of the image in a layer.

    No unit outside of the projective field depends on the rectangle.

    Args:
        model: A functional or Sequential `keras.Model`.
        layer: Name, path or index.
        rectangles: Ints `(..., 4)`: top, left, bottom, right of parts of the image, not empty.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Returns:
        int64 array `(..., 4)`: top, left, bottom, right in rows and columns of the map, `[0, 0, 1, 1]` for a dense
        layer; zeros where no unit depends on the rectangle, as between windows whose stride exceeds their size.

    Raises:
        ValueError: If there is no such layer, a rectangle is empty or leaves the image, or the input of the model is
            not an image.
    """
    model_graph, step = _cut(model, layer, input_shape)
    rectangles = any_array(rectangles)
    height, width = model_graph.inputs[0].shape[:2]
    if (
        rectangles.shape[-1:] != (4,)
        or rectangles.dtype.kind not in "iu"
        or (rectangles < 0).any()
        or (rectangles[..., 2:] > (height, width)).any()
        or (rectangles[..., 2:] <= rectangles[..., :2]).any()
    ):
        raise ValueError(
            f"rectangles must be (top, left, bottom, right) inside the image, {height} by {width} pixels, with "
            f"top < bottom and left < right; received {rectangles.tolist()!r}."
        )
    windows = windows_above(model_graph, rectangles.reshape(-1, 4).astype(np.int64))[step.output]
    return windows.reshape(rectangles.shape)


def windows_below(model_graph: graph.Graph, positions: np.ndarray) -> dict[graph.Edge, np.ndarray]:
    """Compute the receptive fields of units of the last step on every edge below it: `{edge: (n, 4) ints}`, clipped.

    `positions` are ints `(n, 2)`, row and column of each unit.
    """
    top = model_graph.steps[-1].output
    windows = {top: np.concatenate([positions, positions + 1], axis=1)}
    if len(top.shape) != 3:
        windows[top] = _everything(top, len(positions))
    for step in reversed(model_graph.steps):
        for output in windows.keys() & set(step.outputs):
            above = windows[output]
            for edge, field in zip(step.inputs, receptive_fields(step, output), strict=True):
                window = _everything(edge, len(above)) if field is None else _clip(field.input_windows(above), edge)
                window = np.where(_is_empty(above), 0, window)
                windows[edge] = _union(windows[edge], window) if edge in windows else window
    return windows


def windows_above(
    model_graph: graph.Graph, rectangles: np.ndarray, growth: float | None = None
) -> dict[graph.Edge, np.ndarray]:
    """Compute the projective fields of rectangles of the image on every edge: `{edge: (n, 4) ints}`, clipped.

    With `growth`, a share, each window is cut around its centre to that share of the rows and columns of its map before
    the next is computed (the projective field threshold of Krypton, Nakandala et al., SIGMOD 2019).
    """
    windows, count = {model_graph.inputs[0]: rectangles}, len(rectangles)
    for step in model_graph.steps:
        for output in step.outputs:
            touched = np.zeros_like(rectangles)
            for edge, field in zip(step.inputs, receptive_fields(step, output), strict=True):
                below = windows[edge]
                window = _everything(output, count) if field is None else _clip(field.output_windows(below), output)
                touched = _union(touched, np.where(_is_empty(below) | _is_empty(window), 0, window))
            if growth is not None:
                touched = _capped(touched, np.ceil(np.multiply(_plane(output), growth)).astype(np.int64))
            windows[output] = touched
    return windows


def receptive_fields_below(model_graph: graph.Graph) -> dict[graph.Edge, ReceptiveField | None]:
    """Compute the receptive field of a unit of the last step on all edges below: `{edge: ReceptiveField}`, not clipped.

    None for an edge on whose whole map the unit depends, or if the size of its receptive field varies with the
    position; `{}` if the output of the last step has no spatial positions.
    """
    top = model_graph.steps[-1].output
    if len(top.shape) != 3:
        return {}
    fields: dict[graph.Edge, ReceptiveField | None] = {top: ONE}
    for step in reversed(model_graph.steps):
        for output in fields.keys() & set(step.outputs):
            above = fields[output]
            for edge, field in zip(step.inputs, receptive_fields(step, output), strict=True):
                composed = None if above is None or field is None else above.composed_with(field)
                if edge in fields:
                    known = fields[edge]
                    composed = None if composed is None or known is None else known.union(composed)
                fields[edge] = composed
    return fields


def receptive_fields(step: graph.Step, output: graph.Edge | None = None) -> list[ReceptiveField | None]:
    """Return the receptive field of one output position of a step on each of its inputs.

    Args:
        step: A `Step`.
        output: Edge, one of its outputs; None for the first.

    Returns:
        List with a `ReceptiveField` for each input, None where the position depends on the whole input.
    """
    return [_receptive_field(step, edge, step.output if output is None else output) for edge in step.inputs]


def _receptive_field(step, edge, output):
    layer = step.layer
    if len(edge.shape) != 3 or len(output.shape) != 3:
        return None
    if isinstance(layer, POOLS + FILTERS) and graph.computes_as(layer, POOLS + FILTERS):
        check_channels_last(step)
        activation = activation_functions.behaviour(getattr(layer, "activation", None), step.output.shape)
        if activation.depends_on == EVERYTHING:
            return None
        if isinstance(layer, POOLS):
            cells = layer.pool_size
        else:
            cells = [(size - 1) * rate + 1 for size, rate in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
        axes = zip(edge.shape[:2], cells, layer.strides, strict=True)
        return of(cells, layer.strides, [window_padding(*axis, layer.padding)[0] for axis in axes])
    if graph.computes_as(layer, (keras.layers.ZeroPadding2D,)):
        check_channels_last(step)
        (above, _), (before, _) = layer.padding
        return ONE._replace(before=(above, before))
    if graph.computes_as(layer, (keras.layers.Cropping2D,)):
        check_channels_last(step)
        (above, _), (before, _) = layer.cropping
        return ONE._replace(before=(-above, -before))
    activation = activation_functions.of(step)
    if activation_functions.of_step(step) is not None:
        by_kind = not isinstance(layer, keras.layers.Layer) or isinstance(layer, (*POINTWISE, keras.layers.Lambda))
        # Layers of unknown class depend on the whole input, unless they compute a named function.
        pointwise = activation.depends_on != EVERYTHING and (by_kind or activation.kind != "other")
    else:
        pointwise = graph.computes_as(layer, POINTWISE) or _is_along_channels(step)
        if not isinstance(layer, keras.layers.Layer):
            pointwise = pointwise or type(layer).__name__ in AFFINE_OPERATIONS
        pointwise = pointwise and (activation is None or activation.depends_on != EVERYTHING)
    return ONE if pointwise and edge.shape[:2] == output.shape[:2] else None


def _is_along_channels(step):
    """Whether a layer or operation works along the channel axis only, or indexes it only (`maps[..., ::-1]`)."""
    layer, name = step.layer, type(step.layer).__name__
    if name in ALONG_AN_AXIS and type(layer).__module__.split(".")[0] == "keras":
        return all(axis in (-1, 3) for axis in np.atleast_1d(np.asarray(layer.axis, object)))
    if name != "GetItem" or len(step.args) < 2 or not isinstance(step.args[1], tuple):
        return False
    *rest, _ = step.args[1]
    return rest == [Ellipsis] or rest == [slice(None)] * 3


def _cut(model, layer, input_shape):
    model_graph = graph.walk(model, input_shape)
    step = graph.find(model_graph, layer)
    model_graph = graph.subgraph(model_graph, step)
    shape = model_graph.inputs[0].shape
    if len(shape) != 3:
        raise ValueError(
            f"Receptive fields need an input of shape (height, width, channels); model '{model.name}' takes {shape}. "
            "Give the model such an input, followed by a keras.layers.Reshape to the shape that its first layer takes."
        )
    return model_graph, step


def _is_empty(windows):
    """`(n, 1)` bools: receptive fields that hold only padding, or projective fields that hold no unit."""
    return (windows[:, 2:] <= windows[:, :2]).any(axis=1, keepdims=True)


def _clip(windows, edge):
    return np.clip(windows, 0, _plane(edge) * 2)


def _capped(windows, largest):
    """Windows cut to at most a size, around the same centre."""
    first, size = windows[:, :2], windows[:, 2:] - windows[:, :2]
    capped = np.minimum(size, largest)
    first = first + (size - capped) // 2
    return np.concatenate([first, first + capped], axis=1)


def _union(one, other):
    both = np.concatenate([np.minimum(one[:, :2], other[:, :2]), np.maximum(one[:, 2:], other[:, 2:])], axis=1)
    return np.where(_is_empty(one), other, np.where(_is_empty(other), one, both))


def _everything(edge, count):
    return np.tile(np.array([0, 0, *_plane(edge)], dtype=np.int64), (count, 1))


def _plane(edge):
    """Rows and columns of a map; a vector is one cell."""
    return edge.shape[:2] if len(edge.shape) == 3 else (1, 1)


def plane(shape: Sequence[int]) -> tuple[int, int]:
    """Return rows and columns of a map; a map with one spatial axis is one row, a vector one cell."""
    return (shape[0], shape[1]) if len(shape) == 3 else (1, math.prod(shape[:-1]))
