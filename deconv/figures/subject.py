"""Whom the pictures are about: a model, the images that it is shown, and how they reach it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from deconv import graph


class Subject(NamedTuple):
    """A trained model and a data set to look at it with.

    Attributes:
        model: Functional or Sequential `keras.Model` ending in class probabilities.
        weights: One line that says where its weights come from.
        data: A `deconv.datasets.ImageSet`: images in pixel units with labels and ids.
        preprocess: From a batch of images in pixel units to what the model takes.
        fill: What covers in the occlusion experiment and moves in at the border, in pixel units.
        square: Side of the covering square, in pixels.
        seed: Seed of every random choice.
    """

    model: keras.Model
    weights: str
    data: Any
    preprocess: Callable
    fill: float = 0.0
    square: int = 8
    seed: int = 0

    def filters(self):
        """Names of the convolutions, from the image up."""
        return [step.name for step in graph.walk(self.model).steps if isinstance(step.layer, keras.layers.Conv2D)]

    def pools(self):
        """Names of the max poolings, from the image up."""
        return [step.name for step in graph.walk(self.model).steps if isinstance(step.layer, keras.layers.MaxPooling2D)]

    def pick(self, ids):
        """The images with these ids, `(n, height, width, channels)` in pixel units, in one pass over the data."""
        wanted, found = np.unique(ids), {}
        for images, _, numbers in self.data.dataset.batch(256).prefetch(1).as_numpy_iterator():
            found.update((int(numbers[place]), images[place]) for place in np.flatnonzero(np.isin(numbers, wanted)))
        return np.stack([found[number] for number in np.ravel(ids).tolist()])

    def examples(self):
        """One image of each class, drawn with the seed: `(images, labels, ids)`."""
        parts = [part[1:] for part in self.data.dataset.batch(256).as_numpy_iterator()]
        labels, ids = (np.concatenate(part) for part in zip(*parts, strict=True))
        random = np.random.default_rng(self.seed)
        classes = np.unique(labels)
        drawn = np.array([random.choice(ids[labels == label]) for label in classes])
        return self.pick(drawn), classes, drawn
