"""Gradients of a unit along the pixels, which differ in nothing but what a rectifier passes down."""

import numpy as np

from deconv.attribution.targets import chosen


def gradient(model, images, target=None, layer=None, *, unit="max", batch_size=32, input_shape=None):
    """How much a unit would rise with every pixel (Simonyan, Vedaldi & Zisserman, arXiv:1312.6034, section 3).

    Theirs is the largest magnitude among the colours, one number for each place: `channel_max` of this. Like theirs a
    class is taken before its softmax.

    Args:
        model: A functional or Sequential `keras.Model`. It is not changed.
        images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
        target: Channel of the layer, for dense layers the class: an int; `(n,)` ints, one for each image; one-hot rows
            `(n, channels)`; or None for the strongest of each image.
        layer: Name, path or index of any layer, taken before its activation; None for the model's output.
        unit: Which units of the channel: `"max"`, the strongest; a position `(row, column)`; or `"map"`, their sum.
        batch_size: How many images are computed at a time.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.

    Returns:
        Array shaped like `images`, float32 as the model's input is: signed, the derivative of the unit by every pixel.

    Raises:
        ValueError: If layer, target, unit or images do not fit the model; the message says what does.
    """
    return _slopes(model, images, target, layer, unit, batch_size, input_shape)[0]


def input_x_gradient(model, images, target=None, layer=None, *, unit="max", batch_size=32, input_shape=None):
    """The gradient, times the pixel: what each pixel adds to a network that is linear around the image.

    Shrikumar et al., arXiv:1605.01713. A pixel is compared with zero as the model sees it: black for digits, the mean
    for photographs. For a network of filters, rectifiers and max pooling without biases the maps sum to the unit.

    Args and Raises: As for `gradient`.

    Returns:
        Array shaped like `images`, signed, in the units of the layer.
    """
    slopes, asked = _slopes(model, images, target, layer, unit, batch_size, input_shape)
    return asked.images * slopes


def guided_backprop(model, images, target=None, layer=None, *, unit="max", batch_size=32, input_shape=None):
    """The gradient where every rectifier passes only what is positive on both ways, up and down.

    Springenberg et al., arXiv:1412.6806, section 3.4; DeSaliNet in Mahendran & Vedaldi, ECCV 2016. Contrast
    normalisation, which neither of them has, passes its own derivative; so does an activation that is no rectifier.

    Args and Raises: As for `gradient`. Also ValueError, which names the layer and the way out, if one may hide a
    rectifier: an activation of another form, as `2 * relu(x)`, or a layer of unknown class that is not linear.

    Returns:
        Array shaped like `images`, signed.
    """
    return _slopes(model, images, target, layer, unit, batch_size, input_shape, "guided")[0]


def deconvnet(model, images, target=None, layer=None, *, unit="max", batch_size=32, input_shape=None):
    """The deconvnet as a gradient: every rectifier passes what is positive on the way down, whatever was on the way up.

    This is `Deconvnet.project(..., start="one")` of the same unit, up to rounding, by another derivation: TensorFlow's
    gradient of max pooling in place of switches. Zeiler & Fergus, arXiv:1311.2901, section 2.1; that they agree,
    Simonyan et al., section 4. Contrast normalisation passes signals as they are. A unit is chosen before its
    activation, so that of a channel that is silent everywhere it may be another than `project` takes.

    Args and Raises: As for `guided_backprop`.

    Returns:
        Array shaped like `images`, signed.
    """
    return _slopes(model, images, target, layer, unit, batch_size, input_shape, "deconvnet", norms_pass=True)[0]


def channel_max(maps):
    """The largest magnitude among the colours (Simonyan et al., section 3.1).

    Args:
        maps: `(n, height, width, channels)`, signed.

    Returns:
        `(n, height, width, 1)`, of the same dtype, at least zero.
    """
    return np.abs(maps).max(axis=-1, keepdims=True)


def _slopes(model, images, target, layer, unit, batch_size, input_shape, rule=None, norms_pass=False):
    """The gradient under a rule, and what was chosen; without one, with the rectifiers' own derivative."""
    asked = chosen(model, images, target, layer, unit, batch_size=batch_size, input_shape=input_shape)
    down = asked.gradients(rule, norms_pass)
    parts = [down(asked.images[part], asked.signal[part])[1].numpy() for part in asked.batches(batch_size)]
    return np.concatenate(parts), asked
