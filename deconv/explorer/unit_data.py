"""The numbers of the page of each unit of a layer, serializable as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from deconv import graph
from deconv.explorer.activation_sketch import Sketch
from deconv.explorer.channel_statistics import ChannelStatistics, similarity_order
from deconv.explorer.filters_below import FiltersBelow
from deconv.explorer.material import Material
from deconv.graph.receptive_field import plane
from deconv.topk.results import TopActivations

QUANTILES = np.arange(0.05, 1, 0.1)
"""The middles of ten equal parts of the images, sorted by activation."""
_MOST = 8
"""Number of similar channels, classes and filters that are listed."""


def rounded(value: Any) -> Any:
    """Numbers with six significant digits, for JSON; None for NaN. Lists and arrays are converted recursively."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value


def layer_numbers(statistics: ChannelStatistics, tops: TopActivations) -> dict[str, Any]:
    """The numbers by which the grid of a layer is sorted and filtered, one list with an entry for each channel."""
    selectivity, preferred = statistics.selectivity
    order = similarity_order(statistics.correlations(), int(statistics.highest.argmax()))
    return {
        "images": statistics.images,
        "maximum": rounded(statistics.highest),
        "mean": rounded(statistics.centre),
        "sparsity": rounded(statistics.sparsity),
        "selectivity": rounded(selectivity),
        "inactive": rounded(statistics.inactive),
        "covered": rounded(statistics.covered / max(1, statistics.images)),
        "preferred": preferred.tolist(),
        "order": order.tolist(),
        "shown": (tops.values[:, 0] > 0).tolist(),
    }


def quantile_examples(sketch: Sketch) -> list[tuple[int, int, int]]:
    """Choose one image for each of ten quantiles of a channel; quantiles in the same bin share their image.

    Args:
        sketch: Sketch of the channel.

    Returns:
        A list of `(row of the sketch, first quantile in percent, last quantile in percent)`, from the strongest on.
    """
    rows = sketch.quantile_rows(QUANTILES)
    examples = []
    for row in np.unique(rows)[::-1]:
        within = np.rint(QUANTILES[rows == row] * 100).astype(int)
        examples.append((int(row), int(within.min()), int(within.max())))
    return examples


def unit_numbers(
    material: Material,
    layer: str,
    statistics: ChannelStatistics,
    tops: TopActivations,
    below: FiltersBelow | None,
) -> list[dict[str, Any]]:
    """The numbers of the page of each unit, without the effects of setting it to zero."""
    count, _ = tops.ids.shape
    sketches = [statistics.sketch.channel(channel) for channel in range(count)]
    examples = [quantile_examples(sketch) for sketch in sketches]
    windows = iter(_windows(material, layer, sketches, examples))
    correlations, class_means = statistics.correlations(), statistics.class_means
    units = []
    for channel, (sketch, of_channel) in enumerate(zip(sketches, examples, strict=True)):
        unit = {
            "ids": tops.ids[channel].tolist(),
            "values": rounded(tops.values[channel].astype(np.float64)),
            "labels": tops.labels[channel].tolist(),
            "windows": tops.windows[channel].tolist(),
            "quantiles": [
                [first, last, int(sketch.ids[row]), rounded(sketch.values[row]), int(sketch.labels[row]), next(windows)]
                for row, first, last in of_channel
            ],
            "bins": np.stack([sketch.bins, sketch.counts], axis=1).tolist(),
            "lowest": rounded(statistics.lowest[channel]),
            "similar": _similar(correlations[channel], channel),
            "classes": _classes(statistics, class_means, channel),
        }
        if below is not None:
            unit |= _strongest_filters(below.weights[channel])
        units.append(unit)
    return units


def ablation_numbers(outputs: np.ndarray, changes: np.ndarray, most: int = 5) -> dict[str, Any]:
    """The largest mean gains and losses of the class outputs when a channel is set to zero.

    Args:
        outputs: `(n, classes)`, outputs of the model for the strongest images of a channel.
        changes: `(n, classes)`, their changes.
        most: Number of gains and of losses.

    Returns:
        `{"gains": [[class, change, output before], ...], "losses": ...}`, the largest first.
    """
    mean, before = changes.mean(axis=0), outputs.mean(axis=0)
    order = np.argsort(-mean, kind="stable")

    def rows(classes: np.ndarray) -> list:
        return [[int(one), rounded(mean[one]), rounded(before[one])] for one in classes]

    return {
        "gains": rows(order[:most][mean[order[:most]] > 0]),
        "losses": rows(order[::-1][:most][mean[order[::-1][:most]] < 0]),
    }


def _windows(material, layer, sketches, examples):
    """Receptive fields of all examples, one after another."""
    rows = [[row for row, _, _ in of_channel] for of_channel in examples]
    positions = np.concatenate([sketch.positions[row] for sketch, row in zip(sketches, rows, strict=True)])
    _, columns = plane(graph.find(material.model_graph, layer).output.shape)
    places = np.stack(np.divmod(positions, columns), axis=1)
    unique, numbers = np.unique(places, axis=0, return_inverse=True)
    return material.windows(layer, unique)[numbers.ravel()].tolist()


def _similar(correlations, channel):
    """The channels with the largest correlations, `[[channel, correlation], ...]`; without constant channels."""
    order = np.argsort(-correlations, kind="stable")
    order = order[order != channel][:_MOST]
    return [[int(one), rounded(correlations[one])] for one in order if correlations[one] > 0]


def _classes(statistics, means, channel):
    """`[[label, mean, images in which the channel is above zero, images], ...]`, the largest mean first."""
    present = np.flatnonzero(statistics.class_images > 0)
    order = present[np.argsort(-means[present, channel], kind="stable")][:_MOST]
    return [
        [int(one), rounded(means[one, channel]), int(statistics.class_active[one, channel]), int(count)]
        for one, count in zip(order, statistics.class_images[order], strict=True)
    ]


def _strongest_filters(weights):
    order = np.argsort(-weights, kind="stable")
    positive, negative = order[:_MOST], order[::-1][:_MOST]
    return {
        "positive": [[int(one), rounded(weights[one])] for one in positive if weights[one] > 0],
        "negative": [[int(one), rounded(weights[one])] for one in negative if weights[one] < 0],
    }
