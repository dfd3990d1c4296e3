"""Embed the units of a layer in the plane, so that units with similar responses are close, and cluster them."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.datasets.sampling import draw
from deconv.embedding.clustering import clustered
from deconv.embedding.layout import check_layout, check_sklearn, coordinates, layout
from deconv.graph.compilation import compile_function
from deconv.graph.receptive_field import plane
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_finite, check_positive, check_seed, prepare


class UnitEmbedding(NamedTuple):
    """Positions and clusters of the units of a layer; the units of a convolution are its channels.

    Attributes:
        layer: As it was given.
        units: `(u,)` ints, the channels that are embedded: those whose responses differ between images.
        dead: `(d,)` ints, the other channels.
        points: float32 `(u, 2)`.
        clusters: `(u,)` ints from 0, the cluster of each unit: the largest first, of equal ones that with the first
            unit.
        centrality: `(u,)`, the correlation of each unit with the mean of its cluster.
        silhouettes: `{number of clusters: mean silhouette}`, -1 to 1, for all numbers that were tried.
        classes: `(classes,)` ints, the labels of the images, if they have any.
        preference: `(clusters, classes)`, the mean response of a cluster's units to a class, in standard deviations
            above the mean response to all images.
        method, perplexity, trustworthiness, kl, kept: As for `Embedding`, for units.
        images: Number of images to which responses were computed.
        seed: Seed of the draw of images and of the clusters.
    """

    layer: str | int
    units: np.ndarray
    dead: np.ndarray
    points: np.ndarray
    clusters: np.ndarray
    centrality: np.ndarray
    silhouettes: dict
    classes: np.ndarray
    preference: np.ndarray
    method: str
    perplexity: float | None
    trustworthiness: float
    kl: float | None
    kept: float
    images: int
    seed: int

    __repr__ = short_repr

    @property
    def count(self):
        """Number of clusters."""
        return int(self.clusters.max()) + 1

    @property
    def silhouette(self):
        """The mean silhouette of the clusters; 0 for a single one."""
        return self.silhouettes.get(self.count, 0.0)

    def central(self, units=4):
        """The channels of the most central units of each cluster: a list of int arrays of at most `units` numbers."""
        members = [np.flatnonzero(self.clusters == cluster) for cluster in range(self.count)]
        return [self.units[some[np.argsort(-self.centrality[some], kind="stable")[:units]]] for some in members]


def embed_units(
    model,
    dataset,
    layer,
    method="tsne",
    *,
    response="max",
    clusters=None,
    images=1000,
    perplexity=None,
    preprocess=None,
    batch_size=64,
    input_shape=None,
    seed=0,
):
    """Embed the units of a layer in the plane, so that units that respond to the same images are close.

    A unit is represented by the vector of its responses to the images, centred and scaled to length 1. Half the squared
    Euclidean distance of two such vectors is their correlation distance, 1 - r. t-SNE and k-means use squared
    distances, so both are based on the correlation. Clusters are computed by k-means; their number maximises the mean
    silhouette.

    Args:
        model: A functional or Sequential `keras.Model`.
        dataset: An `ImageSet`, or arrays `(images, labels)`, or images alone.
        layer: Name, path or index.
        method: `"tsne"` or `"pca"`, see `deconv.embed`.
        response: The response of a channel to an image: `"max"`, the maximum of its activation map, or `"mean"`.
        clusters: Number of clusters; None for the number from 2 to 12 with the largest mean silhouette.
        images: Largest number of images, which are drawn from the data set.
        perplexity: Approximate number of effective neighbours of each unit; None for 30, or a third of the number of
            other units if that is less.
        preprocess: Preprocessing function, applied to each batch of images.
        batch_size: Number of images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        seed: Seed of the draw of images and of k-means.

    Returns:
        `UnitEmbedding`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If fewer than four units respond differently to the images, or anything else does not fit.
    """
    check_sklearn()
    check_seed(seed)
    if response not in ("max", "mean"):
        raise ValueError(f"response must be 'max' or 'mean'; received {response!r}.")
    drawn = draw(dataset, images, seed)
    found = responses(model, drawn.images, layer, response, preprocess, batch_size, input_shape)
    spread = found.std(axis=0)
    alive = spread > 1e-7 * np.abs(found.mean(axis=0))  # smaller deviations are rounding errors
    units = np.flatnonzero(alive)
    if len(units) < 4:
        raise ValueError(
            f"At least 4 units of layer {layer!r} must respond differently to different images; of its {len(alive)}, "
            f"{len(units)} do over {len(found)} images. Choose another layer or more images."
        )
    check_layout(method, perplexity, len(units))
    standard = (found[:, units] - found[:, units].mean(axis=0)) / spread[units]
    alike = standard.T / np.sqrt(len(found))
    turned = coordinates(alike)
    placed = layout(turned, method, perplexity=perplexity)
    members, silhouettes = clustered(turned, clusters, seed)
    classes = np.unique(drawn.labels[drawn.labels >= 0])
    means = [standard[drawn.labels == label].mean(axis=0) for label in classes]
    groups = [members == cluster for cluster in range(members.max() + 1)]
    preference = [[some[group].mean() for some in means] for group in groups]
    return UnitEmbedding(
        layer,
        units,
        np.flatnonzero(~alive),
        placed.points,
        members,
        _centrality(alike, groups),
        silhouettes,
        classes,
        np.reshape(preference, (len(groups), len(classes))),
        method,
        placed.perplexity,
        placed.trustworthiness,
        placed.kl,
        placed.kept,
        len(found),
        seed,
    )


def responses(model, images, layer, response="max", preprocess=None, batch_size=64, input_shape=None):
    """Compute the response of each channel of a layer to each image, the maximum or mean of its activation map.

    Returns:
        float64 `(n, channels)`.
    """
    check_positive("batch_size", batch_size)
    model_graph = graph.walk(model, input_shape)
    step = graph.find(model_graph, layer)
    model_graph = graph.subgraph(model_graph, step)
    image, cells = model_graph.inputs[0], int(np.prod(plane(step.output.shape)))
    reduce = tf.reduce_max if response == "max" else tf.reduce_mean

    def look(batch):
        maps = graph.run(model_graph, batch)[step.output]
        return reduce(tf.reshape(maps, [-1, cells, step.output.shape[-1]]), axis=1)

    respond = compile_function(look, tf.TensorSpec((None, *image.shape), image.dtype))
    parts = []
    for start in range(0, len(images), batch_size):
        batch = prepare(images[start : start + batch_size], preprocess, image.shape, image.dtype)
        parts.append(check_finite(respond(batch).numpy(), step.name).astype(np.float64))
    return np.concatenate(parts)


def _centrality(alike, groups):
    """The correlation of each unit with the mean of its group."""
    found = np.empty(len(alike))
    for group in groups:
        centre = alike[group].mean(axis=0)
        found[group] = alike[group] @ (centre / np.linalg.norm(centre))
    return found
