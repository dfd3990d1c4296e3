"""Which rule of LRP goes for which layer: composites, that choose by a layer's place or kind."""

from typing import NamedTuple

import keras

from deconv import graph
from deconv.attribution import rules
from deconv.attribution.lrp_linear import is_filter


class Place(NamedTuple):
    """Where a layer with weights is.

    Attributes:
        step: Its `Step`.
        pixels: Whether nothing but scaling, borders and reshaping is between it and the image.
        third: 0, 1 or 2: in which third of the other layers with weights it is, from the lowest up, where the upper
            thirds have the odd ones. None for a layer that pixels feed.
    """

    step: graph.Step
    pixels: bool
    third: int | None


def by_third(place):
    """Montavon et al. 2019: `z_box` at the pixels, above it `gamma`, `epsilon`, and at the top `zero`, a third each.

    The constants are those of their tutorial for VGG-16, 0.25 and 0.25. There they choose the layers by hand, gamma for
    the lower convolutions, epsilon for the upper ones, zero for the dense layers; in AlexNet thirds come to the same.
    Their reasons: at the top, layers serve many classes at once and need the rule nearest to the function; in between,
    weights are shared and gradients noisy, of which epsilon keeps the main part; below, gamma spreads relevance evenly.
    """
    if place.pixels:
        return rules.z_box()
    return (rules.gamma(), rules.epsilon(), rules.zero())[place.third]


def _everywhere(rule):
    return lambda place: rule


def _by_kind(pixels, filters, dense):
    """A rule for layers that pixels feed, one for other convolutions, one for dense layers."""

    def choose(place):
        if place.pixels and pixels is not None:
            return pixels
        return dense if graph.kind(place.step.layer) is keras.layers.Dense else filters

    return choose


_SMALL = rules.epsilon(1e-6, relative=False)
"""What keeps a division finite, and no more."""

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
"""{name: function of a `Place` that returns its rule}. The last three are after Kohlbrenner et al., arXiv:1910.09840,
and as in Zennit: the epsilon of their dense layers is 1e-6, which only keeps divisions finite, so that nearly all of
the value goes on. The epsilon of `"epsilon"` and `"auto"`, Montavon's, keeps a large part of it."""


def choose(composite, places, others, whole):
    """A rule for each layer that needs one.

    Args:
        composite: A name in `COMPOSITES`; a `Rule`, for all layers with weights; or `{layer name, path or type: Rule}`,
            where names come before types, and what is not named goes by `"auto"`.
        places: List of `Place`, the layers with weights.
        others: The other steps, of which a dict may name some. Sums and averages go by `zero` unless they are.
        whole: The `Graph` of the whole model, which has the layers that a dict may name.

    Returns:
        `{step name: Rule}` for `places` and for the others that are named.

    Raises:
        ValueError: If the composite is unknown, names a layer that is not there, or has something else than rules.
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


def places_of(steps, fed_by_pixels):
    """The layers with weights among steps, from the lowest up, as `Place`; `fed_by_pixels` is a set of edges."""
    found = [step for step in steps if is_filter(step)]
    above = [step.name for step in found if step.inputs[0] not in fed_by_pixels]
    thirds = {name: (3 * number + 2) // len(above) for number, name in enumerate(above)}
    return [Place(step, step.name not in thirds, thirds.get(step.name)) for step in found]


def _named(named, step):
    """The rule that a dict has for a step: by its name, its type, or the kind that it goes by."""
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
    # A model inside the model stands for the step that makes its output, as everywhere.
    return {graph.find(whole, key).name if isinstance(key, str) else key: r for key, r in composite.items()}
