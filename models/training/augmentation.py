"""Random changes to training images that preserve their class. Stateless: they depend on the seed only."""

import math

import tensorflow as tf


def random_affine(
    images: tf.Tensor,
    seed: tf.Tensor,
    rotation: float = 12.0,
    scale: float = 0.1,
    shear: float = 0.15,
    shift: float = 2.0,
) -> tf.Tensor:
    """Rotate, scale, shear and shift every image by random amounts, in one bilinear resampling.

    Each amount is drawn uniformly between minus and plus its limit; images are rotated, scaled and sheared about their
    centre. Pixels from outside the image are 0, the background of a digit. The slant and width of
    digits differ between writers. Digits are not mirrored, nor rotated so far that a 6 becomes a 9.

    Args:
        images: Tensor `(n, height, width, channels)`, uint8 or float.
        seed: Integer tensor of shape `(2,)`; the changes depend on it only.
        rotation: Largest rotation, in degrees.
        scale: Largest relative change of height and, independently, of width.
        shear: Largest shear, in horizontal pixels per vertical pixel.
        shift: Largest shift in each direction, in pixels.

    Returns:
        float32 tensor of the same shape and range.
    """
    images = tf.cast(images, tf.float32)
    count, height, width = tf.shape(images)[0], tf.shape(images)[1], tf.shape(images)[2]
    amounts = tf.random.stateless_uniform((count, 6), seed, -1.0, 1.0)
    turn, slant, wider, taller, right, down = tf.unstack(amounts, axis=1)
    cos, sin = tf.cos(turn * rotation * math.pi / 180), tf.sin(turn * rotation * math.pi / 180)
    wider, taller = 1 + wider * scale, 1 + taller * scale
    # The row (a b e; c d f) maps a point of the new image to the corresponding point of the old one.
    a, b = cos * wider, (slant * shear - sin) * taller
    c, d = sin * wider, cos * taller
    centre_x, centre_y = tf.cast(width - 1, tf.float32) / 2, tf.cast(height - 1, tf.float32) / 2
    e = centre_x - a * centre_x - b * centre_y + right * shift
    f = centre_y - c * centre_x - d * centre_y + down * shift
    zero = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, e, c, d, f, zero, zero], axis=1),
        output_shape=tf.stack([height, width]),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
