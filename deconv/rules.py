"""For every layer type its transpose, as the faces that a signal passes on its way down (arXiv:1311.2901, section 2.1).

A rule takes a `Step` of the graph and returns a list of Keras layers, first the one that the signal meets first. Rules
go by the exact type of a layer, or by the one that its class names as `mirrored_as` (`graph.kind`): a subclass may
compute something else, so it needs a rule of its own.
"""

import keras

from deconv import graph, layers
from deconv.inputs import check_channels_last
from deconv.layers import Rectify, Unpool

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
        _filter(layers.TransposeConv, step, step.layer.kernel, groups=step.layer.groups),
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
    kernel = step.layer.kernel
    face = layers.TransposeDense(kernel.shape, tied={"kernel": kernel}, **_named(step, "transpose"))
    return [*_activation(step), face]


@rule(keras.layers.MaxPooling2D)
def unpool(step):
    check_channels_last(step)
    return [Unpool(step.inputs[0].shape, **_named(step, "unpool"))]


@rule(keras.layers.GlobalMaxPooling2D)
def unpool_everywhere(step):
    return unpool(step)


@rule(keras.layers.AveragePooling2D)
def transpose_average_pool(step):
    check_channels_last(step)
    pool = step.layer
    face = layers.TransposeAveragePool(
        step.inputs[0].shape, pool.pool_size, pool.strides, pool.padding, **_named(step, "transpose")
    )
    return [face]


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


@rule(keras.layers.Flatten, keras.layers.Reshape)
def reshape_back(step):
    return [keras.layers.Reshape(step.inputs[0].shape, **_named(step, "reshape"))]


@rule(keras.layers.ZeroPadding2D)
def crop(step):
    check_channels_last(step)
    return [keras.layers.Cropping2D(step.layer.padding, **_named(step, "crop"))]


@rule(keras.layers.Rescaling)
def scale(step):
    return [layers.Scale(step.layer.scale, **_named(step, "scale"))]


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


def rectify_operation(step):
    """`keras.ops.relu`, and `keras.activations.relu` called with parameters as it stands in a graph."""
    if getattr(step.layer, "negative_slope", 0) or getattr(step.layer, "threshold", 0):
        return _refuse_activation(step, "relu with a slope or threshold")
    return [Rectify(**_named(step, "rectify"))]


OPERATIONS = {
    "Add": copy,
    "Cast": identity,
    "Relu": rectify_operation,
    "Relu6": rectify_operation,
    "ReLU": rectify_operation,
}
"""{class name of a Keras operation that is no layer: rule}."""


def faces_of(step, table):
    """What the rule of a step returns; a refusal that names the way out if it has none."""
    found = table.get(step.name) or table.get(type(step.layer)) or table.get(graph.kind(step.layer))
    if found is None and not isinstance(step.layer, keras.layers.Layer):  # `a + b`, keras.ops.relu(a)
        found = OPERATIONS.get(type(step.layer).__name__)
    if found is None:
        known = ", ".join(sorted({kind.__name__ for kind in RULES}))
        raise ValueError(
            f"Layer '{step.name}' is a {type(step.layer).__name__}, which the deconvnet cannot mirror. Layers with a "
            f"rule: {known}. Give it one with rules={{{step.name!r}: rule}}, where rule(step) returns the Keras layers "
            "that lead its signal down (deconv.identity lets it pass), or choose a layer below it."
        )
    faces = found(step)
    if not isinstance(faces, list | tuple):
        raise ValueError(
            f"The rule of layer '{step.name}' must return a list of Keras layers, first the one that the signal meets "
            f"first; received {faces!r}."
        )
    return faces


def _activation(step):
    """Rectification where the layer rectifies; nothing for a linear or softmax head; a refusal for the rest."""
    layer = step.layer
    activation = layer if isinstance(layer, keras.layers.ReLU | keras.layers.Softmax) else layer.activation
    known = keras.activations
    plain_relu = isinstance(activation, keras.layers.ReLU) and not (activation.negative_slope or activation.threshold)
    if plain_relu or activation in (known.relu, known.relu6):
        return [Rectify(**_named(step, "rectify"))]
    if isinstance(activation, keras.layers.Softmax):
        return []
    if activation in (None, known.linear, known.softmax, known.sigmoid):
        return []
    return _refuse_activation(step, getattr(activation, "__name__", type(activation).__name__))


def _refuse_activation(step, name):
    raise ValueError(
        f"Layer '{step.name}' ({type(step.layer).__name__}) has the activation {name!r}, and a deconvnet knows only "
        "rectified and linear maps (relu without slope, relu6, linear, softmax, sigmoid). Give it a rule with "
        f"rules={{{step.name!r}: rule}}, where rule(step) returns the Keras layers that lead its signal down, its "
        "transposed filter included."
    )


def _filter(face, step, kernel, **own):
    check_channels_last(step)
    conv = step.layer
    return face(
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
    return {"name": f"{label(step.name)}_{what}", "dtype": dtype}


def label(name):
    """A path as a Keras name, which may hold no slash."""
    return name.replace("/", ".").replace(":", ".")


def check_rules(laid, rules):
    """Rules of the user: `{layer type or name: function}`, every name that of a layer.

    Raises:
        ValueError: If they are something else.
    """
    if rules is not None and not (isinstance(rules, dict) and all(callable(rule) for rule in rules.values())):
        raise ValueError(f"rules must be a dict {{layer type or name: function of a step}}; received {rules!r}.")
    for key in rules or {}:
        if isinstance(key, str):
            graph.find(laid, key)
