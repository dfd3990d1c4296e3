"""The mean of gradients at many points around each image, in batches of any images' points."""

import numpy as np


def average(down, signal, points, weights, batch_size):
    """Sum gradients with weights, for each image over its own points.

    Args:
        down: Function of images and a signal that returns the values of a layer and the gradient (see
            `backward.gradients`).
        signal: `(n, ...)`, what goes down for each image, at all its points.
        points: Function of two int arrays `(m,)`, numbers of images and numbers of points, that gives `(m, *shape)`. It
            is asked for each image in turn for its first point, its second, and so on.
        weights: `(points,)`.
        batch_size: How many points are computed at a time; memory holds no more of them.

    Returns:
        float64 `(n, *shape)`, shaped like the images, of whatever rank.
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
    """Values, `(n,)`, one for each image, in a shape that is multiplied with images of any rank."""
    return values.reshape(-1, *(1,) * (images.ndim - 1))
