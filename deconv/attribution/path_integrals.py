"""Integrated gradients: the contribution of each pixel along the straight line from a baseline to the image."""

from numbers import Real

import numpy as np

from deconv.attribution.gradient_averages import along, average
from deconv.attribution.targets import chosen
from deconv.runtime.dtypes import array_of
from deconv.validation import check_positive


def integrated_gradients(
    model,
    images,
    target=None,
    layer=None,
    *,
    unit="max",
    baseline=0.0,
    steps=32,
    tolerance=0.01,
    most_steps=2048,
    batch_size=32,
    input_shape=None,
):
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
    asked = chosen(model, images, target, layer, unit, batch_size=batch_size, input_shape=input_shape)
    starts = _baselines(baseline, asked.images)
    down = asked.gradients()
    gains = None if tolerance is None else asked.values - asked.values_of(starts, batch_size)
    maps, left = np.empty_like(asked.images), np.arange(len(asked.images))
    while len(left):
        maps[left] = _integrals(down, asked.images[left], starts[left], asked.signal[left], steps, batch_size)
        if tolerance is None or steps >= most_steps:
            break
        left = left[_relative_error(maps[left], gains[left]) > tolerance]
        steps = min(4 * steps, most_steps)
    return maps


def completeness(
    model, images, maps, target=None, layer=None, *, unit="max", baseline=0.0, batch_size=32, input_shape=None
):
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
    asked = chosen(model, images, target, layer, unit, batch_size=batch_size, input_shape=input_shape)
    maps = np.asarray(maps)
    if maps.shape != asked.images.shape:
        raise ValueError(f"maps must be shaped like the images, {asked.images.shape}; received {maps.shape}.")
    return _relative_error(maps, asked.values - asked.values_of(_baselines(baseline, asked.images), batch_size))


def _integrals(down, images, starts, signal, steps, batch_size):
    """Compute the maps with gradients at `steps` points on the line between each start and its image."""
    places, weights = np.polynomial.legendre.leggauss(steps)  # on [-1, 1]
    shares, ways = along((places + 1) / 2, images), images - starts

    def between(numbers, places):
        return (starts[numbers] + shares[places] * ways[numbers]).astype(images.dtype)

    return ways * average(down, signal, between, weights / 2, batch_size)


def _relative_error(maps, gains):
    """The difference of the sum of each map from its gain, relative to the gain, `(n,)`."""
    sums = maps.reshape(len(maps), -1).sum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(sums - gains) / np.abs(gains)


def _baselines(baseline, images):
    """A baseline for each image, in their dtype.

    Raises:
        ValueError: If it has another shape, or is not finite and real.
    """
    given = array_of("baseline", baseline)
    shapes = (), images.shape[-1:], images.shape[1:], images.shape
    if given.shape not in shapes or given.dtype.kind == "b" or not np.isfinite(given).all():
        raise ValueError(
            f"baseline must be a finite number, one for each channel ({images.shape[-1]},), an image "
            f"{images.shape[1:]}, or one for each of the {len(images)} images; received shape {given.shape}, dtype "
            f"{given.dtype}."
        )
    return np.broadcast_to(given.astype(images.dtype), images.shape)
