"""Subject of the figures: a model, its images, and their preprocessing."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike

from deconv import graph
from deconv.datasets.sampling import check_one_label
from deconv.graph.model_output import has_classes
from deconv.imaging.pixel_space import to_pixel_space
from deconv.plotting import crop, signed
from deconv.plotting.display import scale_text
from deconv.validation import preprocessed

_VALUES = 8e7
"""Maximum number of values of the largest activation map of a batch."""

_MOST_FILTERS = 8
"""A network of more convolutional layers is represented by some of them."""

_MAPS = (9, 16, 12, 10, 10)
"""Number of maps of layers 1 to 5 shown in the paper's Fig. 2, counted in the figure."""


class Subject(NamedTuple):
    """A trained model and a data set to analyse it with.

    Attributes:
        model: Functional or Sequential `keras.Model` ending in class probabilities, or in the activation maps of a
            layer: then figures omit what needs classes.
        weights: Origin of the weights, one line.
        data: A `deconv.datasets.ImageSet`: images in pixel units with ids and one label per image.
        preprocess: Preprocessing function: converts a batch of images in pixel units to model input.
        fill: Value of the occluding patch and of the area moved in at the border by transforms, in pixel units.
        square: Side of the occluding patch, in pixels.
        stride: Stride of the occluding patch, in pixels.
        contrast: Percentile of a projection's magnitudes that is drawn as white or black; larger values are clipped.
        seed: Seed of all random choices.
        classes: Names of the model's classes; None if they are those of the data. Ignored without class outputs.
        training: Training images of the model, or None if they are not available.
        held_out: Images of the same kind that the model was not trained on, or None.
        transfer: An `ImageSet` of another kind, for classifiers on the model's features; or None. Its images may have
            several labels, as in Table 6.
        runs: Folder with groups of trained networks to compare, `evolution`, `regularisation`, `ablation`; or None.
        parts: CSV file with the rectangles of object parts to occlude, see `deconv.correspondence`; or None.
        scratch: Networks from random weights, for comparison in Fig. 9: True to train them, False to omit them, or a
            JSON file with their results from an earlier training, which is used if it is of the same layers, images,
            settings and seed.
        trained_on: Images that the model (not necessarily the runs) was trained on: `"training"`, `"both"` (`training`
            and `held_out`), or None if unknown or neither.
        others: Subjects of other trained networks to compare with this one, as in Fig. 6.
    """

    model: keras.Model
    weights: str
    data: Any
    preprocess: Callable[[np.ndarray], Any]
    fill: float = 0.0
    square: int = 8
    stride: int = 1
    contrast: float = 100.0
    seed: int = 0
    classes: tuple[str, ...] | None = None
    training: Any = None
    held_out: Any = None
    transfer: Any = None
    runs: Path | None = None
    parts: Path | None = None
    others: tuple[Subject, ...] = ()
    trained_on: str | None = None
    scratch: bool | Path = True

    @property
    def has_classes(self) -> bool:
        """Whether the model has class outputs; a network without its classifier has none."""
        return has_classes(graph.walk(self.model))

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the model's classes; none without class outputs."""
        if not self.has_classes:
            return ()
        return self.data.class_names if self.classes is None else self.classes

    @property
    def batch_size(self) -> int:
        """Number of images computed at a time: 64, or fewer if the network has large maps, to bound the memory."""
        largest = max(int(np.prod(step.output.shape)) for step in graph.walk(self.model).steps)
        return int(max(1, min(64, _VALUES // largest)))

    def filters(self) -> list[str]:
        """Names of the convolutional layers, from the lowest to the highest."""
        return [step.name for step in graph.walk(self.model).steps if isinstance(step.layer, keras.layers.Conv2D)]

    def drawn_filters(self) -> list[str]:
        """Names of the convolutional layers that are drawn, from the lowest to the highest.

        These are all of them in a network of at most eight. A deeper network is represented by the first one, and by
        the last one of each size of maps. Where batch normalisation follows, the layer drawn is its output: a negative
        scale would reverse the order of the activations, and an activation function with an upper bound would make the
        strongest ones equal.
        """
        return [normalised or step.name for step, normalised, _ in self._chosen_filters()]

    def active_filters(self) -> list[str]:
        """As `drawn_filters`, but after the activation function where it is a layer of its own.

        Sums and shares of the activations of a map have a meaning only where they are not negative.
        """
        return [active or normalised or step.name for step, normalised, active in self._chosen_filters()]

    def examined_layers(self) -> list[str] | None:
        """Layers of a deep network whose statistics are drawn: filters and active maps; None for all layers."""
        if len(self.filters()) <= _MOST_FILTERS:
            return None
        wanted = {*(step.name for step, *_ in self._chosen_filters()), *self.active_filters()}
        steps = graph.walk(self.model).steps
        return [step.name for step in steps if step.name in wanted or isinstance(step.layer, keras.layers.Dense)]

    def _chosen_filters(self) -> list[tuple[graph.Step, str | None, str | None]]:
        """The convolutions of `drawn_filters`, each with the names of its batch normalisation and activation layers."""
        steps = graph.walk(self.model).steps
        filters = [step for step in steps if isinstance(step.layer, keras.layers.Conv2D)]
        if len(filters) > _MOST_FILTERS:
            last_of_size = {step.output.shape[:2]: step.name for step in filters}
            filters = [step for step in filters if step is filters[0] or step.name in last_of_size.values()]

        def follower(step, kind):
            return next((one for one in steps if isinstance(one.layer, kind) and step.output in one.inputs), None)

        chosen = []
        for step in filters:
            normalised = follower(step, keras.layers.BatchNormalization)
            active = follower(normalised or step, (keras.layers.Activation, keras.layers.ReLU))
            chosen.append((step, normalised and normalised.name, active and active.name))
        return chosen

    def pools(self) -> list[str]:
        """Names of the max pooling layers, from the lowest to the highest."""
        return [step.name for step in graph.walk(self.model).steps if isinstance(step.layer, keras.layers.MaxPooling2D)]

    def channels(self, layer: str, count: int, limit: int | None = None) -> np.ndarray:
        """Draw a random subset of a layer's channels with the seed, in ascending order.

        Args:
            layer: Name of the layer.
            count: Number of channels of the layer.
            limit: Maximum size of the subset; None for the number of maps shown in the paper for such a layer.

        Returns:
            `(n,)` ints, channel numbers.
        """
        if limit is None:
            filters = self.drawn_filters()
            limit = _MAPS[min(filters.index(layer), len(_MAPS) - 1)] if layer in filters else _MAPS[-1]
        random = np.random.default_rng([self.seed, zlib.crc32(layer.encode())])
        return np.sort(random.choice(count, min(count, limit), replace=False))

    def pick(self, ids: ArrayLike) -> np.ndarray:
        """Images with the given ids, `(n, height, width, channels)` in pixel units; no other images are decoded."""
        return self.data.pick(ids)

    def examples(self, limit: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One random image of each class, for at most `limit` classes: `(images, labels, ids)`."""
        labels, ids = self.data.listing()
        check_one_label(labels, self.data.name)
        random = np.random.default_rng(self.seed)
        classes = np.unique(labels)
        drawn = np.array([random.choice(ids[labels == label]) for label in classes])
        if len(classes) > limit:
            places = np.sort(random.choice(len(classes), limit, replace=False))
            classes, drawn = classes[places], drawn[places]
        return self.pick(drawn), classes, drawn

    def targets(self, labels: Iterable[int]) -> list[int | None]:
        """Map each label of the data to the model's class of the same name; None if the model has no such class."""
        if not self.has_classes:
            return [None for _ in labels]
        names = list(self.class_names)
        if names == list(self.data.class_names):  # identical classes, even if two of them have the same name
            return [int(label) for label in labels]
        wanted = [self.data.class_names[label] for label in labels]
        return [names.index(name) if name in names else None for name in wanted]

    def background(self) -> np.ndarray:
        """Preprocessed image that consists of `fill` only: `(height, width, channels)`."""
        return np.asarray(self.prepared(np.full((1, *self.data.image_shape), self.fill)))[0]

    def prepared(self, images: np.ndarray) -> Any:
        """Preprocess images in pixel units; the given array is not modified."""
        return preprocessed(images, self.preprocess)

    def in_colour(self, projections: np.ndarray) -> np.ndarray:
        """Convert signed projections to the colours of the images."""
        return to_pixel_space(projections, self.preprocess, self.data.image_shape[-1])

    def shown(self, projections: np.ndarray, windows: np.ndarray | None = None) -> np.ndarray:
        """Projections as intensities between 0 and 1, zero at 0.5, in the image colours, cropped to `windows`."""
        coloured = self.in_colour(projections)
        return signed(coloured if windows is None else crop(coloured, windows), percentile=self.contrast)

    @property
    def scale(self) -> str:
        """Description of the value by which each projection is divided."""
        return scale_text(self.contrast)


def in_words(shown: int, count: int) -> str:
    """Describe the channels of a figure: "the 6 channels", or "9 channels, drawn at random from 96"."""
    if shown == count:
        return "the only channel" if count == 1 else f"the {count} channels"
    return f"{count_of(shown, 'channel')}, drawn at random from {count}"


def count_of(count: int, noun: str) -> str:
    """A number with its noun: "1 channel", "16 channels"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
