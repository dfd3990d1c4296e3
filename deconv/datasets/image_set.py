"""What every source gives: a named, finite stream of pictures."""

import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf

SPLITS = ("train", "test", "all")


class ImageSet(NamedTuple):
    """A finite set of pictures, and what it is.

    `dataset` gives one `(image, label, id)` at a time, not batched, in the order of the ids, the same at every pass:
    the image uint8 `image_shape` with values in [0, 255]; the label int32, an index of `class_names`, or -1 where
    there are no classes; the id int64, which says where in its source the picture is.
    """

    name: str
    split: str
    dataset: tf.data.Dataset
    class_names: tuple
    size: int
    image_shape: tuple
    source: str
    """One sentence for figures and records: which pictures these are and where they come from."""


def arrays(image_set, limit=None):
    """All pictures of a small set at once.

    Args:
        image_set: An `ImageSet`.
        limit: At most so many, from the start: a whole number from 0, or None for all.

    Returns:
        Images uint8 `(n, height, width, channels)`, labels int32 `(n,)`, ids int64 `(n,)`.

    Raises:
        ValueError: If an argument is something else, a picture cannot be read, or the stream is not what the set says
            of it: fewer or more pictures than `size`, or of another shape or type.
    """
    if not isinstance(image_set, ImageSet):
        raise ValueError(f"`arrays` takes an ImageSet, which `datasets.load` gives, got {image_set!r}.")
    if limit is not None and (not is_whole(limit) or limit < 0):
        raise ValueError(f"`limit` must be a whole number from 0, or None for all pictures, got {limit!r}.")
    dataset = image_set.dataset if limit is None else image_set.dataset.take(limit)
    count = image_set.size if limit is None else min(limit, image_set.size)
    images = np.empty((count, *image_set.image_shape), np.uint8)
    labels, ids = np.empty(count, np.int32), np.empty(count, np.int64)
    filled = 0
    try:
        for some_images, some_labels, some_ids in dataset.batch(256).as_numpy_iterator():
            part = slice(filled, filled + len(some_ids))
            _check_part(image_set, some_images, more=part.stop > count)
            images[part], labels[part], ids[part] = some_images, some_labels, some_ids
            filled = part.stop
    except tf.errors.OpError as error:
        raise ValueError(reason(error)) from error
    if filled < count:
        raise ValueError(
            f"The set '{image_set.name}' says size={image_set.size}, and its stream ends after {filled} pictures. "
            "Make it say the number that it gives."
        )
    return images, labels, ids


def _check_part(image_set, images, more):
    """That a batch is of the pictures that the set speaks of, and that there are no `more` of them."""
    if more:
        raise ValueError(
            f"The set '{image_set.name}' says size={image_set.size}, and its stream goes on after so many pictures. "
            "Make it say the number that it gives."
        )
    if images.shape[1:] != tuple(image_set.image_shape) or images.dtype != np.uint8:
        raise ValueError(
            f"The set '{image_set.name}' says that a picture is uint8 {tuple(image_set.image_shape)}, and its stream "
            f"gives {images.dtype} {images.shape[1:]}."
        )


def reason(error):
    """The sentence of ours inside an error that TensorFlow has wrapped.

    Args:
        error: A `tf.errors.OpError`, raised when a dataset comes to a picture that it cannot give.

    Returns:
        One line that names the picture or the set; for an error that is not ours, its first line.
    """
    lines = [line.strip() for line in str(error).splitlines()]
    asserted = re.search(r"assertion failed: \[ValueError: (.+?)\] \[", str(error))
    if asserted:
        return asserted[1].replace("\\'", "'")
    ours = [line.removeprefix("ValueError: ") for line in lines if line.startswith("ValueError: ")]
    return ours[-1] if ours else lines[0]


def is_whole(value):
    """Whether a value is a whole number; True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_image_size(image_size):
    """`(height, width)` as a tuple of positive ints, or None.

    Raises:
        ValueError: If it is anything else.
    """
    if image_size is None:
        return None
    sides = tuple(image_size) if isinstance(image_size, tuple | list) else ()
    if len(sides) != 2 or not all(is_whole(side) and side > 0 for side in sides):
        raise ValueError(f"`image_size` must be (height, width), two positive whole numbers, got {image_size!r}.")
    return tuple(int(side) for side in sides)


def fit_image(image, image_size, channels):
    """Bring one picture to a size and a number of channels.

    Args:
        image: uint8 tensor `(h, w, 1 or 3)`.
        image_size: `(height, width)` or None. The shorter side is resized (bilinear, antialiased), then the centre
            cropped.
        channels: 1, 3 or None. Grey is the luma of BT.601, as everywhere.

    Returns:
        uint8 tensor.
    """
    if channels == 1 and image.shape[-1] == 3:
        image = tf.image.rgb_to_grayscale(image)
    if channels == 3 and image.shape[-1] == 1:
        image = tf.image.grayscale_to_rgb(image)
    if image_size is None or tuple(image.shape[:2]) == image_size:
        return image
    height, width = image_size
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    ratio = tf.maximum(height / shape[0], width / shape[1])
    resized = tf.maximum(tf.cast(tf.round(shape * ratio), tf.int32), [height, width])
    image = tf.image.resize(image, resized, antialias=True)
    image = tf.image.resize_with_crop_or_pad(image, height, width)
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
