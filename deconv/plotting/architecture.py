"""Network architecture drawn as a row of blocks (Fig. 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from deconv.plotting.layer_results import Stage
from deconv.plotting.plain_text import plain_text, texts

_PER_ROW = 9
_COLOURS = {"image": "#c9d7ea", "maps": "#a8c6a0", "later": "#d8e6d4", "units": "#e6b98a"}


@plain_text
def architecture_sheet(image: Sequence[int], stages: Sequence[Stage], title: str) -> Figure:
    """Draw a network from left (image) to right (classes). The height of a block grows with the side of its maps.

    Args:
        image: Shape `(height, width, channels)` of the network input.
        stages: Stages with `name`, `what`, `followers`, `shapes`, `parameters`, `sees` and `every`, as returned by
            `deconv.figures.fig3.architecture`.
        title: Title of the figure.

    Returns:
        The Matplotlib figure.
    """
    columns: list[tuple[str, Sequence[Sequence[int]], list[str]]] = [("image", [image], [_by(image)])]
    columns += [(stage.name, stage.shapes, _description(stage)) for stage in stages]
    rows = -(-len(columns) // _PER_ROW)
    wide, deep = min(len(columns), _PER_ROW) * 2.0, 0.9 + 0.25 * max(len(lines) for _, _, lines in columns)
    fig, axes = plt.subplots(
        rows, 1, figsize=(0.9 * wide, (0.9 * (deep + 4.0)) * rows + 0.5), squeeze=False, layout="constrained"
    )
    for number, ax in enumerate(axes[:, 0]):
        part = columns[number * _PER_ROW : (number + 1) * _PER_ROW]
        ax.set(xlim=(0, wide), ylim=(-deep, 4.0), aspect="equal")
        ax.axis("off")
        for place, (name, shapes, lines) in enumerate(part):
            left = 2.0 * place + 0.12
            for order, shape in enumerate(shapes):
                colour = "image" if name == "image" else "units" if len(shape) == 1 else "later" if order else "maps"
                left = _block(ax, left, shape, _COLOURS[colour]) + 0.1
            ax.text(
                2.0 * place + 0.12, -0.25, *texts([name]), weight="bold", fontsize=min(11, 165 / len(name)), va="top"
            )
            ax.text(2.0 * place + 0.12, -0.62, "\n".join(texts(lines)), fontsize=8.5, va="top", linespacing=1.3)
    fig.suptitle(title)
    return fig


def _block(ax: Axes, left: float, shape: Sequence[int], colour: str) -> float:
    """Draw one block on the base line and return the x coordinate of its right edge."""
    count = shape[-1]
    if len(shape) == 1:
        height = 0.28 * math.log2(count + 1)
        width, slant = 0.16, 0.0
    else:
        height, width, slant = 0.33 * math.log2(shape[0] + 1), 0.055 * math.log2(count + 1), 0.16
    top = [(left, height), (left + slant, height + slant), (left + slant + width, height + slant)]
    side = [(left + width, 0), (left + slant + width, slant), (left + slant + width, height + slant)]
    if slant:
        ax.add_patch(Polygon([*top, (left + width, height)], fc=colour, ec="0.25", lw=0.8, alpha=0.8))
        ax.add_patch(Polygon([*side, (left + width, height)], fc=colour, ec="0.25", lw=0.8, alpha=0.6))
    ax.add_patch(Rectangle((left, 0), width, height, fc=colour, ec="0.25", lw=0.8))
    label = str(count) if len(shape) == 1 else f"{count}\n{_by(shape[:2])}"
    ax.text(left + (width + slant) / 2, height + slant + 0.06, label, ha="center", va="bottom", fontsize=7.5)
    return left + width + slant


def _description(stage: Stage) -> list[str]:
    """Lines below a stage: operations, number of weights, receptive field and stride of its units in pixels."""
    lines = [part for what in (stage.what, *(what for what, _ in stage.followers)) for part in what.split(", ")]
    lines.append(f"{stage.parameters:,} weights")
    if stage.sees is not None and stage.every is not None:
        lines += [f"receptive field {_by(stage.sees)}", f"stride {_by(stage.every)}"]
    return lines


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))
