"""Weights to and from files: `.npz` of ours, `.keras` and `.weights.h5` of Keras.

Our format is the plainest there is: a NumPy archive with one array per weight, named `layer/weight`, for example
`conv1/kernel`. float16 halves its size; LeNet-5 loses nothing by it.
"""

import os
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np

SUFFIXES = (".npz", ".keras", ".weights.h5")


def save(model, path, dtype="float16"):
    """Write the weights of a model as `.npz`.

    Args:
        model: A `keras.Model`, without nested models, built.
        path: Where to write; a name that ends in `.npz`.
        dtype: Type of the arrays in the file.

    Raises:
        ValueError: If a weight is not a finite number in this type. Nothing is written then.
    """
    arrays = {
        f"{layer.name}/{weight.name}": keras.ops.convert_to_numpy(weight)
        for layer in model.layers
        for weight in layer.weights
    }
    write(arrays, path, dtype, source=model.name)


def write(arrays, path, dtype="float16", source="the network", compress=True, note=""):
    """Write arrays as `.npz`, whole or not at all.

    Args:
        arrays: `{"layer/weight": array}`, the weights of each layer in its own order.
        path: Where to write; a name that ends in `.npz`.
        dtype: Type of the arrays in the file.
        source: What they are the weights of, for the message.
        compress: Whether to spend time on a smaller file.
        note: Text that the archive carries as its comment.

    Raises:
        ValueError: If a weight is not a finite number in this type. Nothing is written then.
        OSError: If the file cannot be written.
    """
    arrays = {name: _cast(array, dtype) for name, array in arrays.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(
                f"The weights '{name}' of '{source}' are not all finite numbers in {dtype}, and cannot be saved. "
                "Train with a lower learning rate, or save as a wider dtype."
            )
    path = Path(path)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        with open(partial, "wb") as file:
            (np.savez_compressed if compress else np.savez)(file, **arrays)
        if note:
            with zipfile.ZipFile(partial, "a") as archive:
                archive.comment = note.encode()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(model, path, beside=()):
    """Fill the weights of a model from a file, layer by layer, by name.

    Nothing is assigned before everything has been checked.

    Args:
        model: A built `keras.Model`, without nested models; changed in place.
        path: A `.npz`, `.keras` or `.weights.h5` file.
        beside: Names of layers that the file may hold and the model lacks.

    Raises:
        ValueError: If the file is missing, cannot be read, lacks a layer, holds one too many, or has a weight of
            another shape, not of real numbers, or with a value that is not finite in the model's own type.
    """
    found = _read(path)
    expected = {layer.name: layer.weights for layer in model.layers if layer.weights}
    missing = [layer for layer in expected if layer not in found]
    surplus = [layer for layer in found if layer not in expected and layer not in beside]
    if missing or surplus:
        what = f"has no weights for {', '.join(missing)}" if missing else f"has weights for {', '.join(surplus)} too"
        raise ValueError(
            f"The weights file '{path}' does not fit '{model.name}': it {what}. "
            f"The file holds {', '.join(found)}; the model needs {', '.join(expected)}."
        )
    for layer, weights in expected.items():
        got = [array.shape for array in found[layer]]
        want = [tuple(weight.shape) for weight in weights]
        if got != want:
            raise ValueError(
                f"The weights file '{path}' does not fit layer '{layer}' of '{model.name}': "
                f"expected shapes {_listed(want)}, got {_listed(got)}."
            )
        for weight, array in zip(weights, found[layer], strict=True):
            _check_values(path, layer, array, weight.dtype)
    for layer, weights in expected.items():
        for weight, array in zip(weights, found[layer], strict=True):
            weight.assign(array)


def outputs(path):
    """How many outputs each layer of a weights file has: the last axis of its kernel.

    Args:
        path: A `.npz`, `.keras` or `.weights.h5` file.

    Returns:
        `{layer name: int}`.

    Raises:
        ValueError: If the file is missing or cannot be read.
    """
    return {layer: int(arrays[0].shape[-1]) for layer, arrays in _read(path).items() if arrays[0].ndim}


def _check_values(path, layer, array, dtype):
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise ValueError(
            f"The weights file '{path}' has no real numbers in layer '{layer}': expected a type like float32, "
            f"got {array.dtype}."
        )
    if not np.isfinite(_cast(array, dtype)).all():
        raise ValueError(
            f"The weights file '{path}' has a value in layer '{layer}' that is not a finite number in {dtype}."
        )


def _cast(array, dtype):
    """The array in another type; what does not fit becomes infinite, without a warning."""
    with np.errstate(over="ignore"):
        return array.astype(dtype, copy=False)


def _read(path):
    """All weights of a file: `{layer name: [array, ...]}`, in the layer's own order."""
    path = str(path)
    readers = {".npz": _read_npz, ".keras": _read_keras, ".weights.h5": _read_h5}
    reader = next((read for suffix, read in readers.items() if path.endswith(suffix)), None)
    if reader is None:
        raise ValueError(f"'{path}' is not a weights file: expected a name that ends in {', '.join(SUFFIXES)}.")
    try:
        found = reader(path)
    except FileNotFoundError:
        raise ValueError(f"There is no weights file '{path}'.") from None
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"The weights file '{path}' cannot be read: {reason}") from error
    if not found:
        raise ValueError(f"The weights file '{path}' holds no named layers with weights.")
    return found


def _read_npz(path):
    _check_archive(path)
    found = {}
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            found.setdefault(name.rpartition("/")[0], []).append(_member(archive, name))
    return found


def _member(archive, name):
    try:
        array = archive[name]
    except ValueError:  # NumPy advises to allow pickles, which may run any code
        raise ValueError(f"its array '{name}' is damaged, or holds Python objects, which are never loaded") from None
    if not isinstance(array, np.ndarray):
        raise ValueError(f"its member '{name}' is no NumPy array")
    return array


def _check_archive(path):
    """Before NumPy and Keras, who would call a damaged archive a pickle, or a file that is not there."""
    with open(path, "rb") as file:
        if file.read(2) != b"PK" or not zipfile.is_zipfile(file):
            raise ValueError(f"it is not a whole zip archive, which a {Path(path).suffix} file is")


def _read_keras(path):
    _check_archive(path)
    model = keras.models.load_model(path, compile=False)
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def _read_h5(path):
    import h5py

    found = {}

    def visit(_, group):
        if isinstance(group, h5py.Group) and "name" in group.attrs and len(group):
            found[group.attrs["name"]] = [group[str(order)][()] for order in range(len(group))]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


def _listed(shapes):
    return " and ".join(str(shape) for shape in shapes) or "none"
