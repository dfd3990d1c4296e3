"""Schematic of Fig. 1, drawn from a real model: the convnet (upwards) beside its deconvnet (downwards)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from deconv.plotting.grids import MAPS
from deconv.plotting.plain_text import plain_text


@plain_text
def scheme(
    up: Sequence[tuple[str, np.ndarray]],
    down: Sequence[tuple[str, np.ndarray]],
    links: Sequence[tuple[int, int]],
    title: str,
) -> Figure:
    """Draw convnet and deconvnet side by side, each stage with its computed activation map.

    Args:
        up: Stages of the convnet from the image upwards, each `(text, map)`; a map is `(rows, columns)`.
        down: Stages of the deconvnet from the top downwards, each `(text, map)`; signed.
        links: Pairs `(index in up, index in down)` of stages that share switches.
        title: Title of the figure.

    Returns:
        The Matplotlib figure.
    """
    stages = max(len(up), len(down))
    fig, ax = plt.subplots(figsize=(8.6, 1.1 * stages + 0.9), layout="constrained")
    ax.set(xlim=(0, 10), ylim=(-0.2, stages + 0.35))
    ax.axis("off")
    right = [
        _stage(ax, 5.6, place, *stage, signed=False, colours=MAPS if place else "gray")
        for place, stage in enumerate(up)
    ]
    left = [_stage(ax, 0.1, stages - 1 - place, *stage, signed=True) for place, stage in enumerate(down)]
    for column, order in ((right, 1), (left, -1)):
        for (x, y), (_, following) in pairwise(column):
            ax.annotate(
                "",
                (x, following - 0.4 * order),
                (x, y + 0.4 * order),
                arrowprops={"arrowstyle": "-|>", "color": "0.3"},
            )
    for above, below in links:
        start, end = (right[above][0] - 2.15, right[above][1]), (left[below][0] + 2.15, left[below][1])
        ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "tab:red", "linewidth": 1.4})
        middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        ax.text(*middle, "switches", color="tab:red", ha="center", va="center", fontsize=9, backgroundcolor="white")
    ax.text(left[0][0], stages + 0.1, "deconvnet, downwards", ha="center", weight="bold")
    ax.text(right[0][0], stages + 0.1, "convnet, upwards", ha="center", weight="bold")
    fig.suptitle(title)
    return fig


@plain_text
def unpooling(
    maps: np.ndarray,
    switches: np.ndarray,
    pooled: np.ndarray,
    unpooled: np.ndarray,
    zones: np.ndarray,
    title: str,
) -> Figure:
    """Draw pooling and unpooling over coloured zones, with the computed values (Fig. 1, bottom).

    Args:
        maps: `(height, width)`, a part of a feature map.
        switches: `(rows, columns)`, position in `maps` of the maximum of each zone: `row * width + column`.
        pooled: `(rows, columns)`, the maxima.
        unpooled: `(height, width)`, the maxima at their original positions.
        zones: `(rows * columns, 4)` ints: top, left, bottom, right of each pooling window in `maps`.
        title: Title of the figure.

    Returns:
        The Matplotlib figure.
    """
    fig, axes = plt.subplots(1, 4, figsize=(14, 4.1), layout="constrained")
    titles = ("feature map, pooling zones", "switches: position of each maximum", "pooled map", "unpooled map")
    colours = color_sequences["tab20"]
    for ax, shown, name in zip(axes, (maps, maps, pooled, unpooled), titles, strict=True):
        ax.imshow(shown, cmap="Greys", vmin=0, vmax=1.6 * max(maps.max(), 1e-12))
        ax.set(xticks=[], yticks=[], title=name)
        for (row, column), value in np.ndenumerate(shown):
            if ax is not axes[1] and (value or ax is not axes[3]):
                ax.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=8)
    for number, (top, left, bottom, right) in enumerate(zones):
        frame: dict[str, Any] = {"fill": False, "linewidth": 2.5, "edgecolor": colours[number % len(colours)]}
        corner = left - 0.46, top - 0.46
        for ax in (axes[0], axes[1], axes[3]):
            ax.add_patch(Rectangle(corner, right - left - 0.08, bottom - top - 0.08, **frame))
        row, column = divmod(number, pooled.shape[1])
        axes[2].add_patch(Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, **frame))
        row, column = divmod(switches.ravel()[number], maps.shape[1])
        axes[1].plot(column, row, "o", color=frame["edgecolor"], markersize=9, markeredgecolor="black")
    fig.suptitle(title)
    return fig


def _stage(
    ax: Axes, x: float, y: float, text: str, picture: np.ndarray, signed: bool, colours: str = "gray"
) -> tuple[float, float]:
    """Draw a box with its text and its map; return the centre of the box."""
    width, height = 4.3, 0.8
    ax.add_patch(
        FancyBboxPatch(
            (x, y + 0.5 - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.08", fc="0.97", ec="0.5"
        )
    )
    ax.text(x + 1.1, y + 0.5, text, va="center", fontsize=9)
    inset = ax.inset_axes((x + 0.1, y + 0.5 - 0.37, 0.85, 0.74), transform=ax.transData)
    if signed:
        largest = np.abs(picture).max() or 1
        inset.imshow(picture, cmap=colours, vmin=-largest, vmax=largest)
    else:
        inset.imshow(picture, cmap=colours, vmin=min(0, picture.min()))
    inset.set_axis_off()
    return x + width / 2, y + 0.5
