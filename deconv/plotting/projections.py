"""Figure of projections of several channels for several images."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from deconv.plotting.grids import show_picture, signed_bar
from deconv.plotting.plain_text import plain_text, texts


@plain_text
def projection_sheet(
    images: np.ndarray,
    projections: np.ndarray,
    names: Sequence[str],
    channels: Sequence[int] | np.ndarray,
    activations: np.ndarray,
    title: str,
    *,
    scale: str = "its own largest magnitude",
) -> Figure:
    """Draw one row per image: the image and the projection of each channel.

    Args:
        images: `(n, height, width, 1 or 3)` intensities between 0 and 1.
        projections: `(n, channels, height, width, 1 or 3)` intensities between 0 and 1, zero at 0.5.
        names: One text per image.
        channels: `(channels,)` ints, channel numbers.
        activations: `(n, channels)`, largest activation of each channel.
        title: Title of the figure.
        scale: Value by which each projection has been divided, for the label of the colour bar.

    Returns:
        The Matplotlib figure.
    """
    count, columns = len(images), len(channels) + 1
    height = images.shape[1] / images.shape[2]
    inches = float(np.clip(12 / columns, 1.35, 1.9))
    fig, axes = plt.subplots(
        count,
        columns,
        figsize=(max(6.5, inches * columns + 1.2), count * (inches * height + 0.2) + 1.1),
        squeeze=False,
        layout="constrained",
    )
    rows = zip(axes, images, projections, texts(names), activations, strict=True)
    for number, (row, image, tiles, name, values) in enumerate(rows):
        show_picture(image, row[0])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for ax, picture, channel, value in zip(row[1:], tiles, channels, values, strict=True):
            activation = f"{value:.3g}" if value > 0 else "inactive"
            show_picture(picture, ax, activation if number else f"channel {channel}\n{activation}", 8)
    signed_bar(fig, axes, f"projection / {scale}")
    fig.suptitle(title)
    return fig
