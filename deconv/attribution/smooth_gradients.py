"""SmoothGrad: the gradient averaged over noisy copies of the image."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Literal

import keras
import numpy as np
from numpy.typing import ArrayLike

from deconv.attribution.gradient_averages import average
from deconv.attribution.targets import chosen
from deconv.validation import check_positive, check_seed


def smooth_grad(
    model: keras.Model,
    images: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    *,
    unit: Literal["max", "map"] | Sequence[int] = "max",
    noise: float = 0.15,
    samples: int = 50,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Compute the mean gradient over copies of an image with noise (Smilkov et al., arXiv:1706.03825, section 2.2).

    The unit is chosen in the image without noise, and is the same in all its copies.

    Args:
        model, images, target, layer, unit, input_shape: As for `gradient`.
        noise: Standard deviation of the noise, as a fraction of the range of the image from its smallest value to its
            largest; the paper recommends 0.1 to 0.2.
        samples: Number of copies; the paper finds little gain above 50.
        batch_size: Number of noisy images computed at a time. It changes the result only by rounding.
        seed: Seed of the noise.

    Returns:
        Array shaped like `images`, signed, the mean derivative of the unit with respect to every pixel.

    Raises:
        ValueError: If `noise` is negative, or anything does not fit the model.
    """
    if not isinstance(noise, Real) or isinstance(noise, bool) or not 0 <= noise < np.inf:
        raise ValueError(
            f"noise must be a number of at least 0, a fraction of the range of the image; received {noise!r}."
        )
    check_positive("samples", samples)
    random = np.random.default_rng(check_seed(seed))
    units = chosen(model, images, target, layer, unit, batch_size=batch_size, input_shape=input_shape)
    scales = noise * np.ptp(units.images, axis=tuple(range(1, units.images.ndim)), keepdims=True)

    def noisy(numbers, _):
        clean = units.images[numbers]
        return (clean + scales[numbers] * random.standard_normal(clean.shape)).astype(clean.dtype)

    weights = np.full(samples, 1 / samples)
    maps = average(units.gradients(), units.signal, noisy, weights, batch_size)
    return maps.astype(units.images.dtype)
