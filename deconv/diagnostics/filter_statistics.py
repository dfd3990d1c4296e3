"""Statistics of the filters of a layer: magnitudes, duplicates, spatial frequencies."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from deconv.graph.effective_weights import kernel_of
from deconv.graph.keras_model import KERNELS
from deconv.imaging.frequencies import aliased, mean_frequency
from deconv.runtime.short_repr import short_repr


class Filters(NamedTuple):
    """Statistics of the filters of a layer. A filter is the weights of one output channel.

    Attributes:
        rms: float64 `(filters,)`, root mean square of the weights of each filter without bias, which the paper clips.
        spread: The largest RMS divided by the median: near 1 if no filter dominates. NaN if the median is 0.
        variation: The standard deviation of the RMS divided by its mean. NaN if the mean is 0.
        duplicates: int64 `(pairs, 2)`, indices of filters whose weights have a cosine of at least `alike` in magnitude.
            Filters of different groups have different inputs and are not compared.
        cosines: float64 `(pairs,)`, the cosines of these pairs.
        aliasing: float64 `(filters,)`, see `deconv.imaging.frequencies.aliased`; None for a layer without spatial axes.
        frequency: float64 `(filters,)`, centroids in cycles per cell of the input of the layer, for a first layer per
            pixel: see `deconv.imaging.frequencies.mean_frequency`. None for a layer without spatial axes.
    """

    rms: np.ndarray
    spread: float
    variation: float
    duplicates: np.ndarray
    cosines: np.ndarray
    aliasing: np.ndarray | None
    frequency: np.ndarray | None

    def __repr__(self) -> str:
        return short_repr(self)


def examine_filters(layer: keras.layers.Layer, alike: float = 0.95) -> Filters | None:
    """Compute statistics of the filters of a convolution or dense layer, from its weights alone.

    Args:
        layer: Any layer.
        alike: Magnitude of the cosine from which two filters are duplicates, from 0 to 1.

    Returns:
        `Filters`; None for a layer that is neither a convolution nor dense.
    """
    if not isinstance(layer, KERNELS):
        return None
    filters, groups = _filters(layer)
    rows = filters.reshape(len(filters), -1)
    rms = np.sqrt(np.mean(np.square(rows, dtype=np.float64), axis=1))
    median, mean = np.median(rms), rms.mean()
    pairs, cosines = _duplicates(rows, groups, alike)
    is_spatial = filters.ndim == 4
    return Filters(
        rms=rms,
        spread=float(rms.max() / median) if median > 0 else np.nan,
        variation=float(rms.std() / mean) if mean > 0 else np.nan,
        duplicates=pairs,
        cosines=cosines,
        aliasing=aliased(filters, layer.strides) if is_spatial else None,
        frequency=mean_frequency(filters) if is_spatial else None,
    )


def _filters(layer):
    """Filters `(filters, ...)` with the zeros of dilation, and their number of groups."""
    kernel = tf.convert_to_tensor(kernel_of(layer)).numpy()
    if isinstance(layer, keras.layers.Dense):
        return kernel.T, 1
    groups = getattr(layer, "groups", 1)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        groups = kernel.shape[2]
        kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
    down, right = layer.dilation_rate
    rows, columns = kernel.shape[:2]
    whole = np.zeros(((rows - 1) * down + 1, (columns - 1) * right + 1, *kernel.shape[2:]), kernel.dtype)
    whole[::down, ::right] = kernel
    return np.moveaxis(whole, -1, 0), groups


def _duplicates(rows, groups, alike, block=512):
    """Pairs of rows `i < j` of the same group with a cosine of at least `alike` in magnitude, and the cosines."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units = rows / np.where(lengths > 0, lengths, 1)
    group, numbers = np.arange(len(rows)) * groups // len(rows), np.arange(len(rows))
    pairs, cosines = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for first in range(0, len(rows), block):
        part = slice(first, first + block)
        products = units[part] @ units.T
        is_pair = (group[part, None] == group) & (numbers[part, None] < numbers)
        left, right = np.nonzero(is_pair & (np.abs(products) >= alike))
        pairs.append(np.stack([left + first, right], axis=1))
        cosines.append(products[left, right].astype(np.float64))
    return np.concatenate(pairs), np.concatenate(cosines)
