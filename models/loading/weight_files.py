"""Weights to and from files: `.npz` of ours, `.keras` and `.weights.h5` of Keras.

Our format is the plainest there is: a NumPy archive with one array per weight, named `layer/weight`, for example
`conv1/kernel`. float16 halves its size; LeNet-5 loses nothing by it.
"""

import contextlib
import difflib
import os
import zipfile

import keras
import numpy as np

from models.loading import h5_weights, keras_file, npz_weights
from models.loading.atomic_files import replacing
from models.loading.stored import check_expansion, plain

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
    with replacing(path) as partial:
        with open(partial, "wb") as file:
            (np.savez_compressed if compress else np.savez)(file, **arrays)
        if note:
            with zipfile.ZipFile(partial, "a") as archive:
                archive.comment = note.encode()


def load(model, path, beside=()):
    """Fill the weights of a model from a file, layer by layer, by name.

    Names, shapes and types are compared before a value is read, so that a file takes no more memory than the model.
    Nothing is assigned before everything has been checked. Nothing outside of the file is read.

    Args:
        model: A built `keras.Model`, without nested models; changed in place.
        path: A `.npz`, `.keras` or `.weights.h5` file.
        beside: Names of layers that the file may hold and the model lacks.

    Raises:
        ValueError: If the file is missing, cannot be read, lacks a layer, holds one too many, or has a weight of
            another shape, not of real numbers, or with a value that is not finite in the model's own type.
    """
    expected = {layer.name: layer.weights for layer in model.layers if layer.weights}
    with _opened(path) as found:
        _check_layers(model, path, found, expected, beside)
        for layer, weights in expected.items():
            _check_stored(model, path, layer, found[layer], weights)
        values = {
            layer: [
                _values(path, layer, stored, weight.dtype) for weight, stored in zip(weights, found[layer], strict=True)
            ]
            for layer, weights in expected.items()
        }
    for layer, weights in expected.items():
        for weight, array in zip(weights, values[layer], strict=True):
            weight.assign(array)


def outputs(path):
    """How many outputs each layer of a weights file has: the last axis of its kernel. No values are read.

    Args:
        path: A `.npz`, `.keras` or `.weights.h5` file.

    Returns:
        `{layer name: int}`.

    Raises:
        ValueError: If the file is missing, cannot be read, or declares weights far larger than itself.
    """
    with _opened(path) as found:
        with _reading(path):
            for stored in (stored for weights in found.values() for stored in weights):
                check_expansion(f"its weight '{stored.name}'", stored.nbytes, stored.on_disk)
        return {layer: int(weights[0].shape[-1]) for layer, weights in found.items() if weights[0].shape}


def _check_layers(model, path, found, expected, beside):
    missing = [layer for layer in expected if layer not in found]
    surplus = [layer for layer in found if layer not in expected and layer not in beside]
    if not missing and not surplus:
        return
    what = f"has no weights for {_some(missing)}" if missing else f"has weights for {_some(surplus)} too"
    near = difflib.get_close_matches(missing[0], surplus, n=1) if missing else ()
    hint = f" Is its '{plain(near[0])}' the model's '{missing[0]}'? Rename it then." if near else ""
    raise ValueError(
        f"The weights file '{path}' does not fit '{model.name}': it {what}. "
        f"The file holds {_some(found)}; the model needs {_some(expected)}.{hint}"
    )


def _check_stored(model, path, layer, found, weights):
    """Shapes and types, as the file declares them."""
    got = [stored.shape for stored in found]
    want = [tuple(weight.shape) for weight in weights]
    if got != want:
        raise ValueError(
            f"The weights file '{path}' does not fit layer '{layer}' of '{model.name}': "
            f"expected shapes {_listed(want)}, got {_listed(got)}."
        )
    for stored in found:
        if stored.dtype.kind not in "fiu" and stored.dtype.name != "bfloat16":
            raise ValueError(
                f"The weights file '{path}' has no real numbers in layer '{layer}': expected a type like float32, "
                f"got {stored.dtype}.{_lost(stored.dtype)}"
            )


def _lost(dtype):
    return " NumPy saves bfloat16 like this and forgets its name; save float32 instead." if dtype == "V2" else ""


def _values(path, layer, stored, dtype):
    """The values of one weight in the model's type."""
    with _reading(path):
        array = _cast(stored.read(), dtype)
    if not np.isfinite(array).all():
        raise ValueError(
            f"The weights file '{path}' has a value in layer '{layer}' that is not a finite number in {dtype}."
        )
    return array


def _cast(array, dtype):
    """The array in another type; what does not fit becomes infinite, without a warning."""
    with np.errstate(over="ignore"):
        return array.astype(dtype, copy=False)


@contextlib.contextmanager
def _opened(path):
    """The weights of a file as it declares them, `{layer name: [Stored, ...]}`, to be read inside the block."""
    path = str(path)
    kinds = {".npz": npz_weights, ".keras": keras_file, ".weights.h5": h5_weights}
    kind = next((kind for suffix, kind in kinds.items() if path.endswith(suffix)), None)
    if kind is None:
        raise ValueError(f"'{path}' is not a weights file: expected a name that ends in {', '.join(SUFFIXES)}.")
    with contextlib.ExitStack() as stack:
        with _reading(path):
            if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
                raise ValueError("it is no regular file")
            found = stack.enter_context(kind.arrays(path))
        if not found:
            raise ValueError(
                f"The weights file '{path}' holds no named layers with weights. A file of Keras 2 is loaded with "
                "model.load_weights and saved anew with model.save_weights."
            )
        yield found


@contextlib.contextmanager
def _reading(path):
    """Errors of those who read a file, in one line that names it."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"There is no weights file '{path}'.") from None
    except Exception as error:  # zipfile, zlib, NumPy and HDF5 each have their own for what they cannot read
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"The weights file '{path}' cannot be read: {reason.splitlines()[0].rstrip('.')}.") from error


def _listed(shapes):
    return " and ".join(str(shape) for shape in shapes) or "none"


def _some(names):
    names = [plain(name) for name in names]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
