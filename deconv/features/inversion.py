"""Inversion of a layer: images with the same output of a layer as given ones, which show what it has kept and lost."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv.features.forward_pass import ForwardPass
from deconv.features.objectives import Objective, Target
from deconv.features.optimization import optimize
from deconv.features.parametrizations import pixels
from deconv.features.regularizers import Regularizer, total_variation
from deconv.features.resizing import for_pixels
from deconv.graph.compilation import compile_function
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_finite, check_pixels, check_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPREAD = 64.0
"""Approximate standard deviation of the pixels of photographs, in pixel units."""

_SIDE = 227
"""Side length of the images of Mahendran & Vedaldi, in pixels."""


class Inversion(NamedTuple):
    """Images reconstructed from the output of a layer.

    Attributes:
        images: float32 `(n, height, width, channels)`, pixels from 0 to 255.
        errors: float32 `(n,)`, `|f(x) - f(x0)|² / |f(x0)|²` for the outputs f of the layer: 0 if they are equal. The
            square root is the distance in units of the norm of f(x0).
        history: float32 `(n, steps)`, the error before each step.
        variation_weight: The weight of the total variation.
    """

    images: np.ndarray
    errors: np.ndarray
    history: np.ndarray
    variation_weight: float

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, images: np.ndarray, layer: str = "layer", title: str = "Inversion of features") -> Figure:
        """Draw the reconstructions below their images `(n, height, width, 1 or 3)` (`plotting.inversion_sheet`)."""
        from deconv.plotting import inversion_sheet, pixels

        return inversion_sheet(pixels(images), {layer: (pixels(self.images), self.errors)}, title)


def invert(
    model: keras.Model,
    images: ArrayLike,
    layer: str | int,
    *,
    steps: int = 400,
    variation_weight: float | None = None,
    norm_weight: float = 0.01,
    learning_rate: float = 4.0,
    before: bool = False,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 32,
    seed: int = 0,
    progress: bool = False,
) -> Inversion:
    """Reconstruct images from the output of a layer, starting from noise.

    The method of Mahendran & Vedaldi (arXiv:1412.0035, section 2). The loss is

        |f(x) - f(x0)|² / |f(x0)|²  +  norm_weight * mean(z⁶)  +  variation_weight * V(x)

    where z is the pixels minus the colour that `preprocess` maps to zero, divided by 255. V is half the sum of the
    squared differences of neighbouring pixels (the total variation with beta = 2), divided by the energy of a
    photograph of 227 x 227 pixels, `64² * 227² * channels`. Differences from the paper:

    - The sum is not divided by the number of pixels of the image. It hardly depends on the resolution of an image, so
      one weight fits digits and photographs.
    - Their weights are 1, 10 and 100 for the lower, middle and upper third of CaffeNet's layers. Smoothness has to
      replace the information that a layer has lost, so the default here is twice the ratio of the number of values of
      the image to that of the layer, at most 100: 1.1 for AlexNet's conv1, 4.8 for conv3, 7 for conv5, 100 for ten
      classes; 0.3 for LeNet-5's conv1, 13 for fc3.
    - Their norm keeps pixels in their range, with a weight equivalent to about 27 here. Here pixels are clipped to
      their range; the norm only pulls pixels that do not affect the layer towards zero.
    - The optimiser is Adam (`deconv.features.optimization`), not momentum with three learning rates.

    The errors alone do not measure what a layer has lost: the output of a layer with few values is easily matched. For
    LeNet-5, conv1 reproduces the digits (a relative distance, the root of the error, of 1 %, and a correlation of 1.00
    with their pixels), pool2 gives similar digits (about 22 %, 0.75), fc4 hardly any resemblance (15 %, 0 to 0.2).

    Args:
        model: A functional or Sequential `keras.Model`. It is not changed.
        images: `(n, height, width, channels)` in pixel units [0, 255]; also of another size than the model's, if the
            layers support it.
        layer: Name, path or index.
        steps: Number of update steps.
        variation_weight: Weight of the total variation; None for twice the ratio of the number of values of an image to
            that of the layer's output, at most 100.
        norm_weight: Weight of the sixth powers.
        learning_rate: Learning rate of Adam, in pixel units.
        before: Whether to invert the output before the activation function; the paper takes each layer as it is.
        preprocess: Preprocessing function of tensors, from pixels to the model's input; None for a model that takes
            pixels.
        batch_size: Number of images computed at a time.
        seed: Seed of the noise.
        progress: Whether to show a progress bar.

    Returns:
        `Inversion`.

    Raises:
        ValueError: If an argument does not fit the model, or the output of the layer is all zeros for an image.
    """
    images = check_pixels("images", images, ("n", "height", "width", "channels"))
    for name, weight in (("variation_weight", variation_weight or 0), ("norm_weight", norm_weight)):
        if not isinstance(weight, Real) or isinstance(weight, bool) or not 0 <= weight < np.inf:
            raise ValueError(f"{name} must be a number of at least 0; received {weight!r}.")
    target = Target(layer, before)
    model_graph = for_pixels(model, layer, images.shape[1:], preprocess)
    codes = _codes(
        ForwardPass(model_graph, [target], image_channels=images.shape[-1], preprocess=preprocess),
        images,
        layer,
        batch_size,
    )
    sizes = tf.reduce_sum(tf.square(codes), axis=1)
    zero = np.flatnonzero(sizes.numpy() == 0)
    if len(zero):
        raise ValueError(
            f"Layer {layer!r} outputs only zeros for image {zero[0]}, so there is nothing to invert. "
            "Choose a lower layer, other images, or before=True."
        )
    if variation_weight is None:
        variation_weight = min(100.0, 2 * images[0].size / codes.shape[1])

    def score(values, numbers):
        code = tf.reshape(values[target], [-1, codes.shape[1]])
        return -tf.reduce_sum(tf.square(code - tf.gather(codes, numbers)), axis=1) / tf.gather(sizes, numbers)

    result = optimize(
        model_graph,
        Objective(tuple(f"{layer} of image {number}" for number in range(len(images))), (target,), score),
        steps=steps,
        parametrization=pixels(),
        regularizers=(sixth_powers(norm_weight), roughness(variation_weight)),
        learning_rate=learning_rate,
        image_channels=images.shape[-1],
        preprocess=preprocess,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
    )
    return Inversion(result.images, -result.scores, -result.history, float(variation_weight))


def sixth_powers(weight: float) -> Regularizer:
    """Subtract `weight` times the mean of the sixth powers of an image: an alpha-norm with alpha = 6."""
    return Regularizer(f"norm {weight:g}", penalty=lambda images: weight * tf.reduce_mean(images**6, axis=[1, 2, 3]))


def roughness(weight: float) -> Regularizer:
    """Subtract `weight` times the total variation of an image, in the units of `invert`."""

    def penalty(images):
        energy = (_SPREAD / 255 * _SIDE) ** 2 * images.shape[-1]
        return weight * total_variation(images) / (2 * energy)

    return Regularizer(f"roughness {weight:g}", penalty=penalty)


def _codes(forward_pass, images, layer, batch_size):
    """The output of the layer for images, as a tensor `(n, values)`."""

    def code_of(batch):
        (values,) = forward_pass.outputs(batch).values()
        return tf.reshape(values, [-1, np.prod(values.shape[1:])])

    code_of = compile_function(code_of, tf.TensorSpec((None, *images.shape[1:])))
    starts = range(0, len(images), check_positive("batch_size", batch_size))
    codes = tf.concat([code_of(tf.constant(images[start : start + batch_size])) for start in starts], axis=0)
    check_finite(codes.numpy(), layer)
    return codes
