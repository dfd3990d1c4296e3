"""Embed the images of a data set in the plane, so that images with similar activations of a layer are close."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deconv.datasets.sampling import PIXELS, draw
from deconv.embedding.layout import Method, check_layout, check_sklearn, coordinates, layout
from deconv.probing.feature_vectors import vectors
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_positive

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure


class Embedding(NamedTuple):
    """Positions of images in the plane.

    Attributes:
        points: float32 `(n, 2)`.
        labels: int64 `(n,)`, the class of each image; -1 where there is none.
        ids: int64 `(n,)`, the numbers of the images.
        layer: The layer as it was given; `"pixels"` for the image itself.
        method: `"tsne"` or `"pca"`.
        perplexity: Approximate number of effective neighbours of each point; None for PCA.
        seed: Seed of the draw of images.
        trustworthiness: 0 to 1; 1 if all five neighbours of each point in the plane are its neighbours in the layer.
        kl: The Kullback-Leibler divergence of the neighbourhoods in the plane from those in the layer, in nats; None
            for PCA.
        kept: Share of the activations' variance in the principal components that the embedding uses.
        values: Number of values of the layer per image.
    """

    points: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    layer: str | int
    method: str
    perplexity: float | None
    seed: int
    trustworthiness: float
    kl: float | None
    kept: float
    values: int

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(
        self, images: np.ndarray | None = None, class_names: Sequence[str] | None = None, title: str | None = None
    ) -> Figure:
        """Draw the points, with images `(n, height, width, 1 or 3)` if given (`plotting.embedding_sheet`)."""
        from deconv.plotting import embedding_sheet

        return embedding_sheet(self, images, class_names, title)


def embed(
    model: keras.Model,
    dataset: Any,
    layer: str | int | None,
    method: Method = "tsne",
    *,
    images: int = 1000,
    perplexity: float | None = None,
    pca: int = 50,
    pooled: int | tuple[int, int] | None = None,
    preprocess: Callable | None = None,
    batch_size: int = 64,
    input_shape: tuple[int, int, int] | None = None,
    seed: int = 0,
) -> Embedding:
    """Embed the images of a data set in the plane by the activations of a layer.

    t-SNE (van der Maaten & Hinton, JMLR 2008) of the first principal components of the layer's activations, initialised
    with the first two of them, so that the result is deterministic. Only neighbourhoods are meaningful; distances
    between clusters, and their sizes, are not.

    The activations are computed in one pass over the drawn images. Memory holds these images and their activations;
    those of layers with more than 75,000 values per image are averaged onto a grid.

    Args:
        model: A functional or Sequential `keras.Model`.
        dataset: An `ImageSet`, or arrays `(images, labels)`, or images alone.
        layer: Name, path or index; None for the image itself, as the model takes it.
        method: `"tsne"`, or `"pca"` for the first two principal components.
        images: Largest number of images, which are drawn from the data set.
        perplexity: Approximate number of effective neighbours of each image, at least 1; None for 30, or a third of the
            number of other images if that is less.
        pca: Number of principal components that t-SNE uses.
        pooled: Largest side, or `(rows, columns)`, of a grid onto which maps are averaged; 1 is the mean of each
            channel.
        preprocess: Preprocessing function, applied to each batch of images.
        batch_size: Number of images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        seed: Seed of the draw.

    Returns:
        `Embedding`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If there are fewer than four images, the perplexity does not fit, the activations are the same for
            all images, or anything else does not fit the model.
    """
    check_sklearn()
    check_positive("pca", pca)
    drawn = draw(dataset, images, seed)
    check_layout(method, perplexity, len(drawn.ids))
    (features,) = vectors(
        model,
        drawn.images,
        [layer],
        pooled=pooled,
        preprocess=preprocess,
        batch_size=batch_size,
        input_shape=input_shape,
    )
    plane = layout(coordinates(features), method, perplexity=perplexity, components=pca)
    return Embedding(
        points=plane.points,
        labels=drawn.labels,
        ids=drawn.ids,
        layer=PIXELS if layer is None else layer,
        method=method,
        perplexity=plane.perplexity,
        seed=seed,
        trustworthiness=plane.trustworthiness,
        kl=plane.kl,
        kept=plane.kept,
        values=features.shape[1],
    )
