"""The first two layers of a network as Fig. 6 looks at them: filters, and what the strongest units above them hold."""

from typing import NamedTuple

import keras
import numpy as np

from deconv import graph
from deconv.deconvnet.projection import Deconvnet
from deconv.diagnostics.layer_health import LayerHealth, health
from deconv.figures.projecting import why_not
from deconv.figures.subset import part_of
from deconv.imaging.frequencies import grid_excess
from deconv.plotting import crop, pixels, signed
from deconv.topk.scan import top_activations

MEASURED, _SHOWN = 96, 36
DEAD = 0.1
"""A filter whose RMS is below this share of the layer's median counts as dead."""


class FirstLayer(NamedTuple):
    """The filters that see the image.

    Attributes:
        name: Name of the layer.
        size: `(rows, columns)` of a filter.
        strides: `(down, right)`, in pixels.
        tiles: `(filters, rows, columns, channels)`, signed, in the colours of the images.
    """

    name: str
    size: tuple
    strides: tuple
    tiles: np.ndarray


class SecondLayer(NamedTuple):
    """The strongest unit of each channel of the second convolution, projected.

    Attributes:
        name: Name of the layer.
        channels: `(n,)` ints, drawn with the seed.
        ids: `(n,)`, in which image each unit is.
        projections: `(up to 36, height, width, channels)` intensities of evenly spaced ones of them, cut to what the
            unit sees, NaN outside of the image.
        excess: `(n,)`, `grid_excess` of the projections at the strides looked for; NaN for silent channels and where
            the border cuts the window.
        excess_of_patches: The same of what the units saw: what photographs have by themselves.
    """

    name: str
    channels: np.ndarray
    ids: np.ndarray
    projections: np.ndarray
    excess: np.ndarray
    excess_of_patches: np.ndarray


class Network(NamedTuple):
    """One network's part of the figure; `second` is None where there is no second convolution."""

    name: str
    first: FirstLayer
    health: LayerHealth
    images: int
    data: str
    second: SecondLayer | None

    @property
    def dead(self):
        """bool `(filters,)`: silent in all images, or hardly there."""
        rms = self.health.filters.rms
        return self.health.dead | (rms < DEAD * np.median(rms))


def first_layer(subject):
    """The `FirstLayer` of a subject's network; None if its first convolution does not see the image itself."""
    model_graph = graph.walk(subject.model)
    step = next((step for step in model_graph.steps if isinstance(step.layer, keras.layers.Conv2D)), None)
    height, width, channels = model_graph.inputs[0].shape
    if step is None or step.layer.kernel.shape[2] != channels:
        return None
    kernel = np.moveaxis(keras.ops.convert_to_numpy(step.layer.kernel), -1, 0)
    inputs = np.broadcast_to(np.eye(channels)[:, None, None], (channels, height, width, channels))
    tiles = kernel @ subject.in_colour(inputs)[:, height // 2, width // 2]  # as at the middle of an image
    return FirstLayer(step.name, kernel.shape[1:3], tuple(step.layer.strides), tiles)


def filter_comparison_data(subject, strides=None):
    """The `Network` of a subject, or None; strides of a grid to look for, if not those of its own first layer."""
    first = first_layer(subject)
    if first is None:
        return None
    data = part_of(subject.data, subject.seed)
    found = health(subject.model, data, first.name, preprocess=subject.preprocess)[first.name]
    layers = subject.filters()
    second = None
    if len(layers) > 1 and not why_not(Deconvnet(subject.model), layers[1]):
        second = second_layer(subject, data, layers[1], strides or first.strides)
    return Network(subject.model.name, first, found, data.size, data.name, second)


def second_layer(subject, data, layer, strides):
    """The `SecondLayer` of a subject's network over some images."""
    tops = top_activations(subject.model, data, layer, 1, preprocess=subject.preprocess)[layer]
    channels = subject.channels(layer, len(tops.ids), MEASURED)
    ids, positions, windows = tops.ids[channels, 0], tops.positions[channels, 0], tops.windows[channels, 0]
    wanted, numbers = np.unique(ids, return_inverse=True)
    images = data.pick(wanted)
    raw = Deconvnet(subject.model).project_units(
        subject.prepared(images), layer, channels, positions.reshape(-1, 2), numbers=numbers
    )
    cuts = crop(subject.in_colour(raw), windows)
    excess = [_excess(some, strides) for some in (cuts, crop(pixels(images[numbers]), windows))]
    silent = tops.values[channels, 0] <= 0
    excess = [np.where(silent, np.nan, some) for some in excess]
    shown = np.linspace(0, len(channels) - 1, min(len(channels), _SHOWN)).round().astype(int)
    tiles = np.where(silent[shown, None, None, None], np.nan, signed(cuts[shown], percentile=subject.contrast))
    return SecondLayer(layer, channels, ids, tiles, *excess)


def _excess(cuts, strides):
    whole = ~np.isnan(cuts).any(axis=(1, 2, 3))
    return np.where(whole, grid_excess(np.nan_to_num(cuts), strides), np.nan)
