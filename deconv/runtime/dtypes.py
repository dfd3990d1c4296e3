"""Numbers as the dtype of an image holds them: what is floating point, what fits, and what would wrap around."""

from numbers import Integral

import numpy as np


def is_floating(dtype):
    """Whether a dtype is one of floating-point numbers, those of `ml_dtypes` (bfloat16, float8) included."""
    dtype = np.dtype(dtype)
    return dtype.kind == "f" or (dtype.kind == "V" and "float" in dtype.name)


def array_of(name, values, expected="an array of numbers"):
    """Numbers as an array. `expected` is what an error says that they must be.

    Raises:
        ValueError: If they are no array of numbers: text, lists of unequal lengths, objects.
    """
    try:
        found = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must be {expected}; received {_short(values)}: {error}") from error
    if found.dtype.kind not in "biuf" and not is_floating(found.dtype):
        raise ValueError(f"{name} must be {expected}; received {_short(values)}, dtype {found.dtype}.")
    return found


def any_array(values):
    """Anything as an array, lists of unequal lengths as an object: for a check that says itself what it expects."""
    try:
        return np.asarray(values)
    except (ValueError, TypeError):
        return np.array(None)


def as_dtype(name, values, dtype):
    """Numbers in the dtype of an image. In one of whole numbers nothing is rounded and nothing wraps around.

    Raises:
        ValueError: If the dtype is of whole numbers (or of truth values) and one of the numbers is not, or exceeds it.
    """
    values = np.asarray(values)
    if is_floating(dtype) or np.can_cast(values.dtype, dtype):
        return values.astype(dtype, copy=False)
    low, high = _range(dtype)
    outside = ~((values >= low) & (values < high + 1))  # NaN is outside
    if is_floating(values.dtype):
        outside |= np.trunc(values) != values
    if outside.any():
        raise ValueError(
            f"{name} must be whole numbers from {low} to {high} here, as {np.dtype(dtype).name} holds them; received "
            f"{values[outside].flat[0]}. Round them, and scale them to that range, first."
        )
    return values.astype(dtype)


def check_shape(input_shape, wanted=(None, None, None)):
    """A shape of images without the batch.

    Args:
        input_shape: What was given.
        wanted: That of the model's input, with None for sides that are open.

    Raises:
        ValueError: If it is no sequence of as many whole numbers.
    """
    whole = isinstance(input_shape, tuple | list | np.ndarray) and len(input_shape) == len(wanted)
    if not whole or not all(isinstance(size, Integral) and size > 0 for size in input_shape):
        rank = len(wanted)
        told = "(height, width, channels), three" if rank == 3 else f"like {tuple(wanted)}, {rank}"
        raise ValueError(f"input_shape must be {told} whole numbers; received {input_shape!r}.")


def _range(dtype):
    """`(least, largest)` of a dtype of whole numbers, as ints."""
    if np.dtype(dtype).kind == "b":
        return 0, 1
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _short(value):
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    told = " ".join(repr(value).split())
    return told if len(told) <= 80 else told[:77] + "..."
