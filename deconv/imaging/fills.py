"""Fill values for occluded pixels, shared by occlusion, deletion and insertion curves, and correspondence."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from deconv.runtime.dtypes import as_dtype
from deconv.validation import check_fill

MEAN_GREY = 128.0
"""Default fill value for images in pixel units, 0 to 255."""


def fill_of(fill: ArrayLike | None, images: np.ndarray, in_pixels: bool) -> np.ndarray:
    """Return the fill value for occluded pixels, in the dtype of the images.

    Args:
        fill: A number, one per channel, or an image `(height, width, channels)`, in the units of `images`; None for
            `default_fill`.
        images: `(height, width, channels)` or `(n, height, width, channels)`.
        in_pixels: Whether the images are known to be in pixel units.

    Raises:
        ValueError: If it has another shape, is not finite, or does not fit into the dtype of the images.
    """
    fill = default_fill(images, in_pixels) if fill is None else fill
    return as_dtype("fill", check_fill(fill, images.shape[-3:]), images.dtype)


def default_fill(images: np.ndarray, in_pixels: bool) -> float | np.ndarray:
    """Return the default fill value for occluded pixels, a mean grey.

    Args:
        images: `(..., channels)`.
        in_pixels: Whether the images are known to be in pixel units.

    Returns:
        `MEAN_GREY` for images in pixel units. Otherwise the range is unknown, and the result is the mean of each
        channel, `(channels,)`, rounded for integer dtypes, with 0 for means that are not finite.
    """
    if in_pixels:
        return MEAN_GREY
    try:
        mean = images.astype(np.float64).mean(axis=tuple(range(images.ndim - 1)))
    except (TypeError, ValueError):  # not numeric; rejected later, by the check of the images
        return 0.0
    mean = np.where(np.isfinite(mean), mean, 0.0)
    return np.round(mean) if np.issubdtype(images.dtype, np.integer) else mean
