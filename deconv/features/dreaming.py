"""DeepDream: an image changed until a layer sees more of what it sees already (Mordvintsev, Olah & Tyka, 2015)."""

from numbers import Real

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from deconv.features.forward_pass import ForwardPass
from deconv.features.objectives import Objective, deepdream
from deconv.features.resizing import for_pixels
from deconv.graph.compilation import traced
from deconv.validation import check_pixels, check_positive, check_seed


def dream(
    model,
    image,
    layers,
    *,
    octaves=4,
    octave_scale=1.4,
    steps=10,
    rate=1.5,
    jitter=32,
    preprocess=None,
    seed=0,
    progress=False,
):
    """Let a network exaggerate what it sees in an image.

    The method of "Inceptionism" (Google Research blog, 2015) with the constants of its published notebook. It climbs
    the mean square of the layers, at several sizes of the image: first the smallest, whose result is laid over the next
    larger one, so that large shapes come first and details are drawn into them. At each step the image is moved
    around a random way, and changes by `rate` times its gradient over the mean magnitude of that gradient; pixels stay
    between 0 and 255.

    We differ in three things: the image is made smaller with its frequencies cut off (Keras's and TensorFlow's
    antialiased bilinear resizing), not interpolated; several layers count by the mean of their squares, not the sum, so
    that a large map does not outweigh a deep one; and the layers of a model that is made for one image size run at any
    other, dense layers excepted.

    Args:
        model: A functional or Sequential `keras.Model`. It is not changed.
        image: `(height, width, channels)`, in pixel units [0, 255].
        layers: What to see more of: a layer (name, path or index) or several, behind their activation as in the
            original; or an `Objective` for one image, such as `deconv.features.channel("conv5", 7)`.
        octaves: At how many sizes, the largest being the image's own. The smallest must leave the layer a unit.
        octave_scale: Ratio of a size to the next smaller one, above 1.
        steps: Steps of ascent at each size.
        rate: How far pixels move in a step, on average, in pixel units.
        jitter: How far the image is moved around before a step, at most, in pixels down or up and right or left; what
            leaves on one side comes in on the other.
        preprocess: From pixels to what the model takes, a function of tensors, such as
            `models.alexnet.preprocess_input`; None for a model that takes pixels.
        seed: Of the movements.
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
    climbs = [_climb(model, objective, (*size, image.shape[-1]), preprocess, rate) for size in sizes]
    detail = None
    for size, climb, moves in tqdm(
        zip(sizes, climbs, shifts, strict=True), total=octaves, unit=" octaves", disable=not progress
    ):
        base = tf.image.resize(image, size, antialias=True)
        dreamt = climb(base if detail is None else base + tf.image.resize(detail, size), tf.constant(moves, tf.int32))
        detail = dreamt - base
    return dreamt.numpy()


def octave_sizes(size, octaves, octave_scale):
    """Sizes `(height, width)` of the octaves, rounded, the smallest first; the last is the image's own."""
    return [tuple(max(1, round(side / octave_scale**power)) for side in size) for power in reversed(range(octaves))]


def _objective(layers):
    """What is climbed: an objective for one image, or the mean square of layers, one or several."""
    if not isinstance(layers, Objective):
        named = list(layers) if isinstance(layers, list | tuple | range) else [layers]
        if not named:
            raise ValueError("layers must name at least one layer; received none.")
        return sum(deepdream(layer, before=False) for layer in named)
    if len(layers.labels) != 1:
        raise ValueError(f"An objective to dream of must be for one image; received one for {len(layers.labels)}.")
    return layers


def _shifts(jitter, octaves, steps, seed):
    """`(octaves, steps, 2)` ints, how far down and to the right the image moves before each step."""
    if jitter != 0:
        check_positive("jitter", jitter)
    return np.random.default_rng(check_seed(seed)).integers(-jitter, jitter + 1, (octaves, steps, 2))


def _climb(model, objective, shape, preprocess, rate):
    """Compile the ascent at one size: of an image, and a movement for each step."""
    model_graph = for_pixels(model, [target.layer for target in objective.layers], shape, preprocess)
    sight = ForwardPass(model_graph, objective.layers, None, shape[-1], preprocess, None, None, None)

    def step(image, shift):
        moved = tf.roll(image, shift, axis=[0, 1])
        with tf.GradientTape() as tape:
            tape.watch(moved)
            score = objective.score(sight.look(moved[None]), tf.zeros(1, tf.int32))
        gradient = tape.gradient(score, moved, unconnected_gradients="zero")
        moved += rate * tf.math.divide_no_nan(gradient, tf.reduce_mean(tf.abs(gradient)))
        return tf.roll(tf.clip_by_value(moved, 0, 255), -shift, axis=[0, 1])

    def climb(image, shifts):
        return tf.foldl(step, shifts, image)

    return traced(climb, tf.TensorSpec(shape), tf.TensorSpec((None, 2), tf.int32))
