"""The model graph: a Keras model as a list of steps in execution order, with nested models flattened.

`walk` builds it: each call of a layer is a `Step`, each tensor between steps an `Edge`. Layers in nested models are
named "base/conv5", the second call of a layer "conv5:2".
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import keras

from deconv.graph import keras_model
from deconv.runtime import forks, keras_backend
from deconv.runtime.dtypes import check_shape
from deconv.runtime.short_repr import short_repr

keras_backend.check()

_AUGMENTATIONS = (
    "AugMix CutMix Equalization MixUp RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter "
    "RandomContrast RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue "
    "RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear "
    "RandomTranslation RandomZoom Solarization"
)
IDLE = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.ActivityRegularization,
    *(getattr(keras.layers, name) for name in _AUGMENTATIONS.split() if hasattr(keras.layers, name)),
)
"""Layers that are the identity at inference. `RandomCrop` is not among them: its output has another shape."""

_COMPUTES = ("__call__", "call", "convolution_op", "_merge_function")
"""Methods that define what a layer computes; a subclass that overrides one computes something else."""


def kind(layer: keras.layers.Layer | keras.Operation) -> type:
    """Return the Keras class whose rules apply to a layer: its own, or the one its class declares as `mirrored_as`.

    A layer class of any package can declare that it has the receptive field, and the backward rule, of a Keras layer:

        class LocalResponseNormalization(keras.layers.Layer):
            mirrored_as = keras.layers.Identity

    The declaration is not inherited: a subclass may compute something else.
    """
    return vars(type(layer)).get("mirrored_as", type(layer))


def computes_as(layer: keras.layers.Layer | keras.Operation, classes: Iterable[type]) -> bool:
    """Return whether a layer computes the same as one of several Keras classes.

    True if its class (see `kind`) is one of `classes`, or a subclass that overrides none of the methods that compute.
    """
    own = kind(layer)
    return any(
        issubclass(own, known) and all(getattr(own, name, None) is getattr(known, name, None) for name in _COMPUTES)
        for known in classes
    )


class Edge:
    """A tensor between two steps: its static `shape`, without the batch, and its `dtype`."""

    def __init__(self, shape: Iterable[int], dtype: str) -> None:
        self.shape, self.dtype = tuple(shape), dtype


class Step(NamedTuple):
    """One call of one layer.

    Attributes:
        name: Name or path, unique in the graph.
        layer: The layer or operation.
        inputs, outputs: Its edges.
        args, kwargs: Arguments of the call, with edges in place of tensors.
    """

    name: str
    layer: keras.layers.Layer
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def output(self) -> Edge:
        return self.outputs[0]


class Graph(NamedTuple):
    """A model as steps in an order in which they can be executed."""

    name: str
    inputs: tuple[Edge, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Edge, ...] = ()
    layers: tuple[str, ...] = ()
    """Names of the model's own layers in Keras's order, for access by index."""
    aliases: dict[str, str] | None = None

    def __repr__(self) -> str:
        return short_repr(self)

    """`{name of a nested model: name of the step that computes its output}`."""


def walk(model: keras.Model, input_shape: Sequence[int] | None = None) -> Graph:
    """Build the model graph of a functional or Sequential model, nested models included.

    Args:
        model: A built `keras.Model` with a graph.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Returns:
        A `Graph`.

    Raises:
        ValueError: If the model has no graph or overrides `call`, if `input_shape` does not fit the model, or if the
            input size is undefined and not given.
    """
    forks.check()
    inputs, outputs = keras_model.inputs_and_outputs(model)
    if input_shape is not None:
        check_shape(input_shape, inputs[0].shape[1:])
    edges = {}
    for tensor in inputs:
        shape = tensor.shape[1:] if input_shape is None else tuple(input_shape)
        if len(shape) != len(tensor.shape[1:]) or any(
            fixed not in (None, size) for fixed, size in zip(tensor.shape[1:], shape, strict=True)
        ):
            raise ValueError(
                f"Model '{model.name}' takes images of shape {tensor.shape[1:]}; received input_shape={input_shape}."
            )
        if None in shape:
            raise ValueError(
                f"Model '{model.name}' has an undefined input size: {tensor.shape[1:]}. "
                "Give the size, for example input_shape=(224, 224, 3)."
            )
        edges[id(tensor)] = Edge(shape, tensor.dtype)
    graph_inputs = tuple(edges.values())
    steps: list[Step] = []
    aliases: dict[str, str] = {}
    _append_steps(model, edges, "", steps, aliases, {}, resize=input_shape is not None)
    return Graph(
        name=model.name,
        inputs=graph_inputs,
        steps=tuple(steps),
        outputs=tuple(edges[id(tensor)] for tensor in outputs),
        layers=tuple(layer.name for layer in model.layers),
        aliases=aliases,
    )


def find(graph: Graph, layer: str | int) -> Step:
    """Return the step of a layer.

    Args:
        graph: A `Graph`.
        layer: Name, path, or index into `model.layers`. A step with several outputs stands for its first output; a
            keras.layers.Identity after another output gives that one a name.

    Raises:
        ValueError: If there is no such layer; the message names the most similar one and lists all.
    """
    names = [step.name for step in graph.steps]
    known = ", ".join(names)
    wanted = layer
    if isinstance(layer, Integral) and not isinstance(layer, bool):
        if not -len(graph.layers) <= layer < len(graph.layers):
            raise ValueError(
                f"Model '{graph.name}' has layers 0 to {len(graph.layers) - 1}; received layer {layer}. "
                f"Its layers are: {known}."
            )
        wanted = graph.layers[layer]
    aliases = graph.aliases or {}
    wanted = aliases.get(wanted, wanted) if isinstance(wanted, str) else wanted
    if wanted in names:
        return graph.steps[names.index(wanted)]
    similar = difflib.get_close_matches(str(wanted), [*names, *aliases], n=1)
    hint = f" Did you mean {similar[0]!r}?" if similar else ""
    if isinstance(layer, Integral):
        hint = " This index is the input layer." + hint
    raise ValueError(f"Model '{graph.name}' has no layer {wanted!r}.{hint} Its layers are: {known}.")


def find_all(graph: Graph, layers: str | int | Sequence[str | int]) -> tuple[list[str | int], list[Step]]:
    """Return `(layers as a list, their steps)` for one layer or a sequence of layers.

    Raises:
        ValueError: If there is no such layer, or the sequence is empty.
    """
    names: list[Any] = list(layers) if isinstance(layers, list | tuple | range) else [layers]
    if not names:
        raise ValueError(f"Name at least one layer of model '{graph.name}'; received none.")
    return names, [find(graph, layer) for layer in names]


def subgraph(graph: Graph, *tops: Step) -> Graph:
    """Return the part of the graph on which the steps `tops` depend; it ends with the last of them.

    Raises:
        ValueError: If that part does not have exactly one input of the model.
    """
    wanted = {edge for step in tops for edge in step.outputs}
    steps = []
    for step in reversed(graph.steps):
        if wanted.intersection(step.outputs):
            steps.append(step)
            wanted.update(step.inputs)
    inputs = tuple(edge for edge in graph.inputs if edge in wanted)
    if len(inputs) != 1:
        names = ", ".join(f"'{step.name}'" for step in tops)
        layers = f"Layer {names} of model '{graph.name}' depends"
        if len(tops) > 1:
            layers = f"Layers {names} of model '{graph.name}' depend"
        raise ValueError(
            f"{layers} on {len(inputs)} inputs; exactly one input, the image, is supported. Build a model with one "
            "input: keras.Model(inputs, outputs)."
        )
    return Graph(graph.name, inputs, tuple(reversed(steps)))


def with_edges(graph: Graph, edges: Mapping[Edge, Edge]) -> Graph:
    """Return the graph with its edges replaced; `edges` maps every edge of its inputs and steps to the new one."""

    def replace(tree):
        return keras.tree.map_structure(lambda leaf: edges[leaf] if isinstance(leaf, Edge) else leaf, tree)

    steps = tuple(
        step._replace(
            inputs=replace(step.inputs),
            outputs=replace(step.outputs),
            args=replace(step.args),
            kwargs=replace(step.kwargs),
        )
        for step in graph.steps
    )
    outputs = tuple(edges.get(edge, edge) for edge in graph.outputs)
    inputs = tuple(edges[edge] for edge in graph.inputs if edge in edges)
    return graph._replace(inputs=inputs, steps=steps, outputs=outputs)


def _append_steps(model, edges, path, steps, aliases, names, resize):
    """Append the steps and aliases of `model`, and add its tensors to `edges`, which maps tensor ids to edges."""
    for node in keras_model.nodes(model):
        args, kwargs = keras.tree.map_structure(
            lambda leaf: edges[id(leaf)] if isinstance(leaf, keras.KerasTensor) else leaf,
            (tuple(node.arguments.args), dict(node.arguments.kwargs)),
        )
        inputs = tuple(edges[id(tensor)] for tensor in node.input_tensors)
        name = _unique(path + node.operation.name, names)
        if isinstance(node.operation, keras.Model) and keras_model.has_graph(node.operation):
            inner_inputs, inner_outputs = keras_model.inputs_and_outputs(node.operation)
            inner = {id(tensor): edge for tensor, edge in zip(inner_inputs, inputs, strict=True)}
            _append_steps(node.operation, inner, name + "/", steps, aliases, names, resize)
            edges.update((id(tensor), inner[id(end)]) for tensor, end in zip(node.outputs, inner_outputs, strict=True))
            last = [step.name for step in steps if inner[id(inner_outputs[0])] in step.outputs]
            aliases.update((name, step_name) for step_name in last)
            continue
        shapes = [tensor.shape for tensor in node.outputs]
        if resize or any(None in shape[1:] for shape in shapes):
            shapes = _output_shapes(node, args, kwargs)
        outputs = tuple(Edge(shape[1:], tensor.dtype) for shape, tensor in zip(shapes, node.outputs, strict=True))
        edges.update((id(tensor), edge) for tensor, edge in zip(node.outputs, outputs, strict=True))
        steps.append(Step(name=name, layer=node.operation, inputs=inputs, outputs=outputs, args=args, kwargs=kwargs))


def _output_shapes(node, args, kwargs):
    """Output shapes, batch first, for an input size that the model leaves undefined."""
    args, kwargs = keras.tree.map_structure(
        lambda leaf: keras.KerasTensor((None, *leaf.shape), leaf.dtype) if isinstance(leaf, Edge) else leaf,
        (args, kwargs),
    )
    return [tensor.shape for tensor in keras.tree.flatten(node.operation.compute_output_spec(*args, **kwargs))]


def _unique(name, names):
    names[name] = names.get(name, 0) + 1
    return name if names[name] == 1 else f"{name}:{names[name]}"


def producer_of(model_graph: Graph, step: Step) -> Step | None:
    """Return the step that computes the first input of `step`; None if that is the image itself."""
    return next((producer for producer in model_graph.steps if step.inputs[0] in producer.outputs), None)
