"""Figures of optimised images, and charts of the objectives that they reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from deconv.plotting.grids import show_picture
from deconv.plotting.plain_text import plain_text, texts


@plain_text
def visualization_sheet(
    rows: Mapping[str, tuple[np.ndarray, Sequence[str]]],
    title: str,
    columns: int = 8,
    side: float | None = None,
) -> Figure:
    """Draw optimised images in rows, layer by layer, each with a caption.

    Args:
        rows: `{name: (images, captions)}`: images `(n, height, width, 1 or 3)` as intensities between 0 and 1, and one
            text per image. The images of one name fill as many rows as needed.
        title: Title of the figure.
        columns: Images per row.
        side: Width of an image in inches; None to derive it from the number of pixels.

    Returns:
        The Matplotlib figure.
    """
    lines = []
    for name, (images, captions) in rows.items():
        for first in range(0, len(images), columns):
            line = slice(first, first + columns)
            lines.append((name if first == 0 else "", images[line], texts(captions)[line]))
    columns = max(len(images) for _, images, _ in lines)
    if side is None:
        side = float(np.clip(max(images.shape[2] for _, images, _ in lines) / 110, 0.75, 1.7))
    heights = [images.shape[1] / images.shape[2] * side + 0.24 for _, images, _ in lines]
    size = (columns * (side + 0.06) + 1.1, sum(heights) + 0.6)
    fig, axes = plt.subplots(
        len(lines), columns, figsize=size, squeeze=False, height_ratios=heights, layout="constrained"
    )
    for row, (name, images, captions) in zip(axes, lines, strict=True):
        for ax in row[len(images) :]:
            ax.axis("off")
        for ax, image, caption in zip(row, images, captions, strict=False):
            show_picture(image, ax, caption, 7)
        row[0].set_ylabel(*texts([name]), rotation=0, ha="right", va="center", fontsize=9)
    fig.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    fig.suptitle(title)
    return fig


@plain_text
def regularizer_sheet(
    found: Mapping[str, tuple[np.ndarray, ArrayLike, ArrayLike]],
    names: Sequence[str],
    title: str,
    images: ArrayLike | None = None,
) -> Figure:
    """Draw the same units under different settings, and the share of high frequencies in each image.

    Args:
        found: `{setting: (pictures, shares, scores)}`: images `(n, height, width, 1 or 3)` as intensities between 0 and
            1, `(n,)` shares of high frequencies from 0 to 1, and `(n,)` objectives reached.
        names: One text per unit.
        title: Title of the figure.
        images: `(n,)` shares of high frequencies in real images, whose mean is drawn for comparison; None to omit it.

    Returns:
        The Matplotlib figure.
    """
    count, lines = len(names), len(found)
    first, *_ = next(iter(found.values()))
    side = float(np.clip(first.shape[2] / 110, 1.0, 1.5))
    height = side * first.shape[1] / first.shape[2] + 0.08
    size = ((side + 0.08) * count + 7.0, height * lines + 1.0)
    fig = plt.figure(figsize=size, layout="constrained")
    widths = [(side + 0.08) * count + 1.4, 5.6]
    pictures, charts = fig.subfigures(1, 2, squeeze=False, width_ratios=widths)[0]
    grid = pictures.subplots(lines, count, squeeze=False)
    for row, (setting, (tiles, _, _)) in zip(grid, found.items(), strict=True):
        for ax, tile in zip(row, tiles, strict=True):
            show_picture(tile, ax)
        row[0].set_ylabel(*texts([setting]), rotation=0, ha="right", va="center", fontsize=9)
    fig.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    for ax, name in zip(grid[0], texts(names), strict=True):
        ax.set_title(name, fontsize=8)
    high, reached = charts.subplots(1, 2, sharey=True)
    places = np.arange(lines)
    base = np.abs(next(iter(found.values()))[2])
    for place, (_, shares, scores) in enumerate(found.values()):
        _bar(high, place, 100 * np.asarray(shares), "tab:red")
        _bar(reached, place, 100 * np.asarray(scores) / base, "tab:blue")
    if images is not None:
        high.axvline(
            100 * np.nanmean(np.asarray(images)), color="0.2", linestyle="--", linewidth=1, label="real images, mean"
        )
        high.legend(fontsize=7, loc="lower right")
    high.set_yticks(places, texts(found), fontsize=8)
    high.invert_yaxis()
    high.set_xlabel("energy above half of\nNyquist's frequency (%)", fontsize=8)
    reached.set_xlabel(f"activation reached (%)\n100: {next(iter(texts(found)))}", fontsize=8)
    for ax in (high, reached):
        ax.set_xlim(left=min(0, ax.get_xlim()[0]))
        ax.tick_params(labelsize=8)
        ax.grid(axis="x", alpha=0.3)
    charts.suptitle("bars: mean of the units; dots: single units", fontsize=8)
    fig.suptitle(title)
    return fig


@plain_text
def raised_chart(
    found: Mapping[str, tuple[ArrayLike, ArrayLike]],
    title: str,
    images: str = "image",
) -> Figure:
    """Compare the activations of optimised images with the strongest activations in the data.

    Args:
        found: `{layer: (scores, strongest)}`, `(n,)` each: activations for the optimised images and the strongest
            activations in the data.
        title: Title of the chart.
        images: Singular noun for the items among which the strongest activation was found.

    Returns:
        The Matplotlib figure.
    """
    fig, ax = plt.subplots(figsize=(max(5, 1.5 * len(found) + 1.5), 3.6), layout="constrained")
    ticks = []
    for place, (layer, (scores, strongest)) in enumerate(found.items()):
        ratios = np.sort(np.asarray(scores) / np.asarray(strongest))
        across = place + np.linspace(-0.38, 0.38, len(ratios)) if len(ratios) > 1 else [place]
        above = ratios > 1
        ax.plot(np.compress(above, across), ratios[above], ".", color="tab:blue", markersize=5)
        ax.plot(np.compress(~above, across), ratios[~above], ".", color="tab:red", markersize=5)
        ticks.append(f"{layer}\n{above.sum()} of {len(above)}")
    ax.axhline(1, color="0.3", linewidth=1)
    ax.set_xticks(range(len(found)), texts(ticks))
    ax.set_ylim(bottom=0)
    ax.set_ylabel(f"activation / activation of the strongest {images}", fontsize=9)
    ax.set_xlabel("channels of each layer, in ascending order", fontsize=9)
    ax.grid(axis="y", alpha=0.3)
    ax.set_title(title, fontsize=11)
    return fig


def _bar(ax: Axes, place: int, values: np.ndarray, color: str) -> None:
    ax.barh(place, np.nanmean(values), color=color, alpha=0.35, height=0.7)
    ax.plot(values, np.full(len(values), place), ".", color=color, markersize=4)
