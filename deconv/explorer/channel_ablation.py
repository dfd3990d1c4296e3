"""Class outputs of a model with single channels of a layer set to zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.graph.compilation import compile_function
from deconv.graph.model_output import check_class_outputs, has_classes
from deconv.validation import check_positive


class ChannelAblation:
    """A model compiled for setting single channels of one layer to zero.

    Args:
        model_graph: The model graph, with class outputs.
        step: The layer, one of its steps.

    Raises:
        ValueError: If the model has no class outputs.
    """

    def __init__(self, model_graph: graph.Graph, step: graph.Step) -> None:
        if not has_classes(model_graph):
            raise ValueError(
                f"Model '{model_graph.name}' has no class outputs, on which a channel could have an effect."
            )
        self._name = model_graph.name
        image, output = model_graph.inputs[0], model_graph.outputs[0]
        whole = graph.subgraph(model_graph, *(one for one in model_graph.steps if output in one.outputs))
        upper = _above(whole, step, output)

        def maps_of(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            values = graph.run(whole, images)
            return (images if upper is None else values[step.output]), values[output]

        def without(maps: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
            def call(one: graph.Step, *args: Any, **kwargs: Any) -> Any:
                result = graph.call_layer(one, *args, **kwargs)
                return masked(result, channels) if one.name == step.name else result

            if upper is None:
                return graph.run(whole, maps, call)[output]
            if not upper.steps:
                return masked(maps, channels)
            return graph.run(upper, masked(maps, channels))[output]

        def masked(maps: tf.Tensor, channels: tf.Tensor) -> tf.Tensor:
            keep = tf.one_hot(channels, step.output.shape[-1], on_value=0.0, off_value=1.0)
            shape = tf.concat([tf.shape(keep)[:1], tf.ones(len(maps.shape) - 2, tf.int32), tf.shape(keep)[1:]], 0)
            return maps * tf.cast(tf.reshape(keep, shape), maps.dtype)

        edge = image if upper is None else step.output
        self._forward = compile_function(maps_of, tf.TensorSpec((None, *image.shape), image.dtype))
        self._without = compile_function(
            without, tf.TensorSpec((None, *edge.shape), edge.dtype), tf.TensorSpec((None,), tf.int32)
        )

    def changes(
        self, images: np.ndarray, numbers: np.ndarray, channels: np.ndarray, batch_size: int = 64
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the change of the class outputs when a channel is set to zero.

        Args:
            images: Preprocessed images `(m, height, width, channels)`.
            numbers: `(n,)` ints, the image of each pair.
            channels: `(n,)` ints, the channel of each pair that is set to zero at all positions.
            batch_size: Images and pairs computed at a time.

        Returns:
            Outputs of the model for the images, `(m, classes)`, and the changes, `(n, classes)`: the output without the
            channel minus the output of the model. float64.

        Raises:
            ValueError: If outputs are NaN or infinite.
        """
        check_positive("batch_size", batch_size)
        parts = [slice(first, first + batch_size) for first in range(0, len(images), batch_size)]
        pairs = [tuple(one.numpy() for one in self._forward(images[part])) for part in parts]
        maps, outputs = (np.concatenate(one) for one in zip(*pairs, strict=True))
        changed = [
            self._without(maps[numbers[part]], channels[part].astype(np.int32)).numpy()
            for part in (slice(first, first + batch_size) for first in range(0, len(numbers), batch_size))
        ]
        outputs = check_class_outputs(outputs.astype(np.float64), self._name)
        changed_outputs = check_class_outputs(np.concatenate(changed).astype(np.float64), self._name)
        return outputs, changed_outputs - outputs[numbers]


def _above(model_graph: graph.Graph, step: graph.Step, output: graph.Edge) -> graph.Graph | None:
    """The part of a graph above a step, if that depends on the step's output alone; else None."""
    known, steps = {step.output}, []
    for one in model_graph.steps:
        if known.intersection(one.inputs):
            if not known.issuperset(one.inputs):
                return None
            steps.append(one)
            known.update(one.outputs)
    return graph.Graph(model_graph.name, (step.output,), tuple(steps)) if output in known else None
