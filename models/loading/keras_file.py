"""Check `.keras` files before Keras reads them, and read their weights without building the model."""

import contextlib
import io
import json
import math
import re

from models.loading import h5_weights, zip_files
from models.loading.stored import check_expansion

_CONFIG, _WEIGHTS, _METADATA = "config.json", "model.weights.h5", "metadata.json"
_WIDTHS = ("units", "filters", "input_dim", "output_dim")
_HDF5 = b"\x89HDF\r\n\x1a\n"


@contextlib.contextmanager
def arrays(path):
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
        weights, given = h5_weights.groups(root)
        yield h5_weights.by_layer(weights, given or names)


def check(path) -> None:
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
        found = [stored for weights in h5_weights.groups(root)[0].values() for stored in weights]
        for stored in found:
            check_expansion(f"its weight '{stored.name}'", stored.nbytes, stored.on_disk)
        _check_widths(config, sum(math.prod(stored.shape) for stored in found))


def version(path) -> str:
    """The version of Keras that wrote a checked file, as declared in it; empty if it is not declared."""
    with zip_files.opened(path) as archive, contextlib.suppress(KeyError, ValueError, RecursionError):
        said = json.loads(zip_files.content(archive, _METADATA))
        if isinstance(said, dict) and isinstance(said.get("keras_version"), str):
            return said["keras_version"][:20]
    return ""


def _check_kind(path):
    with open(path, "rb") as file:
        if file.read(len(_HDF5)) == _HDF5:
            raise ValueError(
                "it is an HDF5 file of an older Keras, and not the zip archive that a .keras file is. Load it with "
                "the Keras that wrote it, and save it with model.save('model.keras')"
            )


def _check_members(archive):
    names = archive.namelist()
    for needed in (_CONFIG, _WEIGHTS):
        if needed not in names:
            raise ValueError(f"it holds no '{needed}', which Keras writes into every .keras file. Save the model anew")
    outside = [name for name in names if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name)]
    if outside:
        raise ValueError(f"its member '{outside[0]}' would lie outside of the folder into which it is unpacked")


def _config(archive):
    """The declared configuration of the model: a dict with the name of a class."""
    text = zip_files.content(archive, _CONFIG)
    try:
        config = json.loads(text)
    except RecursionError:
        raise ValueError(f"its '{_CONFIG}' is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"its '{_CONFIG}' is no JSON ({error})") from None
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise ValueError(f"its '{_CONFIG}' describes no model: expected an object with a 'class_name'")
    if not isinstance(config.get("config"), dict):
        raise ValueError(f"its '{_CONFIG}' describes no model: expected an object as its 'config'")
    return config


def _check_widths(config, numbers):
    """Reject layers wider than all weights together: Keras allocates a model's weights before it compares them."""
    todo = [config]
    for value in todo:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if key in _WIDTHS and isinstance(inner, int) and inner > max(2**20, numbers):
                raise ValueError(f"its '{_CONFIG}' has {inner:,} {key}, and its weights are {numbers:,} numbers in all")
            if isinstance(inner, dict | list):
                todo.append(inner)


@contextlib.contextmanager
def _opened(inside):
    import h5py

    try:
        h5_weights.check(inside)
        root = h5py.File(inside, "r")
    except Exception as error:
        raise ValueError(f"its member '{_WEIGHTS}' is no whole HDF5 file") from error
    with root:
        yield root


def _names(config):
    """Names of the layers by the group that contains their weights; before Keras 3.9 files do not store them there."""
    names, counts = {}, {}
    layers = config["config"].get("layers")
    for layer in layers if isinstance(layers, list) else ():
        inner = layer.get("config") if isinstance(layer, dict) else None
        if not isinstance(inner, dict) or not isinstance(layer.get("class_name"), str):
            continue
        group = _snake_case(layer["class_name"])
        count = counts[group] = counts.get(group, -1) + 1
        names[f"layers/{group}{f'_{count}' if count else ''}/vars"] = str(inner.get("name"))
    return names


def _snake_case(name):
    """Convert the name of a class to that of a group, as Keras does."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
