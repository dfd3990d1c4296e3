"""Figure of an image and the attribution maps of several methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from deconv.plotting.grids import show_picture, signed_bar
from deconv.plotting.plain_text import plain_text, texts

_COLUMNS = 6
"""Maximum number of images in a row if a single image is explained."""

_NAMES = {"input_x_gradient": "input × gradient", "smooth_grad": "SmoothGrad", "grad_cam": "Grad-CAM", "lrp": "LRP"}
"""Display names of the methods whose name needs more than replacing underscores by spaces."""


@plain_text
def attribution_sheet(
    images: np.ndarray,
    maps: Mapping[str, np.ndarray],
    labels: Sequence[str],
    title: str,
    *,
    seconds: Mapping[str, float] | None = None,
    scale: str = "its own largest magnitude",
) -> Figure:
    """Draw one row per image: the image, then the map of each method. A single image may take several rows.

    Args:
        images: `(n, height, width, 1 or 3)` intensities between 0 and 1.
        maps: `{name of the method: (n, height, width, 1 or 3) intensities between 0 and 1, zero at 0.5}`.
        labels: One text per image: the explained class or unit.
        title: Title of the figure.
        seconds: `{name of the method: its run time in seconds}`, shown in the column titles; None to omit run times.
        scale: Value by which each map has been divided, for the label of the colour bar.

    Returns:
        The Matplotlib figure.
    """
    names = [_titled(name, (seconds or {}).get(name)) for name in maps]
    rows = [list(row) for row in zip(images, *maps.values(), strict=True)]
    columns = len(maps) + 1
    if len(images) == 1:
        columns = -(-columns // -(-columns // _COLUMNS))
        rows = [rows[0][first : first + columns] for first in range(0, len(rows[0]), columns)]
    height, width = images.shape[1:3]
    inches = 1.55 if len(images) > 1 else 1.9
    size = (inches * columns + 0.9, (inches * height / width + (0.1 if len(images) > 1 else 0.4)) * len(rows) + 1.5)
    fig, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.axis("off")
    for place, (row, pictures) in enumerate(zip(axes, rows, strict=True)):
        for ax, picture in zip(row, pictures, strict=False):
            ax.axis("on")
            show_picture(picture, ax)
        if len(images) > 1 or place == 0:
            row[0].set_ylabel(*texts([labels[place]]), fontsize=9)
    for ax, name in zip(axes.flat, ["image", *names], strict=False):
        ax.set_title(name, fontsize=9)
    signed_bar(fig, axes, f"attribution / {scale}")
    fig.suptitle(title)
    return fig


def _titled(name: str, seconds: float | None) -> str:
    """Display name of a method, followed by its run time."""
    words = _NAMES.get(name, name.replace("_", " "))
    if seconds is None:
        return words
    return f"{words}\n{seconds:.2f} s" if seconds < 10 else f"{words}\n{seconds:.0f} s"
