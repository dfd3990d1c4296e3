"""How much of a picture is high frequencies: what regularisers of feature visualization are there to hold down."""

import numpy as np

from deconv.runtime.dtypes import array_of
from deconv.validation import check_real


def high_frequency_share(images, above=0.25):
    """Share of each picture's spectral energy above a frequency, by default half of Nyquist's.

    The energy is that of the discrete Fourier transform, all channels together, without the mean colour; a frequency
    `(down, right)` counts by its length `hypot`, whose largest is 0.71, on the diagonal. White noise has 0.80 above
    0.25: a disc of that radius covers `pi / 16` of the square of frequencies. What is cut at the border adds to it, the
    same for pictures of one size.

    Args:
        images: `(n, height, width, channels)`.
        above: In cycles per pixel.

    Returns:
        float64 `(n,)`, 0 to 1; NaN for a picture of one colour.
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
