"""Charts of classification accuracy by layer and by number of training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deconv.plotting.plain_text import plain_text, texts

_STYLES = (("tab:blue", "o", "-"), ("tab:orange", "s", "--"), ("tab:green", "^", ":"))


@plain_text
def layer_chart(
    mean: np.ndarray,
    deviation: np.ndarray,
    layers: Sequence[str],
    values: Sequence[int] | np.ndarray,
    names: Sequence[str],
    chance: float,
    title: str,
) -> Figure:
    """Draw the accuracy of classifiers on the features of each layer (Table 7).

    Args:
        mean, deviation: `(layers, classifiers)`, 0 to 1; unknown deviations are NaN.
        layers: Names of the layers, from the lowest to the highest.
        values: `(layers,)` ints, number of features that a classifier uses from each layer.
        names: Names of the classifiers.
        chance: Accuracy at chance level.
        title: Title of the chart.

    Returns:
        The Matplotlib figure.
    """
    fig, ax = plt.subplots(figsize=(max(6.5, 1.15 * len(layers) + 2.5), 4.6), layout="constrained")
    shifts = (np.arange(len(names)) - (len(names) - 1) / 2) * 0.08
    for curve, spread, name, shift, (color, marker, line) in zip(
        100 * mean.T, 100 * deviation.T, names, shifts, _STYLES, strict=False
    ):
        _curve(ax, np.arange(len(layers)) + shift, curve, spread, name, color, marker, line)
    _frame(ax, chance, np.nanmin(mean - np.nan_to_num(deviation)))
    ax.set_xticks(
        range(len(layers)),
        texts(f"{layer}\n{count:,}" for layer, count in zip(layers, values, strict=True)),
        fontsize=9,
    )
    ax.set(xlabel="layer and number of its features", xlim=(-0.5, len(layers) - 0.5))
    ax.legend(fontsize=9)
    fig.suptitle(title)
    return fig


@plain_text
def size_chart(
    per_class: Sequence[int] | np.ndarray,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    chance: float,
    title: str,
) -> Figure:
    """Draw the accuracy against the number of training images per class (Fig. 9).

    Args:
        per_class: `(sizes,)` ints.
        curves: `{name: (mean, deviation)}`, each `(sizes,)`, 0 to 1; NaN for unknown values.
        chance: Accuracy at chance level.
        title: Title of the chart.

    Returns:
        The Matplotlib figure.
    """
    fig, ax = plt.subplots(figsize=(7.5, 4.8), layout="constrained")
    lowest = chance
    for (name, (mean, spread)), (color, marker, line) in zip(curves.items(), _STYLES, strict=False):
        if np.isfinite(mean).any():
            lowest = min(lowest, np.nanmin(mean - np.nan_to_num(spread)))
            _curve(ax, per_class, 100 * mean, 100 * spread, name, color, marker, line)
    _frame(ax, chance, lowest)
    ax.set_xscale("log")
    ax.set_xticks(per_class, [str(size) for size in per_class], fontsize=9)
    ax.minorticks_off()
    ax.set(xlabel="training images per class (logarithmic)", xlim=(per_class[0] * 0.85, per_class[-1] * 1.15))
    ax.legend(loc="lower right", bbox_to_anchor=(1, 0.13), fontsize=9)
    fig.suptitle(title)
    return fig


def precision_chart(
    names: Sequence[str],
    found: np.ndarray,
    others: Mapping[str, np.ndarray],
    chance: np.ndarray,
    title: str,
) -> Figure:
    """Draw the average precision of each class as bars, with published results as markers (Table 6).

    Args:
        names: Names of the classes, from top to bottom.
        found: `(classes,)`, 0 to 1; NaN for unknown values.
        others: `{name: (classes,)}`, at most three, drawn as markers.
        chance: `(classes,)`, average precision of a random ranking.
        title: Title of the chart.

    Returns:
        The Matplotlib figure.
    """
    places = np.arange(len(names))
    fig, ax = plt.subplots(figsize=(8, min(40, 2 + 0.3 * len(names))), layout="constrained")
    ax.barh(places, 100 * np.nan_to_num(found), height=0.7, color="tab:blue", alpha=0.55, label="ours")
    for place in np.flatnonzero(np.isnan(found)).tolist():
        ax.text(1, place, "no images", va="center", fontsize=8, color="0.4")
    for (name, values), marker, color in zip(others.items(), "os^", ("0.2", "tab:orange", "tab:red"), strict=False):
        ax.plot(100 * values, places, marker, color=color, markersize=5, markerfacecolor="none", label=name)
    ax.plot(
        np.where(np.isnan(found), np.nan, 100 * chance),
        places,
        "|",
        color="0.45",
        markersize=10,
        markeredgewidth=1.5,
        label="by chance",
    )
    ax.set(xlabel="average precision (%)", xlim=(0, 101), ylim=(len(names) - 0.4, -0.6))
    ax.set_yticks(places, texts(names), fontsize=9)
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    if np.isfinite(found).any():
        mean = 100 * np.nanmean(found)
        ax.axvline(mean, color="tab:blue", linewidth=1, linestyle="--", label=f"our mean, {mean:.1f} %")
    handles = ax.get_legend_handles_labels()[0][::-1]  # our result first
    fig.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9)
    fig.suptitle(title, fontsize=11)
    return fig


def _curve(
    ax: Axes,
    places: Sequence[int] | np.ndarray,
    mean: np.ndarray,
    spread: np.ndarray,
    name: str,
    color: str,
    marker: str,
    line: str,
) -> None:
    spread = np.nan_to_num(spread)
    ax.errorbar(places, mean, spread, label=name, color=color, marker=marker, linestyle=line, capsize=3, markersize=5)


def _frame(ax: Axes, chance: float, lowest: float) -> None:
    """Set the y axis in per cent, from zero if the curves come near zero, and draw the chance level if in range."""
    bottom = 0 if lowest < 0.5 else np.floor(lowest * 20) * 5 - 5
    ax.set(ylabel="mean accuracy of the classes (%)", ylim=(bottom, 101))
    ax.grid(axis="y", color="0.9")
    if 100 * chance > bottom:
        ax.axhline(
            100 * chance, color="0.5", linewidth=1, linestyle=(0, (1, 2)), label=f"chance level: {100 * chance:.3g} %"
        )
