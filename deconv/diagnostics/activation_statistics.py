"""Statistics of the activations of each channel over a data set, accumulated batch by batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deconv.runtime.short_repr import short_repr


class Activity(NamedTuple):
    """Statistics of the activations of a layer over images.

    Attributes:
        images: Number of images.
        active: float64 `(channels,)`, share of the images in which the channel is above zero at any position.
        covered: float64 `(channels,)`, share of all positions at which it is above zero.
        mean, rms: float64 `(channels,)`, mean and root mean square over images and positions.
        deviation: float64 `(channels,)`, standard deviation over images of the mean of the channel in an image.
        correlation: Co-adaptation: the mean absolute correlation over images between the means of two channels, over
            all pairs of channels that vary; NaN if fewer than two do. For independent channels and `n` images it is
            about `0.8 / sqrt(n)` by chance.
        independent: Effective number of independent channels: the participation ratio `(sum l)^2 / sum l^2` of the
            eigenvalues of the covariance of the means. It is between 1, if all channels are proportional, and the
            number of channels or of images. NaN if no channel varies.
    """

    images: int
    active: np.ndarray
    covered: np.ndarray
    mean: np.ndarray
    rms: np.ndarray
    deviation: np.ndarray
    correlation: float
    independent: float

    def __repr__(self) -> str:
        return short_repr(self)


class Tally:
    """Accumulator of the statistics of one layer.

    The covariance is merged batch by batch from deviations (Chan, Golub and LeVeque 1979). Sums of products would lose
    precision by cancellation for channels whose mean is far above their standard deviation. Memory holds the covariance
    of the channels: 134 MB for 4,096 channels.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        self.images = 0
        self.active, self.covered, self.squares, self.mean = np.zeros((4, channels))
        self.scatter = np.zeros((channels, channels))

    def add(self, means: ArrayLike, covered: ArrayLike, squares: ArrayLike) -> None:
        """Add a batch of images.

        Args:
            means: `(n, channels)`, mean of each channel in each image.
            covered: `(n, channels)`, share of the positions that are above zero.
            squares: `(n, channels)`, mean of the squares.
        """
        of_images = np.asarray(means, np.float64)
        count, before = len(of_images), self.images
        self.images += count
        self.active += np.count_nonzero(covered, axis=0)
        self.covered += np.sum(covered, axis=0, dtype=np.float64)
        self.squares += np.sum(squares, axis=0, dtype=np.float64)
        mean = of_images.mean(axis=0)
        difference = mean - self.mean
        self.scatter += (of_images - mean).T @ (of_images - mean)
        self.scatter += np.outer(difference, difference * (before * count / self.images))
        self.mean = self.mean + difference * (count / self.images)

    def activity(self) -> Activity:
        """Compute the `Activity` over all images added so far."""
        covariance = self.scatter / self.images
        deviation = np.sqrt(np.diag(covariance))
        varies = deviation > 1e-7 * np.abs(self.mean)  # smaller deviations are rounding errors
        spread = np.where(varies, deviation, np.inf)
        count = np.count_nonzero(varies)
        correlations = np.abs(covariance / np.outer(spread, spread)).sum() - count  # without the diagonal
        energy = np.square(covariance).sum()
        return Activity(
            images=self.images,
            active=self.active / self.images,
            covered=self.covered / self.images,
            mean=self.mean,
            rms=np.sqrt(self.squares / self.images),
            deviation=deviation,
            correlation=float(correlations / (count * (count - 1))) if count > 1 else np.nan,
            independent=float(np.trace(covariance) ** 2 / energy) if energy > 0 else np.nan,
        )
