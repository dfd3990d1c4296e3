"""A layer's filters as they lie in its weights: which dominate, which repeat, which frequencies they take."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from deconv.graph.effective_weights import kernel_of
from deconv.graph.keras_model import KERNELS
from deconv.imaging.frequencies import aliased, mean_frequency
from deconv.runtime.short_repr import short_repr


class Filters(NamedTuple):
    """A layer's weights, filter by filter; a filter is what makes one channel.

    Attributes:
        rms: float64 `(filters,)`, the root mean square of each filter's weights, biases left out: what the paper clips.
        spread: The largest RMS divided by the median: near 1 where no filter dominates. NaN if the median is 0.
        variation: The standard deviation of the RMS divided by its mean.
        duplicates: int64 `(pairs, 2)`, filters whose weights have a cosine of at least `alike` in magnitude, the same
            or opposite, by number. Filters of different groups see different maps and are no pair.
        cosines: float64 `(pairs,)`, of these.
        aliasing: float64 `(filters,)`, see `deconv.imaging.frequencies.aliased`; None for a layer without space.
        frequency: float64 `(filters,)`, centroids in cycles per cell of the layer's input, which for a first layer are
            pixels: see `deconv.imaging.frequencies.mean_frequency`. None for a layer without space.
    """

    rms: np.ndarray
    spread: float
    variation: float
    duplicates: np.ndarray
    cosines: np.ndarray
    aliasing: np.ndarray | None
    frequency: np.ndarray | None

    __repr__ = short_repr


def examine_filters(layer, alike=0.95):
    """The `Filters` of a convolution or dense layer, from its weights alone; None for any other layer."""
    if not isinstance(layer, KERNELS):
        return None
    filters, groups = _filters(layer)
    rows = filters.reshape(len(filters), -1)
    rms = np.sqrt(np.mean(np.square(rows, dtype=np.float64), axis=1))
    median, mean = np.median(rms), rms.mean()
    pairs, cosines = _duplicates(rows, groups, alike)
    spatial = filters.ndim == 4
    return Filters(
        rms,
        float(rms.max() / median) if median > 0 else np.nan,
        float(rms.std() / mean) if mean > 0 else np.nan,
        pairs,
        cosines,
        aliased(filters, layer.strides) if spatial else None,
        mean_frequency(filters) if spatial else None,
    )


def _filters(layer):
    """`(filters, ...)` as they lie on the input, holes of dilation included, and how many groups they are in."""
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
        some = slice(first, first + block)
        products = units[some] @ units.T
        theirs = (group[some, None] == group) & (numbers[some, None] < numbers)
        left, right = np.nonzero(theirs & (np.abs(products) >= alike))
        pairs.append(np.stack([left + first, right], axis=1))
        cosines.append(products[left, right].astype(np.float64))
    return np.concatenate(pairs), np.concatenate(cosines)
