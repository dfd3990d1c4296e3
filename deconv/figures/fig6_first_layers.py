"""Data of Fig. 6: first-layer filters, and projections of the strongest units of the second layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from deconv import graph
from deconv.datasets.image_set import ImageSet
from deconv.deconvnet.mirrorable import why_not
from deconv.deconvnet.projection import Deconvnet
from deconv.diagnostics.filter_statistics import Filters
from deconv.diagnostics.layer_health import LayerHealth, health
from deconv.figures.image_subset import part_of
from deconv.figures.subject import Subject
from deconv.imaging.frequencies import grid_excess
from deconv.plotting import crop, pixels, signed
from deconv.runtime.short_repr import short_repr
from deconv.topk.scan import top_activations

MEASURED, _SHOWN = 96, 36
DEAD = 0.1
"""A filter counts as dead if its RMS is below this fraction of the median of the layer."""


class FirstLayer(NamedTuple):
    """Filters of the first layer, which is applied to the image.

    Attributes:
        name: Name of the layer.
        size: `(rows, columns)` of a filter.
        strides: `(down, right)`, in pixels.
        tiles: `(filters, rows, columns, channels)`, signed, converted to the colours of the images.
    """

    name: str
    size: tuple[int, int]
    strides: tuple[int, int]
    tiles: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


class SecondLayer(NamedTuple):
    """Projections of the strongest unit of each channel of the second convolutional layer.

    Attributes:
        name: Name of the layer.
        channels: `(n,)` ints, drawn at random with the seed.
        ids: `(n,)`, id of the image that contains each unit.
        projections: `(up to 36, height, width, channels)` intensities of an evenly spaced selection, cropped to the
            receptive field of the unit, NaN outside of the image.
        excess: `(n,)`, `deconv.imaging.frequencies.grid_excess` of the projections at the tested strides; NaN for
            inactive channels and where the image border clips the window.
        excess_of_patches: The same for the image patches of the units: the grid excess of the images themselves.
    """

    name: str
    channels: np.ndarray
    ids: np.ndarray
    projections: np.ndarray
    excess: np.ndarray
    excess_of_patches: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


class Network(NamedTuple):
    """First and second layer of one network; `second` is None if there is no second convolutional layer."""

    name: str
    first: FirstLayer
    health: LayerHealth
    images: int
    data: str
    second: SecondLayer | None

    @property
    def filters(self) -> Filters:
        """Statistics of the filters of the first layer."""
        filters = self.health.filters
        assert filters is not None  # the layer is a convolution
        return filters

    @property
    def dead(self) -> np.ndarray:
        """bool `(filters,)`: inactive in all images, or with an RMS below the fraction `DEAD` of the median."""
        rms = self.filters.rms
        return self.health.dead | (rms < DEAD * np.median(rms))


def first_layer(subject: Subject) -> FirstLayer | None:
    """`FirstLayer` of a subject's network; None if its first convolution is not applied to the image itself."""
    model_graph = graph.walk(subject.model)
    step = next((step for step in model_graph.steps if isinstance(step.layer, keras.layers.Conv2D)), None)
    height, width, channels = model_graph.inputs[0].shape
    if step is None or step.layer.kernel.shape[2] != channels:
        return None
    kernel = np.moveaxis(keras.ops.convert_to_numpy(step.layer.kernel), -1, 0)
    inputs = np.broadcast_to(np.eye(channels)[:, None, None], (channels, height, width, channels))
    tiles = kernel @ subject.in_colour(inputs)[:, height // 2, width // 2]  # conversion at the image centre
    return FirstLayer(step.name, kernel.shape[1:3], tuple(step.layer.strides), tiles)


def filter_comparison_data(subject: Subject, strides: Sequence[int] | None = None) -> Network | None:
    """`Network` of a subject, or None; `strides` of the tested grid default to those of its first layer."""
    first = first_layer(subject)
    if first is None:
        return None
    data = part_of(subject.data, subject.seed)
    options: dict[str, Any] = {"preprocess": subject.preprocess, "batch_size": subject.batch_size}
    layer_health = health(subject.model, data, first.name, **options)[first.name]
    layers = subject.filters()
    second = None
    if len(layers) > 1 and not why_not(Deconvnet(subject.model), layers[1]):
        second = second_layer(subject, data, layers[1], strides or first.strides)
    return Network(
        name=subject.model.name,
        first=first,
        health=layer_health,
        images=data.size,
        data=data.name,
        second=second,
    )


def second_layer(subject: Subject, data: ImageSet, layer: str, strides: Sequence[int]) -> SecondLayer:
    """`SecondLayer` of a subject's network, computed on the images of `data`."""
    options: dict[str, Any] = {"preprocess": subject.preprocess, "batch_size": subject.batch_size}
    tops = top_activations(subject.model, data, layer, 1, **options)[layer]
    channels = subject.channels(layer, len(tops.ids), MEASURED)
    ids, positions, windows = tops.ids[channels, 0], tops.positions[channels, 0], tops.windows[channels, 0]
    wanted, numbers = np.unique(ids, return_inverse=True)
    images = data.pick(wanted)
    raw = Deconvnet(subject.model).project_units(
        subject.prepared(images), layer, channels, positions.reshape(-1, 2), numbers=numbers
    )
    cuts = crop(subject.in_colour(raw), windows)
    patches = crop(pixels(images[numbers]), windows)
    inactive = tops.values[channels, 0] <= 0
    excess, excess_of_patches = (np.where(inactive, np.nan, _excess(sides, strides)) for sides in (cuts, patches))
    shown = np.linspace(0, len(channels) - 1, min(len(channels), _SHOWN)).round().astype(int)
    tiles = np.where(inactive[shown, None, None, None], np.nan, signed(cuts[shown], percentile=subject.contrast))
    return SecondLayer(
        name=layer,
        channels=channels,
        ids=ids,
        projections=tiles,
        excess=excess,
        excess_of_patches=excess_of_patches,
    )


def _excess(cuts: np.ndarray, strides: Sequence[int]) -> np.ndarray:
    whole = ~np.isnan(cuts).any(axis=(1, 2, 3))
    return np.where(whole, grid_excess(np.nan_to_num(cuts), strides), np.nan)
