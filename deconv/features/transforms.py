"""Random shifts, scalings and rotations of an image at each step, so that it does not depend on single pixels.

Transforms are the third of Lucid's four components (Olah, Mordvintsev & Schubert, "Feature Visualization", Distill
2017, section "Transformation Robustness"). A transform maps each pixel of the result to a position in its input,
separately for each image. The maps of a sequence are composed and the image is interpolated once, bilinearly, to avoid
repeated blurring; Lucid interpolates for each transform.

    robust = (pad(16), jitter(16), scale(0.95, 1.05), rotate(-5, 5), jitter(8), crop(4))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv.validation import check_positive


class Transform(NamedTuple):
    """A random affine map of image coordinates.

    Attributes:
        name: Its name, with the parameters.
        size: `size(height, width)` of the input returns those of the result.
        draw: `draw(uniform)` of floats `(n, 2)` from 0 to 1 returns `(matrices (n, 2, 2), shifts (n, 2))`. The position
            `(down, right)` from the centre of the result is read from `matrix @ position + shift` from the centre of
            the input.
    """

    name: str
    size: Callable[[int, int], tuple[int, int]]
    draw: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def pad(border: int) -> Transform:
    """Add a border on every side, of the colour `fill` of `optimize`."""
    check_positive("border", border)
    return Transform(f"pad {border}", lambda height, width: (height + 2 * border, width + 2 * border), _identity)


def crop(border: int) -> Transform:
    """Remove a border on every side."""
    check_positive("border", border)
    return Transform(f"crop {border}", lambda height, width: (height - 2 * border, width - 2 * border), _identity)


def jitter(pixels: int) -> Transform:
    """Crop `pixels` rows and columns, a random number of them before the image and the rest behind it."""
    check_positive("pixels", pixels)

    def draw(uniform):
        before = tf.minimum(tf.floor(uniform * (pixels + 1)), pixels)
        return _identity(uniform)[0], before - pixels / 2

    return Transform(f"jitter {pixels}", lambda height, width: (height - pixels, width - pixels), draw)


def scale(smallest: float, largest: float) -> Transform:
    """Scale about the centre by a random factor between the two; Lucid draws one of several factors."""
    low, high = _range("scale", smallest, largest)
    if low <= 0:
        raise ValueError(f"smallest must be a factor above 0, where 1 keeps the size; received {smallest!r}.")

    def draw(uniform):
        factor = low + (high - low) * uniform[:, :1, None]
        return tf.eye(2) / factor, tf.zeros_like(uniform)

    return Transform(f"scale {low:g} to {high:g}", lambda height, width: (height, width), draw)


def rotate(smallest: float, largest: float) -> Transform:
    """Rotate about the centre by a random angle between the two, in degrees, counter-clockwise if positive."""
    low, high = _range("rotate", smallest, largest)

    def draw(uniform):
        angle = (low + (high - low) * uniform[:, 0]) * (np.pi / 180)
        cosine, sine = tf.cos(angle), tf.sin(angle)
        rows = tf.stack([cosine, sine], -1), tf.stack([-sine, cosine], -1)
        return tf.stack(rows, axis=1), tf.zeros_like(uniform)

    return Transform(f"rotate {low:g} to {high:g}", lambda height, width: (height, width), draw)


def apply(
    transforms: Sequence[Transform], images: tf.Tensor, uniforms: tf.Tensor, size: Sequence[int], fill: ArrayLike = 0.0
) -> tf.Tensor:
    """Apply a sequence of transforms to images.

    Args:
        transforms: Sequence of `Transform`s, applied in this order.
        images: Tensor `(n, height, width, channels)`.
        uniforms: Floats `(n, len(transforms), 2)`, uniform random numbers from 0 to 1 for each image and transform.
        size: `(height, width)` of the result: cropped, or padded, around the centre of the transformed image.
        fill: Value of pixels outside the image: a number, or one per channel.

    Returns:
        float32 tensor `(n, *size, channels)`; without transforms, the images as they are.

    Raises:
        ValueError: If the transforms leave an empty image.
    """
    if not transforms:
        return images
    before = tuple(images.shape[1:3])
    sizes = check_sizes(transforms, before)
    down, right = (tf.range(cells, dtype=tf.float32) for cells in size)
    # Keep pixel centres aligned: an odd surplus row is cropped below, not half of it on each side.
    middles = [(a - 1) / 2 - (a - b) // 2 for a, b in zip(sizes[-1], size, strict=True)]
    places = tf.stack(tf.meshgrid(down - middles[0], right - middles[1], indexing="ij"), axis=-1)[None]
    for number in reversed(range(len(transforms))):
        matrices, shifts = transforms[number].draw(uniforms[:, number])
        places = tf.einsum("nij,nrcj->nrci", matrices, places + tf.zeros([tf.shape(matrices)[0], 1, 1, 1]))
        places += shifts[:, None, None]
    return _read(images, places[..., 0] + (before[0] - 1) / 2, places[..., 1] + (before[1] - 1) / 2, fill)


def check_sizes(transforms: Sequence[Transform], size: Sequence[int]) -> list[tuple[int, int]]:
    """The image sizes after each transform.

    Raises:
        ValueError: If an entry is not a `Transform`, or a transform leaves an empty image.
    """
    sizes = []
    height, width = size
    if not isinstance(transforms, tuple | list):
        raise ValueError(f"transforms must be a tuple or list of transforms, empty for none; received {transforms!r}.")
    for transform in transforms:
        if not isinstance(transform, Transform):
            raise ValueError(
                f"transforms must be results of pad, jitter, scale, rotate or crop; received {transform!r}."
            )
        height, width = transform.size(height, width)
        if min(height, width) < 1:
            raise ValueError(
                f"Transform '{transform.name}' leaves an empty image, of size {(height, width)}. Pad images first, or "
                "crop less."
            )
        sizes.append((height, width))
    return sizes


def _read(images, rows, columns, fill):
    """Interpolate images bilinearly at positions `(n, height, width)`; outside, the value is `fill`."""
    height, width, channels = images.shape[1:]
    pixels = tf.reshape(images, [-1, channels])
    first = tf.range(tf.shape(images)[0])[:, None, None] * (height * width)
    top, left = tf.floor(rows), tf.floor(columns)
    values, inside = 0.0, 0.0
    for row, near_row in ((top, top + 1 - rows), (top + 1, rows - top)):
        for column, near_column in ((left, left + 1 - columns), (left + 1, columns - left)):
            is_inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            share = tf.where(is_inside, near_row * near_column, 0)[..., None]
            place = tf.clip_by_value(tf.cast(row, tf.int32), 0, height - 1) * width
            place += tf.clip_by_value(tf.cast(column, tf.int32), 0, width - 1)
            values += share * tf.gather(pixels, first + place)
            inside += share
    return values + (1 - inside) * tf.constant(fill, tf.float32)


def _identity(uniform):
    return tf.eye(2, batch_shape=[tf.shape(uniform)[0]]), tf.zeros_like(uniform)


def _range(name, smallest, largest):
    are_numbers = all(isinstance(number, Real) and np.isfinite(number) for number in (smallest, largest))
    if not are_numbers or smallest > largest:
        raise ValueError(
            f"{name} takes two finite numbers, the second not smaller than the first; received {smallest!r}, "
            f"{largest!r}."
        )
    return float(smallest), float(largest)
