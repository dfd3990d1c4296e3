"""Contestant tf-explain, whose occluding patch has its own size as stride and is filled with 127.5."""

import numpy as np

from benchmarks import subjects
from benchmarks.workers import Contestant


class Occlusion(Contestant):
    """`OcclusionSensitivity.get_sensitivity_map`, which computes the map without drawing it.

    It resizes 1 - probability to the image's size; the probabilities that it requests from the model are compared.
    """

    needs = ("tf_explain.core.occlusion_sensitivity",)
    settings = (64, 16, 256)

    def __init__(self, subject):
        super().__init__(subject)
        self.model = subjects.model_of(subject.name)

    def compute(self, case, setting):
        from tf_explain.core.occlusion_sensitivity import OcclusionSensitivity

        size, _, _ = case
        asked = _Asked(self.model)
        OcclusionSensitivity(batch_size=setting).get_sensitivity_map(
            asked, self.subject.images[0], self.subject.target, size
        )
        return asked.found[:, self.subject.target]

    def result(self, case, found):
        side = int(len(found) ** 0.5)
        return found.reshape(side, side).T


class _Asked:
    """Wrap a model and record its outputs."""

    def __init__(self, model):
        self.model = model

    def predict(self, images, batch_size=None):
        self.found = self.model.predict(np.asarray(images), batch_size=batch_size, verbose=0)
        return self.found


CONTESTANTS = {"occlusion: tf-explain": Occlusion}
