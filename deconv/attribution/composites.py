"""Composites of LRP, which assign a rule to each layer by its place or kind."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any, NamedTuple

import keras

from deconv import graph
from deconv.attribution import rules
from deconv.attribution.lrp_linear import is_filter


class Place(NamedTuple):
    """The place of a layer with weights.

    Attributes:
        step: Its `Step`.
        pixels: Whether only scaling, padding and reshaping are between the image and the layer.
        third: 0, 1 or 2: the third of the other layers with weights to which it belongs, from the lowest up; a
            remainder goes to the upper thirds. None for a layer with `pixels`.
    """

    step: graph.Step
    pixels: bool
    third: int | None


def by_third(place: Place) -> rules.Rule:
    """The composite of Montavon et al. 2019: `z_box` at the pixels, then thirds of `gamma`, `epsilon`, `zero`.

    The constants, 0.25 and 0.25, are those of their tutorial for VGG-16. There the layers are chosen by hand: gamma for
    the lower convolutions, epsilon for the upper ones, zero for the dense layers. For AlexNet, thirds give the same
    choice. Their reasons: the upper layers serve many classes at once and need the rule closest to the function; the
    middle layers have shared weights and noisy gradients, of which epsilon keeps the main part; in the lower layers
    gamma spreads relevance evenly.
    """
    if place.pixels or place.third is None:
        return rules.z_box()
    return (rules.gamma(), rules.epsilon(), rules.zero())[place.third]


def _everywhere(rule):
    return lambda place: rule


def _by_kind(pixels, filters, dense):
    """A composite of one rule for layers that pixels feed, one for other convolutions and one for dense layers."""

    def choose(place):
        if place.pixels and pixels is not None:
            return pixels
        return dense if graph.kind(place.step.layer) is keras.layers.Dense else filters

    return choose


_SMALL = rules.epsilon(1e-6, relative=False)
"""Only avoids divisions by zero."""

COMPOSITES = {
    "auto": by_third,
    "zero": _everywhere(rules.zero()),
    "epsilon": _everywhere(rules.epsilon()),
    "gamma": _everywhere(rules.gamma()),
    "alpha1_beta0": _everywhere(rules.alpha_beta(1, 0)),
    "alpha2_beta1": _everywhere(rules.alpha_beta(2, 1)),
    "epsilon_plus": _by_kind(None, rules.alpha_beta(1, 0), _SMALL),
    "epsilon_plus_flat": _by_kind(rules.flat(), rules.alpha_beta(1, 0), _SMALL),
    "epsilon_alpha2_beta1_flat": _by_kind(rules.flat(), rules.alpha_beta(2, 1), _SMALL),
}
"""{name: function from a `Place` to its rule}. The last three follow Kohlbrenner et al., arXiv:1910.09840, with the
constants of Zennit: the epsilon of their dense layers is 1e-6, which only avoids divisions by zero, so that nearly
all relevance is passed on. The epsilon of `"epsilon"` and `"auto"`, Montavon's, absorbs a large part of it."""


def choose(
    composite: str | rules.Rule | dict[Any, rules.Rule],
    places: Sequence[Place],
    others: Iterable[graph.Step],
    whole: graph.Graph,
) -> dict[str, rules.Rule]:
    """Choose a rule for each layer that needs one.

    Args:
        composite: A name in `COMPOSITES`; a `Rule` for all layers with weights; or `{layer name, path or type: Rule}`,
            where names take precedence over types, and other layers follow `"auto"`.
        places: List of `Place`, the layers with weights.
        others: The other steps. Only a dict assigns rules to these; sums and averages otherwise follow `zero`.
        whole: The `Graph` of the whole model, in which the names of a dict must exist.

    Returns:
        `{step name: Rule}` for `places` and for the other steps that a dict names.

    Raises:
        ValueError: If the composite is unknown, names a layer that does not exist, or has values that are not rules.
    """
    named = {}
    if isinstance(composite, rules.Rule):
        by_place = _everywhere(composite)
    elif isinstance(composite, dict):
        named, by_place = _checked(composite, whole), by_third
    elif isinstance(composite, str) and composite in COMPOSITES:
        by_place = COMPOSITES[composite]
    else:
        raise ValueError(
            f"composite must be one of {', '.join(COMPOSITES)}, a rule such as deconv.attribution.rules.epsilon(), or "
            f"a dict {{layer name or type: rule}}; received {composite!r}."
        )
    chosen = {}
    for place in places:
        own = _named(named, place.step)
        chosen[place.step.name] = by_place(place) if own is None else own
    chosen.update((step.name, own) for step in others if (own := _named(named, step)) is not None)
    return chosen


def places_of(steps: Iterable[graph.Step], fed_by_pixels: Container[graph.Edge]) -> list[Place]:
    """The layers with weights among steps as `Place`, from the lowest up; `fed_by_pixels` is a set of edges."""
    filters = [step for step in steps if is_filter(step)]
    above = [step.name for step in filters if step.inputs[0] not in fed_by_pixels]
    thirds = {name: (3 * number + 2) // len(above) for number, name in enumerate(above)}
    return [Place(step, step.name not in thirds, thirds.get(step.name)) for step in filters]


def _named(named, step):
    """The rule of a dict for a step, by its name, its type, or its kind; None if there is none."""
    return next((named[key] for key in (step.name, type(step.layer), graph.kind(step.layer)) if key in named), None)


def _checked(composite, whole):
    for key, rule in composite.items():
        if isinstance(key, str):
            graph.find(whole, key)
        if not isinstance(key, str | type) or not isinstance(rule, rules.Rule):
            raise ValueError(
                "composite must have names or types of layers as keys, and rules such as "
                f"deconv.attribution.rules.epsilon() as values; received {key!r}: {rule!r}."
            )
    # A nested model stands for the step that computes its output, as in the other modules.
    return {graph.find(whole, key).name if isinstance(key, str) else key: r for key, r in composite.items()}
