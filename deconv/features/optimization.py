"""Optimise images by gradient ascent on an objective, compiled once and run on batches of images.

This corresponds to `render`, the last of Lucid's four components (Olah, Mordvintsev & Schubert, "Feature
Visualization", Distill 2017): an image is computed from parameters, transformed and passed through the network, and the
parameters are updated by the gradient of the objective.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tqdm import tqdm

from deconv import graph
from deconv.features.forward_pass import ForwardPass
from deconv.features.objectives import Objective
from deconv.features.parametrizations import Parametrization, parametrization_of
from deconv.features.regularizers import Regularizer
from deconv.features.transforms import Transform, apply, check_sizes
from deconv.graph.compilation import compile_function
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_positive, check_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ("adam", "gradient", "normalized", "momentum")
_STEPS_PER_CALL = 8
"""Number of steps between updates of the progress bar."""


class Visualization(NamedTuple):
    """Optimised images, one for each label of the objective.

    Attributes:
        images: float32 `(n, height, width, channels)`, pixels from 0 to 255.
        scores: float32 `(n,)`, the objective of each final image, without transforms and penalties.
        history: float32 `(n, steps)`, the objective of the transformed image before each step.
        labels: One label for each image.
    """

    images: np.ndarray
    scores: np.ndarray
    history: np.ndarray
    labels: tuple[str, ...]

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, title: str = "Optimized images", columns: int = 8) -> Figure:
        """Draw the images with their targets and scores (`plotting.visualization_sheet`)."""
        from deconv.plotting import pixels, visualization_sheet

        captions = [f"{label}: {score:.3g}" for label, score in zip(self.labels, self.scores, strict=True)]
        return visualization_sheet({"": (pixels(self.images), captions)}, title, columns)


def optimize(
    model: keras.Model | graph.Graph,
    objective: Objective | list[Objective] | tuple[Objective, ...],
    *,
    steps: int = 512,
    parametrization: Literal["fourier", "pixels"] | Parametrization = "fourier",
    transforms: list[Transform] | tuple[Transform, ...] = (),
    regularizers: list[Regularizer] | tuple[Regularizer, ...] = (),
    learning_rate: float = 0.05,
    method: Literal["adam", "gradient", "normalized", "momentum"] = "adam",
    size: int | Sequence[int] | None = None,
    image_channels: int | None = None,
    preprocess: Callable[..., Any] | None = None,
    start: ArrayLike | None = None,
    centre: ArrayLike | None = None,
    fill: ArrayLike | None = None,
    helped_steps: int = 16,
    batch_size: int = 32,
    seed: int = 0,
    input_shape: Sequence[int] | None = None,
    progress: bool = False,
) -> Visualization:
    """Optimise images that maximise an objective.

    The update step, with its gradient, is compiled once for each objective and runs on `batch_size` images at a time.
    The numbers of the images are an input of the compiled function. The random numbers of an image depend on `seed` and
    its place among the labels of the objective, not on the batch.

    In the first steps the gradient also passes rectifiers that would block all of it, as in Lucid; otherwise an image
    for which all of them are off could not change. Let R be the gradient from above, for one image of the batch. If R
    is zero wherever the rectifier is on, R is passed where the rectifier is on or R is positive, which increases units
    that are off. Otherwise, and after `helped_steps` steps, R is passed where the rectifier is on. (Lucid does this for
    its first 16 steps.)

    Args:
        model: A functional or Sequential `keras.Model`, or a `deconv.graph.model_graph.Graph`.
        objective: An `Objective`, or a list of them that are optimised one after the other.
        steps: Number of update steps.
        parametrization: `"fourier"`, `"pixels"`, or a `Parametrization`.
        transforms: `Transform`s, applied in this order, drawn anew for each image and step. The result is cropped, or
            padded, around its centre to the input size of the model.
        regularizers: `Regularizer`s, penalties and operations on the image, applied in this order.
        learning_rate: Learning rate of Adam, in the units of the parameters. For `"normalized"` the mean change of the
            parameters in a step; for the other methods the factor of the gradient.
        method: `"adam"` with its usual constants; `"gradient"`; `"normalized"`, the gradient of each image divided by
            its mean magnitude, as in DeepDream; or `"momentum"`, with momentum 0.9.
        size: `(height, width)` of the images, if other than the model's; only convolutions and poolings support this.
        image_channels: Number of channels of the images, if `preprocess` converts them to another number for the model.
        preprocess: Preprocessing function of tensors, from pixels, 0 to 255, to the model's input, as those of
            `models`; None for a model that takes pixels.
        start: Initial images in pixels, `(height, width, channels)` or one for each label; None for the noise of the
            parametrization.
        centre: The colour that regularisers treat as zero, a pixel value or one per channel; None for the colour that
            `preprocess` maps to zero, or mid-grey if it does not treat pixels one by one.
        fill: The colour of pixels that transforms bring in from outside the image, a pixel value or one per channel;
            None for `centre`.
        helped_steps: Number of first steps in which rectifiers pass more of the gradient, as above; 0 for none.
        batch_size: Number of images computed at a time.
        seed: Seed of the initial noise and of the transforms.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        progress: Whether to show a progress bar.

    Returns:
        `Visualization`.

    Raises:
        ValueError: If an argument is invalid or does not fit the model, or the objective becomes NaN or infinite.
    """
    objectives = list(objective) if type(objective) in (list, tuple) else [objective]
    for one in objectives:
        if not isinstance(one, Objective):
            raise ValueError(f"objective must be an Objective, for example neuron('conv1', 0); received {one!r}.")
    if not objectives:
        raise ValueError("objective must contain at least one Objective; received none.")
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        check_positive(name, value)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; received {method!r}.")
    if not isinstance(learning_rate, Real) or not 0 < learning_rate < np.inf:
        raise ValueError(f"learning_rate must be a number above zero; received {learning_rate!r}.")
    if check_seed(seed) >= 2**31:
        raise ValueError(f"seed must be below 2**31; received {seed}.")
    if not isinstance(regularizers, list | tuple) or not all(isinstance(one, Regularizer) for one in regularizers):
        raise ValueError(
            "regularizers must be a list or tuple of results of l2, variation, decay, blur, clip_norms, "
            f"clip_contributions or norm_ball, such as (l2(0.1),); received {regularizers!r}."
        )
    if helped_steps != 0:
        check_positive("helped_steps", helped_steps)
    random = np.random.default_rng(seed)
    settings = {"size": size, "image_channels": image_channels, "preprocess": preprocess, "input_shape": input_shape}
    forward_passes = [ForwardPass(model, one.layers, centre=centre, fill=fill, **settings) for one in objectives]
    check_sizes(transforms, forward_passes[0].shape[:2])
    counts = [len(one.labels) for one in objectives]
    starts = np.split(_starts(start, sum(counts), forward_passes[0].shape), np.cumsum(counts)[:-1])
    pixel_map, rule = parametrization_of(parametrization), (method, learning_rate, helped_steps)
    parts: list[tuple[np.ndarray, ...]] = []
    with tqdm(total=steps * sum(counts), unit=" steps", disable=not progress) as bar:
        for one, forward_pass, own in zip(objectives, forward_passes, starts, strict=True):
            ascent = _Ascent(forward_pass, one, pixel_map, transforms, regularizers, rule, seed)
            parts += ascent.ascend(steps, len(own) if one.together else batch_size, own, random, bar)
    images, scores, history = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Visualization(images, scores, history, tuple(label for one in objectives for label in one.labels))


class _Ascent:
    """The compiled ascent of one objective."""

    def __init__(self, forward_pass, objective, parametrization, transforms, regularizers, rule, seed):
        self._forward_pass, self._objective, self._parametrization = forward_pass, objective, parametrization
        self._transforms, self._seed = transforms, seed
        self._method, self._rate, self._helped = rule
        self._penalties = [one.penalty for one in regularizers if one.penalty is not None]
        self._operations = [one.operation for one in regularizers if one.operation is not None]
        self._advance = self._evaluate = None

    def ascend(self, steps, batch_size, starts, random, bar):
        """Optimise the images batch by batch; yields `(images, scores, history)` of each."""
        count = len(self._objective.labels)
        for first in range(0, count, batch_size):
            numbers = np.arange(first, min(first + batch_size, count), dtype=np.int32)
            if starts[0] is None:
                parameters = self._parametrization.start(
                    random, (len(numbers), *self._forward_pass.shape), self._forward_pass.centre.numpy()
                )
            else:
                parameters = self._parametrization.parameters(starts[numbers])
            parameters = tf.convert_to_tensor(parameters)
            if self._advance is None:
                self._compile(parameters)
            state = parameters, tf.zeros_like(parameters), tf.zeros_like(parameters)
            history = []
            for step in range(0, steps, _STEPS_PER_CALL):
                done = min(_STEPS_PER_CALL, steps - step)
                *state, scores = self._advance(*state, numbers, step, done)
                history.append(scores.numpy())
                bar.update(done * len(numbers))
            images, scores = (tensor.numpy() for tensor in self._evaluate(state[0], numbers))
            is_finite = np.isfinite(scores) & np.isfinite(images).all(axis=(1, 2, 3))
            if not is_finite.all():
                label = self._objective.labels[numbers[np.argmin(is_finite)]]
                raise ValueError(
                    f"The objective '{label}', or its image, has become NaN or infinity. Check the weights of the "
                    "model and preprocess, or lower learning_rate."
                )
            yield images, scores, np.concatenate(history).T

    def _compile(self, parameters):
        state = tf.TensorSpec((None, *parameters.shape[1:]), parameters.dtype)
        numbers, step = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.int32)
        self._advance = compile_function(self._steps, state, state, state, numbers, step, step)
        self._evaluate = compile_function(self._images_and_scores, state, numbers)

    def _images_and_scores(self, parameters, numbers):
        images = self._parametrization.images(parameters, self._forward_pass.shape)
        return images, self._score(images, numbers)

    def _score(self, images, numbers, rectify=None):
        return self._objective.score(self._forward_pass.outputs(images, rectify), numbers)

    def _steps(self, parameters, first, second, numbers, step, count):
        """Take `count` steps; returns the new state, and `(count, n)` scores."""

        def body(done, parameters, first, second, scores):
            step_scores, *state = self._one_step(parameters, first, second, numbers, step + done)
            return done + 1, *state, scores.write(done, step_scores)

        scores = tf.TensorArray(tf.float32, count, element_shape=(None,))
        _, *state, scores = tf.while_loop(
            lambda done, *_: done < count, body, (0, parameters, first, second, scores), parallel_iterations=1
        )
        return *state, scores.stack()

    def _one_step(self, parameters, first, second, numbers, step):
        forward_pass = self._forward_pass
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            images = self._parametrization.images(parameters, forward_pass.shape)
            tape.watch(images)
            transformed = apply(
                self._transforms, images, self._uniforms(numbers, step), forward_pass.shape[:2], forward_pass.fill
            )
            scores = self._score(transformed, numbers, _rectifier_rule(step < self._helped) if self._helped else None)
            total = scores
            for penalty in self._penalties:
                total -= penalty((images - forward_pass.centre) / 255)
        sources = [parameters, images] if self._operations else [parameters]
        gradient, *of_images = tape.gradient(total, sources, unconnected_gradients="zero")
        parameters, first, second = self._updated(parameters, gradient, first, second, step)
        if self._operations:
            images = (self._parametrization.images(parameters, forward_pass.shape) - forward_pass.centre) / 255
            for operation in self._operations:
                images = operation(images, of_images[0], step)
            parameters = self._parametrization.parameters(images * 255 + forward_pass.centre)
        return scores, self._parametrization.bounded(parameters), first, second

    def _uniforms(self, numbers, step):
        """Random numbers of the transforms at this step, `(n, transforms, 2)`, independent of the batch."""
        size = (len(self._objective.labels), len(self._transforms), 2)
        return tf.gather(tf.random.stateless_uniform(size, [self._seed, step]), numbers)

    def _updated(self, parameters, gradient, first, second, step):
        """Update the parameters by one step of the method; returns them and the state of the method."""
        if self._method == "adam":
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * tf.square(gradient)
            steps = tf.cast(step + 1, tf.float32)
            gradient = first / (1 - 0.9**steps) / (tf.sqrt(second / (1 - 0.999**steps)) + 1e-7)
        elif self._method == "momentum":
            first = 0.9 * first + gradient
            gradient = first
        elif self._method == "normalized":
            magnitude = tf.reduce_mean(tf.abs(gradient), axis=range(1, gradient.shape.rank), keepdims=True)
            gradient /= tf.maximum(magnitude, 1e-12)
        return parameters + self._rate * gradient, first, second


def _rectifier_rule(helped):
    """The gradient rule of rectifiers, which passes more in the first steps: see `optimize`."""

    def rule(signal, inputs):
        plain = tf.where(inputs > 0, signal, 0)
        blocked = tf.reduce_all(plain == 0, axis=range(1, plain.shape.rank), keepdims=True)
        return tf.where(blocked & helped, tf.where((inputs > 0) | (signal > 0), signal, 0), plain)

    return rule


def _starts(start, count, shape):
    """Initial images, one for each label; None for each if none are given."""
    if start is None:
        return np.full(count, None)
    start = np.asarray(start, np.float32)
    if start.shape not in (tuple(shape), (count, *shape)) or not np.isfinite(start).all():
        raise ValueError(f"start must be finite pixels {tuple(shape)} or {(count, *shape)}; received {start.shape}.")
    return np.broadcast_to(start, (count, *shape))
