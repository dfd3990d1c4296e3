"""A data set, whatever it is, as batches of images with labels and ids, one batch at a time."""

import contextvars
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deconv import fingerprint


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


def opened(dataset):
    """What hands a data set out in batches: `Arrays` or `Stream`.

    Args:
        dataset: What `top_activations` takes.

    Raises:
        ValueError: If it is nothing of the kind, or a stream without end.
    """
    inside = getattr(dataset, "dataset", dataset)
    if isinstance(inside, tf.data.Dataset):
        return Stream(inside, dataset)
    several = isinstance(inside, tuple) and 0 < len(inside) <= 3 and len(np.shape(inside[0])) == 4
    images, *numbers = (
        part if hasattr(part, "shape") else np.asarray(part) for part in (inside if several else [inside])
    )
    if not len(images.shape):
        raise ValueError(f"A data set is an array of images or a tf.data.Dataset; received {dataset!r}.")
    for name, part in zip(("labels", "ids"), numbers, strict=False):
        whole_numbers(name, part, len(images))
    return Arrays(images, *numbers)


def ahead(items):
    """Each item of a generator, while the next one is being made in a thread of its own.

    There is never more than one in advance. What goes wrong in the making is raised here, when its turn comes. The
    thread ends, and the items are closed, when this generator is: as soon as the item in the making is made.
    """
    context = contextvars.copy_context()  # np.errstate, for one
    with closing(items), ThreadPoolExecutor(1, "deconv-images") as thread:
        following = thread.submit(context.run, next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(context.run, next, items, None)
            yield item


class Arrays:
    """Arrays of images and, perhaps, of labels and ids; sliced, never copied as a whole."""

    first = None

    def __init__(self, images, labels=None, ids=None):
        self.images, self.labels, self.ids = images, labels, ids

    def identity(self):
        """Shape, and a hash of the content: see `fingerprint.of_array`."""
        parts = {"images": self.images, "labels": self.labels, "ids": self.ids}
        hashes = {name: fingerprint.of_array(part) for name, part in parts.items() if part is not None}
        shape = [int(size) for size in self.images.shape]
        return {"kind": "arrays", "numbered": self.ids is not None, "shape": shape} | hashes

    def check_first(self):
        """Nothing to check: the identity says all."""

    def batches(self, batch_size, after=0):
        """Batches of the images that come after the first so many."""
        for start in range(after, len(self.images), batch_size):
            part = slice(start, start + batch_size)
            numbers = (None if some is None else some[part] for some in (self.labels, self.ids))
            yield _batch(start, np.asarray(self.images[part]), *numbers)


class Stream:
    """A `tf.data.Dataset` of images, `(image, label)` or `(image, label, id)`, single or in batches.

    Args:
        dataset: The dataset.
        holder: What holds it. If it can tell its own `identity` and can leave images out unread (`after(count)`), as an
            `ImageSet` does, it is asked to. Any other dataset is read from its start and known by its first image.

    Attributes:
        first: Hash of the first image, once it has been read; None where the holder knows its identity. Set before
            reading, it is what the first image must have.
    """

    def __init__(self, dataset, holder=None):
        spec = dataset.element_spec
        parts = spec if isinstance(spec, tuple) else (spec,)
        rank = parts[0].shape.rank if isinstance(parts[0], tf.TensorSpec) else None
        if rank not in (3, 4) or len(parts) > 3:
            raise ValueError(
                "The data set must yield images, (image, label) or (image, label, id), single or in batches; "
                f"received {spec}. Map it to one of these."
            )
        if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "The data set never ends; take a part of it with dataset.take(count), or leave repeat() out."
            )
        self.dataset, self.single, self.numbered, self.first = dataset, rank == 3, len(parts) == 3, None
        self.holder = holder if self.single and hasattr(holder, "identity") and hasattr(holder, "after") else None

    def identity(self):
        """What the holder says; else the types of the elements and how many there are. More cannot be known."""
        if self.holder is not None:
            return {"kind": "ImageSet", "numbered": self.numbered} | self.holder.identity
        elements, count = str(self.dataset.element_spec), int(self.dataset.cardinality())
        return {"kind": "tf.data.Dataset", "numbered": self.numbered, "elements": elements, "cardinality": count}

    def check_first(self):
        """Read no more than the first image, and see that it is the one expected.

        Raises:
            ValueError: If it is another.
        """
        if self.holder is None:
            for _ in self._read(self.dataset.take(1), 1):
                pass

    def batches(self, batch_size, after=0):
        """Batches of the images that come after the first so many."""
        if self.holder is not None:
            yield from self._read(self.holder.after(after), batch_size, before=after)
            return
        for batch in self._read(self.dataset, batch_size):
            new = max(0, batch.stop - after)
            if new >= len(batch.images):
                yield batch
            elif new:  # the batches were of another size when the first ones were taken
                yield Batch(*(part[-new:] for part in batch[:3]), batch.stop)

    def _read(self, dataset, batch_size, before=0):
        if self.single:
            dataset = dataset.batch(batch_size)
        for parts in dataset.prefetch(1).as_numpy_iterator():
            parts = parts if isinstance(parts, tuple) else (parts,)
            if not before and self.holder is None:
                self._meet(parts[0][:1])
            yield (batch := _batch(before, *parts))
            before = batch.stop

    def _meet(self, image):
        found = fingerprint.of_array(image)
        if self.first not in (None, found):
            raise ValueError(
                "The data set begins with another image than at the pass before, or when the checkpoint was saved: "
                "either it is another one, or its order changes from one pass to the next. Give the same images in the "
                "same order (without shuffle, say), or begin anew with another checkpoint."
            )
        self.first = found


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


def _batch(before, images, labels=None, ids=None):
    count = len(images)
    labels = np.full(count, -1) if labels is None else whole_numbers("labels", labels, count)
    ids = np.arange(before, before + count) if ids is None else whole_numbers("ids", ids, count)
    return Batch(images, labels, ids, before + count)
