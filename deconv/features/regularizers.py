"""Regularisers that suppress high frequencies and isolated pixels while an image is optimised.

There are two kinds: penalties are subtracted from the objective; operations change the image after a step. Both receive
the images of `optimize` minus its `centre`, in pixel units divided by 255. For photographs the centre is the mean
colour of the network, for digits black.

| regulariser               | kind      | source                                                                     |
|---------------------------|-----------|----------------------------------------------------------------------------|
| `l2`                      | penalty   | Simonyan et al., arXiv:1312.6034, section 2                                |
| `variation`               | penalty   | Mahendran & Vedaldi, arXiv:1412.0035, section 2.1                          |
| `decay`                   | operation | Yosinski et al., arXiv:1506.06579, section 3                               |
| `blur`                    | operation | the same                                                                   |
| `clip_norms`              | operation | the same                                                                   |
| `clip_contributions`      | operation | the same                                                                   |
| `norm_ball`               | operation | Erhan et al., "Visualizing Higher-Layer Features of a Deep Network", 2009  |
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deconv.validation import check_positive


class Regularizer(NamedTuple):
    """A penalty or an operation.

    Attributes:
        name: Its name, with the parameters.
        penalty: `penalty(images)` returns floats `(n,)`; None for an operation.
        operation: `operation(images, gradient, step)` returns the changed images, given the images after step number
            `step`, counted from 0, and the gradient before it of the objective minus the penalties, `(n, height, width,
            channels)`. None for a penalty.
    """

    name: str
    penalty: Callable[..., tf.Tensor] | None = None
    operation: Callable[..., tf.Tensor] | None = None


def l2(weight: float) -> Regularizer:
    """Subtract `weight * ||x||²`, the sum of squares over all pixels and channels."""
    _check_number("weight", weight, 0)
    return Regularizer(f"L2 {weight:g}", penalty=lambda images: weight * tf.reduce_sum(tf.square(images), [1, 2, 3]))


def variation(weight: float, beta: float = 2.0) -> Regularizer:
    """Subtract `weight * total_variation(x, beta)`."""
    _check_number("weight", weight, 0)
    _check_number("beta", beta, 0)
    return Regularizer(f"variation {weight:g}", penalty=lambda images: weight * total_variation(images, beta))


def decay(rate: float) -> Regularizer:
    """Shrink the image at every step: `x <- (1 - rate) x`."""
    _check_number("rate", rate, 0, 1)
    return Regularizer(f"decay {rate:g}", operation=lambda images, gradient, step: (1 - rate) * images)


def blur(width: float, every: int = 1) -> Regularizer:
    """Blur with a Gaussian of standard deviation `width` in pixels, every `every` steps: see `blurred`."""
    _check_number("width", width, 0)
    check_positive("every", every)

    def operation(images, gradient, step):
        return tf.cond((step + 1) % every == 0, lambda: blurred(images, width), lambda: images)

    return Regularizer(f"blur {width:g} every {every}", operation=operation)


def clip_norms(percentile: float) -> Regularizer:
    """Set pixels of small norm to zero at every step: see `without_small_norms`."""
    _check_number("percentile", percentile, 0, 100)
    return Regularizer(
        f"norms above {percentile:g} %",
        operation=lambda images, gradient, step: without_small_norms(images, percentile),
    )


def clip_contributions(percentile: float) -> Regularizer:
    """Set pixels of small contribution to zero at every step: see `without_small_contributions`."""
    _check_number("percentile", percentile, 0, 100)
    return Regularizer(
        f"contributions above {percentile:g} %",
        operation=lambda images, gradient, step: without_small_contributions(images, gradient, percentile),
    )


def norm_ball(norm: float, sphere: bool = False) -> Regularizer:
    """Project the images to a ball around zero at every step: see `within_ball`."""
    _check_number("norm", norm, 0)
    return Regularizer(f"norm {norm:g}", operation=lambda images, gradient, step: within_ball(images, norm, sphere))


def total_variation(images: tf.Tensor, beta: float = 2.0) -> tf.Tensor:
    """Compute the total variation: the sum over pixels and channels of `(dx² + dy²) ** (beta / 2)`.

    dx and dy are the differences to the next pixel to the right and below, zero at the last column and row. For beta
    other than 2, 1e-9 is added to the squares, so that the derivative is finite where the image is constant.

    Args:
        images: Tensor `(n, height, width, channels)`.
        beta: 2 for the sum of squares; 1 preserves edges.

    Returns:
        Floats `(n,)`.
    """
    right = tf.pad(images[:, :, 1:] - images[:, :, :-1], [[0, 0], [0, 0], [0, 1], [0, 0]])
    below = tf.pad(images[:, 1:] - images[:, :-1], [[0, 0], [0, 1], [0, 0], [0, 0]])
    squares = tf.square(right) + tf.square(below)
    return tf.reduce_sum(squares if beta == 2 else (squares + 1e-9) ** (beta / 2), axis=[1, 2, 3])


def blurred(images: tf.Tensor, width: float) -> tf.Tensor:
    """Convolve images with a Gaussian of standard deviation `width` in pixels, truncated at four standard deviations.

    The border is continued by reflection, as in `scipy.ndimage.gaussian_filter`, which Yosinski's toolbox uses.
    Channels are not mixed.
    """
    rows, columns = (tf.constant(_gaussian(size, width), images.dtype) for size in images.shape[1:3])
    return tf.einsum("ri,nijc,sj->nrsc", rows, images, columns)


def without_small_norms(images: tf.Tensor, percentile: float) -> tf.Tensor:
    """Set the pixels to zero whose norm over the channels is below a percentile of the norms in the same image."""
    return _above(images, tf.norm(images, axis=-1), percentile)


def without_small_contributions(images: tf.Tensor, gradient: tf.Tensor, percentile: float) -> tf.Tensor:
    """Set the pixels to zero that contribute little to the objective.

    The contribution of a pixel is `|sum over channels of x * gradient|`, the change of the objective, to first order,
    if the pixel is set to zero. Pixels below a percentile of the contributions in the same image are set to zero.
    """
    return _above(images, tf.abs(tf.reduce_sum(images * gradient, axis=-1)), percentile)


def within_ball(images: tf.Tensor, norm: float, sphere: bool = False) -> tf.Tensor:
    """Scale images to a Euclidean norm of at most `norm`, or exactly `norm` for a sphere; zero images stay zero."""
    lengths = tf.sqrt(tf.reduce_sum(tf.square(images), axis=[1, 2, 3], keepdims=True))
    factors = norm / tf.maximum(lengths, 1e-12)
    return images * (factors if sphere else tf.minimum(factors, 1))


def _above(images, sizes, percentile):
    """Set the pixels to zero whose size is below a percentile (as of `np.percentile`) of their image."""
    ordered = tf.sort(tf.reshape(sizes, [-1, sizes.shape[1] * sizes.shape[2]]), axis=1)
    place = percentile / 100 * (ordered.shape[1] - 1)
    low, high = ordered[:, int(np.floor(place))], ordered[:, int(np.ceil(place))]
    limit = low + (high - low) * (place - np.floor(place))
    return tf.where((sizes < limit[:, None, None])[..., None], 0.0, images)


def _gaussian(size, width):
    """The matrix of a Gaussian blur along an axis of length `size`, with reflection at the border."""
    if width == 0:
        return np.eye(size)
    field = int(4 * width + 0.5)
    weights = np.exp(-0.5 * np.square(np.arange(-field, field + 1) / width))
    places = np.mod(np.arange(size)[:, None] + np.arange(-field, field + 1), 2 * size)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], np.minimum(places, 2 * size - 1 - places)), weights / weights.sum())
    return matrix


def _check_number(name, value, low, high=np.inf):
    if not isinstance(value, Real) or isinstance(value, bool) or not low <= value <= high:
        limits = f"from {low:g} to {high:g}" if np.isfinite(high) else f"of at least {low:g}"
        raise ValueError(f"{name} must be a number {limits}; received {value!r}.")
