"""The classifier of AlexNet and its successors: two dense layers with dropout, and the output layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

LAYERS = ("fc6", "fc7", "predictions")


def dense_layers(
    maps: keras.KerasTensor,
    units: Sequence[int],
    classes: int,
    *,
    dropout: float,
    activation: str | Callable | None,
    settings: dict[str, Any],
    last: dict[str, Any] | None = None,
    dropout_first: bool = False,
) -> keras.KerasTensor:
    """Flatten activation maps and add the dense layers.

    Args:
        maps: Keras tensor `(batch, rows, columns, channels)`.
        units: Sizes of fc6 and fc7.
        classes: Number of classes.
        dropout: Share of fc6 and of fc7 that is dropped in training; with 0 there are no Dropout layers.
        activation: Activation of the last layer, which is float32, or float64 if all layers are.
        settings: Arguments of fc6 and fc7, such as activation and initializers.
        last: Arguments of the last layer, by default the same.
        dropout_first: Whether dropout is applied to a layer's inputs, as in torchvision, and not to its outputs.

    Returns:
        Keras tensor `(batch, classes)`.
    """
    x = keras.layers.Flatten(data_format="channels_last", name="flatten")(maps)
    for number, size in zip("67", units, strict=True):
        steps = [keras.layers.Dense(size, **settings, name=f"fc{number}")]
        if dropout:
            steps.insert(0 if dropout_first else 1, keras.layers.Dropout(dropout, name=f"dropout{number}"))
        for step in steps:
            x = step(x)
    last = {**(last or settings), "activation": activation}
    dtype = "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"
    return keras.layers.Dense(classes, **last, dtype=dtype, name="predictions")(x)
