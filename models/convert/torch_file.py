"""Read weights from a PyTorch file. PyTorch itself is not needed, and no code in the file is executed."""

from __future__ import annotations

import functools
import os
import struct
import zipfile
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from models.convert import torch_pickle
from models.convert.torch_pickle import Tensor
from models.loading.declared_arrays import Stored, check_expansion, plain

_NOT_WEIGHTS = (
    "'{}' is not a PyTorch file of weights, is damaged, or holds Python objects, which are never loaded. Expected a "
    "file written by torch.save(model.state_dict(), path)."
)
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of files without an archive, written by default before PyTorch 1.6
_TYPES = {"float32": "<f4", "float64": "<f8", "float16": "<f2", "bfloat16": "<u2"}
_SIZES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "int8": 1, "uint8": 1, "bool": 1, "int16": 2}
_SIZES |= {"int32": 4, "int64": 8, "complex64": 8, "complex128": 16}


class _Place(NamedTuple):
    """Where the bytes of a storage are in the file: from `begin` on, `nbytes` of them."""

    begin: int
    nbytes: int


def read(path: str | os.PathLike) -> tuple[dict[str, Stored], None]:
    """The weights of a PyTorch file that holds a `state_dict`: an archive, or a pickle followed by its storages.

    Args:
        path: The file.

    Returns:
        `({name: Stored}, None)`: its tensors, kernels of dense layers as (out, in). None stands for the order of the
        layers, which the file does not contain. `Stored.read` raises ValueError if the data are not floating-point
        numbers, are outside the file, or are a few numbers expanded many times.

    Raises:
        ValueError: If the file is not a PyTorch file, or contains anything but tensors. No code in it is executed.
    """
    with open(path, "rb") as file:
        zipped = file.read(2) == b"PK"
        file.seek(0)
        try:
            state, places = (_archive if zipped else _pickles)(file)
        except _Compressed as error:
            raise ValueError(
                f"'{path}' is not a PyTorch file of weights: its member '{plain(error)}' is compressed. Expected a "
                "file written by torch.save(model.state_dict(), path)."
            ) from error
        except Exception as error:  # pickletools, zipfile and struct raise different types
            raise ValueError(_NOT_WEIGHTS.format(path)) from error
    if not isinstance(state, dict):
        raise ValueError(f"'{path}' holds a {type(state).__name__}: expected a state_dict, a dict of tensors by name.")
    tensors = {name: tensor for name, tensor in state.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
    return {name: _stored(Path(path), name, tensor, places) for name, tensor in tensors.items()}, None


class _Compressed(ValueError):
    """A member of an archive is compressed, which PyTorch never does."""


def _archive(file: IO[bytes]) -> tuple[object, dict[str, _Place]]:
    """The object and the storages of an archive."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
                raise _Compressed(member.filename)
        by_name = {member.filename: member for member in members}
        (pickled,) = (name for name in by_name if name.endswith("/data.pkl") and name.count("/") == 1)
        folder = pickled.removesuffix("data.pkl")
        if len(by_name) != len(members):
            raise ValueError("it has two members of one name")
        if f"{folder}byteorder" in by_name and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("its numbers are big-endian")
        with archive.open(pickled) as content:
            state = torch_pickle.load(content)
        prefix = f"{folder}data/"
        storages = {name.removeprefix(prefix): member for name, member in by_name.items() if name.startswith(prefix)}
        return state, {key: _Place(_begin(file, member), member.file_size) for key, member in storages.items()}


def _begin(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """The position of the data of a member, behind its header."""
    file.seek(member.header_offset)
    header = file.read(30)
    signature, name, extra = struct.unpack("<4s22xHH", header)
    if signature != b"PK\x03\x04":
        raise ValueError("it has a member without a header")
    return member.header_offset + len(header) + name + extra


def _pickles(file: IO[bytes]) -> tuple[object, dict[str, _Place]]:
    """The object and the storages of a file without an archive: five pickles, then the storages."""
    magic, protocol, system = (torch_pickle.load(file) for _ in range(3))
    if magic != _MAGIC or protocol != _PROTOCOL or system.get("little_endian") is not True:
        raise ValueError("it does not begin as PyTorch's files do")
    state, keys = torch_pickle.load(file), torch_pickle.load(file)
    types = _dtypes(state)
    places = {}
    for key in keys:
        (length,) = struct.unpack("<q", file.read(8))
        nbytes = length * _SIZES[types[key]]  # the length of a storage is in numbers
        if length < 0:
            raise ValueError("it has a storage of negative length")
        places[key] = _Place(file.tell(), nbytes)
        file.seek(nbytes, os.SEEK_CUR)
    return state, places


def _dtypes(state: object) -> dict[str, str]:
    """The types of all storages in nested dicts, lists and tuples."""
    types: dict[str, str] = {}
    seen: set[int] = set()
    rest = [state]
    while rest:
        value = rest.pop()
        if isinstance(value, Tensor) and value.storage is not None:
            types.setdefault(value.storage.key, value.storage.dtype)
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            rest.extend(value.values() if isinstance(value, dict) else value)
    return types


def _stored(path: Path, name: str, tensor: Tensor, places: dict[str, _Place]) -> Stored:
    """Properties of a tensor; its values are checked and read only when needed."""
    place = places.get(tensor.storage.key) if tensor.storage is not None else None
    return Stored(
        name=name,
        shape=tensor.shape,
        dtype=np.dtype(np.float32),
        on_disk=place.nbytes if place is not None else 0,
        read=functools.partial(_read, path, tensor, place),
    )


def _read(path: Path, tensor: Tensor, place: _Place | None) -> np.ndarray:
    """The values of a tensor, float32 for bfloat16."""
    if tensor.kind:
        raise ValueError(f"is {tensor.kind}, which is not supported. Save it as a dense tensor")
    if tensor.dtype not in _TYPES:
        kind = plain(tensor.dtype)
        raise ValueError(f"is of the type {kind}: expected float32, float64, float16 or bfloat16. Save it as float32")
    length = int(np.prod([size for size in tensor.shape], dtype=object))
    if length == 0:
        return np.zeros(tensor.shape, np.float32)
    if place is None:
        raise ValueError("is damaged: its values are not in the file")
    check_expansion("it", length * 4, place.nbytes)
    numbers = _numbers(path, tensor, place)
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    values = np.lib.stride_tricks.as_strided(numbers, tensor.shape, strides, writeable=False)
    if tensor.dtype == "bfloat16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return -values if tensor.negated else values.copy()


def _numbers(path: Path, tensor: Tensor, place: _Place) -> np.ndarray:
    """The part of a storage from the first to the last number of a tensor."""
    dtype = np.dtype(_TYPES[tensor.dtype])
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    needed = (tensor.offset + last + 1) * dtype.itemsize
    if needed > place.nbytes:
        raise ValueError(f"is damaged: it needs {needed:,} bytes of its storage, which has {place.nbytes:,}")
    with open(path, "rb") as file:
        file.seek(place.begin + tensor.offset * dtype.itemsize)
        content = file.read((last + 1) * dtype.itemsize)
    if len(content) != (last + 1) * dtype.itemsize:
        raise ValueError("is damaged: the file ends before its values")
    return np.frombuffer(content, dtype)
