"""Small Keras models with random weights that every property test walks: odd, non-square, forked, nested.

`SPECIMENS[name](dtype="float32", seed=0)` builds one, the same again while nobody has changed it; `LAYERS[name]` is the
deepest layer to project from, `images(model)` is noise that fits it. No weight is neutral: biases are not zero, batch
normalisation moves, scales and flips signs.
"""

import functools

import keras
import numpy as np
from keras import layers

from deconv.graph.compilation import version
from models.layers import CeilMaxPooling2D, GroupedConv2D, LocalResponseNormalization

BUILT = {}
"""Models of this process that no test has changed: what is compiled for one is compiled once."""

SPECIMENS = {}
LAYERS = {}


def images(model, n=3, seed=0, dtype=None):
    """Seeded normal noise of both signs, `(n, *input shape)`, in the dtype of the model by default."""
    noise = np.random.default_rng(seed).standard_normal((n, *model.input_shape[1:]))
    return noise.astype(dtype or model.inputs[0].dtype)


def fill(model, seed):
    """Give every weight of `model` a seeded value, such that activations stay of order one."""
    rng = np.random.default_rng(seed)

    def kernel(shape):
        values = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
        # Maps are positive after a relu: filters whose mean is far below zero would be silent on any image.
        return values - 0.7 * values.mean(axis=tuple(range(len(shape) - 1)), keepdims=True)

    draw = {
        "kernel": kernel,
        "depthwise_kernel": kernel,
        "pointwise_kernel": kernel,
        "bias": lambda shape: rng.choice([-1, 1], shape) * rng.uniform(0.05, 0.3, shape),
        "gamma": lambda shape: rng.choice([-1, 1], shape, p=[0.25, 0.75]) * rng.uniform(0.5, 1.5, shape),
        "beta": lambda shape: rng.choice([-1, 1], shape) * rng.uniform(0.05, 0.3, shape),
        "moving_mean": lambda shape: rng.normal(0, 0.3, shape),
        "moving_variance": lambda shape: rng.uniform(0.5, 2, shape),
    }
    for weight in model.weights:
        weight.assign(draw[weight.name](tuple(weight.shape)))
    return model


def specimen(layer):
    """Register a builder under its name; while it builds, the caller's dtype is that of every layer."""

    def register(build):
        def fresh(dtype, seed):
            before = keras.config.dtype_policy()
            keras.config.set_dtype_policy(dtype)
            try:
                return fill(build(), seed)
            finally:
                keras.config.set_dtype_policy(before)

        @functools.wraps(build)
        def make(dtype="float32", seed=0):
            model, stored, before = BUILT.get((build.__name__, dtype, seed), (None, None, None))
            if model is None or version(model) != before or not all(map(np.array_equal, stored, model.get_weights())):
                model = fresh(dtype, seed)
                BUILT[build.__name__, dtype, seed] = model, model.get_weights(), version(model)
            return model

        SPECIMENS[build.__name__], LAYERS[build.__name__] = make, layer
        return make

    return register


def start(*shape, name="image"):
    """An input of the current dtype: `keras.Input` alone would take `keras.config.floatx()`."""
    return keras.Input(shape, dtype=keras.config.dtype_policy().compute_dtype, name=name)


def conv(filters, size, name, activation="relu", **settings):
    """A convolution with a fused relu."""
    return layers.Conv2D(filters, size, activation=activation, name=name, **settings)


@specimen("predictions")
def lenet():
    """LeNet-5 with relu and max pooling, softmax on top."""
    image = start(28, 28, 1)
    maps = conv(6, 5, "conv1", padding="same")(image)
    maps = layers.MaxPooling2D(2, name="pool1")(maps)
    maps = conv(16, 5, "conv2")(maps)
    maps = layers.MaxPooling2D(2, name="pool2")(maps)
    vector = layers.Flatten(name="flatten")(maps)
    vector = layers.Dense(120, "relu", name="dense1")(vector)
    vector = layers.Dense(84, "relu", name="dense2")(vector)
    return keras.Model(image, layers.Dense(10, "softmax", name="predictions")(vector), name="lenet")


@specimen("conv3")
def overlapping():
    """3x3 pools of stride 2; the second leaves a row and a column of its input out."""
    image = start(23, 19, 3)
    maps = conv(6, 3, "conv1")(image)
    maps = layers.MaxPooling2D(3, 2, name="pool1")(maps)
    maps = conv(8, 3, "conv2")(maps)
    maps = layers.MaxPooling2D(3, 2, name="pool2")(maps)
    return keras.Model(image, conv(5, 3, "conv3", padding="same")(maps), name="overlapping")


@specimen("conv3")
def same():
    """SAME everywhere, with even kernels, odd maps and borders of unequal sides."""
    image = start(21, 17, 2)
    maps = conv(5, (3, 4), "conv1", padding="same")(image)
    maps = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(maps)
    maps = conv(6, (4, 3), "conv2", strides=2, padding="same")(maps)
    maps = layers.MaxPooling2D(3, 2, padding="same", name="pool2")(maps)
    return keras.Model(image, conv(4, 2, "conv3", padding="same")(maps), name="same")


@specimen("conv3")
def valid_stride2():
    """Strides of 2, of (2, 1) and of (1, 2) under non-square kernels, and a pool of stride 1."""
    image = start(26, 20, 3)
    maps = conv(4, (5, 3), "conv1", strides=2)(image)
    maps = layers.MaxPooling2D((2, 3), 1, name="pool1")(maps)
    maps = conv(6, (3, 2), "conv2", strides=(2, 1))(maps)
    return keras.Model(image, conv(5, (2, 3), "conv3", strides=(1, 2))(maps), name="valid_stride2")


@specimen("conv3")
def dilated():
    """Kernels with holes, under both paddings."""
    image = start(20, 17, 2)
    maps = conv(4, 3, "conv1", dilation_rate=2, padding="same")(image)
    maps = layers.MaxPooling2D(2, name="pool1")(maps)
    maps = conv(6, 3, "conv2", dilation_rate=2)(maps)
    maps = conv(5, (2, 3), "conv3", dilation_rate=(2, 1), padding="same")(maps)
    return keras.Model(image, maps, name="dilated")


@specimen("conv2")
def grouped():
    """Two groups of filters, a depthwise convolution with two filters a channel, and a separable one."""
    image = start(15, 14, 4)
    maps = conv(4, 3, "conv1", groups=2, padding="same")(image)
    settings = {"strides": 2, "padding": "same", "depth_multiplier": 2, "activation": "relu"}
    maps = layers.DepthwiseConv2D(3, name="depthwise1", **settings)(maps)
    maps = layers.MaxPooling2D(2, name="pool1")(maps)
    maps = layers.SeparableConv2D(6, (2, 1), padding="same", activation="relu", name="separable1")(maps)
    return keras.Model(image, conv(6, (3, 2), "conv2", groups=2)(maps), name="grouped")


@specimen("conv6")
def branching():
    """Forks that meet in Concatenate, Add and Average; batch normalisation after a filter and before one."""
    image = start(16, 13, 3)
    maps = conv(4, 3, "conv1", activation=None, use_bias=False)(image)
    maps = layers.ReLU(name="relu1")(layers.BatchNormalization(name="norm1")(maps))
    wide, narrow = conv(5, 3, "conv2", padding="same")(maps), conv(3, 1, "conv3")(maps)
    joined = layers.Concatenate(name="concatenate")([wide, narrow])
    maps = layers.Activation("relu", name="relu2")(layers.BatchNormalization(name="norm2")(joined))
    maps = conv(8, 3, "conv4", activation=None, padding="same")(maps)
    maps = layers.MaxPooling2D(3, 2, name="pool")(layers.Add(name="add")([joined, maps]))
    mean = layers.Average(name="average")([maps, conv(8, 3, "conv5", padding="same")(maps)])
    return keras.Model(image, conv(4, 2, "conv6")(mean), name="branching")


@specimen("base/conv2")
def nested():
    """A model inside the model, with a Sequential inside it, and a head on top."""
    block = keras.Sequential(name="block")
    block.add(start(9, 7, 4, name="maps"))
    block.add(conv(6, 3, "conv", padding="same"))
    block.add(layers.MaxPooling2D(3, 2, name="pool"))

    pixels = start(18, 14, 3, name="pixels")
    maps = layers.MaxPooling2D(2, name="pool1")(conv(4, 3, "conv1", padding="same")(pixels))
    base = keras.Model(pixels, conv(5, 2, "conv2")(block(maps)), name="base")

    image = start(20, 16, 3)
    maps = conv(3, 4, "stem", activation=None)(image)
    maps = base(layers.ZeroPadding2D(((0, 1), (1, 0)), name="padding")(maps))
    vector = layers.GlobalAveragePooling2D(name="pool")(conv(4, 1, "head")(maps))
    return keras.Model(image, layers.Dense(3, name="logits")(vector), name="nested")


@specimen("logits")
def average():
    """Average pools that overlap, under both paddings, and linear scores."""
    image = start(15, 12, 3)
    maps = conv(5, 3, "conv1", padding="same")(image)
    maps = layers.AveragePooling2D(3, 2, padding="same", name="pool1")(maps)
    maps = conv(6, 2, "conv2")(maps)
    maps = layers.AveragePooling2D((3, 2), (2, 1), name="pool2")(maps)
    vector = layers.GlobalAveragePooling2D(name="mean")(conv(8, 2, "conv3")(maps))
    return keras.Model(image, layers.Dense(4, name="logits")(vector), name="average")


@specimen("logits")
def global_max():
    """The maximum of every map, and linear scores; signed maps, so that no maximum is a tie of zeros."""
    image = start(14, 11, 3)
    maps = layers.MaxPooling2D(2, name="pool1")(conv(5, 3, "conv1")(image))
    maps = conv(8, 2, "conv2", activation=None)(maps)
    vector = layers.GlobalMaxPooling2D(name="max")(maps)
    return keras.Model(image, layers.Dense(4, name="logits")(vector), name="global_max")


@specimen("fc")
def alexnet():
    """What AlexNet and ZFNet are made of: groups, contrast normalisation before and after pools that round up."""
    image = start(31, 26, 3)
    maps = conv(6, 5, "conv1", strides=2)(layers.ZeroPadding2D(((0, 1), (0, 1)), name="pad1")(image))
    maps = LocalResponseNormalization(k=0.7, alpha=0.5, name="norm1")(maps)
    maps = CeilMaxPooling2D(3, 2, name="pool1")(maps)
    maps = GroupedConv2D(8, 3, padding="same", groups=2, activation="relu", name="conv2")(maps)
    maps = CeilMaxPooling2D((3, 2), (2, 1), name="pool2")(maps)
    maps = LocalResponseNormalization(3, k=1.0, alpha=0.4, beta=0.6, convention="caffe", name="norm2")(maps)
    vector = layers.Flatten(name="flatten")(maps)
    return keras.Model(image, layers.Dense(5, "relu", name="fc")(vector), name="alexnet")


@specimen("dense")
def padded():
    """Borders of unequal sides under a filter and under a pool, a change of shape, dropout, relu layers."""
    image = start(12, 9, 2)
    maps = layers.ZeroPadding2D(((1, 2), (0, 3)), name="padding1")(image)
    maps = layers.ReLU(name="relu1")(conv(4, 3, "conv1", activation=None)(maps))
    maps = layers.ZeroPadding2D(((2, 0), (1, 1)), name="padding2")(maps)
    maps = layers.Dropout(0.5, name="dropout")(layers.MaxPooling2D(3, 2, name="pool1")(maps))
    maps = layers.Reshape((5, 7, 4), name="reshape")(maps)
    maps = layers.Activation("relu", name="relu2")(conv(6, 3, "conv2", activation=None)(maps))
    return keras.Model(image, layers.Dense(5, "relu", name="dense")(maps), name="padded")


@specimen("pool2")
def sequential():
    """A plain Sequential, one channel; the layer to project from is a pool with more above it."""
    model = keras.Sequential(name="sequential")
    model.add(start(17, 13, 1))
    model.add(conv(4, 3, "conv1"))
    model.add(layers.MaxPooling2D(2, name="pool1"))
    model.add(conv(6, 3, "conv2", padding="same"))
    model.add(layers.MaxPooling2D(3, 2, name="pool2"))
    model.add(layers.Flatten(name="flatten"))
    model.add(layers.Dense(4, "softmax", name="predictions"))
    return model
