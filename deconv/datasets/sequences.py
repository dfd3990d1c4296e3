"""Data sets with a length, read by number or from their start: Keras's `PyDataset`, PyTorch's `DataLoader`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from deconv.graph import fingerprint
from deconv.graph.dataset_elements import Batch, batch_of, parts_of, skip_images


class Sequence:
    """A data set whose elements are as `elements.parts_of` accepts them, single or in batches; read batch by batch.

    The flows of Keras's `ImageDataGenerator` provide their shuffled order: the id of an image is then its index in the
    arrays or the list of files. For all other sources, images are numbered in the order of reading.

    Args:
        source: The data set: a `DataLoader`, or an object with a length and elements by number.

    Attributes:
        first: See `batches.Stream`.

    Raises:
        ValueError: If it has no length.
    """

    def __init__(self, source: Any) -> None:
        self.source, self.length = source, _length(source)
        self.first: str | None = None

    def identity(self) -> dict[str, Any]:
        """Type, length and the form of the first element, which is all that is known."""
        images, *numbers = self._first
        form = [str(images.dtype), *(int(size) for size in images.shape[-3:]), *(part is not None for part in numbers)]
        elements = " ".join(map(str, form))
        kind = type(self.source).__name__
        return {"kind": kind, "numbered": self.numbered, "elements": elements, "length": self.length}

    @property
    def numbered(self) -> bool:
        """Whether the images have ids of their own."""
        return self.length > 0 and self._first[2] is not None

    @property
    def channels(self) -> int | None:
        """Number of channels of the images."""
        return self._first[0].shape[-1] if self.length else None

    def check_first(self) -> None:
        """Read the first element only, and check that its image is the expected one.

        Raises:
            ValueError: If it is not.
        """
        for images, *_ in self._elements(1):
            self._meet(images if images.ndim == 3 else images[0])

    def batches(self, batch_size: int, after: int = 0) -> Iterator[Batch]:
        """Batches of the images after the first `after`; single images are stacked to batches."""
        yield from skip_images(self._batches(batch_size), after)

    def _batches(self, batch_size):
        waiting, stop = [], 0
        for element in self._elements(self.length):
            images = element[0]
            if images.ndim not in (3, 4):
                raise ValueError(
                    "The elements of the data set must be images (height, width, channels) or batches of them; "
                    f"received {images.dtype} {images.shape}."
                )
            if not stop and not waiting:
                self._meet(images if images.ndim == 3 else images[0])
            if images.ndim == 3:
                waiting.append(element)
                if len(waiting) < batch_size:
                    continue
                element, waiting = _stacked(waiting), []
            if len(element[0]):
                yield (batch := batch_of(stop, *element))
                stop = batch.stop
        if waiting:
            yield batch_of(stop, *_stacked(waiting))

    def _elements(self, count):
        """The first `count` elements as lists of images, labels and ids."""
        if is_iterated(self.source):
            for _, element in zip(range(count), self.source, strict=False):
                yield [_array(part) for part in parts_of(element)]
            return
        for place in range(count):
            element = [_array(part) for part in parts_of(self.source[place])]
            order = getattr(self.source, "index_array", None)
            if order is not None and element[2] is None and hasattr(self.source, "batch_size"):
                start = place * self.source.batch_size
                element[2] = np.asarray(order[start : start + self.source.batch_size])
            yield element

    @cached_property
    def _first(self):
        return next(iter(self._elements(1)), (np.empty((0, 0, 0, 0)), None, None))

    def _meet(self, image):
        self.first = fingerprint.check_first_image(np.asarray(image)[None], self.first)


def is_iterated(dataset: Any) -> bool:
    """Whether it is a `DataLoader` or `IterableDataset` of PyTorch, which is not imported for this check."""
    data = sys.modules.get("torch.utils.data")
    return data is not None and isinstance(dataset, data.DataLoader | data.IterableDataset)


def is_sequence(dataset: Any) -> bool:
    """Whether it is read by number: it is indexable, and neither an array nor a list or dict of arrays."""
    if isinstance(dataset, str | bytes | list | tuple | dict) or (
        hasattr(dataset, "shape") and hasattr(dataset, "dtype")
    ):
        return False
    return hasattr(dataset, "__getitem__") and (hasattr(dataset, "__len__") or hasattr(dataset, "num_batches"))


def tensors_of(dataset: Any) -> Any:
    """The tensors of a `TensorDataset` of PyTorch; anything else unchanged."""
    data = sys.modules.get("torch.utils.data")
    return dataset.tensors if data is not None and isinstance(dataset, data.TensorDataset) else dataset


def check_ends(dataset: Any) -> None:
    """Check that a data set that is read in sequence has a length.

    Raises:
        ValueError: If it is a generator, an iterator or another iterable without a length.
    """
    if hasattr(dataset, "__iter__") and not hasattr(dataset, "__len__") and not hasattr(dataset, "shape"):
        raise ValueError(_endless(dataset))


def _length(source):
    """Number of elements.

    Raises:
        ValueError: If it has no length, or an infinite one.
    """
    try:
        length = source.num_batches if hasattr(type(source), "num_batches") else len(source)
    except (TypeError, NotImplementedError, AttributeError):
        length = None
    if not isinstance(length, int | np.integer):
        raise ValueError(_endless(source))
    return int(length)


def _endless(dataset):
    return (
        f"The data set, a {type(dataset).__name__}, has no length, so that it may never end. Give arrays of its first "
        "images, tf.data.Dataset.from_generator(...).take(count), or a data set that has a length (__len__)."
    )


def _array(part):
    """A part of an element as an array; None remains None."""
    if part is None:
        return None
    return np.asarray(part.detach().cpu() if hasattr(part, "detach") else part)


def _stacked(elements):
    """Stack the lists of images, labels and ids of single images to one batch."""
    return [None if parts[0] is None else np.stack(parts) for parts in zip(*elements, strict=True)]
