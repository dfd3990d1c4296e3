"""Weights in an ONNX file."""

MISSING = (
    "An ONNX file is read with the package onnx, which is not installed. Install it with: "
    'pip install "deconvnet[convert]", or in a clone: pip install ".[convert]"'
)


def require():
    """See that `onnx` is there.

    Raises:
        ImportError: If it is not, saying how to install it.
    """
    try:
        import onnx  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError(MISSING) from error


def read(path):
    """The weights of an ONNX file, and the order of its normalisations and poolings.

    Args:
        path: The file.

    Returns:
        `({name: array}, order)`: the initializers that hold floating-point numbers, by name without its prefix
        ("gpu_0/conv1_w_0" is "conv1_w_0"), kernels of dense layers as (out, in); and a tuple of "LRN" and "MaxPool".

    Raises:
        ImportError: If `onnx` is not installed.
        ValueError: If the file is no ONNX file, or keeps its weights in another file.
    """
    require()
    import onnx
    from onnx import numpy_helper
    from onnx.external_data_helper import uses_external_data

    kinds = onnx.TensorProto
    floats = (kinds.FLOAT, kinds.FLOAT16, kinds.DOUBLE, kinds.BFLOAT16)
    try:
        graph = onnx.load(path, format="protobuf", load_external_data=False).graph
        outside = [tensor.name for tensor in graph.initializer if uses_external_data(tensor)]
        arrays = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in graph.initializer
            if not outside and tensor.data_type in floats
        }
    except Exception as error:  # protobuf, NumPy and onnx each have their own for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"'{path}' is no ONNX file, or is damaged: {reason}") from error
    if outside:
        raise ValueError(
            f"'{path}' keeps its weights ('{outside[0]}') in another file, which is not followed. "
            "Save the network with its weights inside."
        )
    for node in graph.node:
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        if node.op_type == "Gemm" and not transposed and node.input[1] in arrays:
            arrays[node.input[1]] = arrays[node.input[1]].T
    tensors = {name.rpartition("/")[-1]: array for name, array in arrays.items()}
    return tensors, tuple(node.op_type for node in graph.node if node.op_type in ("LRN", "MaxPool"))
