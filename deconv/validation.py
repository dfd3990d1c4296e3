"""Checks of user input, with messages that say how to correct it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, DTypeLike

from deconv.runtime.dtypes import any_array, array_of, as_dtype, is_floating

Preprocess = Callable[[Any], Any]
"""A preprocessing function: from images, as the user has them, to the input of the model."""


def check_images(images: ArrayLike | tf.Tensor, shape: Sequence[int], dtype: DTypeLike = "float32") -> np.ndarray:
    """Check images and convert them to the model's dtype.

    Args:
        images: Array or tensor `(n, *shape)`, preprocessed as the model expects: floating point or, for a model with
            integer input, whole numbers of any dtype within the range of the model's dtype. Values are never rounded or
            wrapped around.
        shape: Shape of the model's input without the batch, such as `(height, width, channels)`.
        dtype: Dtype of the model's input.

    Returns:
        Array `(n, *shape)` of that dtype.

    Raises:
        ValueError: If the images have another rank, shape or dtype, are empty or not finite, or exceed the dtype.
    """
    images = array_of("images", images)
    floating = is_floating(dtype)
    if floating and not is_floating(images.dtype):
        raise ValueError(
            f"images must be floating point, preprocessed as the model expects; received "
            f"dtype {images.dtype}. Preprocess them first, for example with models.lenet5.preprocess_input(images)."
        )
    if images.shape == tuple(shape):
        raise ValueError(
            f"images must be a batch of shape (n, {_sizes(shape)}); received one image of shape {images.shape}. "
            "Pass image[None]."
        )
    if images.ndim != len(shape) + 1 or images.shape[1:] != tuple(shape):
        raise ValueError(
            f"images must have shape (n, {_sizes(shape)}), which the model takes; received {images.shape}. "
            "Resize or convert them first."
        )
    if not len(images):
        raise ValueError(f"images must hold at least one image; received none, shape {images.shape}.")
    if not floating:
        return as_dtype("images", images, dtype)
    images = images.astype(dtype, copy=False)
    finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"images must be finite; image {int(np.argmin(finite))} holds NaN or infinity. "
            "Check how it was loaded or preprocessed."
        )
    return images


def check_pixels(name: str, images: ArrayLike, axes: Sequence[str] = ("height", "width", "channels")) -> np.ndarray:
    """Check one image or several in pixel units and convert them to float32.

    Args:
        name: Their name in messages.
        images: Numbers from 0 to 255.
        axes: Names of their axes.

    Raises:
        ValueError: If they have another rank, or are not numbers from 0 to 255.
    """
    images = array_of(name, images)
    if images.ndim != len(axes) or not images.size or images.dtype.kind == "b":
        raise ValueError(
            f"{name} must be numbers ({', '.join(axes)}) in pixel units; received {images.dtype} {images.shape}."
        )
    images = images.astype(np.float32)
    if not (images.min() >= 0 and images.max() <= 255):
        raise ValueError(
            f"{name} must be in pixel units, 0 to 255; received values from {images.min():g} to {images.max():g}. "
            "Give images that are not preprocessed, and the preprocessing function as `preprocess`."
        )
    return images


def preprocessed(images: np.ndarray | tf.Tensor, preprocess: Preprocess | None, *, spare: bool = False) -> Any:
    """Apply the user's preprocessing function. It is called nowhere else in this package.

    Some preprocessing functions modify an array in place, such as `keras.applications.mobilenet_v2.preprocess_input`
    with floats. The function therefore receives a copy. TensorFlow's tensors are immutable and are not copied.

    Args:
        images: Array or tensor `(n, ...)`.
        preprocess: The function; None returns the images unchanged.
        spare: Whether the caller no longer needs the array, so that no copy is made.

    Raises:
        ValueError: If `preprocess` is not callable.
    """
    if preprocess is None:
        return images
    if not callable(preprocess):
        raise ValueError(f"preprocess must be a function of images, or None; received {preprocess!r}.")
    return preprocess(images if tf.is_tensor(images) or spare else np.array(images))


def check_image_shape(method: str, model_graph: Any) -> None:
    """Check that the input of a model is an image with channels.

    Args:
        method: Name of the method that requires it.
        model_graph: A `Graph` with one input.

    Raises:
        ValueError: If its input has another rank.
    """
    shape = model_graph.inputs[0].shape
    if len(shape) != 3:
        raise ValueError(
            f"{method} needs a model that takes images (height, width, channels); model '{model_graph.name}' takes "
            f"inputs of shape {shape}. If it reshapes its inputs to images itself, build a model from the layers above."
        )


def prepare(
    images: np.ndarray | tf.Tensor,
    preprocess: Preprocess | None,
    shape: Sequence[int],
    dtype: DTypeLike,
    *,
    spare: bool = False,
) -> np.ndarray:
    """Preprocess a batch and check the result; arguments as for `preprocessed` and `check_images`.

    Raises:
        ValueError: As `check_images`, or if the number of images changes.
    """
    prepared = preprocessed(images, preprocess, spare=spare)
    if np.ndim(prepared) and len(prepared) != len(images):
        raise ValueError(
            f"preprocess must return as many images as it is given; received {len(prepared)} for {len(images)}."
        )
    return check_images(prepared, shape, dtype)


def check_finite(maps: np.ndarray, layer: str | int) -> np.ndarray:
    """Return activation maps unchanged.

    Raises:
        ValueError: If a value is NaN or infinite.
    """
    if not np.isfinite(maps).all():
        raise ValueError(
            f"The output of layer '{layer}' contains NaN or infinity. Check the weights of the layers up to it, or use "
            "a wider dtype."
        )
    return maps


def check_target(target: Any, count: int) -> int:
    """Check a class index from `-count` to `count - 1` and return it as a non-negative int.

    Raises:
        ValueError: If it is not an integer, or out of range.
    """
    if not isinstance(target, Integral) or isinstance(target, bool) or not -count <= int(target) < count:
        raise ValueError(f"target must be one of the classes 0 to {count - 1}; received {target!r}.")
    return int(target) % count


def check_channel(channel: Any, count: int, layer: str | int) -> int:
    """Check one channel index and return it as an int, as `check_channels`."""
    if any_array(channel).ndim:
        raise ValueError(f"channel must be one whole number; received {channel!r}.")
    return int(check_channels(channel, count, layer)[0])


def check_fill(fill: ArrayLike, image_shape: Sequence[int], name: str = "fill") -> np.ndarray:
    """Check a fill value and convert it to a float64 array.

    Args:
        fill: A number, one per channel, or an image.
        image_shape: `(height, width, channels)`.
        name: Its name in messages.

    Raises:
        ValueError: If it has another shape, or values that are not finite real numbers.
    """
    expected = (
        f"a finite number, one number per channel ({image_shape[-1]},) or an image {tuple(int(s) for s in image_shape)}"
    )
    given, fill = fill, array_of(name, fill, expected)
    right_shape = fill.shape in ((), image_shape[-1:], tuple(image_shape))
    if not right_shape or fill.dtype.kind == "b" or not np.isfinite(fill).all():
        raise ValueError(f"{name} must be {expected}; received {given!r} of shape {fill.shape}.")
    return fill.astype(np.float64)


def check_channels(channels: Any, count: int, layer: str | int) -> np.ndarray:
    """Check channel indices from `-count` to `count - 1` and return them as a non-negative int array.

    Raises:
        ValueError: If one is not an integer, or out of range.
    """
    given, channels = channels, np.atleast_1d(any_array(channels))
    if channels.ndim != 1 or not len(channels) or not np.issubdtype(channels.dtype, np.integer):
        raise ValueError(f"channel must be an int or a sequence of ints; received {given!r}.")
    for channel in channels:
        if not -count <= channel < count:
            raise ValueError(f"Layer '{layer}' has channels 0 to {count - 1}; received channel {channel}.")
    return channels % count


def check_numbers(numbers: Any, count: int) -> np.ndarray:
    """Check image indices from 0 to `count - 1` and return them as an int array.

    Raises:
        ValueError: If one is not an integer, or out of range.
    """
    indices = any_array(numbers)
    is_vector_of_ints = indices.ndim == 1 and len(indices) and indices.dtype.kind in "iu"
    if not is_vector_of_ints or (indices < 0).any() or (indices >= count).any():
        raise ValueError(
            f"numbers must be whole numbers from 0 to {count - 1}, one image for each unit; received {numbers!r}."
        )
    return indices


def check_channels_last(step: Any) -> None:
    """Check that the layer of a step takes maps as `(height, width, channels)`.

    Raises:
        ValueError: If it takes the channels first.
    """
    if step.layer.data_format != "channels_last":
        raise ValueError(
            f"Layer '{step.name}' has its channels first; this package supports only (height, width, channels). "
            "Build the model with data_format='channels_last'."
        )


def check_seed(seed: Any) -> int:
    """Check a seed, an integer of at least 0, and return it as an int.

    Raises:
        ValueError: If it is anything else.
    """
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0; received {seed!r}.")
    return int(seed)


def check_positive(name: str, value: Any) -> int:
    """Check an integer of at least 1 and return it as an int.

    Raises:
        ValueError: If it is anything else.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; received {value!r}.")
    return int(value)


def check_real(name: str, value: Any, low: float = -np.inf) -> float:
    """Check a finite number of at least `low` and return it as a float.

    Raises:
        ValueError: If it is anything else.
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else np.nan
    if not low <= number < np.inf or number == -np.inf:
        least = f", at least {low:g}" if np.isfinite(low) else ""
        raise ValueError(f"{name} must be a finite number{least}; received {value!r}.")
    return number


def check_pair(name: str, value: Any) -> tuple[int, int]:
    """Check a size or stride, an integer of at least 1 or a pair of them, and return it as `(rows, columns)`."""
    if any_array(value).ndim == 0 and not isinstance(value, list | tuple):
        return check_positive(name, value), check_positive(name, value)
    if any_array(value).shape != (2,):
        raise ValueError(f"{name} must be a whole number or a pair (rows, columns); received {value!r}.")
    rows, columns = value
    return check_positive(name, rows), check_positive(name, columns)


def _sizes(shape):
    return ", ".join(str(size) for size in shape)
