"""The mirrored network: the transposes of all layers in reverse order (arXiv:1311.2901, section 2.1 and Fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import keras

from deconv import graph
from deconv.deconvnet.layers import Rectify, Unpool, Zeros
from deconv.deconvnet.rule_lookup import check_hidden, check_rules, mirror_layers_of
from deconv.deconvnet.rules import RULES, Rules
from deconv.graph.keras_model import label
from deconv.ops.pooling import check_collisions

if TYPE_CHECKING:
    import tensorflow as tf


def mirror(
    model: keras.Model,
    layer: str | int,
    *,
    rules: Rules | None = None,
    collisions: Literal["sum", "last", "max"] = "sum",
    rectify: bool = True,
    input_shape: Sequence[int] | None = None,
) -> keras.Model:
    """Build the deconvnet of a layer, from its output to pixel space (arXiv:1311.2901, section 2.1).

    Args:
        model: A functional or Sequential `keras.Model`; it is not changed, and its weights are shared.
        layer: Name, path (`"base/conv5"`) or index of the layer to start from.
        rules: `{layer type or layer name: rule}` for layers without a rule in `RULES`, or to override a rule. A rule is
            a function from a `deconv.graph.model_graph.Step` to a list of Keras layers, which are called one after the
            other on the signal (on the list of signals, for a layer with several outputs).
        collisions: What happens where overlapping windows share a maximum: `"sum"`, `"last"` or `"max"` (see `unpool`).
        rectify: Whether signals are rectified. False makes the mirror linear: the exact transpose of the network with
            fixed switches. `verify` uses it.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Returns:
        A `keras.Model` that shares the weights of `model`: writing to them, with `load_weights` for example, changes
        `model`. Its first input is the signal, shaped like the output of `layer`. Then follows one input for each max
        pooling below the layer, from the top down, for its switches (int32, shaped like its output). The output has the
        shape of the image and is signed: the paper rectifies before each filter, so not after the last one.

    Raises:
        ValueError: If there is no such layer, a layer below it has no rule, or the maps that a rule returns do not have
            the shape of the layer's input. Rectifiers in any form and linear activations have a rule; a sigmoid or
            softmax only at the layer from which the projection starts. Any other activation needs
            `rules={name: deconv.pass_activation}`, which passes signals unchanged.
    """
    model_graph = graph.walk(model, input_shape)
    check_rules(model_graph, rules)
    return mirror_graph(graph.subgraph(model_graph, graph.find(model_graph, layer)), rules, collisions, rectify)


def mirror_graph(
    model_graph: graph.Graph,
    rules: Rules | None = None,
    collisions: Literal["sum", "last", "max"] = "sum",
    rectify: bool = True,
) -> keras.Model:
    """Build the deconvnet of the last step of a graph that has been cut with `graph.subgraph`.

    Args:
        model_graph: A `Graph` with one input.
        rules, collisions, rectify: As for `mirror`.

    Returns:
        A `keras.Model`, as for `mirror`.

    Raises:
        ValueError: As for `mirror`.
    """
    check_collisions(collisions)
    table = {**RULES, **(rules or {})}
    check_hidden(model_graph, table)
    top = model_graph.steps[-1]
    start = keras.Input(top.output.shape, name=f"{label(top.name)}_signal", dtype=top.output.dtype)
    inputs, arrived = [start], {top.output: [start]}
    for step in reversed(model_graph.steps):
        signal = _signal(step, arrived)
        for mirror_layer in mirror_layers_of(step, table):
            if isinstance(mirror_layer, Rectify) and not rectify:
                continue
            if isinstance(mirror_layer, Unpool):
                mirror_layer.collisions = collisions
                switches = keras.Input(step.output.shape, name=f"{label(step.name)}_switches", dtype="int32")
                inputs.append(switches)
                signal = mirror_layer([signal, switches])
            else:
                signal = mirror_layer(signal)
        branches = signal if isinstance(signal, list) else [signal]
        if [tuple(branch.shape[1:]) for branch in branches] != [edge.shape for edge in step.inputs]:
            raise ValueError(
                f"The rule of layer '{step.name}' ({type(step.layer).__name__}) returns maps of shape "
                f"{[tuple(branch.shape[1:]) for branch in branches]}; expected the shape of the layer's inputs, "
                f"{[edge.shape for edge in step.inputs]}. A rule must also transpose the layer's filter."
            )
        for edge, branch in zip(step.inputs, branches, strict=True):
            arrived.setdefault(edge, []).append(branch)
    pixels = _sum(arrived[model_graph.inputs[0]], "to_pixels")
    if pixels is start:  # all layers are skipped, but Keras requires a layer between input and output
        pixels = keras.layers.Identity(name=f"{label(top.name)}_identity", dtype=start.dtype)(start)
    mirrored = keras.Model(inputs, pixels, name=f"{label(model_graph.name)}_{label(top.name)}_mirror")
    mirrored.trainable = False  # "not used in any learning capacity" (section 2.1)
    return mirrored


def _signal(step: graph.Step, arrived: dict[graph.Edge, list[tf.Tensor]]) -> tf.Tensor | list[tf.Tensor]:
    """Signal at the output of a step; for several outputs a list, with zeros for those that no layer above uses."""
    if len(step.outputs) == 1:
        return _sum(arrived.pop(step.output), step.name)
    signals = [arrived.pop(edge, None) for edge in step.outputs]
    any_signal = next(branches[0] for branches in signals if branches is not None)
    return [
        Zeros(edge.shape, name=f"{label(step.name)}_nothing{number}", dtype=edge.dtype)(any_signal)
        if branches is None
        else _sum(branches, f"{step.name}_output{number}")
        for number, (edge, branches) in enumerate(zip(step.outputs, signals, strict=True))
    ]


def _sum(signals: list[tf.Tensor], name: str) -> tf.Tensor:
    """Sum of the signals of all branches of a fork: the transpose of using one tensor several times."""
    if len(signals) == 1:
        return signals[0]
    return keras.layers.Add(name=f"{label(name)}_sum", dtype=signals[0].dtype)(signals)
