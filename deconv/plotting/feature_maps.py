"""Figures of feature maps of a layer or a whole network, before and after activation and pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

from deconv.plotting.display import mosaic
from deconv.plotting.grids import MAPS, bare, show_picture
from deconv.plotting.layer_results import FeatureMaps
from deconv.plotting.plain_text import plain_text, texts

_STAGES = ("before the activation", "after the activation", "after pooling")
_Stages = Sequence[np.ndarray | None]
_LABEL: dict[str, Any] = {"fontsize": 7, "ha": "center", "va": "bottom", "color": "0.25"}


@plain_text
def feature_map_sheet(
    image: np.ndarray,
    found: FeatureMaps,
    title: str,
    *,
    number: int = 0,
    channels: ArrayLike | None = None,
    most: int = 32,
    seed: int = 0,
    columns: int = 16,
) -> Figure:
    """Draw the activation maps of one layer for one image, one block of rows per stage, each stage on one scale.

    Args:
        image: `(height, width, 1 or 3)` intensities between 0 and 1.
        found: The `FeatureMaps` of the layer. For a dense layer, `deconv.plotting.unit_strips` shows more images at
            once.
        title: Title of the figure.
        number: Index of the image in `found`.
        channels: `(c,)` ints, channels to draw; None for all, or for `most` channels drawn at random with `seed`. All
            units of a layer without spatial dimensions are drawn.
        most, seed: See `channels`.
        columns: Maps per row.

    Returns:
        The Matplotlib figure. Zero is grey before the activation and black after it.
    """
    stages = _stages_of(found, number)
    drawn_stages = [(place, maps) for place, maps in enumerate(stages) if maps is not None]
    first = found.before[number]
    count, dense = first.shape[-1], first.ndim == 1
    if channels is None or dense:
        channels = some_channels(count, count if dense else most, seed)
    channels = np.asarray(channels)
    columns = min(columns, len(channels))
    rows = -(-len(channels) // columns)
    wide = max(7.0, 0.78 * columns + 2.2)
    tall = 0.7 if dense else 0.95 * rows * 0.78 * first.shape[0] / first.shape[1] + 0.35
    fig = plt.figure(figsize=(wide, tall * len(drawn_stages) + 1.0), layout="constrained")
    grid = fig.add_gridspec(len(drawn_stages), 2, width_ratios=[max(1.0, wide / 9), wide])
    show_picture(image, fig.add_subplot(grid[0, 0]), "image", 9)
    top = _top(stages, channels)
    for row, (place, maps) in enumerate(drawn_stages):
        ax = fig.add_subplot(grid[row, 1])
        drawn = _draw(ax, maps, channels, columns, _scale(place, maps, channels, top), labels=True)
        ax.set_title(f"{found.layers[place]}, {_STAGES[place]}", fontsize=9, loc="left", pad=6 if dense else 14)
        fig.colorbar(drawn, ax=ax, fraction=0.03, pad=0.01).set_label("activation", fontsize=8)
    part = "" if len(channels) == count else f"; {len(channels)} of {count} channels, drawn with seed {seed}"
    fig.suptitle(f"{title}{part}", fontsize=11)
    return fig


@plain_text
def network_sheet(
    image: np.ndarray,
    maps: Mapping[str, FeatureMaps],
    title: str,
    *,
    number: int = 0,
    most: int = 10,
    seed: int = 0,
) -> Figure:
    """Draw the activation maps of every layer for one image: one row per layer, its stages side by side.

    Args:
        image: `(height, width, 1 or 3)` intensities between 0 and 1.
        maps: `{layer: FeatureMaps}`, as returned by `deconv.feature_maps`.
        title: Title of the figure.
        number: Index of the image.
        most: Maximum number of channels per layer, drawn at random with `seed`. All units of layers without spatial
            dimensions are drawn.
        seed: Random seed of the channel selection.

    Returns:
        The Matplotlib figure.
    """
    spatial = [found.before.ndim == 4 for found in maps.values()]
    heights = [1.0, *(1.55 if space else 0.62 for space in spatial)]
    fig = plt.figure(figsize=(13, 1.18 * sum(heights) + 0.7), layout="constrained")
    grid = fig.add_gridspec(len(heights), 3, height_ratios=heights)
    show_picture(image, fig.add_subplot(grid[0, 0]), "image", 9)
    fig.add_subplot(grid[0, 1:]).axis("off")
    legend = "\n".join(
        [
            "Before the activation: grey is zero, positive values are lighter, negative values darker.",
            "After the activation and after pooling: black is zero. Each row has two scales of its own.",
            f"Each row shows {most} channels of its layer, drawn with seed {seed}, or all if it has no more.",
        ]
    )
    fig.axes[1].text(0, 0.5, legend, va="center", fontsize=9, color="0.25", transform=fig.axes[1].transAxes)
    for row, (layer, found) in enumerate(maps.items(), start=1):
        stages = _stages_of(found, number)
        count = found.before.shape[-1]
        channels = some_channels(count, most, seed) if spatial[row - 1] else np.arange(count)
        top = _top(stages, channels)
        for place, stage in enumerate(stages):
            ax = fig.add_subplot(grid[row, place])
            if stage is None:
                ax.axis("off")
                continue
            scale = _scale(place, stage, channels, top)
            drawn = _draw(ax, stage, channels, -(-len(channels) // 2), scale, room=-(-most // 2))
            ax.set_title(f"{found.layers[place]}, {_STAGES[place]}", fontsize=8, loc="left")
            fig.colorbar(drawn, ax=ax, fraction=0.03, pad=0.01).ax.tick_params(labelsize=7)
            if not place:
                label = f"{layer}\n{count} {'channels' if stage.ndim == 3 else 'units'}"
                ax.set_ylabel(texts([label])[0], fontsize=9)
    fig.suptitle(title, fontsize=12)
    return fig


def some_channels(count: int, most: int, seed: int = 0) -> np.ndarray:
    """Return all channels of a layer, or at most `most` of them drawn at random with `seed`, in order."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def _stages_of(found: FeatureMaps, number: int) -> _Stages:
    """Maps of one image before the activation, after the activation and after pooling; None for missing stages."""
    return [None if maps is None else maps[number] for maps in (found.before, found.after, found.pooled)]


def _top(stages: _Stages, channels: np.ndarray) -> float:
    """Largest activation of the given channels after activation and pooling."""
    tops = [maps[..., channels].max() for maps in stages[1:] if maps is not None]
    return max([*tops, np.finfo(np.float32).tiny])


def _scale(place: int, maps: np.ndarray, channels: np.ndarray, top: float) -> dict[str, Any]:
    """Colour scale of a stage: grey for zero if signed, black for zero if rectified."""
    shown = maps[..., channels]
    if place and shown.min() >= 0:
        return {"cmap": MAPS, "vmin": 0, "vmax": top}
    largest = np.abs(shown).max() or 1
    return {"cmap": "gray", "vmin": -largest, "vmax": largest}


def _draw(
    ax: Axes,
    maps: np.ndarray,
    channels: np.ndarray,
    columns: int,
    scale: dict[str, Any],
    *,
    labels: bool = False,
    room: int = 0,
) -> AxesImage:
    """Draw channels as tiles, each row padded to `room` tiles; without spatial dimensions, draw one strip."""
    if maps.ndim == 1:
        drawn = ax.imshow(maps[None, channels], aspect="auto", interpolation="nearest", **scale)
        bare(ax)
        ax.xaxis.set_major_locator(plt.MaxNLocator(10, integer=True))
        ax.tick_params(axis="x", labelsize=7, length=2, pad=1)
        if labels:
            ax.set_xlabel("unit", fontsize=8)
        return drawn
    height, width = maps.shape[:2]
    gap = max(1, round((0.25 if labels else 0.08) * height))
    whole = mosaic(np.moveaxis(maps[..., channels], -1, 0)[..., None].astype(float), columns, gap, np.nan)[..., 0]
    whole = np.pad(whole, ((0, 0), (0, max(0, room - columns) * (width + gap))), constant_values=np.nan)
    drawn = ax.imshow(whole, interpolation="nearest", **scale)
    bare(ax)
    for place, channel in enumerate(channels if labels else ()):
        row, column = divmod(place, columns)
        ax.text(column * (width + gap) + width / 2 - 0.5, row * (height + gap) - 0.6, str(channel), **_LABEL)
    return drawn
