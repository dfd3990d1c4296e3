"""From what a network takes to the pixels that it was made from: the last step down, through the preprocessing."""

import numpy as np

from deconv.runtime.dtypes import array_of
from deconv.validation import check_positive, preprocessed


def to_pixel_space(pictures, preprocess, channels=None):
    """Lead projections through the transpose of a preprocessing.

    A projection lies in the space of the network's input, where channels may be in another order (Caffe's networks take
    blue first) and of another scale than in the image. A preprocessing that treats every pixel alone,
    `x -> A x + b`, has the transpose `A'`, which leads on to the image's own colours; `b` has no part in it, as biases
    have none on the way down. A and b may differ from pixel to pixel, as with a mean image.

    Args:
        pictures: Float array `(n, height, width, channels of the network's input)`, signed, as `project` gives them.
        preprocess: Function from uint8 images `(n, height, width, channels)` to what the model takes.
        channels: Channels of the image; None for as many as the input has.

    Returns:
        float32 array `(n, height, width, channels of the image)`.

    Raises:
        ValueError: If `preprocess` makes something of another shape than `pictures` have, or is not of that form.
    """
    pictures = array_of("pictures", pictures).astype(np.float32)
    if pictures.ndim != 4:
        raise ValueError(f"pictures must have shape (n, height, width, channels); received {pictures.shape}.")
    _, height, width, inputs = pictures.shape
    channels = inputs if channels is None else check_positive("channels", channels)
    # Black, full strength of one channel each, and noise to try on what was found: whole numbers, as pixels are.
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
    if not error <= 0.01 * np.abs(seen - black).max():  # NaN is no answer either
        raise ValueError(
            "preprocess must change every pixel on its own, by a matrix and a constant, to have a transpose; this one "
            "does not. Show the projections as they are instead."
        )
    return np.einsum("nhwo,chwo->nhwc", pictures, matrices).astype(np.float32)
