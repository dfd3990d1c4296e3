"""Grad-CAM: activation maps weighted by their mean gradient, which localise the evidence for a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.attribution.compiled_network import network_of
from deconv.attribution.targets import chosen
from deconv.graph import modified_gradients
from deconv.graph.compilation import compile_function

_RESAMPLING = (
    *graph.IDLE,
    keras.layers.MaxPooling1D,
    keras.layers.MaxPooling2D,
    keras.layers.MaxPooling3D,
    keras.layers.AveragePooling1D,
    keras.layers.AveragePooling2D,
    keras.layers.AveragePooling3D,
    keras.layers.ZeroPadding1D,
    keras.layers.ZeroPadding2D,
    keras.layers.ZeroPadding3D,
    keras.layers.Reshape,
    keras.layers.InputLayer,
)
"""Layers that only move or smooth the maps below them."""


def grad_cam(
    model: keras.Model,
    images: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    *,
    unit: Literal["max", "map"] | Sequence[int] = "max",
    at: str | int | None = None,
    rectify: bool = True,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
) -> np.ndarray:
    """Compute `grad_cam_map` and resize it bilinearly to the image, as Selvaraju et al. do.

    All channels of the result are equal, so that its shape is that of the other methods. The cells of the map are
    spread over the image as equal tiles. The receptive field of a unit is larger than its tile and, at the border of
    maps without padding, lies further inside. The map of a sequence or a volume is resized linearly along each axis.

    Args and Raises: As for `grad_cam_map`.

    Returns:
        Array shaped like `images`, non-negative with `rectify`.
    """
    maps = grad_cam_map(
        model, images, target, layer, unit=unit, at=at, rectify=rectify, batch_size=batch_size, input_shape=input_shape
    )
    shape, axes = np.shape(images)[1:], maps.ndim - 2
    edges = [edge.shape for step in network_of(model, layer, input_shape).graph.steps for edge in step.outputs]
    is_grey = len(shape) == axes and (*shape, 1) in edges  # a network that adds the channel axis itself
    if not is_grey and len(shape) != axes + 1:
        raise ValueError(
            f"grad_cam resizes its map, here of {axes} {'axis' if axes == 1 else 'axes'}, to the image, which must "
            f"have as many axes and channels; model '{model.name}' takes images of shape {shape}. grad_cam_map "
            "returns the map without resizing."
        )
    resized = _resized(maps, shape[:axes])
    return resized[..., 0] if is_grey else np.repeat(resized, shape[-1], axis=-1)


def grad_cam_map(
    model: keras.Model,
    images: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    *,
    unit: Literal["max", "map"] | Sequence[int] = "max",
    at: str | int | None = None,
    rectify: bool = True,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
) -> np.ndarray:
    """Compute the sum of the activation maps of a layer, weighted by their mean gradients.

    Selvaraju et al., arXiv:1610.02391, section 3.

    Args:
        model, images, target, layer, unit, batch_size, input_shape: As for `gradient`.
        at: Name, path or index of the layer whose activation maps are used, after its activation function. None for the
            last layer below `layer` with maps of more than one cell that is not a pooling. The paper uses the last
            convolution, which is the same layer unless branches or normalisations follow it.
        rectify: Whether negative values, which are evidence against the unit, are set to zero, as in the paper.

    Returns:
        Array `(n, rows, columns, 1)` with the size of the maps of `at`, in the dtype of the model's input. Maps of a
        sequence have one axis in place of two, those of a volume three.

    Raises:
        ValueError: If `at` is not below `layer` or has no maps, or anything does not fit the model.
    """
    units = chosen(model, images, target, layer, unit, batch_size=batch_size, input_shape=input_shape)
    step = _last_maps(units.graph) if at is None else _maps_at(graph.walk(model, input_shape), units.graph, at)
    weighted_sum = units.network.compiled(_weighted_sum, step.name)
    parts = [weighted_sum(units.images[part], units.signal[part]).numpy() for part in units.batches(batch_size)]
    maps = np.concatenate(parts).astype(units.images.dtype)
    return np.maximum(maps, 0) if rectify else maps


def _weighted_sum(model_graph, name):
    """Compile images and a signal to the sum over the channels of a layer, each times its mean gradient."""
    step = next(step for step in model_graph.steps if step.name == name)
    image, top, space = model_graph.inputs[0], model_graph.steps[-1], list(range(1, len(step.output.shape)))

    def weighted_sum(images, signal):
        with tf.GradientTape() as tape:
            tape.watch(images)
            values, before = modified_gradients.run(model_graph, images)
            total = tf.reduce_sum(before[top.name] * tf.cast(signal, before[top.name].dtype))
        maps = values[step.output]
        gradient = tape.gradient(total, maps, unconnected_gradients="zero")
        return tf.reduce_sum(maps * tf.reduce_mean(gradient, axis=space, keepdims=True), axis=-1, keepdims=True)

    signal = tf.TensorSpec((None, *top.output.shape), top.output.dtype)
    return compile_function(weighted_sum, tf.TensorSpec((None, *image.shape), image.dtype), signal)


def _with_maps(model_graph):
    """The steps below the last one with maps: of rows and columns, or of as many axes as the images have.

    If no step has two axes, as in a network of sequences, maps with one axis are taken.
    """
    ranks = (len(model_graph.inputs[0].shape),) if len(model_graph.inputs[0].shape) > 3 else (3, 2)
    for rank in ranks:
        shapes = [(step, step.output.shape) for step in model_graph.steps[:-1]]
        with_maps = [step for step, shape in shapes if len(shape) == rank and np.prod(shape[:-1]) > 1]
        if with_maps:
            return with_maps
    return []


def _resized(maps, space):
    """Resize maps `(n, *axes, 1)` linearly to `(n, *space, 1)`, with pixels as areas, not points."""
    if len(space) == 2:
        return tf.image.resize(maps, space).numpy().astype(maps.dtype)
    resized = maps
    for axis, size in enumerate(space, 1):
        before, after = resized.shape[:axis], resized.shape[axis + 1 :]
        flat = resized.reshape(int(np.prod(before)), resized.shape[axis], int(np.prod(after)), 1)
        resized = tf.image.resize(flat, (size, flat.shape[2])).numpy().reshape(*before, size, *after)
    return resized.astype(maps.dtype)


def _last_maps(model_graph):
    """The step whose maps are used if no layer is named."""
    for step in reversed(_with_maps(model_graph)):
        if not issubclass(graph.kind(step.layer), _RESAMPLING):
            return step
    raise ValueError(
        f"Model '{model_graph.name}' has no layer with activation maps below layer '{model_graph.steps[-1].name}'. "
        "Grad-CAM needs a convolution below the layer that is explained."
    )


def _maps_at(whole, model_graph, at):
    """The step with the name `at`, which must have maps."""
    step = graph.find(whole, at)
    names = [below.name for below in _with_maps(model_graph)]
    if step.name not in names:
        raise ValueError(
            f"at must be a layer with maps below layer '{model_graph.steps[-1].name}': {', '.join(names) or 'none'}; "
            f"received '{step.name}'."
        )
    return step
