"""Map projections from the space of the network's input to pixel space, by the transpose of the preprocessing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from deconv.runtime.dtypes import array_of
from deconv.validation import Preprocess, check_positive, preprocessed


def to_pixel_space(pictures: ArrayLike, preprocess: Preprocess | None, channels: int | None = None) -> np.ndarray:
    """Apply the transpose of a preprocessing function to projections.

    A projection lies in the space of the network's input, where the order of the channels (Caffe's networks take blue
    first) and their scale may differ from the image. A preprocessing function that is affine in each pixel,
    `x -> A x + b`, has the transpose `A'`, which maps to the colours of the image; `b` is not used, as biases are not
    used in projections. A and b may differ between pixels, as with a mean image.

    Args:
        pictures: Projections, float array `(n, height, width, channels of the network's input)`, signed, as returned by
            `project`.
        preprocess: Function from uint8 images `(n, height, width, channels)` to the input of the model.
        channels: Number of channels of the image; None for that of the input.

    Returns:
        float32 array `(n, height, width, channels of the image)`.

    Raises:
        ValueError: If the output of `preprocess` has not the shape of `pictures`, or `preprocess` is not of that form.
    """
    pictures = array_of("pictures", pictures).astype(np.float32)
    if pictures.ndim != 4:
        raise ValueError(f"pictures must have shape (n, height, width, channels); received {pictures.shape}.")
    _, height, width, inputs = pictures.shape
    channels = inputs if channels is None else check_positive("channels", channels)
    noise, outputs = probe(preprocess, (height, width, channels))
    if outputs.shape != (channels + 2, height, width, inputs):
        raise ValueError(
            f"preprocess must map images of shape {(channels + 2, height, width, channels)} to "
            f"(n, {height}, {width}, {inputs}), the shape of the projections; it returned {outputs.shape}. Give "
            "`channels` if images have another number of channels than the input; show projections as they are if "
            "`preprocess` resizes images."
        )
    black, *of_channels, of_noise = outputs
    matrices = (np.stack(of_channels) - black) / 255  # (channels of the image, height, width, channels of the input)
    error = np.abs(black + np.einsum("hwc,chwo->hwo", noise, matrices) - of_noise).max()
    if not error <= 0.01 * np.abs(outputs - black).max():  # `not <=` also rejects NaN
        raise ValueError(
            "preprocess must be affine in each pixel (a matrix and a constant) to have a transpose, and this function "
            "is not. Show the projections in the space of the network's input."
        )
    return np.einsum("nhwo,chwo->nhwc", pictures, matrices).astype(np.float32)


def probe(
    preprocess: Preprocess | None, shape: Sequence[int], dtype: DTypeLike = np.uint8
) -> tuple[np.ndarray, np.ndarray]:
    """Apply a preprocessing function to images from which an affine function of each pixel can be determined.

    The images are black, each channel alone at 255, and noise, which verifies the result.

    Args:
        preprocess: Function from images `(n, height, width, channels)` to the input of the model.
        shape: `(height, width, channels)` of the images.
        dtype: Dtype of the images.

    Returns:
        `(noise, outputs)`: int array of the given shape, the last image; and float64 `(channels + 2, ...)`, the outputs
        for all images.
    """
    channels = shape[-1]
    images = np.zeros((channels + 2, *shape), dtype)
    for channel in range(channels):
        images[channel + 1, ..., channel] = 255
    images[-1] = noise = np.random.default_rng(0).integers(0, 256, images.shape[1:])
    return noise, np.asarray(preprocessed(images, preprocess), np.float64)
