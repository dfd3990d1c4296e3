"""Save and load weights: `.npz` files of this package, `.keras` and `.weights.h5` files of Keras.

The `.npz` format is a NumPy archive with one array per weight, named `layer/weight`, for example `conv1/kernel`.
float16 halves its size, without loss of accuracy for LeNet-5.
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
        path: The file to write; a name that ends in `.npz`.
        dtype: Dtype of the arrays in the file.

    Raises:
        ValueError: If a weight is not finite in this dtype. Nothing is written then.
    """
    arrays = {
        f"{layer.name}/{weight.name}": keras.ops.convert_to_numpy(weight)
        for layer in model.layers
        for weight in layer.weights
    }
    write(arrays, path, dtype, source=model.name)


def write(arrays, path, dtype="float16", source="the network", compress=True, note=""):
    """Write arrays as `.npz`, atomically.

    Args:
        arrays: `{"layer/weight": array}`, the weights of each layer in its own order.
        path: The file to write; a name that ends in `.npz`.
        dtype: Dtype of the arrays in the file.
        source: Description of the network, for the message.
        compress: Whether to compress the file, which takes time.
        note: Text for the comment of the archive.

    Raises:
        ValueError: If a weight is not finite in this dtype. Nothing is written then.
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
    """Load the weights of a model from a file, layer by layer, by name.

    Names, shapes and dtypes are compared before values are read, so that a file takes no more memory than the model.
    Weights are assigned only after all checks. Nothing outside the file is read.

    Args:
        model: A built `keras.Model`, without nested models; changed in place.
        path: A `.npz`, `.keras` or `.weights.h5` file.
        beside: Names of layers that may be in the file without being in the model.

    Raises:
        ValueError: If the file is missing, cannot be read, lacks a layer, has an additional one, or has a weight of
            another shape, not of real numbers, or with a value that is not finite in the model's dtype.
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
    """Number of outputs of each layer in a weights file: the last axis of its kernel. No values are read.

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
    """Check the declared shapes and dtypes."""
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
    """The values of one weight in the model's dtype."""
    with _reading(path):
        array = _cast(stored.read(), dtype)
    if not np.isfinite(array).all():
        raise ValueError(
            f"The weights file '{path}' has a value in layer '{layer}' that is not a finite number in {dtype}."
        )
    return array


def _cast(array, dtype):
    """The array in another dtype; overflow gives infinity, without a warning."""
    with np.errstate(over="ignore"):
        return array.astype(dtype, copy=False)


@contextlib.contextmanager
def _opened(path):
    """Open the weights of a file, `{layer name: [Stored, ...]}`, which can be read inside the block."""
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
    """Context manager that converts errors of reading to a one-line message that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"There is no weights file '{path}'.") from None
    except Exception as error:  # zipfile, zlib, NumPy and HDF5 raise different types
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"The weights file '{path}' cannot be read: {reason.splitlines()[0].rstrip('.')}.") from error


def _listed(shapes):
    return " and ".join(str(shape) for shape in shapes) or "none"


def _some(names):
    names = [plain(name) for name in names]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
