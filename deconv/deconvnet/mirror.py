"""The mirrored network: for every layer its transpose, chained downwards (arXiv:1311.2901, section 2.1 and Fig. 1)."""

import keras

from deconv import graph
from deconv.deconvnet.layers import Rectify, Unpool, Zeros
from deconv.deconvnet.rule_lookup import check_hidden, check_rules, mirror_layers_of
from deconv.deconvnet.rules import RULES
from deconv.graph.keras_model import label
from deconv.ops.pooling import check_collisions


def mirror(model, layer, *, rules=None, collisions="sum", rectify=True, input_shape=None):
    """Build the deconvnet of `layer`, from its output to pixel space.

    Args:
        model: A functional or Sequential `keras.Model`; it is not changed, and its weights are shared.
        layer: Name, path (`"base/conv5"`) or index of the layer to start from.
        rules: `{layer type or layer name: rule}` for layers that `RULES` does not know, or to override it. A rule is a
            function from a `deconv.graph.model_graph.Step` to a list of Keras layers, called one after the other on the
            signal (on the list of signals, for a layer with several outputs).
        collisions: What happens where overlapping windows share a maximum: `"sum"`, `"last"` or `"max"` (see `unpool`).
        rectify: False leaves all rectification out, which makes the mirror linear: the exact transpose of the
            network with its switches held fixed. `verify` uses it.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.

    Returns:
        A `keras.Model`, whose weights are those of `model`: who writes to them, with `load_weights` for example, writes
        to `model`. Its first input is the signal, shaped like the output of `layer`; one more input for each
        max pooling passed on the way, from the top down, takes its switches (int32, shaped like its output). Its output
        is signed and shaped like the image: the paper rectifies before each filter, so not after the last one.

    Raises:
        ValueError: If there is no such layer, a layer on the way down has no rule, or a rule leads elsewhere. An
            activation has one if it is a rectifier, however it is written, or linear; a sigmoid or softmax only where
            the way down starts. `rules={name: deconv.pass_activation}` lets signals pass any other.
    """
    model_graph = graph.walk(model, input_shape)
    check_rules(model_graph, rules)
    return mirror_graph(graph.subgraph(model_graph, graph.find(model_graph, layer)), rules, collisions, rectify)


def mirror_graph(model_graph, rules=None, collisions="sum", rectify=True):
    """`mirror` for a graph that `graph.subgraph` has cut out already."""
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
                f"The rule of layer '{step.name}' ({type(step.layer).__name__}) leads to maps of shape "
                f"{[tuple(branch.shape[1:]) for branch in branches]}, but the input of the layer has "
                f"{[edge.shape for edge in step.inputs]}. A rule must transpose the layer's filter too."
            )
        for edge, branch in zip(step.inputs, branches, strict=True):
            arrived.setdefault(edge, []).append(branch)
    pixels = _sum(arrived[model_graph.inputs[0]], "to_pixels")
    if pixels is start:  # nothing on the way: Keras wants a layer between input and output all the same
        pixels = keras.layers.Identity(name=f"{label(top.name)}_identity", dtype=start.dtype)(start)
    mirrored = keras.Model(inputs, pixels, name=f"{label(model_graph.name)}_{label(top.name)}_mirror")
    mirrored.trainable = False  # "not used in any learning capacity" (section 2.1)
    return mirrored


def _signal(step, arrived):
    """What comes down to a step; of one with several outputs a list, zeros where nothing comes."""
    signals = [arrived.pop(edge, None) for edge in step.outputs]
    if len(signals) == 1:
        return _sum(signals[0], step.name)
    any_signal = next(some[0] for some in signals if some is not None)
    return [
        Zeros(edge.shape, name=f"{label(step.name)}_nothing{number}", dtype=edge.dtype)(any_signal)
        if some is None
        else _sum(some, f"{step.name}_output{number}")
        for number, (edge, some) in enumerate(zip(step.outputs, signals, strict=True))
    ]


def _sum(signals, name):
    """The transpose of a fork: what comes down its branches adds up."""
    if len(signals) == 1:
        return signals[0]
    return keras.layers.Add(name=f"{label(name)}_sum", dtype=signals[0].dtype)(signals)
