"""What an image is made to maximise: a unit, a channel, a layer, a direction, a class, and sums of them.

The first of the four nouns of Lucid (Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017). An objective
scores images by what layers put out for them, and objectives can be added, subtracted and multiplied:

    neuron("conv2", 3) - 0.5 * neuron("conv2", 4)

Targets are taken before the activation of their layer, if nothing else is said: behind a rectifier that is off there is
no gradient to follow. (In Lucid the name of the layer decides.)
"""

import re
from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deconv.deconvnet.selection import check_positions
from deconv.runtime.dtypes import any_array, array_of
from deconv.validation import check_channels, check_positive


class Target(NamedTuple):
    """A layer to look at: by name, path or index, None for what the model puts out; before its activation or after."""

    layer: str | int | None
    before: bool = True


class Objective(NamedTuple):
    """What some images are to make large, each image its own number.

    With another objective of as many images, or of one, which then counts for all, or with a number:
    `a + b`, `a - b`, `a * b`, `-a`, `2 * a`, `a / 2`, `sum([a, b])`.

    Attributes:
        labels: A text for each image.
        layers: Which `Target`s it looks at.
        score: `score(values, numbers)` of `{Target: tensor (n, rows, columns, channels) or (n, channels)}` and int32
            `(n,)`, which of the images these are; it returns floats `(n,)`.
        together: Whether an image's score depends on the others, so that they must be computed in one batch.
    """

    labels: tuple[str, ...]
    layers: tuple[Target, ...]
    score: Callable
    together: bool = False

    __array_ufunc__ = None  # so that a number of NumPy's leaves its product with an objective to the objective

    def __add__(self, other):
        return _combined(self, other, lambda one, two: one + two, "{} + {}")

    def __sub__(self, other):
        return _combined(self, other, lambda one, two: one - two, "{} - {}", strong=True)

    def __mul__(self, other):
        if not isinstance(other, Objective):
            return _combined(_constant(_check_number(other)), self, lambda one, two: one * two, "{} × {}", strong=True)
        return _combined(self, other, lambda one, two: one * two, "{} × {}", strong=True)

    def __truediv__(self, number):
        if isinstance(number, Objective) or _check_number(number) == 0:
            raise ValueError(f"An objective is divided by a number that is not 0; received {number!r}.")
        return self * (1 / number)

    def __neg__(self):
        return -1 * self

    def __radd__(self, other):
        return self if isinstance(other, Real) and other == 0 else self + other  # `sum` begins with 0

    def __rsub__(self, other):
        return -self + other

    def __rmul__(self, other):
        return self * other


def neuron(layer, channel, position=None, before=True):
    """Single units: the activation of a channel at a position.

    Args:
        layer: Name, path or index; None for the model's output.
        channel: One channel, or a sequence of them: one image for each.
        position: `(row, column)`, or one for each channel; None for the middle, row `rows // 2`, of the map.
        before: Whether before the layer's activation.
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


def channel(layer, channel, before=True):
    """Whole maps: the mean of a channel over its positions. Arguments as for `neuron`."""
    target, channels = Target(layer, before), _channels(channel)

    def score(values, numbers):
        mean = tf.reduce_mean(_maps(values[target]), axis=[1, 2])
        chosen = tf.constant(check_channels(channels, mean.shape[-1], _name(layer)), tf.int32)
        return tf.gather(mean, tf.gather(chosen, numbers), axis=1, batch_dims=1)

    return Objective(_labels(layer, channels, "mean of "), (target,), score)


def layer(layer, before=True):
    """A whole layer: the mean of all its activations."""
    target = Target(layer, before)
    return Objective(
        (f"mean of {_name(layer)}",),
        (target,),
        lambda values, numbers: tf.reduce_mean(_maps(values[target]), axis=[1, 2, 3]),
    )


def deepdream(layer, before=True):
    """Whatever a layer sees already: the mean of its squared activations, which is Lucid's objective of a layer."""
    target = Target(layer, before)
    return Objective(
        (f"dream of {layer}",),
        (target,),
        lambda values, numbers: tf.reduce_mean(tf.square(_maps(values[target])), axis=[1, 2, 3]),
    )


def direction(layer, vector, cosine_power=0, before=True):
    """A direction in the space of a layer's channels: the mean over positions of the product of the two.

    With a power it is multiplied by `max(0.1, cosine) ** cosine_power`, position by position, which asks for that
    direction and little else (the `cossim_pow` of Lucid's `direction`).

    Args:
        layer: Name, path or index.
        vector: `(channels,)`, or `(n, channels)`: one image for each.
        cosine_power: A number of at least 0.
        before: Whether before the layer's activation.
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
                f"Layer '{layer}' has {maps.shape[-1]} channels, and vector must have as many numbers; "
                f"received {vectors.shape[1]}."
            )
        wanted = tf.cast(tf.gather(tf.constant(vectors), numbers), maps.dtype)[:, None, None]
        product = tf.reduce_sum(maps * wanted, axis=-1)
        if cosine_power:
            lengths = tf.sqrt(tf.reduce_sum(tf.square(maps), -1) + 1e-12) * tf.norm(wanted, axis=-1)
            product *= tf.maximum(product / tf.maximum(lengths, 1e-12), 0.1) ** cosine_power
        return tf.reduce_mean(product, axis=[1, 2])

    count = len(vectors)
    names = [f"direction in {layer}" + (f" {number}" if count > 1 else "") for number in range(count)]
    return Objective(tuple(names), (target,), score)


def class_logit(target):
    """Classes: the model's outputs before their softmax (Simonyan et al., arXiv:1312.6034, section 2).

    A softmax could be raised by making the other classes less likely.

    Args:
        target: One class number, or a sequence of them: one image for each.
    """
    classes = _channels(target, "target")
    return neuron(None, classes)._replace(labels=tuple(f"class {number}" for number in classes))


def diversity(layer, copies, before=True):
    """Several images that differ: each is scored by how little its texture looks like that of the others.

    The texture of an image is the Gram matrix of its channels, divided by its length; an image's score is minus the sum
    of its inner products with those of the other images, divided by their number; the sum of all scores is minus the
    number that Lucid makes small. To be added to another objective with a weight:

        neuron("conv5", 7) + 10 * diversity("conv5", copies=4)

    Here the scores of all images are added up; in Lucid the other objective is a mean over them, to which the diversity
    of them all is added. So for the same balance a weight is `copies` times Lucid's.

    Args:
        layer: Name, path or index.
        copies: How many images, at least 2; all are computed in one batch.
        before: Whether before the layer's activation.
    """
    target = Target(layer, before)
    if check_positive("copies", copies) < 2:
        raise ValueError("copies must be at least 2, or there is nothing to differ from; received 1.")

    def score(values, numbers):
        maps = _maps(values[target])
        cells = tf.reshape(maps, [-1, maps.shape[1] * maps.shape[2], maps.shape[3]])
        gram = tf.reshape(tf.matmul(cells, cells, transpose_a=True), [-1, maps.shape[3] ** 2])
        gram *= tf.math.rsqrt(tf.reduce_sum(tf.square(gram), axis=1, keepdims=True) + 1e-10)
        alike = tf.matmul(gram, gram, transpose_b=True)
        others = tf.linalg.set_diag(alike, tf.zeros_like(alike[0]))
        return -tf.reduce_sum(others, axis=1) / copies

    return Objective(("diversity",) * copies, (target,), score, together=True)


def _combined(one, two, operation, name, strong=False):
    """Two objectives, or one and a number, under an operation; one image counts for all of the other."""
    if not isinstance(two, Objective):
        two = _constant(_check_number(two))
    counts = len(one.labels), len(two.labels)
    count = max(counts)
    if not {*counts} <= {1, count}:
        raise ValueError(
            f"Objectives of {counts[0]} and of {counts[1]} images do not combine. "
            "Give both as many, or one of them a single image, which then counts for all."
        )

    def part(objective, values, numbers):
        return objective.score(values, numbers if len(objective.labels) == count else tf.zeros_like(numbers))

    names = zip(*(side.labels * (count // len(side.labels)) for side in (one, two)), strict=True)
    return Objective(
        tuple(_named(name, pair, strong) for pair in names),
        (*one.layers, *(target for target in two.layers if target not in one.layers)),
        lambda values, numbers: operation(part(one, values, numbers), part(two, values, numbers)),
        one.together or two.together,
    )


def _constant(number):
    return Objective((f"{number:g}",), (), lambda values, numbers: tf.fill(tf.shape(numbers), np.float32(number)))


def _check_number(number):
    if not isinstance(number, Real) or isinstance(number, bool) or not -1e38 < number < 1e38:
        raise ValueError(f"An objective combines with another one, or with a finite number; received {number!r}.")
    return float(number)


def _named(name, pair, strong):
    """The label of a combination, with brackets where they are needed."""
    outside = [re.sub(r"\(.*\)", "", text) for text in pair]
    sums = [" + " in text or " - " in text for text in outside]
    brackets = [sums[0] and "×" in name, sums[1] and strong]
    return name.format(*(f"({text})" if around else text for text, around in zip(pair, brackets, strict=True)))


def _channels(channel, name="channel"):
    """Channel numbers, as many as there are images; whether a layer has them is seen when it is known."""
    channels = np.atleast_1d(any_array(channel))
    if channels.ndim != 1 or not len(channels) or channels.dtype.kind not in "iu":
        raise ValueError(f"{name} must be a whole number or a sequence of them; received {channel!r}.")
    return channels


def _labels(layer, channels, what=""):
    return tuple(f"{what}{_name(layer)}, {number}" for number in channels)


def _name(layer):
    return "output" if layer is None else layer


def _maps(values):
    """What a layer puts out as `(n, rows, columns, channels)`; a vector is one position."""
    if values.shape.rank == 2:
        return values[:, None, None]
    return values if values.shape.rank == 4 else tf.reshape(values, [tf.shape(values)[0], -1, 1, values.shape[-1]])
