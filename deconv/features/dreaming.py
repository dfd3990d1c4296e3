"""DeepDream: amplify in an image what already activates a layer (Mordvintsev, Olah & Tyka, 2015)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tqdm import tqdm

from deconv.features.forward_pass import ForwardPass
from deconv.features.objectives import Objective, deepdream
from deconv.features.resizing import for_pixels
from deconv.graph.compilation import compile_function
from deconv.validation import check_pixels, check_positive, check_seed


def dream(
    model: keras.Model,
    image: ArrayLike,
    layers: str | int | Objective | Sequence[str | int],
    *,
    octaves: int = 4,
    octave_scale: float = 1.4,
    steps: int = 10,
    rate: float = 1.5,
    jitter: int = 32,
    preprocess: Callable[..., Any] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> np.ndarray:
    """Amplify in an image the patterns that activate layers of a network.

    The method of "Inceptionism" (Google Research blog, 2015) with the constants of its published notebook. It maximises
    the mean squared activation of the layers at several sizes of the image. It starts with the smallest; the changes
    are resized and added to the image of the next larger size, so that large shapes are formed first and details are
    added to them. At each step the image is shifted cyclically by random offsets, and changes by `rate` times the
    gradient divided by its mean magnitude. Pixels are clipped to 0 to 255.

    There are three differences from the notebook. The image is downsampled with antialiasing (the bilinear resizing of
    Keras and TensorFlow), not interpolated. Several layers are combined by the mean of their squared activations, not
    the sum, so that a large map does not outweigh a deep one. The layers of a model for one image size run at any
    other, except for dense layers.

    Args:
        model: A functional or Sequential `keras.Model`. It is not changed.
        image: `(height, width, channels)`, in pixel units [0, 255].
        layers: The layers to maximise: one (name, path or index) or several, after their activation function as in the
            original; or an `Objective` for one image, such as `deconv.features.channel("conv5", 7)`.
        octaves: Number of sizes, the largest being that of the image. The smallest must be large enough for the layer.
        octave_scale: Ratio of a size to the next smaller one, above 1.
        steps: Number of ascent steps at each size.
        rate: Mean change of a pixel in a step, in pixel units.
        jitter: Largest shift of the image before a step, in pixels, vertically and horizontally; pixels that leave on
            one side enter on the other.
        preprocess: Preprocessing function of tensors, from pixels to the model's input, such as
            `models.alexnet.preprocess_input`; None for a model that takes pixels.
        seed: Seed of the shifts.
        progress: Whether to show a progress bar.

    Returns:
        float32 array `(height, width, channels)` in pixel units, between 0 and 255.

    Raises:
        ValueError: If an argument is out of range, or a layer does not work at the size of an octave.
    """
    image = check_pixels("image", image)
    check_positive("octaves", octaves), check_positive("steps", steps)
    for name, value, lowest in (("octave_scale", octave_scale, 1), ("rate", rate, 0)):
        if not isinstance(value, Real) or isinstance(value, bool) or not lowest < value < np.inf:
            raise ValueError(f"{name} must be a number above {lowest}; received {value!r}.")
    shifts = _shifts(jitter, octaves, steps, seed)
    objective = _objective(layers)
    sizes = octave_sizes(image.shape[:2], octaves, octave_scale)
    ascents = [_compile_ascent(model, objective, (*size, image.shape[-1]), preprocess, rate) for size in sizes]
    detail = None
    for size, ascend, moves in tqdm(
        zip(sizes, ascents, shifts, strict=True), total=octaves, unit=" octaves", disable=not progress
    ):
        base = tf.image.resize(image, size, antialias=True)
        dreamt = ascend(base if detail is None else base + tf.image.resize(detail, size), tf.constant(moves, tf.int32))
        detail = dreamt - base
    return dreamt.numpy()


def octave_sizes(size: Sequence[int], octaves: int, octave_scale: float) -> list[tuple[int, ...]]:
    """Sizes `(height, width)` of the octaves, rounded, the smallest first; the last is the image's own."""
    return [tuple(max(1, round(side / octave_scale**power)) for side in size) for power in reversed(range(octaves))]


def _objective(layers):
    """The objective for one image: as given, or the mean squared activation of one or several layers."""
    if not isinstance(layers, Objective):
        names = list(layers) if isinstance(layers, list | tuple | range) else [layers]
        if not names:
            raise ValueError("layers must name at least one layer; received none.")
        return sum(deepdream(layer, before=False) for layer in names)
    if len(layers.labels) != 1:
        raise ValueError(f"The objective of dream must be for one image; received one for {len(layers.labels)} images.")
    return layers


def _shifts(jitter, octaves, steps, seed):
    """Shifts of the image before each step, down and to the right: `(octaves, steps, 2)` ints."""
    if jitter != 0:
        check_positive("jitter", jitter)
    return np.random.default_rng(check_seed(seed)).integers(-jitter, jitter + 1, (octaves, steps, 2))


def _compile_ascent(model, objective, shape, preprocess, rate):
    """Compile the ascent at one size: a function of an image and a shift for each step."""
    model_graph = for_pixels(model, [target.layer for target in objective.layers], shape, preprocess)
    forward_pass = ForwardPass(model_graph, objective.layers, image_channels=shape[-1], preprocess=preprocess)

    def step(image, shift):
        moved = tf.roll(image, shift, axis=[0, 1])
        with tf.GradientTape() as tape:
            tape.watch(moved)
            score = objective.score(forward_pass.outputs(moved[None]), tf.zeros(1, tf.int32))
        gradient = tape.gradient(score, moved, unconnected_gradients="zero")
        moved += rate * tf.math.divide_no_nan(gradient, tf.reduce_mean(tf.abs(gradient)))
        return tf.roll(tf.clip_by_value(moved, 0, 255), -shift, axis=[0, 1])

    def ascend(image, shifts):
        return tf.foldl(step, shifts, image)

    return compile_function(ascend, tf.TensorSpec(shape), tf.TensorSpec((None, 2), tf.int32))
