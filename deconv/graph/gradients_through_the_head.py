"""A network that takes whole numbers, continued to all numbers between them: only there it has a derivative."""

import tensorflow as tf

from deconv import graph
from deconv.graph.compilation import traced
from deconv.runtime.dtypes import is_floating


def continued(model_graph):
    """The same graph with a floating-point input, if its own is of whole numbers.

    Such networks turn their pixels into floating point themselves, by a `Rescaling`, a `Normalization` or a cast. Given
    the same numbers in floating point, every layer up to there does what it did, and has a derivative.

    Args:
        model_graph: A `Graph` with one input.

    Returns:
        A `Graph` whose edges are all floating point: float64 at the input if one of its edges was, else float32. The
        same graph if its input is floating point already.

    Raises:
        ValueError: If a layer computes with whole numbers as such, as an `Embedding` does.
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
            raise ValueError("whole numbers stay")
        if tape.gradient(values[top.output], images) is None:
            raise ValueError("no derivative")

    try:
        traced(forward, tf.TensorSpec((None, *image.shape), dtype))
    except (ValueError, TypeError, LookupError, tf.errors.OpError) as error:
        raise ValueError(
            f"Model '{model_graph.name}' takes whole numbers ({image.dtype}) and computes with them as such (up to "
            f"layer '{reached[-1].name}'), so that nothing has a derivative along them. Cut the model above the layer "
            "that embeds or converts them."
        ) from error

    return graph.with_edges(model_graph, edges)
