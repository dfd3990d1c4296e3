"""Projection inside the window: outside it the projection is zero and is not computed.

The arithmetic is that of `windows.py`. On the way down every signal is a window of its map, as large as the unit's
window there and at a place of its own for each unit; filters and pools are transposed without padding, and what falls
outside of the map, where the model pads, is dropped. Switches come from whole maps, if many units share an image, or
from the windows of the way up alone, if that is less work.
"""

import keras
import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.deconvnet.layers import Unpool
from deconv.deconvnet.recording import recorder
from deconv.deconvnet.rule_lookup import BUILT_IN, mirror_layers_of, rule_of
from deconv.deconvnet.rules import RULES
from deconv.deconvnet.selection import check_start, locate, only
from deconv.graph import windowed_layers
from deconv.graph.compilation import compile_function
from deconv.graph.cost import cost
from deconv.graph.layer_receptive_field import ONE
from deconv.graph.receptive_field import receptive_fields, receptive_fields_below
from deconv.ops import crops, pooling
from deconv.validation import check_finite


class PatchMirror:
    """The deconvnet of one layer for single units, each inside its own window.

    Args:
        model_graph: A `Graph` whose last step `has_patches`.
        pools: Its max poolings.
        dtype: Of the projections.
        rules: Those of the user.

    Attributes:
        window: `Reach` of a unit in the image.
        units_per_image: How many units take as much memory as one image.
    """

    def __init__(self, model_graph, pools, dtype, rules=None):
        self._table = {**RULES, **(rules or {})}
        self.graph, self.receptive_fields, self.dtype = model_graph, receptive_fields_below(model_graph), dtype
        self.image, self.top = model_graph.inputs[0], model_graph.steps[-1]
        self.window = self.receptive_fields[self.image]
        self._share = window_share(model_graph)
        self.units_per_image = min(max(int(1 / self._share), 1), 4)  # more at once only leave the cache
        self._pools = [pool.name for pool in pools]
        self._mirror_layers = {step.name: self._mirror_layers_of(step) for step in model_graph.steps}
        self._record = recorder(model_graph, [self.top], pools)
        count, depth = None, self.top.output.shape[-1]
        images = tf.TensorSpec((None, *self.image.shape), self.image.dtype)
        numbers, places = tf.TensorSpec([count], tf.int32), tf.TensorSpec([count, 2], tf.int32)
        start = tf.TensorSpec([count, depth], self.top.output.dtype)
        offsets = [tf.TensorSpec((None, *pool.output.shape), tf.int32) for pool in pools]
        parts = [self.receptive_fields[pool.output].cells for pool in pools]
        cut = [
            tf.TensorSpec((None, *part, spec.shape[-1]), tf.int32) for part, spec in zip(parts, offsets, strict=True)
        ]
        self._offsets = compile_function(self._offsets_of, [tf.TensorSpec(spec.shape, tf.int32) for spec in offsets])
        self._up = compile_function(self._up_windows, images, numbers, places)
        self._down_from_maps = compile_function(self._cut_and_down, start, places, numbers, offsets)
        self._down_from_windows = compile_function(self._down, start, places, cut)
        patches = tf.TensorSpec((None, *self.window.cells, self.image.shape[-1]), dtype)
        self._whole = compile_function(self._put_in_place, patches, places)

    def record(self, images):
        """Whole maps of a batch of images: `(activations, offsets)`, for `project`."""
        (activations,), switches = self._record(images)
        return check_finite(activations.numpy(), self.top.name), self._offsets(switches) if switches else []

    def prefers_windows(self, units, images):
        """Whether going up through the windows of so many units is less work than through so many whole images."""
        return units * self._share < images

    def project(self, record, numbers, channels, unit, start):
        """Units of recorded images down to their patches.

        Args:
            record: From `record`.
            numbers: `(n,)` ints, which of the recorded images each unit is in.
            channels, unit, start: As for `selection.locate`.

        Returns:
            Array `(n, height, width, channels of the image)`, zero outside of the image; the positions `(n, 2)`.
        """
        activations, offsets = record
        values, positions = locate(activations, numbers, channels, unit, start=start)
        places, numbers = positions.astype(np.int32), numbers.astype(np.int32)
        return self._down_from_maps(values, places, numbers, offsets).numpy(), positions

    def project_windows(self, images, numbers, channels, positions, start):
        """The same without whole maps, for units whose positions are known."""
        check_start(start)
        places = positions.astype(np.int32)
        activations, offsets = self._up(images, numbers.astype(np.int32), places)
        values = only(check_finite(activations.numpy(), self.top.name), channels, start)
        return self._down_from_windows(values, places, offsets).numpy(), positions

    def whole(self, patches, positions):
        """Patches in their places in images that are zero elsewhere."""
        return self._whole(patches, positions.astype(np.int32)).numpy()

    def corners(self, positions):
        """Row and column of the image at which the patch of each position begins; it may lie outside."""
        return np.asarray(positions) * self.window.strides - self.window.before

    def _up_windows(self, images, numbers, positions):
        """The way up through the windows of units: their `(activations, offsets)`."""
        offsets = {}

        def call(step, *args, **kwargs):
            edges = iter(zip(step.inputs, receptive_fields(step), strict=True))
            above = self.receptive_fields[step.output]

            def with_border(leaf):
                if not tf.is_tensor(leaf):
                    return leaf
                edge, field = next(edges)
                return self._part(leaf, edge, above.composed_with(field), positions, windowed_layers.outside(step))

            args, kwargs = keras.tree.map_structure(with_border, (args, kwargs))
            if step.name not in self._pools:
                return windowed_layers.call(step, *args, **kwargs)
            pooled, winners = pooling.max_pool_with_argmax(args[0], step.layer.pool_size, step.layer.strides)
            offsets[step.name] = _offset(winners, step.layer.pool_size[1], args[0].shape[2])
            return pooled

        start = crops.cut(images, numbers, self._corners(self.image, positions), self.window.cells)
        start = tf.ensure_shape(start, (None, *self.window.cells, self.image.shape[-1]))
        activations = graph.run(self.graph, start, call)[self.top.output]
        return activations[:, 0, 0], [offsets[name] for name in self._pools]

    def _part(self, maps, edge, part, positions, outside):
        """Of the window of an edge the part that one step needs, what is outside of the map blanked."""
        (row, column), (rows, columns) = np.subtract(self.receptive_fields[edge].before, part.before), part.cells
        maps = maps[:, row : row + rows, column : column + columns]
        if outside is None:
            return maps
        return crops.blank(maps, positions * part.strides - part.before, edge.shape, outside)

    def _offsets_of(self, switches):
        """Switches of whole maps as distances, in the windows of a unit, from the first cell of each pooling window."""
        found = []
        for name, seen in zip(self._pools, switches, strict=True):
            step = graph.find(self.graph, name)
            (field,) = receptive_fields(step)
            rows, columns = step.output.shape[:2]
            width = step.inputs[0].shape[1]
            first = [np.arange(size) * stride for size, stride in zip((rows, columns), field.strides, strict=True)]
            row = seen // width - (first[0] - field.before[0])[:, None, None]
            column = seen % width - (first[1] - field.before[1])[:, None]
            found.append(row * self.receptive_fields[step.output].composed_with(field).cells[1] + column)
        return found

    def _cut_and_down(self, start, positions, numbers, offsets):
        steps = [graph.find(self.graph, name) for name in self._pools]
        return self._down(
            start,
            positions,
            [
                crops.cut(
                    seen, numbers, self._corners(step.output, positions), self.receptive_fields[step.output].cells
                )
                for step, seen in zip(steps, offsets, strict=True)
            ],
        )

    def _down(self, start, positions, offsets):
        offsets = dict(zip(self._pools, offsets, strict=True))
        arrived = {self.top.output: [(start[:, None, None], ONE)]}
        for step in reversed(self.graph.steps):
            signal = self._sum(step.output, arrived.pop(step.output), positions)
            above = self.receptive_fields[step.output]
            for mirror_layer in self._mirror_layers[step.name]:
                signal = (
                    self._unpool(mirror_layer, step, signal, offsets)
                    if isinstance(mirror_layer, Unpool)
                    else mirror_layer(signal)
                )
            branches = signal if isinstance(signal, list) else [signal]
            for edge, field, branch in zip(step.inputs, receptive_fields(step), branches, strict=True):
                arrived.setdefault(edge, []).append((branch, above.composed_with(field)))
        return self._sum(self.image, arrived[self.image], positions)

    def _sum(self, edge, branches, positions):
        """What comes down the branches of a fork, each in its own window, added up in the window of the edge."""
        whole, signals = self.receptive_fields[edge], []
        for signal, part in branches:
            before = np.subtract(whole.before, part.before)
            after = np.subtract(whole.cells, part.cells) - before
            borders = [[0, 0], *zip(before, after, strict=True), [0, 0]]
            signal = tf.ensure_shape(signal, (None, *part.cells, edge.shape[-1]))
            signals.append(tf.pad(signal, borders) if before.any() or after.any() else signal)
        signal = signals[0] if len(signals) == 1 else tf.add_n(signals)
        takers = [step for step in self.graph.steps if edge in step.inputs]
        if all(windowed_layers.outside(step) is None for step in takers):
            return signal
        return crops.blank(signal, self._corners(edge, positions), edge.shape)

    def _unpool(self, mirror_layer, step, signal, offsets):
        height, width, _ = mirror_layer.target_shape
        starts = zip(signal.shape[1:3], step.layer.strides, strict=True)
        rows, columns = (np.arange(size) * stride for size, stride in starts)
        first = (rows[:, None] * width + columns)[..., None].astype(np.int32)
        # Where the window leaves the map the signal is zero, and what stands for a place there means nothing.
        places = tf.clip_by_value(offsets[step.name] + first, 0, height * width - 1)
        return pooling.scatter(
            signal, places, mirror_layer.target_shape, pooling.Windows(step.layer.pool_size, step.layer.strides)
        )

    def _put_in_place(self, patches, positions):
        corners = -self._corners(self.image, positions)
        images = crops.cut(patches, tf.range(tf.shape(patches)[0]), corners, self.image.shape[:2])
        return crops.blank(images, corners, self.window.cells)

    def _corners(self, edge, positions):
        field = self.receptive_fields[edge]
        return positions * field.strides - field.before

    def _mirror_layers_of(self, step):
        """The mirror layers, for windows: without padding, since the windows have their border."""
        above = self.receptive_fields[step.output]
        shapes = [
            graph.Edge((*above.composed_with(field).cells, edge.shape[-1]), edge.dtype)
            for edge, field in zip(step.inputs, receptive_fields(step), strict=True)
        ]
        top = graph.Edge((*above.cells, step.output.shape[-1]), step.output.dtype)
        mirror_layers = mirror_layers_of(step._replace(inputs=tuple(shapes), outputs=(top,)), self._table)
        for mirror_layer in mirror_layers:
            if hasattr(mirror_layer, "padding"):
                mirror_layer.padding = "valid"
        return [
            mirror_layer
            for mirror_layer in mirror_layers
            if not isinstance(mirror_layer, keras.layers.Cropping2D | keras.layers.ZeroPadding2D)
        ]


def has_patches(model_graph, rules, collisions):
    """Whether single units of the last step can be projected inside their windows, and that is less work.

    Not if a layer on the way sees everything, as a dense one; nor with a rule of the user's own, which may lead signals
    anywhere; nor if colliding values are not summed.
    """
    found = receptive_fields_below(model_graph)
    if collisions != "sum" or not found or None in found.values():
        return False
    if not all(
        windowed_layers.is_translation_equivariant(step) and _is_ours(step, rules) for step in model_graph.steps
    ):
        return False
    return window_share(model_graph) < 0.9


def window_share(model_graph):
    """Work for the windows of one unit of the last step as a share of the work for whole maps."""
    found = receptive_fields_below(model_graph)
    windows = sum(cost(step, found[step.output].cells) for step in model_graph.steps)
    return windows / sum(cost(step, step.output.shape[:2]) for step in model_graph.steps)


def _is_ours(step, rules):
    table = {**RULES, **(rules or {})}
    found = rule_of(step, table)
    return found is None or found in BUILT_IN


def _offset(winners, columns, width):
    """Which cell of its pooling window won, as a distance in a row-major map of that width."""
    return winners // columns * width + winners % columns
