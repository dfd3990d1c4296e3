"""Search of a batch for candidates for the strongest units; it is compiled together with the network."""

import functools

import tensorflow as tf

from deconv import graph
from deconv.graph.compilation import compile_function
from deconv.graph.receptive_field import plane


def kept_dtype(*dtypes):
    """The dtype in which activations of some dtypes are kept: the smallest that holds them all and that NumPy sorts."""
    dtypes = [tf.as_dtype(dtype) for dtype in dtypes]
    return "float32" if all(dtype.is_floating and dtype.size <= 4 for dtype in dtypes) else "float64"


def finder(model_graph, steps):
    """Compile the network together with the search for what is worth keeping.

    Args:
        model_graph: A `Graph` with one input.
        steps: The steps to watch. Their channels are counted on from one to the next.

    Returns:
        A function of a batch, traced once for any number of images. Its arguments are

        - images and their int64 ids;
        - the values and int64 ids of the last unit that is kept in each channel, both `(channels,)`;
        - how many units of a channel the batch can bring in at most, int32: k, if all ids differ.

        It returns

        - whether all maxima of each channel are finite, `(channels,)` bools;
        - the candidates, int64 pairs `(channel, image in the batch)`, by channels: each is stronger than the last of
          its channel, or as strong with a smaller id, and among so many strongest of the batch;
        - their activations `(p,)`;
        - where they are, int64 `(p,)`: counted row by row, the first of several maxima.
    """
    dtype = kept_dtype(*(step.output.dtype for step in steps))
    counts = [step.output.shape[-1] for step in steps]

    def find(images, ids, last_values, last_ids, most):
        values = graph.run(model_graph, images)
        maps = [
            tf.reshape(values[step.output], [-1, *plane(step.output.shape), step.output.shape[-1]]) for step in steps
        ]
        of_rows = [tf.reduce_max(some, axis=2) for some in maps]
        maxima = [tf.transpose(tf.reduce_max(some, axis=1)) for some in of_rows]
        strongest = tf.concat([tf.cast(some, dtype) for some in maxima], axis=0)
        last_values, last_ids = last_values[:, None], last_ids[:, None]
        enters = (strongest > last_values) | ((strongest == last_values) & (ids < last_ids))
        enters = tf.cond(
            tf.reduce_any(tf.math.count_nonzero(enters, axis=1, dtype=tf.int32) > most),
            lambda: enters & (strongest >= tf.math.top_k(strongest, most).values[:, -1:]),
            lambda: enters,
        )
        layers = zip(maps, of_rows, maxima, tf.split(enters, counts), strict=True)
        places = tf.concat([_places(*layer) for layer in layers], axis=0)
        pairs = tf.where(enters)
        return tf.reduce_all(tf.math.is_finite(strongest), axis=1), pairs, tf.gather_nd(strongest, pairs), places

    image, channels = model_graph.inputs[0], sum(counts)
    return compile_function(
        find,
        tf.TensorSpec((None, *image.shape), image.dtype),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((channels,), dtype),
        tf.TensorSpec((channels,), tf.int64),
        tf.TensorSpec((), tf.int32),
    )


def _places(maps, of_rows, maxima, enters):
    """Compute the positions of the maxima of one layer's candidates."""
    pairs = tf.where(enters)
    if tuple(maps.shape[1:3]) == (1, 1):
        return tf.zeros_like(pairs[:, 0])
    return _first_places(maps.dtype)(maps, of_rows, tf.gather_nd(maxima, pairs), pairs)


@functools.cache
def _first_places(dtype):
    """A function that finds where in maps the maximum of each pair is for the first time, row by row.

    It is called, not copied into the graph for each layer: that would take longer to compile than the network.
    """

    def first_places(maps, of_rows, maxima, pairs):
        _, rows, columns, channels = tf.unstack(tf.shape(maps, tf.int64))
        channel, image = tf.unstack(pairs, axis=1)

        def first(lines, size, number):
            """Where in `lines`, `(any number, size, channels)`, the maximum of each pair is first, in line `number`."""
            cells = tf.range(size)
            places = (number[:, None] * size + cells) * channels + channel[:, None]
            found = tf.gather(tf.reshape(lines, [-1]), places) == maxima[:, None]
            # tf.argmax leaves open which of several maxima it finds, and GPUs differ from CPUs there.
            return tf.reduce_min(tf.where(found, cells, size - 1), axis=1)

        row = first(of_rows, rows, image)
        return row * columns + first(maps, columns, image * rows + row)

    signature = [
        tf.TensorSpec((None, None, None, None), dtype),
        tf.TensorSpec((None, None, None), dtype),
        tf.TensorSpec((None,), dtype),
        tf.TensorSpec((None, 2), tf.int64),
    ]
    return tf.function(first_places, signature, autograph=False, experimental_attributes={"_noinline": True})
