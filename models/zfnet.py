"""ZFNet, the network visualized in the paper.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", arXiv:1311.2901, Fig. 3 and section 3. The
paper gives the sizes 224, 110, 55, 26, 13 and 6, but no paddings. The sizes are those of cuda-convnet, on whose
author's work the paper's implementation is based: convolutions and poolings round up, so that the last window extends
beyond the bottom and right edges. This, and the constants of Krizhevsky et al. 2012 for the contrast normalisation, are
assumptions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras

from models import classifier_head, imgclsmob, preprocessing
from models.imagenet import decode_predictions
from models.layers import CeilMaxPooling2D, LocalResponseNormalization
from models.loading import validation, weight_cache, weight_files

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    from numpy.typing import ArrayLike

__all__ = ["ZFNet", "decode_predictions", "preprocess_input", "to_pixels"]

_SMALLEST_SIDE = 48  # the output of pool5 is empty for smaller images
_DEFAULT = validation.Known(classes=1000, input_shape=(224, 224, 3), units=(4096, 4096))
_KNOWN = {
    "imagenette": validation.Known(
        classes=10,
        input_shape=(224, 224, 3),
        sides=range(208, 240),  # sides for which the output of pool5 is 6 x 6
        units=(256, 256),
        file=Path(__file__).parent / "weights" / "zfnet_imagenette.npz",
    ),
}


def ZFNet(
    weights: str | os.PathLike | None = None,
    input_shape: Sequence[int | None] = (224, 224, 3),
    classes: int | None = None,
    units: int | Sequence[int] | None = None,
    dropout: float = 0.5,
    wide: bool = False,
    include_top: bool = True,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "zfnet",
    geometry: Literal["paper", "imgclsmob"] | None = None,
) -> keras.Model:
    """ZFNet, by default in the paper's own geometry: pooling before normalisation; 62,357,608 parameters.

    | layer       | operation                          | output       | parameters | field     | every |
    |-------------|------------------------------------|--------------|------------|-----------|-------|
    | image       | red, green, blue, less their means | 224, 224, 3  |            | 1 x 1     | 1     |
    | pad1        | a row and a column of zeros        | 225, 225, 3  |            | 1 x 1     | 1     |
    | conv1       | 96 filters 7x7, stride 2, ReLU     | 110, 110, 96 | 14,208     | 7 x 7     | 2     |
    | pool1       | max 3x3, stride 2, rounding up     | 55, 55, 96   |            | 11 x 11   | 4     |
    | norm1       | across 5 channels                  | 55, 55, 96   |            | 11 x 11   | 4     |
    | conv2       | 256 filters 5x5, stride 2, ReLU    | 26, 26, 256  | 614,656    | 27 x 27   | 8     |
    | pool2       | max 3x3, stride 2, rounding up     | 13, 13, 256  |            | 43 x 43   | 16    |
    | norm2       | across 5 channels                  | 13, 13, 256  |            | 43 x 43   | 16    |
    | conv3       | 384 filters 3x3, padded, ReLU      | 13, 13, 384  | 885,120    | 75 x 75   | 16    |
    | conv4       | 384 filters 3x3, padded, ReLU      | 13, 13, 384  | 1,327,488  | 107 x 107 | 16    |
    | conv5       | 256 filters 3x3, padded, ReLU      | 13, 13, 256  | 884,992    | 139 x 139 | 16    |
    | pool5       | max 3x3, stride 2, rounding up     | 6, 6, 256    |            | 171 x 171 | 32    |
    | flatten     |                                    | 9216         |            | all       |       |
    | fc6         | dense, ReLU                        | 4096         | 37,752,832 | all       |       |
    | dropout6    | half of it, in training            | 4096         |            | all       |       |
    | fc7         | dense, ReLU                        | 4096         | 16,781,312 | all       |       |
    | dropout7    | half of it, in training            | 4096         |            | all       |       |
    | predictions | dense, softmax                     | 1000         | 4,097,000  | all       |       |

    "field" is the receptive field of one unit in pixels, "every" the distance in pixels between the receptive fields of
    two neighbouring units. The zeros of pad1 are added below and on the right; images of odd sides get none.

    Args:
        weights: `"imagenet"`, those of imgclsmob, which are downloaded once and build `geometry="imgclsmob"`, whose
            inputs are those of `models.imgclsmob.preprocess_input`; `"imagenette"`, of ten classes and small dense
            layers, trained by `scripts/train_alexnet.py` (described in `models/weights/zfnet_imagenette.json`); `None`
            for random values as in the paper: N(0, 0.01), biases 0 (the paper says "initialized to 10^-2", but a
            network of equal filters could not learn); or the path of a `.keras`, `.weights.h5` or `.npz` file. With
            `include_top=False` only the convolutions are read from it.
        input_shape: `(height, width, channels)`, at least 48 x 48; or `(None, None, channels)`: pad1 then always adds
            its row and column, and a layer `grid` before fc6 resamples the output of pool5 to 6 x 6.
        classes: Number of classes; by default that of the weights (also of a file), 1000 without weights.
        units: Sizes of fc6 and fc7, one number for both or a pair; by default those of the weights, 4096 without.
        dropout: Share of fc6 and of fc7 that is dropped in training, in [0, 1). With 0 there are no Dropout layers.
        wide: Whether conv3, conv4 and conv5 have 512, 1024 and 512 filters: model (b) of the paper's Table 2.
        include_top: With `False` the network ends at pool5.
        classifier_activation: Activation of the last layer; `None` gives logits. It is float32 under mixed precision.
        name: Name of the model.
        geometry: `"paper"`, the table above, or `"imgclsmob"`, described in `models.imgclsmob`: contrast normalisation
            precedes pooling, and the padding differs. By default the paper's, with `weights="imagenet"` imgclsmob's.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: If an argument is out of range, or `weights` is unknown, unreadable, or does not fit.
        ConnectionError, OSError: If `"imagenet"` cannot be fetched: see `models.loading.imagenet_weights`.
    """
    is_imagenet = isinstance(weights, str) and weights == "imagenet"
    if geometry not in (None, "paper", "imgclsmob") or (geometry == "paper" and is_imagenet):
        raise ValueError(
            "ZFNet: `geometry` must be 'paper' or 'imgclsmob', with weights='imagenet' only 'imgclsmob' (none are "
            f"published for the paper's geometry); received geometry={geometry!r}, weights={weights!r}."
        )
    if geometry == "imgclsmob" or is_imagenet:
        sizes = input_shape, classes, units, dropout
        return imgclsmob.build(
            "zfnetb" if wide else "zfnet", "ZFNet", weights, *sizes, include_top, classifier_activation, name
        )
    input_shape = validation.check_input_shape("ZFNet", input_shape, _SMALLEST_SIDE, open_sides=True)
    weights = validation.check_weights("ZFNet", weights, _KNOWN)
    _check_origin(weights)
    known = _KNOWN[weights] if isinstance(weights, str) else _DEFAULT
    classes, units = validation.sizes("ZFNet", weights, known, classes, units)
    dropout = validation.check_rate("ZFNet", "dropout", dropout)
    if weights in _KNOWN:
        if wide:
            raise ValueError(
                "ZFNet: there are no weights='imagenette' for wide=True. Pass the path of a file, or weights=None."
            )
        validation.check_known("ZFNet", weights, known, input_shape, include_top, classes=classes, units=units)
    weights = validation.file_of(weights, _KNOWN, "zfnet")

    image = keras.Input(input_shape, name="image")
    x = _features(image, (512, 1024, 512) if wide else (384, 384, 256))
    if include_top:
        if None in x.shape[1:3]:
            x = keras.layers.Resizing(6, 6, data_format="channels_last", name="grid")(x)
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


def _features(image: keras.KerasTensor, filters: tuple[int, int, int]) -> keras.KerasTensor:
    """The convolutions, poolings and normalisations; `filters` are those of conv3, conv4 and conv5."""
    paddings = [(0, 1 if side is None else (side - 7) % 2) for side in image.shape[1:3]]
    x = keras.layers.ZeroPadding2D(paddings, data_format="channels_last", name="pad1")(image)
    x = keras.layers.Conv2D(96, 7, strides=2, data_format="channels_last", **_relu(), name="conv1")(x)
    x = CeilMaxPooling2D(3, 2, data_format="channels_last", name="pool1")(x)
    x = LocalResponseNormalization(name="norm1")(x)
    x = keras.layers.Conv2D(256, 5, strides=2, data_format="channels_last", **_relu(), name="conv2")(x)
    x = CeilMaxPooling2D(3, 2, data_format="channels_last", name="pool2")(x)
    x = LocalResponseNormalization(name="norm2")(x)
    for layer, count in zip(("3", "4", "5"), filters, strict=True):
        x = keras.layers.Conv2D(count, 3, padding="same", data_format="channels_last", **_relu(), name=f"conv{layer}")(
            x
        )
    return CeilMaxPooling2D(3, 2, data_format="channels_last", name="pool5")(x)


def preprocess_input(images: ArrayLike | tf.Tensor) -> np.ndarray | tf.Tensor:
    """Convert photographs to ZFNet's inputs: RGB, minus the mean colour.

    Args:
        images: RGB pixel values in [0, 255], any number type: an array or a tensor `(..., 3)`.

    Returns:
        float32 of the same shape, see `models.preprocessing.preprocess`.

    Raises:
        ValueError: If `images` does not have three channels, or is not numeric.
    """
    return preprocessing.preprocess(images, "zfnet")


def to_pixels(images: ArrayLike | tf.Tensor) -> np.ndarray:
    """Inverse of `preprocess_input`, for display.

    Args:
        images: Array or tensor `(..., 3)`, inputs of the network.

    Returns:
        RGB pixels of the same shape, uint8, see `models.preprocessing.to_pixels`.

    Raises:
        ValueError: If `images` does not have three channels.
    """
    return preprocessing.to_pixels(images, "zfnet")


def _check_origin(weights: str | Path | None) -> None:
    """Refuse converted weights of imgclsmob's ZFNet: they have the shapes of the paper's and would not work in it."""
    if isinstance(weights, Path) and "_imgclsmob converted" in weight_cache.note_in(weights):
        raise ValueError(
            f"ZFNet: the weights in '{weights}' are those of imgclsmob's ZFNet, received the geometry of the paper. "
            "Pass geometry='imgclsmob'."
        )


def _relu() -> dict[str, Any]:
    """Arguments for ReLU and for the paper's initial values."""
    return {"activation": "relu", "kernel_initializer": keras.initializers.RandomNormal(0.0, 0.01)}
