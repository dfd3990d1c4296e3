"""Split the elements of a data set into images, labels and ids, and check them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deconv.runtime.short_repr import short_repr

NOT_THESE = (
    "The data set must yield images, (image, label) or (image, label, id), single or in batches; received {element}. "
    "Map it to one of these."
)


class Batch(NamedTuple):
    """A batch of images, in the order of their data set.

    Attributes:
        images: `(n, height, width, channels)`, as the data set yields them.
        labels: int64 `(n,)`; -1 where the data set has no labels.
        ids: int64 `(n,)`; the position in the data set, from 0, where it has no ids.
        stop: Number of images up to the end of this batch.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    stop: int

    def __repr__(self) -> str:
        return short_repr(self)


def parts_of(element: Any) -> list[Any]:
    """Split an element of a data set into images, labels and ids.

    Args:
        element: Images, a tuple or list of one to three parts, or a dict. The parts have a `dtype` or are numbers.

    Returns:
        List `[images, labels, ids]`, None for missing parts. A floating-point third part holds sample weights and
        counts as missing.

    Raises:
        ValueError: If the element has another form.
    """
    if isinstance(element, dict):
        known = {name.removesuffix("s"): part for name, part in element.items() if isinstance(name, str)}
        if "image" not in known:
            raise ValueError(
                f"The elements of the data set are dicts with the keys {', '.join(map(str, element)) or 'none'}; the "
                "key image is required, label and id are optional. Map the elements to (image, label)."
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
    """NumPy's dtype kind of an array; of a tensor or `TensorSpec`, "f" for floating point and "other" for the rest."""
    dtype = part.dtype if hasattr(part, "dtype") else np.asarray(part).dtype
    if isinstance(dtype, np.dtype):
        return dtype.kind
    return "f" if "float" in str(dtype) else "other"


def whole_numbers(name: str, numbers: ArrayLike, count: int | None = None) -> np.ndarray:
    """Convert labels or ids to int64 `(n,)`.

    Args:
        name: "labels" or "ids", for the message.
        numbers: Integers `(n,)` of any dtype.
        count: Expected n; None for any.

    Raises:
        ValueError: If they are not integers of that shape.
    """
    numbers = np.asarray(numbers)
    count = numbers.size if count is None else count
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"The {name} of a data set must be one whole number for each image; received {numbers.dtype} of shape "
            f"{numbers.shape} for {count} image{'' if count == 1 else 's'}. Map it to images, (image, label) or "
            "(image, label, id)."
        )
    return numbers.astype(np.int64)


def class_numbers(labels: ArrayLike, count: int) -> np.ndarray:
    """Convert labels to int64 `(n,)`.

    Args:
        labels: Whole numbers of any dtype, `(n,)` or `(n, 1)`, or one-hot rows `(n, classes)`.
        count: Expected n.

    Raises:
        ValueError: If they have another form.
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


def batch_of(before: int, images: np.ndarray, labels: ArrayLike | None = None, ids: ArrayLike | None = None) -> Batch:
    """Return a `Batch` of arrays; `before` is the number of images in the batches before it."""
    count = len(images)
    labels = np.full(count, -1) if labels is None else class_numbers(labels, count)
    ids = np.arange(before, before + count) if ids is None else whole_numbers("ids", ids, count)
    if not before and count > 1 and (ids == 1).all() and (images[1:] != images[:1]).any():
        raise ValueError(
            "The third part of the elements of the data set, the image id, is 1 for all images of the first batch. If "
            "these are sample weights, convert them to floating point, or map the data set to (image, label)."
        )
    return Batch(images, labels, ids, before + count)


def skip_images(batches: Generator[Batch, None, None], after: int) -> Iterator[Batch]:
    """Yield the batches after the first `after` images; the generator `batches` is closed at the end."""
    with closing(batches):
        for batch in batches:
            new = max(0, batch.stop - after)
            if new >= len(batch.images):
                yield batch
            elif new:  # the first `after` images were read with another batch size
                yield Batch(batch.images[-new:], batch.labels[-new:], batch.ids[-new:], batch.stop)
