"""Figure of the invariance experiment (Fig. 5): transformed images, feature distances and class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from deconv.plotting.display import mosaic
from deconv.plotting.grids import GAP, show_picture
from deconv.plotting.layer_results import Invariance
from deconv.plotting.plain_text import plain_text, texts

AXES = {
    "translation": ("vertical translation (pixels, down if positive)", "{:.0f} px"),
    "scale": ("scale (factor)", "×{:.4g}"),
    "rotation": ("rotation (degrees, counter-clockwise)", "{:.0f}°"),
}
"""Axis label of every kind of transform, and the format of its values."""


@plain_text
def invariance_sheet(
    found: Sequence[Invariance],
    pictures: Sequence[np.ndarray],
    shown: Sequence[Sequence[float]],
    names: Sequence[str],
    layers: Sequence[tuple[str, str]],
    notes: Sequence[Sequence[str]],
    title: str,
    probability: str = "probability of the true class",
    score: str = "probability",
) -> Figure:
    """Draw one row per kind of transform: the images, the distances of two layers, the class probability (Fig. 5).

    The column of the class probability is omitted for a model without class outputs.

    Args:
        found: Sequence of `Invariance`, one per row, of the same images and layers.
        pictures: For each row `(images, shown, height, width, 1 or 3)` intensities between 0 and 1.
        shown: For each row the transform values of these images.
        names: One text per image, for the legend.
        layers: Two pairs `(name, description)`. The distances of one layer share their scale in all rows.
        notes: For each row one text per chart, written above it.
        title: Title of the figure.
        probability: Title of the last column.
        score: Kind of model output (`deconv.graph.model_output.output_kind`); only a probability gets an axis from 0
            to 1.

    Returns:
        The Matplotlib figure.
    """
    count, columns, height, width = pictures[0].shape[:4]
    tall = min(1.25, max(0.5, count * height / (columns * width)))
    has_classes = all(experiment.probability is not None for experiment in found)
    charts = len(layers) + has_classes
    size = 16.5 * (1.05 + charts) / 4.05, len(found) * (3.4 * tall + 0.75) + 1.3
    fig, axes = plt.subplots(
        len(found), 1 + charts, figsize=size, squeeze=False, layout="constrained", width_ratios=[1.05, *[1] * charts]
    )
    colours = color_sequences["tab10"]
    lines = []
    for row, experiment, tiles, values, texts_above in zip(axes, found, pictures, shown, notes, strict=True):
        label, written = AXES[experiment.kind]
        _tiles(row[0], tiles, [_written(written, value) for value in values], colours)
        curves = [experiment.distances[layer] for layer, _ in layers]
        curves += [] if experiment.probability is None else [experiment.probability]
        for ax, curve, note in zip(row[1:], curves, texts_above, strict=True):
            style: dict[str, Any] = {"linewidth": 1.4, "marker": ".", "markersize": 4}
            lines = [
                ax.plot(experiment.values, line, color=colours[place % len(colours)], **style)[0]
                for place, line in enumerate(curve)
            ]
            ax.set_xlabel(label)
            ax.set_title(note, fontsize=8, loc="left", color="0.25")
            ax.grid(color="0.9", linewidth=0.6)
            if experiment.kind == "rotation":
                ax.set_xticks(range(0, 361, 90))
            elif experiment.kind == "translation":
                ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        for ax in row[1:3]:
            ax.set_ylabel("Euclidean distance |f(x') − f(x)|")
        for ax in row[3:]:
            ax.set(ylabel=score, **({"ylim": (-0.03, 1.03)} if score == "probability" else {}))
    for place in (1, 2):
        top = max(experiment.distances[layers[place - 1][0]].max() for experiment in found)
        for ax in axes[:, place]:
            ax.set_ylim(-0.03 * (top or 1), 1.06 * (top or 1))
    heads = ("images", *(f"{layer}, {what}" for layer, what in layers), probability)
    for ax, head in zip(axes[0], texts(heads[: 1 + charts]), strict=True):
        ax.annotate(
            head, (0.5, 1), (0, 24), xycoords="axes fraction", textcoords="offset points", ha="center", fontsize=11
        )
    fig.legend(lines, texts(names), loc="outside lower center", ncols=min(len(names), 5), fontsize=9)
    fig.suptitle(title)
    return fig


def _tiles(ax: Axes, tiles: np.ndarray, values: Sequence[str], colours: Sequence[Any]) -> None:
    """Draw images below one another and their transforms side by side, each row with its colour on the left."""
    count, columns, height, width = tiles.shape[:4]
    gap = max(1, width // 20)
    show_picture(mosaic(tiles.reshape(-1, *tiles.shape[2:]), columns, gap, GAP), ax)
    ax.set_xticks([place * (width + gap) + width / 2 - 0.5 for place in range(columns)], values, fontsize=8)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    for place in range(count):
        middle = place * (height + gap) - 0.5
        bar = Rectangle((-0.5 - 0.12 * width, middle), 0.08 * width, height, color=colours[place % len(colours)])
        ax.add_patch(bar).set_clip_on(False)


def _written(form: str, value: float) -> str:
    """Format a value with a typographic minus sign, and without a minus sign before zero."""
    return form.format(value + 0.0).replace("-", "−")
