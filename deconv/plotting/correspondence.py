"""Figures of the correspondence experiment: images with occluded parts, and the similarity of the feature changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deconv.imaging.nan_mean import nan_mean, nan_mean_and_std
from deconv.plotting.grids import show_picture
from deconv.plotting.layer_results import Distances
from deconv.plotting.plain_text import plain_text, texts

_OF_PARTS, _OF_RANDOM, _OF_OTHERS = "tab:blue", "tab:orange", "0.6"


@plain_text
def hidden_sheet(
    pictures: np.ndarray,
    rectangles: Sequence[np.ndarray | None],
    names: Sequence[str],
    heads: Sequence[str],
    title: str,
) -> Figure:
    """Draw one row per part and one column per image, with a frame around the occluded rectangle (Fig. 8).

    Args:
        pictures: `(rows, n, height, width, 1 or 3)` intensities between 0 and 1.
        rectangles: For each row ints `(n, 4)`: top, left, bottom, right of the occluded rectangle; None for no
            occlusion.
        names: One text per row.
        heads: One text per image.
        title: Title of the figure.

    Returns:
        The Matplotlib figure.
    """
    rows, columns, height, width = pictures.shape[:4]
    size = (1.25 * columns + 1.7, 1.25 * rows * height / width + 0.9)
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for row, shown, frames, name in zip(axes, pictures, rectangles, names, strict=True):
        for place, ax in enumerate(row):
            show_picture(shown[place], ax)
            if frames is not None:
                top, left, bottom, right = frames[place]
                ax.add_patch(
                    Rectangle(
                        (left - 0.5, top - 0.5),
                        right - left,
                        bottom - top,
                        fill=False,
                        edgecolor="tab:red",
                        linewidth=1.2,
                    )
                )
        row[0].set_ylabel(*texts([name]), rotation=0, ha="right", va="center", fontsize=9)
    for ax, head in zip(axes[0], texts(heads), strict=True):
        ax.set_title(head, fontsize=9)
    fig.suptitle(title)
    return fig


@plain_text
def distance_bars(
    groups: Mapping[str, Mapping[str, Mapping[str, Distances]]],
    controls: Mapping[str, str],
    layers: Sequence[str],
    title: str,
) -> Figure:
    """Draw mean and spread of the distances of every part and of random places, as bars (Table 1).

    Args:
        groups: `{object: distances}`, with `distances` as in `Correspondence`.
        controls: `{part: text for the legend}`: the parts that are random places; the first one defines the bands.
        layers: Layers to draw, one column each.
        title: Title of the figure.

    Returns:
        The Matplotlib figure.
    """
    bars, line = [], 0.0
    for object, distances in groups.items():
        parts = list(distances[layers[0]])
        bars.append((object, distances, parts, line + np.arange(len(parts))))
        line += len(parts) + 0.8
    size = (3.2 + 3.6 * len(layers), 2.6 + 0.5 * line)
    fig, axes = plt.subplots(2, len(layers), figsize=size, squeeze=False, sharey=True, layout="constrained")
    colours = dict(zip(controls, (_OF_RANDOM, _OF_OTHERS), strict=False))
    band = next(iter(controls))
    kinds = (
        ("of_all", "share of all entries\nwith different signs"),
        ("of_changed", "share of the entries that changed in either image\nwith different signs"),
    )
    for row, (kind, words) in zip(axes, kinds, strict=True):
        for ax, layer in zip(row, layers, strict=True):
            most = 0.0
            for _, distances, parts, places in bars:
                samples = [getattr(distances[layer][part], kind) for part in parts]
                means, spreads = zip(*(nan_mean_and_std(np.ravel(values)) for values in samples), strict=True)
                ax.barh(places, means, 0.75, color=[colours.get(part, _OF_PARTS) for part in parts], zorder=2)
                ax.errorbar(means, places, xerr=spreads, fmt="none", ecolor="0.15", capsize=2.5, linewidth=1, zorder=3)
                draws = nan_mean(samples[parts.index(band)], axis=1)
                low, high = np.quantile(draws[~np.isnan(draws)] if np.isfinite(draws).any() else [0], [0.05, 0.95])
                span = [places[0] - 0.5, places[-1] + 0.5]
                ax.fill_betweenx(span, low, high, color=_OF_RANDOM, alpha=0.25, linewidth=0, zorder=1)
                most = np.nanmax([most, high, *np.add(means, spreads)])
            ax.set(xlim=(0, most * 1.05 or 1), xlabel=words)
            ax.locator_params(axis="x", nbins=6)
            ax.set_title(layer, fontsize=10)
        names = [f"{object}, {part}" if object else part for object, _, parts, _ in bars for part in parts]
        row[0].set_yticks(np.concatenate([places for *_, places in bars]), texts(names), fontsize=9)
    axes[0, 0].invert_yaxis()
    entries: list[tuple[str, str, float]] = [
        ("same part occluded", _OF_PARTS, 1),
        *((text, colours[part], 1) for part, text in controls.items()),
    ]
    entries.append((f"means of single draws of '{band}', 5th to 95th percentile", _OF_RANDOM, 0.25))
    handles = [Rectangle((0, 0), 1, 1, color=colour, alpha=alpha, label=text) for text, colour, alpha in entries]
    fig.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    fig.suptitle(title)
    return fig
