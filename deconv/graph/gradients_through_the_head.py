"""Continue a model with integer input to floating-point input, so that gradients with respect to the image exist."""

from __future__ import annotations

import tensorflow as tf

from deconv import graph
from deconv.graph.compilation import compile_function
from deconv.runtime.dtypes import is_floating


def with_floating_input(model_graph: graph.Graph) -> graph.Graph:
    """Return the same graph with a floating-point input if its own input is of integers.

    Such models convert their pixels to floating point themselves, with a `Rescaling`, a `Normalization` or a cast.
    Given the same values in floating point, the layers up to the conversion compute the same and have a derivative.

    Args:
        model_graph: A `Graph` with one input.

    Returns:
        A `Graph` whose edges are all floating point; the input is float64 if one of the edges was, else float32. The
        same graph if its input is floating point already.

    Raises:
        ValueError: If a layer computes with integers as such, as an `Embedding` does.
    """
    image = model_graph.inputs[0]
    if is_floating(image.dtype) or not model_graph.steps:
        return model_graph
    dtype = (
        "float64" if any(edge.dtype == "float64" for step in model_graph.steps for edge in step.outputs) else "float32"
    )
    edges, reached = {}, []

    def call(step, *args, **kwargs):
        reached.append(step)
        return graph.call_layer(step, *args, **kwargs)

    def forward(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            values = graph.run(model_graph, images, call)
        edges.update((edge, graph.Edge(edge.shape, maps.dtype.name)) for edge, maps in values.items())
        top = model_graph.steps[-1]
        if not all(is_floating(edge.dtype) for edge in edges.values()):
            raise ValueError("integers remain")
        if tape.gradient(values[top.output], images) is None:
            raise ValueError("no derivative")

    try:
        compile_function(forward, tf.TensorSpec((None, *image.shape), dtype))
    except (ValueError, TypeError, LookupError, tf.errors.OpError) as error:
        raise ValueError(
            f"Model '{model_graph.name}' takes {image.dtype} images and computes with integers up to layer "
            f"'{reached[-1].name}', so it has no gradient with respect to them. Use the part of the model above the "
            "layer that embeds or converts the integers."
        ) from error

    return graph.with_edges(model_graph, edges)
