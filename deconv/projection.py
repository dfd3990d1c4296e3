"""Record, select, project: from an image up to a unit and back down to its pixels (section 2.1)."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.inputs import check_channels, check_collisions, check_finite, check_images, check_positive
from deconv.mirror import mirror_graph
from deconv.recording import recorder, traced
from deconv.rules import check_rules, label


class Record(NamedTuple):
    """What the way up left behind.

    Attributes:
        activations: `(n, rows, columns, channels)`, or `(n, channels)` for a dense layer; the output of the layer.
        switches: `{name of a max pooling: int32 array shaped like its output}`, from the top down, which is the order
            of the mirror's inputs after the first.
    """

    activations: np.ndarray
    switches: dict[str, np.ndarray]


class Deconvnet:
    """A model with a deconvnet attached to each of its layers.

    Args:
        model: A functional or Sequential `keras.Model` that takes images. It is never changed; its weights are shared,
            so that projections follow when it is trained further.
        collisions: What happens where overlapping pooling windows share a maximum (see `deconv.unpool`).
        rules: `{layer type or name: rule}` for layers that the package does not know (see `deconv.mirror`).
        input_shape: `(height, width, channels)` for a model that leaves its input size open.

    Raises:
        ValueError: If the model has no graph to walk.
    """

    def __init__(self, model, *, collisions="sum", rules=None, input_shape=None):
        check_collisions(collisions)
        self.model, self.collisions, self.rules = model, collisions, rules
        self.graph = graph.walk(model, input_shape)
        check_rules(self.graph, rules)
        self._attached = {}

    def mirror(self, layer):
        """The deconvnet attached to `layer`, a `keras.Model`: see `deconv.mirror` for its inputs and output."""
        return self._attach(layer).mirror

    def record(self, images, layer):
        """Run the model up to `layer` and keep the switches.

        Args:
            images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
            layer: Name, path or index.

        Returns:
            A `Record`. `mirror(layer).predict([signal, *record.switches.values()])` leads any signal down.
        """
        attached = self._attach(layer)
        image = attached.graph.inputs[0]
        return attached.take(check_images(images, image.shape, image.dtype))

    def project(self, images, layer, channel=None, unit="max", *, start="activation", batch_size=32):
        """Project activations of a layer down to pixels.

        Args:
            images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
            layer: Name, path or index of the layer to start from; dense layers are layers of one position.
            channel: One channel; or a sequence, each projected for each image; or None for all channels as one.
            unit: What is left of the channel when all else is set to zero: `"max"`, its strongest unit in each image
                (the first in row-major order if several are equal); a position `(row, column)`; or `"map"`, all of it.
            start: `"activation"` sends the activation itself down, as the paper does; `"one"` sends 1 instead, which
                for one unit changes only the scale.
            batch_size: How many images, and how many projections, are computed at a time.

        Returns:
            Float array `(n, height, width, channels of the image)`, or `(n, len(channel), height, width, ...)` for a
            sequence. Signed: what is positive excites the unit, zero has no part in it.

        Raises:
            ValueError: If layer, channel, position or images do not fit the model; the message names what does.
        """
        attached = self._attach(layer)
        image = attached.graph.inputs[0]
        images = check_images(images, image.shape, image.dtype)
        check_positive("batch_size", batch_size)
        if not isinstance(unit, str) and np.shape(unit) != (2,):
            raise ValueError(
                f"unit must be 'max', 'map' or a position (row, column) of ints; received {unit!r}. "
                "project_units takes a position for each image."
            )
        count = attached.step.output.shape[-1]
        channels = [None] if channel is None else check_channels(channel, count, attached.step.name)
        pictures = np.empty((len(images), len(channels), *image.shape), attached.mirror.outputs[0].dtype)
        for first in range(0, len(images), batch_size):
            record = attached.take(images[first : first + batch_size])
            units = [(number, place) for number in range(len(record.activations)) for place in range(len(channels))]
            for chunk in range(0, len(units), batch_size):
                numbers, places = map(np.array, zip(*units[chunk : chunk + batch_size], strict=True))
                signal = select(
                    record.activations[numbers],
                    None if channel is None else channels[places],
                    unit,
                    start=start,
                )
                switches = [seen[numbers] for seen in record.switches.values()]
                pictures[first + numbers, places] = attached.project(signal, switches).numpy()
        return pictures if np.ndim(channel) else pictures[:, 0]

    def project_units(self, images, layer, channels, positions=None, *, start="activation", batch_size=32):
        """Project one unit of each image: the pairs that `top_activations` finds, in one call.

        Args:
            images: Float array `(n, height, width, channels)`.
            layer: Name, path or index.
            channels: `(n,)` ints, the channel of each image.
            positions: `(n, 2)` ints, row and column of each unit; None for the strongest.
            start, batch_size: As in `project`.

        Returns:
            Float array `(n, height, width, channels of the image)`.
        """
        attached = self._attach(layer)
        image = attached.graph.inputs[0]
        images = check_images(images, image.shape, image.dtype)
        channels = check_channels(channels, attached.step.output.shape[-1], attached.step.name)
        if len(channels) != len(images) or (positions is not None and np.shape(positions) != (len(images), 2)):
            raise ValueError(
                f"project_units takes a channel and a position for each image; received {len(images)} images, "
                f"{len(channels)} channels and positions of shape {np.shape(positions)}."
            )
        pictures = np.empty(images.shape, attached.mirror.outputs[0].dtype)
        for first in range(0, len(images), check_positive("batch_size", batch_size)):
            part = slice(first, first + batch_size)
            record = attached.take(images[part])
            unit = "max" if positions is None else np.asarray(positions)[part]
            signal = select(record.activations, channels[part], unit, start=start)
            pictures[part] = attached.project(signal, list(record.switches.values())).numpy()
        return pictures

    def _attach(self, layer):
        step = graph.find(self.graph, layer)
        if step.name not in self._attached:
            self._attached[step.name] = _Attached(step, self)
        return self._attached[step.name]


def select(activations, channel=None, unit="max", *, start="activation"):
    """Set all other activations to zero.

    Args:
        activations: `(n, rows, columns, channels)` or `(n, channels)`.
        channel: One channel for all images, `(n,)` ints for one each, or None for all channels.
        unit: `"max"`, `"map"`, a position `(row, column)`, or `(n, 2)` ints for one each (see `Deconvnet.project`).
        start: `"activation"` or `"one"`, the value of what is left.

    Returns:
        Array shaped like `activations`.

    Raises:
        ValueError: If `unit` or `start` is unknown, or a position lies outside the map.
    """
    if start not in ("activation", "one"):
        raise ValueError(f"start must be 'activation' or 'one'; received {start!r}.")
    space = activations.shape[1:-1]
    maps = activations.reshape(len(activations), *(1,) * (2 - len(space)), *space, activations.shape[-1])
    count, rows, columns, depth = maps.shape
    keep = np.ones(maps.shape, bool)
    if channel is not None:
        channel = check_channels(channel, depth, "of the activations given")
        keep &= np.arange(depth) == np.reshape(channel, (-1, 1, 1, 1))
    if isinstance(unit, str) and unit == "max":
        strongest = np.where(keep, maps, -np.inf).reshape(count, -1).argmax(axis=1)
        keep = np.arange(maps[0].size).reshape(maps.shape[1:]) == strongest[:, None, None, None]
    elif not (isinstance(unit, str) and unit == "map"):
        row, column = _positions(unit, count, rows, columns)
        keep &= (np.arange(rows) == row[:, None])[:, :, None, None]
        keep &= (np.arange(columns) == column[:, None])[:, None, :, None]
    value = maps if start == "activation" else np.ones_like(maps)
    return np.where(keep, value, 0).astype(activations.dtype).reshape(activations.shape)


def _positions(unit, count, rows, columns):
    try:
        positions = np.broadcast_to(np.asarray(unit), (count, 2))
    except ValueError:
        positions = np.empty(0)
    if not np.issubdtype(positions.dtype, np.integer):
        raise ValueError(f"unit must be 'max', 'map' or a position (row, column) of ints; received {unit!r}.")
    if (positions < 0).any() or (positions >= (rows, columns)).any():
        raise ValueError(
            f"The map has rows 0 to {rows - 1} and columns 0 to {columns - 1}; received position {unit!r}."
        )
    return positions[:, 0], positions[:, 1]


class _Attached:
    """The deconvnet of one layer: its graph, its mirror, and both directions compiled, each traced once."""

    def __init__(self, step, net):
        self.step = step
        self.graph = graph.below(net.graph, step)
        self.mirror = mirror_graph(self.graph, net.rules, net.collisions)
        named = {label(pool.name): pool for pool in self.graph.steps}
        self.pools = [named[entry.name.removesuffix("_switches")] for entry in self.mirror.inputs[1:]]
        self.record = recorder(self.graph, [step], self.pools)
        signal, *switches = (tf.TensorSpec(entry.shape, entry.dtype) for entry in self.mirror.inputs)

        def project(signal, switches):
            return self.mirror([signal, *switches])

        self.project = traced(project, signal, switches)

    def take(self, images):
        """The `Record` of a batch of images that have been checked."""
        (activations,), switches = self.record(images)
        activations = check_finite(activations.numpy(), self.step.name)
        names = [step.name for step in self.pools]
        return Record(activations, {name: seen.numpy() for name, seen in zip(names, switches, strict=True)})
