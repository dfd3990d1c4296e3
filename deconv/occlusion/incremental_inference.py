"""Incremental inference: recompute only the rectangle of each map that an occluding patch changes.

All other activations are those of the unoccluded image, which are computed once. This is the incremental inference of
Krypton (Nakandala, Kumar and Papakonstantinou, SIGMOD 2019) in its exact form: for each position of the patch only the
changed rectangle of each map is computed, from a window that takes unchanged activations from the unoccluded image, up
to the first layer that depends on the whole map, such as a dense layer.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.graph import windowed_layers
from deconv.graph.compilation import compile_function
from deconv.graph.cost import TRAFFIC, cost
from deconv.graph.receptive_field import receptive_fields, windows_above
from deconv.ops import crops

OVERHEAD = 150_000
"""Estimated cost of cutting windows for one step and one position, without memory traffic, in multiplications."""

MOST_STEPS = 100
"""Networks with more steps on windows run full passes. For EfficientNet-Lite0, with 143, compilation takes a minute,
and the positions then take as long as full passes."""


class Rectangles:
    """Rectangles of the maps of a model graph that occluding patches change.

    Args:
        model_graph: A `Graph` with one input.
        squares: `(n, 4)` ints, the patches in the image: top, left, bottom, right, the last two excluded.
        growth: The largest share of the rows and columns of a map that is recomputed, around the centre of the changed
            rectangle; None for all that changes.

    Attributes:
        corners: `{edge: (n, 2)}`, first row and first column of the recomputed rectangle of each map.
        sizes: `{edge: (n, 2)}`, rows and columns of the rectangle.
        share: Estimated work of recomputing the rectangles as a share of a full forward pass.
        order: `(n,)` ints, the patches sorted by the sizes of their rectangles. Patches next to one another are
            computed in one batch, whose windows are of one size.
    """

    def __init__(self, model_graph: graph.Graph, squares: np.ndarray, growth: float | None = None) -> None:
        steps = windowed_steps(model_graph)
        self._capped = growth is not None
        windows = windows_above(model_graph._replace(steps=tuple(steps)), squares, growth)
        self.corners = {edge: window[:, :2] for edge, window in windows.items()}
        self.sizes = {edge: np.maximum(window[:, 2:] - window[:, :2], 1) for edge, window in windows.items()}
        full = sum(cost(step, step.output.shape[:-1]) for step in model_graph.steps)
        full_of_windowed = sum(cost(step, step.output.shape[:2]) for step in steps)
        recomputed = sum(self._work(step) for step in steps)
        self.share = (full - full_of_windowed + recomputed) / full
        self.order = np.lexsort(np.concatenate([size.T for size in self.sizes.values()]))

    def _work(self, step):
        """Mean work of a step over the patches: of its rectangle, and of the windows that are cut for it."""
        size = self.sizes[step.output].mean(axis=0)
        cut = sum(
            np.prod((size - 1) * field.strides + field.cells) * edge.shape[-1]
            for edge, field in zip(step.inputs, receptive_fields(step), strict=True)
        )
        return cost(step, size) + TRAFFIC * cut + OVERHEAD

    def of(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rectangles of a batch of patches, of one size for each map.

        Args:
            numbers: Ints `(n,)`, indices of the patches.

        Returns:
            `(corners, sizes)`, int32 `(edges, n, 2)` and `(edges, 2)`. The size is the largest in the batch. With
            `growth` it is the largest of all patches, so that the approximation does not depend on the batch size.
        """
        sizes = {edge: (size if self._capped else size[numbers]).max(axis=0) for edge, size in self.sizes.items()}
        corners = [np.minimum(self.corners[edge][numbers], np.subtract(edge.shape[:2], sizes[edge])) for edge in sizes]
        return np.array(corners, np.int32), np.array(list(sizes.values()), np.int32)


def may_save_work(model_graph: graph.Graph) -> bool:
    """Return whether incremental inference could be less work than a full forward pass, even for tiny rectangles."""
    full = sum(cost(step, step.output.shape[:-1]) for step in model_graph.steps)
    count = len(windowed_steps(model_graph))
    return count <= MOST_STEPS and OVERHEAD * count < full


def windowed_steps(model_graph: graph.Graph) -> list[graph.Step]:
    """Return the steps that can be run on windows: all between the image and a step that depends on the whole map."""
    edges, steps = {model_graph.inputs[0]}, []
    for step in model_graph.steps:
        if edges.issuperset(step.inputs) and windowed_layers.is_translation_equivariant(step):
            steps.append(step)
            edges.add(step.output)
    return steps


def recomputation(model_graph: graph.Graph, outputs: graph.Edge, watched: graph.Edge) -> tuple[Callable, Callable]:
    """Compile the two passes of incremental inference.

    Args:
        model_graph: A `Graph` with one input.
        outputs: Edge of the class outputs.
        watched: Edge whose maps are summed.

    Returns:
        `(whole, changed)`. `whole(image)` returns, for one image `(1, height, width, channels)`, the list of all maps
        that are recomputed in windows, and the sums of the watched maps, float64 `(channels,)`.
        `changed(maps, sums, filled, corners, sizes, channel)` takes both, and returns
        `(class outputs, sums of the watched channel)` for patches of the image `filled` pasted into the image, with
        corners and sizes from `Rectangles.of`. Each is traced once, whatever the number and size of the patches.
    """
    passes = _Passes(model_graph, outputs, watched)
    image = model_graph.inputs[0]
    shape = tf.TensorSpec((1, *image.shape), image.dtype)
    maps = [tf.TensorSpec((1, *edge.shape), edge.dtype) for edge in passes.edges]
    sums = tf.TensorSpec((watched.shape[-1],), tf.float64)
    count = len(passes.edges)
    corners, sizes = tf.TensorSpec((count, None, 2), tf.int32), tf.TensorSpec((count, 2), tf.int32)
    changed = compile_function(passes.changed, maps, sums, shape, corners, sizes, tf.TensorSpec((), tf.int32))
    return compile_function(passes.whole, shape), changed


class _Passes:
    """The two passes of incremental inference as functions of tensors, see `recomputation`."""

    def __init__(self, model_graph, outputs, watched):
        self._graph, self._outputs, self._watched = model_graph, outputs, watched
        steps = windowed_steps(model_graph)
        self._names = {step.name for step in steps}
        self.edges = [model_graph.inputs[0], *(step.output for step in steps)]

    def whole(self, images):
        """All maps of the unoccluded image that are recomputed in windows, and the sums of the watched maps."""
        values = graph.run(self._graph, images)
        space = list(range(len(self._watched.shape) - 1))
        return [values[edge] for edge in self.edges], tf.reduce_sum(_as_float64(values[self._watched][0]), space)

    def changed(self, maps, sums, filled, corners, sizes, channel):
        """Class outputs and sums of the watched channel for a batch of patches."""
        windows = _Windows(self._names, self.edges, maps, corners, sizes)
        values = graph.run(self._graph, windows.cut(self._graph.inputs[0], filled), windows.call)
        watched = self._watched
        cells = _as_float64(tf.gather(values[watched], channel, axis=-1))
        if watched in windows.corners:
            before = windows.cut(watched, windows.unoccluded[watched])
            cells = cells - _as_float64(tf.gather(before, channel, axis=-1))
        changed_sums = tf.reduce_sum(cells, list(range(1, len(cells.shape))))
        if watched in windows.corners:
            changed_sums += sums[channel]
        return values[self._outputs], changed_sums


class _Windows:
    """Run steps on windows of the maps of a batch of patches.

    The rectangle of each map is extended by a border of unchanged activations as far as the next step needs them.

    Args:
        names: Names of the steps that are run on windows; all others take whole maps.
        edges: Edges with windows.
        maps: For each edge the map of the unoccluded image.
        corners, sizes: For each edge the corners of its rectangles and their size, as `Rectangles.of` returns them.
    """

    def __init__(self, names, edges, maps, corners, sizes):
        self._names = names
        self.unoccluded = dict(zip(edges, maps, strict=True))
        self.corners = dict(zip(edges, tf.unstack(corners, len(edges)), strict=True))
        self._sizes = dict(zip(edges, tf.unstack(sizes, len(edges)), strict=True))
        self._numbers = tf.zeros_like(corners[0, :, 0])  # all windows are of the same image

    def cut(self, edge, maps):
        """Cut the rectangles of an edge out of the map of one image."""
        return crops.cut(maps, self._numbers, self.corners[edge], self._sizes[edge])

    def call(self, step, *args, **kwargs):
        """Run a step on windows, or on whole maps into which the rectangles are pasted."""
        inputs = iter(zip(step.inputs, receptive_fields(step), strict=True))

        def extended(leaf):
            return self._extended(step, *next(inputs), leaf) if tf.is_tensor(leaf) else leaf

        args, kwargs = keras.tree.map_structure(extended, (args, kwargs))
        run = windowed_layers.call if step.name in self._names else graph.call_layer
        return run(step, *args, **kwargs)

    def _extended(self, step, edge, field, rectangles):
        """The input of a step from the rectangles of an edge: windows with their border, or whole maps."""
        corners = self.corners.get(edge)
        if corners is None:
            return rectangles
        if step.name not in self._names:
            maps = self._pasted(rectangles, edge, tf.zeros_like(corners), edge.shape[:2])
            return tf.ensure_shape(maps, (None, *edge.shape))
        first = self.corners[step.output] * field.strides - field.before
        windows = self._pasted(rectangles, edge, first, (self._sizes[step.output] - 1) * field.strides + field.cells)
        padding = windowed_layers.outside(step)
        return windows if padding is None else crops.blank(windows, first, edge.shape, padding)

    def _pasted(self, rectangles, edge, corners, size):
        """Windows of the unoccluded map with the rectangles pasted into it."""
        windows = crops.paste(rectangles, self.corners[edge], self.unoccluded[edge], self._numbers, corners, size)
        return tf.ensure_shape(windows, (None, None, None, edge.shape[-1]))


def _as_float64(maps):
    """Cast maps whose sums and differences are taken, so that subtracting and adding the same value cancels."""
    return tf.cast(maps, tf.float64)
