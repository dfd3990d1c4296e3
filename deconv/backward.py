"""The way down by differentiation: forward passes whose rectifiers pass signals down by a rule (section 2.1).

Three methods differ in nothing but this rule, with f the value that a rectifier saw and R the signal from above:

| rule        | what a rectifier passes down | source                                                        |
|-------------|------------------------------|---------------------------------------------------------------|
| `gradient`  | R where f > 0                | Simonyan et al., arXiv:1312.6034                              |
| `deconvnet` | R where R > 0                | Zeiler & Fergus, arXiv:1311.2901, section 2.1                 |
| `guided`    | R where f > 0 and R > 0      | Springenberg et al., arXiv:1412.6806, section 3.4             |

The models are not changed: a layer is called through a twin that shares its weights and lacks its activation.
"""

import keras
import tensorflow as tf

from deconv import graph
from deconv.recording import traced

RECTIFIERS = {
    "gradient": lambda signal, seen: tf.where(seen > 0, signal, 0),
    "deconvnet": lambda signal, seen: tf.nn.relu(signal),
    "guided": lambda signal, seen: tf.where(seen > 0, tf.nn.relu(signal), 0),
}
"""{name: rule}; a rule takes the signal from above and what the rectifier saw, which counts as zero beyond the end of a
rectifier that has one, as ReLU6 has; it returns what goes down."""

_FUSED = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Dense,
)
"""Layers that may end with an activation of their own."""

_OPERATIONS = ("Relu", "Relu6", "ReLU")
"""Class names of rectifiers: Keras's layer, and its operations, which are no layers."""


def activation_of(step):
    """The activation that a step ends with, or is; None where it has none, or a linear one."""
    kind = graph.kind(step.layer)
    if kind is keras.layers.Softmax or kind.__name__ in _OPERATIONS:
        return step.layer
    if kind not in (*_FUSED, keras.layers.Activation):
        return None
    activation = step.layer.activation
    return None if activation in (None, keras.activations.linear) else activation


def rectifies(activation):
    """Whether an activation is a rectifier without slope: max(0, x), or the same with an upper end."""
    if type(activation).__name__ in _OPERATIONS:
        return not (getattr(activation, "negative_slope", 0) or getattr(activation, "threshold", 0))
    return activation in (keras.activations.relu, keras.activations.relu6)


def upper_end(activation):
    """Where a rectifier stops rising; None for one that does not."""
    if activation is keras.activations.relu6 or type(activation).__name__ == "Relu6":
        return 6.0
    return getattr(activation, "max_value", None)


def passes(step):
    """Whether a layer computes something and yet says that signals pass it as they are: contrast normalisation."""
    return issubclass(graph.kind(step.layer), graph.IDLE) and not isinstance(step.layer, graph.IDLE)


def call_without_activation(step, *args, **kwargs):
    """What a step's activation sees: the layer on a twin that shares its weights; for an activation, its input."""
    if graph.kind(step.layer) not in _FUSED:
        return args[0]
    twin = object.__new__(type(step.layer))
    vars(twin).update(vars(step.layer), activation=None)
    return graph.call_layer(step._replace(layer=twin), *args, **kwargs)


def run(laid, images, rectify=None, *, norms_pass=False, heads=True):
    """Run a graph on a batch, such that TensorFlow differentiates it by a rule.

    Args:
        laid: A `Graph` with one input.
        images: Tensor `(batch, *input shape)`.
        rectify: Rule of its rectifiers, as in `RECTIFIERS`; None for their own derivative.
        norms_pass: Whether contrast normalisation passes signals down as they are, as the mirror has it; False for its
            own derivative.
        heads: Whether activations that are no rectifiers, such as softmax, are applied.

    Returns:
        `(values, before)`: `{edge: tensor}` of all outputs, and `{step name: tensor}` of what every step put out before
        its activation; for a step without one that is its output.
    """
    before = {}

    def call(step, *args, **kwargs):
        activation = activation_of(step)
        if activation is None:
            if norms_pass and passes(step):
                before[step.name] = _straight_through(step, *args, **kwargs)
            else:
                before[step.name] = _pool_to_first(step, *args, **kwargs)
            return before[step.name]
        before[step.name] = seen = call_without_activation(step, *args, **kwargs)
        if rectifies(activation):
            return activation(seen) if rectify is None else _ruled(activation, rectify)(seen)
        return activation(seen) if heads else seen

    return graph.run(laid, images, call), before


def gradients(laid, rectify=None, *, norms_pass=False, before=True):
    """Compile the gradient of the last step of a graph, under a rule.

    Args:
        laid: A `Graph` with one input, cut with `graph.below`.
        rectify, norms_pass: As for `run`.
        before: Whether it starts before the activation of the last step (of a softmax, at the logits).

    Returns:
        A function of images `(n, height, width, channels)` and a signal shaped like the output of the last step, traced
        once for any batch size. It returns the values of that step, and the gradient of `<signal, values>`, shaped like
        the images.
    """
    image, top = laid.inputs[0], laid.steps[-1]

    def down(images, signal):
        with tf.GradientTape() as tape:
            tape.watch(images)
            values, raw = run(laid, images, rectify, norms_pass=norms_pass)
            value = raw[top.name] if before else values[top.output]
            total = tf.reduce_sum(value * signal)
        return value, tape.gradient(total, images, unconnected_gradients="zero")

    signal = tf.TensorSpec((None, *top.output.shape), top.output.dtype)
    return traced(down, tf.TensorSpec((None, *image.shape), image.dtype), signal)


def _ruled(activation, rectify):
    """The activation with another derivative."""

    end = upper_end(activation)

    @tf.custom_gradient
    def ruled(maps):
        seen = maps if end is None else tf.where(maps < end, maps, 0)  # beyond its end it is off too
        return tf.convert_to_tensor(activation(maps)), lambda above: rectify(above, seen)

    return ruled


def _pool_to_first(step, *args, **kwargs):
    """Call a layer; of equal maxima, the gradient of a global max pooling goes to the first alone."""
    if graph.kind(step.layer) is keras.layers.GlobalMaxPooling2D:
        pooled = tf.nn.max_pool2d(args[0], args[0].shape[1:3], 1, "VALID")
        return pooled if step.layer.keepdims else pooled[:, 0, 0]
    return graph.call_layer(step, *args, **kwargs)


def _straight_through(step, *args, **kwargs):
    result = tf.stop_gradient(graph.call_layer(step, *args, **kwargs))

    @tf.custom_gradient
    def passed(maps):
        return tf.identity(result), lambda above: tf.cast(above, maps.dtype)

    return passed(args[0])
