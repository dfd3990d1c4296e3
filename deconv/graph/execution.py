"""Run a model graph step by step in inference mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from deconv.graph.model_graph import Edge

if TYPE_CHECKING:
    import tensorflow as tf

    from deconv.graph.model_graph import Graph, Step


def run(graph: Graph, images: tf.Tensor, call: Callable[..., Any] | None = None) -> dict[Edge, tf.Tensor]:
    """Run the graph on a batch in inference mode.

    Args:
        graph: A `Graph` with one input.
        images: Tensor `(batch, *input shape)`.
        call: Function `call(step, *args, **kwargs)` that replaces the call of the layer; None for `call_layer`.

    Returns:
        `{edge: tensor}` for every edge of the graph.
    """
    call = call or call_layer
    values = {}

    def forward(images):
        values[graph.inputs[0]] = images
        for step in graph.steps:
            args, kwargs = keras.tree.map_structure(
                lambda leaf: values[leaf] if isinstance(leaf, Edge) else leaf, (step.args, step.kwargs)
            )
            results = keras.tree.flatten(call(step, *args, **kwargs))
            values.update(zip(step.outputs, results, strict=True))
        return results

    _Inference(forward)(images, training=False)
    return values


def call_layer(step: Step, *args: Any, **kwargs: Any) -> Any:
    """Call the layer of a step without side effects on it: no losses are recorded, no state is updated."""
    if "training" in kwargs:  # `predict` ignores the recorded value too
        kwargs = {**kwargs, "training": False}
    with keras.StatelessScope():
        return step.layer(*args, **kwargs)


class _Inference(keras.layers.Layer):
    """Outer layer inside whose call all other layers run.

    It sets `training` to False for them. It also keeps Keras from treating each of them as the start of a new call,
    which would clear the losses that they hold.
    """

    def __init__(self, forward):
        super().__init__(autocast=False, name="inference")
        self.forward = forward

    def call(self, images, training=False):
        return self.forward(images)
