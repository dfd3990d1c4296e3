"""Figures of features over the training epochs: projections, and curves of their convergence (Fig. 4)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import NullFormatter, NullLocator

from deconv.plotting.display import mosaic, signed
from deconv.plotting.grids import GAP, bare, signed_bar
from deconv.plotting.plain_text import plain_text
from deconv.plotting.results import Evolution, Settling

JUMP = (0.9, 0.45, 0.0)
"""Colour of the frame around the projection at an epoch where the feature jumps."""
_LEAST = 60
"""Minimum side of a tile in pixels; smaller projections are enlarged."""


@plain_text
def evolution_sheet(
    evolution: Evolution,
    title: str | None = None,
    *,
    percentile: float = 100.0,
    scale: str = "its own largest magnitude",
) -> Figure:
    """Draw the projections of a layer: one row per feature, one column per epoch, frames around jumps (Fig. 4).

    Args:
        evolution: An `Evolution`. Projections with neither 1 nor 3 channels are drawn as the mean of their channels.
        title: Title of the figure; None for a default title.
        percentile: Percentile of a projection's magnitudes that is drawn as white or black; see `signed`.
        scale: Value by which each projection has been divided, for the label of the colour bar.

    Returns:
        The Matplotlib figure.
    """
    channels, epochs = evolution.ids.shape
    pictures = evolution.projections.reshape(-1, *evolution.projections.shape[2:])
    if pictures.shape[-1] not in (1, 3):  # not displayable as grey or RGB
        pictures = pictures.mean(axis=-1, keepdims=True)
    tiles = signed(pictures, percentile=percentile)
    tiles[evolution.silent.ravel()] = np.nan
    enlarged = -(-_LEAST // max(tiles.shape[1:3]))  # keeps gaps and frames thin relative to the tiles
    tiles = tiles.repeat(enlarged, axis=1).repeat(enlarged, axis=2)
    height, width = tiles.shape[1:3]
    gap = max(1, round(width / 12))
    step = np.array([height + gap, width + gap])
    picture = mosaic(tiles, epochs, gap, GAP)
    inches = min(1.05, 11 / epochs)
    size = inches * epochs + 1.1, inches * channels * step[0] / step[1] + 1.5
    fig, ax = plt.subplots(figsize=(max(size[0], 5.6), size[1]), layout="constrained")
    ax.imshow(picture, vmin=0, vmax=1)
    bare(ax)
    for row, column in np.argwhere(evolution.jumps):
        corner = column * step[1] - 0.5 - gap / 4, row * step[0] - 0.5 - gap / 4
        sides = width + gap / 2, height + gap / 2
        ax.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=JUMP, linewidth=2.4, clip_on=False))
    ax.set_xticks(np.arange(epochs) * step[1] + (width - 1) / 2, evolution.epochs)
    ax.set_yticks(np.arange(channels) * step[0] + (height - 1) / 2, evolution.channels)
    ax.set(xlabel="epoch", ylabel=f"channel of {evolution.layer}")
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.tick_params(length=0, labelsize=9)
    signs = [
        Patch(fill=False, edgecolor=JUMP, linewidth=2, label="jump: the image with the strongest activation changes")
    ]
    if evolution.silent.any():
        signs.append(Patch(color=GAP, label="inactive: no image activates the channel"))
    signed_bar(fig, ax, f"projection / {scale}")
    fig.legend(handles=signs, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    fig.suptitle(f"{evolution.layer}: the strongest projection of each feature" if title is None else title)
    return fig


def evolution_png(evolution: Evolution, dpi: int = 110) -> tuple[bytes, tuple[int, int]]:
    """Render the figure as PNG: its bytes and `(width, height)` in pixels. The figure is closed."""
    fig = evolution_sheet(evolution)
    try:
        file = io.BytesIO()
        fig.savefig(file, dpi=dpi, format="png")
        size = fig.get_size_inches() * dpi
        return file.getvalue(), (int(size[0]), int(size[1]))
    finally:
        plt.close(fig)


@plain_text
def settling_chart(layers: Mapping[str, Settling], title: str) -> Figure:
    """Draw the similarity of the features of each layer to their final state, over the epochs.

    Args:
        layers: `{name: Settling}`, from the lowest layer to the highest.
        title: Title of the chart.

    Returns:
        The Matplotlib figure with panels for projections, filters (where there are any) and strongest images.
    """
    names = {"projections": "projections: mean cosine similarity\nto those of the last epoch"}
    if any(settled.filters is not None for settled in layers.values()):
        names["filters"] = "filters: mean cosine similarity\nto those of the last epoch"
    names["winners"] = "images: share of features with the same\nstrongest image as at the last epoch"
    fig, axes = plt.subplots(1, len(names), figsize=(4.2 * len(names), 4.4), sharex=True, layout="constrained")
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.88, len(layers)))
    for ax, (name, heading) in zip(axes, names.items(), strict=True):
        for colour, (layer, settled) in zip(colours, layers.items(), strict=True):
            values = getattr(settled, name)
            if values is not None:
                ax.plot(settled.epochs, values, color=colour, marker="o", markersize=4, label=layer)
            if name == "projections" and np.isfinite(settled.epoch):
                height = np.interp(np.log(settled.epoch), np.log(settled.epochs), values)
                mark: dict[str, Any] = {"marker": "D", "markersize": 8, "markerfacecolor": "white"}
                ax.plot(settled.epoch, height, color=colour, linestyle="", markeredgewidth=1.6, zorder=5, **mark)
        ax.set_title(heading, fontsize=10)
        _epoch_axis(ax, settled.epochs)
        ax.grid(color="0.9")
        ax.set_ylim(min(-0.05, ax.get_ylim()[0]), 1.03)
    first = axes[0]
    first.axhline(settled.level, color="0.35", linestyle="--", linewidth=1)
    first.plot([], [], "D", color="0.35", markerfacecolor="white", label="converged: stays above the dashed line")
    first.set_ylabel("similarity to the last epoch")
    fig.legend(
        *first.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(layers) + 1, 6), fontsize=9
    )
    fig.suptitle(title)
    return fig


def _epoch_axis(ax: Axes, epochs: Sequence[int] | np.ndarray) -> None:
    """Set a logarithmic epoch axis with a tick for each recorded epoch, as far as there is room."""
    ax.set_xscale("log")
    ax.set_xlabel("epoch")
    ticks = [epochs[-1]]
    for epoch in epochs[-2::-1]:
        if np.log(ticks[-1] / epoch) > 0.06 * np.log(epochs[-1] / epochs[0]):
            ticks.append(epoch)
    ax.set_xticks(ticks, [str(epoch) for epoch in ticks], fontsize=8)
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
