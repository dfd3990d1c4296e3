"""Filters of the first layer, drawn as images. Only weights of the first layer can be displayed directly."""

import keras
import numpy as np

from deconv import graph
from deconv.figures.picture import Picture
from deconv.plotting import filter_sheet, signed


def filter_pictures(subject):
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
        f"Filters of {rows}×{columns} pixels, in the colours of the images; grey is zero. Left, each divided by its "
        "own largest weight; right, all by the largest of all, so that weak and dead filters stay "
        f"grey. The root mean square of a filter lies between {strength.min():.3g} and "
        f"{strength.max():.3g}, the median is {np.median(strength):.3g}."
    )
    figure = filter_sheet(signed(tiles), signed(tiles, scale="shared"), title)
    yield Picture("filters", title, caption, figure, {"layer": step.name, "rms": strength})
