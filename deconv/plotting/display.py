"""From arrays to what a screen can show: the only place with rules of scaling.

Pictures of digits and photographs have pixels between 0 and 255. Projections are signed: zero is mid-grey, so that what
excites a unit is lighter and what inhibits it is darker than the background, and tiles of one scale can be compared.
"""

import numpy as np

SCALES = ("tile", "shared")


def signed(pictures, scale="tile", percentile=100.0):
    """Signed pictures as intensities between 0 and 1, zero at 0.5.

    Args:
        pictures: Float array `(n, height, width, channels)`. NaN, what `crop` puts outside of an image, stays NaN.
        scale: `"tile"` divides each picture by its own largest magnitude, as the paper does ("color contrast is
            artificially enhanced", Fig. 4); `"shared"` divides all by the largest of all; a number divides by it.
        percentile: Which percentile of the magnitudes counts as the largest; what exceeds it is clipped.

    Returns:
        Array of the same shape. A picture that is zero everywhere is grey everywhere.

    Raises:
        ValueError: If `scale` is none of these.
    """
    pictures = np.asarray(pictures, np.float64)
    sizes = np.abs(pictures).reshape(len(pictures), -1)
    sizes[np.isnan(sizes).all(axis=1)] = 0
    if isinstance(scale, str) and scale == "tile":
        largest = np.nanpercentile(sizes, percentile, axis=1)[:, None, None, None]
    elif isinstance(scale, str) and scale == "shared":
        largest = np.nanpercentile(sizes, percentile)
    elif np.isscalar(scale) and not isinstance(scale, str) and scale > 0:
        largest = scale
    else:
        raise ValueError(f"scale must be 'tile', 'shared' or a number above zero; received {scale!r}.")
    return 0.5 + 0.5 * np.clip(np.divide(pictures, np.where(np.equal(largest, 0), 1, largest)), -1, 1)


def pixels(images):
    """Images in pixel units, 0 to 255, as intensities between 0 and 1."""
    return np.clip(np.asarray(images, np.float64) / 255, 0, 1)


def crop(pictures, windows, size=None, outside=np.nan):
    """Cut a window out of each picture.

    Windows that the border has clipped are smaller; what is missing is `outside`, on the side of that border, which the
    mosaics show in the colour of the gaps between tiles.

    Args:
        pictures: `(n, height, width, channels)`.
        windows: `(n, 4)` ints: top, left, bottom, right.
        size: `(height, width)` of the cuts; None for the largest window.

    Returns:
        float64 array `(n, *size, channels)`.
    """
    windows = np.asarray(windows)
    heights, widths = windows[:, 2] - windows[:, 0], windows[:, 3] - windows[:, 1]
    size = size or (int(heights.max()), int(widths.max()))
    cuts = np.full((len(windows), *size, pictures.shape[-1]), outside, np.float64)
    for cut, picture, (top, left, bottom, right) in zip(cuts, pictures, windows, strict=True):
        row = _missing_before(top, bottom, picture.shape[0], size[0])
        column = _missing_before(left, right, picture.shape[1], size[1])
        cut[row : row + bottom - top, column : column + right - left] = picture[top:bottom, left:right]
    return cuts


def _missing_before(first, last, length, size):
    """How many cells a window lacks on the side of its first cell: all if only that side touches the border."""
    missing = size - (last - first)
    if first == 0 and last < length:
        return missing
    return 0 if first > 0 else missing // 2


def mosaic(tiles, columns, gap=1, background=1.0):
    """Tiles side by side, row by row, as one picture.

    Args:
        tiles: `(n, height, width, channels)` intensities between 0 and 1; NaN takes the colour of the gaps.
        columns: Tiles per row.
        gap: Pixels between tiles.
        background: Colour of the gaps and of empty places: an intensity, or `(red, green, blue)`, which makes
            one-channel tiles a colour picture.

    Returns:
        `(height, width, channels)` of the whole, ready for `imshow`.
    """
    background = np.atleast_1d(background)
    count, height, width, channels = tiles.shape
    rows = -(-count // columns)
    size = rows * (height + gap) - gap, columns * (width + gap) - gap
    whole = np.empty((*size, max(channels, len(background))))
    whole[:] = background
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        top, left = row * (height + gap), column * (width + gap)
        whole[top : top + height, left : left + width] = np.where(np.isnan(tile), background, tile)
    return whole
