"""Data set of the image files of a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np

from deconv.datasets import imagenet
from deconv.datasets.files import stream
from deconv.datasets.image_set import ImageSet, Split
from deconv.imaging import image_files

_SUFFIXES = image_files.SUFFIXES
_TEST_FOLDERS = ("test", "validation", "val")
_TEST_EVERY = 5


def pictures(
    path: str | os.PathLike,
    split: Split = "test",
    image_size: tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
) -> ImageSet:
    """The png, jpg, bmp, gif, webp and tiff files of a folder; each is decoded when it is read.

    Classes are the sub-folders, in alphabetical order; a folder of files only has none, and every label is -1.
    If the sub-folders are `train` and `test` (or `validation`, or `val`), these are the splits. Otherwise every
    fifth image of each class, in alphabetical order, is a test image. The id of an image is its index in the list of
    all images (split `"all"`), so it identifies the same image in every split.
    Classes named by WordNet ids (`n01440764`, `000_n01440764`) are shown with their readable names ("tench").
    This function reads the headers only. `deconv.imaging.image_files` describes the handling of the EXIF orientation,
    16 bits, transparency and frames. Images of other formats (heic, avif, ...) are omitted, which the set's `source`
    states. Folders and files whose names begin with a dot are ignored.

    Args:
        path: The folder.
        split: `"train"`, `"test"` or `"all"`.
        image_size: `(height, width)` to resize to; required where images differ in size.
        channels: 1, 3 or None: grey if all images of the folder are grey, else colour.

    Returns:
        An `ImageSet`.

    Raises:
        ValueError: If it is a file, the folder is empty, an image cannot be read, or images differ in size without an
            `image_size`. An image damaged after its header is reported when it is decoded: by `arrays` as a
            ValueError, by the dataset itself as a `tf.errors.OpError` with the same message.
    """
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"'{image_files.printable(path)}' is a file; expected a folder of images.")
    name = image_files.printable(path)
    files, labels, is_test, folder_names, others = _listing(path)
    if not files:
        raise ValueError(
            f"The folder '{name}' contains no images ({', '.join(_SUFFIXES)})."
            + (f" It contains {_in_words(others)}; convert them to PNG or JPEG." if others else "")
        )
    ids = np.flatnonzero({"train": ~is_test, "test": is_test, "all": np.ones(len(files), bool)}[split])
    if not len(ids):
        raise ValueError(
            f"The folder '{name}' has no images for split '{split}': it contains {len(files)} in total, and every "
            f"{_TEST_EVERY}th image of a class is a test image. Use load(..., split='all') for all images, put at "
            f"least {_TEST_EVERY} images into a class, or sort them into two sub-folders 'train' and 'test'."
        )
    size, all_grey = _size_and_greyness(files, needs_one_size=image_size is None)
    shape = (*(image_size or size), channels or (1 if all_grey else 3))
    chosen = tuple(files[id] for id in ids)
    encoded = stream(chosen, labels[ids], ids.astype(np.int64), shape, fit=image_size is not None)
    # The source is part of the identity of saved scans: with other words, those of earlier versions would not match.
    left_out = f" {_in_words(others)} left out." if others else ""
    return ImageSet(
        name=name,
        split=split,
        dataset=encoded.dataset,
        class_names=imagenet.readable([image_files.printable(folder) for folder in folder_names]),
        size=len(ids),
        image_shape=shape,
        source=f"{len(ids):,} of the {len(files):,} pictures in the folder '{name}', split '{split}'.{left_out}",
        encoded=encoded,
        files=chosen,
    )


def _listing(path):
    """All images: files, labels int32, whether each is for testing, class names, and images of other formats."""
    folders = {folder.name: folder for folder in _folders(path)}
    test_folder = next((folders[name] for name in _TEST_FOLDERS if name in folders), None)
    parts = [folders["train"], test_folder] if "train" in folders and test_folder else [path]
    class_names = tuple(sorted({folder.name for part in parts for folder in _folders(part) if _image_files(folder)[0]}))
    files, labels, is_test, others = [], [], [], []
    for part in parts:
        classes = [(part / name, label) for label, name in enumerate(class_names)] or [(part, -1)]
        for folder, label in classes:
            images, omitted = _image_files(folder) if folder.is_dir() else ([], [])
            files += images
            others += omitted
            labels += [label] * len(images)
            every_fifth = [order % _TEST_EVERY == _TEST_EVERY - 1 for order in range(len(images))]
            is_test += every_fifth if len(parts) == 1 else [part is test_folder] * len(images)
        stray = _image_files(part)[0] if class_names else []
        if stray:
            raise ValueError(
                f"'{image_files.printable(stray[0])}' is beside the class folders "
                f"{', '.join(map(image_files.printable, class_names))} and has no class. Move it into one of them, or "
                "out of the folder."
            )
    return files, np.array(labels, np.int32), np.array(is_test, bool), class_names, others


def _folders(path):
    return [entry for entry in _entries(path) if entry.is_dir()]


def _image_files(path):
    """The image files of a folder, and its image files of other formats.

    An entry with the name of an image that is no file, such as a dangling link or a pipe, is included; reading its
    header then raises an error, so that nothing is omitted silently.
    """
    entries = [entry for entry in _entries(path) if not entry.is_dir()]
    others = [entry for entry in entries if entry.suffix.lower() in image_files.OTHER_SUFFIXES]
    return [entry for entry in entries if entry.suffix.lower() in _SUFFIXES], others


def _entries(path):
    """The entries of a folder, sorted, without hidden ones."""
    try:
        return sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise ValueError(
            f"The folder '{image_files.printable(path)}' cannot be read: {error.strerror}. Make it readable, or "
            "remove it."
        ) from error


def _in_words(others):
    """Number and formats of omitted images: "3 pictures of other kinds (.avif, .heic)"."""
    formats = ", ".join(sorted({file.suffix.lower() for file in others}))
    return f"{len(others)} {'picture' if len(others) == 1 else 'pictures'} of other kinds ({formats})"


def _size_and_greyness(files, needs_one_size):
    """`(height, width)` of the images, and whether all are grey, from their headers."""
    first, all_grey = None, True
    for file in files:
        size, grey = image_files.header(file)
        first = first or size
        all_grey &= grey
        if needs_one_size and size != first:
            one, other = map(image_files.printable, (files[0], file))
            raise ValueError(
                f"The images differ in size: '{one}' is {first[0]}x{first[1]} (height x width), '{other}' is "
                f"{size[0]}x{size[1]}. Give image_size=(height, width)."
            )
    return first, all_grey
