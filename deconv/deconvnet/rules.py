"""For every layer type its transpose, as a sequence of mirror layers (arXiv:1311.2901, section 2.1).

A rule takes a `Step` of the graph and returns a list of Keras layers, first the one that the signal meets first. Rules
go by the exact type of a layer, or by the one that its class names as `mirrored_as` (`graph.kind`): a subclass may
compute something else, so it needs a rule of its own.
"""

import keras
import numpy as np

from deconv import graph
from deconv.deconvnet import layers
from deconv.deconvnet.layers import Rectify, Unpool
from deconv.deconvnet.transpose_layer import TransposeOf
from deconv.graph import activation_functions, rearranging
from deconv.graph.effective_weights import kernel_of
from deconv.graph.keras_model import label
from deconv.validation import check_channels_last

HEADS = ("sigmoid", "softmax")
"""Activations that turn scores into probabilities; a projection may start with these, but not pass them."""
RULES = {}
"""{layer type: rule}; the `rules` argument of `mirror` adds to it and overrides it."""


def rule(*types):
    """Register a rule for layer types."""

    def register(function):
        RULES.update(dict.fromkeys(types, function))
        return function

    return register


@rule(keras.layers.Conv2D)
def transpose_conv(step):
    return [
        *_activation(step),
        _filter(layers.TransposeConv, step, kernel_of(step.layer), groups=step.layer.groups),
    ]


@rule(keras.layers.DepthwiseConv2D)
def transpose_depthwise_conv(step):
    return [*_activation(step), _filter(layers.TransposeDepthwiseConv, step, step.layer.kernel)]


@rule(keras.layers.SeparableConv2D)
def transpose_separable_conv(step):
    """A depthwise convolution and one of 1x1 above it, in the opposite order."""
    conv, kernel = step.layer, step.layer.pointwise_kernel
    between = (*step.output.shape[:2], kernel.shape[2])
    pointwise = layers.TransposeConv(between, kernel.shape, tied={"kernel": kernel}, **_named(step, "pointwise"))
    return [*_activation(step), pointwise, _filter(layers.TransposeDepthwiseConv, step, conv.depthwise_kernel)]


@rule(keras.layers.Dense)
def transpose_dense(step):
    kernel = kernel_of(step.layer)
    mirror_layer = layers.TransposeDense(kernel.shape, tied={"kernel": kernel}, **_named(step, "transpose"))
    return [*_activation(step), mirror_layer]


@rule(keras.layers.MaxPooling2D)
def unpool(step):
    check_channels_last(step)
    pool = step.layer
    windows = {"pool_size": pool.pool_size, "strides": pool.strides, "padding": pool.padding}
    return [Unpool(step.inputs[0].shape, **windows, **_named(step, "unpool"))]


@rule(keras.layers.GlobalMaxPooling2D)
def unpool_everywhere(step):
    check_channels_last(step)
    shape = step.inputs[0].shape
    return [Unpool(shape, pool_size=shape[:2], **_named(step, "unpool"))]


@rule(keras.layers.AveragePooling2D)
def transpose_average_pool(step):
    check_channels_last(step)
    pool = step.layer
    mirror_layer = layers.TransposeAveragePool(
        step.inputs[0].shape, pool.pool_size, pool.strides, pool.padding, **_named(step, "transpose")
    )
    return [mirror_layer]


@rule(keras.layers.GlobalAveragePooling2D)
def transpose_global_average(step):
    check_channels_last(step)
    size = step.inputs[0].shape[:2]
    return [layers.TransposeAveragePool(step.inputs[0].shape, size, size, **_named(step, "transpose"))]


@rule(keras.layers.BatchNormalization)
def transpose_batch_norm(step):
    norm, axis = step.layer, len(step.inputs[0].shape)
    if norm.axis not in (-1, axis):
        raise ValueError(
            f"Layer '{step.name}' (BatchNormalization) normalises axis {norm.axis}; only the last one, the channels, "
            "has a rule. Use axis=-1, or give one with rules={...}."
        )
    tied = {**({"gamma": norm.gamma} if norm.scale else {}), "moving_variance": norm.moving_variance}
    named = _named(step, "transpose")
    channels = step.inputs[0].shape[-1]
    return [layers.TransposeBatchNorm(channels, norm.epsilon, norm.scale, tied=tied, **named)]


@rule(keras.layers.ReLU, keras.layers.Activation, keras.layers.Softmax)
def rectify_as_the_layer_does(step):
    return _activation(step)


@rule(*rearranging.COPIES, *rearranging.LINEAR)
def transpose_as_it_computes(step):
    """Reshaping, cropping, repeating, resizing: the transpose of the layer itself."""
    shapes = [edge.shape for edge in step.inputs]
    return [TransposeOf(*rearranging.call_of(step), shapes, **_named(step, "transpose"))]


@rule(keras.layers.Flatten, keras.layers.Reshape)
def reshape_back(step):
    if getattr(step.layer, "data_format", "channels_last") != "channels_last":  # a Flatten that moves the channels
        return transpose_as_it_computes(step)
    return [keras.layers.Reshape(step.inputs[0].shape, **_named(step, "reshape"))]


@rule(keras.layers.ZeroPadding2D)
def crop(step):
    check_channels_last(step)
    padding = step.layer.padding
    return [keras.layers.Cropping2D(padding, data_format="channels_last", **_named(step, "crop"))]


@rule(keras.layers.Cropping2D)
def pad(step):
    check_channels_last(step)
    cropping = step.layer.cropping
    return [keras.layers.ZeroPadding2D(cropping, data_format="channels_last", **_named(step, "pad"))]


@rule(keras.layers.Rescaling)
def scale(step):
    return [layers.Scale(step.layer.scale, **_named(step, "scale"))]


@rule(keras.layers.Normalization)
def transpose_normalization(step):
    """Its scale, as numbers: they are no variables of the layer."""
    deviation = np.maximum(np.sqrt(np.asarray(step.layer.variance)), keras.config.epsilon())
    factor = deviation if step.layer.invert else 1 / deviation
    return [layers.Scale(factor[0].tolist() if factor.ndim else float(factor), **_named(step, "scale"))]


@rule(keras.layers.Concatenate)
def split(step):
    axis = step.layer.axis
    place = axis if axis < 0 else axis - 1
    return [layers.Split([edge.shape[place] for edge in step.inputs], axis, **_named(step, "split"))]


@rule(keras.layers.Add)
def copy(step):
    if len({edge.shape for edge in step.inputs}) > 1:
        raise ValueError(
            f"Layer '{step.name}' (Add) adds maps of different shapes, {[edge.shape for edge in step.inputs]}; only "
            "equal shapes have a rule. Give one with rules={...}."
        )
    return [layers.Copy(len(step.inputs), **_named(step, "copy"))]


@rule(keras.layers.Average)
def share(step):
    return [layers.Scale(1 / len(step.inputs), **_named(step, "scale")), *copy(step)]


@rule(*graph.IDLE)
def identity(step):
    """What does nothing at inference does nothing on the way down. Also fit for contrast normalisation."""
    return []


def scale_operation(step):
    """`a * 2`, `a / 2`, `-a`, `a - 2` and `2 - a`: what stands beside the maps is a constant."""
    name, given = type(step.layer).__name__, (*step.args, *step.kwargs.values())
    first = isinstance(given[0], graph.Edge)
    if len(step.inputs) != 1 or (name in _DIVISIONS and not first):
        raise ValueError(
            f"Layer '{step.name}' is the operation {name} of {len(step.inputs)} maps in an order that is not linear; "
            f"only maps and a constant have a rule. Give it one with rules={{{step.name!r}: rule}}."
        )
    if name == "Negative" or name == "Subtract":
        return [layers.Scale(1.0 if first and name == "Subtract" else -1.0, **_named(step, "scale"))]
    constant = np.asarray(given[1] if first else given[0], np.float64)
    factor = 1 / constant if name in _DIVISIONS else constant
    return [layers.Scale(factor.tolist(), **_named(step, "scale"))]


_DIVISIONS = ("Divide", "TrueDivide")

OPERATIONS = {
    "Add": copy,
    "Cast": identity,
    "ConvertToTensor": identity,
    **dict.fromkeys(("Multiply", "Negative", "Subtract", *_DIVISIONS), scale_operation),
    **dict.fromkeys(rearranging.COPY_OPERATIONS, transpose_as_it_computes),
}
"""{class name of a Keras operation that is no layer: rule}."""


def _activation(step):
    """Rectification where the layer rectifies; nothing where it is linear or a head; a refusal for the rest."""
    found = activation_functions.of(step)
    if found.kind == "rectifier":
        return [Rectify(**_named(step, "rectify"))]
    if found.kind == "identity" or found.kind in HEADS:  # those that are hidden: `check_hidden`
        return []
    return refuse_activation(step)


def refuse_activation(step):
    layer, table = step.layer, type(step.layer).__name__
    activation = getattr(layer, "activation", None) or layer
    name = getattr(activation, "__name__", type(activation).__name__)
    if not isinstance(layer, keras.layers.Layer) or activation is layer:
        name = f"{table} (with a slope, a threshold, or another function than relu)"
    raise ValueError(
        f"Layer '{step.name}' ({table}) has the activation {name!r}, and a deconvnet knows only rectified and linear "
        "maps: relu without slope, with or without an upper end, linear; and softmax or sigmoid where the projection "
        f"starts, not below. If signals may pass it as they are, say so with rules={{{step.name!r}: "
        f"deconv.pass_activation}}. Or give it another rule with rules={{{step.name!r}: rule}}, where rule(step) "
        "returns the Keras layers that lead its signal down, its transposed filter included."
    )


def _filter(mirror_layer, step, kernel, **own):
    check_channels_last(step)
    conv = step.layer
    return mirror_layer(
        step.inputs[0].shape,
        kernel.shape,
        conv.strides,
        conv.padding,
        conv.dilation_rate,
        tied={"kernel": kernel},
        **own,
        **_named(step, "transpose"),
    )


def _named(step, what):
    dtype = getattr(step.layer, "dtype_policy", step.output.dtype)  # an operation such as `a + b` has no policy
    if getattr(dtype, "quantization_mode", None) is not None:
        dtype = dtype.compute_dtype  # what leads down works with floats
    return {"name": f"{label(step.name)}_{what}", "dtype": dtype}
