"""The record and the final files of a training run."""

import hashlib
import platform

import keras
import numpy as np
import tensorflow as tf

from models.loading import weight_files
from models.loading.atomic_files import replacing
from models.training.curve import learning_curve


def provenance(script, train, test):
    """The provenance of the weights to be trained.

    Args:
        script: Path of the script in the project.
        train, test: Data sets with `source`, `size` and `class_names`.

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


def finish(folder, model, history, results, title):
    """Write weights (float16), model and learning curve, then the results, which end the run.

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
