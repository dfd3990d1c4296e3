"""A model as a list of steps from the input up, with nested models laid open.

Keras keeps models inside models; a deconvnet walks one flat chain downwards. `walk` makes it: each call of a layer is a
`Step`, every tensor an `Edge`. Layers in nested models are named "base/conv5", the second call of one "conv5:2".
"""

import difflib
from numbers import Integral
from typing import Any, NamedTuple

import keras

from deconv.graph import keras_model
from deconv.runtime import forks, keras_backend
from deconv.runtime.dtypes import check_shape

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
"""Layers that do nothing at inference. `RandomCrop` is none: its output has another shape."""

_COMPUTES = ("__call__", "call", "convolution_op", "_merge_function")
"""Methods that say what a layer computes; a subclass that replaces one computes something else."""


def kind(layer):
    """The Keras class by whose rule a layer goes: its own, or the one that its class names as `mirrored_as`.

    A layer class of any package can say so if it sees of its input, and leads signals down, what a Keras layer does:

        class LocalResponseNormalization(keras.layers.Layer):
            mirrored_as = keras.layers.Identity

    Only its own word counts, not that of a class above it: a subclass may compute something else.
    """
    return vars(type(layer)).get("mirrored_as", type(layer))


def computes_as(layer, classes) -> bool:
    """Whether a layer computes what one of some Keras classes does: its class, or one above it with the same `call`."""
    own = kind(layer)
    return any(
        issubclass(own, known) and all(getattr(own, name, None) is getattr(known, name, None) for name in _COMPUTES)
        for known in classes
    )


class Edge:
    """A tensor between two steps: its static `shape` without the batch, and its `dtype`."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = tuple(shape), dtype


class Step(NamedTuple):
    """One call of one layer."""

    name: str
    layer: keras.layers.Layer
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def output(self):
        return self.outputs[0]


class Graph(NamedTuple):
    """A model's steps in the order in which they can run."""

    name: str
    inputs: tuple[Edge, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Edge, ...] = ()
    layers: tuple[str, ...] = ()
    """The model's own layers in Keras's order, for those who count them."""
    aliases: dict[str, str] | None = None
    """The step that makes the output of each nested model."""


def walk(model, input_shape=None):
    """Lay a functional or Sequential model open, nested models included.

    Args:
        model: A built `keras.Model` with a graph.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.

    Returns:
        A `Graph`.

    Raises:
        ValueError: If the model has no graph, or a `call` of its own, or no fixed input size and none is given.
    """
    forks.check()
    inputs, outputs = keras_model.ends(model)
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
                f"Model '{model.name}' leaves its input size open: {tensor.shape[1:]}. "
                "Say which size to look at, for example input_shape=(224, 224, 3)."
            )
        edges[id(tensor)] = Edge(shape, tensor.dtype)
    graph_inputs = tuple(edges.values())
    model_graph = Graph(model.name, graph_inputs, [], (), tuple(layer.name for layer in model.layers), {})
    _append_steps(model, edges, "", model_graph, {}, resize=input_shape is not None)
    return model_graph._replace(steps=tuple(model_graph.steps), outputs=tuple(edges[id(tensor)] for tensor in outputs))


def find(graph, layer):
    """The step that is called `layer`: a name, a path, or an index into `model.layers`.

    Of a step with several outputs the first is meant; a keras.layers.Identity behind another gives it a name.

    Raises:
        ValueError: If there is none; the message names the nearest and lists all.
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
    near = difflib.get_close_matches(str(wanted), [*names, *aliases], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    if isinstance(layer, Integral):
        hint = " It is the input." + hint
    raise ValueError(f"Model '{graph.name}' has no layer {wanted!r}.{hint} Its layers are: {known}.")


def find_all(graph, layers):
    """The steps of one layer or of a sequence of them: `(layers as a list, steps)`."""
    layers = list(layers) if isinstance(layers, list | tuple | range) else [layers]
    if not layers:
        raise ValueError(f"Name at least one layer of model '{graph.name}'; received none.")
    return layers, [find(graph, layer) for layer in layers]


def below(graph, *tops):
    """The part of the graph that the steps `tops` need; the last of them comes last.

    Raises:
        ValueError: If they depend on more than one input of the model: there must be one image to go down to.
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
        raise ValueError(
            f"Layer {names} of model '{graph.name}' depends on {len(inputs)} inputs, and there must be one "
            "image to look at. Cut the model with keras.Model(inputs, outputs) so that one input is left."
        )
    return Graph(graph.name, inputs, tuple(reversed(steps)))


def with_edges(graph, edges):
    """The same steps between other edges, `{edge: its successor}` for all of the inputs and steps of a graph."""

    def moved(tree):
        return keras.tree.map_structure(lambda leaf: edges[leaf] if isinstance(leaf, Edge) else leaf, tree)

    steps = tuple(
        Step(step.name, step.layer, *map(moved, (step.inputs, step.outputs, step.args, step.kwargs)))
        for step in graph.steps
    )
    outputs = tuple(edges.get(edge, edge) for edge in graph.outputs)
    inputs = tuple(edges[edge] for edge in graph.inputs if edge in edges)
    return graph._replace(inputs=inputs, steps=steps, outputs=outputs)


def _append_steps(model, edges, path, model_graph, names, resize):
    """Append the steps of `model`; `edges` maps the ids of its tensors to edges and is filled on the way."""
    for node in keras_model.nodes(model):
        args, kwargs = keras.tree.map_structure(
            lambda leaf: edges[id(leaf)] if isinstance(leaf, keras.KerasTensor) else leaf,
            (tuple(node.arguments.args), dict(node.arguments.kwargs)),
        )
        inputs = tuple(edges[id(tensor)] for tensor in node.input_tensors)
        name = _unique(path + node.operation.name, names)
        if isinstance(node.operation, keras.Model) and keras_model.has_graph(node.operation):
            inner_inputs, inner_outputs = keras_model.ends(node.operation)
            inner = {id(tensor): edge for tensor, edge in zip(inner_inputs, inputs, strict=True)}
            _append_steps(node.operation, inner, name + "/", model_graph, names, resize)
            edges.update((id(tensor), inner[id(end)]) for tensor, end in zip(node.outputs, inner_outputs, strict=True))
            ends = [step.name for step in model_graph.steps if inner[id(inner_outputs[0])] in step.outputs]
            model_graph.aliases.update((name, end) for end in ends)
            continue
        shapes = [tensor.shape for tensor in node.outputs]
        if resize or any(None in shape[1:] for shape in shapes):
            shapes = _output_shapes(node, args, kwargs)
        outputs = tuple(Edge(shape[1:], tensor.dtype) for shape, tensor in zip(shapes, node.outputs, strict=True))
        edges.update((id(tensor), edge) for tensor, edge in zip(node.outputs, outputs, strict=True))
        model_graph.steps.append(Step(name, node.operation, inputs, outputs, args, kwargs))


def _output_shapes(node, args, kwargs):
    """Shapes for an input size that the model itself leaves open, the batch first."""
    args, kwargs = keras.tree.map_structure(
        lambda leaf: keras.KerasTensor((None, *leaf.shape), leaf.dtype) if isinstance(leaf, Edge) else leaf,
        (args, kwargs),
    )
    return [tensor.shape for tensor in keras.tree.flatten(node.operation.compute_output_spec(*args, **kwargs))]


def _unique(name, names):
    names[name] = names.get(name, 0) + 1
    return name if names[name] == 1 else f"{name}:{names[name]}"


def maker_of(model_graph, step):
    """The step that makes what `step` takes first; None if that is the image itself."""
    return next((maker for maker in model_graph.steps if step.inputs[0] in maker.outputs), None)
