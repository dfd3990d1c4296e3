"""Convert a published weights file to arrays by our layer names, in Keras's layout."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from models.convert import array_pickle, layout, legacy_h5_file, onnx_file, torch_file
from models.convert.tables import NETWORKS, Network
from models.loading import weight_files
from models.loading.declared_arrays import Stored, plain

_TORCH_BEGINS = (b"PK", b"\x80")  # a zip archive since PyTorch 1.6, a pickle before
_STATISTICS = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_POINTER_BEGINS = b"version https://git-lfs"


class Converted(NamedTuple):
    """The converted weights of one file.

    Attributes:
        network: A name in `NETWORKS`.
        arrays: `{"conv1/kernel": array, "conv1/bias": array, ...}` from the input up, float32: kernels HWIO or
            (in, out), inputs of fc6 in (rows, columns, channels) order.
        sha256: SHA-256 of the original file.
    """

    network: str
    arrays: dict[str, np.ndarray]
    sha256: str


def convert(path: str | os.PathLike, network: str | None = None) -> Converted:
    """Read and convert a published weights file.

    Args:
        path: An ONNX file, a PyTorch file that holds a `state_dict`, a pickle of NumPy arrays, or an HDF5 file of
            Keras 2.
        network: A name in `NETWORKS`; by default recognised by the first kernel.

    Returns:
        `Converted`.

    Raises:
        ImportError: If the file needs `onnx`, and it is not installed.
        ValueError: If there is no such file or network, or the file is damaged, contains something else, lacks a
            tensor, or has one of another shape, of another type, or with values that are not finite.
    """
    if network is not None and network not in NETWORKS:
        raise ValueError(f"There is no network {network!r} to convert: expected one of {', '.join(NETWORKS)}.")
    sha256 = hashlib.sha256()
    if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
        raise ValueError(f"The weights file '{path}' is not a regular file.")
    try:
        with open(path, "rb") as file:
            beginning = file.read(512)
            file.seek(0)
            while piece := file.read(2**20):
                sha256.update(piece)
    except OSError as error:
        raise ValueError(f"The weights file '{path}' cannot be read: {error.strerror}.") from error
    if beginning.startswith(_POINTER_BEGINS):
        raise ValueError(
            f"'{path}' is a Git LFS pointer instead of the file itself. Download the file to which it points."
        )
    reader: ModuleType = torch_file if beginning.startswith(_TORCH_BEGINS) else onnx_file
    if array_pickle.is_array_pickle(beginning):
        reader = array_pickle
    if beginning.startswith(legacy_h5_file.BEGINS):
        reader = legacy_h5_file
    tensors, order = reader.read(Path(path))
    network = network or _recognised(path, tensors)
    if order is not None and order != NETWORKS[network].order:
        raise ValueError(
            f"'{path}' is not {NETWORKS[network].title}: its normalisations and poolings are {_words(order)}, "
            f"expected {' '.join(NETWORKS[network].order)}."
        )
    return Converted(network, _arrays(path, tensors, NETWORKS[network]), sha256.hexdigest())


def save(converted: Converted, path: str | os.PathLike, dtype: str = "float32", digest: str | None = None) -> None:
    """Write converted weights atomically as `.npz`, with a comment on their origin.

    Args:
        converted: From `convert`.
        path: The file to write; a name that ends in `.npz`.
        dtype: `"float32"`, or `"float16"` for half the size and three significant digits.
        digest: Digest of the original file for the comment, by default its SHA-256.

    Raises:
        ValueError: If a weight is not a finite number in this type.
        OSError: If the file cannot be written.
    """
    # Compression hardly reduces trained weights, and takes ten seconds for 60 million of them.
    note = note_of(converted.network, digest or converted.sha256)
    weight_files.write(converted.arrays, path, dtype, source=converted.network, compress=False, note=note)


def note_of(network: str, digest: str) -> str:
    """The comment that `save` writes into its file: the network and the SHA-256 or SHA-1 of the original file."""
    kind = "sha1" if len(digest) == 40 else "sha256"
    return f"{network} converted from {kind}:{digest}"


def require_reader(file_name: str) -> None:
    """Check that the package that reads a file is installed, before the file is downloaded.

    Args:
        file_name: Its name: files that end in `.onnx` need `onnx`, all others none.

    Raises:
        ImportError: If it is not; the message says how to install it.
    """
    if file_name.endswith(".onnx"):
        onnx_file.require()


def _recognised(path: str | os.PathLike, tensors: Mapping[str, Stored]) -> str:
    """Name of the network whose convolutions a file contains, or else whose first kernel it contains."""
    for count in (5, 1):
        for name, network in NETWORKS.items():
            if all(_has_kernel(tensors, network, layer) for layer in list(network.kernels)[:count]):
                return name
    raise ValueError(
        f"'{path}' does not hold any of the networks that can be converted: expected the first kernel of "
        + ", ".join(_described(network) for network in NETWORKS.values())
        + f"; it holds {_contents(tensors)}."
    )


def _has_kernel(tensors: Mapping[str, Stored], network: Network, layer: str) -> bool:
    in_file, shape = network.kernels[layer]
    kernel = tensors.get(network.names[0].format(in_file))
    return kernel is not None and kernel.shape == shape


def _words(order: Sequence[str]) -> str:
    return " ".join(order[:20]) + (" and more" if len(order) > 20 else "")


def _first_kernel(network: Network) -> tuple[str, tuple[int | str, ...]]:
    """Name and shape of the kernel of its first layer."""
    return next(iter(network.kernels.values()))


def _described(network: Network) -> str:
    in_file, shape = _first_kernel(network)
    return f"{network.title} ('{network.names[0].format(in_file)}' {shape})"


def _contents(tensors: Mapping[str, Stored]) -> str:
    names = [f"'{plain(name)}' {_shape(stored.shape)}" for name, stored in tensors.items()]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "no weights"


def _shape(shape: Sequence[int]) -> str:
    return str(shape) if len(shape) <= 8 else f"({len(shape)} axes)"


def _arrays(path: str | os.PathLike, tensors: Mapping[str, Stored], network: Network) -> dict[str, np.ndarray]:
    """The weights of a network by our names, in Keras's layout."""
    sizes: dict[str, int] = {}
    arrays: dict[str, np.ndarray] = {}
    flattened = network.grid is None
    for layer, (in_file, expected) in network.kernels.items():
        kernel_name, bias_name = (name.format(in_file) for name in network.names)
        kernel = _tensor(path, tensors, kernel_name, layer, expected, sizes)
        outputs = expected[-1:] if network.in_keras_layout else expected[:1]
        if network.in_keras_layout and kernel.ndim == 2:
            kernel = np.transpose(kernel)
        if layer in network.depthwise:
            kernel = layout.depthwise_kernel(kernel)
        elif kernel.ndim == 4:
            kernel = kernel if network.in_keras_layout else layout.convolution_kernel(kernel)
        elif not flattened and network.grid is not None:
            kernel, flattened = layout.dense_kernel_after_flattening(kernel, network.grid), True
        else:
            kernel = layout.dense_kernel(kernel)
        arrays[f"{layer}/kernel"] = np.ascontiguousarray(kernel)
        if layer == "predictions" or not network.normalisations:
            arrays[f"{layer}/bias"] = _tensor(path, tensors, bias_name, layer, outputs, sizes)
    for layer, (in_file, channels) in network.normalisations.items():
        for ours, theirs in _STATISTICS.items():
            arrays[f"{layer}/{ours}"] = _tensor(path, tensors, f"{in_file}.{theirs}", layer, (channels,), sizes)
    return arrays


def _tensor(
    path: str | os.PathLike,
    tensors: Mapping[str, Stored],
    name: str,
    layer: str,
    expected: Sequence[int | str],
    sizes: dict[str, int],
) -> np.ndarray:
    """One tensor as float32, checked; sizes that vary between files are added to `sizes`."""
    if name not in tensors:
        raise ValueError(f"'{path}' has no tensor '{name}', the weights of {layer}; it holds {_contents(tensors)}.")
    stored = tensors[name]
    expected = tuple(sizes.get(size, size) if isinstance(size, str) else size for size in expected)
    fits = len(stored.shape) == len(expected) and all(
        length == size if isinstance(size, int) else length > 0
        for length, size in zip(stored.shape, expected, strict=True)
    )
    if not fits:
        described = ", ".join(map(str, expected))
        raise ValueError(
            f"'{path}' does not fit: '{name}', the weights of {layer}, should be of shape ({described}), "
            f"received {_shape(stored.shape)}."
        )
    sizes.update({size: length for length, size in zip(stored.shape, expected, strict=True) if isinstance(size, str)})
    try:
        array = stored.read()
    except ValueError as error:
        raise ValueError(f"'{path}': '{name}', the weights of {layer}, {error}.") from error
    with np.errstate(over="ignore"):  # overflow to infinity is rejected below
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"'{path}' is damaged: '{name}', the weights of {layer}, has values that are not finite.")
    return array
