"""Projections of the strongest activations of the most central units of each cluster (section 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deconv import graph
from deconv.datasets.picking import images_by_id
from deconv.deconvnet.projection import Deconvnet
from deconv.runtime.short_repr import short_repr
from deconv.topk.scan import top_activations
from deconv.validation import check_positive, prepare

if TYPE_CHECKING:
    import keras

    from deconv.embedding.unit_embedding import UnitEmbedding


class ClusterTops(NamedTuple):
    """The strongest activations of the most central units of each cluster, and their projections.

    Attributes:
        clusters, units: `(m,)` ints, an entry for each unit: clusters in order, in each the most central unit first.
        values: `(m,)`, the activations.
        ids: `(m,)` int64, the numbers of the images with these activations.
        positions: `(m, 2)` ints, row and column in the map.
        windows: `(m, 4)` ints, the receptive field of the unit: top, left, bottom, right.
        images: `(m, height, width, channels)`, as the data set gives them.
        projections: `(m, height, width, channels of the model's input)`, signed.
    """

    clusters: np.ndarray
    units: np.ndarray
    values: np.ndarray
    ids: np.ndarray
    positions: np.ndarray
    windows: np.ndarray
    images: np.ndarray
    projections: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


def cluster_tops(
    model: keras.Model,
    dataset: Any,
    found: UnitEmbedding,
    units: int = 4,
    *,
    preprocess: Callable | None = None,
    batch_size: int = 64,
    input_shape: tuple[int, int, int] | None = None,
) -> ClusterTops:
    """Compute the strongest activations of the most central units of each cluster, and their projections.

    Args:
        model: The `keras.Model` of the embedding.
        dataset: The data set that is searched for the strongest activations, in one pass: an `ImageSet`, or arrays.
        found: The `UnitEmbedding`.
        units: Largest number of units of each cluster.
        preprocess, batch_size, input_shape: As for `embed_units`.

    Returns:
        `ClusterTops`.
    """
    central = found.central(check_positive("units", units))
    channels = np.concatenate(central)
    options: dict[str, Any] = {"preprocess": preprocess, "batch_size": batch_size, "input_shape": input_shape}
    tops = top_activations(model, dataset, found.layer, 1, **options)[found.layer]
    values, ids, _, positions, windows = (field[channels, 0] for field in tops)
    wanted, numbers = np.unique(ids, return_inverse=True)
    images = images_by_id(dataset, wanted)
    net = Deconvnet(model, input_shape=input_shape)
    edge = graph.subgraph(net.graph, graph.find(net.graph, found.layer)).inputs[0]
    inputs = prepare(images, preprocess, edge.shape, edge.dtype)
    projections = net.project_units(
        inputs, found.layer, channels, positions, numbers=numbers, batch_size=min(batch_size, 32)
    )
    clusters = np.repeat(np.arange(len(central)), [len(members) for members in central])
    return ClusterTops(
        clusters=clusters,
        units=channels,
        values=values,
        ids=ids,
        positions=positions,
        windows=windows,
        images=images[numbers],
        projections=projections,
    )
