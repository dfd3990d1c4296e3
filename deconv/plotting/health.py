"""Charts of layer health: first-layer filters of several networks side by side, and statistics per layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from deconv.imaging.frequencies import HIGH, LOW
from deconv.plotting.display import mosaic
from deconv.plotting.grids import GAP, show_picture, signed_bar
from deconv.plotting.layer_results import LayerHealth
from deconv.plotting.plain_text import plain_text, texts


class ChartedFilters(NamedTuple):
    """Data of one network for the charts: `(filters,)` RMS and frequencies, and `(n,)` grid excesses or None."""

    name: str
    rms: np.ndarray
    frequency: np.ndarray
    excess: np.ndarray | None


@plain_text
def filter_comparison_sheet(
    filters: Sequence[tuple[str, np.ndarray]],
    projections: Sequence[tuple[str, np.ndarray]],
    charted: Sequence[ChartedFilters],
    title: str,
) -> Figure:
    """Draw first-layer filters of several networks, projections of their second layers, and charts of both (Fig. 6).

    Args:
        filters: List of `(name, tiles)`, tiles `(filters, rows, columns, 1 or 3)` as intensities between 0 and 1.
        projections: The same for projections, NaN outside of the image; may be empty.
        charted: List of `ChartedFilters`.
        title: Title of the figure.

    Returns:
        The Matplotlib figure.
    """
    together = len(filters) + len(projections) <= 2
    rows = [[*filters, *projections]] if together else [filters, projections] if projections else [filters]
    width = max(11.0, 4.6 * len(filters))
    pictures = [[_sheet(tiles) for _, tiles in row] for row in rows]
    heights = [width / len(row) * max(sheet.shape[0] / sheet.shape[1] for sheet in row) for row in pictures]
    heights = [float(min(height, 6.5)) + 0.45 for height in heights]
    fig = plt.figure(figsize=(width, sum(heights) + 3.9), layout="constrained")
    ratios = [*heights[:-1], heights[-1] + 0.5, 3.4]
    parts = fig.subfigures(len(rows) + 1, 1, squeeze=False, height_ratios=ratios)[:, 0]
    for letters, part, row, shown in zip((0, len(filters)), parts, rows, pictures, strict=False):
        axes = part.subplots(1, len(row), squeeze=False)[0]
        for place, (ax, (name, _), picture) in enumerate(zip(axes, row, shown, strict=True)):
            show_picture(picture, ax, f"({'abcdefghij'[letters + place]}) {name}", 9)
    signed_bar(parts[-2], axes, "weight, or projection / its largest magnitude")
    _filter_charts(parts[-1], charted)
    fig.suptitle(title)
    return fig


def _sheet(tiles: np.ndarray) -> np.ndarray:
    return mosaic(tiles, int(np.ceil(np.sqrt(1.5 * len(tiles)))), max(1, tiles.shape[1] // 16), GAP)


def _filter_charts(fig: Figure | SubFigure, charted: Sequence[ChartedFilters]) -> None:
    """Draw RMS, centroid frequency and, where known, grid excess of the filters of several networks."""
    excesses = [
        (place, one.name, one.excess[~np.isnan(one.excess)])
        for place, one in enumerate(charted)
        if one.excess is not None
    ]
    known = [(place, name, excess) for place, name, excess in excesses if len(excess)]
    strength, frequency, *grid = fig.subplots(1, 3 if known else 2)
    for place, one in enumerate(charted):
        colour = f"C{place}"
        ranks = (np.arange(len(one.rms)) + 0.5) / len(one.rms)
        median = np.median(one.rms)
        strength.plot(100 * ranks, np.sort(one.rms)[::-1] / (median or 1), color=colour, label=one.name)
        centroids = one.frequency[~np.isnan(one.frequency)]
        shares = np.full(len(centroids), 100 / max(1, len(centroids)))
        frequency.hist(
            centroids, np.arange(0, 0.73, 0.025), weights=shares, color=colour, histtype="step", linewidth=1.4
        )
    strength.axhline(1, color="0.7", linewidth=0.8, zorder=0)
    strength.set(xlabel="filters, strongest first (%)", ylabel="RMS / median RMS", ylim=(0, None))
    strength.legend(fontsize=8)
    for edge in (LOW, HIGH):
        frequency.axvline(edge, color="0.7", linewidth=0.8, zorder=0)
    for middle, name in ((LOW / 2, "low"), ((LOW + HIGH) / 2, "middle"), ((HIGH + 0.6) / 2, "high")):
        frequency.text(middle, 1.01, name, transform=frequency.get_xaxis_transform(), ha="center", fontsize=8)
    frequency.set(xlabel="centroid of a filter (cycles per pixel)", ylabel="filters (%)", xlim=(0, 0.6))
    if known:
        _grid_chart(grid[0], known)


def _grid_chart(grid: Axes, known: Sequence[tuple[int, str, np.ndarray]]) -> None:
    """Draw grid excesses of several networks; `known` holds `(colour index, name, values)` of each."""
    for row, (place, _, excess) in enumerate(known):
        lift = np.linspace(-0.3, 0.3, len(excess))
        grid.plot(np.sort(excess), row + lift, ".", color=f"C{place}", markersize=4)
        grid.plot([np.median(excess)] * 2, [row - 0.38, row + 0.38], color="black", linewidth=1.5)
    grid.axvline(1, color="0.7", linewidth=0.8, zorder=0)
    grid.set(xlabel="power at the grid's frequencies\n/ power beside them", xscale="log", ylim=(len(known) - 0.4, -0.6))
    low, high = min(grid.get_xlim()[0], 0.5), max(grid.get_xlim()[1], 2)
    ticks = [tick for tick in 2.0 ** np.arange(-6, 7) if low <= tick <= high]
    grid.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    grid.set_xticks([], minor=True)
    grid.set_xlim(low, high)
    grid.set_yticks(range(len(known)), texts(name for _, name, _ in known), fontsize=8)
    grid.set_title("layer 2, one dot per projection; bar: median", fontsize=9)


@plain_text
def health_sheet(found: Mapping[str, LayerHealth], title: str) -> Figure:
    """Draw the health statistics of one network, layer by layer.

    Args:
        found: `{layer: LayerHealth}`, as returned by `deconv.health`.
        title: Title of the figure.

    Returns:
        The Matplotlib figure.
    """
    layers, ones = list(found), list(found.values())
    fig, axes = plt.subplots(2, 3, figsize=(max(11.0, 1.5 * len(layers)), 7.4), layout="constrained")
    inactive, strength, repeated, correlated, independent, last = axes.flat
    places = np.arange(len(layers))
    dead = np.array([100 * one.dead.mean() for one in ones])
    rare = np.array([100 * one.rare.mean() for one in ones])
    inactive.bar(places, dead, color="tab:red", label="dead")
    inactive.bar(places, rare, bottom=dead, color="tab:orange", label="rarely active")
    inactive.legend(fontsize=8)
    _count(inactive, [int(one.dead.sum() + one.rare.sum()) for one in ones], dead + rare)
    inactive.set(ylabel="channels (%)", title="dead and rarely active", ylim=(0, max(5, 1.15 * (dead + rare).max())))
    for place, one in enumerate(ones):
        if one.filters is not None and np.median(one.filters.rms) > 0:
            ratios = one.filters.rms / np.median(one.filters.rms)
            lift = np.linspace(-0.3, 0.3, len(ratios))
            strength.plot(place + lift, np.sort(ratios)[::-1], ".", color="0.35", markersize=2.5)
    strength.axhline(1, color="0.7", linewidth=0.8, zorder=0)
    strength.set(ylabel="RMS / median of the layer", title="filters, strongest first", ylim=(0, None))
    shares = [0 if one.filters is None else len(np.unique(one.filters.duplicates)) / len(one.dead) for one in ones]
    repeated.bar(places, 100 * np.array(shares), color="0.45")
    repeated.set(ylabel="filters (%)", title="repeated filters", ylim=(0, max(5, 115 * max(shares))))
    _count(
        repeated, [len(np.unique(one.filters.duplicates)) if one.filters else 0 for one in ones], 100 * np.array(shares)
    )
    correlated.bar(places, [one.activity.correlation for one in ones], color="0.45")
    correlated.set(ylabel="mean |correlation|", title="co-adaptation", ylim=(0, 1))
    shares = [100 * one.activity.independent / len(one.dead) for one in ones]
    independent.bar(places, shares, color="0.45")
    _count(independent, [f"{one.activity.independent:.0f} of\n{len(one.dead)}" for one in ones], shares)
    independent.set(ylabel="participation ratio / channels (%)", title="independent channels", yscale="log")
    _percentages(independent, [share for share in shares if np.isfinite(share)])
    gaps = [one.gap for one in ones if one.gap is not None]
    if len(gaps) == len(ones):
        last.bar(places, [gap.size for gap in gaps], color="0.45")
        last.plot(places, [gap.chance for gap in gaps], "k--", linewidth=1, label="by chance")
        last.legend(fontsize=8)
        last.set(ylabel="|difference of means| / deviation", title="gap to unseen images")
    else:
        last.bar(places, [100 * one.activity.covered.mean() for one in ones], color="0.45")
        last.set(ylabel="positions above zero (%)", title="active share of the maps", ylim=(0, 100))
    for ax in axes.flat:
        _name_layers(ax, layers)
    fig.suptitle(title)
    return fig


@plain_text
def regularisation_sheet(
    found: Mapping[str, Mapping[str, LayerHealth]],
    accuracies: Mapping[str, tuple[float | None, float | None]],
    title: str,
) -> Figure:
    """Draw the health statistics of networks trained in different ways, side by side.

    Args:
        found: `{network: {layer: LayerHealth}}`, each with a gap between training and test images.
        accuracies: `{network: (training, test)}`, fractions or None.
        title: Title of the figure.

    Returns:
        The Matplotlib figure.
    """
    names = list(found)
    layers = list(dict.fromkeys(layer for healths in found.values() for layer in healths))
    fig, axes = plt.subplots(2, 3, figsize=(max(13.0, 1.6 * len(layers)), 8.2), layout="constrained")
    accuracy = axes[0, 0]
    for row, name in enumerate(names):
        known = [100 * share for share in accuracies[name] if share is not None]
        accuracy.plot(known, [row] * len(known), color=f"C{row % 10}", linewidth=2, zorder=1)
        for share, marker in zip(accuracies[name], ("o", "s"), strict=True):
            if share is not None:
                accuracy.plot(100 * share, row, marker, color=f"C{row % 10}", markersize=7)
    accuracy.plot([], [], "o", color="0.4", label="training")
    accuracy.plot([], [], "s", color="0.4", label="test")
    accuracy.legend(fontsize=8, ncols=2, loc="upper left")
    accuracy.set_yticks(range(len(names)), texts(names), fontsize=8)
    accuracy.set(xlabel="accuracy (%)", title="accuracy", ylim=(len(names) - 0.5, -0.5 - 0.15 * len(names)))
    charts = (
        (axes[0, 1], "gap to unseen images", "|difference of means| / deviation", _gap),
        (axes[0, 2], "co-adaptation", "mean |correlation|", lambda one: one.activity.correlation),
        (axes[1, 0], "dead channels", "channels (%)", lambda one: 100 * one.dead.mean()),
        (axes[1, 1], "independent channels", "participation ratio / channels (%)", _independent),
        (axes[1, 2], "filters", "largest RMS / median", _spread),
    )
    for ax, name, unit, measure in charts:
        for row, network in enumerate(names):
            lift = 0.08 * (row - (len(names) - 1) / 2)
            values = [measure(found[network][layer]) if layer in found[network] else np.nan for layer in layers]
            ax.plot(np.arange(len(layers)) + lift, values, "o-", color=f"C{row % 10}", markersize=4, linewidth=1)
        ax.set(title=name, ylabel=unit)
        ax.set_ylim(1 if ax is axes[1, 2] else 0, None)
        _name_layers(ax, layers)
    shares = [_independent(one) for healths in found.values() for one in healths.values()]
    axes[1, 1].set_yscale("log")
    _percentages(axes[1, 1], [share for share in shares if np.isfinite(share)])
    chance = [np.mean([_chance(healths[layer]) for healths in found.values() if layer in healths]) for layer in layers]
    axes[0, 1].plot(chance, "k--", linewidth=1, label="by chance")
    axes[0, 1].legend(fontsize=8)
    fig.suptitle(title)
    return fig


def _count(ax: Axes, counts: Sequence[int | str], heights: Sequence[float] | np.ndarray) -> None:
    """Write counts on top of bars."""
    for place, (count, height) in enumerate(zip(counts, heights, strict=True)):
        if np.isfinite(height):
            ax.annotate(f"{count}", (place, height), ha="center", va="bottom", fontsize=7)


def _percentages(ax: Axes, shares: Sequence[float]) -> None:
    """Set a logarithmic axis up to 100 %, with room for numbers above the bars."""
    ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_yticks([], minor=True)
    ax.set_ylim(0.6 * min([*shares, 10]), 190)


def _gap(one: LayerHealth) -> float:
    return np.nan if one.gap is None else one.gap.size


def _chance(one: LayerHealth) -> float:
    return np.nan if one.gap is None else one.gap.chance


def _independent(one: LayerHealth) -> float:
    return 100 * one.activity.independent / len(one.dead)


def _spread(one: LayerHealth) -> float:
    return np.nan if one.filters is None else one.filters.spread


def _name_layers(ax: Axes, layers: Sequence[str]) -> None:
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if len(layers) > 4 else {}
    ax.set_xticks(range(len(layers)), texts(layers), fontsize=8, **turned)
    ax.set_xlim(-0.6, len(layers) - 0.4)
