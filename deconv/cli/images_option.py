"""Read the option for images: a named data set, a folder or a single file; and draw images from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deconv.imaging import image_files

if TYPE_CHECKING:
    import numpy as np

    from deconv.datasets import ImageSet
    from deconv.datasets.image_set import Split
    from deconv.figures import Subject

_SUFFIXES = image_files.SUFFIXES


def check_images(text: str | None) -> None:
    """Check that a text is no path at which there is nothing, and no file that is not an image.

    Raises:
        ValueError: If it is; a one-line message.
    """
    if text is None:
        return
    path = Path(os.path.expanduser(text))
    if path.is_file():
        _check_image_file(path)
    elif not path.exists() and _is_path(text):
        raise ValueError(f"--images: there is no folder or image file '{image_files.printable(path)}'.")


def images_of(
    text: str,
    split: Split | None,
    image_size: tuple[int, int],
    channels: Literal[1, 3],
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
) -> ImageSet:
    """The `ImageSet` for the text of an option.

    Args:
        text: A name as `deconv.datasets.load` accepts it, or the path of a folder or of one image file.
        split: `"train"`, `"test"` or `"all"`; None for all images, but for sets of TFDS for the test part.
        image_size: `(height, width)`.
        channels: 1 or 3.
        data_dir, download: See `deconv.datasets.load`.

    Raises:
        ValueError, ImportError: If they cannot be loaded; the message explains what to do.
    """
    from deconv import datasets

    path = Path(os.path.expanduser(text))
    if path.is_file():
        if split not in (None, "all"):
            raise ValueError(f"--images: one image file has no part '{split}'; omit --split.")
        return _one_image(path, (*image_size, channels))
    from_tfds = not path.is_dir() and text not in datasets.embedded.SETS
    split = split or ("test" if from_tfds else "all")
    try:
        return datasets.load(
            text, split, data_dir=data_dir, download=download, image_size=image_size, channels=channels
        )
    except ValueError as error:
        raise ValueError(f"--images: {error}") from error


def draw_images(subject: Subject, count: int) -> tuple[np.ndarray, list[str], np.ndarray, np.ndarray]:
    """Draw `count` images of a subject's data with its seed, spread over as many classes as possible.

    Returns:
        `(images, names, labels, ids)`: uint8 `(n, height, width, channels)`, `n` texts, and ints `(n,)` twice; labels
        are -1 where there are none.
    """
    import numpy as np

    labels, ids = subject.data.listing()
    names = subject.data.class_names
    labels = labels if labels.ndim == 1 else np.full(len(ids), -1)  # with several labels per image, none is used
    order = np.random.default_rng(subject.seed).permutation(len(ids))
    by_class = np.argsort(labels[order], kind="stable")
    sorted_labels = labels[order][by_class]
    rounds = np.arange(len(order)) - np.searchsorted(sorted_labels, sorted_labels)
    chosen = order[by_class[np.lexsort((by_class, rounds))[:count]]]  # in turn, one image of every class
    chosen = chosen[np.lexsort((ids[chosen], labels[chosen]))]
    texts = [
        names[label] if label >= 0 else f"image {id}" for label, id in zip(labels[chosen], ids[chosen], strict=True)
    ]
    if len(ids) == 1 and Path(subject.data.name).suffix:
        texts = [Path(subject.data.name).stem]
    return subject.pick(ids[chosen]), texts, labels[chosen], ids[chosen]


def _is_path(text):
    return os.sep in text.removeprefix("tfds:") or text.startswith((".", "~")) or text.lower().endswith(_SUFFIXES)


def _check_image_file(path):
    if path.suffix.lower() not in _SUFFIXES:
        raise ValueError(
            f"--images: '{image_files.printable(path)}' is not an image file; expected {', '.join(_SUFFIXES)}."
        )
    try:
        image_files.check(path)
    except ValueError as error:
        message = str(error)
        raise ValueError(f"--images: {message[0].lower()}{message[1:]}") from error


def _one_image(path, shape):
    """An `ImageSet` of one image; its shorter side is resized, then the centre is cropped."""
    import numpy as np

    from deconv import datasets
    from deconv.datasets.files import stream

    encoded = stream([path], np.array([-1], np.int32), np.array([0], np.int64), shape, fit=True)
    name = image_files.printable(path.name)
    source = f"The image '{name}'."
    return datasets.ImageSet(
        name=name,
        split="all",
        dataset=encoded.dataset,
        class_names=(),
        size=1,
        image_shape=shape,
        source=source,
        encoded=encoded,
        files=(path,),
    )
