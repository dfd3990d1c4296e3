"""Recorded forward pass: activations of layers, and the switches of the max poolings below them (section 2.1)."""

import keras
import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.graph.compilation import compile_function
from deconv.ops import pooling
from deconv.validation import check_images, check_positive

POOLS = (keras.layers.MaxPooling2D, keras.layers.GlobalMaxPooling2D)


def recorder(model_graph, layers, switches=()):
    """Compile a forward pass that returns activations and switches.

    Args:
        model_graph: A `Graph` with one input.
        layers: Steps whose outputs are wanted.
        switches: Max-pooling steps whose switches are wanted.

    Returns:
        A function of images `(batch, height, width, channels)`, traced once for any batch size. It returns
        `(activations, switches)`, two lists in the order of `layers` and `switches`.
    """
    pools = {step.name for step in switches}
    image = model_graph.inputs[0]

    def forward(images):
        seen = {}

        def call(step, *args, **kwargs):
            if step.name not in pools:
                return graph.call_layer(step, *args, **kwargs)
            pooled, seen[step.name] = pool_with_switches(step, args[0])
            return pooled

        values = graph.run(model_graph, images, call)
        return [values[step.output] for step in layers], [seen[step.name] for step in switches]

    return compile_function(forward, tf.TensorSpec((None, *image.shape), image.dtype))


def activations(model, images, layers, *, batch_size=64, input_shape=None):
    """Compute the outputs of layers for a batch of images in one forward pass.

    Args:
        model: A functional or Sequential `keras.Model`.
        images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
        layers: One layer or a sequence of them: names, paths or indices.
        batch_size: How many images are computed at a time.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.

    Returns:
        `{layer: (n, rows, columns, channels) or (n, channels)}`, with the layers as they were given.
    """
    model_graph = graph.walk(model, input_shape)
    layers, steps = graph.find_all(model_graph, layers)
    model_graph = graph.subgraph(model_graph, *steps)
    images = check_images(images, model_graph.inputs[0].shape, model_graph.inputs[0].dtype)
    forward = recorder(model_graph, steps)
    starts = range(0, len(images), check_positive("batch_size", batch_size))
    parts = [[maps.numpy() for maps in forward(images[start : start + batch_size])[0]] for start in starts]
    return {layer: np.concatenate(part) for layer, part in zip(layers, zip(*parts, strict=True), strict=True)}


def pool_with_switches(step, maps):
    """Run a max-pooling step and record its switches."""
    pool = step.layer
    if issubclass(graph.kind(pool), keras.layers.MaxPooling2D):
        return pooling.max_pool_with_switches(maps, pool.pool_size, pool.strides, pool.padding)
    pooled, switches = pooling.max_pool_with_switches(maps, maps.shape[1:3])
    return (pooled, switches) if pool.keepdims else (pooled[:, 0, 0], switches[:, 0, 0])
