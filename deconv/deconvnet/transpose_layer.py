"""Mirror layer of a linear layer without its own rule: its transpose, computed by differentiation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras

from deconv.deconvnet.layers import MirrorLayer
from deconv.graph.affine_layers import transpose

if TYPE_CHECKING:
    import tensorflow as tf


@keras.saving.register_keras_serializable("deconv")
class TransposeOf(MirrorLayer):
    """Mirror layer of a linear layer or operation (`deconv.graph.affine_layers.transpose`).

    It is called with the signal, or a list of signals for a layer with several outputs.

    Args:
        operation: A Keras layer or operation without variables.
        given: `(args, kwargs)` of its call, from `deconv.graph.affine_layers.call_of`.
        input_shapes: Shapes of its inputs, without the batch.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, operation: Any, given: Any, input_shapes: Sequence[Sequence[int]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._operation = _Untracked(operation)
        self.given, self.input_shapes = given, [tuple(shape) for shape in input_shapes]

    def call(self, signals: tf.Tensor | Sequence[tf.Tensor]) -> tf.Tensor | list[tf.Tensor]:
        signals = signals if isinstance(signals, list | tuple) else [signals]
        below = transpose(self._operation.content, self.given, self.input_shapes, signals)
        return below if len(below) > 1 else below[0]

    def compute_output_shape(self, input_shapes: Sequence[Any]) -> Any:
        batch = input_shapes[0] if not isinstance(input_shapes[0], list | tuple) else input_shapes[0][0]
        shapes = [(batch, *shape) for shape in self.input_shapes]
        return shapes if len(shapes) > 1 else shapes[0]

    def get_config(self) -> dict[str, Any]:
        save = keras.saving.serialize_keras_object
        own = {"operation": save(self._operation.content), "given": save(list(self.given))}
        return {**super().get_config(), **own, "input_shapes": self.input_shapes}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TransposeOf:
        load = keras.saving.deserialize_keras_object
        operation, (args, kwargs) = load(config.pop("operation")), load(config.pop("given"))
        return cls(operation, (tuple(args), kwargs), **config)


class _Untracked:
    """Container that keeps Keras from making a layer of the model a sublayer of the mirror."""

    def __init__(self, content: Any) -> None:
        self.content = content
