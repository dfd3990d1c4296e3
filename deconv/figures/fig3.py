"""Fig. 3: the architecture of a network, drawn from the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import keras

from deconv import graph
from deconv.figures.picture import Picture, Table
from deconv.figures.published_results import Finding
from deconv.figures.subject import Subject
from deconv.graph.model_graph import Graph, Step
from deconv.graph.receptive_field import receptive_fields_below
from deconv.plotting.architecture import architecture_sheet

_PAPER = [(110, 110, 96), (55, 55, 96), (26, 26, 256), (13, 13, 256), (13, 13, 384), (13, 13, 384), (13, 13, 256)]
_PAPER += [(6, 6, 256)]
"""Shapes of the activation maps of the paper's network before its dense layers."""
_MOST = 60
_ACTIVATIONS = {"relu": "ReLU", "softmax": "softmax", "relu6": "ReLU6", "tanh": "tanh", "sigmoid": "sigmoid"}


class Stage(NamedTuple):
    """A layer with weights and the following layers up to the next layer with weights.

    Attributes:
        name: Name of the layer.
        what: Description of the layer: `"96 filters 7×7, stride 2"`.
        followers: `(description, output shape)` of the following layers that change the values, such as pooling.
        shape: Output shape of the layer, without the batch dimension.
        parameters: Number of weights of the stage.
        sees: Height and width in pixels of the receptive field of a unit at the end of the stage; None if it is the
            whole image.
        every: Vertical and horizontal distance in pixels between the receptive fields of neighbouring units; None if
            they cover the whole image.
    """

    name: str
    what: str
    followers: list[tuple[str, tuple[int, ...]]]
    shape: tuple[int, ...]
    parameters: int
    sees: tuple[int, int] | None
    every: tuple[int, int] | None

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Output shapes of the stage in order, without consecutive duplicates."""
        shapes = [self.shape]
        for _, shape in self.followers:
            if shape != shapes[-1]:
                shapes.append(shape)
        return shapes


def architecture(model: keras.Model) -> tuple[tuple[int, ...], list[Stage]]:
    """Split a model into stages, in execution order.

    Args:
        model: A functional or Sequential `keras.Model`.

    Returns:
        `(shape of the image, list of Stage)`.
    """
    model_graph = graph.walk(model)
    groups: list[list[Step]] = []
    for step in model_graph.steps:
        if _has_filters(step) or not groups:
            groups.append([])
        groups[-1].append(step)
    return model_graph.inputs[0].shape, [
        _stage(model_graph, steps) for steps in groups if any(map(_description, steps))
    ]


def architecture_pictures(subject: Subject) -> Iterator[Picture]:
    """Draw Fig. 3 and its table; nothing for a network with too many stages or none."""
    image, stages = architecture(subject.model)
    if not stages or len(stages) > _MOST:
        return
    total = subject.model.count_params()
    title = f"The architecture of {subject.model.name}: {total:,} parameters"
    caption = (
        "After the paper's Fig. 3, drawn from the model. Each block stands for the maps of a layer: its height for "
        "their side length and its width for their number, both on a logarithmic scale; dense layers are bars. Below "
        "each block: its operations, the receptive field of a unit ('sees' in the table) and the distance in pixels "
        "between the receptive fields of neighbouring units ('every')."
    )
    columns = ["layer", "what", "output", "parameters", "sees", "every"]
    rows = [
        [
            stage.name,
            ", ".join([stage.what, *(what for what, _ in stage.followers)]),
            " → ".join("×".join(map(str, shape)) for shape in stage.shapes),
            stage.parameters,
            "all" if stage.sees is None else "×".join(map(str, stage.sees)),
            "" if stage.every is None else "×".join(map(str, stage.every)),
        ]
        for stage in stages
    ]
    shapes = [shape for stage in stages for shape in stage.shapes if len(shape) == 3]
    criterion = "the maps have the sizes and numbers of the paper's, for an image of 224 pixels"
    measured = ", ".join("×".join(map(str, shape)) for shape in shapes)
    same = shapes == _PAPER if image[:2] == (224, 224) else None
    if same is None:
        measured = f"this network takes {image[0]}×{image[1]} pixels; its maps: {measured}"
    figure = architecture_sheet(image, stages, title)
    numbers = {"image": image, "parameters": total, "stages": [stage._asdict() for stage in stages]}
    findings = [Finding("fig3-sizes", same, criterion, measured)]
    table = Table(title, columns, rows)
    yield Picture(
        name="fig3_architecture",
        title=title,
        caption=caption,
        figure=figure,
        numbers=numbers,
        findings=findings,
        tables=[table],
    )


def _stage(model_graph: Graph, steps: Sequence[Step]) -> Stage:
    described = [(step, what) for step in steps if (what := _description(step))]
    (first, what), others = described[0], described[1:]
    last = next((step for step in reversed(steps) if len(step.output.shape) == 3), first)
    field = receptive_fields_below(graph.subgraph(model_graph, last)).get(model_graph.inputs[0])
    return Stage(
        name=first.name,
        what=what,
        followers=[(name, step.output.shape) for step, name in others],
        shape=first.output.shape,
        parameters=sum(math.prod(weight.shape) for step in steps for weight in step.layer.weights),
        sees=None if field is None else field.cells,
        every=None if field is None else field.strides,
    )


def _has_filters(step: Step) -> bool:
    return isinstance(step.layer, keras.layers.Dense | keras.layers.Conv2D | keras.layers.DepthwiseConv2D)


def _description(step: Step) -> str:
    """Description of a layer; an empty text for layers that only pass on or reshape their input."""
    layer = step.layer
    activation = _ACTIVATIONS.get(getattr(getattr(layer, "activation", None), "__name__", ""), "")
    if isinstance(layer, keras.layers.Dense):
        return _joined(f"{layer.units} units", activation)
    if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
        count = getattr(layer, "groups", 1)
        filters = f"{step.output.shape[-1]} filters {_by(layer.kernel_size)}"
        return _joined(filters, f"{count} groups" if count > 1 else "", _stride(layer), activation)
    if isinstance(layer, keras.layers.MaxPooling2D | keras.layers.AveragePooling2D):
        kind = "max" if isinstance(layer, keras.layers.MaxPooling2D) else "mean"
        return _joined(f"{kind} {_by(layer.pool_size)}", _stride(layer))
    if type(layer).__name__ == "LocalResponseNormalization":
        return "contrast norm"
    if isinstance(layer, keras.layers.ReLU | keras.layers.Activation | keras.layers.Softmax):
        return activation or type(layer).__name__
    if isinstance(layer, keras.layers.Dropout):
        return f"dropout {layer.rate:g}"
    if isinstance(layer, (keras.layers.Flatten, keras.layers.InputLayer, keras.layers.ZeroPadding2D, *graph.IDLE)):
        return ""
    return type(layer).__name__


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))


def _by(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


def _stride(layer: keras.layers.Layer) -> str:
    rows, columns = layer.strides
    if (rows, columns) == (1, 1):
        return ""
    return f"stride {rows}" if rows == columns else f"strides {rows}, {columns}"
