"""Figure of projections of several channels for several images."""

import matplotlib.pyplot as plt
import numpy as np

from deconv.plotting.grids import show_picture, signed_bar
from deconv.plotting.plain_text import plain_text, texts


@plain_text
def projection_sheet(images, projections, names, channels, activations, title, *, scale="its own largest magnitude"):
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
    for number, (row, image, some, name, values) in enumerate(rows):
        show_picture(image, row[0])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for ax, picture, channel, value in zip(row[1:], some, channels, values, strict=True):
            told = f"{value:.3g}" if value > 0 else "silent"
            show_picture(picture, ax, told if number else f"channel {channel}\n{told}", 8)
    signed_bar(fig, axes, f"projection / {scale}")
    fig.suptitle(title)
    return fig
