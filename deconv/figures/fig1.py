"""Fig. 1: a convnet and the attached deconvnet, drawn from a model with its computed activation maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from deconv import graph
from deconv.deconvnet.layers import Rectify, TransposeConv, Unpool
from deconv.deconvnet.mirrorable import why_not
from deconv.deconvnet.projection import Deconvnet
from deconv.deconvnet.recording import POOLS, activations
from deconv.deconvnet.selection import select
from deconv.figures.picture import Picture
from deconv.figures.subject import Subject
from deconv.graph.keras_model import label
from deconv.graph.model_graph import producer_of
from deconv.graph.receptive_field import windows_below
from deconv.plotting import scheme, unpooling


class Scheme(NamedTuple):
    """Stages `(text, map)` of convnet and deconvnet, the pairs of stages that share switches, and the channel."""

    up: list[tuple[str, np.ndarray]]
    down: list[tuple[str, np.ndarray]]
    links: list[tuple[int, int]]
    channel: int


def scheme_data(model: keras.Model, image: np.ndarray, layer: str) -> Scheme:
    """Compute one activation map per stage of the forward pass to `layer` and of the projection of its strongest unit.

    Args:
        model: A functional or Sequential `keras.Model`.
        image: `(height, width, channels)`, preprocessed.
        layer: Name of the layer whose strongest unit is projected.

    Returns:
        `Scheme`.
    """
    net = Deconvnet(model)
    model_graph = graph.subgraph(net.graph, graph.find(net.graph, layer))
    recorded = activations(model, image[None], [step.name for step in model_graph.steps])
    record = net.record(image[None], layer)
    signal = select(record.activations)
    unit, channel = _strongest(signal[0])

    up = [(f"image\n{_size(image)}", image.mean(axis=-1))]
    switch_stage: dict[str, int] = {}
    for step in model_graph.steps:
        maps, number = _strongest(recorded[step.name][0])
        switch_stage[label(step.name)] = len(up)
        up.append((f"{step.name}: {_operation(step.layer)}\n{_size(recorded[step.name][0])}, channel {number}", maps))

    mirror = net.mirror(layer)
    stages = [mirror_layer for mirror_layer in mirror.layers if not isinstance(mirror_layer, keras.layers.InputLayer)]
    outputs = [keras.tree.flatten(mirror_layer.output)[0] for mirror_layer in stages]
    signals = keras.Model(mirror.inputs, outputs)([signal, *record.switches.values()], training=False)
    first = f"{layer}: one unit, all others zero\n{_size(signal[0])}, channel {channel}"
    down = [(first, unit)]
    links: list[tuple[int, int]] = []
    for mirror_layer, output in zip(stages, keras.tree.flatten(signals), strict=True):
        maps, number = _strongest(output.numpy()[0])
        if isinstance(mirror_layer, Unpool):
            links.append((switch_stage[mirror_layer.name.removesuffix("_unpool")], len(down)))
        down.append((f"{mirror_layer.name}: {_operation(mirror_layer)}\n{_size(output[0])}, channel {number}", maps))
    return Scheme(up, down, links, channel)


def scheme_pictures(subject: Subject) -> Iterator[Picture]:
    """Draw the scheme and the unpooling of Fig. 1 for the last max pooling; nothing if it has no deconvnet."""
    if not subject.pools():
        return
    layer = subject.pools()[-1]
    if why_not(Deconvnet(subject.model), layer):
        return
    images, labels, ids = subject.examples()
    number = int(np.random.default_rng(subject.seed).integers(len(images)))
    stages = scheme_data(subject.model, subject.prepared(images[number : number + 1])[0], layer)
    name = subject.data.class_names[labels[number]]
    title = f"Deconvnet attached to {layer} of {subject.model.name}, applied to an image of class {name}"
    caption = (
        "After the paper's Fig. 1, drawn from the model. Right, upwards: the convnet. Left, downwards: the deconvnet, "
        "which projects the strongest unit only. Max unpooling places the signal at the positions of the switches, "
        "rectification sets negative values to zero, and the transposed filters propagate the signal to the layer "
        "below. Each box shows the channel with the largest magnitude, on its own scale; the image is the mean of its "
        "channels. Signals on the left are signed; grey is zero."
    )
    figure = scheme(stages.up, stages.down, stages.links, title)
    numbers = {"layer": layer, "channel": stages.channel, "image_id": ids[number], "label": labels[number]}
    numbers["stages_up"], numbers["stages_down"] = [text for text, _ in stages.up], [text for text, _ in stages.down]
    yield Picture(name="fig1_scheme", title=title, caption=caption, figure=figure, numbers=numbers)

    pool = subject.pools()[0]
    parts, channel = unpooling_data(subject.model, subject.prepared(images[number : number + 1])[0], pool)
    title = f"Unpooling with switches: a part of channel {channel} at {pool} of {subject.model.name}"
    caption = (
        "After the bottom of the paper's Fig. 1, with the values of a computed map. Pooling keeps the largest value of "
        "each zone, the switches store its position, and unpooling restores it there; all other values become zero."
    )
    names = ("map", "switches", "pooled", "unpooled", "zones")
    numbers = {"pool": pool, "channel": channel, "image_id": ids[number], **dict(zip(names, parts, strict=True))}
    yield Picture(name="fig1_unpooling", title=title, caption=caption, figure=unpooling(*parts, title), numbers=numbers)


def unpooling_data(
    model: keras.Model, image: np.ndarray, pool: str, cells: int = 4
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], int]:
    """Pool and unpool the part of a feature map around its strongest unit.

    Args:
        model: A functional or Sequential `keras.Model`.
        image: `(height, width, channels)`, preprocessed.
        pool: Name of a max pooling layer.
        cells: Number of rows and columns of the pooled map to show.

    Returns:
        `((maps, switches, pooled, unpooled, zones), channel)`; the first as expected by `deconv.plotting.unpooling`.
    """
    net = Deconvnet(model)
    step = graph.find(net.graph, pool)
    producer = producer_of(net.graph, step)
    if producer is None:
        raise ValueError(f"{pool} pools the image itself; expected a max pooling of the maps of a layer.")
    before = producer.name
    record = net.record(image[None], pool)
    channel = int(record.activations[0].max(axis=(0, 1)).argmax())
    sides = activations(model, image[None], before)[before], record.activations, record.switches[pool]
    maps, pooled, switches = (side[0, ..., channel] for side in sides)
    middle = np.unravel_index(pooled.argmax(), pooled.shape)
    first = np.clip(np.array(middle) - cells // 2, 0, np.maximum(np.array(pooled.shape) - cells, 0))
    offsets = [(row, column) for row in range(cells) for column in range(cells)]
    places = np.minimum(first + offsets, np.array(pooled.shape) - 1)
    windows = windows_below(net.graph._replace(steps=(step,)), places)[step.inputs[0]]
    (top, left), (bottom, right) = windows[:, :2].min(axis=0), windows[:, 2:].max(axis=0)
    part, chosen = maps[top:bottom, left:right], tuple(places.T)
    row, column = np.divmod(switches[chosen], maps.shape[1])
    unpooled = np.zeros_like(part)
    np.add.at(unpooled, (row - top, column - left), pooled[chosen])
    part_switches = ((row - top) * part.shape[1] + column - left).reshape(cells, cells)
    zones = windows - [top, left, top, left]
    return (part, part_switches, pooled[chosen].reshape(cells, cells), unpooled, zones), channel


def _strongest(maps: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the channel with the largest magnitude as `(rows, columns)`, and its number."""
    maps = maps if maps.ndim == 3 else maps.reshape(1, -1, maps.shape[-1])
    number = int(np.abs(maps).reshape(-1, maps.shape[-1]).max(axis=0).argmax())
    return maps[..., number], number


def _operation(layer: keras.layers.Layer) -> str:
    """Description of a layer of the convnet or of the deconvnet."""
    if isinstance(layer, Unpool):
        return "max unpooling"
    if isinstance(layer, Rectify):
        return "rectification"
    if isinstance(layer, TransposeConv):
        return "transposed filters"
    if isinstance(layer, POOLS):
        return "max pooling"
    if issubclass(graph.kind(layer), graph.IDLE):
        return "idle" if isinstance(layer, graph.IDLE) else "idle on the way down"
    if isinstance(layer, keras.layers.Conv2D):
        rows, columns = layer.kernel_size
        return f"{layer.filters} filters {rows}×{columns}, rectified"
    return type(layer).__name__


def _size(maps: Any) -> str:
    return "×".join(str(size) for size in maps.shape)
