"""A model cut at a layer, with its compiled functions, cached for the lifetime of the model."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import keras
import tensorflow as tf

from deconv import graph
from deconv.graph import modified_gradients
from deconv.graph.compilation import cached, compile_function
from deconv.graph.gradients_through_the_head import with_floating_input
from deconv.runtime.dtypes import is_floating


class Network:
    """A `Graph` and its compiled functions.

    Attributes:
        graph: The `Graph` up to a layer, which is its last step.
        given: Dtype of the images that the model takes. If it is an integer dtype, the input of the graph is floating
            point instead (`with_floating_input`).
        whole: The `Network` of the unchanged model, if the model takes integers; else None.
    """

    def __init__(self, model_graph: graph.Graph, whole: Network | None = None) -> None:
        self.graph, self.whole = model_graph, whole
        self.given = (whole or self).graph.inputs[0].dtype
        self._compiled: dict[tuple, Any] = {}

    def compiled(self, build: Callable[..., Any], *options: Hashable) -> Any:
        """The result of `build(graph, *options)`, cached; `options` must be hashable."""
        key = (build, *options)
        if key not in self._compiled:
            self._compiled[key] = build(self.graph, *options)
        return self._compiled[key]


def forward(model_graph: graph.Graph) -> Callable[..., tf.Tensor]:
    """Compile the function from images to the output of the last layer before its activation function."""
    image, top = model_graph.inputs[0], model_graph.steps[-1].name
    return compile_function(
        lambda images: modified_gradients.run(model_graph, images)[1][top],
        tf.TensorSpec((None, *image.shape), image.dtype),
    )


def gradients(
    model_graph: graph.Graph, rule: str | None, norms_pass: bool
) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """`deconv.graph.modified_gradients.gradients` under a rule given by name; None for the derivative itself."""
    return modified_gradients.gradients(
        model_graph, None if rule is None else modified_gradients.RECTIFIERS[rule], norms_pass=norms_pass
    )


def network_of(
    model: keras.Model, layer: str | int | None, input_shape: Sequence[int] | None, real: bool = True
) -> Network:
    """The `Network` up to a layer, or up to the model's output for None.

    Args:
        model, layer, input_shape: As for `graph.walk` and `graph.find`.
        real: Whether a model with integer input is given a floating-point input, so that it can be differentiated.
    """

    def make() -> Network:
        model_graph = graph.walk(model, input_shape)
        outputs = [step for step in model_graph.steps if model_graph.outputs[0] in step.outputs]
        model_graph = graph.subgraph(model_graph, outputs[0] if layer is None else graph.find(model_graph, layer))
        is_whole = real and not is_floating(model_graph.inputs[0].dtype)
        return Network(with_floating_input(model_graph), Network(model_graph)) if is_whole else Network(model_graph)

    return cached(model, ("attribution", repr(layer), repr(input_shape), real), make)
