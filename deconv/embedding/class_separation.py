"""Separation of classes in each layer, measured by a nearest-neighbour classifier."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deconv.datasets.sampling import PIXELS, draw
from deconv.embedding.layout import check_sklearn
from deconv.probing.feature_vectors import vectors
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_positive

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure


class Separation(NamedTuple):
    """Nearest-neighbour accuracies in the layers, the pixels first.

    Attributes:
        layers: Names, as they were given, after `"pixels"`.
        values: `(layers,)` ints, number of values of each per image.
        classes: `(classes,)` ints, the labels.
        images: `(classes,)` ints, number of images of each class.
        neighbours: Number of neighbours that vote.
        accuracy: `(layers,)`, 0 to 1: the share of images whose neighbours predict the class, averaged over the
            classes.
        deviation: `(layers,)`, its standard error for as many randomly drawn images.
        per_class: `(layers, classes)`, the accuracy for each class.
        chance: The expected accuracy for random neighbours: one over the number of classes.
    """

    layers: tuple[str | int, ...]
    values: np.ndarray
    classes: np.ndarray
    images: np.ndarray
    neighbours: int
    accuracy: np.ndarray
    deviation: np.ndarray
    per_class: np.ndarray
    chance: float

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, name: str | None = None, title: str = "Separation of classes") -> Figure:
        """Draw the accuracy of the nearest neighbours, layer by layer (`plotting.layer_chart`)."""
        from deconv.plotting import layer_chart

        mean, spread = self.accuracy[:, None], self.deviation[:, None]
        name = f"{self.neighbours} nearest neighbours" if name is None else name
        layers = [str(layer) for layer in self.layers]
        return layer_chart(mean, spread, layers, self.values, [name], self.chance, title)


def separation(
    model: keras.Model,
    dataset: Any,
    layers: str | int | Sequence[str | int],
    *,
    neighbours: int = 5,
    images: int = 1000,
    pooled: int | tuple[int, int] | None = None,
    preprocess: Callable | None = None,
    batch_size: int = 64,
    input_shape: tuple[int, int, int] | None = None,
    seed: int = 0,
) -> Separation:
    """Compute the accuracy of a nearest-neighbour classifier in each layer.

    The class of each image is predicted, leaving the image out, by the vote of its nearest neighbours by Euclidean
    distance (a tie goes to the smaller label, as in scikit-learn). Nothing is trained, so this measures the geometry of
    the layer: how classes separate with depth. The accuracy is the mean of the classes' accuracies.

    Args:
        model: A functional or Sequential `keras.Model`.
        dataset: An `ImageSet`, or arrays `(images, labels)`. Images with a label below zero are left out.
        layers: One layer or a sequence of them: names, paths or indices. The pixels, as the model takes them, always
            come before them.
        neighbours: Number of neighbours that vote.
        images: Largest number of images, the same number of each class.
        pooled: Largest side, or `(rows, columns)`, of a grid onto which maps are averaged; None averages only layers of
            more than 75,000 values per image.
        preprocess: Preprocessing function, applied to each batch of images.
        batch_size: Number of images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        seed: Seed of the draw.

    Returns:
        `Separation`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If there are fewer than two classes, a class has fewer than two images, there are fewer images than
            neighbours, or anything does not fit the model.
    """
    check_sklearn()
    check_positive("neighbours", neighbours)
    names: list[Any] = [*layers] if isinstance(layers, list | tuple | range) else [layers]
    drawn = draw(dataset, images, seed, even=True)
    classes, answers, counts = np.unique(drawn.labels, return_inverse=True, return_counts=True)
    if len(classes) < 2 or counts.min() < 2:
        raise ValueError(
            f"There must be at least two classes of at least two images each; received {_class_sizes(counts)}. Use a "
            "larger part of the data set, or more `images`."
        )
    if len(answers) <= neighbours:
        raise ValueError(f"neighbours must be fewer than the images, {len(answers)}; received {neighbours}.")
    layer_vectors = vectors(
        model,
        drawn.images,
        [None, *names],
        pooled=pooled,
        preprocess=preprocess,
        batch_size=batch_size,
        input_shape=input_shape,
    )
    values, per_class = [], []
    for features in layer_vectors:
        values.append(features.shape[1])
        correct = predict_by_neighbours(features, answers, neighbours) == answers
        per_class.append(np.bincount(answers, correct) / counts)
    accuracies = np.array(per_class)
    return Separation(
        layers=(PIXELS, *names),
        values=np.array(values),
        classes=classes,
        images=counts,
        neighbours=neighbours,
        accuracy=accuracies.mean(axis=1),
        deviation=np.sqrt((accuracies * (1 - accuracies) / counts).sum(axis=1)) / len(classes),
        per_class=accuracies,
        chance=1 / len(classes),
    )


def _class_sizes(counts):
    """Number of classes and size of the smallest: "2 classes, the smallest of 1 image"."""
    if len(counts) < 2:
        return "1 class"
    return f"{len(counts)} classes, the smallest of {counts.min()} {'image' if counts.min() == 1 else 'images'}"


def predict_by_neighbours(vectors: np.ndarray, labels: np.ndarray, neighbours: int = 5) -> np.ndarray:
    """Predict the class of each vector by the vote of its nearest neighbours, leaving the vector itself out.

    Args:
        vectors: `(n, values)`.
        labels: `(n,)` ints from 0.
        neighbours: Number of neighbours that vote, fewer than n.

    Returns:
        `(n,)` ints. Of classes with equal votes it is the smallest.
    """
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(vectors).kneighbors(return_distance=False)
    votes = np.zeros((len(labels), labels.max() + 1), np.int64)
    np.add.at(votes, (np.arange(len(labels))[:, None], labels[nearest]), 1)
    return votes.argmax(axis=1)
