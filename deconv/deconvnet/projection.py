"""Record, select, project: from an image up to a unit and back down to its pixels (section 2.1)."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.deconvnet.mirror import mirror_graph
from deconv.deconvnet.patch_projection import PatchMirror, has_patches
from deconv.deconvnet.recording import recorder
from deconv.deconvnet.rule_lookup import check_rules
from deconv.deconvnet.selection import check_positions, select
from deconv.graph.compilation import compile_function, version
from deconv.graph.keras_model import label
from deconv.ops.pooling import check_collisions
from deconv.runtime.dtypes import any_array
from deconv.runtime.short_repr import short_repr
from deconv.validation import (
    check_channels,
    check_finite,
    check_image_shape,
    check_images,
    check_numbers,
    check_positive,
)


class Patches(NamedTuple):
    """Projections of single units, cut to the receptive fields.

    Attributes:
        pictures: `(n, height, width, channels of the image)`, all of one size; zero outside of the image.
        windows: `(n, 4)` int64, the place of each in its image: top, left, bottom, right. It may reach outside.
    """

    pictures: np.ndarray
    windows: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


class Record(NamedTuple):
    """Results of a forward pass.

    Attributes:
        activations: `(n, rows, columns, channels)`, or `(n, channels)` for a dense layer; the output of the layer.
        switches: `{name of a max pooling: int32 array shaped like its output}`, from the top down, which is the order
            of the mirror's inputs after the first.
    """

    activations: np.ndarray
    switches: dict[str, np.ndarray]

    def __repr__(self) -> str:
        return short_repr(self)


class Deconvnet:
    """A model with a deconvnet attached to each of its layers.

    Computed in float32 on a GPU too: TF32 is off while a method computes (`deconv.runtime.devices`).

    Args:
        model: A functional or Sequential `keras.Model` that takes images. It is never changed; its weights are shared,
            so that projections follow when it is trained further. If its graph changes, by another layer or activation,
            `enable_lora` or `quantize`, the next call follows that too and compiles anew; a mirror that was handed out
            before stays what it was.
        collisions: What happens where overlapping pooling windows share a maximum (see `deconv.unpool`).
        rules: `{layer type or name: rule}` for layers that the package does not know (see `deconv.mirror`).
        input_shape: `(height, width, channels)` for a model that leaves its input size open.
        windowed: Whether single units are projected inside their windows, where that is less work; the pictures are the
            same up to rounding. False computes whole images, for comparison.

    Raises:
        ValueError: If the model has no graph to walk.
    """

    def __init__(self, model, *, collisions="sum", rules=None, input_shape=None, windowed=True):
        check_collisions(collisions)
        self.model, self.collisions, self.rules, self.windowed = model, collisions, rules, windowed
        self._input_shape = input_shape
        self._walk(version(model))

    def mirror(self, layer):
        """The deconvnet attached to `layer`, a `keras.Model`: see `deconv.mirror` for its inputs and output.

        Who calls it on a GPU says whether it may use TF32, as for any model.
        """
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
        return attached.record(check_images(images, image.shape, image.dtype))

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
        if not isinstance(unit, str) and any_array(unit).shape != (2,):
            raise ValueError(
                f"unit must be 'max', 'map' or a position (row, column) of ints; received {unit!r}. "
                "project_units takes a position for each image."
            )
        count = attached.step.output.shape[-1]
        channels = [None] if channel is None else check_channels(channel, count, attached.step.name)
        whole = isinstance(unit, str) and unit == "map"
        way = attached.patches if attached.patches and not whole else attached
        pictures = np.empty((len(images), len(channels), *image.shape), way.dtype)
        for first in range(0, len(images), batch_size):
            batch = images[first : first + batch_size]
            record = way.record(batch)
            for some in _pieces(np.arange(len(batch) * len(channels)), batch_size * way.units_per_image):
                numbers, places = np.divmod(some, len(channels))
                chosen = None if channel is None else channels[places]
                found = way.project(record, numbers, chosen, unit, start)
                pictures[first + numbers, places] = found if way is attached else way.whole(*found)
        return pictures if np.ndim(channel) else pictures[:, 0]

    def project_units(
        self,
        images,
        layer,
        channels,
        positions=None,
        *,
        numbers=None,
        start="activation",
        batch_size=32,
        patches=False,
    ):
        """Project single units, many of one image or one of each: the units that `top_activations` finds, in one call.

        Args:
            images: Float array `(m, height, width, channels)`, preprocessed as the model expects.
            layer: Name, path or index.
            channels: `(n,)` ints, the channel of each unit.
            positions: `(n, 2)` ints, row and column of each unit; None for the strongest.
            numbers: `(n,)` ints, in which of the images each unit is; None for one unit of each image, in their order.
            start: As in `project`.
            batch_size: How many images are computed at a time, and as many units as take no more memory.
            patches: Whether to return only the receptive field of each unit, which takes the least memory.

        Returns:
            Float array `(n, height, width, channels of the image)`, or `Patches`.

        Raises:
            ValueError: As `project`.
        """
        attached = self._attach(layer)
        image = attached.graph.inputs[0]
        images = check_images(images, image.shape, image.dtype)
        check_positive("batch_size", batch_size)
        channels = check_channels(channels, attached.step.output.shape[-1], attached.step.name)
        numbers = np.arange(len(images)) if numbers is None else check_numbers(numbers, len(images))
        if len(channels) != len(numbers) or (positions is not None and any_array(positions).shape != (len(numbers), 2)):
            raise ValueError(
                f"project_units takes a channel and a position for each image, or `numbers` that say which image each "
                f"unit is in; received {len(numbers)} images, {len(channels)} channels and positions of shape "
                f"{any_array(positions).shape}."
            )
        if positions is not None:
            positions = check_positions(positions, len(numbers), (attached.step.output.shape[:-1] * 2 or (1, 1))[:2])
        way = attached.patches or attached
        cut = patches and way is not attached
        if patches:
            check_image_shape("project_units with patches=True", attached.graph)
        shape = (*way.window.cells, image.shape[2]) if cut else image.shape
        pictures = np.empty((len(numbers), *shape), way.dtype)
        corners = np.zeros((len(numbers), 2), np.int64)
        distinct, numbers = np.unique(numbers, return_inverse=True)
        for batch in _pieces(np.arange(len(distinct)), batch_size):
            theirs = np.flatnonzero(np.isin(numbers, batch))
            near = images[distinct[batch]]
            record = None
            if positions is None or not way.prefers_windows(len(theirs), len(batch)):
                record = way.record(near)
            for some in _pieces(theirs, batch_size * way.units_per_image):
                where = "max" if positions is None else positions[some]
                mine = numbers[some] - batch[0]
                if record is None:
                    found = way.project_windows(near, mine, channels[some], where, start)
                else:
                    found = way.project(record, mine, channels[some], where, start)
                if way is not attached:
                    corners[some] = way.corners(found[1])
                    found = found[0] if cut else way.whole(*found)
                pictures[some] = found
        if not patches:
            return pictures
        return Patches(pictures, np.concatenate([corners, corners + pictures.shape[1:3]], axis=1))

    def _walk(self, now):
        """Take the model's graph as it is now."""
        self.graph = graph.walk(self.model, self._input_shape)
        check_rules(self.graph, self.rules)
        self._attached, self._version = {}, now

    def _attach(self, layer):
        now = version(self.model)
        if self._version != now:
            self._walk(now)
        step = graph.find(self.graph, layer)
        if step.name not in self._attached:
            self._attached[step.name] = _Attached(step, self)
        return self._attached[step.name]


def _pieces(numbers, size):
    """Numbers in pieces of at most `size`."""
    return [numbers[first : first + size] for first in range(0, len(numbers), size)]


class _Attached:
    """The deconvnet of one layer: its graph, its mirror, and both directions compiled, each traced once."""

    units_per_image = 1

    def __init__(self, step, net):
        self.step = step
        self.graph = graph.subgraph(net.graph, step)
        self.mirror = mirror_graph(self.graph, net.rules, net.collisions)
        self.dtype = self.mirror.outputs[0].dtype
        named = {label(pool.name): pool for pool in self.graph.steps}
        self.pools = [named[entry.name.removesuffix("_switches")] for entry in self.mirror.inputs[1:]]
        self._rules = net.rules
        self._has_patches = net.windowed and has_patches(self.graph, net.rules, net.collisions)

    @cached_property
    def patches(self):
        """The same inside the windows of units; None where that is more work, or cannot be."""
        return PatchMirror(self.graph, self.pools, self.dtype, self._rules) if self._has_patches else None

    @cached_property
    def _up(self):
        return recorder(self.graph, [self.step], self.pools)

    @cached_property
    def _down(self):
        signal, *switches = (tf.TensorSpec(entry.shape, entry.dtype) for entry in self.mirror.inputs)
        return compile_function(lambda signal, switches: self.mirror([signal, *switches]), signal, switches)

    def record(self, images):
        """The `Record` of a batch of images that have been checked."""
        (activations,), switches = self._up(images)
        activations = check_finite(activations.numpy(), self.step.name)
        names = [step.name for step in self.pools]
        return Record(activations, {name: seen.numpy() for name, seen in zip(names, switches, strict=True)})

    def prefers_windows(self, units, images):
        return False

    def project(self, record, numbers, channels, unit, start):
        """Units, each of one of the images of a record, down to whole images."""
        signal = select(record.activations[numbers], channels, unit, start=start)
        return self._down(signal, [seen[numbers] for seen in record.switches.values()]).numpy()
