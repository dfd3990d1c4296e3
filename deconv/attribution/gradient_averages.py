"""Averages of gradients at many points around each image, in batches across images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike


def average(
    backward: Callable[..., tuple[tf.Tensor, tf.Tensor]],
    signal: np.ndarray,
    points: Callable[[np.ndarray, np.ndarray], np.ndarray],
    weights: ArrayLike,
    batch_size: int,
) -> np.ndarray:
    """Compute a weighted sum of gradients at several points for each image.

    Args:
        backward: Function from images and a signal to the values of a layer and the gradient (see
            `deconv.graph.modified_gradients.gradients`).
        signal: `(n, ...)`, the gradient at the layer for each image, used at all its points.
        points: Function from two int arrays `(m,)`, image numbers and point numbers, to points `(m, *shape)`. It is
            called with the points in order: all of the first image, then all of the second, and so on.
        weights: `(points,)`.
        batch_size: Number of points computed, and held in memory, at a time.

    Returns:
        float64 `(n, *shape)`, shaped like the images, of any rank.
    """
    weights = np.asarray(weights)
    total = np.zeros(0)
    pairs = np.arange(len(signal) * len(weights))
    for first in range(0, len(pairs), batch_size):
        numbers, places = np.divmod(pairs[first : first + batch_size], len(weights))
        gradients = backward(points(numbers, places), signal[numbers])[1].numpy()
        if first == 0:
            total = np.zeros((len(signal), *gradients.shape[1:]))
        changed, starts = np.unique(numbers, return_index=True)
        total[changed] += np.add.reduceat(along(weights[places], gradients) * gradients, starts, axis=0)
    return total


def along(values: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Reshape values `(n,)`, one for each image, for multiplication with images of any rank."""
    return values.reshape(-1, *(1,) * (images.ndim - 1))
