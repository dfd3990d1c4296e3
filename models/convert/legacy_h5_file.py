"""Read weights from an HDF5 file of Keras 2, written by `save_weights` of a model made of named layers."""

from __future__ import annotations

import functools
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.loading import h5_weights, zip_files
from models.loading.declared_arrays import Stored, check_expansion, plain

if TYPE_CHECKING:
    import h5py

BEGINS = b"\x89HDF"
_MANY = 1000  # layers, or weights of a layer


def read(path: str | os.PathLike) -> tuple[dict[str, Stored], None]:
    """The weights of a file, numbered within each top-level layer.

    Keras 2 loads such files by the order of the weights; their names depend on its version.

    Args:
        path: The file.

    Returns:
        `({name: Stored}, None)`: the first kernel of a layer `features` is named `"features/0/kernel"`, its second bias
        `"features/1/bias"`. Kernels are HWIO and (in, out). None stands for the order of the layers, which the file
        does not contain.

    Raises:
        ValueError: If the file is damaged, is of another kind, or refers to other files.
    """
    import h5py

    try:
        h5_weights.check(path)
        with h5py.File(path, "r") as root:
            layers = [(layer, h5_weights.member_of(root, layer, layer)) for layer in _texts(root, "layer_names")]
            return {name: stored for layer, group in layers for name, stored in _weights(path, layer, group)}, None
    except (ValueError, OSError, KeyError, RuntimeError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is damaged"
        raise ValueError(f"'{path}' is not a file of weights of Keras 2: {reason.rstrip('.')}.") from error


def unzipped(path: Path, folder: Path) -> Path:
    """Write the only `.h5` member of an archive to a folder, and return its path.

    Raises:
        ValueError: If the archive is damaged, does not hold exactly one such member, or the member would be far larger
            than its compressed data.
        OSError: If the file cannot be written.
    """
    try:
        with zip_files.opened(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".h5")]
            if len(members) != 1:
                raise ValueError(f"it holds {len(members)} files that end in .h5, expected one")
            return _inflate(archive, members[0], folder)
    except ValueError as error:
        raise ValueError(f"'{path}' is not a zip archive of weights: {str(error).rstrip('.')}.") from error


def _inflate(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> Path:
    check_expansion(f"its member '{plain(member.filename)}'", member.file_size, member.compress_size)
    target = folder / Path(member.filename).name
    left = member.file_size
    with zip_files.inflated(archive, member) as source, open(target, "wb") as file:
        while piece := source.read(2**20):
            left -= len(piece)
            if left < 0:
                raise ValueError(f"its member '{plain(member.filename)}' is longer than declared")
            file.write(piece)
    return target


def _weights(path: str | os.PathLike, layer: str, group: h5py.Group) -> list[tuple[str, Stored]]:
    """Names and declared properties of a layer's weights, two for each kernel and bias."""
    names = _texts(group, "weight_names")
    found = []
    for number, name in enumerate(names):
        member = _below(group, layer, name)
        stored = h5_weights.stored_dataset(name, member)
        read_again = functools.partial(_read, path, layer, name)
        kind = name.rpartition("/")[2].partition(":")[0]
        found.append((f"{layer}/{number // 2}/{kind}", stored._replace(read=read_again)))
    return found


def _below(group: h5py.Group, layer: str, name: str) -> h5py.Dataset:
    """A dataset in a group by its path, which must contain no links."""
    import h5py

    member = group
    path = layer
    for part in name.split("/"):
        path = f"{path}/{part}"
        if not isinstance(member, h5py.Group) or part not in member:
            raise ValueError(f"it lacks its weight '{plain(path)}'")
        member = h5_weights.member_of(member, part, path)
    if not isinstance(member, h5py.Dataset):
        raise ValueError(f"its '{plain(path)}' is not an array")
    return member


def _read(path: str | os.PathLike, layer: str, name: str) -> np.ndarray:
    """The values of a weight; the file is opened again."""
    import h5py

    with h5py.File(path, "r") as root:
        return h5_weights.stored_dataset(name, _below(h5_weights.member_of(root, layer, layer), layer, name)).read()


def _texts(group: h5py.Group, attribute: str) -> list[str]:
    """A list of texts in an attribute."""
    import h5py

    if not isinstance(group, h5py.Group) or attribute not in group.attrs:
        raise ValueError(f"it has no attribute '{attribute}', which Keras 2 writes")
    texts = [text.decode() if isinstance(text, bytes) else text for text in np.ravel(group.attrs[attribute])[:_MANY]]
    if not all(isinstance(text, str) and text for text in texts) or len(set(texts)) < len(texts):
        raise ValueError(f"its attribute '{attribute}' is not a list of different names")
    return texts
