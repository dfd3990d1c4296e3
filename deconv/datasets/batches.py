"""Batches of images with labels and ids from any kind of data set, one batch at a time."""

from __future__ import annotations

import contextvars
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from deconv.datasets.sequences import Sequence, check_ends, is_iterated, is_sequence, tensors_of
from deconv.graph import fingerprint
from deconv.graph.dataset_elements import (
    NOT_THESE,
    Batch,
    batch_of,
    class_numbers,
    parts_of,
    skip_images,
    whole_numbers,
)
from deconv.runtime.dtypes import any_array

__all__ = ["Arrays", "Batch", "Stream", "as_batches", "class_numbers", "prefetch", "whole_numbers"]

Item = TypeVar("Item")

_FINITE = ("Take", "Zip")
"""Parts of the type names of datasets that are finite although their input is infinite."""


def as_batches(dataset: Any) -> Arrays | Stream | Sequence:
    """Wrap a data set so that it can be read in batches.

    Args:
        dataset: An `ImageSet`, or any object with such a `.dataset`; arrays (NumPy, PyTorch or on disk); a
            `tf.data.Dataset`; or any object with a length and elements by number: Keras's `PyDataset` and the flows of
            its `ImageDataGenerator`, PyTorch's `Dataset` and `DataLoader`. Anything but arrays is read batch by batch.
            The elements are images, `(image, label)` or `(image, label, id)`, single or in batches, or dicts with the
            keys image, label and id. As in Keras, a third part of floating point is a sample weight; it is ignored.
            Labels may be one-hot.

    Returns:
        `Arrays`, `Stream` or `Sequence`.

    Raises:
        ValueError: If it is none of these, or infinite.
    """
    inside = dataset if is_iterated(dataset) else getattr(dataset, "dataset", dataset)
    if isinstance(inside, tf.data.Dataset):
        return Stream(inside, dataset)
    inside = tensors_of(inside)
    if is_iterated(inside) or is_sequence(inside):
        return Sequence(inside)
    check_ends(inside)
    several = isinstance(inside, tuple) and 0 < len(inside) <= 3 and len(np.shape(inside[0])) == 4
    images, labels, ids = parts_of(inside) if several or isinstance(inside, dict) else (inside, None, None)
    images = images if hasattr(images, "shape") else any_array(images)
    labels, ids = (part if part is None or hasattr(part, "shape") else np.asarray(part) for part in (labels, ids))
    if not len(images.shape) or images.dtype == object:
        raise ValueError(f"A data set is an array of images or a tf.data.Dataset; received {dataset!r}.")
    if labels is not None and (np.asarray(labels[:0]).dtype.kind not in "iu" or len(labels.shape) != 1):
        labels = class_numbers(labels, len(images))
    for name, part in (("labels", labels), ("ids", ids)):
        if part is not None:
            whole_numbers(name, part, len(images))
    return Arrays(images, labels, ids)


def prefetch(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """Yield the items of a generator; a thread computes the next item meanwhile.

    At most one item is computed in advance. An exception of the generator is raised here when its item is due. When
    this generator is closed, the thread ends and closes `items`, as soon as the current item is complete.
    """
    context = contextvars.copy_context()  # for example np.errstate

    def next_item() -> Item | None:
        return context.run(next, items, None)

    with closing(items), ThreadPoolExecutor(1, "deconv-images") as thread:
        following = thread.submit(next_item)
        while (item := following.result()) is not None:
            following = thread.submit(next_item)
            yield item


class Arrays:
    """Arrays of images and, optionally, of labels and ids; they are sliced and never copied as a whole."""

    first: None = None

    def __init__(self, images: Any, labels: Any = None, ids: Any = None) -> None:
        self.images, self.labels, self.ids = images, labels, ids
        self.channels: int = images.shape[-1]

    def identity(self) -> dict[str, Any]:
        """Shape and a hash of the content, see `fingerprint.of_array`."""
        parts = {"images": self.images, "labels": self.labels, "ids": self.ids}
        hashes = {name: fingerprint.of_array(part) for name, part in parts.items() if part is not None}
        shape = [int(size) for size in self.images.shape]
        return {"kind": "arrays", "numbered": self.ids is not None, "shape": shape} | hashes

    def check_first(self) -> None:
        """Do nothing: the identity already covers the content."""

    def batches(self, batch_size: int, after: int = 0) -> Iterator[Batch]:
        """Batches of the images after the first `after`."""
        for start in range(after, len(self.images), batch_size):
            part = slice(start, start + batch_size)
            labels, ids = (None if array is None else array[part] for array in (self.labels, self.ids))
            yield batch_of(start, np.asarray(self.images[part]), labels, ids)


class Stream:
    """A `tf.data.Dataset` whose elements are as `parts_of` accepts them, single or in batches.

    Args:
        dataset: The dataset.
        holder: The object that holds it. If it has an `identity` and can skip images without reading them
            (`after(count)`), as an `ImageSet` has, these are used. Any other dataset is read from its start and
            identified by its first image.

    Attributes:
        first: Hash of the first image, once it has been read; None where the holder has an identity. If set before
            reading, the first image must have this hash.
    """

    def __init__(self, dataset: tf.data.Dataset, holder: Any = None) -> None:
        spec = dataset.element_spec
        if not isinstance(spec, tuple | list | dict | tf.TensorSpec):
            raise ValueError(NOT_THESE.format(element=spec))
        image, _, id = parts_of(spec)
        rank = image.shape.rank if isinstance(image, tf.TensorSpec) else None
        if rank not in (3, 4):
            raise ValueError(NOT_THESE.format(element=spec))
        if _never_ends(dataset):
            raise ValueError(
                "The data set never ends; take a part of it with dataset.take(count), or leave repeat() out."
            )
        self.dataset, self.single, self.numbered = dataset, rank == 3, id is not None
        self.first: str | None = None
        self.channels: int | None = image.shape[-1]
        self.several = getattr(holder, "several", False) is True
        self.holder = holder if self.single and hasattr(holder, "identity") and hasattr(holder, "after") else None

    def identity(self) -> dict[str, Any]:
        """Identity of the holder; otherwise types of the elements and their number, which is all that is known."""
        if self.holder is not None:
            return {"kind": "ImageSet", "numbered": self.numbered} | self.holder.identity
        elements, count = str(self.dataset.element_spec), int(self.dataset.cardinality())
        return {"kind": "tf.data.Dataset", "numbered": self.numbered, "elements": elements, "cardinality": count}

    def check_first(self) -> None:
        """Read the first image only, and check that it is the expected one.

        Raises:
            ValueError: If it is not.
        """
        if self.holder is None:
            for _ in self._read(self.dataset.take(1), 1):
                pass

    def batches(self, batch_size: int, after: int = 0) -> Iterator[Batch]:
        """Batches of the images after the first `after`."""
        if self.holder is not None:
            yield from self._read(self.holder.after(after), batch_size, before=after)
            return
        yield from skip_images(self._read(self.dataset, batch_size), after)

    def _read(self, dataset, batch_size, before=0):
        if self.single:
            dataset = dataset.batch(batch_size)
        for element in dataset.prefetch(1).as_numpy_iterator():
            images, labels, ids = parts_of(element)
            if not before and self.holder is None:
                self.meet(images[:1])
            if labels is not None and self.several:
                labels = whole_numbers("labels", labels, len(images))
            yield (batch := batch_of(before, images, labels, ids))
            before = batch.stop

    def meet(self, image: np.ndarray) -> None:
        """Check the first image against the expected one; without one, expect this image from now on."""
        self.first = fingerprint.check_first_image(image, self.first)


def _never_ends(dataset):
    """Whether a `tf.data.Dataset` is known to be infinite; the cardinality of a filtered one is unknown."""
    while dataset.cardinality() == tf.data.UNKNOWN_CARDINALITY:
        inputs = dataset._inputs()
        if len(inputs) != 1 or any(name in type(dataset).__name__ for name in _FINITE):
            return False
        dataset = inputs[0]
    return bool(dataset.cardinality() == tf.data.INFINITE_CARDINALITY)
