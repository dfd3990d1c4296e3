"""Image files as a dataset; each file is decoded when it is read."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv.datasets.image_set import Encoded, fit_image
from deconv.imaging import image_files


def stream(
    files: Sequence[str | os.PathLike], labels: ArrayLike, ids: ArrayLike, shape: tuple[int, int, int], fit: bool
) -> Encoded:
    """A dataset of image files with labels and ids, in the order of the files; they are decoded in parallel.

    `deconv.imaging.image_files` describes the handling of orientation, 16 bits, transparency and frames.

    Args:
        files: Paths.
        labels: int32 `(n,)`.
        ids: int64 `(n,)`.
        shape: `(height, width, 1 or 3)` of every image; 1 converts colour to grey, 3 grey to colour.
        fit: Whether to resize each image to that height and width with `fit_image`. If False, it must have them.

    Returns:
        An `Encoded`, whose dataset gives uint8 `shape`, int32 and int64. A file that cannot be read raises a
        `tf.errors.OpError` that names it.
    """

    def decode(file, label, id):
        image = tf.numpy_function(_decoded, [file, shape[2] == 1], tf.uint8, stateful=False)
        image.set_shape((None, None, shape[2]))
        if fit:
            image = fit_image(image, shape[:2], None)
        return tf.ensure_shape(image, shape), label, id

    names = [os.fsencode(file) for file in files]  # paths need not be UTF-8
    listed = tf.data.Dataset.from_tensor_slices((names, labels, ids))
    return Encoded.of(listed, decode)


def _decoded(file: bytes, grey: bool) -> np.ndarray:
    """Pixels of a file, uint8 `(h, w, 1 or 3)`."""
    return image_files.read(os.fsdecode(file), grey)
