"""Conversion of arrays to displayable intensities. All scaling rules of the figures are in this module.

Images have pixels between 0 and 255. Projections are signed: zero is mid-grey, so that values that excite a unit are
lighter than the background and values that inhibit it are darker, and tiles on one scale can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

SCALES = ("tile", "shared")


def signed(
    pictures: ArrayLike, scale: Literal["tile", "shared"] | float = "tile", percentile: float = 100.0
) -> np.ndarray:
    """Convert signed images to intensities between 0 and 1, with zero at 0.5.

    Args:
        pictures: Float array `(n, height, width, channels)`. NaN (`crop` uses it outside of an image) stays NaN.
        scale: `"tile"` divides each image by its own largest magnitude, as the paper does ("color contrast is
            artificially enhanced", Fig. 4); `"shared"` divides all images by the largest magnitude of all; a number is
            used as the divisor.
        percentile: Percentile of the magnitudes that counts as the largest magnitude; larger values are clipped.

    Returns:
        Array of the same shape. An image that is zero everywhere is mid-grey everywhere.

    Raises:
        ValueError: If `scale` is none of these values.
    """
    pictures = np.asarray(pictures, np.float64)
    sizes = np.abs(pictures).reshape(len(pictures), -1)
    sizes[np.isnan(sizes).all(axis=1)] = 0
    if isinstance(scale, str) and scale == "tile":
        largest = np.nanpercentile(sizes, percentile, axis=1)[:, None, None, None]
    elif isinstance(scale, str) and scale == "shared":
        largest = np.nanpercentile(sizes, percentile)
    elif isinstance(scale, Real) and scale > 0:
        largest = scale
    else:
        raise ValueError(f"scale must be 'tile', 'shared' or a number above zero; received {scale!r}.")
    return 0.5 + 0.5 * np.clip(np.divide(pictures, np.where(np.equal(largest, 0), 1, largest)), -1, 1)


def scale_text(percentile: float) -> str:
    """Describe the value by which `signed` divides each image, for captions and colour bars."""
    return "its own largest magnitude" if percentile == 100 else f"the {percentile:g}th percentile of its magnitudes"


def pixels(images: ArrayLike) -> np.ndarray:
    """Convert images in pixel units (0 to 255) to intensities between 0 and 1."""
    return np.clip(np.asarray(images, np.float64) / 255, 0, 1)


def intensities(images: ArrayLike) -> np.ndarray:
    """Convert images of any scale to intensities between 0 and 1.

    Whole numbers and floats above 1 are pixels (0 to 255) and floats between 0 and 1 intensities. Images with negative
    values, which are preprocessed, are scaled to their common smallest and largest value.
    """
    images = np.asarray(images)
    lowest, highest = (float(images.min()), float(images.max())) if images.size else (0.0, 1.0)
    if lowest < 0:
        return (images - lowest) / ((highest - lowest) or 1.0)
    return pixels(images) if images.dtype.kind in "iub" or highest > 1 else images.astype(np.float64)


def crop(
    pictures: np.ndarray, windows: ArrayLike, size: tuple[int, int] | None = None, outside: float = np.nan
) -> np.ndarray:
    """Cut a window out of each image.

    Windows clipped at the image border are smaller. The missing part is filled with `outside` on the side of that
    border; mosaics draw NaN in the colour of the gaps between tiles.

    Args:
        pictures: `(n, height, width, channels)`.
        windows: `(n, 4)` ints: top, left, bottom, right.
        size: `(height, width)` of the crops; None for the size of the largest window.
        outside: Value of the missing part.

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


def _missing_before(first: int, last: int, length: int, size: int) -> int:
    """Number of cells missing before the first cell of a window: all if the window touches the border only there."""
    missing = size - (last - first)
    if first == 0 and last < length:
        return missing
    return 0 if first > 0 else missing // 2


def mosaic(
    tiles: np.ndarray, columns: int, gap: int = 1, background: float | Sequence[float] | np.ndarray = 1.0
) -> np.ndarray:
    """Arrange tiles row by row in one image.

    Args:
        tiles: `(n, height, width, channels)` intensities between 0 and 1; NaN takes the colour of the gaps.
        columns: Tiles per row.
        gap: Pixels between tiles.
        background: Colour of the gaps and of empty places: an intensity, or `(red, green, blue)`, which converts
            one-channel tiles to colour.

    Returns:
        Image `(height, width, channels)`, ready for `imshow`.
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
