"""Figure of `explain`: the attribution maps of one unit, run times, and deletion and insertion curves."""

from __future__ import annotations

from collections.abc import Callable, Collection

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deconv.plotting.display import pixels, signed
from deconv.plotting.grids import show_picture, signed_bar
from deconv.plotting.plain_text import plain_text, texts
from deconv.plotting.results import Explanation

NAMES = {
    "gradient": "gradient",
    "input_x_gradient": "input × gradient",
    "smooth_grad": "SmoothGrad",
    "integrated_gradients": "integrated gradients",
    "guided_backprop": "guided backprop",
    "deconvnet": "deconvnet",
    "grad_cam": "Grad-CAM",
    "lrp": "LRP",
    "occlusion": "occlusion",
    "edges": "control: edges of the image",
    "random": "control: random order",
}
"""Display names of methods and controls."""

_CONTROLS = {"edges": ("0.35", "--"), "random": ("0.6", ":")}


@plain_text
def explanation_sheet(
    found: Explanation,
    title: str,
    *,
    score: str = "score",
    in_colour: Callable[[np.ndarray], np.ndarray] | None = None,
    contrast: float = 99.5,
) -> Figure:
    """Draw all maps on one scale, the deletion and insertion curves, and a table of areas and run times.

    Args:
        found: `Explanation`, its image in pixel units.
        title: Title of the figure.
        score: Quantity on the vertical axis of the curves, with its unit: `"probability of '7'"`.
        in_colour: Function that converts maps to the colours of the image, such as `deconv.to_pixel_space`; None for no
            conversion.
        contrast: Percentile of the magnitudes of a map that is drawn as white or black.

    Returns:
        The Matplotlib figure.
    """
    height, width = found.image.shape[:2]
    columns = -(-(len(found.maps) + 1) // (1 if len(found.maps) < 6 else 2))
    rows = -(-(len(found.maps) + 1) // columns)
    tile = 13 / max(columns, 5)
    fig = plt.figure(figsize=(13, rows * (tile * height / width + 0.35) + 5.3), layout="constrained")
    heights = [rows * (tile * height / width + 0.35) + 0.5, 4.3]
    upper, lower = fig.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    axes = upper.subplots(rows, columns, squeeze=False)
    for ax in axes.flat[len(found.maps) + 1 :]:
        ax.axis("off")
    show_picture(pixels(found.image), axes.flat[0], "image", 10)
    for ax, (method, shown) in zip(axes.flat[1:], found.maps.items(), strict=False):
        coloured = shown if in_colour is None or shown.shape[-1] == 1 else in_colour(shown[None])[0]
        show_picture(signed(coloured[None], percentile=contrast)[0], ax, NAMES.get(method, method), 10)
    signed_bar(upper, axes, f"map / the {contrast:g}th percentile of its magnitudes")
    deletion, insertion, table = lower.subplots(1, 3, width_ratios=[1, 1, 1.15])
    styles = _styles(found.deletion)
    for ax, curves, words in (
        (deletion, found.deletion, "deletion: pixels removed, most important first"),
        (insertion, found.insertion, "insertion: pixels restored, most important first"),
    ):
        for name, curve in curves.items():
            colour, line = styles[name]
            ax.plot(100 * found.curves.shares, curve, color=colour, linestyle=line, linewidth=1.4)
        ax.set(xlabel="share of all pixels (%)", ylabel=score, xlim=(0, 100))
        ax.set_title(words, fontsize=10)
        ax.grid(color="0.92")
        ax.set_axisbelow(True)
    _table(table, found, styles)
    fig.suptitle(title)
    return fig


def _table(ax: Axes, found: Explanation, styles: dict[str, tuple]) -> None:
    """Draw a table with one row per method and control; the line samples are the legend of the curves."""
    ax.axis("off")
    lines = len(found.deletion)
    ax.set(xlim=(0, 1), ylim=(lines + 0.5, -1.2))
    places = {"deletion": 0.66, "insertion": 0.82, "time": 1.0}
    heads = (
        "area,\ndeletion",
        "area,\ninsertion",
        "time" if found.seconds == found.first_seconds else "time,\n2nd run",
    )
    for x, head in zip(places.values(), heads, strict=True):
        ax.text(x, -0.3, head, ha="right", va="bottom", fontsize=9)
    areas = found.curves.areas
    best = min(areas, key=lambda name: areas[name][0]), max(areas, key=lambda name: areas[name][1])
    for line, name in enumerate(found.deletion):
        colour, stroke = styles[name]
        ax.plot([0, 0.06], [line + 0.3] * 2, color=colour, linestyle=stroke, linewidth=2)
        ax.text(0.08, line + 0.3, texts([NAMES.get(name, name)])[0], va="center", fontsize=9)
        for place, value, winner in zip(("deletion", "insertion"), areas[name], best, strict=True):
            weight = "bold" if name == winner else "normal"
            ax.text(places[place], line + 0.3, f"{value:.3f}", ha="right", va="center", fontsize=9, weight=weight)
        duration = f"{found.seconds[name]:.2f} s" if name in found.seconds else ""
        ax.text(places["time"], line + 0.3, duration, ha="right", va="center", fontsize=9)
    ax.text(
        0,
        lines + 0.3,
        "good ranking: small area of deletion, large area of insertion",
        fontsize=8,
        color="0.35",
        va="center",
    )


def _styles(names: Collection[str]) -> dict[str, tuple]:
    """Return `{name: (colour, line)}`: colours for methods, grey for controls."""
    colours = iter(color_sequences["tab10"] * (1 + len(names) // 10))
    return {name: _CONTROLS[name] if name in _CONTROLS else (next(colours), "-") for name in names}
