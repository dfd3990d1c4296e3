"""Check that Keras runs on TensorFlow, which the layers of these networks require."""

import os
import sys


def check() -> None:
    """Check that Keras runs on TensorFlow, or will do so according to the environment when it is imported.

    Raises:
        ImportError: If it does not; the message says what to do.
    """
    keras = sys.modules.get("keras")
    loaded = getattr(getattr(keras, "backend", None), "backend", None)  # absent while Keras itself is being imported
    backend = loaded() if callable(loaded) else os.environ.get("KERAS_BACKEND")
    if backend and backend != "tensorflow":
        raise ImportError(
            f"Keras {'runs' if callable(loaded) else 'is set to run'} on '{backend}', but the package models needs its "
            "TensorFlow backend. Set the environment variable KERAS_BACKEND=tensorflow before keras is imported, or "
            '"backend": "tensorflow" in ~/.keras/keras.json.'
        )
