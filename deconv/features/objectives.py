"""Objectives of an optimised image: a unit, a channel, a layer, a direction, a class, and their sums and products.

Objectives are the first of Lucid's four components (Olah, Mordvintsev & Schubert, "Feature Visualization", Distill
2017). An objective computes a score for each image from the outputs of layers. Objectives can be added, subtracted and
multiplied:

    neuron("conv2", 3) - 0.5 * neuron("conv2", 4)

By default the values are taken before the activation function of the layer, because a rectifier that is off has no
gradient. (In Lucid the name of the layer determines this.)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv.deconvnet.selection import check_positions
from deconv.runtime.dtypes import any_array, array_of
from deconv.validation import check_channels, check_positive


class Target(NamedTuple):
    """A layer whose output an objective uses.

    Attributes:
        layer: Name, path or index; None for the model's output.
        before: Whether the output is taken before the activation function.
    """

    layer: str | int | None
    before: bool = True


class Objective(NamedTuple):
    """A score to maximise, one number for each of some images.

    Objectives combine with numbers, and with objectives of as many images or of one image, which is then broadcast:
    `a + b`, `a - b`, `a * b`, `-a`, `2 * a`, `a / 2`, `sum([a, b])`.

    Attributes:
        labels: One label for each image.
        layers: The `Target`s that the score is computed from.
        score: `score(values, numbers)` of `{Target: tensor (n, rows, columns, channels) or (n, channels)}` and int32
            `(n,)`, the numbers of the images in the batch; returns floats `(n,)`.
        together: Whether the score of an image depends on the others, so that all must be computed in one batch.
    """

    labels: tuple[str, ...]
    layers: tuple[Target, ...]
    score: Callable[..., tf.Tensor]
    together: bool = False

    def __add__(self, other: Objective | float) -> Objective:  # type: ignore[override]
        return _combined(self, other, lambda one, two: one + two, "{} + {}")

    def __sub__(self, other: Objective | float) -> Objective:
        return _combined(self, other, lambda one, two: one - two, "{} - {}", strong=True)

    def __mul__(self, other: Objective | float) -> Objective:  # type: ignore[override]
        if not isinstance(other, Objective):
            return _combined(_constant(_check_number(other)), self, lambda one, two: one * two, "{} × {}", strong=True)
        return _combined(self, other, lambda one, two: one * two, "{} × {}", strong=True)

    def __truediv__(self, number: float) -> Objective:
        if isinstance(number, Objective) or _check_number(number) == 0:
            raise ValueError(f"An objective can only be divided by a number other than 0; received {number!r}.")
        return self * (1 / number)

    def __neg__(self) -> Objective:
        return -1 * self

    def __radd__(self, other: Objective | float) -> Objective:
        return self if isinstance(other, Real) and other == 0 else self + other  # `sum` starts with 0

    def __rsub__(self, other: Objective | float) -> Objective:
        return -self + other

    def __rmul__(self, other: Objective | float) -> Objective:  # type: ignore[override]
        return self * other


Objective.__array_ufunc__ = None  # type: ignore[attr-defined]  # NumPy scalars then defer to `__rmul__` and the like


def neuron(
    layer: str | int | None, channel: ArrayLike, position: ArrayLike | None = None, before: bool = True
) -> Objective:
    """The activation of single units: a channel at a position.

    Args:
        layer: Name, path or index; None for the model's output.
        channel: One channel, or a sequence of channels with one image for each.
        position: `(row, column)`, or one for each channel; None for the centre of the map, `(rows // 2, columns // 2)`.
        before: Whether to take the activation before the activation function.
    """
    target, channels = Target(layer, before), _channels(channel)
    if position is not None and any_array(position).dtype.kind not in "iu":
        raise ValueError(f"position must be (row, column), or one for each channel, of ints; received {position!r}.")

    def score(values, numbers):
        maps = _maps(values[target])
        rows, columns = maps.shape[1:3]
        place = (rows // 2, columns // 2) if position is None else position
        places = tf.gather(tf.constant(check_positions(place, len(channels), (rows, columns)), tf.int32), numbers)
        chosen = tf.gather(tf.constant(check_channels(channels, maps.shape[-1], _name(layer)), tf.int32), numbers)
        image = tf.range(tf.shape(maps)[0])
        return tf.gather_nd(maps, tf.stack([image, places[:, 0], places[:, 1], chosen], axis=1))

    return Objective(_labels(layer, channels), (target,), score)


def channel(layer: str | int | None, channel: ArrayLike, before: bool = True) -> Objective:
    """The mean activation of a channel over its positions. Arguments as for `neuron`."""
    target, channels = Target(layer, before), _channels(channel)

    def score(values, numbers):
        mean = tf.reduce_mean(_maps(values[target]), axis=[1, 2])
        chosen = tf.constant(check_channels(channels, mean.shape[-1], _name(layer)), tf.int32)
        return tf.gather(mean, tf.gather(chosen, numbers), axis=1, batch_dims=1)

    return Objective(_labels(layer, channels, "mean of "), (target,), score)


def layer(layer: str | int | None, before: bool = True) -> Objective:
    """The mean of all activations of a layer."""
    target = Target(layer, before)
    labels = (f"mean of {_name(layer)}",)
    return Objective(labels, (target,), lambda values, numbers: tf.reduce_mean(_maps(values[target]), axis=[1, 2, 3]))


def deepdream(layer: str | int, before: bool = True) -> Objective:
    """The mean squared activation of a layer, which is Lucid's objective of a layer."""
    target = Target(layer, before)
    labels = (f"mean square of {_name(layer)}",)
    return Objective(
        labels, (target,), lambda values, numbers: tf.reduce_mean(tf.square(_maps(values[target])), axis=[1, 2, 3])
    )


def direction(layer: str | int, vector: ArrayLike, cosine_power: float = 0, before: bool = True) -> Objective:
    """The dot product of the channels with a vector, averaged over the positions.

    With `cosine_power`, the product at each position is multiplied by `max(0.1, cosine) ** cosine_power`, which favours
    activations parallel to the vector (`cossim_pow` of Lucid's `direction`).

    Args:
        layer: Name, path or index.
        vector: `(channels,)`, or `(n, channels)` with one image for each row.
        cosine_power: A number of at least 0.
        before: Whether to take the activations before the activation function.

    Raises:
        ValueError: If `vector` or `cosine_power` is not of this form.
    """
    target, vectors = Target(layer, before), np.atleast_2d(array_of("vector", vector).astype(np.float32))
    if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
        raise ValueError(f"vector must be finite numbers (channels,) or (n, channels); received {vector!r}.")
    if not isinstance(cosine_power, Real) or cosine_power < 0:
        raise ValueError(f"cosine_power must be a number of at least 0; received {cosine_power!r}.")

    def score(values, numbers):
        maps = _maps(values[target])
        if maps.shape[-1] != vectors.shape[1]:
            raise ValueError(
                f"vector must have a number for each channel of layer '{layer}', {maps.shape[-1]} in all; received "
                f"{vectors.shape[1]}."
            )
        directions = tf.cast(tf.gather(tf.constant(vectors), numbers), maps.dtype)[:, None, None]
        product = tf.reduce_sum(maps * directions, axis=-1)
        if cosine_power:
            lengths = tf.sqrt(tf.reduce_sum(tf.square(maps), -1) + 1e-12) * tf.norm(directions, axis=-1)
            product *= tf.maximum(product / tf.maximum(lengths, 1e-12), 0.1) ** cosine_power
        return tf.reduce_mean(product, axis=[1, 2])

    count = len(vectors)
    labels = [f"direction in {layer}" + (f" {number}" if count > 1 else "") for number in range(count)]
    return Objective(tuple(labels), (target,), score)


def class_logit(target: ArrayLike) -> Objective:
    """Class logits: the model's outputs before the softmax (Simonyan et al., arXiv:1312.6034, section 2).

    Maximising the softmax itself could succeed by lowering the logits of the other classes.

    Args:
        target: One class number, or a sequence of them with one image for each.
    """
    classes = _channels(target, "target")
    return neuron(None, classes)._replace(labels=tuple(f"class {number}" for number in classes))


def diversity(layer: str | int, copies: int, before: bool = True) -> Objective:
    """The negative similarity of the textures of several images, so that they differ.

    The texture of an image is the Gram matrix of its channels, normalised to length 1. The score of an image is minus
    the sum of its inner products with the textures of the other images, divided by the number of images. The sum of all
    scores is minus Lucid's diversity loss. Add it to another objective with a weight:

        neuron("conv5", 7) + 10 * diversity("conv5", copies=4)

    The scores of all images are added here. Lucid adds its diversity loss to the mean of the other objective over the
    images, so an equivalent weight here is `copies` times Lucid's.

    Args:
        layer: Name, path or index.
        copies: Number of images, at least 2; all are computed in one batch.
        before: Whether to take the activations before the activation function.

    Raises:
        ValueError: If `copies` is not an integer of at least 2.
    """
    target = Target(layer, before)
    if check_positive("copies", copies) < 2:
        raise ValueError("copies must be at least 2; received 1.")

    def score(values, numbers):
        maps = _maps(values[target])
        cells = tf.reshape(maps, [-1, maps.shape[1] * maps.shape[2], maps.shape[3]])
        gram = tf.reshape(tf.matmul(cells, cells, transpose_a=True), [-1, maps.shape[3] ** 2])
        gram *= tf.math.rsqrt(tf.reduce_sum(tf.square(gram), axis=1, keepdims=True) + 1e-10)
        similarities = tf.matmul(gram, gram, transpose_b=True)
        others = tf.linalg.set_diag(similarities, tf.zeros_like(similarities[0]))
        return -tf.reduce_sum(others, axis=1) / copies

    return Objective(("diversity",) * copies, (target,), score, together=True)


def _combined(one, two, operation, name, strong=False):
    """Combine two objectives, or an objective and a number, by an operation; a single image is broadcast."""
    if not isinstance(two, Objective):
        two = _constant(_check_number(two))
    counts = len(one.labels), len(two.labels)
    count = max(counts)
    if not {*counts} <= {1, count}:
        raise ValueError(
            f"Objectives for {counts[0]} and for {counts[1]} images cannot be combined. Use as many images for both, "
            "or a single image for one of them, which is then broadcast."
        )

    def part(objective, values, numbers):
        return objective.score(values, numbers if len(objective.labels) == count else tf.zeros_like(numbers))

    names = zip(*(side.labels * (count // len(side.labels)) for side in (one, two)), strict=True)
    return Objective(
        tuple(_combined_label(name, pair, strong) for pair in names),
        (*one.layers, *(target for target in two.layers if target not in one.layers)),
        lambda values, numbers: operation(part(one, values, numbers), part(two, values, numbers)),
        one.together or two.together,
    )


def _constant(number):
    return Objective((f"{number:g}",), (), lambda values, numbers: tf.fill(tf.shape(numbers), np.float32(number)))


def _check_number(number):
    if not isinstance(number, Real) or isinstance(number, bool) or not -1e38 < number < 1e38:
        raise ValueError(
            f"An objective can only be combined with an objective or a finite number; received {number!r}."
        )
    return float(number)


def _combined_label(name, pair, strong):
    """The label of a combination, with brackets where necessary."""
    outside = [re.sub(r"\(.*\)", "", text) for text in pair]
    sums = [" + " in text or " - " in text for text in outside]
    brackets = [sums[0] and "×" in name, sums[1] and strong]
    return name.format(*(f"({text})" if around else text for text, around in zip(pair, brackets, strict=True)))


def _channels(channel, name="channel"):
    """Channel numbers as an array, one for each image; their range is checked when the layer is known."""
    channels = np.atleast_1d(any_array(channel))
    if channels.ndim != 1 or not len(channels) or channels.dtype.kind not in "iu":
        raise ValueError(f"{name} must be a whole number or a sequence of them; received {channel!r}.")
    return channels


def _labels(layer, channels, what=""):
    return tuple(f"{what}{_name(layer)}, {number}" for number in channels)


def _name(layer):
    return "output" if layer is None else layer


def _maps(values):
    """The output of a layer as `(n, rows, columns, channels)`; a vector becomes one position."""
    if values.shape.rank == 2:
        return values[:, None, None]
    return values if values.shape.rank == 4 else tf.reshape(values, [tf.shape(values)[0], -1, 1, values.shape[-1]])
