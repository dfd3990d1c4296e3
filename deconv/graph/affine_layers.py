"""Linear and affine layers that move, drop, repeat or mix values, and their transposes.

There are many such layers with different settings, so no transpose is implemented individually: the layer itself is
differentiated, which gives the exact transpose of a linear layer.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from deconv import graph

COPIES = (
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Permute,
    keras.layers.RepeatVector,
    keras.layers.Cropping1D,
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding3D,
    keras.layers.UpSampling1D,
    keras.layers.UpSampling2D,
    keras.layers.UpSampling3D,
)
"""Layers each of whose outputs is one of the inputs or zero; `UpSampling2D` only with nearest neighbours."""

COPY_OPERATIONS = (
    "ArraySplit",
    "Concatenate",
    "ExpandDims",
    "Flip",
    "GetItem",
    "Moveaxis",
    "Repeat",
    "Reshape",
    "Roll",
    "Split",
    "Squeeze",
    "Stack",
    "Swapaxes",
    "Tile",
    "Transpose",
    "Unstack",
)
"""Class names of such operations: `keras.ops.split(maps, 2)`, `maps[..., ::-1]`."""

AFFINE_OPERATIONS = ("Add", "Cast", "ConvertToTensor", "Divide", "Multiply", "Negative", "Subtract", "TrueDivide")
"""Class names of operations that scale, shift or add maps, such as `maps / 255`."""

LINEAR = (keras.layers.UpSampling2D, keras.layers.Resizing, keras.layers.CenterCrop)
"""Layers whose outputs are sums of inputs with constant weights."""


def is_copy(step: graph.Step) -> bool:
    """Return whether each output of a step is one of its inputs or zero."""
    layer = step.layer
    if not isinstance(layer, keras.layers.Layer):
        return type(layer).__name__ in COPY_OPERATIONS
    return graph.kind(layer) in COPIES and getattr(layer, "interpolation", "nearest") == "nearest"


def forward(
    operation: keras.layers.Layer | keras.Operation, given: tuple[Any, Any], maps: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Run a layer or operation.

    Args:
        operation: A Keras layer or operation without variables.
        given: `(args, kwargs)` of its call, with `place(number)` in place of its inputs.
        maps: Tensors, its inputs.

    Returns:
        List of tensors.
    """
    places = {place(number): tensor for number, tensor in enumerate(maps)}
    args, kwargs = keras.tree.map_structure(
        lambda leaf: places.get(leaf, leaf) if isinstance(leaf, str) else leaf, given
    )
    return keras.tree.flatten(operation.call(*args, **kwargs))  # calling the operation itself would change its state


def transpose(
    operation: keras.layers.Layer | keras.Operation,
    given: tuple[Any, Any],
    shapes: Sequence[tuple[int, ...]],
    signals: Sequence[tf.Tensor],
) -> list[tf.Tensor]:
    """Apply the transpose of a linear layer.

    Args:
        operation, given: As for `forward`.
        shapes: Shape of each input, without the batch.
        signals: A tensor for each output, `(batch, *its shape)`.

    Returns:
        List of tensors, one for each input.
    """
    with tf.GradientTape() as tape:
        maps = [tf.zeros((tf.shape(signals[0])[0], *shape), signals[0].dtype) for shape in shapes]
        tape.watch(maps)
        results = forward(operation, given, maps)
    signals = [tf.cast(signal, result.dtype) for signal, result in zip(signals, results, strict=True)]
    return tape.gradient(results, maps, output_gradients=signals, unconnected_gradients="zero")


def call_of(step: graph.Step) -> tuple[keras.layers.Layer | keras.Operation, tuple[Any, Any]]:
    """Return the operation and the arguments of a step, as `forward` takes them."""
    numbers = itertools.count()
    given = keras.tree.map_structure(
        lambda leaf: place(next(numbers)) if isinstance(leaf, graph.Edge) else leaf, (step.args, step.kwargs)
    )
    return step.layer, given


def place(number: int) -> str:
    """Return the placeholder of an input in the arguments of a call."""
    return f"__input_{number}__"
