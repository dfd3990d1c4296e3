"""Measure the high-frequency energy of images, which the regularisers of feature visualization suppress."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from deconv.runtime.dtypes import array_of
from deconv.validation import check_real


def high_frequency_share(images: ArrayLike, above: float = 0.25) -> np.ndarray:
    """Compute the share of the spectral energy of each image above a frequency, by default half the Nyquist frequency.

    The energy is that of the discrete Fourier transform, summed over the channels, without the mean colour. The
    frequency of a component `(down, right)` is its norm, at most 0.71, on the diagonal. White noise has a share of 0.80
    above 0.25, as a disc of that radius covers `pi / 16` of the square of frequencies. Discontinuities at the border
    add to the share, equally for images of one size.

    Args:
        images: `(n, height, width, channels)`.
        above: Frequency in cycles per pixel.

    Returns:
        float64 `(n,)`, 0 to 1; NaN for an image of one colour.

    Raises:
        ValueError: If the images have another shape or `above` is not a number.
    """
    images = array_of("images", images).astype(np.float64)
    check_real("above", above)
    if images.ndim != 4:
        raise ValueError(f"images must have shape (n, height, width, channels); received {images.shape}.")
    height, width = images.shape[1:3]
    even = images - images.mean(axis=(1, 2), keepdims=True)
    power = np.square(np.abs(np.fft.fft2(even, axes=(1, 2)))).sum(axis=-1)
    length = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    energy, high = power.sum(axis=(1, 2)), power[:, length > above].sum(axis=1)
    flat = even.std(axis=(1, 2, 3)) <= 1e-9 * np.abs(images).max(axis=(1, 2, 3))
    return np.where(flat, np.nan, high / np.where(flat, 1, energy))
