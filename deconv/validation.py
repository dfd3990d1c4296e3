"""What a caller may pass: each check fails at the door and says what to do instead."""

import importlib
from numbers import Integral, Real

import numpy as np
import tensorflow as tf

from deconv.runtime.dtypes import any_array, array_of, as_dtype, is_floating


def check_images(images, shape, dtype="float32"):
    """Images as an array of the model's own dtype.

    Args:
        images: Array or tensor `(n, *shape)`, preprocessed as the model expects: floating point, or, for a model that
            takes whole numbers, whole numbers that its dtype can hold, of whatever dtype they are. Nothing is rounded
            and nothing wraps around.
        shape: Shape of the model's input without the batch, such as `(height, width, channels)`.
        dtype: Dtype of the model's input.

    Raises:
        ValueError: If the images have another rank, shape or dtype, are none at all, are not finite, or do not fit into
            the dtype.
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
            "Look at how it was loaded or preprocessed."
        )
    return images


def check_pixels(name, images, axes=("height", "width", "channels")):
    """Images in pixel units, or one, as a float32 array.

    Args:
        name: What they are called.
        images: Numbers from 0 to 255.
        axes: Names of their axes.

    Raises:
        ValueError: If they have another rank, or are not of numbers from 0 to 255.
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
            "Give pixels as they are, and how the model takes them as `preprocess`."
        )
    return images


def preprocessed(images, preprocess, *, spare=False):
    """What a user's preprocessing makes of images. Nothing else in this package calls one.

    Some change an array in place, as `keras.applications.mobilenet_v2.preprocess_input` does to one of floats. So it
    gets a copy. TensorFlow's tensors cannot be changed, and are handed on as they are.

    Args:
        images: Array or tensor `(n, ...)`.
        preprocess: The function; None for none, which gives the images as they are.
        spare: Whether the array is of no more use to the caller, so that no copy is needed.

    Raises:
        ValueError: If `preprocess` is no function.
    """
    if preprocess is None:
        return images
    if not callable(preprocess):
        raise ValueError(f"preprocess must be a function of images, or None; received {preprocess!r}.")
    return preprocess(images if tf.is_tensor(images) or spare else np.array(images))


def check_image_shape(method, model_graph):
    """Fail for a network that takes something else than images with channels.

    Args:
        method: Name of what needs them.
        model_graph: A `Graph` with one input.

    Raises:
        ValueError: If its input has another rank.
    """
    shape = model_graph.inputs[0].shape
    if len(shape) != 3:
        raise ValueError(
            f"{method} needs a model that takes images (height, width, channels); model '{model_graph.name}' takes "
            f"inputs of shape {shape}. If it brings them into that shape itself, build a model from its layers above "
            "that."
        )


def prepare(images, preprocess, shape, dtype, *, spare=False):
    """Preprocess a batch and check what comes out.

    Raises:
        ValueError: As `check_images`, or if the images are not as many as before.
    """
    prepared = preprocessed(images, preprocess, spare=spare)
    if np.ndim(prepared) and len(prepared) != len(images):
        raise ValueError(
            f"preprocess must return one image for each that it is given; received {len(prepared)} for {len(images)}."
        )
    return check_images(prepared, shape, dtype)


def check_finite(maps, layer):
    """Activations as they are.

    Raises:
        ValueError: If one is NaN or infinite.
    """
    if not np.isfinite(maps).all():
        raise ValueError(
            f"Layer '{layer}' puts out NaN or infinity. Look at the weights of the layers up to it, "
            "or use a wider dtype."
        )
    return maps


def check_target(target, count):
    """One class number; negative ones count from the end.

    Raises:
        ValueError: If it is no single whole number, or out of range.
    """
    if not isinstance(target, Integral) or isinstance(target, bool) or not -count <= target < count:
        raise ValueError(f"target must be one of the classes 0 to {count - 1}; received {target!r}.")
    return int(target) % count


def check_channel(channel, count, layer):
    """One channel number, as `check_channels`."""
    if any_array(channel).ndim:
        raise ValueError(f"channel must be one whole number; received {channel!r}.")
    return int(check_channels(channel, count, layer)[0])


def check_fill(fill, image_shape, name="fill"):
    """What covers or moves in: a number, one per channel, or an image, as a float64 array.

    Raises:
        ValueError: If it has another shape, or is not made of finite real numbers.
    """
    expected = (
        f"a finite number, one number per channel ({image_shape[-1]},) or an image {tuple(int(s) for s in image_shape)}"
    )
    given, fill = fill, array_of(name, fill, expected)
    right_shape = fill.shape in ((), image_shape[-1:], tuple(image_shape))
    if not right_shape or fill.dtype.kind == "b" or not np.isfinite(fill).all():
        raise ValueError(f"{name} must be {expected}; received {given!r} of shape {fill.shape}.")
    return fill.astype(np.float64)


def check_channels(channels, count, layer):
    """Channel numbers as an int array; negative ones count from the end.

    Raises:
        ValueError: If one is no integer or out of range.
    """
    given, channels = channels, np.atleast_1d(any_array(channels))
    if channels.ndim != 1 or not len(channels) or not np.issubdtype(channels.dtype, np.integer):
        raise ValueError(f"channel must be an int or a sequence of ints; received {given!r}.")
    for channel in channels:
        if not -count <= channel < count:
            raise ValueError(f"Layer '{layer}' has channels 0 to {count - 1}; received channel {channel}.")
    return channels % count


def check_numbers(numbers, count):
    """Numbers of images as an int array.

    Raises:
        ValueError: If one is no integer or out of range.
    """
    found = any_array(numbers)
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "iu" or (found < 0).any() or (found >= count).any():
        raise ValueError(
            f"numbers must be whole numbers from 0 to {count - 1}, one image for each unit; received {numbers!r}."
        )
    return found


def check_channels_last(step):
    """A step whose layer takes maps as `(height, width, channels)`.

    Raises:
        ValueError: If it takes the channels first.
    """
    if step.layer.data_format != "channels_last":
        raise ValueError(
            f"Layer '{step.name}' works channels first; this package takes images as (height, width, channels). "
            "Build the model with data_format='channels_last'."
        )


def check_seed(seed):
    """A whole number of at least 0.

    Raises:
        ValueError: If it is anything else.
    """
    if not isinstance(seed, Integral) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0; received {seed!r}.")
    return int(seed)


def check_positive(name, value):
    """A whole number above zero.

    Raises:
        ValueError: If it is anything else.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; received {value!r}.")
    return int(value)


def check_real(name, value, low=-np.inf):
    """A finite number of at least `low`.

    Raises:
        ValueError: If it is anything else.
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not low <= value < np.inf or value == -np.inf:
        least = f", at least {low:g}" if np.isfinite(low) else ""
        raise ValueError(f"{name} must be a finite number{least}; received {value!r}.")
    return float(value)


def check_pair(name, value):
    """A size or stride as `(rows, columns)`, both whole numbers above zero."""
    if any_array(value).ndim == 0 and not isinstance(value, list | tuple):
        return (check_positive(name, value),) * 2
    if any_array(value).shape != (2,):
        raise ValueError(f"{name} must be a whole number or a pair (rows, columns); received {value!r}.")
    return tuple(check_positive(name, part) for part in value)


def _sizes(shape):
    return ", ".join(str(size) for size in shape)


def require_sklearn(what, *modules):
    """That modules of scikit-learn are there.

    Args:
        what: What is scikit-learn's, in words: "Embeddings".
        modules: Their names.

    Raises:
        ImportError: If not; it says how to install it.
    """
    try:
        for module in modules:
            importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{what} are scikit-learn's, which is not installed. "
            'Install it with: pip install "deconvnet[probes]", or in a clone: pip install ".[probes]"'
        ) from error
