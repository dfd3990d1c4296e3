"""What an image is made of while it is optimised: pixels, or the waves of its Fourier transform.

The second of the four nouns of Lucid (Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017, section
"Preconditioning and Parameterization"). All make images in pixel units, 0 to 255. The way an image is written down
decides which way is steepest: waves that are scaled by their length, and colours as photographs have them, keep high
frequencies from running ahead.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deconv.runtime.dtypes import array_of
from deconv.validation import check_real

COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], np.float32)
"""Lucid's root of the correlation of red, green and blue over ImageNet: rows are colours, columns what is independent:
brightness, red against blue, green against both."""

_MIX = COLOURS / np.linalg.norm(COLOURS, axis=0).max()


class Parametrization(NamedTuple):
    """How images `(n, height, width, channels)` are made of parameters `(n, ...)`, which Adam or a gradient changes.

    Attributes:
        name: What it is called.
        start: `start(random, shape, centre)` of a NumPy generator, the shape of the images and the colour that counts
            as nothing (see `optimize`): float32 parameters to begin with.
        images: `images(parameters, shape)` of a tensor and `(height, width, channels)`: pixels 0 to 255.
        parameters: `parameters(images)` of an array or tensor: those that make these images.
        bounded: `bounded(parameters)`: the nearest whose images lie within 0 to 255.
    """

    name: str
    start: Callable
    images: Callable
    parameters: Callable
    bounded: Callable = tf.identity


def pixels(base=None, spread=10.0, squash=False):
    """An image as its own parameters.

    Args:
        base: Around which value the noise lies that it starts from, a number or one per channel; None for the colour
            that counts as nothing.
        spread: The standard deviation of that noise.
        squash: Whether a sigmoid keeps pixels within 0 to 255; else they are clipped after each step.
    """
    check_real("spread", spread, 0)
    base = base if base is None else _check_base(base)
    into, out_of = (_sigmoid, _logit) if squash else (tf.identity, lambda values: tf.cast(values, tf.float32))
    bounded = tf.identity if squash else lambda values: tf.clip_by_value(values, 0, 255)

    def start(random, shape, centre):
        noise = np.asarray(centre if base is None else base, np.float32) + spread * random.standard_normal(
            shape, np.float32
        )
        return out_of(noise.clip(0, 255)).numpy()

    return Parametrization("pixels", start, lambda parameters, shape: into(parameters), out_of, bounded)


def fourier(base=127.5, spread=0.01, decay=1.0):
    """An image as the sum of waves, whose amplitudes are the parameters, squashed into 0 to 255 by a sigmoid.

    With f the frequency of a wave in cycles per pixel, its amplitude is divided by `max(f, 1 / max(w, h)) ** decay`, so
    that a step of one size changes an image as photographs differ, whose spectra fall so. Three channels are mixed so
    that one step changes colours as they vary together in photographs. All of it, the factors `sqrt(w h)` and 1 / 4
    included, is Lucid's; ours differs where `base` is not mid-grey, in widths that are odd, where Lucid has one more
    column of waves, and in one channel, which Lucid does not know.

    Args:
        base: The pixel value of an image whose amplitudes are zero, a number or one per channel: mid-grey, or for
            digits near their background.
        spread: The standard deviation of the amplitudes that it starts from.
        decay: 0 treats all waves alike.
    """
    check_real("spread", spread, 0), check_real("decay", decay)
    base = _check_base(base)

    def start(random, shape, centre):
        count, height, width, channels = shape
        size = (count, 2, channels, height, width // 2 + 1)  # the real parts, then the imaginary ones
        return spread * random.standard_normal(size, np.float32)

    def images(parameters, shape):
        height, width, channels = shape
        waves = tf.complex(parameters[:, 0], parameters[:, 1]) * _scale(height, width, decay)
        values = tf.signal.irfft2d(waves, [height, width])
        values = tf.transpose(values, [0, 2, 3, 1]) / 4
        return _sigmoid((values @ _MIX.T if channels == 3 else values) + _base(base))

    def parameters(images):
        values = _logit(images) - _base(base)
        if values.shape[-1] == 3:
            values = values @ np.linalg.inv(_MIX).T
        height, width = values.shape[1:3]
        waves = tf.signal.rfft2d(tf.transpose(values, [0, 3, 1, 2]) * 4) / _scale(height, width, decay)
        return tf.stack([tf.math.real(waves), tf.math.imag(waves)], axis=1)

    return Parametrization("fourier", start, images, parameters)


PARAMETRIZATIONS = {"fourier": fourier, "pixels": pixels}
"""{name: function that makes a `Parametrization`}."""


def parametrization_of(given):
    """A `Parametrization`, or the one of a name, with its own defaults.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(given, Parametrization):
        return given
    if not isinstance(given, str) or given not in PARAMETRIZATIONS:
        known = ", ".join(map(repr, PARAMETRIZATIONS))
        raise ValueError(f"parametrization must be a Parametrization, or one of {known}; received {given!r}.")
    return PARAMETRIZATIONS[given]()


def _scale(height, width, decay):
    """What amplitudes are multiplied by, `(height, width // 2 + 1)` complex64."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    scale = np.sqrt(width * height) / np.maximum(frequency, 1 / max(width, height)) ** decay
    return tf.constant(scale, tf.complex64)


def _sigmoid(values):
    return 255 * tf.sigmoid(values)


def _logit(images):
    """The inverse of the sigmoid; black and white, which it reaches nowhere, move in by a thousandth of a level."""
    share = tf.clip_by_value(tf.cast(images, tf.float32), 1e-3, 255 - 1e-3) / 255
    return tf.math.log(share) - tf.math.log1p(-share)


def _check_base(base):
    found = array_of("base", base)
    if found.ndim > 1 or not np.isfinite(found).all():
        raise ValueError(f"base must be a finite number, or one per channel; received {base!r}.")
    return found.astype(np.float32)


def _base(base):
    return _logit(np.asarray(base, np.float32))
