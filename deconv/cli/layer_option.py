"""Read the options for layers and classes of a model."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deconv.figures import Subject


def layers_of(subject: Subject, given: Sequence[str] | None) -> list[str]:
    """Names of layers: the given ones, if the model has them; by default all convolutions.

    Raises:
        ValueError: If the model has no such layer, or no convolution; the message names the layers that it has.
    """
    from deconv import graph

    model_graph = graph.walk(subject.model)
    if given:
        return list(dict.fromkeys(graph.find(model_graph, layer).name for layer in given))
    if not subject.filters():
        names = ", ".join(step.name for step in model_graph.steps)
        raise ValueError(f"--layer: model '{subject.model.name}' has no convolution; give one of its layers: {names}.")
    return subject.filters()


def layer_of(subject: Subject, given: str | None) -> str:
    """Name of one layer: the given one, if the model has it; by default the last convolution."""
    return layers_of(subject, None if given is None else [given])[-1]


def class_of(subject: Subject, text: str | None) -> int | None:
    """Index of a class of the model, from its number or name; None for None.

    Raises:
        ValueError: If there is no such class; the message names the most similar one.
    """
    names = list(subject.class_names)
    if text is None:
        return None
    if not names:
        raise ValueError(
            f"--target: model '{subject.model.name}' has no class outputs. Omit --target, and name a layer, or choose "
            "a network that has them, for example --model efficientnet-lite0."
        )
    if text in names:
        return names.index(text)
    if text.isdecimal() and int(text) < len(names):
        return int(text)
    near = difflib.get_close_matches(text, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"--target must be a class, by number (0 to {len(names) - 1}) or by name; received {text!r}.{hint}"
    )
