"""Check that Keras runs on TensorFlow, whose operations this package uses."""

from __future__ import annotations

import os
import sys


def check() -> None:
    """Fail if Keras runs on another backend, or is configured by the environment to do so when it is imported.

    Raises:
        ImportError: If so; the message says how to select the backend.
    """
    keras = sys.modules.get("keras")
    loaded = getattr(getattr(keras, "backend", None), "backend", None)  # absent while Keras itself is being imported
    backend = loaded() if callable(loaded) else os.environ.get("KERAS_BACKEND")
    if backend and backend != "tensorflow":
        raise ImportError(
            f"Keras {'runs' if callable(loaded) else 'is set to run'} on '{backend}', and deconv needs its TensorFlow "
            "backend. Set the environment variable KERAS_BACKEND=tensorflow before keras is imported, or "
            '"backend": "tensorflow" in ~/.keras/keras.json.'
        )
