"""What a data set gives, element by element: which part is the image, which the label, which the id."""

from contextlib import closing
from typing import NamedTuple

import numpy as np

NOT_THESE = (
    "The data set must yield images, (image, label) or (image, label, id), single or in batches; received {element}. "
    "Map it to one of these."
)


class Batch(NamedTuple):
    """Some images, in the order of their data set.

    Attributes:
        images: `(n, height, width, channels)`, as the data set gives them.
        labels: int64 `(n,)`; -1 where it has none.
        ids: int64 `(n,)`; where it has none, how many images come before each.
        stop: How many images have come by the end of this batch.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    stop: int


def parts_of(element):
    """Images, labels and ids of what a data set gives; None for what it does not give, and for sample weights.

    Args:
        element: Images, a tuple or list of one to three parts, or a dict. The parts have a `dtype`, or are numbers.

    Raises:
        ValueError: If it is something else.
    """
    if isinstance(element, dict):
        known = {name.removesuffix("s"): part for name, part in element.items() if isinstance(name, str)}
        if "image" not in known:
            raise ValueError(
                f"The elements of the data set are dicts with the keys {', '.join(map(str, element)) or 'none'}; the "
                "keys image, label and id are read, and image must be there. Map them to (image, label)."
            )
        parts = [known.get(name) for name in ("image", "label", "id")]
    else:
        parts = list(element) if isinstance(element, tuple | list) else [element]
        if not 0 < len(parts) <= 3:
            raise ValueError(NOT_THESE.format(element=f"{len(parts)} parts"))
        parts += [None] * (3 - len(parts))
    if parts[2] is not None and _kind(parts[2]) == "f":
        parts[2] = None  # a sample weight
    return parts


def _kind(part):
    """The kind of a part's numbers, as NumPy's dtypes have it; of a `TensorSpec` or a tensor too."""
    dtype = part.dtype if hasattr(part, "dtype") else np.asarray(part).dtype
    if isinstance(dtype, np.dtype):
        return dtype.kind
    return "f" if "float" in str(dtype) else "other"


def whole_numbers(name, numbers, count=None):
    """Labels or ids as int64 `(n,)`.

    Raises:
        ValueError: If they are something else, or not `count` of them.
    """
    numbers = np.asarray(numbers)
    count = numbers.size if count is None else count
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"The {name} of a data set must be one whole number for each image; received {numbers.dtype} of shape "
            f"{numbers.shape} for {count} images. Map it to images, (image, label) or (image, label, id)."
        )
    return numbers.astype(np.int64)


def class_numbers(labels, count):
    """Labels as int64 `(n,)`: whole numbers of any dtype, in one column too, or one-hot rows.

    Raises:
        ValueError: If they are something else, or not `count` of them.
    """
    labels = np.asarray(labels)
    if labels.shape == (count, 1):
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "biuf" and ((labels == 0) | (labels == 1)).all():
        one_hot = (labels == 1).sum(axis=1) == 1
        labels = labels.argmax(axis=1) if one_hot.all() else labels
    if labels.dtype.kind in "bf" and np.all(labels == np.floor(labels)):
        labels = labels.astype(np.int64)
    return whole_numbers("labels", labels, count)


def batch_of(before, images, labels=None, ids=None):
    """A `Batch` of arrays, `before` images having come already."""
    count = len(images)
    labels = np.full(count, -1) if labels is None else class_numbers(labels, count)
    ids = np.arange(before, before + count) if ids is None else whole_numbers("ids", ids, count)
    if not before and count > 1 and (ids == 1).all() and (images[1:] != images[:1]).any():
        raise ValueError(
            "The third part of the data set's elements, the ids of the images, is 1 for all of the first batch. If "
            "these are sample weights, give them as floating point, or map the data set to (image, label)."
        )
    return Batch(images, labels, ids, before + count)


def later(batches, after):
    """Of some batches what comes after the first so many images."""
    with closing(batches):
        for batch in batches:
            new = max(0, batch.stop - after)
            if new >= len(batch.images):
                yield batch
            elif new:  # the batches were of another size when the first ones were taken
                yield Batch(*(part[-new:] for part in batch[:3]), batch.stop)
