"""The deconvnet's operations as pure functions of tensors (Zeiler & Fergus, arXiv:1311.2901, section 2.1).

Every function takes and returns NHWC tensors of any float dtype and keeps that dtype. Those named `transpose_*` are
exact adjoints: `<conv(x), y> == <x, transpose_conv(y)>` up to rounding.
"""

import math

import tensorflow as tf

COLLISIONS = ("sum", "last", "max")


def rectify(maps):
    """Set what is negative to zero: feature maps are positive, so their reconstructions should be too (section 2.1)."""
    return tf.nn.relu(maps)


def max_pool_with_switches(maps, pool_size, strides=None, padding="valid"):
    """Max pooling that also says where each maximum came from.

    Switches are positions in the map that was pooled, counted row by row (`row * width + column`), without batch,
    channel or padding. Where a window holds its maximum several times, as in dead regions that are zero
    everywhere, the first cell in row-major order wins. A padded cell never wins.

    Args:
        maps: Float tensor `(batch, height, width, channels)` of finite values; height and width must be static.
        pool_size: Int or `(rows, columns)` of a window.
        strides: Int or pair, by default `pool_size`.
        padding: `"valid"` or `"same"`, TensorFlow's convention; or `"ceil"`, Caffe's, where the last window may reach
            over the bottom and right edges.

    Returns:
        `(pooled, switches)`, both `(batch, rows, columns, channels)`; `switches` is int32.
    """
    pool, strides = _pair(pool_size), _pair(pool_size if strides is None else strides)
    height, width, channels = maps.shape[1:]
    (rows, top, bottom), (columns, left, right) = (
        _windows(size, cell, stride, padding) for size, cell, stride in zip((height, width), pool, strides, strict=True)
    )
    lowest = tf.constant(-math.inf, maps.dtype)
    maps = tf.pad(maps, [[0, 0], [top, bottom], [left, right], [0, 0]], constant_values=lowest)
    cells = tf.image.extract_patches(maps, [1, *pool, 1], [1, *strides, 1], [1, 1, 1, 1], "VALID")
    count = pool[0] * pool[1]
    cells = tf.reshape(cells, tf.stack([tf.shape(maps)[0], rows, columns, count, channels]))
    pooled = tf.reduce_max(cells, axis=3, keepdims=True)
    # tf.argmax leaves open which of several maxima it finds, and GPUs differ from CPUs there.
    winner = tf.reduce_min(tf.where(cells == pooled, tf.range(count)[:, None], count - 1), axis=3)
    row_of = tf.range(rows)[:, None, None] * strides[0] - top + winner // pool[1]
    column_of = tf.range(columns)[:, None] * strides[1] - left + winner % pool[1]
    return pooled[:, :, :, 0], row_of * width + column_of


def unpool(pooled, switches, input_shape, collisions="sum"):
    """Return every pooled value to the place its maximum came from.

    The unpooling of Zeiler & Fergus (arXiv:1311.2901, section 2.1): values go where the switches point, zeros go
    everywhere else. Where windows overlap, two of them may share one maximum; their values are then summed, which
    makes `unpool` the exact transpose of pooling with the switches held fixed. The paper does not say which it does.

    Args:
        pooled: Tensor `(batch, rows, columns, channels)`, what to place.
        switches: Integer tensor of the same shape, from `max_pool_with_switches`.
        input_shape: `(height, width, channels)` before pooling, as ints.
        collisions: `"sum"`; or, to measure what that choice changes, `"last"` (the later window in row-major order
            overwrites) or `"max"` (the larger value stays).

    Returns:
        Tensor `(batch, height, width, channels)`, with the dtype of `pooled`.

    Raises:
        ValueError: If `pooled` and `switches` differ in shape, or `collisions` is not one of the three.
    """
    if collisions not in COLLISIONS:
        raise ValueError(f"collisions must be one of {', '.join(COLLISIONS)}; received {collisions!r}.")
    pooled, switches = tf.convert_to_tensor(pooled), tf.convert_to_tensor(switches)
    if not pooled.shape.is_compatible_with(switches.shape):
        raise ValueError(
            f"pooled and switches must have one shape; received {tuple(pooled.shape)} and {tuple(switches.shape)}. "
            "Take both from the same call of max_pool_with_switches."
        )
    height, width, channels = input_shape
    batch, switches = tf.shape(pooled)[0], tf.cast(switches, tf.int32)
    image = tf.range(batch)[:, None, None, None] * (height * width)
    place = tf.reshape((image + switches) * channels + tf.range(channels), [-1])
    places = batch * (height * width * channels)
    values = tf.reshape(pooled, [-1])
    if collisions == "sum":
        unpooled = tf.math.unsorted_segment_sum(values, place, places)
    elif collisions == "max":
        unpooled = tf.math.unsorted_segment_max(values, place, places)
        unpooled = tf.where(_is_hit(place, places), unpooled, tf.zeros_like(unpooled))
    else:
        last = tf.math.unsorted_segment_max(tf.range(tf.size(values)), place, places)
        unpooled = tf.gather(values, tf.maximum(last, 0))
        unpooled = tf.where(_is_hit(place, places), unpooled, tf.zeros_like(unpooled))
    return tf.reshape(unpooled, tf.stack([batch, height, width, channels]))


def transpose_conv(maps, kernel, input_shape, strides=1, padding="valid", dilation=1, groups=1):
    """The transpose of a convolution: the same filters, flipped, lead back down (section 2.1). Biases have no part.

    Args:
        maps: Tensor `(batch, rows, columns, filters)`.
        kernel: `(kernel rows, kernel columns, channels / groups, filters)`, as the convolution holds it.
        input_shape: `(height, width, channels)` before the convolution, as ints.
        strides, padding, dilation, groups: Those of the convolution.

    Returns:
        Tensor `(batch, height, width, channels)`.
    """
    kernel = _dilate(kernel, _pair(dilation))
    strides, padding = list(_pair(strides)), padding.upper()
    height, width, channels = input_shape
    shape = tf.stack([tf.shape(maps)[0], height, width, channels // groups])
    # One group at a time: TensorFlow has no grouped transpose in float64, nor without oneDNN.
    below = [
        tf.nn.conv2d_transpose(group, filters, shape, strides, padding)
        for group, filters in zip(tf.split(maps, groups, axis=-1), tf.split(kernel, groups, axis=-1), strict=True)
    ]
    below = below[0] if groups == 1 else tf.concat(below, axis=-1)
    return tf.ensure_shape(below, [None, *input_shape])


def transpose_depthwise_conv(maps, kernel, input_shape, strides=1, padding="valid", dilation=1):
    """The transpose of a depthwise convolution; as `transpose_conv`, with a kernel `(.., .., channels, multiplier)`."""
    kernel = _dilate(kernel, _pair(dilation))
    shape = tf.stack([tf.shape(maps)[0], *input_shape])
    strides = [1, *_pair(strides), 1]
    below = tf.nn.depthwise_conv2d_backprop_input(shape, kernel, maps, strides, padding.upper())
    return tf.ensure_shape(below, [None, *input_shape])


def transpose_average_pool(maps, input_shape, pool_size, strides=None, padding="valid"):
    """The transpose of average pooling: every cell of a window gets its share of the value.

    With `"same"` padding TensorFlow averages over the cells inside the map only, and so does this.
    """
    shape = tf.stack([tf.shape(maps)[0], *input_shape])
    pool, strides = _pair(pool_size), _pair(strides or pool_size)
    below = tf.raw_ops.AvgPoolGrad(
        orig_input_shape=shape,
        grad=maps,
        ksize=[1, *pool, 1],
        strides=[1, *strides, 1],
        padding=padding.upper(),
    )
    return tf.ensure_shape(below, [None, *input_shape])


def window_padding(size, kernel, stride, padding):
    """Cells added `(before, after)` one axis of length `size`.

    `"valid"` and `"same"` are TensorFlow's conventions; `"ceil"` adds at the end what the last window lacks, so that
    the number of windows is rounded up, as in Caffe and cuda-convnet.
    """
    if padding not in ("valid", "same", "ceil"):
        raise ValueError(f"padding must be 'valid', 'same' or 'ceil'; received {padding!r}.")
    if padding == "valid":
        return 0, 0
    if padding == "ceil":
        return 0, max(math.ceil((size - kernel) / stride) * stride + kernel - size, 0)
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _windows(size, cells, stride, padding):
    """`(windows, before, after)` along one axis."""
    before, after = window_padding(size, cells, stride, padding)
    return (size + before + after - cells) // stride + 1, before, after


def _dilate(kernel, dilation):
    """The kernel with zeros between its taps: a dilated convolution as an ordinary one."""
    if dilation == (1, 1):
        return kernel
    for axis, rate in enumerate(dilation):
        shape = kernel.shape.as_list()
        taps = tf.expand_dims(kernel, axis + 1)
        taps = tf.pad(taps, [[0, rate - 1] if place == axis + 1 else [0, 0] for place in range(5)])
        shape[axis] *= rate
        kernel = tf.reshape(taps, shape)
    rows, columns = (size - rate + 1 for size, rate in zip(kernel.shape[:2], dilation, strict=True))
    return kernel[:rows, :columns]


def _is_hit(place, places):
    return tf.math.unsorted_segment_max(tf.ones_like(place), place, places) > 0


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(int(part) for part in value)
