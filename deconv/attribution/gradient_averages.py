"""Averages of gradients at many points around each image, in batches across images."""

import numpy as np


def average(down, signal, points, weights, batch_size):
    """Compute a weighted sum of gradients at several points for each image.

    Args:
        down: Function from images and a signal to the values of a layer and the gradient (see
            `deconv.graph.modified_gradients.gradients`).
        signal: `(n, ...)`, the gradient at the layer for each image, used at all its points.
        points: Function from two int arrays `(m,)`, image numbers and point numbers, to points `(m, *shape)`. It is
            called with the points in order: all of the first image, then all of the second, and so on.
        weights: `(points,)`.
        batch_size: Number of points computed, and held in memory, at a time.

    Returns:
        float64 `(n, *shape)`, shaped like the images, of any rank.
    """
    total, weights = None, np.asarray(weights)
    everything = np.arange(len(signal) * len(weights))
    for first in range(0, len(everything), batch_size):
        numbers, places = np.divmod(everything[first : first + batch_size], len(weights))
        slopes = down(points(numbers, places), signal[numbers])[1].numpy()
        total = np.zeros((len(signal), *slopes.shape[1:])) if total is None else total
        mine, starts = np.unique(numbers, return_index=True)
        total[mine] += np.add.reduceat(along(weights[places], slopes) * slopes, starts, axis=0)
    return total


def along(values, images):
    """Reshape values `(n,)`, one for each image, for multiplication with images of any rank."""
    return values.reshape(-1, *(1,) * (images.ndim - 1))
