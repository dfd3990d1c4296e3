"""How active each channel of a layer is over a data set, from sums that grow batch by batch."""

from typing import NamedTuple

import numpy as np

from deconv.runtime.short_repr import short_repr


class Activity(NamedTuple):
    """A layer's activity over some images.

    Attributes:
        images: How many there were.
        active: float64 `(channels,)`, in which share of the images the channel is above zero anywhere.
        covered: float64 `(channels,)`, at which share of all positions it is.
        mean, rms: float64 `(channels,)`, over images and positions.
        deviation: float64 `(channels,)`, the standard deviation over images of the channel's mean in the image.
        correlation: Co-adaptation: the mean absolute correlation, over images, between the means of two channels, all
            pairs of those that vary; NaN if fewer than two do. Of `n` images it is about `0.8 / sqrt(n)` by chance.
        independent: How many channels vary independently: the participation ratio `(sum l)^2 / sum l^2` of the
            eigenvalues of the means' covariance. Between 1, all do the same, and the number of channels, or of images;
            NaN if none varies.
    """

    images: int
    active: np.ndarray
    covered: np.ndarray
    mean: np.ndarray
    rms: np.ndarray
    deviation: np.ndarray
    correlation: float
    independent: float

    __repr__ = short_repr


class Tally:
    """What is known of a layer so far. It takes as much memory as the covariance: 134 MB for 4,096 channels.

    The covariance is merged batch by batch from deviations, not from sums of products, which would cancel out for
    channels whose mean is far above their spread (Chan, Golub and LeVeque 1979).
    """

    def __init__(self, channels):
        self.images = 0
        self.active, self.covered, self.squares, self.mean = np.zeros((4, channels))
        self.scatter = np.zeros((channels, channels))

    def add(self, means, covered, squares):
        """A batch: for each image and channel the mean, the share above zero and the mean square, `(n, channels)`."""
        means = np.asarray(means, np.float64)
        count, before = len(means), self.images
        self.images += count
        self.active += np.count_nonzero(covered, axis=0)
        self.covered += np.sum(covered, axis=0, dtype=np.float64)
        self.squares += np.sum(squares, axis=0, dtype=np.float64)
        mean = means.mean(axis=0)
        apart = mean - self.mean
        self.scatter += (means - mean).T @ (means - mean)
        self.scatter += np.outer(apart, apart * (before * count / self.images))
        self.mean = self.mean + apart * (count / self.images)

    def activity(self):
        """The `Activity` over all images so far."""
        covariance = self.scatter / self.images
        deviation = np.sqrt(np.diag(covariance))
        varies = deviation > 1e-7 * np.abs(self.mean)  # else it is rounding
        spread = np.where(varies, deviation, np.inf)
        count = np.count_nonzero(varies)
        coherent = np.abs(covariance / np.outer(spread, spread)).sum() - count
        energy = np.square(covariance).sum()
        return Activity(
            self.images,
            self.active / self.images,
            self.covered / self.images,
            self.mean,
            np.sqrt(self.squares / self.images),
            deviation,
            float(coherent / (count * (count - 1))) if count > 1 else np.nan,
            float(np.trace(covariance) ** 2 / energy) if energy > 0 else np.nan,
        )
