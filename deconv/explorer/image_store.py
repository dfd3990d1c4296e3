"""Images of a data set by their ids: a bounded number in memory, and small copies as files for the pages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from deconv.datasets.picking import images_by_id
from deconv.explorer.pictures import SUFFIX, as_bytes, drawable, write_picture

_MOST_IN_MEMORY = 512
_SIDE = 256
"""Longest side of the copies, in pixels."""


class ImageStore:
    """Images of a data set by their ids.

    Args:
        dataset: The data set, see `deconv.datasets.picking.images_by_id`.
        folder: Folder for the copies.
        batch_size: Number of images read at a time.
    """

    def __init__(self, dataset: Any, folder: Path, batch_size: int) -> None:
        self.dataset, self.folder, self.batch_size = dataset, folder, batch_size
        self._images: dict[int, np.ndarray] = {}

    def images(self, ids: ArrayLike) -> np.ndarray:
        """Return the images with the given ids, in their order, as the data set has them.

        Returns:
            `(n, height, width, channels)`.

        Raises:
            ValueError: If an id does not exist.
        """
        wanted = np.asarray(ids, np.int64).ravel().tolist()
        missing = [number for number in dict.fromkeys(wanted) if number not in self._images]
        read = dict(zip(missing, images_by_id(self.dataset, missing, self.batch_size), strict=True)) if missing else {}
        images = np.stack([read[number] if number in read else self._images[number] for number in wanted])
        self._images |= read
        for number in list(self._images)[: max(0, len(self._images) - _MOST_IN_MEMORY)]:
            del self._images[number]
        return images

    def write(self, ids: Iterable[int]) -> None:
        """Write a copy of each image that has none yet, `NUMBER.webp`, or `.png` where Pillow cannot write WebP."""
        from deconv.plotting.display import intensities  # loads Matplotlib

        missing = [number for number in ids if not picture_path(self.folder, number).exists()]
        for first in range(0, len(missing), self.batch_size):
            part = missing[first : first + self.batch_size]
            for number, image in zip(part, self.images(part), strict=True):
                pixels = as_bytes(drawable(intensities(image[None])))[0]
                write_picture(picture_path(self.folder, number), pixels, longest=_SIDE)


def picture_path(folder: Path, number: int) -> Path:
    """Return the path of the copy of an image."""
    return folder / f"{number}{SUFFIX}"
