"""Projection by differentiation: forward passes whose rectifiers have a modified gradient (section 2.1).

Three methods differ only in this rule, with f the input of a rectifier and R the signal from the layer above:

| rule        | signal to the layer below    | source                                                        |
|-------------|------------------------------|---------------------------------------------------------------|
| `gradient`  | R where f > 0                | Simonyan et al., arXiv:1312.6034                              |
| `deconvnet` | R where R > 0                | Zeiler & Fergus, arXiv:1311.2901, section 2.1                 |
| `guided`    | R where f > 0 and R > 0      | Springenberg et al., arXiv:1412.6806, section 3.4             |

A rectifier is max(0, x), with or without an upper limit, however it is written (`deconv.graph.activation_functions`).
All other activations keep their own derivative: leaky ReLU, GELU, sigmoid. `deconvnet` and `guided` reject, by name,
layers that may hide a rectifier.

The model is not changed: a layer is called through a copy that shares its weights and lacks its activation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from deconv import graph
from deconv.graph import activation_functions
from deconv.graph.activation_functions import ACTIVATED
from deconv.graph.compilation import compile_function

Rule = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

RECTIFIERS: dict[str, Rule] = {
    "gradient": lambda signal, seen: tf.where(seen > 0, signal, 0),
    "deconvnet": lambda signal, seen: tf.nn.relu(signal),
    "guided": lambda signal, seen: tf.where(seen > 0, tf.nn.relu(signal), 0),
}
"""{name: rule}. A rule maps the signal from above and the input of the rectifier to the signal for the layer below.
Inputs beyond the upper limit of a rectifier such as ReLU6 are given as zero."""


class StepActivation:
    """The activation that a step computes, as a function of one tensor with all other arguments bound."""

    def __init__(self, step: graph.Step) -> None:
        self.step, self.__name__ = step, type(step.layer).__name__

    def __call__(self, maps: tf.Tensor) -> tf.Tensor:
        args, kwargs = keras.tree.map_structure(
            lambda leaf: maps if isinstance(leaf, graph.Edge) else leaf, (self.step.args, self.step.kwargs)
        )
        return graph.call_layer(self.step, *args, **kwargs)


def activation_of(step: graph.Step) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """Return the activation that a step ends with, or is; None if it has none or a linear one.

    Layers of unknown class and operations count if calling them shows a rectifier, a sigmoid or a softmax.
    """
    behaviour = activation_functions.of(step)
    if behaviour is None or behaviour.kind == "identity":
        return None
    if _is_inside(step):
        return step.layer.activation
    if behaviour.kind == "other" and graph.kind(step.layer).__name__ not in ("ReLU", "Relu"):
        return None
    return StepActivation(step)


def rectifies(step: graph.Step) -> bool:
    """Return whether a step ends with, or is, a rectifier without slope: max(0, x), with or without an upper limit."""
    behaviour = activation_functions.of(step)
    return behaviour is not None and behaviour.kind == "rectifier"


def is_declared_identity(step: graph.Step) -> bool:
    """Return whether a layer is not the identity but declares it as its backward rule (contrast normalisation)."""
    return issubclass(graph.kind(step.layer), graph.IDLE) and not isinstance(step.layer, graph.IDLE)


def call_without_activation(step: graph.Step, *args: Any, **kwargs: Any) -> tf.Tensor:
    """Compute the input of a step's activation: the layer's output without it or, for an activation layer, its input.

    An activation layer casts its input to its own dtype, so the result has that dtype.
    """
    if graph.kind(step.layer) in ACTIVATED:
        return graph.call_layer(without_activation(step), *args, **kwargs)
    pairs = zip(keras.tree.flatten((step.args, step.kwargs)), keras.tree.flatten((args, kwargs)), strict=True)
    return tf.cast(next(value for leaf, value in pairs if isinstance(leaf, graph.Edge)), step.output.dtype)


def without_activation(step: graph.Step) -> graph.Step:
    """Return a step with a copy of its layer that shares the weights and lacks the activation."""
    twin = object.__new__(type(step.layer))
    vars(twin).update(vars(step.layer), activation=None)
    return step._replace(layer=twin)


def run(
    model_graph: graph.Graph,
    images: tf.Tensor,
    rectify: Rule | None = None,
    *,
    norms_pass: bool = False,
    heads: bool = True,
) -> tuple[dict[graph.Edge, tf.Tensor], dict[str, tf.Tensor]]:
    """Run a graph on a batch so that TensorFlow differentiates it by a rule.

    Args:
        model_graph: A `Graph` with one input.
        images: Tensor `(batch, *input shape)`.
        rectify: Rule for the rectifiers, as in `RECTIFIERS`; None for their own derivative.
        norms_pass: Whether contrast normalisation has the identity as its gradient, as its mirror layer does; False for
            its own derivative.
        heads: Whether activations other than rectifiers, such as softmax, are applied.

    Returns:
        `(values, before)`: `{edge: tensor}` of all outputs, and `{step name: tensor}` of the output of every step
        before its activation; for a step without one, its output.
    """
    before = {}

    def call(step, *args, **kwargs):
        activation = activation_of(step)
        if activation is None:
            if norms_pass and is_declared_identity(step):
                before[step.name] = _straight_through(step, *args, **kwargs)
            else:
                before[step.name] = _pool_to_first(step, *args, **kwargs)
            return before[step.name]
        before[step.name] = inputs = call_without_activation(step, *args, **kwargs)
        if rectifies(step):
            return activation(inputs) if rectify is None else _with_rule(step, activation, rectify)(inputs)
        return activation(inputs) if heads else inputs

    return graph.run(model_graph, images, call), before


def gradients(
    model_graph: graph.Graph, rectify: Rule | None = None, *, norms_pass: bool = False, before: bool = True
) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Compile the gradient of the last step of a graph under a rule.

    Args:
        model_graph: A `Graph` with one input, cut with `graph.subgraph`.
        rectify, norms_pass: As for `run`.
        before: Whether it starts before the activation of the last step (for a softmax, at the logits).

    Returns:
        A function of images `(n, height, width, channels)` and a signal shaped like the output of the last step, traced
        once for any batch size. It returns the values of that step, and the gradient of `<signal, values>`, shaped like
        the images.

    Raises:
        ValueError: If the rule is not the true derivative and a layer may hide a rectifier
            (`activation_functions.check_no_hidden_rectifier`).
    """
    image, top = model_graph.inputs[0], model_graph.steps[-1]
    if rectify not in (None, RECTIFIERS["gradient"]):
        activation_functions.check_no_hidden_rectifier(model_graph, top_counts=not before)

    def down(images, signal):
        with tf.GradientTape() as tape:
            tape.watch(images)
            values, raw = run(model_graph, images, rectify, norms_pass=norms_pass)
            value = raw[top.name] if before else values[top.output]
            total = tf.reduce_sum(value * tf.cast(signal, value.dtype))
        return value, tape.gradient(total, images, unconnected_gradients="zero")

    signal = tf.TensorSpec((None, *top.output.shape), top.output.dtype)
    return compile_function(down, tf.TensorSpec((None, *image.shape), image.dtype), signal)


def _is_inside(step):
    """Whether a step holds its activation as `activation`."""
    return graph.kind(step.layer) in (*ACTIVATED, keras.layers.Activation) and hasattr(step.layer, "activation")


def _with_rule(step, activation, rectify):
    """The activation with the gradient of a rule."""

    end = activation_functions.of(step).end

    @tf.custom_gradient
    def activate(maps):
        limited = maps if end is None else tf.where(maps < end, maps, 0)  # inputs beyond the limit count as zero
        return tf.convert_to_tensor(activation(maps)), lambda above: rectify(above, limited)

    return activate


def _pool_to_first(step, *args, **kwargs):
    """Call a layer; of equal maxima, only the first receives the gradient of a global max pooling."""
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
