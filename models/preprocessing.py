"""Convert photographs to network inputs and back: channel order and means, in one table.

All conventions except EfficientNet-Lite's subtract the mean colour of ImageNet's training images. Published values
differ in the third digit; each network keeps the mean with which it is used.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Literal, NamedTuple

import keras
import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf
    from numpy.typing import ArrayLike


class Convention(NamedTuple):
    """Convention of a network: channels are reordered, then `(value - mean) / scale` is computed.

    Attributes:
        order: `"RGB"` or `"BGR"`, the order of the network's input channels.
        mean: In pixel units [0, 255], in that order.
        scale: In pixel units, in that order.
    """

    order: Literal["RGB", "BGR"]
    mean: tuple[float, float, float]
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)


CONVENTIONS = {
    # (x - 127) / 128, as efficientnet_lite_builder.py of tensorflow/tpu has it (MEAN_RGB, STDDEV_RGB).
    "efficientnet_lite": Convention("RGB", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
    # Caffe reads images with OpenCV, whose channels are blue, green, red. BVLC trained AlexNet on crops minus the same
    # crops of a mean image; Caffe's own classification example subtracts the mean pixel instead.
    "caffe": Convention("BGR", (104.00699, 116.66877, 122.67891)),
    # torchvision divides by 255 first: mean (0.485, 0.456, 0.406), scale (0.229, 0.224, 0.225).
    "torch": Convention("RGB", (0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255)),
    # Zeiler & Fergus (section 3) subtract the mean image, which is not published; the mean pixel replaces it here. They
    # do not state the order of the channels.
    "zfnet": Convention("RGB", (122.67891, 116.66877, 104.00699)),
    # The Model Zoo's page of zfnet512 does not describe its preprocessing, and its training is not documented. These
    # numbers were used to measure the zoo's accuracy (55.97 % top-1), by the script of Intel's Neural Compressor to
    # which the page refers; it stretches whole images to 224 x 224.
    "zfnet512": Convention("BGR", (103.939, 116.779, 123.68)),
}


def preprocess(images: ArrayLike | tf.Tensor, convention: str) -> np.ndarray | tf.Tensor:
    """Convert photographs to the inputs of a network.

    Args:
        images: Pixel values in [0, 255], any number type, RGB: an array or a tensor `(..., 3)`. Tensors of TensorFlow
            are accepted under every backend of Keras, so that this can be mapped over a `tf.data.Dataset`.
        convention: A name in `CONVENTIONS`.

    Returns:
        float32 of the same shape, an array for an array, a tensor for a tensor. The input is not changed.

    Raises:
        ValueError: If `images` does not have three channels, or is not numeric.
    """
    order, mean, scale = CONVENTIONS[convention]
    pixels = _float32(images)
    channels = pixels.shape[-1] if len(pixels.shape) else 0
    if channels not in (3, None):
        hint = ""
        if channels == 1:
            hint = " Repeat the channel of grey images three times: np.repeat(images, 3, axis=-1)."
        elif len(pixels.shape) in (2, 3):
            hint = " Convert grey images with np.repeat(images[..., None], 3, axis=-1)."
        raise ValueError(
            "preprocess_input expects RGB images, shape (..., height, width, 3), "
            f"received shape {tuple(pixels.shape)}.{hint}"
        )
    if order == "BGR":
        pixels = pixels[..., ::-1]
    return (pixels - np.array(mean, np.float32)) / np.array(scale, np.float32)


def to_pixels(images: ArrayLike | tf.Tensor, convention: str) -> np.ndarray:
    """Inverse of `preprocess`, for display.

    Args:
        images: Array or tensor `(..., 3)` in a network's own units and channel order.
        convention: A name in `CONVENTIONS`.

    Returns:
        uint8 NumPy array of the same shape, RGB, rounded and clipped to [0, 255]. For the output of `preprocess` on
        uint8 pixels these are exactly the original pixels.

    Raises:
        ValueError: If `images` does not have three channels.
    """
    order, mean, scale = CONVENTIONS[convention]
    inputs = np.asarray(keras.ops.convert_to_numpy(images), np.float32)
    if inputs.shape[-1:] != (3,):
        raise ValueError(f"to_pixels expects shape (..., height, width, 3), received shape {inputs.shape}.")
    pixels = inputs * np.array(scale, np.float32) + np.array(mean, np.float32)
    if order == "BGR":
        pixels = pixels[..., ::-1]
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _float32(images: ArrayLike | tf.Tensor) -> np.ndarray | tf.Tensor:
    """Images as float32: a tensor for a tensor, else an array."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None and tensorflow.is_tensor(images):
        return tensorflow.cast(images, tensorflow.float32)
    if keras.ops.is_tensor(images) or isinstance(images, keras.KerasTensor):
        return keras.ops.cast(images, "float32")
    array = np.asarray(images)
    if array.dtype.kind not in "uif":
        raise ValueError(f"preprocess_input expects pixel values in [0, 255], received dtype {array.dtype}.")
    return array.astype(np.float32)
