"""Gaussian blur of images."""

from __future__ import annotations

import numpy as np


def blurred(images: np.ndarray, width: float) -> np.ndarray:
    """Blur images with a Gaussian, truncated at four standard deviations; the border is extended by its nearest pixel.

    Args:
        images: Float array `(..., height, width, channels)`.
        width: Standard deviation of the Gaussian in pixels, above zero.

    Returns:
        Array of the same shape and dtype, computed in float64.
    """
    down, right = (_weights(length, width) for length in images.shape[-3:-1])
    sides = np.einsum("ij,...jkc->...ikc", down, images.astype(np.float64), optimize=True)
    return np.einsum("lk,...ikc->...ilc", right, sides, optimize=True).astype(images.dtype)


def _weights(length, width):
    """`(length, length)`: row i holds the weights of all pixels of an axis in the blurred pixel i."""
    field = int(np.ceil(4 * width))
    offsets = np.arange(-field, field + 1)
    weights = np.exp(-0.5 * np.square(offsets / width))
    rows = np.broadcast_to(np.arange(length)[:, None], (length, len(offsets)))
    matrix = np.zeros((length, length))
    np.add.at(matrix, (rows, np.clip(rows + offsets, 0, length - 1)), weights)
    return matrix / weights.sum()
