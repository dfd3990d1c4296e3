"""The common form of all data sets: a named, finite set of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv.graph import fingerprint
from deconv.runtime.error_messages import reason
from deconv.runtime.short_repr import short_repr

Split = Literal["train", "test", "all"]
SPLITS: tuple[Split, ...] = ("train", "test", "all")
_LONG_SIDED = 16
"""Above this ratio of the resized longer side to the wanted one, an image is not resized as a whole, to save memory."""


class Encoded(NamedTuple):
    """A dataset before its images are decoded, for callers that need only a part of them.

    Attributes:
        stream: Dataset of `(input of decode, label, id)`, not batched.
        decode: Function `(input, label, id) -> (image, label, id)` of tensors.
        dataset: The decoded images, in the same order; they are decoded in parallel.
    """

    stream: tf.data.Dataset
    decode: Callable
    dataset: tf.data.Dataset

    def __repr__(self) -> str:
        return short_repr(self)

    @classmethod
    def of(cls, stream: tf.data.Dataset, decode: Callable) -> Encoded:
        return cls(stream, decode, stream.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True))


class ImageSet(NamedTuple):
    """A finite set of images with its description.

    `dataset` gives `(image, label, id)`, not batched, in the order of the ids, the same at every pass: the image is
    uint8 `image_shape` with values in [0, 255]; the label int32, an index into `class_names`, or -1 where there are no
    classes; the id int64, the position of the image in its source.

    Where an image may belong to several classes, the label is int8 `(classes,)`: 1 for a class of the image, 0 for any
    other, -1 for undecided, because the image shows the class only in a way that is hard to recognise.
    """

    name: str
    split: str
    dataset: tf.data.Dataset
    class_names: tuple[str, ...]
    size: int
    image_shape: tuple[int, int, int]
    source: str
    """One sentence for figures and records: the images and their origin."""
    encoded: Encoded | None = None
    """The same images before they are decoded. Used only if its `dataset` is the one of this set."""
    train_size: int | None = None
    """Number of images, from the first on, that the source provides for training; None if unknown."""
    files: tuple = ()
    """The file of each image, in their order, if every image is a file of its own."""

    @property
    def several(self) -> bool:
        """Whether an image may belong to several classes."""
        return self.dataset.element_spec[1].shape.rank == 1

    @property
    def identity(self) -> dict[str, Any]:
        """What distinguishes this set from others, `{aspect: value}`; for image files also `fingerprint.of_files`."""
        aspects: dict[str, Any] = {
            "name": str(self.name),
            "split": self.split,
            "size": int(self.size),
            "source": self.source,
        }
        aspects["image shape"] = [int(side) for side in self.image_shape]
        return aspects | ({"content": fingerprint.of_files(self.files)} if self.files else {})

    def listing(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels int32 `(n,)`, or int8 `(n, classes)` of a set with several, and ids int64 `(n,)` of all images.

        They are in the order of the set; the images are not decoded.
        """
        numbers = self._before_decoding().stream.map(lambda _, label, id: (label, id)).batch(1024)
        batches = [*numbers.as_numpy_iterator()] or [(self._labels(0), np.empty(0, np.int64))]
        labels, ids = (np.concatenate(part) for part in zip(*batches, strict=True))
        return labels, ids

    def pick(self, ids: ArrayLike) -> np.ndarray:
        """The images with the given ids; no other image is decoded.

        Args:
            ids: Ints of any shape; an id may occur more than once.

        Returns:
            uint8 `(number of ids, *image_shape)`, in the order of the ids.

        Raises:
            KeyError: If an id does not exist.
        """
        wanted = np.unique(np.asarray(ids, np.int64))
        images: dict[int, np.ndarray] = {}

        def is_wanted(_, label, id):
            return tf.reduce_any(tf.cast(id, tf.int64) == wanted)

        for image, _, id in self._part(lambda stream: stream.filter(is_wanted)).as_numpy_iterator():
            images[int(id)] = image
            if len(images) == len(wanted):
                break
        return np.stack([images[number] for number in np.ravel(ids).tolist()])

    def after(self, count: int) -> tf.data.Dataset:
        """The dataset without its first `count` images, which are not decoded."""
        return self._part(lambda stream: stream.skip(count))

    def shard(self, count: int, index: int) -> ImageSet:
        """Every `count`-th image, starting at number `index`, as an `ImageSet`: the part of one of `count` workers.

        Ids and classes do not change. The parts are disjoint and together contain all images.

        Raises:
            ValueError: If `count` is not a whole number from 1, or `index` not one from 0 to `count - 1`.
        """
        if not is_whole(count) or not is_whole(index) or not 0 <= index < count:
            raise ValueError(
                "`shard(count, index)` takes the number of parts and which of them, from 0 to count - 1; got "
                f"count={count!r} and index={index!r}."
            )
        encoded = self._before_decoding()
        encoded = Encoded.of(encoded.stream.shard(count, index), encoded.decode)
        return self._replace(
            dataset=encoded.dataset,
            encoded=encoded,
            size=len(range(index, self.size, count)),
            train_size=None if self.train_size is None else len(range(index, self.train_size, count)),
            files=self.files[index::count],
            source=f"{self.source} Of these, part {index + 1} of {count}.",
        )

    def _before_decoding(self):
        """`encoded` if it belongs to this dataset; otherwise the decoded images with an identity as `decode`."""
        if self.encoded is not None and self.encoded.dataset is self.dataset:
            return self.encoded
        return Encoded(self.dataset, lambda image, label, id: (image, label, id), self.dataset)

    def _labels(self, count):
        """An empty array for the labels of `count` images."""
        several = self.several
        return np.empty((count, len(self.class_names)) if several else count, np.int8 if several else np.int32)

    def _part(self, chosen):
        """The decoded images of a part of the stream; `chosen` maps the stream to that part."""
        encoded = self._before_decoding()
        return Encoded.of(chosen(encoded.stream), encoded.decode).dataset


def arrays(image_set: ImageSet, limit: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Load all images of a small set into arrays.

    Args:
        image_set: An `ImageSet`.
        limit: Load at most this many, from the start: a whole number from 0, or None for all.

    Returns:
        Images uint8 `(n, height, width, channels)`, labels int32 `(n,)`, or int8 `(n, classes)` of a set with several,
        ids int64 `(n,)`.

    Raises:
        ValueError: If an argument is invalid, an image cannot be read, or the dataset differs from its description:
            fewer or more images than `size`, or another shape or type.
    """
    if not isinstance(image_set, ImageSet):
        raise ValueError(f"`image_set` must be an ImageSet, as returned by `datasets.load`, got {image_set!r}.")
    if limit is not None and (not is_whole(limit) or limit < 0):
        raise ValueError(f"`limit` must be a whole number from 0, or None for all images, got {limit!r}.")
    dataset = image_set.dataset if limit is None else image_set.dataset.take(limit)
    count = image_set.size if limit is None else min(limit, image_set.size)
    images = np.empty((count, *image_set.image_shape), np.uint8)
    labels, ids = image_set._labels(count), np.empty(count, np.int64)
    filled = 0
    try:
        for batch in dataset.batch(256).as_numpy_iterator():
            part = slice(filled, filled + len(batch[0]))
            _check_batch(image_set, batch[0], more=part.stop > count)
            images[part], labels[part], ids[part] = batch
            filled = part.stop
    except tf.errors.OpError as error:
        raise ValueError(reason(error)) from error
    if filled < count:
        raise ValueError(
            f"The set '{image_set.name}' declares size={image_set.size}, but its dataset has only {filled} images. "
            "Correct `size`."
        )
    return images, labels, ids


def _check_batch(image_set, images, more):
    """Check the shape and type of a batch of images, and that there are no `more` than the declared size."""
    if more:
        raise ValueError(
            f"The set '{image_set.name}' declares size={image_set.size}, but its dataset has more images. "
            "Correct `size`."
        )
    if images.shape[1:] != tuple(image_set.image_shape) or images.dtype != np.uint8:
        raise ValueError(
            f"The set '{image_set.name}' declares images of dtype uint8 and shape {tuple(image_set.image_shape)}, but "
            f"its dataset yields {images.dtype} {images.shape[1:]}. Correct `image_shape` or the dataset."
        )


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; booleans are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_image_size(image_size: Any) -> tuple[int, int] | None:
    """`(height, width)` as a tuple of positive ints, or None.

    Raises:
        ValueError: If it is invalid.
    """
    if image_size is None:
        return None
    sides = tuple(image_size) if isinstance(image_size, tuple | list) else ()
    if len(sides) != 2 or not all(is_whole(side) and side > 0 for side in sides):
        raise ValueError(f"`image_size` must be (height, width), two positive whole numbers, got {image_size!r}.")
    height, width = sides
    return int(height), int(width)


def fit_image(image: tf.Tensor, image_size: tuple[int, int] | None, channels: Literal[1, 3] | None) -> tf.Tensor:
    """Resize and crop an image, and convert its number of channels.

    Args:
        image: uint8 tensor `(h, w, 1 or 3)`.
        image_size: `(height, width)` or None. The shorter side is resized (bilinear, antialiased), then the centre
            is cropped. `(resized - wanted) // 2` rows or columns are cut off at the top and the left, and the
            others, one more if the difference is odd, at the bottom and the right.
        channels: 1, 3 or None. Grey is the luma of BT.601.

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

    def whole_then_crop():
        return tf.image.resize_with_crop_or_pad(tf.image.resize(image, resized, antialias=True), height, width)

    def crop_alone():
        """Same up to rounding, without computing what is cut off: for 4000x1 pixels that is 3,999 of 4,000 parts."""
        scale = tf.cast(resized, tf.float32) / shape
        before = tf.cast((resized - [height, width]) // 2, tf.float32)
        return tf.raw_ops.ScaleAndTranslate(
            images=image[None],
            size=[height, width],
            scale=scale,
            translation=-before,
            kernel_type="triangle",
            antialias=True,
        )[0]

    long_sided = tf.reduce_max(resized // [height, width]) > _LONG_SIDED
    image = tf.ensure_shape(tf.cond(long_sided, crop_alone, whole_then_crop), (height, width, image.shape[-1]))
    return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
