"""Labelled image data sets: each source provides a finite stream of `(image, label, id)` and a description of itself.

`load` is the single entry point; it never falls back silently from one source to another.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Literal

from deconv.datasets import embedded, folder, tfds
from deconv.datasets.image_set import SPLITS, Encoded, ImageSet, Split, arrays, check_image_size, is_whole
from deconv.datasets.parts import Parts, read_parts
from deconv.imaging import image_files
from deconv.runtime.error_messages import reason

__all__ = ["Encoded", "ImageSet", "Parts", "arrays", "load", "read_parts", "reason"]

_NAMES = (*embedded.SETS, *tfds.NAMES, "tfds:NAME")


def load(
    name: str | os.PathLike,
    split: Split = "test",
    *,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    image_size: tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
) -> ImageSet:
    """Load a set of labelled images.

    | name          | what                                        | needs                                        |
    |---------------|---------------------------------------------|----------------------------------------------|
    | `mnist-5k`    | 5,000 digits of MNIST, 500 of each class    | the extra `samples`; no network              |
    | `imagenet-20` | 20 photographs of ImageNet classes          | the same; there is no training part          |
    | `digits-8x8`  | scikit-learn's 1,797 digits of 8x8 pixels   | the extra `probes`; no network               |
    | `mnist`       | all of MNIST                                | prepared by TFDS, or `download=True`         |
    | `imagenette`  | ten classes of ImageNet, 13,394 photographs | the same; TFDS's `imagenette/320px-v2`       |
    | `imagenet`    | ILSVRC 2012, TFDS's `imagenet2012`          | prepared by hand from its archives           |
    | `tfds:NAME`   | an image classification set of TFDS         | as `mnist`; NAME as in `tfds.load`           |
    | a path        | png, jpg, bmp, gif, webp and tiff files     | one sub-folder per class, or none (label -1) |

    Classes named by WordNet ids in their source (`n01440764`) are shown with their readable names ("tench"). In some
    sets, such as `tfds:voc/2012`, an image may belong to several classes; its label is then a row, see `ImageSet`.

    Args:
        name: One of the names above, or the path of a folder; `"./mnist"` is a folder, `"mnist"` is not.
        split: `"train"`, `"test"` or `"all"` (the training images, then the test images; in a folder, the order of
            its files). The test images are held out: no image is in both.
        data_dir: For TFDS, the folder of its data sets; by default the environment variable `TFDS_DATA_DIR`, else
            the default of TFDS.
        download: Whether TFDS may download missing data.
        image_size: `(height, width)` to resize to: the shorter side is resized, then the centre is cropped (as in
            arXiv:1311.2901, section 3); if an odd number of rows or columns is cut off, one more is cut off at the
            bottom or the right. Required where images differ in size.
        channels: 1 for grey, 3 for colour; `None` keeps them unchanged.

    Returns:
        An `ImageSet`.

    Raises:
        ValueError: If the name is unknown, the data are missing, or they do not exist in the requested form.
        ImportError: If a package is missing; the message explains how to install it.
        ConnectionError: If `download=True` and there is no network.
    """
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}: expected one of {', '.join(map(repr, SPLITS))}.")
    image_size = check_image_size(image_size)
    if channels is not None and (not is_whole(channels) or channels not in (1, 3)):
        raise ValueError(f"`channels` must be 1 (grey), 3 (colour) or None, got {channels!r}.")
    if not isinstance(name, str | os.PathLike) or name == "":
        known = ", ".join(_NAMES)
        raise ValueError(f"`name` must be a string or a path ({known}, or a folder), got {name!r}.")
    text = os.fspath(name)
    if text in embedded.SETS:
        return embedded.SETS[text](split, image_size, channels)
    if text in tfds.NAMES or text.startswith("tfds:"):
        tfds_name = tfds.NAMES.get(text, text.removeprefix("tfds:"))
        return tfds.prepared(tfds_name, split, data_dir, download, image_size, channels)
    if isinstance(name, os.PathLike) or Path(text).exists() or os.sep in text or text.startswith((".", "~")):
        path = Path(os.path.expanduser(text))  # does not change the unknown user ~nobody
        if not path.exists():
            raise ValueError(
                f"There is no folder '{image_files.printable(path)}'. Known names are {', '.join(_NAMES)}."
            )
        return folder.pictures(path, split, image_size, channels)
    close = difflib.get_close_matches(text, _NAMES[:-1], n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"Unknown data set {text!r}.{hint} Known are {', '.join(_NAMES)}, and the path of a folder.")
