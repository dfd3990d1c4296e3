"""Read weights from an HDF5 file of Keras 3. Only data inside the file are read."""

from __future__ import annotations

import contextlib
import functools
import io
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from models.loading.declared_arrays import Stored

if TYPE_CHECKING:
    import h5py

_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF = 1, 2, 3, 32000  # HDF5 would load plugins for other filters
_DAMAGED_STRINGS = "its strings are damaged"
_DEPTH = 40  # of nested groups; hard links may form cycles


@contextlib.contextmanager
def arrays(file: str | os.PathLike | io.BytesIO) -> Iterator[dict[str, list[Stored]]]:
    """Open a `.weights.h5` file.

    Args:
        file: A path, or an `io.BytesIO`.

    Yields:
        `{layer: [Stored, ...]}`, each layer's weights in its own order. They can be read inside the block. Arrays that
        belong to no layer, such as the state of an optimizer, are left out. Empty if the layers have no names.

    Raises:
        ValueError: If it refers to other files, or contains a link or an unknown filter. The message does not contain
            the path.
        OSError: If it is not an HDF5 file, or is damaged.
    """
    import h5py

    check(file)
    with h5py.File(file, "r") as root:
        yield by_layer(*groups(root))


def check(file: str | os.PathLike | io.BytesIO) -> None:
    """Check the string heaps of an HDF5 file, whose wrong lengths can cause an infinite loop in HDF5.

    Strings are stored in collections: a header of 16 bytes with the size of the whole, then the strings in sequence,
    each with its number and its length. The last has number 0, the free space (HDF5 file format 3.0, III.E).

    Args:
        file: A path, or an `io.BytesIO`.

    Raises:
        ValueError: If it is not an HDF5 file, or its heaps are damaged.
        OSError: If it cannot be read.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(file, str | os.PathLike):
            opened = stack.enter_context(open(file, "rb"))
            empty = not os.fstat(opened.fileno()).st_size
            content = b"" if empty else stack.enter_context(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
        else:
            content = file.getvalue()
        _check_strings(content)


def _check_strings(content: bytes | mmap.mmap) -> None:
    """Check the lengths of all strings in the heaps."""
    sizes = content[9:11] if content[8:9] in (b"\2", b"\3") else content[13:15]
    if content[:8] != b"\x89HDF\r\n\x1a\n" or sizes != b"\x08\x08":
        raise ValueError("it is not an HDF5 file of the kind that Keras writes")
    begin = content.find(b"GCOL\1\0\0\0")
    while begin >= 0:
        size = int.from_bytes(content[begin + 8 : begin + 16], "little")
        at, end = begin + 16, begin + size
        if end > len(content):
            raise ValueError(_DAMAGED_STRINGS)
        while at + 16 <= end:
            number, length = struct.unpack("<H6xQ", content[at : at + 16])
            step = 16 + (length + 7) // 8 * 8 if number else length
            if step < 16 or at + step > end:
                raise ValueError(_DAMAGED_STRINGS)
            at += step
        _check_references(content, begin, size)
        begin = content.find(b"GCOL\1\0\0\0", begin + 8)


def _check_references(content: bytes | mmap.mmap, begin: int, size: int) -> None:
    """Check the lengths in references to strings: HDF5 allocates that much memory before it checks them."""
    address = begin.to_bytes(8, "little")
    at = content.find(address)
    while at >= 0:
        length = int.from_bytes(content[max(at - 4, 0) : at], "little")
        number = int.from_bytes(content[at + 8 : at + 12], "little")
        is_layout = length >> 16 == 0x0304  # a virtual dataset, rejected later by name; else at most 51 MB
        if length > max(size, 2**20) and 0 < number < size // 16 and not is_layout:
            raise ValueError(_DAMAGED_STRINGS)
        at = content.find(address, at + 8)


def groups(root: h5py.File) -> tuple[dict[str, list[Stored]], dict[str, str]]:
    """The groups of weights in a file.

    Args:
        root: The opened file.

    Returns:
        `({path: [Stored, ...]}, {path: name of the layer})`; files written before Keras 3.9 contain no names.

    Raises:
        ValueError, OSError: See `arrays`.
    """
    import h5py

    weights: dict[str, list[Stored]] = {}
    names: dict[str, str] = {}
    visited: set[int] = set()
    todo: list[tuple[str, Any]] = [("", root)]
    while todo:
        path, group = todo.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in visited:
            continue
        visited.add(address)
        members = {key: member_of(group, key, f"{path}/{key}".strip("/")) for key in group}
        if path.rpartition("/")[2] == "vars":
            datasets = {key: member for key, member in members.items() if isinstance(member, h5py.Dataset)}
            weights[path] = [stored_dataset(f"{path}/{key}", datasets[key]) for key in _ordered(datasets)]
            name = group.attrs.get("name")
            if isinstance(name, str):
                names[path] = name
        below = [(f"{path}/{key}".strip("/"), member) for key, member in members.items() if _is_group(member)]
        if below and path.count("/") >= _DEPTH:
            raise ValueError(f"its groups are nested more than {_DEPTH} levels deep")
        todo += reversed(below)
    return weights, names


def by_layer(weights: Mapping[str, list[Stored]], names: Mapping[str, str]) -> dict[str, list[Stored]]:
    """Weights by layer name, without the state of optimizer, metrics and random seeds.

    Args:
        weights: `{path: [Stored, ...]}`, see `groups`.
        names: `{path: name of the layer}`.

    Returns:
        `{layer: [Stored, ...]}`.

    Raises:
        ValueError: If two layers have the same name.
    """
    inside = [path for path in weights if path.startswith("layers/")]  # others belong to optimizer and metrics
    layers: dict[str, list[Stored]] = {}
    for path in inside or weights:
        if path not in names or not weights[path] or "seed_generator" in path:
            continue
        if names[path] in layers:
            raise ValueError(f"it holds two layers named '{names[path]}'. Rename one of them")
        layers[names[path]] = weights[path]
    return layers


def member_of(group: h5py.Group, key: str, path: str) -> h5py.Group | h5py.Dataset:
    """A member of a group, unless it is a link.

    Args:
        group: The group.
        key: Name of the member.
        path: Path of the member in the file, for the message.

    Raises:
        ValueError: If it is a link.
    """
    import h5py

    link = group.get(key, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise ValueError(f"its '{path}' is a link to the file '{link.filename}'. Other files are never read")
    if not isinstance(link, h5py.HardLink):
        raise ValueError(f"its '{path}' is a link, which Keras never writes")
    return group[key]


def _is_group(member: object) -> bool:
    import h5py

    return isinstance(member, h5py.Group)


def _ordered(datasets: Mapping[str, h5py.Dataset]) -> list[str]:
    """Keys of a layer's weights in Keras's numbering; layers that name their weights keep the file's order."""
    numbers = [str(order) for order in range(len(datasets))]
    return numbers if set(numbers) == set(datasets) else list(datasets)


def stored_dataset(name: str, dataset: h5py.Dataset) -> Stored:
    """The declared properties of a dataset, if all its data are in this file and readable without plugins.

    Args:
        name: Name for messages.
        dataset: The dataset; its file must be open when `Stored.read` is called.

    Raises:
        ValueError: If not.
    """
    import h5py

    plan = dataset.id.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        raise ValueError(f"its '{name}' consists of data in other files. Other files are never read")
    if plan.get_external_count():
        other = plan.get_external(0)[0].decode(errors="replace")
        raise ValueError(f"its '{name}' is stored in the file '{other}'. Other files are never read")
    filters = [plan.get_filter(number)[0] for number in range(plan.get_nfilters())]
    unknown = set(filters) - {_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF}
    if unknown or filters.count(_DEFLATE) + filters.count(_LZF) > 1:
        raise ValueError(
            f"its '{name}' has the HDF5 filters {filters}: expected none, gzip or lzf. Save the model with Keras"
        )
    if dataset.shape is None:
        raise ValueError(f"its '{name}' is empty")
    dtype = dataset.dtype
    if dataset.attrs.get("dtype") == "bfloat16" and dtype.itemsize == 2:
        dtype = _bfloat16()
    stored = Stored(
        name=name,
        shape=dataset.shape,
        dtype=dtype,
        on_disk=dataset.id.get_storage_size(),
        read=functools.partial(_read, dataset, dtype, _DEFLATE in filters),
    )
    if dataset.chunks and np.prod(dataset.chunks, dtype=object) * dtype.itemsize > max(stored.nbytes, 2**20):
        raise ValueError(f"its '{name}' of shape {dataset.shape} has larger chunks, of shape {dataset.chunks}")
    return stored


def _read(dataset: h5py.Dataset, dtype: np.dtype, is_deflated: bool) -> np.ndarray:
    if dtype.hasobject:
        raise ValueError(f"its '{dataset.name}' holds strings or references instead of numbers")
    if is_deflated:
        _check_chunks(dataset)
    array = np.empty(dataset.shape, dataset.dtype)
    if array.size:
        dataset.read_direct(array)
    return array if array.dtype == dtype else array.view(dtype)


def _check_chunks(dataset: h5py.Dataset) -> None:
    """Check that no chunk decompresses to more than its size, since HDF5 does not limit it."""
    expected = int(np.prod(dataset.chunks, dtype=object)) * dataset.dtype.itemsize
    for number in range(dataset.id.get_num_chunks()):
        info = dataset.id.get_chunk_info(number)
        if info.size > 2 * expected + 2**16:
            raise ValueError(
                f"a chunk of its '{dataset.name}' has {info.size:,} bytes in the file, and {expected:,} in memory"
            )
        chunk = dataset.id.read_direct_chunk(info.chunk_offset)[1]
        if info.filter_mask == 0 and len(zlib.decompressobj().decompress(chunk, expected + 64)) > expected + 4:
            raise ValueError(f"a chunk of its '{dataset.name}' decompresses to more than its {expected:,} bytes")


def _bfloat16() -> np.dtype:
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)
