"""What a caller may pass: each check fails at the door and says what to do instead."""

from numbers import Integral

import numpy as np

from deconv.ops import COLLISIONS


def check_images(images, shape, dtype="float32"):
    """Images as an array of the model's own dtype.

    Args:
        images: Float array or tensor `(n, *shape)`, preprocessed as the model expects.
        shape: `(height, width, channels)` of the model's input.
        dtype: Dtype of the model's input.

    Raises:
        ValueError: If the images have another rank, shape or dtype, are none at all, or are not finite.
    """
    images = np.asarray(images)
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            f"images must be floating point, preprocessed as the model expects; received dtype {images.dtype}. "
            "Preprocess them first, for example with models.lenet5.preprocess_input(images)."
        )
    if images.shape == tuple(shape):
        raise ValueError(
            f"images must be a batch of shape (n, {_sizes(shape)}); received one image of shape {images.shape}. "
            "Pass image[None]."
        )
    if images.ndim != len(shape) + 1 or images.shape[1:] != tuple(shape):
        raise ValueError(
            f"images must have shape (n, {_sizes(shape)}), which the model takes; received {images.shape}. "
            "Resize or convert them first."
        )
    if not len(images):
        raise ValueError(f"images must hold at least one image; received none, shape {images.shape}.")
    images = images.astype(dtype, copy=False)
    finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"images must be finite; image {int(np.argmin(finite))} holds NaN or infinity. "
            "Look at how it was loaded or preprocessed."
        )
    return images


def check_channels(channels, count, layer):
    """Channel numbers as an int array; negative ones count from the end.

    Raises:
        ValueError: If one is no integer or out of range.
    """
    channels = np.atleast_1d(np.asarray(channels))
    if channels.ndim != 1 or not len(channels) or not np.issubdtype(channels.dtype, np.integer):
        raise ValueError(f"channel must be an int or a sequence of ints; received {channels.tolist()!r}.")
    for channel in channels:
        if not -count <= channel < count:
            raise ValueError(f"Layer '{layer}' has channels 0 to {count - 1}; received channel {channel}.")
    return channels % count


def check_channels_last(step):
    """A step whose layer takes maps as `(height, width, channels)`.

    Raises:
        ValueError: If it takes the channels first.
    """
    if step.layer.data_format != "channels_last":
        raise ValueError(
            f"Layer '{step.name}' works channels first; this package takes images as (height, width, channels). "
            "Build the model with data_format='channels_last'."
        )


def check_collisions(collisions):
    """One of the policies of `ops.unpool`.

    Raises:
        ValueError: If it is none of them.
    """
    if collisions not in COLLISIONS:
        raise ValueError(f"collisions must be one of {', '.join(COLLISIONS)}; received {collisions!r}.")


def check_positive(name, value):
    """A whole number above zero.

    Raises:
        ValueError: If it is anything else.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; received {value!r}.")
    return int(value)


def check_pair(name, value):
    """A size or stride as `(rows, columns)`, both whole numbers above zero."""
    pair = (value, value) if isinstance(value, Integral) else value
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"{name} must be a whole number or a pair (rows, columns); received {value!r}.")
    return tuple(check_positive(name, part) for part in pair)


def _sizes(shape):
    return ", ".join(str(size) for size in shape)
