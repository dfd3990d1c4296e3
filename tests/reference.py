"""Slow NumPy twins of what the package computes, written from the paper (arXiv:1311.2901) and nothing else.

Loops run over positions, in float64; only the batch, the channels and the cells of one window are vectorised.
Images and maps are `(n, height, width, channels)`. Of a Keras model the graph, settings and weights are read.
"""

import keras
import numpy as np

# Windows, as TensorFlow places them


def border_of(input_shape, extents, strides, padding):
    """Cells that a convention adds around a plane, `((top, bottom), (left, right))`; none for VALID.

    CEIL, of Caffe and cuda-convnet, starts another window at the end as long as a cell is left over.
    """
    if padding == "valid":
        return (0, 0), (0, 0)
    axes = zip(input_shape, extents, strides, strict=True)
    if padding == "ceil":
        return tuple((0, -(length - size) % stride) for length, size, stride in axes)
    totals = [max((-(-length // stride) - 1) * stride + size - length, 0) for length, size, stride in axes]
    return tuple((total // 2, total - total // 2) for total in totals)


def zero_pad(images, border):
    """Surround every plane with `((top, bottom), (left, right))` zeros."""
    return np.pad(images, ((0, 0), *border, (0, 0)))


def crop(images, border):
    """The transpose of `zero_pad`."""
    (top, bottom), (left, right) = border
    return images[:, top : images.shape[1] - bottom, left : images.shape[2] - right]


def windows_of(padded, extents, strides, dilation=(1, 1)):
    """Row by row, `(row, col, window)` over planes with their border; writing to it writes to the plane."""
    for row, top in enumerate(range(0, padded.shape[1] - extents[0] + 1, strides[0])):
        for col, left in enumerate(range(0, padded.shape[2] - extents[1] + 1, strides[1])):
            bottom, right = top + extents[0], left + extents[1]
            yield row, col, padded[:, top : bottom : dilation[0], left : right : dilation[1]]


def cells_of(input_shape, pool_size, strides, padding):
    """Row by row, `(row, col, rows, cols)` of every pooling window: slices of its cells inside the image."""
    (height, width), (high, wide) = input_shape[:2], pool_size
    (above, below), (before, after) = border_of((height, width), pool_size, strides, padding)
    for row, top in enumerate(range(-above, height + below - high + 1, strides[0])):
        for col, left in enumerate(range(-before, width + after - wide + 1, strides[1])):
            rows = slice(max(top, 0), min(top + high, height))
            yield row, col, rows, slice(max(left, 0), min(left + wide, width))


def plane(values, channels):
    """Maps `(n, rows, cols, channels)` from the dictionary `(row, col): (n, channels)` that a loop filled."""
    rows, cols = np.max(list(values), axis=0) + 1
    return np.stack(list(values.values()), axis=1).reshape(-1, rows, cols, channels)


# Filters (section 2.1, "Filtering")


def prepare(images, kernel, strides, padding, dilation):
    """Planes with the border a filter needs, that border, and the window arguments."""
    extents = [(size - 1) * rate + 1 for size, rate in zip(kernel.shape[:2], dilation, strict=True)]
    border = border_of(images.shape[1:3], extents, strides, padding)
    return zero_pad(images, border), border, (extents, strides, dilation)


def conv2d(images, kernel, bias=None, strides=(1, 1), padding="valid", dilation=(1, 1), groups=1):
    """Filter `images` with `kernel` (height, width, in / groups, out): layer (i) of section 2."""
    padded, _, settings = prepare(images, kernel, strides, padding, dilation)
    filters, values = np.split(kernel, groups, axis=-1), {}
    for row, col, window in windows_of(padded, *settings):
        pairs = zip(np.split(window, groups, axis=-1), filters, strict=True)
        values[row, col] = np.concatenate([np.einsum("nhwi,hwio->no", *pair) for pair in pairs], axis=-1)
    return plane(values, kernel.shape[-1]) + (0 if bias is None else bias)


def transpose_conv(maps, kernel, input_shape, strides=(1, 1), padding="valid", dilation=(1, 1), groups=1):
    """Spread every value over its window of `(height, width, channels)`: section 2.1, transposed filters."""
    images = np.zeros((len(maps), *input_shape))
    padded, border, settings = prepare(images, kernel, strides, padding, dilation)
    filters = np.split(kernel, groups, axis=-1)
    for row, col, window in windows_of(padded, *settings):
        pairs = zip(np.split(maps[:, row, col], groups, axis=-1), filters, strict=True)
        window += np.concatenate([np.einsum("no,hwio->nhwi", *pair) for pair in pairs], axis=-1)
    return crop(padded, border)


def depthwise_conv2d(images, kernel, bias=None, strides=(1, 1), padding="valid", dilation=(1, 1)):
    """Filter each channel by itself: output `c * multiplier + m` is channel c under `kernel[..., c, m]`."""
    padded, _, settings = prepare(images, kernel, strides, padding, dilation)
    values = {}
    for row, col, window in windows_of(padded, *settings):
        values[row, col] = np.einsum("nhwc,hwcm->ncm", window, kernel)
    return plane(values, kernel.shape[2] * kernel.shape[3]) + (0 if bias is None else bias)


def transpose_depthwise_conv(maps, kernel, input_shape, strides=(1, 1), padding="valid", dilation=(1, 1)):
    """The transpose of `depthwise_conv2d` without its bias."""
    images = np.zeros((len(maps), *input_shape))
    padded, border, settings = prepare(images, kernel, strides, padding, dilation)
    for row, col, window in windows_of(padded, *settings):
        window += np.einsum("ncm,hwcm->nhwc", maps[:, row, col].reshape(-1, *kernel.shape[2:]), kernel)
    return crop(padded, border)


def dense(vectors, kernel, bias=None):
    """Fully connected layer: `vectors @ kernel + bias`."""
    return np.einsum("...i,io->...o", vectors, kernel) + (0 if bias is None else bias)


def transpose_dense(vectors, kernel):
    """The transpose of `dense` without its bias."""
    return np.einsum("...o,io->...i", vectors, kernel)


# Pooling (section 2.1, "Unpooling")


def max_pool(maps, pool_size=(2, 2), strides=(2, 2), padding="valid"):
    """Return `(pooled, switches)`; a switch is the position `y * width + x` of the window's first maximum."""
    n, height, width, channels = maps.shape
    pooled, switches = {}, {}
    for row, col, rows, cols in cells_of((height, width), pool_size, strides, padding):
        cells = maps[:, rows, cols].reshape(n, -1, channels)
        down, right = np.divmod(cells.argmax(axis=1), cols.stop - cols.start)
        pooled[row, col] = cells.max(axis=1)
        switches[row, col] = (rows.start + down) * width + cols.start + right
    return plane(pooled, channels), plane(switches, channels)


def unpool(pooled, switches, input_shape, collisions="sum"):
    """Put every pooled value where its switch points, zeros elsewhere; the paper leaves `collisions` open.

    Values that share a place are added ("sum"), or the later window wins ("last"), or the larger value does
    ("max", which compares the values placed with one another, not with the zeros around them).
    """
    n, rows, cols, channels = pooled.shape
    maps = np.zeros((n, *input_shape))
    taken = np.zeros(maps.shape, bool)
    batch, channel = np.ogrid[:n, :channels]
    together = {"sum": np.add, "last": lambda earlier, later: later, "max": np.maximum}[collisions]
    for row in range(rows):
        for col in range(cols):
            y, x = np.divmod(switches[:, row, col], input_shape[1])
            place, value = (batch, y, x, channel), pooled[:, row, col]
            maps[place] = np.where(taken[place], together(maps[place], value), value)
            taken[place] = True
    return maps


def average_pool(maps, pool_size=(2, 2), strides=(2, 2), padding="valid"):
    """Mean of the cells of every window that lie inside the image, as TensorFlow counts them."""
    values = {}
    for row, col, rows, cols in cells_of(maps.shape[1:], pool_size, strides, padding):
        values[row, col] = maps[:, rows, cols].mean(axis=(1, 2))
    return plane(values, maps.shape[3])


def transpose_average_pool(pooled, input_shape, pool_size=(2, 2), strides=(2, 2), padding="valid"):
    """The transpose of `average_pool`: every value shared out equally over the cells it was the mean of."""
    maps = np.zeros((len(pooled), *input_shape))
    for row, col, rows, cols in cells_of(input_shape, pool_size, strides, padding):
        window = maps[:, rows, cols]
        window += pooled[:, row, col][:, None, None] / (window.shape[1] * window.shape[2])
    return maps


def global_max_pool(maps):
    """Return `(pooled, switches)`, each `(n, channels)`: one window as large as the map."""
    pooled, switches = max_pool(maps, maps.shape[1:3], (1, 1))
    return pooled[:, 0, 0], switches[:, 0, 0]


def global_unpool(pooled, switches, input_shape):
    """The transpose of `global_max_pool` with its switches held fixed."""
    return unpool(pooled[:, None, None], switches[:, None, None], input_shape)


def global_average_pool(maps):
    """Mean of every map, `(n, channels)`."""
    return maps.mean(axis=(1, 2))


def transpose_global_average_pool(pooled, input_shape):
    """The transpose of `global_average_pool`."""
    return np.ones((len(pooled), *input_shape)) * pooled[:, None, None] / (input_shape[0] * input_shape[1])


# Pointwise (section 2.1, "Rectification")


def rectify(maps):
    """The relu; section 2.1 passes both the maps on the way up and the signal on the way down through it."""
    return np.maximum(maps, 0)


def softmax(logits):
    """Exponentials of the last axis, divided by their sum."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def batch_normalize(maps, gamma, beta, mean, variance, epsilon):
    """Batch normalisation at inference."""
    return gamma * (maps - mean) / np.sqrt(variance + epsilon) + beta


def transpose_batch_scale(signal, gamma, variance, epsilon):
    """The transpose of the scale of `batch_normalize`: a diagonal matrix, hence the same scale."""
    return signal * gamma / np.sqrt(variance + epsilon)


def response_normalize(maps, size, k, alpha, beta):
    """Krizhevsky et al. 2012, section 3.3: every map divided by a power of the energy of its neighbours."""
    output = np.empty_like(maps)
    for channel in range(maps.shape[-1]):
        near = maps[..., max(0, channel - size // 2) : channel + size // 2 + 1]
        output[..., channel] = maps[..., channel] / (k + alpha * (near**2).sum(axis=-1)) ** beta
    return output


# A Keras layer and its transpose

ACTIVATIONS = {"relu": rectify, "softmax": softmax, "linear": lambda maps: maps}


def activation_of(layer):
    """Name of the activation that ends `layer`, "linear" for none."""
    if isinstance(layer, keras.layers.ReLU):
        assert layer.max_value is None and not layer.negative_slope and not layer.threshold, layer.name
        return "relu"
    return getattr(getattr(layer, "activation", None), "__name__", "linear")


def settings_of(layer):
    """The window arguments of a Keras convolution or pooling layer, under our names."""
    names = ["pool_size", "strides", "padding", "dilation_rate", "groups"]
    return {name.removesuffix("_rate"): getattr(layer, name) for name in names if hasattr(layer, name)}


def linear_part(layer, arrays, collisions):
    """Output of `layer` before its activation, and the function that takes a signal back to its inputs."""
    kind, maps, shape = type(layer).__name__, arrays[0], arrays[0].shape[1:]
    kind = {"GroupedConv2D": "Conv2D", "CeilMaxPooling2D": "MaxPooling2D"}.get(kind, kind)
    weights = {weight.name: np.asarray(weight.numpy(), float) for weight in layer.weights}
    kernel, bias, settings = weights.get("kernel"), weights.get("bias"), settings_of(layer)
    if kind == "Conv2D":
        output = conv2d(maps, kernel, bias, **settings)
        return output, lambda signal: [transpose_conv(signal, kernel, shape, **settings)]
    if kind == "DepthwiseConv2D":
        output = depthwise_conv2d(maps, kernel, bias, **settings)
        return output, lambda signal: [transpose_depthwise_conv(signal, kernel, shape, **settings)]
    if kind == "SeparableConv2D":
        depthwise, pointwise = weights["depthwise_kernel"], weights["pointwise_kernel"]
        between = depthwise_conv2d(maps, depthwise, None, **settings)
        return conv2d(between, pointwise, bias), lambda signal: [
            transpose_depthwise_conv(transpose_conv(signal, pointwise, between.shape[1:]), depthwise, shape, **settings)
        ]
    if kind == "Dense":
        return dense(maps, kernel, bias), lambda signal: [transpose_dense(signal, kernel)]
    if kind == "MaxPooling2D":
        pooled, switches = max_pool(maps, **settings)
        return pooled, lambda signal: [unpool(signal, switches, shape, collisions)]
    if kind == "AveragePooling2D":
        output = average_pool(maps, **settings)
        return output, lambda signal: [transpose_average_pool(signal, shape, **settings)]
    if kind == "GlobalMaxPooling2D":
        pooled, switches = global_max_pool(maps)
        return pooled, lambda signal: [global_unpool(signal, switches, shape)]
    if kind == "GlobalAveragePooling2D":
        return global_average_pool(maps), lambda signal: [transpose_global_average_pool(signal, shape)]
    if kind == "ZeroPadding2D":
        return zero_pad(maps, layer.padding), lambda signal: [crop(signal, layer.padding)]
    if kind in ("Flatten", "Reshape"):
        target = layer.target_shape if kind == "Reshape" else (-1,)
        return maps.reshape(len(maps), *target), lambda signal: [signal.reshape(maps.shape)]
    if kind == "BatchNormalization":
        gamma, beta = weights.get("gamma", 1.0), weights.get("beta", 0.0)
        mean, variance = weights["moving_mean"], weights["moving_variance"]
        output = batch_normalize(maps, gamma, beta, mean, variance, layer.epsilon)
        return output, lambda signal: [transpose_batch_scale(signal, gamma, variance, layer.epsilon)]
    if kind == "LocalResponseNormalization":
        alpha = layer.alpha / layer.size if layer.convention == "caffe" else layer.alpha
        output = response_normalize(maps, layer.size, layer.k, alpha, layer.beta)
        return output, lambda signal: [signal]
    if kind == "Add":
        return sum(arrays), lambda signal: [signal for _ in arrays]
    if kind == "Average":
        return sum(arrays) / len(arrays), lambda signal: [signal / len(arrays) for _ in arrays]
    if kind == "Concatenate":
        ends = np.cumsum([array.shape[-1] for array in arrays])[:-1]
        return np.concatenate(arrays, axis=-1), lambda signal: np.split(signal, ends, axis=-1)
    if kind in ("InputLayer", "Functional", "Sequential", "Dropout", "ReLU", "Activation"):
        return maps, lambda signal: [signal]
    raise NotImplementedError(f"No twin for layer '{layer.name}' of type {kind}.")


# A Keras model, up and down


def calls_of(model):
    """List `(path, layer, sources)` of every layer call, inputs before users, nested models opened.

    `sources` are positions in this list; the image is its first entry. A nested model has an entry of its own
    after its layers, which passes their output on. Every layer is expected to be used once.
    """
    calls = []

    def note(*call):
        calls.append(call)
        return len(calls) - 1

    def open_model(model, sources, folder):
        image = model.inputs[0]
        entrance = image._keras_history[0]
        places = {id(image): note(folder + entrance.name, entrance, sources)}

        def place_of(tensor):
            if id(tensor) not in places:
                layer, use, _ = tensor._keras_history
                sources = [place_of(source) for source in layer._inbound_nodes[use].input_tensors]
                path = folder + layer.name
                if isinstance(layer, keras.Model):
                    sources = open_model(layer, sources, path + "/")
                places[id(tensor)] = note(path, layer, sources)
            return places[id(tensor)]

        return [place_of(output) for output in model.outputs]

    open_model(model, [0], "")
    return calls


def record(model, images, collisions="sum"):
    """Pass `images` up: return `calls_of(model)`, the output of each, and the way down through each."""
    calls, outputs, ways_down = calls_of(model), [np.asarray(images, float)], [None]
    for _, layer, sources in calls[1:]:
        output, way_down = linear_part(layer, [outputs[source] for source in sources], collisions)
        outputs.append(ACTIVATIONS[activation_of(layer)](output))
        ways_down.append(way_down)
    return calls, outputs, ways_down


def forward(model, images):
    """Output of every layer by path, "base/conv1" for layer "conv1" of the nested model "base"."""
    calls, outputs, _ = record(model, images)
    return {path: output for (path, _, _), output in zip(calls, outputs, strict=True)}


def project(model, images, layer, top, collisions="sum"):
    """The deconvnet of section 2.1: bring the signal `top` from the output of `layer`, a path, to the pixels.

    At every layer: rectify if it has a relu, then transpose what it does; the switches come from `images`.
    Biases are dropped, softmax is passed over, and a tensor with several users gets the sum of their signals.
    """
    calls, _, ways_down = record(model, images, collisions)
    signals = {[path for path, _, _ in calls].index(layer): np.asarray(top, float)}
    for place in range(max(signals), 0, -1):
        if place in signals:
            _, mirrored, sources = calls[place]
            signal = rectify(signals[place]) if activation_of(mirrored) == "relu" else signals[place]
            for source, below in zip(sources, ways_down[place](signal), strict=True):
                signals[source] = signals.get(source, 0.0) + below
    return signals[0]


# Selection (section 4.1, Fig. 2) and occlusion (section 4.2, Fig. 7)


def top_activations(activations, ids, k):
    """The `k` images that excite each channel most, best first: `values, ids, rows, cols`, `(channels, k)`.

    `activations` are `(n, rows, cols, channels)`. An image enters once per channel, with its first maximum in
    row-major order; equal values go to the smaller id.
    """
    ranking = []
    for channel in range(activations.shape[3]):
        entries = []
        for image, maps in zip(ids, activations[..., channel], strict=True):
            row, col = divmod(int(maps.argmax()), maps.shape[1])
            entries.append((-maps[row, col], image, row, col))
        ranking.append(sorted(entries)[:k])
    losses, winners, rows, cols = ([[entry[part] for entry in best] for best in ranking] for part in range(4))
    return -np.array(losses), np.array(winners), np.array(rows), np.array(cols)


def square_starts(length, size, stride):
    """0, stride, 2 stride, ... while the square fits; one more flush with the border if none ends there."""
    fitting = [start for start in range(0, length, stride) if start + size <= length]
    return fitting if fitting[-1] + size == length else [*fitting, length - size]


def occlusion(predict, image, size, stride, fill=0.0):
    """Slide a square of `fill` over one image `(height, width, channels)` and ask the network at every stop.

    `predict(batch)` returns `(probabilities (n, classes), maps (n, rows, cols, channels))`. Returns `tops`,
    `lefts`, the probabilities `(tops, lefts, classes)` and the sum over each map `(tops, lefts, channels)`.
    """
    tops, lefts = (square_starts(length, size, stride) for length in image.shape[:2])
    probabilities, totals = [], []
    for top in tops:
        for left in lefts:
            occluded = np.array(image)
            occluded[top : top + size, left : left + size] = fill
            answer, maps = predict(occluded[None])
            probabilities.append(np.asarray(answer, float)[0])
            totals.append(np.asarray(maps, float)[0].sum(axis=(0, 1)))
    shape = (len(tops), len(lefts), -1)
    return np.array(tops), np.array(lefts), np.reshape(probabilities, shape), np.reshape(totals, shape)
