"""Parametrizations of an optimised image: by its pixels or by its Fourier transform.

Parametrizations are the second of Lucid's four components (Olah, Mordvintsev & Schubert, "Feature Visualization",
Distill 2017, section "Preconditioning and Parameterization"). All produce images in pixel units, 0 to 255. The
parametrization determines the direction of steepest ascent: Fourier coefficients scaled by their wavelength, and
decorrelated colours, keep high frequencies from dominating.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv.runtime.dtypes import array_of
from deconv.validation import check_real

COLOURS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]], np.float32)
"""Lucid's root of the correlation matrix of red, green and blue over ImageNet. Rows are colours, columns the
independent components: brightness, red against blue, green against both."""

_MIX = COLOURS / np.linalg.norm(COLOURS, axis=0).max()


class Parametrization(NamedTuple):
    """A map from parameters `(n, ...)`, which the optimiser changes, to images `(n, height, width, channels)`.

    Attributes:
        name: Its name.
        start: `start(random, shape, centre)` of a NumPy generator, the shape of the images and the `centre` of
            `optimize` returns initial float32 parameters.
        images: `images(parameters, shape)` of a tensor and `(height, width, channels)` returns pixels, 0 to 255.
        parameters: `parameters(images)` of an array or tensor returns the parameters of these images.
        bounded: `bounded(parameters)` returns the nearest parameters whose images lie within 0 to 255.
    """

    name: str
    start: Callable[..., np.ndarray]
    images: Callable[..., tf.Tensor]
    parameters: Callable[..., tf.Tensor]
    bounded: Callable[..., tf.Tensor] = tf.identity


def pixels(base: ArrayLike | None = None, spread: float = 10.0, squash: bool = False) -> Parametrization:
    """Parametrize an image by its pixels.

    Args:
        base: The mean of the initial noise, a number or one per channel; None for the `centre` of `optimize`.
        spread: The standard deviation of the initial noise.
        squash: Whether a sigmoid keeps pixels within 0 to 255; otherwise they are clipped after each step.
    """
    check_real("spread", spread, 0)
    mean = None if base is None else _check_base(base)
    to_pixels, from_pixels = (_sigmoid, _logit) if squash else (tf.identity, lambda values: tf.cast(values, tf.float32))
    bounded = tf.identity if squash else lambda values: tf.clip_by_value(values, 0, 255)

    def start(random, shape, centre):
        noise = np.asarray(centre if mean is None else mean, np.float32) + spread * random.standard_normal(
            shape, np.float32
        )
        return from_pixels(noise.clip(0, 255)).numpy()

    return Parametrization(
        name="pixels",
        start=start,
        images=lambda parameters, shape: to_pixels(parameters),
        parameters=from_pixels,
        bounded=bounded,
    )


def fourier(base: ArrayLike = 127.5, spread: float = 0.01, decay: float = 1.0) -> Parametrization:
    """Parametrize an image by its Fourier coefficients; a sigmoid maps their sum to 0 to 255.

    With f the frequency of a coefficient in cycles per pixel, its amplitude is divided by `max(f, 1 / max(w, h)) **
    decay`, so that equal steps change an image with the spectrum of photographs. Three channels are mixed so that steps
    have the colour correlations of photographs. All of this, with the factors `sqrt(w h)` and 1 / 4, is Lucid's. It
    differs for a `base` other than mid-grey, for odd widths, where Lucid has one more column of coefficients, and for
    one channel, which Lucid does not support.

    Args:
        base: The pixel value of an image whose coefficients are zero, a number or one per channel: mid-grey, or for
            digits a value near their background.
        spread: The standard deviation of the initial coefficients.
        decay: Exponent of the frequency scaling; 0 scales all frequencies alike.
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
"""{name: function that returns a `Parametrization`}."""


def parametrization_of(given: str | Parametrization) -> Parametrization:
    """The given `Parametrization`, or the one of this name with its defaults.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(given, Parametrization):
        return given
    if not isinstance(given, str) or given not in PARAMETRIZATIONS:
        names = ", ".join(map(repr, PARAMETRIZATIONS))
        raise ValueError(f"parametrization must be a Parametrization, or one of {names}; received {given!r}.")
    return PARAMETRIZATIONS[given]()


def _scale(height, width, decay):
    """Factors of the Fourier coefficients, `(height, width // 2 + 1)` complex64."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    scale = np.sqrt(width * height) / np.maximum(frequency, 1 / max(width, height)) ** decay
    return tf.constant(scale, tf.complex64)


def _sigmoid(values):
    return 255 * tf.sigmoid(values)


def _logit(images):
    """The inverse of the sigmoid; black and white, where it is infinite, are moved inwards by 0.001 levels."""
    share = tf.clip_by_value(tf.cast(images, tf.float32), 1e-3, 255 - 1e-3) / 255
    return tf.math.log(share) - tf.math.log1p(-share)


def _check_base(base):
    values = array_of("base", base)
    if values.ndim > 1 or not np.isfinite(values).all():
        raise ValueError(f"base must be a finite number, or one per channel; received {base!r}.")
    return values.astype(np.float32)


def _base(base):
    return _logit(np.asarray(base, np.float32))
