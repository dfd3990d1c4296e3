"""Results of a scan: the strongest units of each channel with their receptive fields (Fig. 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from deconv import graph
from deconv.graph.receptive_field import plane, windows_below
from deconv.runtime.short_repr import short_repr
from deconv.topk.ranking import Ranking


class TopActivations(NamedTuple):
    """The strongest units of a layer, one per image, the strongest first; equal units are sorted by image id.

    If there are fewer than k images, the arrays are shorter.

    Attributes:
        values: `(channels, k)`, the activations: float32 if it can represent them, else float64.
        ids: `(channels, k)` int64, the image of each unit.
        labels: `(channels, k)` int64, the label of that image; -1 if the data set has none.
        positions: `(channels, k, 2)` int64, row and column of the unit in its map; zeros for a dense layer.
        windows: `(channels, k, 4)` int64, the receptive field of the unit in the image: top, left, bottom, right.
    """

    values: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    windows: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


def tops_in(model_graph: graph.Graph, rankings: Mapping[str, Ranking]) -> dict[str, TopActivations]:
    """Compute the receptive fields of the units of rankings in a model graph.

    Args:
        model_graph: A `Graph` with the layers of the rankings.
        rankings: `{layer: Ranking}`.

    Returns:
        `{layer: TopActivations}`.
    """
    return {
        layer: _with_windows(ranking, graph.subgraph(model_graph, graph.find(model_graph, layer)))
        for layer, ranking in rankings.items()
    }


def _with_windows(ranking: Ranking, model_graph: graph.Graph) -> TopActivations:
    """`TopActivations` for a ranking of the last step of a graph."""
    shape = model_graph.steps[-1].output.shape
    _, columns = plane(shape)
    values, ids, labels, positions = ranking
    positions = np.stack(np.divmod(positions, columns), axis=-1)
    units = positions.reshape(-1, 2)
    if len(shape) != 3:  # the receptive field does not depend on the position
        units = units[:1]
    windows = np.broadcast_to(windows_below(model_graph, units)[model_graph.inputs[0]], (values.size, 4)).reshape(
        *values.shape, 4
    )
    return TopActivations(values=values, ids=ids, labels=labels, positions=positions, windows=windows.copy())
