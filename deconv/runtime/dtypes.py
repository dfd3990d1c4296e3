"""Checked conversion of numbers to arrays and to the dtype of an image."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike


def is_floating(dtype: DTypeLike) -> bool:
    """Return whether a dtype is floating point, including those of `ml_dtypes` (bfloat16, float8)."""
    dtype = np.dtype(dtype)
    return dtype.kind == "f" or (dtype.kind == "V" and "float" in dtype.name)


def array_of(name: str, values: ArrayLike, expected: str = "an array of numbers") -> np.ndarray:
    """Convert numbers to an array.

    Args:
        name: Their name in messages.
        values: Anything that NumPy converts.
        expected: Description in messages of what they must be.

    Raises:
        ValueError: If they are not an array of numbers but text, lists of unequal lengths or objects.
    """
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must be {expected}; received {_short(values)}: {error}") from error
    if array.dtype.kind not in "biuf" and not is_floating(array.dtype):
        raise ValueError(f"{name} must be {expected}; received {_short(values)}, dtype {array.dtype}.")
    return array


def any_array(values: Any) -> np.ndarray:
    """Convert anything to an array, without an error.

    Lists of unequal lengths become an array that holds None, for callers with a check and message of their own.
    """
    try:
        return np.asarray(values)
    except (ValueError, TypeError):
        return np.array(None)


def as_dtype(name: str, values: ArrayLike, dtype: DTypeLike) -> np.ndarray:
    """Convert numbers to the dtype of an image, without rounding or wrapping around for integer dtypes.

    Args:
        name: Their name in messages.
        values: Numbers.
        dtype: The dtype.

    Raises:
        ValueError: If the dtype is integer or boolean, and a number is not whole or out of its range.
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
            f"{name} must be whole numbers from {low} to {high} for dtype {np.dtype(dtype).name}; received "
            f"{values[outside].flat[0]}. Round them and scale them to that range first."
        )
    return values.astype(dtype)


def check_shape(input_shape: Any, wanted: Sequence[int | None] = (None, None, None)) -> None:
    """Check a shape of images without the batch.

    Args:
        input_shape: The value to check.
        wanted: Shape of the model's input, with None for undefined sides.

    Raises:
        ValueError: If it is not a sequence of as many integers above zero.
    """
    whole = isinstance(input_shape, tuple | list | np.ndarray) and len(input_shape) == len(wanted)
    if not whole or not all(isinstance(size, Integral) and int(size) > 0 for size in input_shape):
        rank = len(wanted)
        expected = "(height, width, channels), three" if rank == 3 else f"like {tuple(wanted)}, {rank}"
        raise ValueError(f"input_shape must be {expected} whole numbers; received {input_shape!r}.")


def _range(dtype):
    """`(minimum, maximum)` of an integer or boolean dtype, as ints."""
    if np.dtype(dtype).kind == "b":
        return 0, 1
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _short(value):
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."
