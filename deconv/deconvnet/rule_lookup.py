"""Selection of the rule for each step, and checks that a model can be mirrored (arXiv:1311.2901, section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from deconv import graph
from deconv.deconvnet.rules import (
    HEADS,
    OPERATIONS,
    RULES,
    Rule,
    Rules,
    identity,
    rectify_as_the_layer_does,
    refuse_activation,
)
from deconv.graph import activation_functions, modified_gradients
from deconv.graph.activation_functions import ACTIVATED


def rule_of(step: graph.Step, table: Mapping[str | type, Rule]) -> Rule | None:
    """Select the rule of a step: by its name, its type, its kind (`deconv.graph.kind`), or what it computes.

    Args:
        step: A `Step`.
        table: `{layer type or name: rule}`.

    Returns:
        The rule; None if there is none.
    """
    rule = table.get(step.name) or table.get(type(step.layer)) or table.get(graph.kind(step.layer))
    if rule is None and not isinstance(step.layer, keras.layers.Layer):  # an operation such as `a + b`
        rule = OPERATIONS.get(type(step.layer).__name__)
    if rule is None:  # an activation in another form: keras.ops.relu(a), a Lambda layer
        behaviour = activation_functions.of_step(step)
        if behaviour is not None and (behaviour.kind != "other" or type(step.layer).__name__ == "ReLU"):
            return rectify_as_the_layer_does
    return rule


def mirror_layers_of(step: graph.Step, table: Mapping[str | type, Rule]) -> list[keras.layers.Layer]:
    """Build the mirror layers of a step.

    Args:
        step: A `Step`.
        table: `{layer type or name: rule}`.

    Returns:
        The result of the rule.

    Raises:
        ValueError: If the step has no rule, or the rule does not return a list.
    """
    rule = rule_of(step, table)
    if rule is None:
        known = ", ".join(sorted({kind.__name__ for kind in RULES if isinstance(kind, type)}))
        raise ValueError(
            f"Layer '{step.name}' is a {type(step.layer).__name__}, which has no rule in the deconvnet. Layers with a "
            f"rule: {known}. Pass a rule with rules={{{step.name!r}: rule}}, where rule(step) returns the Keras layers "
            "that transpose the layer (deconv.identity passes the signal unchanged), or choose a layer below it."
        )
    mirror_layers = rule(step)
    if not isinstance(mirror_layers, list | tuple):
        raise ValueError(
            f"The rule of layer '{step.name}' must return a list of Keras layers in the order in which they are "
            f"applied to the signal; received {mirror_layers!r}."
        )
    return mirror_layers


def pass_activation(step: graph.Step) -> list[keras.layers.Layer]:
    """Transpose what a layer computes before its activation, and pass signals through the activation unchanged.

    A rule for activations that are not rectifiers: `rules={"gate": deconv.pass_activation}`. It is suitable for layers
    with an activation, such as `Conv2D(..., activation="tanh")`, and for activation layers.

    Args:
        step: A `deconv.graph.model_graph.Step`.

    Returns:
        List of mirror layers.
    """
    if graph.kind(step.layer) not in ACTIVATED:
        return identity(step)
    return mirror_layers_of(modified_gradients.without_activation(step), RULES)


def check_hidden(model_graph: graph.Graph, table: Mapping[str | type, Rule]) -> None:
    """Reject a graph with a sigmoid or softmax below the layer from which the projection starts.

    At the top they only turn scores into probabilities, and the projection starts with these. Between such a head and
    the start there may only be layers that are the identity.

    Args:
        model_graph: A `Graph` whose last step is the start.
        table: `{layer type or name: rule}`.

    Raises:
        ValueError: If there is one. The message names the layer and the remedy.
    """
    makers, heads = {step.output: step for step in model_graph.steps}, set()
    top: graph.Step | None = model_graph.steps[-1]
    while top is not None:
        heads.add(top.name)
        behaviour = activation_functions.of_step(top)
        passes = graph.kind(top.layer) in graph.IDLE or type(top.layer).__name__ == "Cast"
        if behaviour is not None and behaviour.kind == "identity":
            passes = True
        top = makers.get(top.inputs[0]) if passes else None
    for step in model_graph.steps:
        behaviour, rule = activation_functions.of(step), rule_of(step, table)
        is_built_in = rule is rectify_as_the_layer_does or rule is RULES.get(graph.kind(step.layer))
        if step.name not in heads and behaviour and behaviour.kind in HEADS and is_built_in:
            refuse_activation(step)


def check_rules(model_graph: graph.Graph, rules: Rules | None) -> None:
    """Check the rules of the user: a dict `{layer type or name: function}` whose names are layers of the graph.

    Args:
        model_graph: A `Graph`.
        rules: Any value; None for no rules.

    Raises:
        ValueError: If they are something else.
    """
    if rules is not None and not (isinstance(rules, dict) and all(callable(rule) for rule in rules.values())):
        raise ValueError(f"rules must be a dict {{layer type or name: function of a step}}; received {rules!r}.")
    for key in rules or {}:
        if isinstance(key, str):
            graph.find(model_graph, key)


BUILT_IN = frozenset({*RULES.values(), *OPERATIONS.values(), pass_activation})
"""The rules of this package. They propagate signals only to cells that the step reads; a user's rule may not."""
