"""Figures with many small images, each with a title, units and one colour scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure

from deconv.plotting.display import mosaic
from deconv.plotting.plain_text import plain_text, set_plain_title, texts

MAPS = "magma"
"""Colour map of activations, which start at zero."""

GAP = (0.55, 0.68, 0.84)
"""Colour of the gaps between tiles. It occurs in neither digits nor projections."""


def show_picture(picture: np.ndarray, ax: Axes, title: str = "", size: float | str = "small") -> None:
    """Draw one image `(height, width, 1 or 3)` of intensities between 0 and 1, without axes."""
    grey = picture.shape[-1] == 1
    ax.imshow(picture[..., 0] if grey else picture, cmap="gray" if grey else None, vmin=0, vmax=1)
    bare(ax, title, size)


@plain_text
def top_sheet(
    projections: np.ndarray | None,
    patches: np.ndarray,
    channels: Sequence[int] | np.ndarray,
    title: str,
    *,
    values: np.ndarray | None = None,
    columns: int = 4,
    tiles: int = 3,
    scale: str = "its own largest magnitude",
) -> Figure:
    """Draw the strongest projections of every channel beside the image patches that caused them (Fig. 2).

    Args:
        projections, patches: `(channels, k, height, width, 1 or 3)`, intensities between 0 and 1, NaN where a window
            lies outside the image. Projections may be None; then only patches are drawn.
        channels: `(channels,)` ints, channel numbers.
        title: Title of the figure.
        values: `(channels, k)` activations; the largest is written above each channel.
        columns: Channels per row of the figure.
        tiles: Tiles per row of a channel: 3 for the 3x3 arrangement of the paper.
        scale: Value by which each projection has been divided, for the label of the colour bar.

    Returns:
        The Matplotlib figure.
    """
    rows = -(-len(channels) // columns)
    pairs = [
        np.concatenate([_with_margin(mosaic(side, tiles, max(1, side.shape[1] // 12), GAP)) for side in pair], axis=1)
        for pair in (zip(patches) if projections is None else zip(projections, patches, strict=True))
    ]
    aspect = pairs[0].shape[0] / pairs[0].shape[1]
    inches = np.clip(pairs[0].shape[1] / 130, 3.1, 5.5)
    size = (inches * columns, ((inches - 0.05) * aspect + 0.24) * rows + 1.05)
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for place, ax in enumerate(axes.flat):
        if place >= len(channels):
            ax.axis("off")
            continue
        peak = ""
        if values is not None:
            peak = f", strongest {values[place, 0]:.2f}" if values[place, 0] > 0 else ", inactive"
        show_picture(pairs[place], ax, f"channel {channels[place]}{peak}", 9)
    if projections is not None:
        signed_bar(fig, axes, f"projection / {scale}")
    fig.suptitle(title)
    return fig


@plain_text
def filter_sheet(own: np.ndarray, shared: np.ndarray, title: str) -> Figure:
    """Draw the filters of a first layer on two scales.

    Args:
        own, shared: `(filters, rows, columns, 1 or 3)`, intensities between 0 and 1: each filter on its own scale, and
            all filters on one scale.
        title: Title of the figure.

    Returns:
        The Matplotlib figure.
    """
    columns = int(np.ceil(np.sqrt(len(own))))
    fig, axes = plt.subplots(1, 2, figsize=(12, 6.2 * -(-len(own) // columns) / columns + 1.2), layout="constrained")
    names = ("each on its own scale", "all on one scale")
    for ax, tiles, name in zip(axes, (own, shared), names, strict=True):
        show_picture(mosaic(tiles, columns, 1, GAP), ax, name, 10)
    signed_bar(fig, axes, "weight / largest magnitude")
    fig.suptitle(title)
    return fig


def signed_bar(fig: Figure | SubFigure, axes: Any, label: str) -> None:
    """Draw the colour bar of signed images divided by a largest magnitude; for colour images it holds per channel."""
    scale = plt.cm.ScalarMappable(Normalize(-1, 1), cmap="gray")
    bar = fig.colorbar(scale, ax=axes, location="bottom", fraction=0.02, aspect=60, pad=0.015, shrink=0.5)
    bar.set_ticks([-1, 0, 1], labels=["−1: inhibits", "0", "+1: excites"], fontsize=8)
    bar.set_label(label, fontsize=8)


@plain_text
def activation_sheet(
    images: np.ndarray,
    maps: np.ndarray,
    labels: Iterable[str],
    title: str,
    numbers: Iterable[int] | None = None,
) -> Figure:
    """Draw the activation maps of every channel for several images, on one scale.

    Args:
        images: `(n, height, width, 1 or 3)` intensities between 0 and 1.
        maps: `(n, rows, columns, channels)` activations.
        labels: One text per image.
        title: Title of the figure.
        numbers: `(channels,)` ints, channel numbers; None for 0, 1, 2, ...

    Returns:
        The Matplotlib figure.
    """
    count, rows, columns, channels = maps.shape
    gap = max(1, rows // 12)
    tiles = np.moveaxis(maps, -1, 1).reshape(count * channels, rows, columns, 1).astype(float)
    tile_inches = min(0.8, 11 / channels)
    size = ((channels + 1.4) * tile_inches + 1.6, count * tile_inches * rows / columns + 1.1)
    fig, ax = plt.subplots(figsize=size, layout="constrained")
    whole = mosaic(tiles, channels, gap, background=np.nan)[..., 0]
    shown = ax.imshow(whole, cmap=MAPS, vmin=min(0, tiles.min()), vmax=tiles.max() or 1, interpolation="nearest")
    left = -columns - 2.5 * gap
    for place, image in enumerate(images):
        top = place * (rows + gap) - 0.5
        grey: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1} if image.shape[-1] == 1 else {}
        ax.imshow(image.squeeze(), extent=(left - 0.5, left + columns - 0.5, top + rows, top), **grey)
    ax.set(xlim=(left - 0.5, whole.shape[1] - 0.5), ylim=(whole.shape[0] - 0.5, -0.5))
    bare(ax)
    ax.set_xlabel("channel")
    ax.set_yticks([row * (rows + gap) + rows / 2 - 0.5 for row in range(count)], texts(labels), fontsize=8)
    middles = [left + columns / 2 - 0.5, *(column * (columns + gap) + columns / 2 - 0.5 for column in range(channels))]
    ax.set_xticks(middles, ["image", *map(str, range(channels) if numbers is None else numbers)], fontsize=8)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.tick_params(length=0)
    fig.colorbar(shown, ax=ax, label="activation", fraction=0.03, pad=0.01)
    fig.suptitle(title)
    return fig


@plain_text
def unit_strips(
    activations: np.ndarray,
    labels: Iterable[str],
    title: str,
    unit_labels: Sequence[str] | None = None,
) -> Figure:
    """Draw the activations of a layer without spatial dimensions: one row per image, one column per unit, one scale.

    Args:
        activations: `(n, units)`.
        labels: One text per image.
        title: Title of the figure.
        unit_labels: One class name per unit; None to number the units.

    Returns:
        The Matplotlib figure.
    """
    count, units = activations.shape
    fig, ax = plt.subplots(figsize=(max(6, min(13, units * 0.14 + 2)), count * 0.28 + 1.3), layout="constrained")
    lowest = min(0, activations.min())
    shown = ax.imshow(activations, cmap=MAPS, vmin=lowest, aspect="auto", interpolation="nearest")
    ax.set_yticks(range(count), texts(labels))
    ax.set(xlabel="unit", ylabel="image of class")
    if unit_labels is not None:
        ax.set_xticks(range(units), texts(unit_labels), rotation=90 if max(map(len, unit_labels)) > 3 else 0)
        ax.set_xlabel("class")
    fig.colorbar(shown, ax=ax, label="activation", fraction=0.03, pad=0.01)
    fig.suptitle(title)
    return fig


def bare(ax: Axes, title: str = "", size: float | str = "small") -> None:
    """Remove ticks and frame and set the title."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if title:
        set_plain_title(ax, title, fontsize=size)


def _with_margin(picture: np.ndarray) -> np.ndarray:
    """Add a white margin that separates the two halves of a pair."""
    margin = max(1, picture.shape[1] // 30)
    return np.pad(picture, ((0, 0), (margin, margin), (0, 0)), constant_values=1)
