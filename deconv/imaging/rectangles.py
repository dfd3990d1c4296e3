"""Masks of rectangles of an image, and images with rectangles filled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from deconv.runtime.dtypes import as_dtype


def hide(images: np.ndarray, rectangles: ArrayLike, fill: ArrayLike = 0.0) -> np.ndarray:
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


def cover(image: np.ndarray, tops: np.ndarray, lefts: np.ndarray, size: Sequence[int], fill: ArrayLike) -> np.ndarray:
    """Return one copy of an image for each position of an occluding patch, with the patch filled.

    Args:
        image: `(height, width, channels)`.
        tops, lefts: Ints `(n,)`, corners of the patches.
        size: `(rows, columns)` of a patch.
        fill: A number, one per channel, or an image.

    Returns:
        `(n, height, width, channels)`.
    """
    rows = axis_masks(tops, size[0], image.shape[0])
    columns = axis_masks(lefts, size[1], image.shape[1])
    return np.where((rows[:, :, None] & columns[:, None, :])[..., None], fill, image)


def axis_masks(places: np.ndarray, size: int, length: int) -> np.ndarray:
    """Return `(positions, length)` bools: the pixels of an axis that a patch of `size` at each position covers."""
    pixel = np.arange(length)
    return (pixel >= places[:, None]) & (pixel < places[:, None] + size)


def window_masks(windows: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Return bools `(n, height, width)`: the pixels inside each window `(top, left, bottom, right)`."""
    top, left, bottom, right = (side[:, None] for side in windows.T)
    rows, columns = np.arange(size[0]), np.arange(size[1])
    return ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]
