"""The two layers of Fig. 5: the first layer with filters, and the last hidden layer or the last layer of features."""

from __future__ import annotations

import keras

from deconv import graph
from deconv.graph.model_graph import producer_of
from deconv.graph.model_output import has_classes, output_step

_PASSED_ON = (*graph.IDLE, keras.layers.Flatten, keras.layers.Reshape, keras.layers.ZeroPadding2D)
"""Layers whose output vector has the same norm as their input: they are no layers of features."""


def hidden_layers(model_graph: graph.Graph) -> tuple[graph.Step, graph.Step]:
    """Find the equivalents of the paper's layers 1 and 7 in any model.

    A layer of the paper (section 2) is a convolution with its rectification, pooling and contrast normalisation. The
    first hidden layer is therefore the output of the first layer with filters, up to the next layer with filters, fork,
    merge, or conversion of maps to a vector: pool1 of LeNet-5 and AlexNet. This works against the paper's claim, since
    pooling makes maps more invariant. The last hidden layer is the input of the last layer with filters, the
    classifier; in a model without class outputs it is the layer of the outputs. Dropout, flattening and padding do not
    change distances and are skipped.

    Args:
        model_graph: A `Graph`.

    Returns:
        Two steps, `(first, last)`.

    Raises:
        ValueError: If the model does not have two hidden layers.
    """
    head = output_step(model_graph)
    steps = graph.subgraph(model_graph, head).steps
    filters = [step for step in steps if _has_filters(step)]
    if filters:
        first = _whole_layer(steps, filters[0])
        last: graph.Step | None = producer_of(model_graph, filters[-1]) if has_classes(model_graph) else head
        while last is not None and isinstance(last.layer, _PASSED_ON):
            last = producer_of(model_graph, last)
        if len(filters) > 1 and last is not None and last.name != first.name:
            return first, last
    raise ValueError(
        f"Model '{model_graph.name}' has no two hidden layers to compare, a first and a last one before its "
        "classifier. Name the layers to look at: layers=[...]."
    )


def _has_filters(step):
    return any(weight.name.endswith("kernel") for weight in step.layer.weights)


def _whole_layer(steps, step):
    """The last step of a layer with filters: its rectification, pooling or normalisation."""
    end = step
    while True:
        users = [user for user in steps if step.output in user.inputs]
        if len(users) != 1 or len(users[0].inputs) != 1 or _has_filters(users[0]):
            return end
        (step,) = users
        if len(step.output.shape) != len(end.output.shape):
            return end
        if not isinstance(step.layer, _PASSED_ON):
            end = step
