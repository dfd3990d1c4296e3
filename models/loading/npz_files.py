"""Read untrusted `.npz` files: they are checked before they are decompressed, and never unpickled.

`deconv` and `models` must not import each other, so both contain an identical copy of this module.
"""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath

import numpy as np

DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)
"""Exceptions that `zipfile` raises for damaged archives, besides OSError and ValueError."""


def read_arrays(
    path: str | os.PathLike, check: Callable[[dict[str, tuple[tuple[int, ...], np.dtype]]], None]
) -> dict[str, np.ndarray]:
    """Read all arrays of a `.npz` file after a check of their declared shapes and dtypes.

    Args:
        path: The file.
        check: Function of `{name: (shape, dtype)}`, as the archive declares them; it raises ValueError to prevent
            decompression. No array becomes larger than declared.

    Returns:
        `{name: array}`, in the file's order.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be read.
        ValueError: If it is not a complete archive of plain arrays, or `check` raises it. The message does not name the
            file.
    """
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            raise ValueError("it is not a zip archive, as .npz files are")
        try:
            with zipfile.ZipFile(file) as archive:
                members = {_name_of(member): member for member in archive.infolist()}
                if len(members) != len(archive.infolist()):
                    raise ValueError("two of its members have the same name")
                check({name: _declared(archive, member)[:2] for name, member in members.items()})
                return {name: _read(archive, member) for name, member in members.items()}
        except DAMAGED as error:
            raise ValueError(f"it is damaged: {error or type(error).__name__}") from error


def _name_of(member):
    """The name of the array in an archive member, if the member may be read."""
    name = member.filename
    parts = PurePosixPath(name).parts
    if name.startswith("/") or "\\" in name or ".." in parts or not name.endswith(".npy"):
        raise ValueError(f"its member {name!r} is not an array of a .npz file")
    if member.flag_bits & 1:
        raise ValueError(f"its member {name!r} is encrypted")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"its member {name!r} is compressed in a way that NumPy does not use")
    return name.removesuffix(".npy")


def _declared(archive, member):
    """Shape, dtype and order of an array, from its header."""
    with archive.open(member) as file:
        return _header(file, member)


def _header(file, member):
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}[version]  # other versions allow headers of gigabytes
        shape, fortran, dtype = read(file)
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"its member {member.filename!r} is not a NumPy array") from error
    if dtype.hasobject:
        raise ValueError(f"its member {member.filename!r} holds Python objects, which are never loaded")
    if dtype.kind not in "biufcUSV" or dtype.fields is not None or dtype.itemsize == 0 or min(shape, default=0) < 0:
        raise ValueError(f"its member {member.filename!r} is not an array of plain numbers ({dtype}, shape {shape})")
    if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
        raise ValueError(f"its member {member.filename!r} has not the size that its shape {shape} requires")
    return shape, dtype, fortran


def _read(archive, member):
    with archive.open(member) as file:
        shape, dtype, fortran = _header(file, member)
        array = np.empty(math.prod(shape), dtype)
        into, done = memoryview(array.view(np.uint8)).cast("B") if array.size else memoryview(b""), 0
        while done < len(into):
            got = file.readinto(into[done : done + 2**20])
            if not got:
                raise EOFError(f"its member {member.filename!r} ends early")
            done += got
        if file.read(1):  # zipfile verifies the checksum when it reaches the end
            raise ValueError(f"its member {member.filename!r} is longer than declared")
        return array.reshape(shape, order="F" if fortran else "C")
