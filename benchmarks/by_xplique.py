"""Xplique, on the Keras model itself; an environment of its own will do.

Its `output_layer` is not looked at by explainers that take gradients (2.0.2), so the model is cut at the layer before
it gets it. Contrast normalisation is passed straight through (`twins.straight_model`).
"""

import numpy as np

from benchmarks import subjects, twins
from benchmarks.workers import Contestant


class Projections(Contestant):
    """`DeconvNet`, whose operator picks another unit in each image; no channel is averaged away."""

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
    """`Occlusion`, which leaves out what its last step does not reach.

    Its map is the sum, over the squares on a pixel, of what each takes from the probability.
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
