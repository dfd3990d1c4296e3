"""The filters of the layer below from which a channel receives its largest weights (circuit view)."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.graph.effective_weights import kernel_of
from deconv.graph.model_graph import producer_of
from deconv.runtime.short_repr import short_repr

_PER_CHANNEL = (
    *graph.IDLE,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.Activation,
    keras.layers.BatchNormalization,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.ZeroPadding2D,
    keras.layers.Cropping2D,
    keras.layers.Rescaling,
    keras.layers.Resizing,
)
"""Layers each of whose output channels depends on the input channel of the same number."""


class FiltersBelow(NamedTuple):
    """Weights between a layer and the layer below.

    Attributes:
        layer: Name of the layer below.
        weights: float64 `(channels, channels below)`, the sum of the weights of each filter for each channel below; 0
            where they are not connected, as between groups.
    """

    layer: str
    weights: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


def filters_below(model_graph: graph.Graph, step: graph.Step, layers: Collection[str]) -> FiltersBelow | None:
    """Find the layer below and the weights between the channels of the two.

    Between the two layers there may be rectifications, poolings, padding, batch normalisation (whose scale is not
    included), flattening and layers that are the identity at inference.

    Args:
        model_graph: The model graph.
        step: A step of it.
        layers: Names of the layers that count as a layer below.

    Returns:
        `FiltersBelow`, or None if the layer is no convolution or dense layer or there is no such layer below.
    """
    if not isinstance(step.layer, keras.layers.Conv2D | keras.layers.Dense) or len(step.inputs) != 1:
        return None
    below, flat = producer_of(model_graph, step), None
    while below is not None and below.name not in layers:
        if isinstance(below.layer, keras.layers.Flatten) and len(below.inputs[0].shape) == 3:
            flat = below.inputs[0].shape
        elif not graph.computes_as(below.layer, _PER_CHANNEL):
            return None
        below = producer_of(model_graph, below)
    if below is None:
        return None
    weights = _sums(step, below.output.shape[-1], flat)
    return None if weights is None else FiltersBelow(below.name, weights)


def _sums(step, channels_below, flat):
    """Sum of the weights of each filter for each channel below; None if the channels do not correspond."""
    try:
        kernel = tf.convert_to_tensor(kernel_of(step.layer)).numpy().astype(np.float64)
    except ValueError:  # quantised in a mode without a kernel
        return None
    if isinstance(step.layer, keras.layers.Dense):
        if flat is not None:
            kernel = kernel.reshape(-1, flat[-1], kernel.shape[-1])
        sums = kernel.reshape(-1, *kernel.shape[-2:]).sum(axis=0)
        return sums.T if sums.shape[0] == channels_below else None
    if kernel.ndim != 4:
        return None
    sums = kernel.sum(axis=(0, 1))  # (channels below of one group, channels)
    per_group, channels = sums.shape
    groups = step.layer.groups
    if per_group * groups != channels_below:
        return None
    whole = np.zeros((channels, channels_below))
    for group in range(groups):
        own = slice(group * channels // groups, (group + 1) * channels // groups)
        whole[own, group * per_group : (group + 1) * per_group] = sums[:, own].T
    return whole
