"""A folder of one's own pictures."""

from pathlib import Path

import numpy as np

from deconv.datasets import imagenet
from deconv.datasets.files import stream
from deconv.datasets.image_set import ImageSet

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_TEST_FOLDERS = ("test", "validation", "val")
_TEST_EVERY = 5


def pictures(path, split="test", image_size=None, channels=None):
    """The png, jpg, bmp and gif files of a folder, decoded as they are asked for.

    Classes are the sub-folders, in alphabetical order; a folder of files alone has none, and every label is -1.
    If the sub-folders are `train` and `test` (or `validation`, or `val`), these are the splits. Otherwise every
    fifth picture of each class, in alphabetical order, is a test picture. The id of a picture is its place
    in the list of all pictures (split `"all"`), so it names the same picture in every split.
    Classes that are called by WordNet ids (`n01440764`) are shown with their names ("tench").
    Only headers are read at first. Transparency is dropped; of a moving gif the first frame is taken.

    Args:
        path: The folder.
        split: `"train"`, `"test"` or `"all"`.
        image_size: `(height, width)` to resize to; needed where pictures differ in size.
        channels: 1, 3 or None: grey if all pictures of the folder are grey, else colour.

    Returns:
        An `ImageSet`.

    Raises:
        ValueError: If it is a file, or the folder is empty, a picture cannot be read, or they differ in size without
            an `image_size`. A picture that is damaged after its header is named when its turn comes: by `arrays` as a
            ValueError, by the dataset itself as a `tf.errors.OpError` with the same message.
    """
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"'{path}' is a file; expected a folder of pictures.")
    files, labels, is_test, folder_names = _listing(path)
    if not files:
        raise ValueError(f"The folder '{path}' holds no pictures ({', '.join(_SUFFIXES)}).")
    ids = np.flatnonzero({"train": ~is_test, "test": is_test, "all": np.ones(len(files), bool)}[split])
    if not len(ids):
        raise ValueError(
            f"The folder '{path}' has no {split} pictures: it holds {len(files)}, and every {_TEST_EVERY}th of a class "
            f"is for testing. To train and test, put at least {_TEST_EVERY} into a class, or some into each of two "
            "sub-folders 'train' and 'test'; only to look at them, load(..., split='all') takes all."
        )
    size, all_grey = _size_and_greyness(files, needs_one_size=image_size is None)
    shape = (*(image_size or size), channels or (1 if all_grey else 3))
    encoded = stream([files[id] for id in ids], labels[ids], ids.astype(np.int64), shape, fit=image_size is not None)
    return ImageSet(
        name=str(path),
        split=split,
        dataset=encoded.dataset,
        class_names=imagenet.readable(folder_names),
        size=len(ids),
        image_shape=shape,
        source=f"{len(ids):,} of the {len(files):,} pictures in the folder '{path}', split '{split}'.",
        encoded=encoded,
    )


def _listing(path):
    """All pictures: files, labels int32, whether each is for testing, and the class names."""
    folders = {folder.name: folder for folder in _folders(path)}
    test_folder = next((folders[name] for name in _TEST_FOLDERS if name in folders), None)
    parts = [folders["train"], test_folder] if "train" in folders and test_folder else [path]
    class_names = tuple(sorted({folder.name for part in parts for folder in _folders(part) if _pictures(folder)}))
    files, labels, is_test = [], [], []
    for part in parts:
        classes = [(part / name, label) for label, name in enumerate(class_names)] or [(part, -1)]
        for folder, label in classes:
            found = _pictures(folder) if folder.is_dir() else []
            files += found
            labels += [label] * len(found)
            every_fifth = [order % _TEST_EVERY == _TEST_EVERY - 1 for order in range(len(found))]
            is_test += every_fifth if len(parts) == 1 else [part is test_folder] * len(found)
        stray = _pictures(part) if class_names else []
        if stray:
            raise ValueError(f"'{stray[0]}' lies beside the class folders {', '.join(class_names)}: which class is it?")
    return files, np.array(labels, np.int32), np.array(is_test, bool), class_names


def _folders(path):
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _pictures(path):
    return sorted(
        entry
        for entry in path.iterdir()
        if entry.suffix.lower() in _SUFFIXES and entry.is_file() and not entry.name.startswith(".")
    )


def _size_and_greyness(files, needs_one_size):
    """`(height, width)` of the pictures, and whether all are grey, from their headers."""
    from PIL import Image

    first, all_grey = None, True
    for file in files:
        try:
            with Image.open(file) as picture:
                size, mode = (picture.height, picture.width), picture.mode
        except (OSError, ValueError, SyntaxError) as error:
            raise ValueError(f"The picture '{file}' cannot be read: {error}") from error
        first = first or size
        all_grey &= mode in ("1", "L", "LA") or mode.startswith("I")
        if needs_one_size and size != first:
            raise ValueError(
                f"The pictures differ in size: '{files[0]}' is {first[0]}x{first[1]} (height x width), '{file}' is "
                f"{size[0]}x{size[1]}. Give image_size=(height, width)."
            )
    return first, all_grey
