"""The photograph networks seen from outside: slow NumPy twins, the tables of their docstrings, published graphs.

The twins are written out from the papers, and are as in `reference`: float64, images and maps
`(n, height, width, channels)`. `weights` is `{layer: [kernel, bias]}`.
"""

import inspect
from pathlib import Path

import keras
import numpy as np
import pytest
import reference

# Twins


def weights_of(model):
    """`{layer: [kernel, bias]}` in float64."""
    return {layer.name: [w.astype(np.float64) for w in layer.get_weights()] for layer in model.layers if layer.weights}


def normalize(maps, size, k, alpha, beta, divided=False):
    """b_i = a_i / (k + alpha * sum of a_j^2 over `size` channels around i)^beta (Krizhevsky et al. 2012, section 3.3).

    `divided` takes alpha / size, as Caffe does.
    """
    channels, normalized = maps.shape[-1], np.zeros(maps.shape, np.float64)
    for i in range(channels):
        squares = np.zeros(maps.shape[:-1])
        for j in range(max(0, i - size // 2), min(channels - 1, i + size // 2) + 1):
            squares += maps[..., j].astype(np.float64) ** 2
        normalized[..., i] = maps[..., i] / (k + alpha / (size if divided else 1) * squares) ** beta
    return normalized


def ceil_max_pool(maps, pool_size, strides):
    """Windows follow one another until one reaches the edge, or over it; cells outside do not count."""
    rows, cols = (reaching_starts(*axis) for axis in zip(maps.shape[1:3], pool_size, strides, strict=True))
    pooled = np.zeros((len(maps), len(rows), len(cols), maps.shape[3]))
    for r, top in enumerate(rows):
        for c, left in enumerate(cols):
            pooled[:, r, c] = maps[:, top : top + pool_size[0], left : left + pool_size[1]].max(axis=(1, 2))
    return pooled


def reaching_starts(length, size, stride):
    """First cells of the windows of `ceil_max_pool` along an axis."""
    starts = [0]
    while starts[-1] + size < length:
        starts.append(starts[-1] + stride)
    return starts


def average_to(maps, size):
    """Adaptive average pooling as PyTorch has it: cell i is the mean of floor(i n / size) to ceil((i + 1) n / size)."""
    _, height, width, channels = maps.shape
    pooled = np.zeros((len(maps), size, size, channels))
    for r in range(size):
        for c in range(size):
            rows = slice(int(np.floor(r * height / size)), int(np.ceil((r + 1) * height / size)))
            cols = slice(int(np.floor(c * width / size)), int(np.ceil((c + 1) * width / size)))
            pooled[:, r, c] = maps[:, rows, cols].mean(axis=(1, 2))
    return pooled


def conv(maps, kernel_and_bias, stride=1, pad=((0, 0), (0, 0)), groups=1):
    """Padding, convolution and ReLU."""
    padded = reference.zero_pad(maps, pad)
    return reference.rectify(reference.conv2d(padded, *kernel_and_bias, strides=(stride, stride), groups=groups))


def pool(maps, size=3):
    """Max pooling with stride 2 that rounds down."""
    return reference.max_pool(maps, (size, size), (2, 2))[0]


def head(maps, weights):
    """fc6, fc7 and the softmax."""
    x = maps.reshape(len(maps), -1)
    for layer in ("fc6", "fc7"):
        x = reference.rectify(reference.dense(x, *weights[layer]))
    return reference.softmax(reference.dense(x, *weights["predictions"]))


ONE, TWO = ((1, 1), (1, 1)), ((2, 2), (2, 2))


def alexnet(weights, images):
    """Krizhevsky et al. 2012, section 3, with Caffe's normalisation."""
    x = conv(images, weights["conv1"], 4)
    x = pool(normalize(x, 5, 1, 1e-4, 0.75, divided=True))
    x = conv(x, weights["conv2"], pad=TWO, groups=2)
    x = pool(normalize(x, 5, 1, 1e-4, 0.75, divided=True))
    x = conv(x, weights["conv3"], pad=ONE)
    x = conv(x, weights["conv4"], pad=ONE, groups=2)
    x = conv(x, weights["conv5"], pad=ONE, groups=2)
    return head(ceil_max_pool(x, (3, 3), (2, 2)), weights)


def alexnet_owt(weights, images):
    """torchvision's `alexnet`."""
    x = pool(conv(images, weights["conv1"], 4, TWO))
    x = pool(conv(x, weights["conv2"], pad=TWO))
    for layer in ("conv3", "conv4", "conv5"):
        x = conv(x, weights[layer], pad=ONE)
    return head(average_to(pool(x), 6), weights)


def zfnet(weights, images):
    """Zeiler & Fergus 2013, Fig. 3; cuda-convnet's rounding up in the first layer and the poolings."""
    ends = [(0, len(reaching_starts(side, 7, 2)) * 2 + 5 - side) for side in images.shape[1:3]]
    x = ceil_max_pool(conv(images, weights["conv1"], 2, ends), (3, 3), (2, 2))
    x = conv(normalize(x, 5, 2, 1e-4, 0.75), weights["conv2"], 2)
    x = normalize(ceil_max_pool(x, (3, 3), (2, 2)), 5, 2, 1e-4, 0.75)
    for layer in ("conv3", "conv4", "conv5"):
        x = conv(x, weights[layer], pad=ONE)
    return head(ceil_max_pool(x, (3, 3), (2, 2)), weights)


def zfnet512(weights, images):
    """The graph of the ONNX Model Zoo's `zfnet512`."""
    x = conv(images, weights["conv1"], 2)
    x = pool(normalize(x, 5, 2, 5e-4, 0.75, divided=True))
    x = conv(x, weights["conv2"], 2)
    x = pool(normalize(x, 5, 2, 5e-4, 0.75, divided=True))
    for layer in ("conv3", "conv4", "conv5"):
        x = conv(x, weights[layer], pad=ONE)
    return head(pool(x, 2), weights)


# Tables


def table_of(function):
    """The table in a docstring: a list of rows, each a dict from a column's title to a cell."""
    lines = [line.strip() for line in inspect.getdoc(function).splitlines() if line.strip().startswith("|")]
    titles, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [dict(zip(titles, row, strict=True)) for row in rows]


def table_measured(model, windows):
    """The rows of such a table, without "operation", from the model itself.

    `windows(layer, positions)` gives the windows that units see, `(n, 4)`.
    """
    rows = []
    for layer in model.layers:
        shape, count = layer.output.shape[1:], layer.count_params()
        row = {"layer": layer.name, "output": ", ".join(map(str, shape)), "parameters": f"{count:,}" if count else ""}
        sees, every = "all", ""
        if len(shape) == 3:
            fields = [(1, 1)] * 2
            if not isinstance(layer, keras.layers.InputLayer):
                fields = [_fields(layer.name, shape[axis], axis, windows) for axis in (0, 1)]
            sees, every = f"{fields[0][0]} x {fields[1][0]}", str(fields[0][1])
            assert fields[0][1] == fields[1][1]
        rows.append({**row, "field": sees, "every": every})
    return rows


def _fields(layer, count, axis, windows):
    """Size and distance of receptive fields along an axis; where the image cuts some, from the whole ones."""
    positions = np.zeros((count, 2), np.int64)
    positions[:, axis] = np.arange(count)
    seen = windows(layer, positions)
    starts, ends = seen[seen[:, axis] < seen[:, axis + 2]][:, [axis, axis + 2]].T  # but for those of padding alone
    every = starts[-1] - starts[-2]  # the last field begins inside the image, the first one ends there
    return ends[0] + (len(starts) - 1) * every - starts[-1], every


# Graphs


def operations_of(model):
    """What a network computes, in the words of ONNX: kernels as (out, in of one group, rows, cols) or (out, in)."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            rows, cols, depth, filters = layer.kernel.shape
            assert layer.padding == "valid" or layer.strides == (1, 1)
            pads = [rows // 2, cols // 2] * 2 if layer.padding == "same" else [0] * 4
            found.append(("Conv", (filters, depth, rows, cols), list(layer.strides), pads, layer.groups))
        elif isinstance(layer, keras.layers.MaxPooling2D):
            beyond = [0, 0]
            if layer.padding == "ceil":
                axes = zip(layer.input.shape[1:3], layer.pool_size, layer.strides, strict=True)
                beyond = [max(reaching_starts(n, size, stride)) + size - n for n, size, stride in axes]
            found.append(("MaxPool", list(layer.pool_size), list(layer.strides), [0, 0, *beyond]))
        elif isinstance(layer, keras.layers.Dense):
            found.append(("Gemm", tuple(reversed(layer.kernel.shape))))
        elif type(layer).__name__ == "LocalResponseNormalization":
            alpha = layer.alpha * (1 if layer.convention == "caffe" else layer.size)
            found.append(("LRN", layer.size, *map(pytest.approx, (alpha, layer.beta, layer.k))))
    return found


class LightGraph:
    """A graph that comes with `onnx`: the operations of a published network, every weight 0.02, and what it gives.

    Attributes:
        operations: As `operations_of`.
        expected: `(1, 1000)` float32, its output.
    """

    WEIGHT = 0.02

    def __init__(self, name):
        onnx = pytest.importorskip("onnx", reason='the light graphs come with onnx: pip install ".[test]"')
        from onnx import numpy_helper

        folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
        graph = onnx.load(folder / f"light_{name}.onnx").graph
        self.expected = numpy_helper.to_array(onnx.load_tensor(folder / f"light_{name}_output_0.pb"))
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        shapes, self.operations = {}, []
        for node in graph.node:
            said = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
            if node.op_type == "ConstantOfShape":
                assert numpy_helper.to_array(said["value"]) == np.float32(self.WEIGHT)
                shapes[node.output[0]] = tuple(constants[node.input[0]])
            elif node.op_type == "Conv":
                shape = shapes[node.input[1]]
                self.operations.append(("Conv", shape, said["strides"], said["pads"], said.get("group", 1)))
            elif node.op_type == "MaxPool":
                self.operations.append(("MaxPool", said["kernel_shape"], said["strides"], said["pads"]))
            elif node.op_type == "LRN":
                self.operations.append(("LRN", said["size"], said["alpha"], said["beta"], said["bias"]))
            elif node.op_type == "Gemm":
                assert said == {"transB": 1}
                self.operations.append(("Gemm", shapes[node.input[1]]))
