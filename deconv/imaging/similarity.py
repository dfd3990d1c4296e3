"""Similarity of two projections or maps, by four measures, and the edge strength of images.

Rank correlation and structural similarity follow the sanity checks of Adebayo et al. (arXiv:1810.03292), which compare
maps before and after a change. Pearson's correlation depends on the signs of single pixels; after a blur it compares
the coarse distribution of colours. All measures take batches of pairs, and are invariant to multiplication of a map by
a positive number.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from deconv.imaging.gaussian_blur import blurred

_SIDE = 7
"""Side of the windows of `ssim`, in pixels."""

_COARSE = 30
"""The standard deviation of the Gaussian of `coarse` is the shorter side divided by this."""


def similarity(first: ArrayLike, second: ArrayLike, inside: ArrayLike | None = None) -> dict[str, np.ndarray]:
    """Compute all measures, of signed values except for the rank correlation, which is of magnitudes.

    Args:
        first, second: `(n, height, width, channels)`.
        inside: Bools `(n, height, width)`, the pixels that are compared; None for all.

    Returns:
        `{"pearson", "coarse", "spearman", "ssim": (n,) float64}`.
    """
    return {
        "pearson": pearson(first, second, inside),
        "coarse": coarse(first, second, inside),
        "spearman": spearman(np.abs(first), np.abs(second), inside),
        "ssim": ssim(first, second, inside),
    }


def pearson(first: ArrayLike, second: ArrayLike, inside: ArrayLike | None = None) -> np.ndarray:
    """Compute Pearson's correlation over pixels and channels.

    Args:
        first, second: `(n, height, width, channels)`.
        inside: Bools `(n, height, width)`, the pixels that are compared; None for all.

    Returns:
        float64 `(n,)`, from -1 to 1; NaN if one of the two is constant.
    """
    one, two, weight = _flat(first, second, inside)
    one, two = _centred(one, weight), _centred(two, weight)
    size = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(size > 0, np.clip((one * two).sum(axis=1) / size, -1, 1), np.nan)


def coarse(first: ArrayLike, second: ArrayLike, inside: ArrayLike | None = None) -> np.ndarray:
    """Compute Pearson's correlation after a Gaussian blur of a thirtieth of the shorter side; arguments as `pearson`.

    Strokes that are displaced by a few pixels are no longer anticorrelated, so this compares layout and colour.
    """
    width = min(np.shape(first)[1:3]) / _COARSE
    one, two = (blurred(np.asarray(pictures, np.float64), width) for pictures in (first, second))
    return pearson(one, two, inside)


def spearman(first: ArrayLike, second: ArrayLike, inside: ArrayLike | None = None) -> np.ndarray:
    """Compute Spearman's rank correlation; equal values have their mean rank. Arguments as `pearson`."""
    one, two, weight = _flat(first, second, inside)
    ranks_one, ranks_two = (_ranks(np.where(weight, values, np.inf))[:, None, :, None] for values in (one, two))
    unknown = np.isnan(np.where(weight, one + two, 0)).any(axis=1)
    return np.where(unknown, np.nan, pearson(ranks_one, ranks_two, weight[:, None, :]))


def ssim(first: ArrayLike, second: ArrayLike, inside: ArrayLike | None = None) -> np.ndarray:
    """Compute the structural similarity (Wang et al. 2004) of signed maps, each divided by its own largest magnitude.

    It thus compares what `deconv.plotting.signed` draws, with a dynamic range of 2. Windows are 7x7 with uniform
    weights and zero padding, as around a projection; Wang uses Gaussian weights and omits the border. The constants are
    those of the paper, K1 = 0.01 and K2 = 0.03. Channels are averaged.

    Args:
        first, second: `(n, height, width, channels)`.
        inside: Bools `(n, height, width)`, the pixels whose windows are averaged; None for all.

    Returns:
        float64 `(n,)`, at most 1, and 1 for identical maps; NaN if one of the two is zero everywhere.
    """
    one, two = (np.asarray(pictures, np.float64) for pictures in (first, second))
    sizes = [np.abs(pictures).max(axis=(1, 2, 3)) for pictures in (one, two)]
    with np.errstate(invalid="ignore", divide="ignore"):
        one, two = (pictures / size[:, None, None, None] for pictures, size in zip((one, two), sizes, strict=True))
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mean, mean_2 = _window_means(one), _window_means(two)
    variance = _window_means(one**2) - mean**2
    variance_2 = _window_means(two**2) - mean_2**2
    covariance = _window_means(one * two) - mean * mean_2
    likeness = (2 * mean * mean_2 + c1) * (2 * covariance + c2)
    likeness /= (mean**2 + mean_2**2 + c1) * (variance + variance_2 + c2)
    likeness = likeness.mean(axis=3)
    if inside is None:
        return likeness.mean(axis=(1, 2))
    return _mean(likeness.reshape(len(likeness), -1), np.reshape(inside, (len(likeness), -1)))[:, 0]


def edges(images: ArrayLike) -> np.ndarray:
    """Compute the edge strength of images: the norm of the Sobel gradient, maximum over channels.

    Args:
        images: `(n, height, width, channels)`.

    Returns:
        float64 `(n, height, width, 1)`, in units of the image per pixel; the border is extended by its nearest pixel.
    """
    padded = np.pad(np.asarray(images, np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    smooth_down = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    smooth_right = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    right = (smooth_down[:, :, 2:] - smooth_down[:, :, :-2]) / 8
    down = (smooth_right[:, 2:] - smooth_right[:, :-2]) / 8
    return np.hypot(right, down).max(axis=3, keepdims=True)


def magnitude(pictures: ArrayLike) -> np.ndarray:
    """Compute the sum of magnitudes over the channels, `(n, height, width, 1)`."""
    return np.abs(np.asarray(pictures, np.float64)).sum(axis=3, keepdims=True)


def _flat(first, second, inside):
    """Two batches as `(n, values)`, and a mask of the values that are compared."""
    first, second = (np.asarray(pictures, np.float64) for pictures in (first, second))
    if first.shape != second.shape or first.ndim != 4:
        raise ValueError(
            "first and second must have the same shape (n, height, width, channels); received "
            f"{first.shape} and {second.shape}."
        )
    weight = np.ones(first.shape[:3], bool) if inside is None else np.asarray(inside)
    weight = np.broadcast_to(weight[..., None], first.shape)
    return tuple(values.reshape(len(first), -1) for values in (first, second, weight))


def _mean(values, weight):
    """Mean of the values in the mask, `(n, 1)`."""
    with np.errstate(invalid="ignore"):
        return np.where(weight, values, 0).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)


def _centred(values, weight):
    """Values in the mask minus their mean, zero elsewhere; exactly zero for constants, despite rounding of the mean."""
    centred = np.where(weight, values - _mean(values, weight), 0)
    largest = np.where(weight, np.abs(values), 0).max(axis=1, keepdims=True)
    return np.where(np.abs(centred).max(axis=1, keepdims=True) > 1e-12 * largest, centred, 0)


def _ranks(values):
    """Ranks from 0 along each row of `(n, values)`; equal values have their mean rank."""
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    new = np.ones(values.shape, bool)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = np.cumsum(new).reshape(values.shape) - 1
    place = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    mean = np.bincount(group.ravel(), place.ravel()) / np.bincount(group.ravel())
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, mean[group], axis=1)
    return ranks


def _window_means(maps):
    """Mean over the window around each pixel, with zero padding."""
    before = _SIDE // 2 + 1
    sums = np.pad(maps, ((0, 0), (before, _SIDE // 2), (before, _SIDE // 2), (0, 0))).cumsum(axis=1).cumsum(axis=2)
    down = sums[:, _SIDE:] - sums[:, :-_SIDE]
    return (down[:, :, _SIDE:] - down[:, :, :-_SIDE]) / _SIDE**2
