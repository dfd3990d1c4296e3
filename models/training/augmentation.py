"""Random changes to training images that keep what they show. Stateless: the same seed, the same changes."""

import math

import tensorflow as tf


def random_affine(images, seed, rotation=12.0, scale=0.1, shear=0.15, shift=2.0):
    """Turn, stretch, slant and move every image by its own random amounts, in one bilinear resampling.

    All amounts are uniform between their negative and themselves, about the image's centre. What comes in from
    outside is 0, the background of a digit. Digits slant and vary in width from writer to writer; they are not
    mirrored, and not turned so far that a 6 becomes a 9.

    Args:
        images: Tensor `(n, height, width, channels)`, uint8 or float.
        seed: Integer tensor of shape `(2,)`; the changes depend on it alone.
        rotation: Largest turn, in degrees.
        scale: Largest relative change of height and, independently, of width.
        shear: Largest slant, in pixels sideways per pixel up.
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
    # The row (a b e; c d f) takes a point of the new image to the point of the old one that it shows.
    a, b = cos * wider, (slant * shear - sin) * taller
    c, d = sin * wider, cos * taller
    centre_x, centre_y = tf.cast(width - 1, tf.float32) / 2, tf.cast(height - 1, tf.float32) / 2
    e = centre_x - a * centre_x - b * centre_y + right * shift
    f = centre_y - c * centre_x - d * centre_y + down * shift
    nothing = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, e, c, d, f, nothing, nothing], axis=1),
        output_shape=tf.stack([height, width]),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
