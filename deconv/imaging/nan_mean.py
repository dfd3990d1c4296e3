"""Means and standard deviations that ignore NaN, and are NaN where all values are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def nan_mean(values: ArrayLike, axis: int = 0) -> np.ndarray:
    """Compute the mean along an axis, ignoring NaN.

    Unlike `np.nanmean`, it does not warn where all values are NaN.

    Args:
        values: Float array of any shape.
        axis: The axis that is averaged.

    Returns:
        Float array without this axis; NaN where all values are NaN.
    """
    values = np.asarray(values)
    return _mean_of(values, ~np.isnan(values), axis)


def nan_mean_and_std(values: ArrayLike, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean and the standard deviation along an axis, ignoring NaN.

    Args:
        values: Float array of any shape.
        axis: The axis that is averaged.

    Returns:
        `(mean, standard deviation)`, float arrays without this axis; NaN where all values are NaN.
    """
    values = np.asarray(values)
    is_known = ~np.isnan(values)
    mean = _mean_of(values, is_known, axis)
    return mean, np.sqrt(_mean_of(np.square(values - np.expand_dims(mean, axis)), is_known, axis))


def _mean_of(values: np.ndarray, mask: np.ndarray, axis: int) -> np.ndarray:
    """Mean of the values in the mask along an axis; NaN where the mask is empty."""
    with np.errstate(invalid="ignore"):
        return np.where(mask, values, 0).sum(axis=axis) / mask.sum(axis=axis)
