"""Weights from a `.npz` file: names, shapes and types first, values on request."""

import contextlib
import functools
import io
import math
import os
import zipfile
from collections.abc import Iterator

import numpy as np

from models.loading import zip_files
from models.loading.declared_arrays import Stored

_HEADER = 2**14  # bytes; NumPy reads headers of at most 10,000
_PIECE = 2**20
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@contextlib.contextmanager
def arrays(path: str | os.PathLike) -> Iterator[dict[str, list[Stored]]]:
    """Open a `.npz` file of arrays with names of the form `layer/weight`.

    Yields:
        `{layer: [Stored, ...]}` in the order of the file. They can be read inside the block.

    Raises:
        ValueError: If it is not such a file, or is damaged. The message does not contain the path.
        OSError: If the file cannot be read.
    """
    with zip_files.opened(path) as archive:
        layers: dict[str, list[Stored]] = {}
        for member in archive.infolist():
            layer, _, weight = member.filename.removesuffix(".npy").rpartition("/")
            if not layer or not weight:
                raise ValueError(
                    f"its array '{member.filename}' is not named after a layer and a weight, like conv1/kernel"
                )
            layers.setdefault(layer, []).append(_stored(archive, member))
        yield layers


def _stored(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Stored:
    """The declared properties of a member, checked against its size."""
    name = member.filename.removesuffix(".npy")
    with zip_files.inflated(archive, member) as file:
        beginning = io.BytesIO(file.read(_HEADER))
    if beginning.getvalue()[:6] != np.lib.format.MAGIC_PREFIX:
        raise ValueError(f"its member '{name}' is not a NumPy array")
    try:
        shape, by_columns, dtype = _HEADERS[np.lib.format.read_magic(beginning)](beginning)
    except Exception as error:  # the header is a Python expression, with many types of errors
        raise ValueError(f"the header of its array '{name}' is damaged") from error
    if dtype.hasobject:
        raise ValueError(f"its array '{name}' holds Python objects, which are never loaded")
    if any(size < 0 for size in shape):
        raise ValueError(f"its array '{name}' has the shape {shape}")
    begin = beginning.tell()
    stored = Stored(
        name=name,
        shape=shape,
        dtype=dtype,
        on_disk=member.compress_size,
        read=functools.partial(_read, archive, member, begin, by_columns, shape, dtype),
    )
    if begin + stored.nbytes != member.file_size:
        raise ValueError(
            f"its array '{name}' is damaged: shape {shape} and dtype {dtype} need {stored.nbytes:,} bytes, "
            f"received {member.file_size - begin:,}"
        )
    return stored


def _read(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    begin: int,
    by_columns: bool,
    shape: tuple[int, ...],
    dtype: np.dtype,
) -> np.ndarray:
    """Decompress a member into an array of the declared shape."""
    flat = np.empty(math.prod(shape), dtype)
    rest = flat.view(np.uint8).data if flat.size else memoryview(b"")
    with zip_files.inflated(archive, member) as file:
        file.read(begin)
        while rest:
            piece = file.read(min(_PIECE, len(rest)))
            if not piece:
                raise EOFError("it ends too early")
            rest[: len(piece)] = piece
            rest = rest[len(piece) :]
        file.read(1)  # zipfile verifies the checksum at the end
    return flat.reshape(shape, order="F" if by_columns else "C")
