"""Whether single units can be projected inside their receptive fields, and at which share of the work."""

from __future__ import annotations

from typing import Literal

from deconv import graph
from deconv.deconvnet.rule_lookup import BUILT_IN, rule_of
from deconv.deconvnet.rules import RULES, Rules
from deconv.graph import windowed_layers
from deconv.graph.cost import cost
from deconv.graph.receptive_field import receptive_fields_below


def has_patches(model_graph: graph.Graph, rules: Rules | None, collisions: Literal["sum", "last", "max"]) -> bool:
    """Return whether single units of the last step can be projected inside their windows, with less work.

    False if a layer depends on its whole input, as a dense layer does; if a layer has a rule of the user, which may
    propagate signals to any cell; or if colliding values are not summed.

    Args:
        model_graph: A `Graph` cut with `graph.subgraph`.
        rules: Rules of the user, or None.
        collisions: Policy for colliding maxima.
    """
    fields = receptive_fields_below(model_graph)
    if collisions != "sum" or not fields or None in fields.values():
        return False
    if not all(
        windowed_layers.is_translation_equivariant(step) and _has_built_in_rule(step, rules)
        for step in model_graph.steps
    ):
        return False
    return window_share(model_graph) < 0.9


def window_share(model_graph: graph.Graph) -> float:
    """Estimate the work for the windows of one unit of the last step, as a share of the work for whole maps."""
    fields = receptive_fields_below(model_graph)
    windows = sum(cost(step, field.cells) for step in model_graph.steps if (field := fields[step.output]) is not None)
    return windows / sum(cost(step, step.output.shape[:2]) for step in model_graph.steps)


def _has_built_in_rule(step: graph.Step, rules: Rules | None) -> bool:
    """Whether the rule of a step is one of this package, or the step has none."""
    rule = rule_of(step, {**RULES, **(rules or {})})
    return rule is None or rule in BUILT_IN
