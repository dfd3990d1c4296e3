"""What takes the place of pixels that are hidden, where occlusion, curves and correspondence hide them."""

import numpy as np

from deconv.runtime.dtypes import as_dtype
from deconv.validation import check_fill

MEAN_GREY = 128.0
"""What hides by default where images are in pixel units, 0 to 255."""


def fill_of(fill, images, in_pixels) -> np.ndarray:
    """What hides pixels, in the dtype of the images.

    Args:
        fill: A number, one per channel, or an image `(height, width, channels)`, in the units of `images`; None for
            `default_fill`.
        images: `(height, width, channels)`, or several, `(n, height, width, channels)`.
        in_pixels: Whether they are known to be in pixel units.

    Raises:
        ValueError: If it has another shape, is not finite, or does not fit into the dtype of the images.
    """
    fill = default_fill(images, in_pixels) if fill is None else fill
    return as_dtype("fill", check_fill(fill, images.shape[-3:]), images.dtype)


def default_fill(images, in_pixels):
    """What hides pixels where nothing is said: mean grey.

    Args:
        images: `(..., channels)`.
        in_pixels: Whether they are known to be in pixel units.

    Returns:
        `MEAN_GREY` for pixels; else, because the range is not known, the mean of each channel, `(channels,)`, rounded
        for whole numbers; 0 where that is no finite number.
    """
    if in_pixels:
        return MEAN_GREY
    try:
        mean = images.astype(np.float64).mean(axis=tuple(range(images.ndim - 1)))
    except (TypeError, ValueError):  # no numbers, which is refused where images are checked
        return 0.0
    mean = np.where(np.isfinite(mean), mean, 0.0)
    return np.round(mean) if np.issubdtype(images.dtype, np.integer) else mean
