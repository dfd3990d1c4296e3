"""Spatial frequencies of filters and projections, in cycles per pixel (arXiv:1311.2901, section 4.1 and Fig. 6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

LOW, HIGH = 1 / 8, 1 / 4
"""Lower and upper limit of the middle frequencies: periods of eight and of four pixels."""


def aliased(filters: ArrayLike, strides: Sequence[int]) -> np.ndarray:
    """Compute the share of each filter's energy at frequencies that are aliased by the given strides.

    A map that is sampled every `s` pixels represents frequencies up to `1 / (2 s)` cycles per pixel along that
    direction. Higher frequencies that the filter passes are aliased to lower ones. By Parseval's theorem the result is
    the aliased share of the variance of filtered white noise; for photographs, whose energy falls with frequency, it is
    smaller. The energy in the band is computed without a frequency grid, as a quadratic form of the weights whose
    matrix holds values of a sinc. A filter with one weight, which passes all frequencies, has `1 - 1 / (s s')`; stride
    1 aliases nothing.

    The paper observes aliasing in its figures but gives no number; this measure is not from the paper.

    Args:
        filters: `(filters, rows, columns, channels)`.
        strides: `(down, right)`, in pixels.

    Returns:
        float64 `(filters,)`, 0 to 1; NaN for a filter of zeros.
    """
    filters = np.asarray(filters, np.float64)
    within = filters
    for axis, stride in zip((1, 2), strides, strict=True):
        places = np.arange(filters.shape[axis])
        band = np.sinc((places[:, None] - places) / stride) / stride
        within = np.moveaxis(np.tensordot(band, within, (1, axis)), 0, axis)
    energy = np.square(filters).sum(axis=(1, 2, 3))
    held = (filters * within).sum(axis=(1, 2, 3))
    return np.where(energy > 0, np.clip(1 - held / np.where(energy > 0, energy, 1), 0, 1), np.nan)


def mean_frequency(filters: ArrayLike) -> np.ndarray:
    """Compute the centroid of each filter's power spectrum over all channels and directions.

    A window of `n` pixels widens a spectrum by about `1 / n`: a constant 11x11 filter has 0.07, 7x7 has 0.10 and 5x5
    has 0.13. White noise has 0.38.

    Args:
        filters: `(filters, rows, columns, channels)`.

    Returns:
        float64 `(filters,)`, 0 to 0.71 cycles per pixel; NaN for a filter of zeros.
    """
    filters = np.asarray(filters, np.float64)
    count, rows, columns, _ = filters.shape
    # The centroid is a quadratic form of the weights whose matrix holds the Fourier coefficients of |frequency|.
    size = max(64, 4 * rows, 4 * columns)
    along = np.fft.fftfreq(size)
    coefficients = np.fft.ifft2(np.hypot(along[:, None], along)).real
    places = np.indices((rows, columns)).reshape(2, -1)
    down, right = places[:, :, None] - places[:, None]
    cells = filters.reshape(count, rows * columns, -1)
    energy = np.square(cells).sum(axis=(1, 2))
    total = (cells * (coefficients[down, right] @ cells)).sum(axis=(1, 2))
    return np.where(energy > 0, total / np.where(energy > 0, energy, 1), np.nan)


def bands(frequencies: ArrayLike) -> np.ndarray:
    """Compute the shares of low, middle and high frequencies: below 1/8, up to 1/4, and above.

    Args:
        frequencies: Floats of any shape, in cycles per pixel; NaN is ignored.

    Returns:
        float64 `(3,)` with sum 1; NaN if all frequencies are NaN.
    """
    known = np.ravel(frequencies)[~np.isnan(np.ravel(frequencies))]
    if not len(known):
        return np.full(3, np.nan)
    return np.bincount(np.searchsorted([LOW, HIGH], known, "right"), minlength=3) / len(known)


def grid_excess(pictures: ArrayLike, strides: Sequence[int]) -> np.ndarray:
    """Compute the power of projections at the frequencies of the stride grid, relative to neighbouring frequencies.

    1 is no excess, 2 twice the power. In a projection, a first layer with stride `s` places its filters on a grid of
    period `s`, which becomes visible if they overlap too little. The grid has the frequencies `1/s`, `2/s` ... up to
    1/2. Along each direction the power per frequency within `1/n` of such a frequency is divided by that between `2/n`
    and `4/n` from it, where `n` is the side of the projection, tapered by a Hann window. The result is the geometric
    mean over frequencies and directions. A spectrum that falls with frequency, such as that of photographs, gives
    slightly less than 1: compare with the value of the images themselves.

    Args:
        pictures: Projections `(n, height, width, channels)`, signed.
        strides: `(down, right)`, the periods of the grid in pixels.

    Returns:
        float64 `(n,)`; NaN for strides of 1, for a projection of zeros, and for sides below about six periods of the
        grid.
    """
    pictures = np.asarray(pictures, np.float64)
    ratios = []
    for axis, stride in zip((1, 2), strides, strict=True):
        size = pictures.shape[axis]
        window = np.expand_dims(np.hanning(size + 2)[1:-1], [0, *({1, 2, 3} - {axis})])
        power = np.square(np.abs(np.fft.rfft(pictures * window, 8 * size, axis=axis)))
        power = np.moveaxis(power, axis, -1).sum(axis=(1, 2))
        frequencies = np.fft.rfftfreq(8 * size)
        grid = np.arange(1, stride // 2 + 1) / stride
        away = np.abs(frequencies[:, None] - np.append(grid, 0)).min(axis=1)
        for one in grid:
            near = np.abs(frequencies - one) <= 1 / size
            beside = (away >= 2 / size) & (np.abs(frequencies - one) <= 4 / size)
            if beside.any() and (power.sum(axis=1) > 0).any():
                with np.errstate(divide="ignore", invalid="ignore"):
                    ratios.append(np.log(power[:, near].mean(axis=1) / power[:, beside].mean(axis=1)))
    return np.exp(np.mean(ratios, axis=0)) if ratios else np.full(len(pictures), np.nan)
