"""Gradients of a unit with respect to the pixels, which differ only in the gradient rule of rectifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np
from numpy.typing import ArrayLike

from deconv.attribution.targets import chosen


def gradient(
    model: keras.Model,
    images: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    *,
    unit: Literal["max", "map"] | Sequence[int] = "max",
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
) -> np.ndarray:
    """Compute the gradient of a unit with respect to the pixels.

    Simonyan, Vedaldi & Zisserman, arXiv:1312.6034, section 3. They show the largest magnitude over the channels, one
    number for each position: apply `channel_max` to the result. As in the paper, a class is taken before its softmax.

    Args:
        model: A functional or Sequential `keras.Model`. It is not changed.
        images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
        target: Channel of the layer, for dense layers the class: an int; `(n,)` ints, one for each image; one-hot rows
            `(n, channels)`; or None for the strongest of each image.
        layer: Name, path or index of any layer, taken before its activation function; None for the model's output.
        unit: Which units of the channel: `"max"`, the strongest; a position `(row, column)`; or `"map"`, their sum.
        batch_size: Number of images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Returns:
        Array shaped like `images`, in the dtype of the model's input, usually float32: signed, the derivative of the
        unit with respect to every pixel.

    Raises:
        ValueError: If layer, target, unit or images do not fit the model; the message lists valid values.
    """
    return _gradients(model, images, target, layer, unit, batch_size, input_shape)[0]


def input_x_gradient(
    model: keras.Model,
    images: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    *,
    unit: Literal["max", "map"] | Sequence[int] = "max",
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
) -> np.ndarray:
    """Compute the gradient times the pixel, its contribution to a linearisation of the network at the image.

    Shrikumar et al., arXiv:1605.01713. The reference for a pixel is zero in the model's input: black for digits, the
    mean for photographs. In a network of filters, rectifiers and max pooling without biases, the maps sum to the unit.

    Args and Raises: As for `gradient`.

    Returns:
        Array shaped like `images`, signed, in the units of the layer.
    """
    gradients, units = _gradients(model, images, target, layer, unit, batch_size, input_shape)
    return units.images * gradients


def guided_backprop(
    model: keras.Model,
    images: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    *,
    unit: Literal["max", "map"] | Sequence[int] = "max",
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
) -> np.ndarray:
    """Compute the guided backpropagation of a unit: rectifiers pass positive gradients where their input was positive.

    Springenberg et al., arXiv:1412.6806, section 3.4; DeSaliNet in Mahendran & Vedaldi, ECCV 2016. Contrast
    normalisation, which neither paper has, passes its own derivative; so does an activation function other than a
    rectifier.

    Args and Raises: As for `gradient`. Also a ValueError, which names the layer and a remedy, if a layer may hide a
    rectifier: an activation of another form, such as `2 * relu(x)`, or a layer of unknown class that is not linear.

    Returns:
        Array shaped like `images`, signed.
    """
    return _gradients(model, images, target, layer, unit, batch_size, input_shape, "guided")[0]


def deconvnet(
    model: keras.Model,
    images: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    *,
    unit: Literal["max", "map"] | Sequence[int] = "max",
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
) -> np.ndarray:
    """Compute the deconvnet projection of a unit as a gradient: rectifiers pass all positive gradients.

    The sign of a rectifier's input does not matter, unlike in `guided_backprop`.

    This equals `Deconvnet.project(..., start="one")` of the same unit up to rounding, by another derivation:
    TensorFlow's gradient of max pooling in place of switches. Zeiler & Fergus, arXiv:1311.2901, section 2.1; for the
    equivalence see Simonyan et al., section 4. Contrast normalisation passes signals unchanged. The unit is chosen
    before its activation function, so in a channel that is inactive everywhere it may differ from that of `project`.

    Args and Raises: As for `guided_backprop`.

    Returns:
        Array shaped like `images`, signed.
    """
    return _gradients(model, images, target, layer, unit, batch_size, input_shape, "deconvnet", norms_pass=True)[0]


def channel_max(maps: ArrayLike) -> np.ndarray:
    """Compute the largest magnitude over the channels (Simonyan et al., section 3.1).

    Args:
        maps: `(n, height, width, channels)`, signed.

    Returns:
        `(n, height, width, 1)`, of the same dtype, non-negative.
    """
    return np.abs(maps).max(axis=-1, keepdims=True)


def _gradients(model, images, target, layer, unit, batch_size, input_shape, rule=None, norms_pass=False):
    """The gradient under a rule, or with the rectifiers' own derivative for None, and the chosen units."""
    units = chosen(model, images, target, layer, unit, batch_size=batch_size, input_shape=input_shape)
    backward = units.gradients(rule, norms_pass)
    parts = [backward(units.images[part], units.signal[part])[1].numpy() for part in units.batches(batch_size)]
    return np.concatenate(parts), units
