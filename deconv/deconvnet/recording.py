"""Forward pass that records the activations of layers and the switches of max poolings (section 2.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.graph.compilation import compile_function
from deconv.ops import pooling
from deconv.validation import check_images, check_positive

POOLS = (keras.layers.MaxPooling2D, keras.layers.GlobalMaxPooling2D)


def recorder(
    model_graph: graph.Graph, layers: Sequence[graph.Step], switches: Iterable[graph.Step] = ()
) -> Callable[..., tuple[list[tf.Tensor], list[tf.Tensor]]]:
    """Compile a forward pass that returns activations and switches.

    Args:
        model_graph: A `Graph` with one input.
        layers: Steps whose outputs are returned.
        switches: Max-pooling steps whose switches are returned.

    Returns:
        A function of images `(batch, height, width, channels)`, traced once for any batch size. It returns
        `(activations, switches)`, two lists in the order of `layers` and `switches`.
    """
    pools = {step.name for step in switches}
    image = model_graph.inputs[0]

    def forward(images):
        recorded = {}

        def call(step, *args, **kwargs):
            if step.name not in pools:
                return graph.call_layer(step, *args, **kwargs)
            pooled, recorded[step.name] = pool_with_switches(step, args[0])
            return pooled

        values = graph.run(model_graph, images, call)
        return [values[step.output] for step in layers], [recorded[step.name] for step in switches]

    return compile_function(forward, tf.TensorSpec((None, *image.shape), image.dtype))


def activations(
    model: keras.Model,
    images: ArrayLike,
    layers: str | int | Sequence[str | int],
    *,
    batch_size: int = 64,
    input_shape: Sequence[int] | None = None,
) -> dict[Any, np.ndarray]:
    """Compute the outputs of layers for a batch of images in one forward pass.

    Args:
        model: A functional or Sequential `keras.Model`.
        images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
        layers: One layer or a sequence of them: names, paths or indices.
        batch_size: Number of images per batch.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Returns:
        `{layer: array (n, rows, columns, channels) or (n, channels)}`, whose keys are the elements of `layers`.

    Raises:
        ValueError: If a layer does not exist, or the images do not fit the model.
    """
    model_graph = graph.walk(model, input_shape)
    keys, steps = graph.find_all(model_graph, layers)
    model_graph = graph.subgraph(model_graph, *steps)
    pixels = check_images(images, model_graph.inputs[0].shape, model_graph.inputs[0].dtype)
    forward = recorder(model_graph, steps)
    starts = range(0, len(pixels), check_positive("batch_size", batch_size))
    parts = [[maps.numpy() for maps in forward(pixels[start : start + batch_size])[0]] for start in starts]
    return {layer: np.concatenate(part) for layer, part in zip(keys, zip(*parts, strict=True), strict=True)}


def pool_with_switches(step: graph.Step, maps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Run a max-pooling step and record its switches.

    Args:
        step: A step of one of `POOLS`.
        maps: Tensor `(batch, height, width, channels)`, its input.

    Returns:
        `(pooled, switches)`, both shaped like the output of the step; switches are int32, `row * width + column` of the
        input.
    """
    pool = step.layer
    if issubclass(graph.kind(pool), keras.layers.MaxPooling2D):
        return pooling.max_pool_with_switches(maps, pool.pool_size, pool.strides, pool.padding)
    pooled, switches = pooling.max_pool_with_switches(maps, maps.shape[1:3])
    return (pooled, switches) if pool.keepdims else (pooled[:, 0, 0], switches[:, 0, 0])
