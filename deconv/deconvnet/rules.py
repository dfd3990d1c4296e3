"""Rules of the deconvnet: the transpose of each layer type as a list of mirror layers (arXiv:1311.2901, section 2.1).

A rule is a function from a `Step` of the model graph to a list of Keras layers, in the order in which they are applied
to the signal. It is selected by the exact type of the layer, or by the type that its class declares as `mirrored_as`
(`deconv.graph.kind`): a subclass may compute something else and needs its own rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeAlias

import keras
import numpy as np

from deconv import graph
from deconv.deconvnet import layers
from deconv.deconvnet.layers import Rectify, Unpool
from deconv.deconvnet.transpose_layer import TransposeOf
from deconv.graph import activation_functions, affine_layers
from deconv.graph.effective_weights import kernel_of
from deconv.graph.keras_model import label
from deconv.validation import check_channels_last

Rule: TypeAlias = Callable[[graph.Step], list[keras.layers.Layer]]
Rules: TypeAlias = Mapping[str | type, Rule]

HEADS = ("sigmoid", "softmax")
"""Activations that turn scores into probabilities. A projection may start at such a layer, but not pass through one."""
RULES: dict[str | type, Rule] = {}
"""{layer type: rule}; the `rules` argument of `mirror` adds to it and overrides it."""


def rule(*types: type) -> Callable[[Rule], Rule]:
    """Return a decorator that registers a rule for layer types."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(types, function))
        return function

    return register


@rule(keras.layers.Conv2D)
def transpose_conv(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose a convolution: rectification, then the flipped filters."""
    return [
        *_activation(step),
        _filter(layers.TransposeConv, step, kernel_of(step.layer), groups=step.layer.groups),
    ]


@rule(keras.layers.DepthwiseConv2D)
def transpose_depthwise_conv(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose a depthwise convolution."""
    return [*_activation(step), _filter(layers.TransposeDepthwiseConv, step, step.layer.kernel)]


@rule(keras.layers.SeparableConv2D)
def transpose_separable_conv(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose a separable convolution: first its 1x1 convolution, then its depthwise convolution."""
    conv, kernel = step.layer, step.layer.pointwise_kernel
    between = (*step.output.shape[:2], kernel.shape[2])
    pointwise = layers.TransposeConv(between, kernel.shape, tied={"kernel": kernel}, **_named(step, "pointwise"))
    return [*_activation(step), pointwise, _filter(layers.TransposeDepthwiseConv, step, conv.depthwise_kernel)]


@rule(keras.layers.Dense)
def transpose_dense(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose a dense layer: rectification, then the transposed matrix."""
    kernel = kernel_of(step.layer)
    mirror_layer = layers.TransposeDense(kernel.shape, tied={"kernel": kernel}, **_named(step, "transpose"))
    return [*_activation(step), mirror_layer]


@rule(keras.layers.MaxPooling2D)
def unpool(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose max pooling with its switches."""
    check_channels_last(step)
    pool = step.layer
    windows = {"pool_size": pool.pool_size, "strides": pool.strides, "padding": pool.padding}
    return [Unpool(step.inputs[0].shape, **windows, **_named(step, "unpool"))]


@rule(keras.layers.GlobalMaxPooling2D)
def unpool_everywhere(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose global max pooling: max pooling with one window as large as the map."""
    check_channels_last(step)
    shape = step.inputs[0].shape
    return [Unpool(shape, pool_size=shape[:2], **_named(step, "unpool"))]


@rule(keras.layers.AveragePooling2D)
def transpose_average_pool(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose average pooling: each cell of a window receives its share of the signal."""
    check_channels_last(step)
    pool = step.layer
    mirror_layer = layers.TransposeAveragePool(
        step.inputs[0].shape, pool.pool_size, pool.strides, pool.padding, **_named(step, "transpose")
    )
    return [mirror_layer]


@rule(keras.layers.GlobalAveragePooling2D)
def transpose_global_average(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose global average pooling: average pooling with one window as large as the map."""
    check_channels_last(step)
    size = step.inputs[0].shape[:2]
    return [layers.TransposeAveragePool(step.inputs[0].shape, size, size, **_named(step, "transpose"))]


@rule(keras.layers.BatchNormalization)
def transpose_batch_norm(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose batch normalization at inference: multiplication by its scale."""
    norm, axis = step.layer, len(step.inputs[0].shape)
    if norm.axis not in (-1, axis):
        raise ValueError(
            f"Layer '{step.name}' (BatchNormalization) normalizes axis {norm.axis}; the built-in rule supports only "
            "the last axis, the channels. Use axis=-1, or pass a rule with rules={...}."
        )
    tied = {**({"gamma": norm.gamma} if norm.scale else {}), "moving_variance": norm.moving_variance}
    named = _named(step, "transpose")
    channels = step.inputs[0].shape[-1]
    return [layers.TransposeBatchNorm(channels, norm.epsilon, norm.scale, tied=tied, **named)]


@rule(keras.layers.ReLU, keras.layers.Activation, keras.layers.Softmax)
def rectify_as_the_layer_does(step: graph.Step) -> list[keras.layers.Layer]:
    """Rectify the signal if the layer is a rectifier; pass it unchanged if the layer is linear or a head."""
    return _activation(step)


@rule(*affine_layers.COPIES, *affine_layers.LINEAR)
def transpose_as_it_computes(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose reshaping, cropping, repeating and resizing by differentiating the layer."""
    shapes = [edge.shape for edge in step.inputs]
    operation, given = affine_layers.call_of(step)
    return [TransposeOf(operation, given, shapes, **_named(step, "transpose"))]


@rule(keras.layers.Flatten, keras.layers.Reshape)
def reshape_back(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose flattening and reshaping: reshape to the shape of the input."""
    if getattr(step.layer, "data_format", "channels_last") != "channels_last":  # this Flatten transposes its input
        return transpose_as_it_computes(step)
    return [keras.layers.Reshape(step.inputs[0].shape, **_named(step, "reshape"))]


@rule(keras.layers.ZeroPadding2D)
def crop(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose zero padding: cropping."""
    check_channels_last(step)
    padding = step.layer.padding
    return [keras.layers.Cropping2D(padding, data_format="channels_last", **_named(step, "crop"))]


@rule(keras.layers.Cropping2D)
def pad(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose cropping: zero padding."""
    check_channels_last(step)
    cropping = step.layer.cropping
    return [keras.layers.ZeroPadding2D(cropping, data_format="channels_last", **_named(step, "pad"))]


@rule(keras.layers.Rescaling)
def scale(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose rescaling: the same factor without the offset."""
    return [layers.Scale(step.layer.scale, **_named(step, "scale"))]


@rule(keras.layers.Normalization)
def transpose_normalization(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose normalization: its scale as constants, because mean and variance are not variables of the layer."""
    deviation = np.maximum(np.sqrt(np.asarray(step.layer.variance)), keras.config.epsilon())
    factor = deviation if step.layer.invert else 1 / deviation
    return [layers.Scale(factor[0].tolist() if factor.ndim else float(factor), **_named(step, "scale"))]


@rule(keras.layers.Concatenate)
def split(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose a concatenation: each branch receives its own channels."""
    axis = step.layer.axis
    place = axis if axis < 0 else axis - 1
    return [layers.Split([edge.shape[place] for edge in step.inputs], axis, **_named(step, "split"))]


@rule(keras.layers.Add)
def copy(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose an addition: each branch receives the whole signal."""
    if len({edge.shape for edge in step.inputs}) > 1:
        raise ValueError(
            f"Layer '{step.name}' (Add) adds maps of different shapes, {[edge.shape for edge in step.inputs]}; the "
            "built-in rule requires equal shapes. Pass a rule with rules={...}."
        )
    return [layers.Copy(len(step.inputs), **_named(step, "copy"))]


@rule(keras.layers.Average)
def share(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose an average: each branch receives an equal share of the signal."""
    return [layers.Scale(1 / len(step.inputs), **_named(step, "scale")), *copy(step)]


@rule(*graph.IDLE)
def identity(step: graph.Step) -> list[keras.layers.Layer]:
    """Pass the signal unchanged, without a mirror layer: an empty list.

    For layers that are the identity at inference, and for contrast normalization, which the paper does not transpose
    (arXiv:1311.2901, section 2.1). `step` is a `deconv.graph.model_graph.Step`.
    """
    return []


def scale_operation(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose `a * 2`, `a / 2`, `-a`, `a - 2` and `2 - a`; reject products of maps and division by maps."""
    name, given = type(step.layer).__name__, (*step.args, *step.kwargs.values())
    first = isinstance(given[0], graph.Edge)
    if len(step.inputs) != 1 or (name in _DIVISIONS and not first):
        raise ValueError(
            f"Layer '{step.name}' is the operation {name} with {len(step.inputs)} "
            f"{'map' if len(step.inputs) == 1 else 'maps'} as operands; the built-in rule supports only one map and a "
            f"constant, and no division by the map. Pass a rule with rules={{{step.name!r}: rule}}."
        )
    if name == "Negative" or name == "Subtract":
        return [layers.Scale(1.0 if first and name == "Subtract" else -1.0, **_named(step, "scale"))]
    constant = np.asarray(given[1] if first else given[0], np.float64)
    factor = 1 / constant if name in _DIVISIONS else constant
    return [layers.Scale(factor.tolist(), **_named(step, "scale"))]


_DIVISIONS = ("Divide", "TrueDivide")

OPERATIONS: dict[str, Rule] = {
    "Add": copy,
    "Cast": identity,
    "ConvertToTensor": identity,
    **dict.fromkeys(("Multiply", "Negative", "Subtract", *_DIVISIONS), scale_operation),
    **dict.fromkeys(affine_layers.COPY_OPERATIONS, transpose_as_it_computes),
}
"""{class name of a Keras operation that is not a layer: rule}"""


def _activation(step: graph.Step) -> list[keras.layers.Layer]:
    """Mirror layers of the activation of a step: `Rectify` for a rectifier, none for a linear activation or a head."""
    behaviour = activation_functions.of(step)
    kind = None if behaviour is None else behaviour.kind
    if kind == "rectifier":
        return [Rectify(**_named(step, "rectify"))]
    if kind == "identity" or kind in HEADS:  # `check_hidden` rejects heads below the start
        return []
    return refuse_activation(step)


def refuse_activation(step: graph.Step) -> NoReturn:
    """Reject a step whose activation has no rule.

    Raises:
        ValueError: Always. The message names the layer and the remedy.
    """
    layer, type_name = step.layer, type(step.layer).__name__
    activation = getattr(layer, "activation", None) or layer
    name = getattr(activation, "__name__", type(activation).__name__)
    if not isinstance(layer, keras.layers.Layer) or activation is layer:
        name = f"{type_name} (with a slope, a threshold, or a function other than relu)"
    raise ValueError(
        f"Layer '{step.name}' ({type_name}) has the activation {name!r}, which has no rule. A deconvnet supports relu "
        "without slope, with or without an upper limit, and linear activations; softmax and sigmoid only in the layer "
        f"from which the projection starts. To pass signals unchanged, use rules={{{step.name!r}: "
        f"deconv.pass_activation}}. For another rule, use rules={{{step.name!r}: rule}}, where rule(step) returns the "
        "Keras layers that transpose the layer, its filter included."
    )


def _filter(
    mirror_layer: Callable[..., layers.MirrorLayer], step: graph.Step, kernel: Any, **own: Any
) -> layers.MirrorLayer:
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


def _named(step: graph.Step, what: str) -> dict[str, Any]:
    """Name and dtype of a mirror layer of a step."""
    dtype: Any = getattr(step.layer, "dtype_policy", step.output.dtype)  # an operation such as `a + b` has no policy
    if getattr(dtype, "quantization_mode", None) is not None:
        dtype = dtype.compute_dtype  # signals are floating point, also for a quantized layer
    return {"name": f"{label(step.name)}_{what}", "dtype": dtype}
