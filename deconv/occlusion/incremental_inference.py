"""What an occluder changes: a rectangle of every map. Everything else is the unoccluded image's, computed once.

The incremental inference of Krypton (Nakandala, Kumar and Papakonstantinou, SIGMOD 2019), exact: per position only the
changed rectangle of each map is computed, from a window that takes what is unchanged from the unoccluded image, until a
layer sees everything, as a dense one.
"""

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
"""What it costs to cut windows for one step and one position, beyond moving the numbers, in multiplications."""


class Rectangles:
    """Where a set of squares changes the maps of a graph.

    Args:
        model_graph: A `Graph` with one input.
        squares: `(n, 4)` ints, the squares in the image.
        growth: The largest share of a map's rows and columns that is recomputed, around the middle of what changed;
            None for all that changed.

    Attributes:
        corners: `{edge: (n, 2)}`, first row and column of what is recomputed of each map on the way.
        sizes: `{edge: (n, 2)}`, rows and columns of it.
        share: Work of recomputing them as a share of computing everything.
    """

    def __init__(self, model_graph, squares, growth=None):
        steps = moving(model_graph)
        self._capped = growth is not None
        windows = windows_above(model_graph._replace(steps=tuple(steps)), squares, growth)
        self.corners = {edge: window[:, :2] for edge, window in windows.items()}
        self.sizes = {edge: np.maximum(window[:, 2:] - window[:, :2], 1) for edge, window in windows.items()}
        everything = sum(cost(step, step.output.shape[:-1]) for step in model_graph.steps)
        moved = sum(cost(step, step.output.shape[:2]) for step in steps)
        changed = sum(self._work(step) for step in steps)
        self.share = (everything - moved + changed) / everything
        # Squares that change equally much are computed together, in windows of one size.
        self.order = np.lexsort(np.concatenate([size.T for size in self.sizes.values()]))

    def _work(self, step):
        """Mean work of a step over the squares: its rectangle, and the windows that are cut for it."""
        size = self.sizes[step.output].mean(axis=0)
        cut = sum(
            np.prod((size - 1) * field.strides + field.cells) * edge.shape[-1]
            for edge, field in zip(step.inputs, receptive_fields(step), strict=True)
        )
        return cost(step, size) + TRAFFIC * cut + OVERHEAD

    def of(self, some):
        """`(corners, sizes)` for a few of the squares: int32 `(edges, n, 2)` and `(edges, 2)`, the largest of each.

        With `growth` the largest of all squares, so that what is cut off does not depend on the size of the batch.
        """
        sizes = {edge: (found if self._capped else found[some]).max(axis=0) for edge, found in self.sizes.items()}
        corners = [np.minimum(self.corners[edge][some], np.subtract(edge.shape[:2], sizes[edge])) for edge in sizes]
        return np.array(corners, np.int32), np.array(list(sizes.values()), np.int32)


def may_pay(model_graph):
    """Whether recomputing rectangles, were they ever so small, could be less work than computing everything."""
    everything = sum(cost(step, step.output.shape[:-1]) for step in model_graph.steps)
    return OVERHEAD * len(moving(model_graph)) < everything


def moving(model_graph):
    """The steps that can be run on windows, from the image up to where a layer sees everything."""
    edges, steps = {model_graph.inputs[0]}, []
    for step in model_graph.steps:
        if edges.issuperset(step.inputs) and windowed_layers.is_translation_equivariant(step):
            steps.append(step)
            edges.add(step.output)
    return steps


def recomputation(model_graph, outputs, watched):
    """Compile the two passes of incremental inference.

    Args:
        model_graph: A `Graph` with one input.
        outputs: Edge of the class outputs.
        watched: Edge whose maps are summed.

    Returns:
        `(whole, changed)`. `whole(image)` returns the list of all maps of one image `(1, height, width, channels)`.
        `changed(maps, filled, corners, sizes, channel)` returns `(class outputs, sums of the watched channel)` for
        squares of the image `filled` pasted into it, with corners and sizes from `Rectangles.of`. Each is traced once,
        whatever the number of squares and their size.
    """
    steps = moving(model_graph)
    names = {step.name for step in steps}
    edges = [model_graph.inputs[0], *(step.output for step in steps)]
    image = model_graph.inputs[0]

    def whole(images):
        values = graph.run(model_graph, images)
        return [values[edge] for edge in edges], tf.reduce_sum(_exactly(values[watched][0]), _space(watched))

    def changed(maps, sums, filled, corners, sizes, channel):
        below = dict(zip(edges, maps, strict=True))
        corner = dict(zip(edges, tf.unstack(corners, len(edges)), strict=True))
        size = dict(zip(edges, tf.unstack(sizes, len(edges)), strict=True))
        nothing = tf.zeros_like(corners[0, :, 0])

        def part(rectangles, edge, corners_there, size_there):
            windows = crops.paste(rectangles, corner[edge], below[edge], nothing, corners_there, size_there)
            return tf.ensure_shape(windows, (None, None, None, edge.shape[-1]))

        def call(step, *args, **kwargs):
            ends = iter(zip(step.inputs, receptive_fields(step), strict=True))

            def with_border(leaf):
                if not tf.is_tensor(leaf):
                    return leaf
                edge, field = next(ends)
                if edge not in corner:
                    return leaf
                if step.name not in names:
                    maps = part(leaf, edge, tf.zeros_like(corner[edge]), edge.shape[:2])
                    return tf.ensure_shape(maps, (None, *edge.shape))
                first = corner[step.output] * field.strides - field.before
                maps = part(leaf, edge, first, (size[step.output] - 1) * field.strides + field.cells)
                outside = windowed_layers.outside(step)
                return maps if outside is None else crops.blank(maps, first, edge.shape, outside)

            args, kwargs = keras.tree.map_structure(with_border, (args, kwargs))
            run = windowed_layers.call if step.name in names else graph.call_layer
            return run(step, *args, **kwargs)

        start = crops.cut(filled, nothing, corner[image], size[image])
        values = graph.run(model_graph, start, call)
        maps = _exactly(tf.gather(values[watched], channel, axis=-1))
        if watched in corner:
            before = crops.cut(below[watched], nothing, corner[watched], size[watched])
            maps = maps - _exactly(tf.gather(before, channel, axis=-1))
        found = tf.reduce_sum(maps, list(range(1, len(maps.shape))))
        if watched in corner:
            found += sums[channel]
        return values[outputs], found

    shape = tf.TensorSpec((1, *image.shape), image.dtype)
    maps = [tf.TensorSpec((1, *edge.shape), edge.dtype) for edge in edges]
    sums = tf.TensorSpec((watched.shape[-1],), tf.float64)
    corners, sizes = tf.TensorSpec((len(edges), None, 2), tf.int32), tf.TensorSpec((len(edges), 2), tf.int32)
    return compile_function(whole, shape), compile_function(
        changed, maps, sums, shape, corners, sizes, tf.TensorSpec((), tf.int32)
    )


def _exactly(maps):
    """For sums and differences: what is taken away is added again."""
    return tf.cast(maps, tf.float64)


def _space(edge):
    return list(range(len(edge.shape) - 1))
