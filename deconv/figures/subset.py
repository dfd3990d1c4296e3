"""A part of a data set, for what needs many images but not all."""

import numpy as np

_IMAGES, _VALUES = 2000, 4e7


def part_of(image_set, seed, images=_IMAGES):
    """Evenly spaced pictures of an `ImageSet`, as an `ImageSet`: of sorted classes as many of each.

    Args:
        image_set: The whole.
        seed: Draws where to begin.
        images: How many at most; fewer of large pictures, so that all together have at most 40 million values.
    """
    most = max(1, min(images, int(_VALUES / np.prod(image_set.image_shape))))
    parts = -(-image_set.size // most)
    return image_set if parts == 1 else image_set.shard(parts, int(np.random.default_rng(seed).integers(parts)))
