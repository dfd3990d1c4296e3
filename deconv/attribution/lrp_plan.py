"""Plan of LRP for a network: the rule of each layer, and which batch normalisations are merged into which filters."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras

from deconv import graph
from deconv.attribution import composites, rules
from deconv.attribution.lrp_linear import SUMS, is_filter, is_sum
from deconv.deconvnet.recording import POOLS
from deconv.graph import activation_functions, modified_gradients
from deconv.graph.affine_layers import AFFINE_OPERATIONS, is_copy
from deconv.validation import check_channels_last

_AFFINE = (keras.layers.BatchNormalization, keras.layers.Rescaling, keras.layers.Normalization)
_ACTIVATIONS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
    keras.layers.Softmax,
)


class Plan(NamedTuple):
    """The treatment of each layer by LRP.

    Attributes:
        graph: The `Graph` up to the layer whose unit is explained.
        rules: `{step name: Rule}`, of the layers that redistribute relevance and of those that the composite names.
        norms: `{name of a filter: the batch normalisation that is merged into it}`.
        entrance: The `Graph` of the steps between the image and the lowest filters.
        signed: Names of the steps whose inputs may be negative.
    """

    graph: graph.Graph
    rules: dict[str, rules.Rule]
    norms: dict[str, keras.layers.Layer]
    entrance: graph.Graph
    signed: frozenset[str]


def rules_for(
    model_graph: graph.Graph, whole: graph.Graph, composite: str | rules.Rule | dict[Any, rules.Rule]
) -> dict[str, rules.Rule]:
    """Choose a rule for each layer that redistributes relevance.

    Args:
        model_graph: `Graph` of a model, cut at the layer whose unit is explained.
        whole: The `Graph` of the whole model.
        composite: See `composites.choose`.

    Returns:
        `{step name: Rule}`, including steps that only pass relevance on but are named in the composite.

    Raises:
        ValueError: If a layer has no rule, or one that does not fit it.
    """
    fed_by_pixels = {*model_graph.inputs, *(step.output for step in _entrance(model_graph))}
    places = composites.places_of(model_graph.steps, fed_by_pixels)
    chosen = composites.choose(composite, places, model_graph.steps, whole)
    chosen.update({step.name: rules.zero() for step in model_graph.steps if is_sum(step) and step.name not in chosen})
    for step in model_graph.steps:
        _check(step, chosen.get(step.name), step is model_graph.steps[-1], step.inputs[0] in fed_by_pixels)
    return chosen


def plan(model_graph: graph.Graph, chosen: dict[str, rules.Rule]) -> Plan:
    """The `Plan` of a graph with the given rules."""
    entrance, positive = model_graph._replace(steps=tuple(_entrance(model_graph))), _positive(model_graph)
    signed = frozenset(step.name for step in model_graph.steps if not positive.issuperset(step.inputs))
    return Plan(graph=model_graph, rules=chosen, norms=_norms(model_graph), entrance=entrance, signed=signed)


def _check(step, rule, is_top, fed_by_pixels):
    """Raise an error if a layer has no rule, or one that does not fit it."""
    kind, layer = graph.kind(step.layer), f"Layer '{step.name}' ({type(step.layer).__name__})"
    keeps_shape = len(step.inputs) == 1 and step.inputs[0].shape == step.output.shape
    if rule is not None and rule.shares is None and not keeps_shape:
        raise ValueError(
            f"{layer} maps shapes {[edge.shape for edge in step.inputs]} to {[edge.shape for edge in step.outputs]}; "
            "the rule 'passes' requires one input, of the shape of the output. Choose a layer below it."
        )
    if rule is not None and rule.shares is not None:
        if not (is_filter(step) or is_sum(step)):
            raise ValueError(
                f"{layer} computes no sums of contributions, so rule '{rule}' does not apply to it. Remove it from "
                "composite."
            )
        if rule.needs_bounds and not fed_by_pixels:
            raise ValueError(
                f"Rule '{rule}' requires a layer of pixels, whose bounds are known, which '{step.name}' is not. "
                f"Use another rule for it, for example composite={{{step.name!r}: deconv.attribution.rules.gamma()}}."
            )
    if rule is None and not _is_known(step, kind):
        raise ValueError(
            f"{layer} has no LRP rule. Choose a layer below it or, if relevance passes it unchanged, set "
            f"composite={{{step.name!r}: deconv.attribution.rules.passes()}}."
        )
    activation = None if is_top else modified_gradients.activation_of(step)
    if activation is not None and (rule is None or rule.shares is not None) and not _keeps_zero(step):
        raise ValueError(
            f"{layer} has the activation function {_name_of(activation)!r}, which relevance cannot pass: it is not "
            "known to be 0 at 0 and to preserve the sign of each value. Choose this layer, whose units are taken "
            "before its activation function, or a layer below it. If the activation function is a layer of its own, "
            f"composite={{{step.name!r}: deconv.attribution.rules.passes()}} passes relevance through it."
        )
    if kind in (*POOLS, keras.layers.ZeroPadding2D):
        check_channels_last(step)


def _is_known(step, kind):
    activation = activation_functions.of_step(step)  # excludes activations of layers with weights, which need a rule
    if activation is not None and (activation.keeps_sign or modified_gradients.activation_of(step) is not None):
        return True
    if not isinstance(step.layer, keras.layers.Layer):  # `a + 1`
        return type(step.layer).__name__ == "Add" or is_affine(step) or is_copy(step)
    passing = (keras.layers.ZeroPadding2D, keras.layers.Concatenate, *POOLS, *_AFFINE, *_ACTIVATIONS)
    return kind in passing or kind in graph.IDLE or is_copy(step)


def is_affine(step: graph.Step) -> bool:
    """Whether a step is an operation that scales or shifts one map by a constant, such as `maps / 255`."""
    name = type(step.layer).__name__
    if isinstance(step.layer, keras.layers.Layer) or len(step.inputs) != 1 or name not in AFFINE_OPERATIONS:
        return False
    return name not in ("Divide", "TrueDivide") or isinstance((*step.args, None)[0], graph.Edge)


def _keeps_zero(step):
    """Whether the activation function of a step has f(0) = 0 and preserves the sign."""
    activation = activation_functions.of(step)
    return activation is not None and activation.keeps_sign


def _name_of(activation):
    return getattr(activation, "__name__", type(activation).__name__)


def _norms(model_graph):
    """`{name of a filter: batch normalisation}`, where it is the only user of a filter without activation function."""
    makers = {step.output: step for step in model_graph.steps}
    norms = {}
    for step in model_graph.steps:
        maker = makers.get(step.inputs[0])
        if graph.kind(step.layer) is not keras.layers.BatchNormalization or maker is None or not is_filter(maker):
            continue
        users = sum(edge is maker.output for other in model_graph.steps for edge in other.inputs)
        last_axis = step.layer.axis in (-1, len(step.output.shape))
        if users == 1 and last_axis and modified_gradients.activation_of(maker) is None:
            norms[maker.name] = step.layer
    return norms


def _entrance(model_graph):
    """The steps between the image and the lowest filters, which map bounds to bounds."""
    fed, entrance = set(model_graph.inputs), []
    for step in model_graph.steps:
        activation = activation_functions.of_step(step)
        simple = type(step.layer) in (*graph.IDLE, keras.layers.ZeroPadding2D, *_AFFINE)
        simple = simple or is_copy(step) or is_affine(step)
        rectifies = activation is not None and activation.kind == "rectifier"
        if fed.issuperset(step.inputs) and (simple or rectifies):
            fed.update(step.outputs)
            entrance.append(step)
    return entrance


def _positive(model_graph: graph.Graph) -> set[graph.Edge]:
    """Edges that are known, from the graph alone, to hold no negative values."""
    sign_preserving = (*graph.IDLE, *POOLS, *SUMS, keras.layers.ZeroPadding2D, keras.layers.Concatenate)
    positive: set[graph.Edge] = set()
    for step in model_graph.steps:
        is_exact = graph.kind(step.layer) in sign_preserving and not modified_gradients.is_declared_identity(step)
        keeps = is_exact or is_copy(step)
        if (keeps and positive.issuperset(step.inputs)) or modified_gradients.rectifies(step):
            positive.update(step.outputs)
    return positive
