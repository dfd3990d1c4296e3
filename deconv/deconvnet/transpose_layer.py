"""The mirror layer of a linear layer without a rule of its own: its transpose, found by differentiation."""

import keras

from deconv.deconvnet.layers import MirrorLayer
from deconv.graph.rearranging import transpose


@keras.saving.register_keras_serializable("deconv")
class TransposeOf(MirrorLayer):
    """Mirror layer of `transpose`; called with the signal, or a list of them for a layer with several outputs."""

    def __init__(self, operation, given, input_shapes, **kwargs):
        super().__init__(**kwargs)
        self._operation = _Untracked(operation)
        self.given, self.input_shapes = given, [tuple(shape) for shape in input_shapes]

    def call(self, signals):
        signals = signals if isinstance(signals, list | tuple) else [signals]
        down = transpose(self._operation.content, self.given, self.input_shapes, signals)
        return down if len(down) > 1 else down[0]

    def compute_output_shape(self, input_shapes):
        batch = input_shapes[0] if not isinstance(input_shapes[0], list | tuple) else input_shapes[0][0]
        shapes = [(batch, *shape) for shape in self.input_shapes]
        return shapes if len(shapes) > 1 else shapes[0]

    def get_config(self):
        save = keras.saving.serialize_keras_object
        own = {"operation": save(self._operation.content), "given": save(list(self.given))}
        return {**super().get_config(), **own, "input_shapes": self.input_shapes}

    @classmethod
    def from_config(cls, config):
        load = keras.saving.deserialize_keras_object
        operation, (args, kwargs) = load(config.pop("operation")), load(config.pop("given"))
        return cls(operation, (tuple(args), kwargs), **config)


class _Untracked:
    """Holds a layer of the model, so that it does not become a part of the mirror."""

    def __init__(self, content):
        self.content = content
