"""Filters of the first layer, drawn as images. Only weights of the first layer can be displayed directly."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from deconv import graph
from deconv.figures.picture import Picture
from deconv.figures.subject import Subject
from deconv.plotting import filter_sheet, signed


def filter_pictures(subject: Subject) -> Iterator[Picture]:
    """Draw the first convolution's filters; nothing unless they have as many channels as the image."""
    model_graph = graph.walk(subject.model)
    step = next((step for step in model_graph.steps if isinstance(step.layer, keras.layers.Conv2D)), None)
    height, width, channels = model_graph.inputs[0].shape
    if step is None or step.layer.kernel.shape[2] != channels:
        return
    kernel = np.moveaxis(keras.ops.convert_to_numpy(step.layer.kernel), -1, 0)
    inputs = np.broadcast_to(np.eye(channels)[:, None, None], (channels, height, width, channels))
    tiles = kernel @ subject.in_colour(inputs)[:, height // 2, width // 2]  # conversion at the image centre
    strength = np.sqrt(np.mean(np.square(kernel), axis=(1, 2, 3)))
    rows, columns = kernel.shape[1:3]
    title = f"The {len(kernel)} filters of {step.name} of {subject.model.name}"
    caption = (
        f"Filters of {rows}×{columns} pixels, in the colours of the images; grey is zero. Left: each filter divided by "
        "its own largest weight. Right: all filters divided by the largest weight of all, so that weak and dead "
        f"filters stay grey. The root mean square of a filter ranges from {strength.min():.3g} to "
        f"{strength.max():.3g}; the median is {np.median(strength):.3g}."
    )
    figure = filter_sheet(signed(tiles), signed(tiles, scale="shared"), title)
    yield Picture(
        name="filters", title=title, caption=caption, figure=figure, numbers={"layer": step.name, "rms": strength}
    )
