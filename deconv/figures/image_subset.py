"""Subset of a data set, for computations that need many images but not all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from deconv.datasets.image_set import ImageSet

_IMAGES, _VALUES = 2000, 4e7


def part_of(image_set: ImageSet, seed: int, images: int = _IMAGES) -> ImageSet:
    """Evenly spaced images of an `ImageSet`, as an `ImageSet`. If images are sorted by class, classes stay balanced.

    Args:
        image_set: The complete set.
        seed: Seed of the random first index.
        images: Maximum number of images; fewer if images are large, so that the total is at most 40 million values.

    Returns:
        `ImageSet`; the given one if it is small enough.
    """
    most = max(1, min(images, int(_VALUES / np.prod(image_set.image_shape))))
    parts = -(-image_set.size // most)
    return image_set if parts == 1 else image_set.shard(parts, int(np.random.default_rng(seed).integers(parts)))
