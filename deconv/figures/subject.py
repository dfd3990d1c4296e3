"""Whom the pictures are about: a model, the images that it is shown, and how they reach it."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from deconv import graph
from deconv.datasets.sampling import check_one_label
from deconv.imaging.pixel_space import to_pixel_space
from deconv.plotting import crop, signed
from deconv.validation import preprocessed

_MAPS = (9, 16, 12, 10, 10)
"""Maps of layers 1 to 5 that the paper's Fig. 2 shows, counted in its drawing."""


class Subject(NamedTuple):
    """A trained model and a data set to look at it with.

    Attributes:
        model: Functional or Sequential `keras.Model` ending in class probabilities.
        weights: One line that says where its weights come from.
        data: A `deconv.datasets.ImageSet`: images in pixel units with labels and ids, one label for each image.
        preprocess: From a batch of images in pixel units to what the model takes.
        fill: What covers in the occlusion experiment and moves in at the border, in pixel units.
        square: Side of the covering square, in pixels.
        stride: Its step, in pixels.
        contrast: Which percentile of a projection's magnitudes is drawn as white or black; what exceeds it is clipped.
        seed: Seed of every random choice.
        classes: Names of the model's classes; None if they are the data's.
        training: The images that the model was trained on, or None where they are not at hand.
        held_out: Images of the same kind that it was not trained on, or None.
        transfer: An `ImageSet` of another kind, for what is learnt from the model's features; or None. It may
            have several labels for an image, as in Table 6.
        runs: Folder with groups of trained networks to compare, `evolution`, `regularisation`, `ablation`; or None.
        parts: CSV file with the rectangles of parts to hide, see `deconv.correspondence`; or None.
        trained_on: Which of the two the model (the runs need not) has been trained on: `"training"`, `"both"`, or None
            if that is not known, or neither.
        others: Subjects of other trained networks to set beside this one, as in Fig. 6.
    """

    model: keras.Model
    weights: str
    data: Any
    preprocess: Callable
    fill: float = 0.0
    square: int = 8
    stride: int = 1
    contrast: float = 100.0
    seed: int = 0
    classes: tuple | None = None
    training: Any = None
    held_out: Any = None
    transfer: Any = None
    runs: Path | None = None
    parts: Path | None = None
    others: tuple = ()
    trained_on: str | None = None

    @property
    def class_names(self):
        """Names of the model's classes."""
        return self.data.class_names if self.classes is None else self.classes

    def filters(self):
        """Names of the convolutions, from the image up."""
        return [step.name for step in graph.walk(self.model).steps if isinstance(step.layer, keras.layers.Conv2D)]

    def pools(self):
        """Names of the max poolings, from the image up."""
        return [step.name for step in graph.walk(self.model).steps if isinstance(step.layer, keras.layers.MaxPooling2D)]

    def channels(self, layer, count, limit=None):
        """A random subset of a layer's channels, in order, drawn with the seed.

        Args:
            layer: Its name.
            count: How many channels it has.
            limit: How many at most; None for as many as the paper shows of such a layer.
        """
        if limit is None:
            filters = self.filters()
            limit = _MAPS[min(filters.index(layer), len(_MAPS) - 1)] if layer in filters else _MAPS[-1]
        random = np.random.default_rng([self.seed, zlib.crc32(layer.encode())])
        return np.sort(random.choice(count, min(count, limit), replace=False))

    def pick(self, ids):
        """The images with these ids, `(n, height, width, channels)` in pixel units; no others are decoded."""
        return self.data.pick(ids)

    def examples(self, limit=10):
        """One image of each class, of at most `limit` classes, drawn with the seed: `(images, labels, ids)`."""
        labels, ids = self.data.listing()
        check_one_label(labels, self.data.name)
        random = np.random.default_rng(self.seed)
        classes = np.unique(labels)
        drawn = np.array([random.choice(ids[labels == label]) for label in classes])
        if len(classes) > limit:
            kept = np.sort(random.choice(len(classes), limit, replace=False))
            classes, drawn = classes[kept], drawn[kept]
        return self.pick(drawn), classes, drawn

    def targets(self, labels):
        """For each label of the data the model's class of that name; None where the model knows no such class."""
        names = list(self.class_names)
        if names == list(self.data.class_names):  # then they are the same classes, even if two have one name
            return [int(label) for label in labels]
        wanted = [self.data.class_names[label] for label in labels]
        return [names.index(name) if name in names else None for name in wanted]

    def background(self):
        """An image of nothing but `fill`, as the model sees it: `(height, width, channels)`."""
        return np.asarray(self.prepared(np.full((1, *self.data.image_shape), self.fill)))[0]

    def prepared(self, images):
        """Images in pixel units as the model takes them; they themselves stay as they are."""
        return preprocessed(images, self.preprocess)

    def in_colour(self, projections):
        """Projections, signed, in the colours of the images."""
        return to_pixel_space(projections, self.preprocess, self.data.image_shape[-1])

    def shown(self, projections, windows=None):
        """Projections as intensities between 0 and 1, in the colours of the images, zero at 0.5; cut to windows."""
        pictures = self.in_colour(projections)
        return signed(pictures if windows is None else crop(pictures, windows), percentile=self.contrast)

    @property
    def scale(self):
        """What each projection is divided by, in words."""
        whole = self.contrast == 100
        return "its own largest magnitude" if whole else f"the {self.contrast:g}th percentile of its magnitudes"


def in_words(shown, count):
    """Which channels a picture shows: "the 6 channels", or "9 channels, drawn at random from 96"."""
    return f"the {count} channels" if shown == count else f"{shown} channels, drawn at random from {count}"
