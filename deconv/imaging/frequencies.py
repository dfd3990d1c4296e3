"""Which frequencies filters and pictures hold, in cycles per pixel (arXiv:1311.2901, section 4.1 and Fig. 6)."""

import numpy as np

LOW, HIGH = 1 / 8, 1 / 4
"""Where the middle frequencies begin and end: periods of eight and of four pixels."""


def aliased(filters, strides):
    """Share of each filter's energy at frequencies that maps of such strides cannot hold.

    A map that is sampled every `s` pixels holds frequencies up to `1 / (2 s)` cycles per pixel along that direction.
    What the filter lets through above them is folded down and taken for something else: it is aliased. By Parseval's
    theorem this share is the share of a filtered image's variance that is aliased, where the image is white noise; in a
    photograph, whose energy falls with frequency, less is. It is computed without a grid of frequencies: the energy in
    the band is a quadratic form of the weights, whose matrix holds the values of a sinc. A filter of one weight, which
    passes everything, has `1 - 1 / (s s')`; stride 1 aliases nothing.

    The paper sees aliasing in its pictures and gives no number. This one is ours.

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


def mean_frequency(filters):
    """The centroid of each filter's power spectrum, all channels together, over all directions.

    A window of `n` pixels blurs a spectrum by about `1 / n`: a constant has 0.07 in an 11x11 filter, 0.10 in 7x7 and
    0.13 in 5x5. White noise has 0.38.

    Args:
        filters: `(filters, rows, columns, channels)`.

    Returns:
        float64 `(filters,)`, 0 to 0.71 cycles per pixel; NaN for a filter of zeros.
    """
    filters = np.asarray(filters, np.float64)
    count, rows, columns, _ = filters.shape
    # The centroid is a quadratic form of the weights too: its matrix holds the Fourier coefficients of the frequency.
    size = max(64, 4 * rows, 4 * columns)
    along = np.fft.fftfreq(size)
    coefficients = np.fft.ifft2(np.hypot(along[:, None], along)).real
    places = np.indices((rows, columns)).reshape(2, -1)
    down, right = places[:, :, None] - places[:, None]
    cells = filters.reshape(count, rows * columns, -1)
    energy = np.square(cells).sum(axis=(1, 2))
    total = (cells * (coefficients[down, right] @ cells)).sum(axis=(1, 2))
    return np.where(energy > 0, total / np.where(energy > 0, energy, 1), np.nan)


def bands(frequencies):
    """The shares of low, middle and high frequencies: below 1/8, up to 1/4, and above.

    Args:
        frequencies: Floats of any shape; NaN is left out.

    Returns:
        float64 `(3,)`, which sum to 1; NaN where no frequency is known.
    """
    known = np.ravel(frequencies)[~np.isnan(np.ravel(frequencies))]
    if not len(known):
        return np.full(3, np.nan)
    return np.bincount(np.searchsorted([LOW, HIGH], known, "right"), minlength=3) / len(known)


def grid_excess(pictures, strides):
    """How far pictures hold more at the frequencies of a grid than beside them: 1 is no more, 2 twice as much.

    A first layer that moves by `s` pixels lays its filters on a grid of that period on the way down, and where they do
    not overlap enough the grid is seen. It has the frequencies `1/s`, `2/s` ... up to 1/2. Along each direction the
    power per frequency within `1/n` of such a frequency is divided by that between `2/n` and `4/n` from it, `n` being
    the length of the picture, which a Hann window fades out at its ends; the geometric mean over frequencies and
    directions is the result. A spectrum that falls with frequency gives somewhat less than 1, and so do photographs:
    compare with what the images themselves have.

    Args:
        pictures: `(n, height, width, channels)`, signed.
        strides: `(down, right)`, the periods of the grid in pixels.

    Returns:
        float64 `(n,)`; NaN for strides of 1, for a picture of zeros, and for one too small to tell: below about six
        periods of the grid.
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
