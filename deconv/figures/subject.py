"""Whom the pictures are about: a model, the images that it is shown, and how they reach it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

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
        wanted = {number: None for number in np.unique(ids).tolist()}
        for image, _, number in self.data.dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
            if int(number) in wanted:
                wanted[int(number)] = image
        return np.stack([wanted[number] for number in np.ravel(ids).tolist()])

    def examples(self):
        """One image of each class, drawn with the seed: `(images, labels, ids)`."""
        labels_ids = [(int(label), int(number)) for _, label, number in self.data.dataset.as_numpy_iterator()]
        labels, ids = map(np.array, zip(*labels_ids, strict=True))
        random = np.random.default_rng(self.seed)
        drawn = np.array([random.choice(ids[labels == label]) for label in np.unique(labels)])
        return self.pick(drawn), np.unique(labels), drawn
