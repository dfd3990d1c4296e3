"""Read weights from an ONNX file."""

from __future__ import annotations

import functools
import math
import os
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from models.loading.declared_arrays import Stored, plain

if TYPE_CHECKING:
    import onnx

MISSING = (
    "Reading an ONNX file needs the package onnx, which is not installed. Install it with: "
    'pip install "deconvnet[convert]", or in a clone: pip install ".[convert]"'
)


def require() -> None:
    """Check that `onnx` is installed.

    Raises:
        ImportError: If it is not; the message says how to install it.
    """
    try:
        import onnx  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError(MISSING) from error


def read(path: str | os.PathLike) -> tuple[dict[str, Stored], tuple[str, ...]]:
    """The weights of an ONNX file, and the order of its normalisations and poolings.

    Args:
        path: The file.

    Returns:
        `({name: Stored}, order)`: the initializers by name without its prefix ("gpu_0/conv1_w_0" is "conv1_w_0"),
        kernels of dense layers as (out, in); and a tuple of "LRN" and "MaxPool". `Stored.read` raises ValueError if the
        data are not floating-point numbers, or do not match the shape.

    Raises:
        ImportError: If `onnx` is not installed.
        ValueError: If the file is not an ONNX file, stores its weights in another file, has two of the same name, or a
            dense layer without weights or with a scaling factor.
    """
    require()
    import onnx
    from onnx.external_data_helper import uses_external_data

    try:
        graph = onnx.load(path, format="protobuf", load_external_data=False).graph
    except Exception as error:  # protobuf and onnx raise different types for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"'{path}' is not an ONNX file, or is damaged: {reason}") from error
    for tensor in graph.initializer:
        if uses_external_data(tensor):
            raise ValueError(
                f"'{path}' stores weights ('{plain(tensor.name)}') in another file, which is not read. Save the "
                "network with all its weights in one file."
            )
    transposed = _transposed(path, graph)
    tensors: dict[str, Stored] = {}
    dense = [_stored(tensor, tensor.name in transposed) for tensor in graph.initializer]
    for stored in dense + [_sparse(tensor) for tensor in graph.sparse_initializer]:
        if stored.name in tensors:
            raise ValueError(
                f"'{path}' has two tensors named '{plain(stored.name)}'. Save the network with unique names."
            )
        tensors[stored.name] = stored
    return tensors, tuple(node.op_type for node in graph.node if node.op_type in ("LRN", "MaxPool"))


def _transposed(path: str | os.PathLike, graph: onnx.GraphProto) -> set[str]:
    """Names of the kernels stored as (in, out): those of dense layers that do not transpose them."""
    transposed = set()
    for number, node in enumerate(graph.node):
        if node.op_type != "Gemm":
            continue
        layer = f"its dense layer '{plain(node.name or (node.output[0] if node.output else number))}' (Gemm)"
        if len(node.input) < 2:
            raise ValueError(
                f"'{path}' is damaged: {layer} has {len(node.input)} input{'s' * (len(node.input) != 1)}: expected its "
                "images, kernel and bias."
            )
        options = {attribute.name: attribute for attribute in node.attribute}
        for factor in ("alpha", "beta"):
            if factor in options and options[factor].f != 1:
                raise ValueError(
                    f"'{path}' cannot be converted: {layer} has {factor}={options[factor].f:g}: expected 1. Multiply "
                    f"its weights by this factor, and save the network without {factor}."
                )
        if "transB" not in options or not options["transB"].i:
            transposed.add(node.input[1])
    return transposed


def _stored(tensor: onnx.TensorProto, transpose: bool) -> Stored:
    """Declared properties of an initializer; its data are decoded only when read."""
    import onnx

    shape = tuple(tensor.dims)
    return Stored(
        name=_name(tensor),
        shape=shape[::-1] if transpose else shape,
        dtype=np.dtype(np.float32),
        on_disk=tensor.ByteSize(),
        read=functools.partial(_read, onnx, tensor, transpose),
    )


def _read(onnx: ModuleType, tensor: onnx.TensorProto, transpose: bool) -> np.ndarray:
    """Decode an initializer after a check of its type and size."""
    kinds = onnx.TensorProto
    sizes = {kinds.FLOAT: 4, kinds.FLOAT16: 2, kinds.DOUBLE: 8, kinds.BFLOAT16: 2}
    if tensor.data_type not in sizes:
        known = tensor.data_type in kinds.DataType.values()
        kind = kinds.DataType.Name(tensor.data_type) if known else f"number {tensor.data_type}"
        raise ValueError(f"is of the type {kind}: expected FLOAT, FLOAT16, DOUBLE or BFLOAT16. Save it as FLOAT")
    if tensor.HasField("segment"):
        raise ValueError("is stored in segments, which are not supported. Save it in one piece")
    expected = math.prod(tensor.dims)
    if tensor.HasField("raw_data"):
        received = len(tensor.raw_data) / sizes[tensor.data_type]
    else:
        fields = {kinds.FLOAT: tensor.float_data, kinds.DOUBLE: tensor.double_data}
        received = len(fields.get(tensor.data_type, tensor.int32_data))
    if received != expected:
        raise ValueError(f"is damaged: its shape needs {expected:,} numbers, received {received:,.6g}")
    array = onnx.numpy_helper.to_array(tensor)
    return array.T if transpose else array


def _sparse(tensor: onnx.SparseTensorProto) -> Stored:
    """Declared properties of a sparse initializer, which cannot be read."""

    def read() -> np.ndarray:
        raise ValueError("is sparse, which is not supported. Save it as a dense tensor")

    return Stored(
        name=_name(tensor.values),
        shape=tuple(tensor.dims),
        dtype=np.dtype(np.float32),
        on_disk=tensor.ByteSize(),
        read=read,
    )


def _name(tensor: onnx.TensorProto) -> str:
    """Name without its prefix; names that are not UTF-8 are bytes."""
    name = tensor.name if isinstance(tensor.name, str) else tensor.name.decode(errors="replace")
    return name.rpartition("/")[-1]
