"""Save and load weights: `.npz` files of this package, `.keras` and `.weights.h5` files of Keras.

The `.npz` format is a NumPy archive with one array per weight, named `layer/weight`, for example `conv1/kernel`.
float16 halves its size, without loss of accuracy for LeNet-5.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import DTypeLike

from models.loading import h5_weights, keras_file, npz_weights
from models.loading.atomic_files import replacing
from models.loading.declared_arrays import Stored, check_expansion, plain

SUFFIXES = (".npz", ".keras", ".weights.h5")


def save(model: keras.Model, path: str | os.PathLike, dtype: DTypeLike = "float16") -> None:
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


def write(
    arrays: Mapping[str, np.ndarray],
    path: str | os.PathLike,
    dtype: DTypeLike = "float16",
    source: str = "the network",
    compress: bool = True,
    note: str = "",
) -> None:
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
    converted: dict[str, Any] = {name: _cast(array, dtype) for name, array in arrays.items()}
    for name, array in converted.items():
        if not np.isfinite(array).all():
            raise ValueError(
                f"The weights '{name}' of '{source}' are not all finite numbers in {dtype} and cannot be saved. "
                "Train with a lower learning rate, or save with a wider dtype."
            )
    with replacing(path) as partial:
        with open(partial, "wb") as file:
            (np.savez_compressed if compress else np.savez)(file, **converted)
        if note:
            with zipfile.ZipFile(partial, "a") as archive:
                archive.comment = note.encode()


def load(model: keras.Model, path: str | os.PathLike, beside: Collection[str] = ()) -> None:
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
    with _opened(path) as in_file:
        _check_layers(model, path, in_file, expected, beside)
        for layer, weights in expected.items():
            _check_stored(model, path, layer, in_file[layer], weights)
        values = {
            layer: [
                _values(path, layer, stored, weight.dtype)
                for weight, stored in zip(weights, in_file[layer], strict=True)
            ]
            for layer, weights in expected.items()
        }
    for layer, weights in expected.items():
        for weight, array in zip(weights, values[layer], strict=True):
            weight.assign(array)


def outputs(path: str | os.PathLike) -> dict[str, int]:
    """Number of outputs of each layer in a weights file: the last axis of its kernel. No values are read.

    Args:
        path: A `.npz`, `.keras` or `.weights.h5` file.

    Returns:
        `{layer name: int}`.

    Raises:
        ValueError: If the file is missing, cannot be read, or declares weights far larger than itself.
    """
    with _opened(path) as in_file:
        with _reading(path):
            for stored in (stored for weights in in_file.values() for stored in weights):
                check_expansion(f"its weight '{stored.name}'", stored.nbytes, stored.on_disk)
        return {layer: int(weights[0].shape[-1]) for layer, weights in in_file.items() if weights[0].shape}


def _check_layers(
    model: keras.Model,
    path: str | os.PathLike,
    in_file: Mapping[str, list[Stored]],
    expected: Mapping[str, list],
    beside: Collection[str],
) -> None:
    """Check that the layers of a file are those of the model, except for those in `beside`."""
    missing = [layer for layer in expected if layer not in in_file]
    surplus = [layer for layer in in_file if layer not in expected and layer not in beside]
    if not missing and not surplus:
        return
    fault = f"has no weights for {_enumerated(missing)}" if missing else f"has weights for {_enumerated(surplus)} too"
    similar = difflib.get_close_matches(missing[0], surplus, n=1) if missing else ()
    hint = f" If its '{plain(similar[0])}' is the model's '{missing[0]}', rename it." if similar else ""
    raise ValueError(
        f"The weights file '{path}' does not fit '{model.name}': it {fault}. "
        f"The file holds {_enumerated(in_file)}; the model needs {_enumerated(expected)}.{hint}"
    )


def _check_stored(
    model: keras.Model, path: str | os.PathLike, layer: str, in_file: list[Stored], weights: Sequence[keras.Variable]
) -> None:
    """Check the declared shapes and dtypes."""
    received = [stored.shape for stored in in_file]
    expected = [tuple(weight.shape) for weight in weights]
    if received != expected:
        raise ValueError(
            f"The weights file '{path}' does not fit layer '{layer}' of '{model.name}': "
            f"expected shapes {_shapes(expected)}, received {_shapes(received)}."
        )
    for stored in in_file:
        if stored.dtype.kind not in "fiu" and stored.dtype.name != "bfloat16":
            raise ValueError(
                f"The weights file '{path}' has no real numbers in layer '{layer}': expected a type like float32, "
                f"received {stored.dtype}.{_bfloat16_hint(stored.dtype)}"
            )


def _bfloat16_hint(dtype: np.dtype) -> str:
    return " NumPy saves bfloat16 as this type; save float32 instead." if dtype == "V2" else ""


def _values(path: str | os.PathLike, layer: str, stored: Stored, dtype: str) -> np.ndarray:
    """The values of one weight in the model's dtype."""
    with _reading(path):
        array = _cast(stored.read(), dtype)
    if not np.isfinite(array).all():
        raise ValueError(
            f"The weights file '{path}' has a value in layer '{layer}' that is not a finite number in {dtype}."
        )
    return array


def _cast(array: np.ndarray, dtype: DTypeLike) -> np.ndarray:
    """The array in another dtype; overflow gives infinity, without a warning."""
    with np.errstate(over="ignore"):
        return array.astype(dtype, copy=False)


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[dict[str, list[Stored]]]:
    """Open the weights of a file, `{layer name: [Stored, ...]}`, which can be read inside the block."""
    path = str(path)
    readers: dict[str, Any] = {".npz": npz_weights, ".keras": keras_file, ".weights.h5": h5_weights}
    reader = next((reader for suffix, reader in readers.items() if path.endswith(suffix)), None)
    if reader is None:
        raise ValueError(f"'{path}' is not a weights file: expected a name that ends in {', '.join(SUFFIXES)}.")
    with contextlib.ExitStack() as stack:
        with _reading(path):
            if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
                raise ValueError("it is not a regular file")
            in_file = stack.enter_context(reader.arrays(path))
        if not in_file:
            raise ValueError(
                f"The weights file '{path}' holds no named layers with weights. Load a file of Keras 2 with "
                "model.load_weights and save it again with model.save_weights."
            )
        yield in_file


@contextlib.contextmanager
def _reading(path: str | os.PathLike) -> Iterator[None]:
    """Context manager that converts errors of reading to a one-line message that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"There is no weights file '{path}'.") from None
    except Exception as error:  # zipfile, zlib, NumPy and HDF5 raise different types
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(f"The weights file '{path}' cannot be read: {reason.splitlines()[0].rstrip('.')}.") from error


def _shapes(shapes: Iterable[tuple[int, ...]]) -> str:
    return " and ".join(str(shape) for shape in shapes) or "none"


def _enumerated(names: Iterable[str]) -> str:
    """The first twenty names, separated by commas, and the number of others."""
    names = [plain(name) for name in names]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
