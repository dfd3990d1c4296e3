"""Check `.keras` files before Keras reads them, and read their weights without building the model."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from models.loading import h5_weights, zip_files
from models.loading.declared_arrays import Stored, check_expansion

if TYPE_CHECKING:
    import h5py

_CONFIG, _WEIGHTS, _METADATA = "config.json", "model.weights.h5", "metadata.json"
_WIDTHS = ("units", "filters", "input_dim", "output_dim")
_HDF5 = b"\x89HDF\r\n\x1a\n"


@contextlib.contextmanager
def arrays(path: str | os.PathLike) -> Iterator[dict[str, list[Stored]]]:
    """Open the weights of a `.keras` file. Its model is not built, so that no code of any layer is executed.

    Yields:
        `{layer: [Stored, ...]}`, see `models.loading.h5_weights.arrays`.

    Raises:
        ValueError: If it is not such a file, or is damaged. The message does not contain the path.
        OSError: If the file cannot be read.
    """
    _check_kind(path)
    with zip_files.opened(path) as archive:
        _check_members(archive)
        inside = io.BytesIO(zip_files.content(archive, _WEIGHTS))
        names = _names(_config(archive))
    with _opened(inside) as root:
        weights, stored_names = h5_weights.groups(root)
        yield h5_weights.by_layer(weights, stored_names or names)


def check(path: str | os.PathLike) -> None:
    """Check that a `.keras` file is complete and contains all its weights, before Keras opens it.

    Raises:
        ValueError: If it is not a zip archive, a member is encrypted, damaged, missing, or far larger than its
            compressed data; its configuration is not JSON that describes a model, or has a layer wider than all its
            weights together; or its weights are links to other files or far larger than their compressed data. The
            message does not contain the path.
        OSError: If the file cannot be read.
    """
    _check_kind(path)
    with zip_files.opened(path) as archive:
        _check_members(archive)
        for member in archive.infolist():
            check_expansion(f"its member '{member.filename}'", member.file_size, member.compress_size)
        config = _config(archive)
        inside = io.BytesIO(zip_files.content(archive, _WEIGHTS))
    with _opened(inside) as root:
        arrays_in_file = [stored for weights in h5_weights.groups(root)[0].values() for stored in weights]
        for stored in arrays_in_file:
            check_expansion(f"its weight '{stored.name}'", stored.nbytes, stored.on_disk)
        _check_widths(config, sum(math.prod(stored.shape) for stored in arrays_in_file))


def version(path: str | os.PathLike) -> str:
    """The version of Keras that wrote a checked file, as declared in it; empty if it is not declared."""
    with zip_files.opened(path) as archive, contextlib.suppress(KeyError, ValueError, RecursionError):
        metadata = json.loads(zip_files.content(archive, _METADATA))
        if isinstance(metadata, dict) and isinstance(metadata.get("keras_version"), str):
            return metadata["keras_version"][:20]
    return ""


def _check_kind(path: str | os.PathLike) -> None:
    """Reject HDF5 files with the suffix `.keras`."""
    with open(path, "rb") as file:
        if file.read(len(_HDF5)) == _HDF5:
            raise ValueError(
                "it is an HDF5 file of an older Keras instead of a zip archive, as .keras files are. Load it with the "
                "version of Keras that wrote it, and save it with model.save('model.keras')"
            )


def _check_members(archive: zipfile.ZipFile) -> None:
    """Check that the needed members exist and that none would be extracted outside its folder."""
    names = archive.namelist()
    for required in (_CONFIG, _WEIGHTS):
        if required not in names:
            raise ValueError(f"it has no '{required}', which every .keras file contains. Save the model again")
    outside = [name for name in names if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name)]
    if outside:
        raise ValueError(f"its member '{outside[0]}' would be extracted outside the destination folder")


def _config(archive: zipfile.ZipFile) -> dict[str, Any]:
    """The declared configuration of the model: a dict with the name of a class."""
    text = zip_files.content(archive, _CONFIG)
    try:
        config = json.loads(text)
    except RecursionError:
        raise ValueError(f"its '{_CONFIG}' is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"its '{_CONFIG}' is not JSON ({error})") from None
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise ValueError(f"its '{_CONFIG}' does not describe a model: expected an object with a 'class_name'")
    if not isinstance(config.get("config"), dict):
        raise ValueError(f"its '{_CONFIG}' does not describe a model: expected an object as its 'config'")
    return config


def _check_widths(config: dict[str, Any], numbers: int) -> None:
    """Reject layers wider than all weights together: Keras allocates a model's weights before it compares them."""
    todo: list[Any] = [config]
    for value in todo:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if key in _WIDTHS and isinstance(inner, int) and inner > max(2**20, numbers):
                raise ValueError(
                    f"its '{_CONFIG}' has {inner:,} {key}, but its weights are {numbers:,} numbers in total"
                )
            if isinstance(inner, dict | list):
                todo.append(inner)


@contextlib.contextmanager
def _opened(inside: io.BytesIO) -> Iterator[h5py.File]:
    """Open the HDF5 file inside the archive."""
    import h5py

    try:
        h5_weights.check(inside)
        root = h5py.File(inside, "r")
    except Exception as error:
        raise ValueError(f"its member '{_WEIGHTS}' is not a complete HDF5 file") from error
    with root:
        yield root


def _names(config: dict[str, Any]) -> dict[str, str]:
    """Names of the layers by the group that contains their weights; before Keras 3.9 files do not store them there."""
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    layers = config["config"].get("layers")
    for layer in layers if isinstance(layers, list) else ():
        inner = layer.get("config") if isinstance(layer, dict) else None
        if not isinstance(inner, dict) or not isinstance(layer.get("class_name"), str):
            continue
        group = _snake_case(layer["class_name"])
        count = counts[group] = counts.get(group, -1) + 1
        names[f"layers/{group}{f'_{count}' if count else ''}/vars"] = str(inner.get("name"))
    return names


def _snake_case(name: str) -> str:
    """Convert the name of a class to that of a group, as Keras does."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
