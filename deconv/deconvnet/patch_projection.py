"""Projection of single units inside their receptive fields; outside of it a projection is zero and is not computed.

The forward pass on windows is that of `deconv.graph.windowed_layers`. In the backward pass the signal at each edge of
the model graph is a window of the edge's map: the receptive field of the unit on that edge, of one size for all units,
at a corner that depends on the position of the unit. Filters and pools are transposed without padding, and cells
outside of the map, where the model pads, are set to zero. Switches come from whole maps if many units share an image,
or from a forward pass on the windows alone if that is less work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.deconvnet.layers import Unpool
from deconv.deconvnet.patch_cost import window_share
from deconv.deconvnet.recording import recorder
from deconv.deconvnet.rule_lookup import mirror_layers_of
from deconv.deconvnet.rules import RULES, Rules
from deconv.deconvnet.selection import check_start, locate, only
from deconv.graph import windowed_layers
from deconv.graph.compilation import compile_function
from deconv.graph.layer_receptive_field import ONE, ReceptiveField
from deconv.graph.receptive_field import receptive_fields, receptive_fields_below
from deconv.ops import crops, pooling
from deconv.validation import check_finite

Start: TypeAlias = Literal["activation", "one"]


class PatchMirror:
    """The deconvnet of one layer for single units, each inside its own receptive field.

    Args:
        model_graph: A `Graph` for whose last step `has_patches` is true.
        pools: Its max-pooling steps.
        dtype: Dtype of the projections.
        rules: Rules of the user, or None.

    Attributes:
        graph: As given.
        receptive_fields: `{edge: ReceptiveField of a unit on it}`.
        window: `ReceptiveField` of a unit in the image.
        units_per_image: Number of units that take as much memory as one image, at most 4.
    """

    def __init__(
        self, model_graph: graph.Graph, pools: Sequence[graph.Step], dtype: str, rules: Rules | None = None
    ) -> None:
        self._table = {**RULES, **(rules or {})}
        fields = receptive_fields_below(model_graph)
        self.receptive_fields = {edge: field for edge, field in fields.items() if field is not None}
        self._fields = {step.name: [field for field in receptive_fields(step) if field] for step in model_graph.steps}
        self.graph, self.dtype = model_graph, dtype
        self.image, self.top = model_graph.inputs[0], model_graph.steps[-1]
        self.window = self.receptive_fields[self.image]
        self._share = window_share(model_graph)
        self.units_per_image = min(max(int(1 / self._share), 1), 4)  # larger batches exceed the CPU cache
        self._pools = [pool.name for pool in pools]
        self._mirror_layers = {step.name: self._mirror_layers_of(step) for step in model_graph.steps}
        self._record = recorder(model_graph, [self.top], pools)
        images = tf.TensorSpec((None, *self.image.shape), self.image.dtype)
        numbers, positions = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 2], tf.int32)
        start = tf.TensorSpec([None, self.top.output.shape[-1]], self.top.output.dtype)
        offsets = [tf.TensorSpec((None, *pool.output.shape), tf.int32) for pool in pools]
        parts = [self.receptive_fields[pool.output].cells for pool in pools]
        cut = [
            tf.TensorSpec((None, *part, spec.shape[-1]), tf.int32) for part, spec in zip(parts, offsets, strict=True)
        ]
        self._offsets = compile_function(self._offsets_of, [tf.TensorSpec(spec.shape, tf.int32) for spec in offsets])
        self._up = compile_function(self._up_windows, images, numbers, positions)
        self._down_from_maps = compile_function(self._cut_and_down, start, positions, numbers, offsets)
        self._down_from_windows = compile_function(self._down, start, positions, cut)
        patches = tf.TensorSpec((None, *self.window.cells, self.image.shape[-1]), dtype)
        self._whole = compile_function(self._put_in_place, patches, positions)

    def record(self, images: np.ndarray) -> tuple[np.ndarray, list[tf.Tensor]]:
        """Run the forward pass on whole images.

        Args:
            images: `(m, height, width, channels)`.

        Returns:
            `(activations, offsets)` for `project`: the output of the layer, and for each pool the offsets of its
            switches (see `_offsets_of`).
        """
        (activations,), switches = self._record(images)
        return check_finite(activations.numpy(), self.top.name), self._offsets(switches) if switches else []

    def prefers_windows(self, units: int, images: int) -> bool:
        """Return whether a forward pass on the windows of `units` units is less work than on `images` whole images."""
        return units * self._share < images

    def project(
        self,
        record: tuple[np.ndarray, list[tf.Tensor]],
        numbers: np.ndarray,
        channels: np.ndarray | None,
        unit: Literal["max"] | ArrayLike,
        start: Start,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Project units of recorded images to their receptive fields.

        Args:
            record: From `record`.
            numbers: `(n,)` ints, the index of the image of each unit.
            channels, unit, start: As for `selection.locate`.

        Returns:
            `(patches, positions)`: `(n, height, width, channels of the image)`, zero outside of the image, and
            `(n, 2)`.
        """
        activations, offsets = record
        values, positions = locate(activations, numbers, channels, unit, start=start)
        places, numbers = positions.astype(np.int32), numbers.astype(np.int32)
        return self._down_from_maps(values, places, numbers, offsets).numpy(), positions

    def project_windows(
        self,
        images: np.ndarray,
        numbers: np.ndarray,
        channels: np.ndarray | None,
        positions: np.ndarray,
        start: Start,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Project units of `images` at known positions `(n, 2)` without whole maps; otherwise as `project`."""
        check_start(start)
        places = positions.astype(np.int32)
        activations, offsets = self._up(images, numbers.astype(np.int32), places)
        values = only(check_finite(activations.numpy(), self.top.name), channels, start)
        return self._down_from_windows(values, places, offsets).numpy(), positions

    def whole(self, patches: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Place patches, from `project`, at their positions in images that are zero elsewhere."""
        return self._whole(patches, positions.astype(np.int32)).numpy()

    def corners(self, positions: ArrayLike) -> np.ndarray:
        """Return the first row and column of the patch of each position; they may lie outside of the image."""
        return np.asarray(positions) * self.window.strides - self.window.before

    def _up_windows(
        self, images: tf.Tensor, numbers: tf.Tensor, positions: tf.Tensor
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Forward pass on the windows of units: `(activations, offsets)`."""
        offsets = {}

        def call(step, *args, **kwargs):
            edges = iter(zip(step.inputs, self._fields[step.name], strict=True))
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

    def _part(
        self, maps: tf.Tensor, edge: graph.Edge, part: ReceptiveField, positions: tf.Tensor, outside: float | None
    ) -> tf.Tensor:
        """Part of the window of an edge on which one step depends, with padding outside of the map.

        The window of an edge covers the parts of all steps that use it. Its cells outside of the map hold what the
        layers before computed there, which are not part of the model, so they are set to the padding value.
        """
        (row, column), (rows, columns) = np.subtract(self.receptive_fields[edge].before, part.before), part.cells
        maps = maps[:, row : row + rows, column : column + columns]
        if outside is None:
            return maps
        return crops.blank(maps, positions * part.strides - part.before, edge.shape, outside)

    def _offsets_of(self, switches: list[tf.Tensor]) -> list[tf.Tensor]:
        """Offsets of switches of whole maps.

        The offset of a switch is its distance from the first cell of its pooling window, in a row-major map as wide as
        the window of a unit on the input of the pool. It is the same wherever that window lies, so offsets can be cut
        out of whole maps like values.
        """
        offsets = []
        for name, places in zip(self._pools, switches, strict=True):
            step = graph.find(self.graph, name)
            (field,) = self._fields[step.name]
            rows, columns = step.output.shape[:2]
            width = step.inputs[0].shape[1]
            first = [np.arange(size) * stride for size, stride in zip((rows, columns), field.strides, strict=True)]
            row = places // width - (first[0] - field.before[0])[:, None, None]
            column = places % width - (first[1] - field.before[1])[:, None]
            offsets.append(row * self.receptive_fields[step.output].composed_with(field).cells[1] + column)
        return offsets

    def _cut_and_down(
        self, start: tf.Tensor, positions: tf.Tensor, numbers: tf.Tensor, offsets: list[tf.Tensor]
    ) -> tf.Tensor:
        """Backward pass with the offsets of whole maps."""
        outputs = [graph.find(self.graph, name).output for name in self._pools]
        windows = [
            crops.cut(offset, numbers, self._corners(edge, positions), self.receptive_fields[edge].cells)
            for edge, offset in zip(outputs, offsets, strict=True)
        ]
        return self._down(start, positions, windows)

    def _down(self, start: tf.Tensor, positions: tf.Tensor, offsets: list[tf.Tensor]) -> tf.Tensor:
        """Backward pass from the values `(n, channels)` of the units to the patches."""
        by_pool = dict(zip(self._pools, offsets, strict=True))
        arrived = {self.top.output: [(start[:, None, None], ONE)]}  # all signals for an edge, with their windows
        for step in reversed(self.graph.steps):
            signal = self._sum(step.output, arrived.pop(step.output), positions)
            above = self.receptive_fields[step.output]
            for mirror_layer in self._mirror_layers[step.name]:
                signal = (
                    self._unpool(mirror_layer, step, signal, by_pool[step.name])
                    if isinstance(mirror_layer, Unpool)
                    else mirror_layer(signal)
                )
            branches = signal if isinstance(signal, list) else [signal]
            for edge, field, branch in zip(step.inputs, self._fields[step.name], branches, strict=True):
                arrived.setdefault(edge, []).append((branch, above.composed_with(field)))
        return self._sum(self.image, arrived[self.image], positions)

    def _sum(
        self, edge: graph.Edge, branches: list[tuple[tf.Tensor, ReceptiveField]], positions: tf.Tensor
    ) -> tf.Tensor:
        """Sum of the signals of all branches of a fork, each of its own size, in the window of the edge."""
        window, signals = self.receptive_fields[edge], []
        for signal, part in branches:
            # All windows of an edge have the same strides, so `before` alone tells how far their corners are apart.
            before = np.subtract(window.before, part.before)
            after = np.subtract(window.cells, part.cells) - before
            borders = [[0, 0], *zip(before, after, strict=True), [0, 0]]
            signal = tf.ensure_shape(signal, (None, *part.cells, edge.shape[-1]))
            signals.append(tf.pad(signal, borders) if before.any() or after.any() else signal)
        signal = signals[0] if len(signals) == 1 else tf.add_n(signals)
        takers = [step for step in self.graph.steps if edge in step.inputs]
        if all(windowed_layers.outside(step) is None for step in takers):
            return signal
        # A step that pads also returns a signal for its padding, which the transpose drops.
        return crops.blank(signal, self._corners(edge, positions), edge.shape)

    def _unpool(self, mirror_layer: Unpool, step: graph.Step, signal: tf.Tensor, offsets: tf.Tensor) -> tf.Tensor:
        """Unpooling in windows: the place of a maximum is the first cell of its pooling window plus its offset."""
        height, width, _ = mirror_layer.target_shape
        starts = zip(signal.shape[1:3], step.layer.strides, strict=True)
        rows, columns = (np.arange(size) * stride for size, stride in starts)
        first = (rows[:, None] * width + columns)[..., None].astype(np.int32)
        # Outside of the map offsets are undefined and the signal is zero; clipping only keeps the places valid.
        places = tf.clip_by_value(offsets + first, 0, height * width - 1)
        return pooling.scatter(
            signal, places, mirror_layer.target_shape, pooling.Windows(step.layer.pool_size, step.layer.strides)
        )

    def _put_in_place(self, patches: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """Whole images, cut out of the patches: an image is a window of its patch that extends beyond it."""
        corners = -self._corners(self.image, positions)
        images = crops.cut(patches, tf.range(tf.shape(patches)[0]), corners, self.image.shape[:2])
        return crops.blank(images, corners, self.window.cells)

    def _corners(self, edge: graph.Edge, positions: tf.Tensor) -> tf.Tensor:
        field = self.receptive_fields[edge]
        return positions * field.strides - field.before

    def _mirror_layers_of(self, step: graph.Step) -> list[Any]:
        """Mirror layers for windows: without padding and cropping, because windows include their border."""
        above = self.receptive_fields[step.output]
        # The rule sees windows in place of the maps, so that the mirror layers return windows.
        inputs = [
            graph.Edge((*above.composed_with(field).cells, edge.shape[-1]), edge.dtype)
            for edge, field in zip(step.inputs, self._fields[step.name], strict=True)
        ]
        output = graph.Edge((*above.cells, step.output.shape[-1]), step.output.dtype)
        mirror_layers = mirror_layers_of(step._replace(inputs=tuple(inputs), outputs=(output,)), self._table)
        for mirror_layer in mirror_layers:
            if hasattr(mirror_layer, "padding"):
                mirror_layer.padding = "valid"
        borders = keras.layers.Cropping2D | keras.layers.ZeroPadding2D
        return [mirror_layer for mirror_layer in mirror_layers if not isinstance(mirror_layer, borders)]


def _offset(winners: tf.Tensor, columns: int, width: int) -> tf.Tensor:
    """Convert places in a pooling window with `columns` columns to offsets in a row-major map of `width` columns."""
    return winners // columns * width + winners % columns
