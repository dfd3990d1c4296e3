"""Pictures and data of the page of one layer and of all its units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deconv import graph
from deconv.explorer.channel_ablation import ChannelAblation
from deconv.explorer.channel_statistics import ChannelStatistics
from deconv.explorer.filters_below import filters_below
from deconv.explorer.layer_pictures import GRID_COLUMNS, GRID_TILE, LayerPictures
from deconv.explorer.material import Material
from deconv.explorer.pictures import SUFFIX, fitted
from deconv.explorer.unit_data import ablation_numbers, layer_numbers, rounded, unit_numbers
from deconv.graph.model_output import has_classes, output_step
from deconv.graph.receptive_field import receptive_fields_below
from deconv.topk.results import TopActivations


def build_layer(
    material: Material,
    layer: str,
    statistics: ChannelStatistics,
    tops: TopActivations,
    advance: Callable[[int], Any] = lambda count: None,
) -> dict[str, Any]:
    """Write the pictures of a layer and compute the data of its page.

    Args:
        material: The `Material`.
        layer: Name of the layer.
        statistics: Statistics of its channels.
        tops: Its strongest units.
        advance: Function that is called with the number of channels that have been finished.

    Returns:
        The data, serializable as JSON.
    """
    step = graph.find(material.model_graph, layer)
    below = filters_below(material.model_graph, step, set(material.pages))
    units = unit_numbers(material, layer, statistics, tops, below)
    size = _largest_window(tops, units)
    pictures = LayerPictures(material, layer, tops, size)
    pictures.folder.mkdir(parents=True, exist_ok=True)
    ablation = _ablation(material, step)
    used: set[int] = set()
    for channels in pictures.chunks():
        inputs, numbers = pictures.write(channels)
        if ablation is not None:
            _add_ablation(ablation, units, channels, inputs, numbers, tops, material.batch_size)
        if material.attribution is not None:
            pictures.write_attribution(channels, inputs, numbers)
        if material.visualize is not None:
            pictures.write_visualizations(channels)
        for channel in channels.tolist():
            used |= {*units[channel]["ids"], *(example[2] for example in units[channel]["quantiles"])}
        advance(len(channels))
    pictures.finish()
    material.store.write(sorted(used))
    height, width = material.model_graph.inputs[0].shape[:2]
    return {
        "layer": layer,
        "page": material.pages[layer],
        "kind": type(step.layer).__name__,
        "shape": [int(side) for side in step.output.shape],
        "field": receptive_field_text(material, step),
        "image": [int(height), int(width)],
        "size": list(size),
        "gridTile": list(fitted(fitted(size, 112), GRID_TILE)),
        "gridColumns": GRID_COLUMNS,
        "suffix": SUFFIX,
        "reason": pictures.reason,
        "below": None if below is None else material.pages[below.layer],
        "belowName": None if below is None else below.layer,
        "hasAblation": ablation is not None,
        "attribution": material.attribution,
        "hasOptimised": material.visualize is not None,
        "classImages": statistics.class_images.tolist(),
        **layer_numbers(statistics, tops),
        "units": units,
    }


def receptive_field_text(material: Material, step: graph.Step) -> str:
    """Size of the receptive field of a unit, such as "163 × 163", or "whole image"."""
    below = graph.subgraph(material.model_graph, step)
    field = receptive_fields_below(below).get(below.inputs[0])
    if field is None:
        return "whole image"
    rows, columns = field.cells
    return f"{rows} × {columns}"


def _largest_window(tops: TopActivations, units: list[dict[str, Any]]) -> tuple[int, int]:
    windows = np.array([example[5] for unit in units for example in unit["quantiles"]], np.int64).reshape(-1, 4)
    windows = np.concatenate([tops.windows.reshape(-1, 4), windows])
    height, width = (windows[:, 2:] - windows[:, :2]).max(axis=0)
    return max(1, int(height)), max(1, int(width))


def _ablation(material: Material, step: graph.Step) -> ChannelAblation | None:
    """The compiled ablation; None if the layer cannot have an effect on class outputs."""
    model_graph = material.model_graph
    if not has_classes(model_graph) or not material.classes:
        return None
    used = graph.subgraph(model_graph, output_step(model_graph)).steps
    return ChannelAblation(model_graph, step) if step.name in {one.name for one in used} else None


def _add_ablation(ablation, units, channels, inputs, numbers, tops, batch_size):
    """Add the effects of setting each channel to zero, over those of its strongest images that excite it."""
    k = tops.ids.shape[1]
    is_excited = tops.values[channels].ravel() > 0
    each, numbers_of = np.repeat(channels, k)[is_excited], numbers[is_excited]
    if not len(each):
        return
    outputs, changes = ablation.changes(inputs, numbers_of, each, batch_size)
    for channel in channels.tolist():
        own = each == channel
        if own.any():
            effects = ablation_numbers(outputs[numbers_of[own]], changes[own])
            units[channel]["ablation"] = effects | {"images": int(own.sum())}


def summary(data: dict[str, Any]) -> dict[str, Any]:
    """What the overview shows of a layer, from the data of its page."""
    inactive = np.array(data["inactive"])
    return {
        "layer": data["layer"],
        "page": data["page"],
        "channels": len(data["units"]),
        "ratio": rounded(data["gridTile"][1] / data["gridTile"][0]),
        "never": int((inactive == 1).sum()),
        "inactive": rounded(float(inactive.mean())) if len(inactive) else 0,
        "best": _best_units(data),
    }


def _best_units(data: dict[str, Any], most: int = 6) -> dict[int, list]:
    """`{label: [[channel, selectivity], ...]}`, the most selective channels of each preferred class."""
    best: dict[int, list] = {}
    for channel in np.argsort(-np.array(data["selectivity"]), kind="stable").tolist():
        label = data["preferred"][channel]
        if label >= 0 and len(best.setdefault(label, [])) < most:
            best[label].append([channel, data["selectivity"][channel]])
    return best
