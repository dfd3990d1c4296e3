"""Map projections from the space of the network's input to pixel space, by the transpose of the preprocessing."""

import numpy as np

from deconv.runtime.dtypes import array_of
from deconv.validation import check_positive, preprocessed


def to_pixel_space(pictures, preprocess, channels=None):
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
    # Black, each channel alone at 255, and noise to verify the result; integers, as pixels are.
    probes = np.zeros((channels + 2, height, width, channels), np.uint8)
    for channel in range(channels):
        probes[channel + 1, ..., channel] = 255
    probes[-1] = noise = np.random.default_rng(0).integers(0, 256, probes.shape[1:])
    seen = np.asarray(preprocessed(probes, preprocess), np.float64)
    if seen.shape != (len(probes), height, width, inputs):
        raise ValueError(
            f"preprocess must make (n, {height}, {width}, {inputs}), the shape of the pictures, of images; it turns "
            f"{probes.shape} into {seen.shape}. Give `channels` if images have others than the input, and show what is "
            "resized as it is."
        )
    black, *full, tried = seen
    matrices = (np.stack(full) - black) / 255  # (channels of the image, height, width, channels of the input)
    error = np.abs(black + np.einsum("hwc,chwo->hwo", noise, matrices) - tried).max()
    if not error <= 0.01 * np.abs(seen - black).max():  # `not <=` also rejects NaN
        raise ValueError(
            "preprocess must change every pixel on its own, by a matrix and a constant, to have a transpose; this one "
            "does not. Show the projections as they are instead."
        )
    return np.einsum("nhwo,chwo->nhwc", pictures, matrices).astype(np.float32)
