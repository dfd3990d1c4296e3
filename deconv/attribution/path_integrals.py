"""Integrated gradients: the contribution of each pixel along the straight line from a baseline to the image."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Literal

import keras
import numpy as np
from numpy.typing import ArrayLike

from deconv.attribution.gradient_averages import along, average
from deconv.attribution.targets import chosen
from deconv.runtime.dtypes import array_of
from deconv.validation import check_positive


def integrated_gradients(
    model: keras.Model,
    images: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    *,
    unit: Literal["max", "map"] | Sequence[int] = "max",
    baseline: ArrayLike = 0.0,
    steps: int = 32,
    tolerance: float | None = 0.01,
    most_steps: int = 2048,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
) -> np.ndarray:
    """Compute the mean gradient on the straight line from a baseline to the image, times their difference.

    Sundararajan, Taly & Yan, arXiv:1703.01365, section 3. The maps sum to the increase of the unit along the line (the
    completeness axiom) as accurately as the integral is computed. The paper advises checking the sum and taking more
    steps where it is inaccurate; this is done here for each image. The integral is computed by Gauss-Legendre
    quadrature, in the paper by a sum of equal steps. The unit is chosen in the image and kept along the line.

    Args:
        model, images, target, layer, unit, input_shape: As for `gradient`.
        baseline: Start of the line, in the units of the model's input: a number, `(channels,)`, one image, or one for
            each. For images preprocessed as in `models`, zero is black for digits and the mean for photographs.
        steps: Number of points on the line at which the gradient is computed.
        tolerance: Largest relative error of the sum (see `completeness`). Images that exceed it are computed again with
            four times as many steps; None computes all with `steps`.
        most_steps: Largest number of steps for an image, whatever its error. A unit whose values at both ends are
            nearly equal, but which varies between them, may need more: the error of the sum is proportional to one over
            the steps, and is divided by a small number.
        batch_size: Number of points, of one or several images, computed at a time.

    Returns:
        Array shaped like `images`, signed, in the units of the layer.

    Raises:
        ValueError: If `baseline` has another shape, `tolerance` is not above zero, or anything does not fit the model.
    """
    check_positive("steps", steps), check_positive("most_steps", most_steps)
    if tolerance is not None and (not isinstance(tolerance, Real) or isinstance(tolerance, bool) or not tolerance > 0):
        raise ValueError(f"tolerance must be a relative error above 0, or None; received {tolerance!r}.")
    units = chosen(model, images, target, layer, unit, batch_size=batch_size, input_shape=input_shape)
    starts = _baselines(baseline, units.images)
    backward = units.gradients()
    increases = None if tolerance is None else units.values - units.values_of(starts, batch_size)
    maps, pending = np.empty_like(units.images), np.arange(len(units.images))
    while len(pending):
        maps[pending] = _integrals(
            backward, units.images[pending], starts[pending], units.signal[pending], steps, batch_size
        )
        if tolerance is None or steps >= most_steps:
            break
        pending = pending[_relative_error(maps[pending], increases[pending]) > tolerance]
        steps = min(4 * steps, most_steps)
    return maps


def completeness(
    model: keras.Model,
    images: ArrayLike,
    maps: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    *,
    unit: Literal["max", "map"] | Sequence[int] = "max",
    baseline: ArrayLike = 0.0,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
) -> np.ndarray:
    """Compute the relative error of the completeness axiom: maps sum to the increase of the unit from the baseline.

    Args:
        maps: Array shaped like `images`, of `integrated_gradients` or any other method.
        model, images, target, layer, unit, baseline, batch_size, input_shape: As for `integrated_gradients`.

    Returns:
        `(n,)` floats, `|sum of the map - (f(image) - f(baseline))| / |f(image) - f(baseline)|`. Where the denominator
        is zero, infinite, or NaN if the map sums to zero too.

    Raises:
        ValueError: If `maps` are not shaped like `images`, or anything does not fit the model.
    """
    units = chosen(model, images, target, layer, unit, batch_size=batch_size, input_shape=input_shape)
    maps = np.asarray(maps)
    if maps.shape != units.images.shape:
        raise ValueError(f"maps must be shaped like the images, {units.images.shape}; received {maps.shape}.")
    return _relative_error(maps, units.values - units.values_of(_baselines(baseline, units.images), batch_size))


def _integrals(backward, images, starts, signal, steps, batch_size):
    """Compute the maps with gradients at `steps` points on the line between each start and its image."""
    points, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1]
    fractions, differences = along((points + 1) / 2, images), images - starts

    def between(numbers, points):
        return (starts[numbers] + fractions[points] * differences[numbers]).astype(images.dtype)

    return differences * average(backward, signal, between, weights / 2, batch_size)


def _relative_error(maps, increases):
    """The difference of the sum of each map from its gain, relative to the gain, `(n,)`."""
    sums = maps.reshape(len(maps), -1).sum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(sums - increases) / np.abs(increases)


def _baselines(baseline, images):
    """A baseline for each image, in their dtype.

    Raises:
        ValueError: If it has another shape, or is not finite and real.
    """
    array = array_of("baseline", baseline)
    shapes = (), images.shape[-1:], images.shape[1:], images.shape
    if array.shape not in shapes or array.dtype.kind == "b" or not np.isfinite(array).all():
        raise ValueError(
            f"baseline must be a finite number, one for each channel ({images.shape[-1]},), an image "
            f"{images.shape[1:]}, or images {images.shape}; received shape {array.shape}, dtype {array.dtype}."
        )
    return np.broadcast_to(array.astype(images.dtype), images.shape)
