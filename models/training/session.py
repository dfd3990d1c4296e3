"""The record and the final files of a training run."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from models.loading import weight_files
from models.loading.atomic_files import replacing
from models.training.curve import learning_curve
from models.training.run_folder import RunFolder


class DataSet(Protocol):
    """What `provenance` reads from a data set, such as a `deconv.datasets.ImageSet`.

    Attributes:
        source: Description of its origin.
        size: Number of images.
        class_names: Names of the classes in the order of the labels.
    """

    @property
    def source(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def class_names(self) -> Sequence[str]: ...


def provenance(script: str, train: DataSet, test: DataSet) -> dict[str, Any]:
    """The provenance of the weights to be trained.

    Args:
        script: Path of the script in the project.
        train, test: The data sets.

    Returns:
        Dict for the record, with the keys `script`, `data`, `versions`.
    """
    return {
        "script": script,
        "data": {
            "train": train.source,
            "train_size": train.size,
            "test": test.source,
            "test_size": test.size,
            "classes": list(train.class_names),
        },
        "versions": {
            "python": platform.python_version(),
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
        },
    }


def finish(
    folder: RunFolder,
    model: keras.Model,
    history: Sequence[Mapping[str, float]],
    results: Mapping[str, Any],
    title: str,
) -> None:
    """Write weights (float16), model and learning curve, then the results, which mark the run as finished.

    Args:
        folder: The `RunFolder`.
        model: The trained network.
        history: List with one dict per epoch.
        results: Dict for the record; the SHA-256 of the weights is added.
        title: Title of the learning curve.
    """
    weight_files.save(model, folder.weights_file)
    folder.save_model(model, folder.model_file)
    with replacing(folder.curve_file) as partial:
        learning_curve(history, title).savefig(partial, dpi=120)
    folder.finish({**results, "weights_sha256": hashlib.sha256(folder.weights_file.read_bytes()).hexdigest()})
