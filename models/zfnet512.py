"""ZFNet-512 of the ONNX Model Zoo, the network closest to ZFNet with public trained weights.

It differs from Zeiler & Fergus (arXiv:1311.2901) in normalising before pooling, in rounding sizes down, in its last
pooling, and in its widths: conv3 to conv5 have 512 filters each (the paper's wide network 512, 1024 and 512), fc7 1024.
Its training is not documented.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras

from models import classifier_head, preprocessing
from models.imagenet import decode_predictions
from models.layers import LocalResponseNormalization
from models.loading import validation, weight_files

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from numpy.typing import ArrayLike

__all__ = ["ZFNet512", "decode_predictions", "preprocess_input", "to_pixels"]

_SMALLEST_SIDE = 59  # the output of pool5 is empty for smaller images
_KNOWN = {  # with the sides for which the output of pool5 is 6 x 6
    "imagenet": validation.Known(classes=1000, input_shape=(224, 224, 3), sides=range(219, 251), units=(4096, 1024))
}


def ZFNet512(
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (224, 224, 3),
    classes: int | None = None,
    units: int | Sequence[int] | None = None,
    dropout: float = 0.5,
    include_top: bool = True,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "zfnet512",
) -> keras.Model:
    """ZFNet-512: five convolutions, two of them normalised before pooling, three dense layers; 87,250,536 parameters.

    | layer       | operation                            | output       | parameters | field     | every |
    |-------------|--------------------------------------|--------------|------------|-----------|-------|
    | image       | blue, green, red, less their means   | 224, 224, 3  |            | 1 x 1     | 1     |
    | conv1       | 96 filters 7x7, stride 2, ReLU       | 109, 109, 96 | 14,208     | 7 x 7     | 2     |
    | norm1       | across 5 channels                    | 109, 109, 96 |            | 7 x 7     | 2     |
    | pool1       | max 3x3, stride 2                    | 54, 54, 96   |            | 11 x 11   | 4     |
    | conv2       | 256 filters 5x5, stride 2, ReLU      | 25, 25, 256  | 614,656    | 27 x 27   | 8     |
    | norm2       | across 5 channels                    | 25, 25, 256  |            | 27 x 27   | 8     |
    | pool2       | max 3x3, stride 2                    | 12, 12, 256  |            | 43 x 43   | 16    |
    | conv3       | 512 filters 3x3, padded, ReLU        | 12, 12, 512  | 1,180,160  | 75 x 75   | 16    |
    | conv4       | 512 filters 3x3, padded, ReLU        | 12, 12, 512  | 2,359,808  | 107 x 107 | 16    |
    | conv5       | 512 filters 3x3, padded, ReLU        | 12, 12, 512  | 2,359,808  | 139 x 139 | 16    |
    | pool5       | max 2x2, stride 2                    | 6, 6, 512    |            | 155 x 155 | 32    |
    | flatten     |                                      | 18432        |            | all       |       |
    | fc6         | dense, ReLU                          | 4096         | 75,501,568 | all       |       |
    | dropout6    | half of it, in training              | 4096         |            | all       |       |
    | fc7         | dense, ReLU                          | 1024         | 4,195,328  | all       |       |
    | dropout7    | half of it, in training              | 1024         |            | all       |       |
    | predictions | dense, softmax                       | 1000         | 1,025,000  | all       |       |

    "field" is the receptive field of one unit in pixels, "every" the distance in pixels between the receptive fields of
    two neighbouring units. The published graph is for inference and contains no dropout; that of this model is the
    paper's.

    Args:
        weights: `"imagenet"`, the zoo's, which are downloaded once (`models.loading.imagenet_weights`); `None` for
            random values, N(0, 0.01) and biases 0; or the path of a `.keras`, `.weights.h5` or `.npz` file. With
            `include_top=False` only the convolutions are read from it.
        input_shape: `(height, width, channels)`, at least 59 x 59. `"imagenet"` with its dense layers needs sides of
            219 to 250, for which the output of pool5 is 6 x 6.
        classes: Number of classes; by default that of the weights (also of a file), 1000 without weights.
        units: Sizes of fc6 and fc7, one number for both or a pair; by default those of the weights, 4096 and 1024
            without.
        dropout: Share of fc6 and of fc7 that is dropped in training, in [0, 1). With 0 there are no Dropout layers.
        include_top: With `False` the network ends at pool5.
        classifier_activation: Activation of the last layer; `None` gives logits. It is float32 under mixed precision.
        name: Name of the model.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: If an argument is out of range, or `weights` is unknown, unreadable, or does not fit.
        ImportError, ConnectionError, OSError: If `"imagenet"` cannot be fetched: see `models.loading.imagenet_weights`.
    """
    input_shape = validation.check_input_shape("ZFNet512", input_shape, _SMALLEST_SIDE)
    weights = validation.check_weights("ZFNet512", weights, _KNOWN)
    classes, units = validation.sizes("ZFNet512", weights, _KNOWN["imagenet"], classes, units)
    dropout = validation.check_rate("ZFNet512", "dropout", dropout)
    if weights in _KNOWN:
        validation.check_known(
            "ZFNet512", weights, _KNOWN[weights], input_shape, include_top, classes=classes, units=units
        )
    weights = validation.file_of(weights, _KNOWN, "zfnet512")

    normalisation: dict[str, Any] = {
        "k": 2.0,
        "alpha": 5e-4,
        "convention": "caffe",
    }  # the paper's, in Caffe's convention
    x = image = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(96, 7, strides=2, data_format="channels_last", **_relu(), name="conv1")(x)
    x = LocalResponseNormalization(**normalisation, name="norm1")(x)
    x = keras.layers.MaxPooling2D(3, 2, data_format="channels_last", name="pool1")(x)
    x = keras.layers.Conv2D(256, 5, strides=2, data_format="channels_last", **_relu(), name="conv2")(x)
    x = LocalResponseNormalization(**normalisation, name="norm2")(x)
    x = keras.layers.MaxPooling2D(3, 2, data_format="channels_last", name="pool2")(x)
    for layer in ("3", "4", "5"):
        x = keras.layers.Conv2D(512, 3, padding="same", data_format="channels_last", **_relu(), name=f"conv{layer}")(x)
    x = keras.layers.MaxPooling2D(2, 2, data_format="channels_last", name="pool5")(x)
    if include_top:
        x = classifier_head.dense_layers(
            x,
            units,
            classes,
            dropout=dropout,
            activation=classifier_activation,
            settings=_relu(),
        )
    model = keras.Model(image, x, name=name)
    if weights is not None:
        weight_files.load(model, weights, beside=() if include_top else classifier_head.LAYERS)
    return model


def preprocess_input(images: ArrayLike | tf.Tensor) -> np.ndarray | tf.Tensor:
    """Convert photographs to ZFNet-512's inputs: BGR, minus the mean colour.

    Args:
        images: RGB pixel values in [0, 255], any number type: an array or a tensor `(..., 3)`.

    Returns:
        float32 of the same shape, see `models.preprocessing.preprocess`.

    Raises:
        ValueError: If `images` does not have three channels, or is not numeric.
    """
    return preprocessing.preprocess(images, "zfnet512")


def to_pixels(images: ArrayLike | tf.Tensor) -> np.ndarray:
    """Inverse of `preprocess_input`, for display.

    Args:
        images: Array or tensor `(..., 3)`, inputs of the network.

    Returns:
        RGB pixels of the same shape, uint8, see `models.preprocessing.to_pixels`.

    Raises:
        ValueError: If `images` does not have three channels.
    """
    return preprocessing.to_pixels(images, "zfnet512")


def _relu() -> dict[str, Any]:
    """Arguments for ReLU and for the initial values of Zeiler & Fergus."""
    return {"activation": "relu", "kernel_initializer": keras.initializers.RandomNormal(0.0, 0.01)}
