"""Figures of the control experiments: projections after exchanging the unit, the switches or the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from deconv.plotting.display import pixels, signed
from deconv.plotting.grids import show_picture, signed_bar
from deconv.plotting.plain_text import plain_text, texts
from deconv.plotting.results import Cascade, Controls

MEASURES = {
    "pearson": "Pearson's correlation\nof signed values",
    "coarse": "Pearson's correlation\nof blurred projections",
    "spearman": "Spearman's correlation\nof magnitudes",
    "ssim": "structural similarity\n(SSIM)",
}
_HEADS = {
    "shuffled switches": "shuffled\nswitches",
    "another image's switches": "switches of\nanother image",
    "another channel": "another channel,\nsame place",
    "another unit": "another unit,\nelsewhere",
    "both": "other channel,\nother switches",
    "guided backprop": "guided\nbackprop",
    "gradient": "gradient",
    "edges": "edges of\nthe image",
}
_KINDS = {
    "tab:blue": ("same unit, other switches", ("shuffled switches", "another image's switches")),
    "tab:orange": ("other unit, same switches", ("another channel", "another unit")),
    "0.6": ("other unit, other switches", ("both",)),
    "tab:green": ("other method, or edges of the image", ("guided backprop", "gradient", "edges")),
}
_METHODS = {"deconvnet": ("tab:blue", "o"), "guided_backprop": ("tab:green", "s"), "gradient": ("tab:red", "^")}


@plain_text
def controls_sheet(
    images: np.ndarray,
    found: Controls,
    title: str,
    *,
    measure: Literal["pearson", "coarse", "spearman", "ssim"] = "pearson",
    in_colour: Callable[[np.ndarray], np.ndarray] | None = None,
    contrast: float = 100.0,
) -> Figure:
    """Draw one row per image: its projection, the control projections and their similarity to the original projection.

    Args:
        images: `(n, height, width, 1 or 3)` in pixel units: all images of `found`, or the first n of them.
        found: `Controls`; `found.take` selects a subset of the images.
        title: Title of the figure.
        measure: Key of `MEASURES`: the similarity measure written above each projection.
        in_colour: Function that converts projections to the colours of the images, such as `deconv.to_pixel_space`;
            None for no conversion.
        contrast: Percentile of the magnitudes of a projection that is drawn as white or black.

    Returns:
        The Matplotlib figure.
    """
    count, (height, width) = len(images), images.shape[1:3]
    fig, axes = plt.subplots(
        count,
        2 + len(found.pictures),
        figsize=(1.3 * (2 + len(found.pictures)), (1.3 * height / width + 0.22) * count + 1.3),
        squeeze=False,
        layout="constrained",
    )
    _column(axes[:, 0], pixels(images), "image", [""] * count)
    top, left, bottom, right = np.asarray(found.windows[:count]).T
    for ax, x, y, wide, high in zip(axes[:, 0], left - 0.5, top - 0.5, right - left, bottom - top, strict=True):
        ax.add_patch(Rectangle((x, y), wide, high, fill=False, edgecolor="tab:red", linewidth=1))
    for ax, channel in zip(axes[:, 0], found.channels, strict=False):
        ax.set_ylabel(f"ch. {channel}", fontsize=8)
    _column(axes[:, 1], _shown(found.picture[:count], in_colour, contrast), "deconvnet,\nunchanged", [""] * count)
    for column, (control, pictures) in zip(axes.T[2:], found.pictures.items(), strict=True):
        values = found.likeness[control][measure][:count]
        labels = ["none" if np.isnan(value) else f"{value:.2f}".replace("-", "−") for value in values]
        if control == "edges":
            largest = pictures[:count].max(axis=(1, 2, 3), keepdims=True)
            shown = 1 - pictures[:count] / np.where(largest > 0, largest, 1)
        else:
            shown = _shown(pictures[:count], in_colour, contrast)
        _column(column, shown, _HEADS[control], labels)
    scale = "its own largest magnitude" if contrast == 100 else f"the {contrast:g}th percentile of its magnitudes"
    signed_bar(fig, axes, f"projection / {scale}; above each projection: {MEASURES[measure]}".replace("\n", " "))
    fig.suptitle(title)
    return fig


@plain_text
def controls_chart(found: Controls, title: str) -> Figure:
    """Draw the similarity of each control to the original projection: mean and standard deviation, for every measure.

    Args:
        found: `Controls`.
        title: Title of the chart.

    Returns:
        The Matplotlib figure.
    """
    colours = {control: colour for colour, (_, kind) in _KINDS.items() for control in kind}
    places = np.arange(len(found.likeness))
    fig, axes = plt.subplots(1, len(MEASURES), figsize=(15, 4.6), sharey=True, layout="constrained")
    for ax, (measure, words) in zip(axes, MEASURES.items(), strict=True):
        rows = found.table(measure)
        means, spreads = (np.array([row[part] for row in rows.values()]) for part in (0, 1))
        ax.barh(places, np.nan_to_num(means), color=[colours[control] for control in rows], height=0.7)
        ax.errorbar(np.nan_to_num(means), places, xerr=np.nan_to_num(spreads), fmt="none", ecolor="0.15", capsize=2.5)
        for place, mean, spread in zip(places, means, spreads, strict=True):
            end = max(np.nan_to_num(mean + spread), 0) + 0.02
            ax.text(end, place, "none" if np.isnan(mean) else f"{mean:.2f}".replace("-", "−"), va="center", fontsize=8)
        low = min(0, np.nanmin(means - spreads, initial=0))
        ax.set(xlabel=words, xlim=(low - (0.05 if low else 0), 1.15), ylim=(len(places) - 0.4, -0.6))
        ax.axvline(0, color="0.3", linewidth=0.8)
        ax.axvline(1, color="0.3", linewidth=0.8, linestyle=(0, (1, 2)))
        ax.grid(axis="x", color="0.92")
        ax.set_axisbelow(True)
    axes[0].set_yticks(places, [_HEADS[control].replace("\n", " ") for control in found.likeness], fontsize=9)
    handles = [Rectangle((0, 0), 1, 1, color=colour, label=text) for colour, (text, _) in _KINDS.items()]
    fig.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    fig.suptitle(title)
    return fig


@plain_text
def cascade_chart(found: Cascade, title: str) -> Figure:
    """Draw the similarity to the projections of the trained network as layers are randomised from the top down.

    Args:
        found: `Cascade`.
        title: Title of the chart.

    Returns:
        The Matplotlib figure.
    """
    steps = np.arange(len(found.layers) + 1)
    fig, axes = plt.subplots(1, len(MEASURES), figsize=(15, 4.2), sharey=True, layout="constrained")
    for ax, (measure, words) in zip(axes, MEASURES.items(), strict=True):
        for number, (method, (mean, spread)) in enumerate(found.table(measure).items()):
            colour, marker = _METHODS[method]
            shift = (number - (len(found.likeness) - 1) / 2) * 0.06
            ax.errorbar(
                steps + shift,
                mean,
                spread,
                color=colour,
                marker=marker,
                markersize=5,
                capsize=3,
                label=method.replace("_", " "),
            )
        ax.set_xticks(
            steps,
            texts(["none", *(f"+ {layer}" for layer in found.layers)]),
            fontsize=9,
            rotation=30,
            ha="right",
            rotation_mode="anchor",
        )
        ax.set(xlabel="layers randomised, from the top down", ylabel=words)
        ax.tick_params(labelleft=True)
        ax.axhline(0, color="0.3", linewidth=0.8)
        ax.grid(color="0.92")
        ax.set_axisbelow(True)
    lowest = min(np.nanmin(mean - spread) for measure in MEASURES for mean, spread in found.table(measure).values())
    axes[0].set_ylim(min(lowest - 0.04, -0.04), 1.04)
    axes[2].legend(fontsize=9, loc="lower left")  # free: correlations of magnitudes are never strongly negative
    fig.suptitle(title)
    return fig


def _shown(
    projections: np.ndarray, in_colour: Callable[[np.ndarray], np.ndarray] | None, contrast: float
) -> np.ndarray:
    projections = np.nan_to_num(projections)
    return signed(projections if in_colour is None else in_colour(projections), percentile=contrast)


def _column(axes: Iterable[Axes], images: np.ndarray, head: str, labels: Sequence[str]) -> None:
    for row, (ax, image, text) in enumerate(zip(axes, images, labels, strict=True)):
        show_picture(image, ax)
        ax.set_title(f"{head}\n{text}" if row == 0 else text, fontsize=8)
