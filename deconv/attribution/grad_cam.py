"""Where in the maps of a filter layer a class is decided: the maps, weighed by their mean gradient."""

import keras
import numpy as np
import tensorflow as tf

from deconv import backward, graph
from deconv.attribution.units import chosen
from deconv.recording import traced

_PLACES = (
    *graph.IDLE,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.ZeroPadding2D,
    keras.layers.Reshape,
    keras.layers.InputLayer,
)
"""Layers that only move or blur what the maps below them hold."""


def grad_cam(
    model,
    images,
    target=None,
    layer=None,
    *,
    unit="max",
    at=None,
    rectify=True,
    batch_size=32,
    input_shape=None,
):
    """`grad_cam_map`, resized to the image bilinearly, as Selvaraju et al. do.

    A place has no colour: every channel of the result holds the same numbers, so that its shape is that of all other
    methods. The cells of the map are laid over the image side by side; what a unit sees is larger than its cell, and at
    the border of maps without padding it lies further in.

    Args and Raises: As for `grad_cam_map`.

    Returns:
        Array shaped like `images`, at least zero with `rectify`.
    """
    maps = grad_cam_map(
        model, images, target, layer, unit=unit, at=at, rectify=rectify, batch_size=batch_size, input_shape=input_shape
    )
    shape = np.shape(images)
    resized = tf.image.resize(maps, shape[1:3]).numpy().astype(maps.dtype)
    return np.repeat(resized, shape[3], axis=-1)


def grad_cam_map(
    model,
    images,
    target=None,
    layer=None,
    *,
    unit="max",
    at=None,
    rectify=True,
    batch_size=32,
    input_shape=None,
):
    """The maps of a layer, summed with their mean gradients for weights.

    Selvaraju et al., arXiv:1610.02391, section 3.

    Args:
        model, images, target, layer, unit, batch_size, input_shape: As for `gradient`.
        at: Name, path or index of the layer whose maps are weighed, after its activation. None for the last one below
            `layer` that has a map of more than one cell and is no pooling: theirs is the last convolution, which is the
            same unless branches or normalisations follow it.
        rectify: Whether what speaks against the unit is set to zero, as theirs is.

    Returns:
        Array `(n, rows, columns, 1)` with the size of the maps of `at`, in the dtype of the model's input.

    Raises:
        ValueError: If `at` is not below `layer` or has no maps, or anything does not fit the model.
    """
    asked = chosen(model, images, target, layer, unit, batch_size=batch_size, input_shape=input_shape)
    step = _last_maps(asked.graph) if at is None else _maps_at(graph.walk(model, input_shape), asked.graph, at)
    down = asked.network.compiled(_weighed, step.name)
    parts = [down(asked.images[part], asked.signal[part]).numpy() for part in asked.batches(batch_size)]
    maps = np.concatenate(parts).astype(asked.images.dtype)
    return np.maximum(maps, 0) if rectify else maps


def _weighed(laid, name):
    """Compile images and a signal to the sum over the channels of a layer, each times its mean gradient."""
    step = next(step for step in laid.steps if step.name == name)
    image, top = laid.inputs[0], laid.steps[-1]

    def down(images, signal):
        with tf.GradientTape() as tape:
            tape.watch(images)
            values, before = backward.run(laid, images)
            total = tf.reduce_sum(before[top.name] * tf.cast(signal, before[top.name].dtype))
        maps = values[step.output]
        slopes = tape.gradient(total, maps, unconnected_gradients="zero")
        return tf.reduce_sum(maps * tf.reduce_mean(slopes, axis=(1, 2), keepdims=True), axis=-1, keepdims=True)

    signal = tf.TensorSpec((None, *top.output.shape), top.output.dtype)
    return traced(down, tf.TensorSpec((None, *image.shape), image.dtype), signal)


def _has_maps(step):
    shape = step.output.shape
    return len(shape) == 3 and shape[0] * shape[1] > 1


def _last_maps(laid):
    """The step that is weighed where none is named."""
    for step in reversed(laid.steps[:-1]):
        if _has_maps(step) and not issubclass(graph.kind(step.layer), _PLACES):
            return step
    raise ValueError(
        f"Below layer '{laid.steps[-1].name}' of model '{laid.name}' no layer has maps to weigh. "
        "Grad-CAM needs a convolution below the layer that is explained."
    )


def _maps_at(whole, laid, at):
    """The step that is called `at`."""
    step = graph.find(whole, at)
    known = [below.name for below in laid.steps[:-1] if _has_maps(below)]
    if step.name not in known:
        raise ValueError(
            f"at must be a layer with maps below layer '{laid.steps[-1].name}': {', '.join(known) or 'none'}; "
            f"received '{step.name}'."
        )
    return step
