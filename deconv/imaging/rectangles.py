"""Masks of rectangles of an image, and images with rectangles filled."""

import numpy as np

from deconv.runtime.dtypes import as_dtype


def hide(images, rectangles, fill=0.0):
    """Fill one rectangle in each image.

    Args:
        images: `(n, height, width, channels)`.
        rectangles: Ints `(n, 4)`: top, left, bottom, right.
        fill: A number, one per channel, or an image.

    Returns:
        Array of the same shape and dtype.
    """
    top, left, bottom, right = np.asarray(rectangles).T[..., None]
    row, column = np.arange(images.shape[1]), np.arange(images.shape[2])
    rows, columns = (row >= top) & (row < bottom), (column >= left) & (column < right)
    fill = as_dtype("fill", fill, images.dtype)
    return np.where((rows[:, :, None] & columns[:, None, :])[..., None], fill, images)


def cover(image, tops, lefts, size, fill):
    """Return one copy of an image for each position of an occluding patch, with the patch filled.

    Args:
        image: `(height, width, channels)`.
        tops, lefts: Ints `(n,)`, corners of the patches.
        size: `(rows, columns)` of a patch.
        fill: A number, one per channel, or an image.

    Returns:
        `(n, height, width, channels)`.
    """
    rows = covers(tops, size[0], image.shape[0])
    columns = covers(lefts, size[1], image.shape[1])
    return np.where((rows[:, :, None] & columns[:, None, :])[..., None], fill, image)


def covers(places, size, length):
    """Return `(positions, length)` bools: the pixels of an axis that a patch of `size` at each position covers."""
    pixel = np.arange(length)
    return (pixel >= places[:, None]) & (pixel < places[:, None] + size)


def insides(windows, size):
    """Return bools `(n, height, width)`: the pixels inside each window `(top, left, bottom, right)`."""
    top, left, bottom, right = (side[:, None] for side in windows.T)
    rows, columns = np.arange(size[0]), np.arange(size[1])
    return ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]
