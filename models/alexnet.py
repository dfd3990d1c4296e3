"""AlexNet as trained by BVLC with Caffe.

Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", 2012; BVLC's
`bvlc_alexnet`. Where the two differ, this is BVLC's: inputs of 227 pixels instead of 224 (the paper's own numbers imply
227), contrast normalisation with k = 1 and alpha divided by its size, biases initialised to 0.1 instead of 1, one GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras

from models import classifier_head, imgclsmob, preprocessing
from models.imagenet import decode_predictions
from models.layers import CeilMaxPooling2D, GroupedConv2D, LocalResponseNormalization
from models.loading import validation, weight_files

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from numpy.typing import ArrayLike

__all__ = ["AlexNet", "decode_predictions", "preprocess_input", "to_pixels"]

_SMALLEST_SIDE = 51  # the output of pool5 is empty for smaller images
_FITTING_SIDES = range(211, 243)  # sides for which the output of pool5 is 6 x 6
_KNOWN = {
    "imagenet": validation.Known(classes=1000, input_shape=(227, 227, 3), sides=_FITTING_SIDES, units=(4096, 4096)),
    "imagenette": validation.Known(
        classes=10,
        input_shape=(227, 227, 3),
        sides=_FITTING_SIDES,
        units=(512, 512),
        file=Path(__file__).parent / "weights" / "alexnet_imagenette.npz",
    ),
}


def AlexNet(
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] | None = None,
    classes: int | None = None,
    units: int | Sequence[int] | None = None,
    dropout: float = 0.5,
    include_top: bool = True,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "alexnet",
    geometry: Literal["bvlc", "imgclsmob"] = "bvlc",
) -> keras.Model:
    """AlexNet: five convolutions, two of them normalised before pooling, three dense layers; 60,965,224 parameters.

    | layer       | operation                               | output      | parameters | field     | every |
    |-------------|-----------------------------------------|-------------|------------|-----------|-------|
    | image       | blue, green, red, less their means      | 227, 227, 3 |            | 1 x 1     | 1     |
    | conv1       | 96 filters 11x11, stride 4, ReLU        | 55, 55, 96  | 34,944     | 11 x 11   | 4     |
    | norm1       | across 5 channels                       | 55, 55, 96  |            | 11 x 11   | 4     |
    | pool1       | max 3x3, stride 2                       | 27, 27, 96  |            | 19 x 19   | 8     |
    | conv2       | 256 filters 5x5, padded, 2 groups, ReLU | 27, 27, 256 | 307,456    | 51 x 51   | 8     |
    | norm2       | across 5 channels                       | 27, 27, 256 |            | 51 x 51   | 8     |
    | pool2       | max 3x3, stride 2                       | 13, 13, 256 |            | 67 x 67   | 16    |
    | conv3       | 384 filters 3x3, padded, ReLU           | 13, 13, 384 | 885,120    | 99 x 99   | 16    |
    | conv4       | 384 filters 3x3, padded, 2 groups, ReLU | 13, 13, 384 | 663,936    | 131 x 131 | 16    |
    | conv5       | 256 filters 3x3, padded, 2 groups, ReLU | 13, 13, 256 | 442,624    | 163 x 163 | 16    |
    | pool5       | max 3x3, stride 2, rounding up          | 6, 6, 256   |            | 195 x 195 | 32    |
    | flatten     |                                         | 9216        |            | all       |       |
    | fc6         | dense, ReLU                             | 4096        | 37,752,832 | all       |       |
    | dropout6    | half of it, in training                 | 4096        |            | all       |       |
    | fc7         | dense, ReLU                             | 4096        | 16,781,312 | all       |       |
    | dropout7    | half of it, in training                 | 4096        |            | all       |       |
    | predictions | dense, softmax                          | 1000        | 4,097,000  | all       |       |

    "field" is the receptive field of one unit in pixels, "every" the distance in pixels between the receptive fields of
    two neighbouring units.

    Args:
        weights: `"imagenet"`, BVLC's, which are downloaded once (`models.loading.imagenet_weights`); `"imagenette"`, of
            ten classes and small dense layers, trained by `scripts/train_alexnet.py` (described in
            `models/weights/alexnet_imagenette.json`); `None` for random values, distributed as BVLC's; or the path of a
            `.keras`, `.weights.h5` or `.npz` file. With `include_top=False` only the convolutions are read from it.
        input_shape: `(height, width, channels)`, by default 227 x 227 x 3, at least 51 x 51; or `(None, None,
            channels)`: a layer `grid` before fc6 then resamples the output of pool5 to 6 x 6. Named weights with their
            dense layers need sides of 211 to 242, for which the output of pool5 is 6 x 6, or open ones.
        classes: Number of classes; by default that of the weights (also of a file), 1000 without weights.
        units: Sizes of fc6 and fc7, one number for both or a pair; by default those of the weights, 4096 without.
        dropout: Share of fc6 and of fc7 that is dropped in training, in [0, 1). With 0 there are no Dropout layers.
        include_top: With `False` the network ends at pool5.
        classifier_activation: Activation of the last layer; `None` gives logits. It is float32 under mixed precision.
        name: Name of the model.
        geometry: `"bvlc"`, the table above, or `"imgclsmob"`: without groups, 224 x 224, described in
            `models.imgclsmob`, with `weights="imagenet"` and `preprocess_input` of its own.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: If an argument is out of range, or `weights` is unknown, unreadable, or does not fit.
        ImportError, ConnectionError, OSError: If `"imagenet"` cannot be fetched: see `models.loading.imagenet_weights`.
    """
    if geometry not in ("bvlc", "imgclsmob"):
        raise ValueError(f"AlexNet: `geometry` must be 'bvlc' or 'imgclsmob', received {geometry!r}.")
    if geometry == "imgclsmob":
        sizes = input_shape or (224, 224, 3), classes, units, dropout
        return imgclsmob.build("alexnet", "AlexNet", weights, *sizes, include_top, classifier_activation, name)
    input_shape = (227, 227, 3) if input_shape is None else input_shape
    input_shape = validation.check_input_shape("AlexNet", input_shape, _SMALLEST_SIDE, open_sides=True)
    weights = validation.check_weights("AlexNet", weights, _KNOWN)
    known = _KNOWN[weights if isinstance(weights, str) else "imagenet"]
    classes, units = validation.sizes("AlexNet", weights, known, classes, units)
    dropout = validation.check_rate("AlexNet", "dropout", dropout)
    if weights in _KNOWN:
        validation.check_known("AlexNet", weights, known, input_shape, include_top, classes=classes, units=units)
    weights = validation.file_of(weights, _KNOWN, "alexnet")

    x = image = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(96, 11, strides=4, data_format="channels_last", **_relu(), name="conv1")(x)
    x = LocalResponseNormalization(k=1.0, convention="caffe", name="norm1")(x)
    x = keras.layers.MaxPooling2D(3, 2, data_format="channels_last", name="pool1")(x)
    x = GroupedConv2D(256, 5, padding="same", groups=2, data_format="channels_last", **_relu(bias=0.1), name="conv2")(x)
    x = LocalResponseNormalization(k=1.0, convention="caffe", name="norm2")(x)
    x = keras.layers.MaxPooling2D(3, 2, data_format="channels_last", name="pool2")(x)
    x = keras.layers.Conv2D(384, 3, padding="same", data_format="channels_last", **_relu(), name="conv3")(x)
    x = GroupedConv2D(384, 3, padding="same", groups=2, data_format="channels_last", **_relu(bias=0.1), name="conv4")(x)
    x = GroupedConv2D(256, 3, padding="same", groups=2, data_format="channels_last", **_relu(bias=0.1), name="conv5")(x)
    x = CeilMaxPooling2D(3, 2, data_format="channels_last", name="pool5")(x)
    if include_top:
        if None in x.shape[1:3]:
            x = keras.layers.Resizing(6, 6, data_format="channels_last", name="grid")(x)
        x = classifier_head.dense_layers(
            x,
            units,
            classes,
            dropout=dropout,
            activation=classifier_activation,
            settings=_relu(spread=0.005, bias=0.1),
            last=_relu(),
        )
    model = keras.Model(image, x, name=name)
    if weights is not None:
        weight_files.load(model, weights, beside=() if include_top else classifier_head.LAYERS)
    return model


def preprocess_input(images: ArrayLike | tf.Tensor) -> np.ndarray | tf.Tensor:
    """Convert photographs to AlexNet's inputs: BGR, minus the mean colour.

    Args:
        images: RGB pixel values in [0, 255], any number type: an array or a tensor `(..., 3)`.

    Returns:
        float32 of the same shape, see `models.preprocessing.preprocess`.

    Raises:
        ValueError: If `images` does not have three channels, or is not numeric.
    """
    return preprocessing.preprocess(images, "caffe")


def to_pixels(images: ArrayLike | tf.Tensor) -> np.ndarray:
    """Inverse of `preprocess_input`, for display.

    Args:
        images: Array or tensor `(..., 3)`, inputs of the network.

    Returns:
        RGB pixels of the same shape, uint8, see `models.preprocessing.to_pixels`.

    Raises:
        ValueError: If `images` does not have three channels.
    """
    return preprocessing.to_pixels(images, "caffe")


def _relu(spread: float = 0.01, bias: float = 0.0) -> dict[str, Any]:
    """Arguments for ReLU and for initial values as in Krizhevsky et al. 2012, section 5, with BVLC's biases."""
    return {
        "activation": "relu",
        "kernel_initializer": keras.initializers.RandomNormal(0.0, spread),
        "bias_initializer": keras.initializers.Constant(bias),
    }
