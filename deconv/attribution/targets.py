"""Choose the units that an attribution explains: a layer, a channel or class of it, and a position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.attribution.compiled_network import Network, forward, gradients, network_of
from deconv.deconvnet.selection import select
from deconv.runtime.dtypes import any_array
from deconv.validation import check_finite, check_images, check_positive


class Chosen(NamedTuple):
    """The units to explain: `values` is `<signal, output of the layer before its activation function>`.

    Attributes:
        network: The `Network` up to the layer, cached: the same object for the same layer of the same model.
        images: `(n, height, width, channels)`, checked, in the dtype of the model's input; in floating point where the
            model takes integers.
        targets: `(n,)` ints, the channel, or class, of each image.
        signal: `(n, rows, columns, channels)`, or `(n, channels)`, one at the explained units, else zero.
        values: `(n,)`, the sum of these units before the activation function of the layer: the logit for a softmax.
    """

    network: Network
    images: np.ndarray
    targets: np.ndarray
    signal: np.ndarray
    values: np.ndarray

    @property
    def graph(self) -> graph.Graph:
        """The `Graph` up to the layer, which is its last step."""
        return self.network.graph

    def gradients(
        self, rule: str | None = None, norms_pass: bool = False
    ) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
        """The compiled gradient under a rule of `deconv.graph.modified_gradients.RECTIFIERS`; None for no rule."""
        return self.network.compiled(gradients, rule, norms_pass)

    def batches(self, size: int) -> list[slice]:
        """Slices of the images, `size` at a time."""
        return _batches(len(self.images), size)

    def values_of(self, images: np.ndarray, batch_size: int) -> np.ndarray:
        """`(n,)`, the values of the same units in other images, one for each of the original images."""
        parts, compute = _batches(len(images), batch_size), self.network.compiled(forward)
        return np.concatenate([_total(compute(images[part]).numpy(), self.signal[part]) for part in parts])


def chosen(
    model: keras.Model,
    images: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    unit: Literal["max", "map"] | Sequence[int] = "max",
    *,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
    real: bool = True,
) -> Chosen:
    """Choose the units that an attribution explains.

    Units are chosen, and their values taken, before the activation function of the layer. In a channel that is active
    anywhere, the strongest unit is that of `Deconvnet.project`. Compiled functions are cached for the lifetime of the
    model; they use its current weights, and are compiled anew when its graph changes.

    Args:
        model: A functional or Sequential `keras.Model`.
        images: Array `(n, height, width, channels)`, or of any other rank that the model takes, preprocessed as it
            expects.
        target: Channel of the layer, for dense layers the class: an int; `(n,)` ints, one for each image; one-hot rows
            `(n, channels)`; or None for the strongest of each image.
        layer: Name, path or index; None for the model's output, the first if there are several.
        unit: Which units of the channel: `"max"`, the strongest (the first in row-major order of equal ones); a
            position `(row, column)`, or with as many numbers as the map has axes; `"map"`, all of them. A dense layer
            has one.
        batch_size: Number of images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        real: Whether a model of integer input is continued to real numbers (see
            `deconv.graph.gradients_through_the_head`), as differentiation requires.

    Returns:
        `Chosen`.

    Raises:
        ValueError: If anything does not fit the model, or it computes with integers, which have no gradient.
    """
    check_positive("batch_size", batch_size)
    network = network_of(model, layer, input_shape, real)
    model_graph, step = network.graph, network.graph.steps[-1]
    image = model_graph.inputs[0]
    given = check_images(images, image.shape, network.given)
    converted = given.astype(image.dtype, copy=False)
    depth = step.output.shape[-1]
    targets = None if target is None else check_targets(target, len(converted), depth, step.name)
    signal = np.empty((len(converted), *step.output.shape), step.output.dtype)
    channels, values = np.empty(len(converted), np.int64), np.empty(len(converted))
    compute = network.compiled(forward)
    for part in _batches(len(converted), batch_size):
        maps = check_finite(compute(converted[part]).numpy(), step.name)
        if network.whole:
            _check_continued(maps, network.whole.compiled(forward)(given[part]).numpy(), model.name, network.given)
        channels[part] = _strongest(maps, unit) if targets is None else targets[part]
        signal[part] = select(maps, channels[part], unit, start="one")
        values[part] = _total(maps, signal[part])
    return Chosen(network=network, images=converted, targets=channels, signal=signal, values=values)


def check_targets(target: ArrayLike, count: int, depth: int, layer: str) -> np.ndarray:
    """A channel for each image as `(count,)` ints; negative ones count from the end.

    Raises:
        ValueError: If `target` is not an integer, has another length, is out of range, or rows are not one-hot.
    """
    given = any_array(target)
    if given.ndim == 2:
        if given.shape != (count, depth) or ((given != 0) & (given != 1)).any() or (given.sum(axis=1) != 1).any():
            raise ValueError(
                f"target must be one-hot rows of shape ({count}, {depth}): a row for each image, with a single one at "
                f"a channel of layer '{layer}' and zeros elsewhere; received shape {given.shape}."
            )
        return given.argmax(axis=1)
    if given.dtype.kind not in "iu" or given.shape not in ((), (count,)):
        raise ValueError(
            f"target must be a whole number, one for each image (a sequence of {count}), one-hot rows, or None for the "
            f"strongest; received {target!r}."
        )
    outside = np.atleast_1d(given)[(np.atleast_1d(given) < -depth) | (np.atleast_1d(given) >= depth)]
    if len(outside):
        raise ValueError(
            f"target must be one of 0 to {depth - 1}, the channels of layer '{layer}'; received {outside[0]}."
        )
    return np.broadcast_to(given.astype(np.int64) % depth, (count,))


def _check_continued(maps, expected, name, dtype):
    """Raise an error if a model computes other outputs for floating-point images than for the integers it takes."""
    scale = max(np.abs(expected).max(), np.finfo(np.float32).tiny)
    if not np.abs(maps - expected).max() <= 1e-3 * scale:
        raise ValueError(
            f"Model '{name}' computes other outputs from {dtype} images than from the same numbers in floating point, "
            "so it has no gradient with respect to them. Convert the images to floating point in its first layer, or "
            "use the part of the model above the layers that compute with integers."
        )


def _strongest(maps, unit):
    """`(n,)` ints, the channel of the strongest unit of each image; for a position, the strongest channel there."""
    if not isinstance(unit, str):
        maps = np.where(select(np.ones_like(maps), None, unit) != 0, maps, -np.inf)
    return maps.reshape(len(maps), -1).argmax(axis=1) % maps.shape[-1]


def _total(maps, signal):
    """`(n,)` float64, the sum of the units where a signal of zeros and ones is one."""
    return np.where(signal != 0, maps, 0).reshape(len(maps), -1).sum(axis=1, dtype=np.float64)


def _batches(count, size):
    return [slice(first, first + size) for first in range(0, count, size)]
