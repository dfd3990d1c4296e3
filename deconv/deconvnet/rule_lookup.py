"""Which rule leads the signal of a step down, and which models have none (arXiv:1311.2901, section 2.1)."""

import keras

from deconv import graph
from deconv.deconvnet.rules import HEADS, OPERATIONS, RULES, identity, rectify_as_the_layer_does, refuse_activation
from deconv.graph import activation_functions, modified_gradients
from deconv.graph.activation_functions import ACTIVATED


def rule_of(step, table):
    """The rule that a table has for a step: by its name, its type, the kind that it goes by, or what it computes."""
    found = table.get(step.name) or table.get(type(step.layer)) or table.get(graph.kind(step.layer))
    if found is None and not isinstance(step.layer, keras.layers.Layer):  # `a + b`
        found = OPERATIONS.get(type(step.layer).__name__)
    if found is None:  # keras.ops.relu(a), a Lambda layer
        alone = activation_functions.of_step(step)
        if alone is not None and (alone.kind != "other" or type(step.layer).__name__ == "ReLU"):
            return rectify_as_the_layer_does
    return found


def mirror_layers_of(step, table):
    """What the rule of a step returns; a refusal that names the way out if it has none."""
    found = rule_of(step, table)
    if found is None:
        known = ", ".join(sorted({kind.__name__ for kind in RULES}))
        raise ValueError(
            f"Layer '{step.name}' is a {type(step.layer).__name__}, which the deconvnet cannot mirror. Layers with a "
            f"rule: {known}. Give it one with rules={{{step.name!r}: rule}}, where rule(step) returns the Keras layers "
            "that lead its signal down (deconv.identity lets it pass), or choose a layer below it."
        )
    mirror_layers = found(step)
    if not isinstance(mirror_layers, list | tuple):
        raise ValueError(
            f"The rule of layer '{step.name}' must return a list of Keras layers, first the one that the signal meets "
            f"first; received {mirror_layers!r}."
        )
    return mirror_layers


def pass_activation(step):
    """Transpose what a layer does before its activation, and let signals pass the activation as they are.

    For activations that are no rectifiers: `rules={"gate": deconv.pass_activation}`. Fit for layers with an activation
    of their own, such as `Conv2D(..., activation="tanh")`, and for activation layers.
    """
    if graph.kind(step.layer) not in ACTIVATED:
        return identity(step)
    return mirror_layers_of(modified_gradients.without_activation(step), RULES)


def check_hidden(model_graph, table):
    """Refuse a sigmoid or softmax below the layer that a projection starts from.

    At the top it only turns scores into probabilities, and the projection starts with these. What is between it and the
    start may do nothing but pass them on.

    Raises:
        ValueError: It names the layer and the way out.
    """
    makers, step, heads = {step.output: step for step in model_graph.steps}, model_graph.steps[-1], set()
    while step is not None:
        heads.add(step.name)
        found = activation_functions.of_step(step)
        passes = graph.kind(step.layer) in graph.IDLE or type(step.layer).__name__ == "Cast"
        step = makers.get(step.inputs[0]) if passes or (found and found.kind == "identity") else None
    for step in model_graph.steps:
        found, rule = activation_functions.of(step), rule_of(step, table)
        ours = rule is rectify_as_the_layer_does or rule is RULES.get(graph.kind(step.layer))
        if step.name not in heads and found and found.kind in HEADS and ours:
            refuse_activation(step)


def check_rules(model_graph, rules):
    """Rules of the user: `{layer type or name: function}`, every name that of a layer.

    Raises:
        ValueError: If they are something else.
    """
    if rules is not None and not (isinstance(rules, dict) and all(callable(rule) for rule in rules.values())):
        raise ValueError(f"rules must be a dict {{layer type or name: function of a step}}; received {rules!r}.")
    for key in rules or {}:
        if isinstance(key, str):
            graph.find(model_graph, key)


BUILT_IN = frozenset({*RULES.values(), *OPERATIONS.values(), pass_activation})
"""The rules of this package, which lead signals only to places that the step reads; a user's rule may do anything."""
