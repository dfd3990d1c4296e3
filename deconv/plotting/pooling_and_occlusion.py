"""Figures of two experiments: a layer before and after its pooling, and the occlusion sensitivity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from deconv.imaging.nan_mean import nan_mean
from deconv.plotting.grids import MAPS, bare, show_picture
from deconv.plotting.layer_results import OcclusionMaps, PoolingComparison
from deconv.plotting.plain_text import plain_text, texts

_SPACE = 0.08
"""Space between the maps of a row, as a fraction of their width."""


@plain_text
def pooling_sheet(
    image: np.ndarray,
    comparison: PoolingComparison,
    projections: Sequence[np.ndarray],
    title: str,
    number: int = 0,
) -> Figure:
    """Draw one layer before and after its pooling for one image, and statistics over all images.

    Args:
        image: `(height, width, 1 or 3)` intensities between 0 and 1.
        comparison: A `PoolingComparison`.
        projections: `(before, after)`, each `(channels, height, width, 1 or 3)` intensities between 0 and 1.
        title: Title of the figure.
        number: Index of the image in the comparison.

    Returns:
        The Matplotlib figure.
    """
    channels = len(comparison.channels)
    before, after = comparison.before[number], comparison.after[number]
    top = max(before.max(), np.finfo(np.float32).tiny)
    cell = min(1.6, 15 / channels)
    fig = plt.figure(figsize=(max(9, cell * channels + 1.8), cell * 5 + 4.0), layout="constrained")
    maps, charts = fig.subfigures(2, 1, squeeze=False, height_ratios=[cell * 5 + 0.6, 3.2])[:, 0]
    axes = maps.subplots(5, 1)  # one for each row: as many as there are maps would take most of the time of drawing
    names = ("before\npooling", "switches", "after\npooling", "projection\nbefore pooling", "projection\nafter pooling")
    for ax, tiles in zip(axes[:3], (before, before, after), strict=True):
        drawn = _draw_row(ax, np.moveaxis(tiles, -1, 0), {"cmap": MAPS, "vmin": 0, "vmax": top})
    for ax, tiles in zip(axes[3:], projections, strict=True):
        grey: dict[str, Any] = {"cmap": "gray"} if tiles.shape[-1] == 1 else {}
        _draw_row(ax, tiles.squeeze(-1) if grey else tiles, {"vmin": 0, "vmax": 1, **grey})
    for ax, name in zip(axes, names, strict=True):
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for place in range(channels):
        active = after[..., place].ravel() != 0
        rows, columns = np.divmod(comparison.switches[number, ..., place].ravel()[active], before.shape[1])
        axes[1].plot(
            place * (1 + _SPACE) + (columns + 0.5) / before.shape[1],
            (rows + 0.5) / before.shape[1],
            ".",
            color="cyan",
            markersize=min(6, 55 * cell / before.shape[0]),
            markeredgewidth=0,
        )
    texts_above = [f"channel {channel}" if channels < 9 else str(channel) for channel in comparison.channels]
    axes[0].set_xticks([place * (1 + _SPACE) + 0.5 for place in range(channels)], texts_above, fontsize=9)
    axes[0].tick_params(length=0, labeltop=True, labelbottom=False)
    maps.colorbar(drawn, ax=axes[:3], label="activation", fraction=0.012, pad=0.01)
    _pooling_charts(charts, image, comparison)
    fig.suptitle(title)
    return fig


def _draw_row(ax: Axes, tiles: np.ndarray, scale: dict[str, Any]) -> AxesImage:
    """Draw tiles `(n, height, width)` or `(n, height, width, 3)` side by side, each one unit wide."""
    tall = tiles.shape[1] / tiles.shape[2]
    for place, tile in enumerate(tiles):
        left = place * (1 + _SPACE)
        drawn = ax.imshow(tile, extent=(left, left + 1, tall, 0), **scale)
    ax.set(xlim=(0, left + 1), ylim=(tall, 0))
    bare(ax)
    return drawn


def _pooling_charts(fig: Figure | SubFigure, image: np.ndarray, comparison: PoolingComparison) -> None:
    picture, energy, change = fig.subplots(1, 3, width_ratios=[0.7, 1.5, 1.5])
    show_picture(image, picture, "image")
    places = np.arange(len(comparison.channels))
    energy.bar(places, 100 * np.nan_to_num(nan_mean(comparison.energy_kept)), color="0.45")
    energy.set_xticks(places, comparison.channels, fontsize=8)
    energy.set(xlabel="channel", ylabel="activation energy kept (%)", ylim=(0, 100))
    energy.set_title(f"mean of {len(comparison.energy_kept)} images", fontsize=9)
    for values, label, color in (
        (comparison.change_before, f"{comparison.before_layer}, before", "tab:red"),
        (comparison.change_after, f"{comparison.after_layer}, after", "tab:blue"),
    ):
        change.plot(comparison.shifts, values, color=color, alpha=0.25, linewidth=0.8)
        change.plot(comparison.shifts, np.nan_to_num(nan_mean(values, axis=1)), color=color, marker="o", label=label)
    change.set_xticks(comparison.shifts)
    change.set(xlabel="translation of the image (pixels)", ylabel="change of the maps |a' − a| / |a|", ylim=(0, None))
    change.set_title("thin: single channels; bold: mean", fontsize=9)
    change.legend(fontsize=8)


@plain_text
def occlusion_sheet(
    images: np.ndarray,
    maps: Sequence[OcclusionMaps],
    projections: np.ndarray | None,
    names: Sequence[str],
    class_names: Sequence[str],
    title: str,
    *,
    elsewhere: Sequence[np.ndarray] | None = None,
    score: str = "probability",
) -> Figure:
    """Draw one row per image: the image, the projection of its strongest map, three occlusion maps (Fig. 7).

    For a model without class outputs, (d) and (e) are omitted.

    Args:
        images: `(n, height, width, 1 or 3)` intensities between 0 and 1.
        maps: One `OcclusionMaps` per image. Without the activations of a layer in all of them, (b) is omitted.
        projections: `(n, height, width, 1 or 3)` intensities between 0 and 1; None to omit this column.
        names: One text per image: the class whose output is drawn.
        class_names: Name of each class. Of more than 20 classes only the 20 most frequent of those that occur are
            drawn.
        title: Title of the figure.
        elsewhere: One image per row `(rows, columns, 1 or 3)`: projections of the same map from other images; None to
            omit this column.
        score: Kind of model output (`deconv.graph.model_output.output_kind`). A probability is drawn on a scale from 0
            to 1, other outputs from the lowest to the highest value.

    Returns:
        The Matplotlib figure.
    """
    height, width = images.shape[1:3]
    columns = _columns(maps, projections is not None, elsewhere is not None, score)
    size = (1.9 * len(columns), 1.62 * len(images) * height / width + 1.5)
    fig, axes = plt.subplots(len(images), len(columns), figsize=size, squeeze=False, layout="constrained")
    drawn = _colour_scales(maps, columns, class_names, score)
    bars: dict[str, QuadMesh] = {}
    for number, (row, image, found, name) in enumerate(zip(axes, images, maps, names, strict=True)):
        ax_of = dict(zip(columns, row, strict=True))
        _draw_image(ax_of["image"], image, found, name)
        if projections is not None:
            show_picture(projections[number], ax_of["projection"])
        if elsewhere is not None:
            show_picture(elsewhere[number], ax_of["elsewhere"])
        if "activation" in columns:
            beside = ax_of["activation" if projections is None else "projection"]
            beside.set_ylabel(f"ch. {found.channel}", fontsize=7)
        for column, (values, scale) in drawn.items():
            bars[column] = _place_map(ax_of[column], found, values[number], (height, width), **scale)
    for ax, head in zip(axes[0], columns.values(), strict=True):
        ax.set_title(head, fontsize=9)
    labels = {"activation": "ratio", "score": score, "class": "class"}
    if "class" in drawn and any(np.isnan(classes).any() for classes in drawn["class"][0]):
        labels["class"] += "; light grey: another class"
    for place, column in enumerate(columns):
        if column in bars:
            settings: dict[str, Any] = {"location": "bottom", "fraction": 0.02, "aspect": 12, "pad": 0.01}
            bar = fig.colorbar(bars[column], ax=axes[:, place], label=labels[column], **settings)
    if "class" in columns:
        known, _ = _coloured_classes(_known([found.predicted for found in maps]), len(class_names))
        _name_classes(bar, [class_names[number] for number in known])
    fig.suptitle(title)
    return fig


def _columns(maps: Sequence[OcclusionMaps], has_projections: bool, has_others: bool, score: str) -> dict[str, str]:
    """Columns of the figure in order, each with its heading."""
    has_classes = all(found.probability is not None for found in maps)
    columns = {"image": f"(a) image, patch with\nthe lowest {score if has_classes else 'activation'}"}
    if all(found.activation is not None for found in maps):
        columns["activation"] = "(b) activation of its\nstrongest map, ratio"
    if has_projections:
        columns["projection"] = "(c) projection\nof that map"
    if has_others:
        columns["elsewhere"] = "(c) the same map\nin other images"
    if has_classes:
        columns["score"] = f"(d) {score} of\nthe class at the left"
        columns["class"] = f"(e) {'most probable' if score == 'probability' else 'strongest'}\nclass"
    return columns


def _colour_scales(
    maps: Sequence[OcclusionMaps], columns: Mapping[str, str], class_names: Sequence[str], score: str
) -> dict[str, tuple[Sequence[np.ndarray], dict[str, Any]]]:
    """For each column of maps, the values of every row and the colour scale that the rows share."""
    scales: dict[str, tuple[Sequence[np.ndarray], dict[str, Any]]] = {}
    if "activation" in columns:
        ratios = [_activation_ratio(found) for found in maps]
        most = max([1.0, *(ratio.max() for ratio in ratios)])
        scales["activation"] = ratios, {"cmap": "viridis", "vmin": 0, "vmax": most}
    if "class" in columns:
        scores = _known([found.probability for found in maps])
        limits = (0, 1) if score == "probability" else _limits(scores)
        scales["score"] = scores, {"cmap": "viridis", "vmin": limits[0], "vmax": limits[1]}
        known, places = _coloured_classes(_known([found.predicted for found in maps]), len(class_names))
        colours = plt.get_cmap("tab10" if len(known) <= 10 else "tab20").resampled(len(known))
        scales["class"] = places, {"cmap": colours, "vmin": -0.5, "vmax": len(known) - 0.5}
    return scales


def _known(arrays: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """The arrays that are not None."""
    return [array for array in arrays if array is not None]


def _activation_ratio(found: OcclusionMaps) -> np.ndarray:
    """Activation of the strongest map for each position of the patch, relative to that of the unoccluded image."""
    activation = found.unoccluded[2]
    if found.activation is None or activation is None:
        raise ValueError("occlusion_sheet needs occlusion maps that were recorded with a layer.")
    return found.activation / max(abs(activation), 1e-12)


def _draw_image(ax: Axes, image: np.ndarray, found: OcclusionMaps, name: str) -> None:
    """Draw an image with a frame at the patch where the class score, or else the activation, is lowest."""
    show_picture(image, ax)
    values = found.activation if found.probability is None else found.probability
    if values is None:
        raise ValueError("occlusion_sheet needs occlusion maps of a class score or of a layer.")
    row, column = np.unravel_index(values.argmin(), values.shape)
    corner = found.lefts[column] - 0.5, found.tops[row] - 0.5
    ax.add_patch(Rectangle(corner, found.size[1], found.size[0], fill=False, edgecolor="tab:red", linewidth=1.2))
    ax.set_ylabel(texts([name])[0], rotation=0, ha="right", va="center")


def _name_classes(bar: Colorbar, names: Sequence[str]) -> None:
    """Write one class name at each colour of a colour bar."""
    rotation = 90 if max(map(len, names)) > 3 else 0
    bar.set_ticks(range(len(names)), labels=texts(names), fontsize=7 if len(names) <= 12 else 5, rotation=rotation)


def _limits(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """Lowest and highest value of several arrays, kept at least slightly apart."""
    low, high = min(array.min() for array in values), max(array.max() for array in values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _coloured_classes(
    predicted: Sequence[np.ndarray], count: int, colours: int = 20
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Select the classes that get a colour, in order: all if there are few, else the most frequent ones.

    Returns:
        `(classes, places)`: for each array of classes in `predicted` the indices into `classes`, NaN for other classes.
    """
    known = np.arange(count)
    if count > colours:
        known, times = np.unique(np.concatenate([np.ravel(classes) for classes in predicted]), return_counts=True)
        known = np.sort(known[np.argsort(-times, kind="stable")[:colours]])
    place = np.full(count, np.nan)
    place[known] = np.arange(len(known))
    return known, [place[classes] for classes in predicted]


def _place_map(
    ax: Axes, found: OcclusionMaps, values: np.ndarray, image_shape: tuple[int, int], **scale: Any
) -> QuadMesh:
    """Draw one value per position of the occluding patch, at the centre of the patch."""
    rows, columns = found.tops + (found.size[0] - 1) / 2, found.lefts + (found.size[1] - 1) / 2
    shown = ax.pcolormesh(columns, rows, values, shading="nearest", **scale)
    ax.set(xlim=(-0.5, image_shape[1] - 0.5), ylim=(image_shape[0] - 0.5, -0.5), aspect="equal", facecolor="0.92")
    bare(ax)
    return shown
