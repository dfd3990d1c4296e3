"""Batches of crops of photographs: random ones for training, fixed ones for testing.

All functions take images `(n, height, width, channels)` in pixel units, of known height and width and no smaller than
the crop, and return float32 in the same units. A crop of the size of the result is copied exactly; any other is
resampled bilinearly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def random_crops(
    images: tf.Tensor, seed: tf.Tensor, side: int | tf.Tensor, of: int | tf.Tensor | None = None
) -> tf.Tensor:
    """Square crops at random positions, each mirrored with probability 1/2 (Krizhevsky et al. 2012, section 4.1).

    Args:
        images: Number tensor `(n, height, width, channels)`.
        seed: Integer tensor of shape `(2,)`; the crops depend on it only.
        side: Side of the result; an int or a scalar tensor.
        of: Side of the crop before resampling, by default `side`.

    Returns:
        float32 tensor `(n, side, side, channels)`.
    """
    height, width = _size(images)
    cut = tf.cast(side if of is None else of, tf.float32)
    down, right, flip = _uniform(images, seed, 3)
    top, left = tf.floor(down * (height - cut + 1)), tf.floor(right * (width - cut + 1))
    return _cut(images, top, left, cut, cut, flip < 0.5, side)


def random_resized_crops(
    images: tf.Tensor,
    seed: tf.Tensor,
    side: int | tf.Tensor,
    area: tuple[float, float] = (0.3, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> tf.Tensor:
    """Crops of random size, aspect ratio and position, resampled to squares, each mirrored with probability 1/2.

    The augmentation of Szegedy et al. 2015 (arXiv:1409.4842, section 6). A crop higher or wider than the image is
    limited to its height or width.

    Args:
        images: Number tensor `(n, height, width, channels)`.
        seed: Integer tensor of shape `(2,)`; the crops depend on it only.
        side: Side of the result; an int or a scalar tensor.
        area: Smallest and largest fraction of the image's area, uniform between them.
        ratio: Smallest and largest ratio of width to height, uniform in the logarithm.

    Returns:
        float32 tensor `(n, side, side, channels)`.
    """
    height, width = _size(images)
    relative_area, relative_ratio, down, right, flip = _uniform(images, seed, 5)
    pixels = (area[0] + relative_area * (area[1] - area[0])) * height * width
    aspect = tf.exp(np.log(ratio[0]) + relative_ratio * (np.log(ratio[1]) - np.log(ratio[0])))
    rows = tf.clip_by_value(tf.round(tf.sqrt(pixels / aspect)), 1, height)
    columns = tf.clip_by_value(tf.round(tf.sqrt(pixels * aspect)), 1, width)
    top, left = tf.floor(down * (height - rows + 1)), tf.floor(right * (width - columns + 1))
    return _cut(images, top, left, rows, columns, flip < 0.5, side)


def centre_crops(images: tf.Tensor, side: int | tf.Tensor, of: int | tf.Tensor | None = None) -> tf.Tensor:
    """Central square crops.

    If an odd number of rows or columns is left out, the crop is half a pixel above or to the left of the centre, and
    one more row or column is left out at the bottom or on the right.

    Args:
        images: Number tensor `(n, height, width, channels)`.
        side: Side of the result; an int or a scalar tensor.
        of: Side of the crop before resampling, by default `side`.

    Returns:
        float32 tensor `(n, side, side, channels)`.
    """
    height, width = _size(images)
    cut = tf.cast(side if of is None else of, tf.float32)
    zeros = tf.zeros(tf.shape(images)[0])
    top, left = tf.floor((height - cut) / 2), tf.floor((width - cut) / 2)
    return _cut(images, zeros + top, zeros + left, cut, cut, zeros > 0, side)


CENTRE = 4
"""Index of the central crop among the ten."""


def ten_crops(images: tf.Tensor, side: int) -> tf.Tensor:
    """Crops at the four corners and the centre, and the same five mirrored (Krizhevsky et al. 2012, section 4.1).

    The central one equals that of `centre_crops`, also where an odd number of rows or columns is left out.

    Args:
        images: Number tensor `(n, height, width, channels)`.
        side: Side of a crop, an int.

    Returns:
        float32 tensor `(n, 10, side, side, channels)`.
    """
    images = tf.cast(images, tf.float32)
    height, width = images.shape[1:3]
    below, beside = height - side, width - side
    corners = [(0, 0), (0, beside), (below, 0), (below, beside), (below // 2, beside // 2)]
    crops = [images[:, top : top + side, left : left + side] for top, left in corners]
    return tf.stack(crops + [crop[:, :, ::-1] for crop in crops], axis=1)


def random_colours(
    images: tf.Tensor,
    seed: tf.Tensor,
    brightness: float = 0.3,
    contrast: float = 0.3,
    saturation: float = 0.3,
) -> tf.Tensor:
    """Change brightness, contrast and saturation of every image by random factors, each `1 +-` the given amount.

    Args:
        images: float32 tensor `(n, height, width, 3)` in [0, 255].
        seed: Integer tensor of shape `(2,)`; the changes depend on it only.
        brightness, contrast, saturation: Largest relative changes.

    Returns:
        float32 tensor of the same shape, clipped to [0, 255].
    """
    factors = [2 * amount - 1 for amount in _uniform(images, tf.convert_to_tensor(seed) + 1, 3)]
    light, contrast_factor, colour = (
        1 + factor[:, None, None, None] * most
        for factor, most in zip(factors, (brightness, contrast, saturation), strict=True)
    )
    grey = tf.reduce_mean(images, axis=3, keepdims=True)
    mean = tf.reduce_mean(grey, axis=(1, 2), keepdims=True)
    changed = (images * colour + grey * (1 - colour)) * contrast_factor + mean * (light - contrast_factor)
    return tf.clip_by_value(changed, 0.0, 255.0)


def _size(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Height and width of images, as float32."""
    return tf.cast(tf.shape(images)[1], tf.float32), tf.cast(tf.shape(images)[2], tf.float32)


def _uniform(images: tf.Tensor, seed: tf.Tensor, count: int) -> Sequence[tf.Tensor]:
    """`count` vectors of one random number in [0, 1) for each image."""
    return tf.unstack(tf.random.stateless_uniform((count, tf.shape(images)[0]), seed))


def _cut(
    images: tf.Tensor,
    top: tf.Tensor,
    left: tf.Tensor,
    rows: tf.Tensor,
    columns: tf.Tensor,
    mirrored: tf.Tensor,
    side: int | tf.Tensor,
) -> tf.Tensor:
    """Cut a box out of each image and resample it; the first and last samples are the box's first and last pixels.

    `crop_and_resize` takes corners as fractions of the last row and column, and returns black where rounding exceeds
    them. So the edges are repeated once, and the sides padded to a power of two plus one, where fractions are exact.
    (Copies of whole images are cheap here; `tf.where` and symmetric `tf.pad` take longer than the crops.)
    """
    count = tf.shape(images)[0]
    height, width = images.shape[1:3]
    left = tf.where(mirrored, width - columns - left, left)
    indices = tf.range(count) + tf.where(mirrored, count, 0)
    images = tf.concat([images, tf.reverse(images, [2])], axis=0)
    images = tf.concat([images, images[:, -1:]], axis=1)
    images = tf.concat([images, images[:, :, -1:]], axis=2)
    last_row, last_column = (1 << (length - 1).bit_length() for length in (height, width))
    images = tf.pad(images, [(0, 0), (0, last_row - height), (0, last_column - width), (0, 0)])
    box = [top / last_row, left / last_column, (top + rows - 1) / last_row, (left + columns - 1) / last_column]
    crops = tf.image.crop_and_resize(images, tf.stack(box, axis=1), indices, tf.cast(tf.stack([side, side]), tf.int32))
    return tf.ensure_shape(crops, [None, None, None, images.shape[3]])
