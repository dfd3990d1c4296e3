"""LeNet-5 with ReLU and max pooling, the form to which a deconvnet applies.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998. Differences from the
paper, as in most current implementations: ReLU instead of a scaled tanh, max pooling instead of trained averages, a
conv2 that takes all six maps of pool1, softmax instead of Gaussian connections. The original has neither switches nor
rectification, which a deconvnet needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from models.loading import validation, weight_files

if TYPE_CHECKING:
    import tensorflow as tf
    from numpy.typing import ArrayLike

_KNOWN = {
    "mnist": validation.Known(
        classes=10,
        input_shape=(28, 28, 1),
        sides=range(28, 29),
        file=Path(__file__).parent / "weights" / "lenet5_mnist.npz",
    )
}
_SMALLEST_SIDE = 12  # the output of pool2 is empty for smaller images
_DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def LeNet5(
    weights: str | os.PathLike | None = "mnist",
    input_shape: Sequence[int | None] = (28, 28, 1),
    classes: int = 10,
    dropout: float = 0.0,
    include_top: bool = True,
    classifier_activation: str | Callable | None = "softmax",
    name: str = "lenet5",
) -> keras.Model:
    """LeNet-5: two convolutions, two poolings, three dense layers; 61,706 parameters.

    | layer       | operation                       | output     | parameters | field   | every |
    |-------------|---------------------------------|------------|------------|---------|-------|
    | image       | pixels in [0, 1]                | 28, 28, 1  |            | 1 x 1   | 1     |
    | conv1       | 6 filters 5x5, padded by 2, ReLU| 28, 28, 6  | 156        | 5 x 5   | 1     |
    | pool1       | max 2x2, stride 2               | 14, 14, 6  |            | 6 x 6   | 2     |
    | conv2       | 16 filters 5x5, ReLU            | 10, 10, 16 | 2,416      | 14 x 14 | 2     |
    | pool2       | max 2x2, stride 2               | 5, 5, 16   |            | 16 x 16 | 4     |
    | flatten     |                                 | 400        |            | all     |       |
    | fc3         | dense, ReLU                     | 120        | 48,120     | all     |       |
    | fc4         | dense, ReLU                     | 84         | 10,164     | all     |       |
    | predictions | dense, softmax                  | 10         | 850        | all     |       |

    "field" is the receptive field of one unit in pixels, "every" the distance in pixels between the receptive fields of
    two neighbouring units. Padding by 2 corresponds to the 32x32 input of 1998. It pads with 0, the background value:
    see `preprocess_input`.

    Args:
        weights: `"mnist"`, trained on the 60,000 digits of MNIST's training part by `scripts/train_lenet5.py`
            (described in `models/weights/lenet5_mnist.json`); `None` for random values; or the path of a `.keras`,
            `.weights.h5` or `.npz` file. With `include_top=False` only the convolutions are read from it.
        input_shape: `(height, width, channels)`, at least 12 x 12.
        classes: Number of classes.
        dropout: Share of fc3 and of fc4 that is dropped in training, in [0, 1). With 0 there are no Dropout layers.
        include_top: With `False` the network ends at pool2.
        classifier_activation: Activation of the last layer; `None` gives logits.
        name: Name of the model.

    Returns:
        A functional `keras.Model`, not compiled.

    Raises:
        ValueError: If an argument is out of range, or `weights` is unknown, unreadable, or does not fit.
    """
    input_shape = validation.check_input_shape("LeNet5", input_shape, _SMALLEST_SIDE)
    classes = validation.check_whole("LeNet5", "classes", classes)
    dropout = validation.check_rate("LeNet5", "dropout", dropout)
    weights = validation.check_weights("LeNet5", weights, _KNOWN)
    if weights in _KNOWN:
        validation.check_known("LeNet5", weights, _KNOWN[weights], input_shape, include_top, classes=classes)
    weights = validation.file_of(weights, _KNOWN, "lenet5")

    layers = keras.layers
    image = keras.Input(input_shape, name="image")
    x = layers.Conv2D(6, 5, padding="same", activation="relu", data_format="channels_last", name="conv1")(image)
    x = layers.MaxPooling2D(2, data_format="channels_last", name="pool1")(x)
    x = layers.Conv2D(16, 5, activation="relu", data_format="channels_last", name="conv2")(x)
    x = layers.MaxPooling2D(2, data_format="channels_last", name="pool2")(x)
    if include_top:
        x = layers.Flatten(data_format="channels_last", name="flatten")(x)
        x = layers.Dense(120, activation="relu", name="fc3")(x)
        if dropout:
            x = layers.Dropout(dropout, name="dropout3")(x)
        x = layers.Dense(84, activation="relu", name="fc4")(x)
        if dropout:
            x = layers.Dropout(dropout, name="dropout4")(x)
        x = layers.Dense(classes, activation=classifier_activation, name="predictions")(x)
    model = keras.Model(image, x, name=name)
    if weights is not None:
        weight_files.load(model, weights, beside=() if include_top else ("fc3", "fc4", "predictions"))
    return model


def preprocess_input(images: ArrayLike | tf.Tensor) -> np.ndarray | tf.Tensor:
    """Scale pixels to LeNet-5's inputs: float32 in [0, 1], a light digit on a background of 0.

    No mean is subtracted, so that the zeros with which conv1 pads the image equal its background.

    Args:
        images: Pixel values in [0, 255], any number type: an array or a tensor `(h, w)`, `(h, w, channels)`,
            `(n, h, w)` or `(n, h, w, channels)`. A last axis of length 1 or 3 is read as channels.

    Returns:
        float32 of the same shape with a last axis of channels: `(h, w)` becomes `(h, w, 1)`, and `(n, h, w)`
        `(n, h, w, 1)`. An array for an array, a tensor for a tensor. The input is not changed.

    Raises:
        ValueError: If `images` has another number of axes, or is not numeric.
    """
    is_tensor = keras.ops.is_tensor(images)
    pixels: Any = images if is_tensor else np.asarray(images)
    if not is_tensor and pixels.dtype.kind not in "uif":
        raise ValueError(f"preprocess_input expects pixel values in [0, 255], received dtype {pixels.dtype}.")
    axes = len(pixels.shape)
    if axes not in (2, 3, 4):
        raise ValueError(
            "preprocess_input expects images of shape (h, w), (h, w, channels), (n, h, w) or (n, h, w, channels), "
            f"received shape {tuple(pixels.shape)}."
        )
    if axes == 2 or (axes == 3 and pixels.shape[-1] not in (1, 3, None)):
        pixels = pixels[..., None]
    if is_tensor:
        return keras.ops.cast(pixels, "float32") / 255.0
    return pixels.astype(np.float32) / np.float32(255)


def to_pixels(images: ArrayLike | tf.Tensor) -> np.ndarray:
    """Inverse of `preprocess_input`, for display: numbers in [0, 1] to uint8 in [0, 255], rounded and clipped.

    Args:
        images: Array or tensor of any shape.

    Returns:
        NumPy array of the same shape, uint8.
    """
    images = keras.ops.convert_to_numpy(images)
    return np.clip(np.rint(images * 255.0), 0, 255).astype(np.uint8)


def decode_predictions(predictions: ArrayLike | tf.Tensor, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """Names of the most probable digits, for a LeNet-5 of ten classes.

    Args:
        predictions: Array or tensor `(n, 10)`, the output of the model.
        top: Number of digits, 1 to 10.

    Returns:
        For each image a list of `top` tuples `(class_name, description, score)`, the highest score first,
        e.g. `("7", "seven", 0.98)`.

    Raises:
        ValueError: If `predictions` is not of shape `(n, 10)`, or `top` is out of range.
    """
    scores: np.ndarray = keras.ops.convert_to_numpy(predictions)
    if scores.ndim != 2 or scores.shape[1] != len(_DIGIT_NAMES):
        raise ValueError(
            f"decode_predictions expects scores of ten digits of shape (n, 10), received shape {scores.shape}."
        )
    if not 1 <= top <= len(_DIGIT_NAMES):
        raise ValueError(f"decode_predictions: `top` must be 1 to 10, received {top!r}.")
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [
        [(str(digit), _DIGIT_NAMES[digit], float(row[digit])) for digit in digits]
        for digits, row in zip(order, scores, strict=True)
    ]
