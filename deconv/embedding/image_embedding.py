"""The images of a data set in a plane, those near one another that a layer finds alike."""

from typing import NamedTuple

import numpy as np

from deconv.datasets.sampling import PIXELS, draw
from deconv.embedding.layout import check_layout, check_sklearn, coordinates, layout
from deconv.probing.feature_vectors import vectors
from deconv.validation import check_positive


class Embedding(NamedTuple):
    """Where images lie in the plane.

    Attributes:
        points: float32 `(n, 2)`.
        labels: int64 `(n,)`, the class of each image; -1 where there is none.
        ids: int64 `(n,)`, which images these are.
        layer: The layer as it was given; `"pixels"` for the image itself.
        method: `"tsne"` or `"pca"`.
        perplexity: About how many neighbours count for each point; None for PCA.
        seed: Of the draw of images.
        trustworthiness: 0 to 1; 1 if all five neighbours of each point in the plane are its neighbours in the layer.
        kl: The divergence of the neighbourhoods in the plane from those in the layer, in nats; None for PCA.
        kept: Share of the activations' variance in the components that the layout is made of.
        values: How many values of the layer there are for each image.
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


def embed(
    model,
    dataset,
    layer,
    method="tsne",
    *,
    images=1000,
    perplexity=None,
    pca=50,
    pooled=None,
    preprocess=None,
    batch_size=64,
    input_shape=None,
    seed=0,
):
    """Lay the images of a data set out in a plane by what a layer says of them.

    t-SNE (van der Maaten & Hinton, JMLR 2008) of the first principal components of the layer's activations, begun with
    the first two of them, so that the layout draws no random numbers and repeats. Who is near whom means something;
    distances between clusters, and their sizes, do not.

    The activations come from one pass over the images drawn. Memory holds these images and their activations, of which
    those of layers with more than 75,000 values per image are averaged onto a grid.

    Args:
        model: A functional or Sequential `keras.Model`.
        dataset: An `ImageSet`, or arrays `(images, labels)`, or images alone.
        layer: Name, path or index; None for the image itself, as the model takes it.
        method: `"tsne"`, or `"pca"` for the first two principal components.
        images: How many images at most; they are drawn from the data set.
        perplexity: About how many neighbours count for each image, at least 1; None for 30, or less where that is more
            than a third of the other images.
        pca: How many principal components t-SNE sees.
        pooled: Average maps onto a grid of at most this side, or `(rows, columns)`; 1 is the mean of each channel.
        preprocess: Function applied to each batch of images before the model sees it.
        batch_size: How many images are computed at a time.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.
        seed: Of the draw.

    Returns:
        `Embedding`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If there are fewer than four images, the perplexity does not fit, the layer says the same of all
            images, or anything else does not fit the model.
    """
    check_sklearn()
    check_positive("pca", pca)
    drawn = draw(dataset, images, seed)
    check_layout(method, perplexity, len(drawn.ids))
    (found,) = vectors(
        model,
        drawn.images,
        [layer],
        pooled=pooled,
        preprocess=preprocess,
        batch_size=batch_size,
        input_shape=input_shape,
    )
    placed = layout(coordinates(found), method, perplexity=perplexity, components=pca)
    return Embedding(
        placed.points,
        drawn.labels,
        drawn.ids,
        PIXELS if layer is None else layer,
        method,
        placed.perplexity,
        seed,
        placed.trustworthiness,
        placed.kl,
        placed.kept,
        found.shape[1],
    )
