"""Contestants of Xplique, on the Keras model itself; it may run in an environment of its own.

Its gradient methods ignore `output_layer` (2.0.2), so the model is cut at the layer beforehand. The derivative of
contrast normalisation is replaced by the identity (`twins.straight_model`).
"""

import numpy as np

from benchmarks import subjects, twins
from benchmarks.workers import Contestant


class Projections(Contestant):
    """`DeconvNet`, whose operator selects another unit in each image; channels are not averaged."""

    needs = ("xplique",)
    settings = (9, 18, 36, 72)

    def __init__(self, subject):
        super().__init__(subject)
        self.model, self.explainers = subjects.model_of(subject.name), {}

    def compute(self, case, setting):
        import tensorflow as tf
        from xplique.attributions import DeconvNet

        def picked(model, inputs, targets):
            return tf.gather_nd(model(inputs), tf.cast(targets, tf.int32), batch_dims=1)

        layer, which = case
        if (layer, setting) not in self.explainers:
            cut = twins.straight_model(self.model, layer)
            self.explainers[layer, setting] = DeconvNet(cut, batch_size=setting, operator=picked, reducer=None)
        units = self.subject.chosen(layer, which)
        targets = np.concatenate([units.positions, units.channels[:, None]], axis=1).astype(np.float32)
        return self.explainers[layer, setting].explain(self.subject.images[units.numbers], targets).numpy()


class Occlusion(Contestant):
    """`Occlusion`, which omits positions that its last step does not reach.

    The value of a pixel in its map is the sum of the probability changes of all patches that cover the pixel.
    """

    needs = ("xplique",)
    settings = (64, 16, 256)

    def __init__(self, subject):
        super().__init__(subject)
        self.model = subjects.model_of(subject.name)

    def compute(self, case, setting):
        from xplique.attributions import Occlusion as Explainer

        size, stride, fill = case
        explainer = Explainer(
            self.model, batch_size=setting, patch_size=size, patch_stride=stride, occlusion_value=float(fill)
        )
        target = np.zeros((1, self.model.output_shape[-1]), np.float32)
        target[0, self.subject.target] = 1
        return explainer.explain(self.subject.images[:1], target).numpy()[0, ..., 0]


CONTESTANTS = {"projections: xplique": Projections, "occlusion: xplique": Occlusion}
