"""Embed the units of a layer in the plane, so that units with similar responses are close, and cluster them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.datasets.sampling import draw
from deconv.embedding.clustering import clustered
from deconv.embedding.layout import Method, check_layout, check_sklearn, coordinates, layout
from deconv.graph.compilation import compile_function
from deconv.graph.receptive_field import plane
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_finite, check_positive, check_seed, prepare

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

    from deconv.embedding.cluster_tops import ClusterTops


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
    silhouettes: dict[int, float]
    classes: np.ndarray
    preference: np.ndarray
    method: str
    perplexity: float | None
    trustworthiness: float
    kl: float | None
    kept: float
    images: int
    seed: int

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(
        self,
        tops: ClusterTops | None = None,
        class_names: Sequence[str] | None = None,
        title: str | None = None,
        **settings: Any,
    ) -> Figure:
        """Draw the units, with the strongest units of each cluster if given (`plotting.unit_sheet`)."""
        from deconv.plotting import unit_sheet

        return unit_sheet(self, tops, class_names, title, **settings)

    @property
    def count(self) -> int:  # type: ignore[override]
        """Number of clusters."""
        return int(self.clusters.max()) + 1

    @property
    def silhouette(self) -> float:
        """The mean silhouette of the clusters; 0 for a single one."""
        return self.silhouettes.get(self.count, 0.0)

    def central(self, units: int = 4) -> list[np.ndarray]:
        """The channels of the most central units of each cluster: a list of int arrays of at most `units` numbers."""
        members = [np.flatnonzero(self.clusters == cluster) for cluster in range(self.count)]
        ordered = [places[np.argsort(-self.centrality[places], kind="stable")] for places in members]
        return [self.units[places[:units]] for places in ordered]


def embed_units(
    model: keras.Model,
    dataset: Any,
    layer: str | int,
    method: Method = "tsne",
    *,
    response: Literal["max", "mean"] = "max",
    clusters: int | None = None,
    images: int = 1000,
    perplexity: float | None = None,
    preprocess: Callable | None = None,
    batch_size: int = 64,
    input_shape: tuple[int, int, int] | None = None,
    seed: int = 0,
) -> UnitEmbedding:
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
    values = responses(model, drawn.images, layer, response, preprocess, batch_size, input_shape)
    deviation = values.std(axis=0)
    varies = deviation > 1e-7 * np.abs(values.mean(axis=0))  # smaller deviations are rounding errors
    units = np.flatnonzero(varies)
    if len(units) < 4:
        raise ValueError(
            f"The responses of at least 4 units of layer {layer!r} must differ between images; over "
            f"{len(values)} images, those of {len(units)} of its {len(varies)} units do. Choose another layer or more "
            "images."
        )
    check_layout(method, perplexity, len(units))
    standardised = (values[:, units] - values[:, units].mean(axis=0)) / deviation[units]
    vectors = standardised.T / np.sqrt(len(values))
    components = coordinates(vectors)
    plane_layout = layout(components, method, perplexity=perplexity)
    members, silhouettes = clustered(components, clusters, seed)
    classes = np.unique(drawn.labels[drawn.labels >= 0])
    means = [standardised[drawn.labels == label].mean(axis=0) for label in classes]
    groups = [members == cluster for cluster in range(members.max() + 1)]
    preference = [[mean[group].mean() for mean in means] for group in groups]
    return UnitEmbedding(
        layer=layer,
        units=units,
        dead=np.flatnonzero(~varies),
        points=plane_layout.points,
        clusters=members,
        centrality=_centrality(vectors, groups),
        silhouettes=silhouettes,
        classes=classes,
        preference=np.reshape(preference, (len(groups), len(classes))),
        method=method,
        perplexity=plane_layout.perplexity,
        trustworthiness=plane_layout.trustworthiness,
        kl=plane_layout.kl,
        kept=plane_layout.kept,
        images=len(values),
        seed=seed,
    )


def responses(
    model: keras.Model,
    images: np.ndarray,
    layer: str | int,
    response: Literal["max", "mean"] = "max",
    preprocess: Callable | None = None,
    batch_size: int = 64,
    input_shape: tuple[int, int, int] | None = None,
) -> np.ndarray:
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

    def channel_responses(batch):
        maps = graph.run(model_graph, batch)[step.output]
        return reduce(tf.reshape(maps, [-1, cells, step.output.shape[-1]]), axis=1)

    respond = compile_function(channel_responses, tf.TensorSpec((None, *image.shape), image.dtype))
    parts = []
    for start in range(0, len(images), batch_size):
        batch = prepare(images[start : start + batch_size], preprocess, image.shape, image.dtype)
        parts.append(check_finite(respond(batch).numpy(), step.name).astype(np.float64))
    return np.concatenate(parts)


def _centrality(vectors, groups):
    """The correlation of each unit with the mean of its group."""
    correlation = np.empty(len(vectors))
    for group in groups:
        centre = vectors[group].mean(axis=0)
        correlation[group] = vectors[group] @ (centre / np.linalg.norm(centre))
    return correlation
