"""Provenance of a state: the layers, model and preprocessing of a search, and differences between two states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from deconv import graph
from deconv.graph import fingerprint
from deconv.topk.candidates import kept_dtype

if TYPE_CHECKING:
    from deconv.topk.state import TopK


class Maps(NamedTuple):
    """Output of a layer: its `shape` without the batch, channels last, and the `dtype` in which values are stored."""

    shape: tuple[int, ...]
    dtype: str


def maps_of(steps: Sequence[graph.Step]) -> dict[str, Maps]:
    """Return `{name: Maps}` of the outputs of steps."""
    return {step.name: Maps(tuple(step.output.shape), kept_dtype(step.output.dtype)) for step in steps}


def made_by(
    model_graph: graph.Graph,
    steps: Sequence[graph.Step],
    preprocess: Callable[..., Any] | None,
    input_shape: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Compute the provenance of a state.

    Args:
        model_graph: A `Graph` cut to the steps.
        steps: The steps that the state observes.
        preprocess: The preprocessing function, or None.
        input_shape: Size of the images, if the model does not define it.

    Returns:
        `{aspect: value}`, serializable as JSON.
    """
    shape = None if input_shape is None else [int(size) for size in input_shape]
    model = fingerprint.of_model(model_graph, [step.name for step in steps])
    preprocessing = {"preprocess": fingerprint.of_function(preprocess)} | fingerprint.of_arguments(preprocess)
    return model | preprocessing | {"input_shape": shape}


def differences_of(one: TopK, other: TopK, in_one: str, in_other: str, sources: bool = False) -> list[str]:
    """List the differences of two states in k, layers, model and preprocessing.

    Args:
        one, other: The states.
        in_one, in_other: Words that refer to each of them in the texts, such as "there" and "here".
        sources: Whether their data sets are compared too; `other` must then have one.

    Returns:
        List of texts; empty if the states can be merged.
    """
    differences = []
    if one.k != other.k:
        differences.append(f"k ({one.k} {in_one}, {other.k} {in_other})")
    ignored = {"model", "input_shape"}
    if set(one.maps) != set(other.maps):  # the hashes then cover different parts of the model
        differences.append(f"layers ({', '.join(one.maps)} {in_one}, {', '.join(other.maps)} {in_other})")
        ignored |= {"architecture", "weights"}
    elif one.made_by.get("architecture") != other.made_by.get("architecture"):
        ignored |= {"weights"}
    first, second = (
        {name: state.made_by[name] for name in state.made_by if name not in ignored} for state in (one, other)
    )
    differences += fingerprint.changes(first, second, in_one, in_other)
    if sources and len(one.sources) != 1:
        differences.append(f"data set ({len(one.sources)} {in_one}, 1 {in_other})")
    elif sources:
        first, second = (state.sources[0].identity for state in (one, other))
        differences += [f"data set: {change}" for change in fingerprint.changes(first, second, in_one, in_other)]
    if not differences and one.maps != other.maps:
        differences.append("shapes of the layers")
    return differences
