"""Data of the training scripts: images with one label each, and errors while they are read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from deconv.datasets import ImageSet
    from models.training import RunFolder


def labelled_images(
    name: str,
    split: Literal["train", "test"],
    places: dict[str, Any],
    image_size: tuple[int, int],
    channels: Literal[1, 3],
) -> ImageSet:
    """Load one split of a data set whose images have one label each.

    Args:
        name: See `deconv.datasets.load`.
        split: `"train"` or `"test"`.
        places: Dict with `data_dir` and `download`, see `deconv.datasets.load`.
        image_size: `(height, width)`.
        channels: 1 or 3.

    Returns:
        `deconv.datasets.ImageSet`.

    Raises:
        ValueError: If the data set does not exist, or its images have no label or several.
    """
    from deconv import datasets

    images = datasets.load(
        name,
        split,
        data_dir=places["data_dir"],
        download=places["download"],
        image_size=image_size,
        channels=channels,
    )
    if images.several:
        raise ValueError(f"{name!r} has several labels per image. Training needs a data set with one label per image.")
    if not images.class_names:
        raise ValueError(f"{name!r} has no labels to train on: expected a folder with one sub-folder per class.")
    return images


def report_sizes(train_set: ImageSet, test_set: ImageSet, say: Callable[[str], object]) -> None:
    """Print the size and origin of the data."""
    say(f"Training: {_counted(train_set.size)}. {train_set.source}")
    say(f"Test: {_counted(test_set.size)}. {test_set.source}")


def recorded_places(
    folder: RunFolder, data_dir: str | os.PathLike | None, download: bool, resume: bool
) -> dict[str, Any]:
    """Options on which the results of a run do not depend, for its record."""
    return {"data_dir": data_dir and str(data_dir), "download": download, "out": str(folder.path), "resume": resume}


@contextlib.contextmanager
def withdrawn_on_failure(folder: RunFolder) -> Iterator[None]:
    """Context manager that withdraws a run without a finished epoch if training fails.

    Raises:
        DivergedError: As raised inside.
        ValueError: For errors of TensorFlow, such as those of a damaged image; the message is one line with the cause.
    """
    import tensorflow as tf

    from deconv import datasets
    from models import training

    try:
        yield
    except training.DivergedError:
        folder.withdraw()
        raise
    except (tf.errors.OpError, ValueError) as error:
        folder.withdraw()
        raise ValueError(datasets.reason(error)) from error


def _counted(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"
