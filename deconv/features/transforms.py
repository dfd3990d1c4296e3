"""Images moved, scaled and turned a little before each look, so that what is found does not hang on single pixels.

The third of the four nouns of Lucid (Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017, section
"Transformation Robustness"). A transform says, for each image on its own, where every pixel of the result comes from.
Those of a sequence are put together and the image is read once, between the four pixels around each place, so that it
is not blurred over and over; Lucid interpolates again for each transform.

    robust = (pad(16), jitter(16), scale(0.95, 1.05), rotate(-5, 5), jitter(8), crop(4))
"""

from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deconv.validation import check_positive


class Transform(NamedTuple):
    """One change of the plane.

    Attributes:
        name: What it does, with its numbers.
        size: `size(height, width)` of what goes in: that of what comes out.
        draw: `draw(uniform)` of floats `(n, 2)` from 0 to 1: `(matrices (n, 2, 2), shifts (n, 2))`. A place
            `(down, right)` from the middle of the result comes from `matrix @ place + shift` from the middle of what
            goes in.
    """

    name: str
    size: Callable
    draw: Callable


def pad(border):
    """A border on every side, of the colour that `optimize` is given as `fill`."""
    check_positive("border", border)
    return Transform(f"pad {border}", lambda height, width: (height + 2 * border, width + 2 * border), _stay)


def crop(border):
    """Cuts a border off every side."""
    check_positive("border", border)
    return Transform(f"crop {border}", lambda height, width: (height - 2 * border, width - 2 * border), _stay)


def jitter(pixels):
    """Cuts `pixels` rows and columns off, as many of them before the image as chance has it, the rest behind it."""
    check_positive("pixels", pixels)

    def draw(uniform):
        before = tf.minimum(tf.floor(uniform * (pixels + 1)), pixels)
        return _stay(uniform)[0], before - pixels / 2

    return Transform(f"jitter {pixels}", lambda height, width: (height - pixels, width - pixels), draw)


def scale(smallest, largest):
    """Scales about the middle, by any factor between the two; Lucid draws one of several."""
    low, high = _range("scale", smallest, largest)
    if low <= 0:
        raise ValueError(f"A scale is a factor above zero, 1 for the image as it is; received {smallest!r}.")

    def draw(uniform):
        factor = low + (high - low) * uniform[:, :1, None]
        return tf.eye(2) / factor, tf.zeros_like(uniform)

    return Transform(f"scale {low:g} to {high:g}", lambda *size: size, draw)


def rotate(smallest, largest):
    """Turns about the middle, by any angle between the two, in degrees, against the clock if positive."""
    low, high = _range("rotate", smallest, largest)

    def draw(uniform):
        angle = (low + (high - low) * uniform[:, 0]) * (np.pi / 180)
        cosine, sine = tf.cos(angle), tf.sin(angle)
        rows = tf.stack([cosine, sine], -1), tf.stack([-sine, cosine], -1)
        return tf.stack(rows, axis=1), tf.zeros_like(uniform)

    return Transform(f"rotate {low:g} to {high:g}", lambda *size: size, draw)


def apply(transforms, images, uniforms, size, fill=0.0):
    """Read images through a sequence of transforms.

    Args:
        transforms: Sequence of `Transform`s, the first first.
        images: Tensor `(n, height, width, channels)`.
        uniforms: Floats `(n, len(transforms), 2)` from 0 to 1, what chance has it for each image and transform.
        size: `(height, width)` of what is wanted: the middle of what comes out, or that with a border around it.
        fill: What comes in from outside: a number, or one per channel.

    Returns:
        float32 tensor `(n, *size, channels)`.

    Raises:
        ValueError: If the transforms leave nothing of the images.
    """
    if not transforms:
        return images
    before = tuple(images.shape[1:3])
    sizes = check_sizes(transforms, before)
    down, right = (tf.range(cells, dtype=tf.float32) for cells in size)
    # Whole pixels go to whole pixels: an odd row more than the result has is cut off below it, not half on each side.
    middles = [(a - 1) / 2 - (a - b) // 2 for a, b in zip(sizes[-1], size, strict=True)]
    places = tf.stack(tf.meshgrid(down - middles[0], right - middles[1], indexing="ij"), axis=-1)[None]
    for number in reversed(range(len(transforms))):
        matrices, shifts = transforms[number].draw(uniforms[:, number])
        places = tf.einsum("nij,nrcj->nrci", matrices, places + tf.zeros([tf.shape(matrices)[0], 1, 1, 1]))
        places += shifts[:, None, None]
    return _read(images, places[..., 0] + (before[0] - 1) / 2, places[..., 1] + (before[1] - 1) / 2, fill)


def check_sizes(transforms, size):
    """The sizes of images behind each transform.

    Raises:
        ValueError: If one is no transform, or leaves nothing.
    """
    sizes = []
    if not isinstance(transforms, tuple | list):
        raise ValueError(f"transforms must be a tuple or list of them, empty for none; received {transforms!r}.")
    for transform in transforms:
        if not isinstance(transform, Transform):
            raise ValueError(f"transforms must be made by pad, jitter, scale, rotate or crop; received {transform!r}.")
        size = transform.size(*size)
        if min(size) < 1:
            raise ValueError(f"'{transform.name}' leaves nothing of the images: {size}. Pad them first, or cut less.")
        sizes.append(size)
    return sizes


def _read(images, rows, columns, fill):
    """The images at fractional places `(n, height, width)`; outside lies `fill`."""
    height, width, channels = images.shape[1:]
    pixels = tf.reshape(images, [-1, channels])
    first = tf.range(tf.shape(images)[0])[:, None, None] * (height * width)
    top, left = tf.floor(rows), tf.floor(columns)
    found, inside = 0.0, 0.0
    for row, near_row in ((top, top + 1 - rows), (top + 1, rows - top)):
        for column, near_column in ((left, left + 1 - columns), (left + 1, columns - left)):
            is_there = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            share = tf.where(is_there, near_row * near_column, 0)[..., None]
            place = tf.clip_by_value(tf.cast(row, tf.int32), 0, height - 1) * width
            place += tf.clip_by_value(tf.cast(column, tf.int32), 0, width - 1)
            found += share * tf.gather(pixels, first + place)
            inside += share
    return found + (1 - inside) * tf.constant(fill, tf.float32)


def _stay(uniform):
    return tf.eye(2, batch_shape=[tf.shape(uniform)[0]]), tf.zeros_like(uniform)


def _range(name, smallest, largest):
    numbers = all(isinstance(end, Real) and np.isfinite(end) for end in (smallest, largest))
    if not numbers or smallest > largest:
        raise ValueError(f"{name} goes from a number to one that is not smaller; received {smallest!r}, {largest!r}.")
    return float(smallest), float(largest)
