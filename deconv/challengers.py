"""Which units of a batch are among the strongest so far: the part of a scan that runs beside the network."""

import functools
import math

import tensorflow as tf

from deconv import graph
from deconv.recording import traced

CELLS = 2**22
"""How many cells of maps are looked through at a time, at most, where the places of maxima are sought."""


def kept_dtype(*dtypes):
    """The dtype in which activations of some dtypes are kept: the smallest that holds them all and that NumPy sorts."""
    dtypes = [tf.as_dtype(dtype) for dtype in dtypes]
    return "float32" if all(dtype.is_floating and dtype.size <= 4 for dtype in dtypes) else "float64"


def finder(laid, steps):
    """Compile the network together with the search for what is worth keeping.

    Args:
        laid: A `Graph` with one input.
        steps: The steps to watch. Their channels are counted on from one to the next.

    Returns:
        A function of a batch, traced once for any number of images. Its arguments are

        - images and their int64 ids;
        - the values and int64 ids of the last unit that is kept in each channel, both `(channels,)`;
        - how many units of a channel the batch can bring in at most, int32: k, if all ids differ.

        It returns

        - whether all maxima of each channel are finite, `(channels,)` bools;
        - the challengers, int64 pairs `(channel, image in the batch)`, by channels: each is stronger than the last of
          its channel, or as strong with a smaller id, and among so many strongest of the batch;
        - their activations `(p,)`;
        - where they are, int64 `(p,)`: counted row by row, the first of several maxima.
    """
    dtype = kept_dtype(*(step.output.dtype for step in steps))
    counts = [step.output.shape[-1] for step in steps]

    def find(images, ids, last_values, last_ids, most):
        values = graph.run(laid, images)
        maps = [
            tf.reshape(values[step.output], [-1, _cells(step), count])
            for step, count in zip(steps, counts, strict=True)
        ]
        maxima = [tf.transpose(tf.reduce_max(some, axis=1)) for some in maps]
        strongest = tf.concat([tf.cast(some, dtype) for some in maxima], axis=0)
        last_values, last_ids = last_values[:, None], last_ids[:, None]
        enters = (strongest > last_values) | ((strongest == last_values) & (ids < last_ids))
        enters = tf.cond(
            tf.reduce_any(tf.math.count_nonzero(enters, axis=1, dtype=tf.int32) > most),
            lambda: enters & (strongest >= tf.math.top_k(strongest, most).values[:, -1:]),
            lambda: enters,
        )
        places = [
            _places(step, *layer) for step, *layer in zip(steps, maps, maxima, tf.split(enters, counts), strict=True)
        ]
        pairs = tf.where(enters)
        finite = tf.reduce_all(tf.math.is_finite(strongest), axis=1)
        return finite, pairs, tf.gather_nd(strongest, pairs), tf.concat(places, axis=0)

    image, channels = laid.inputs[0], sum(counts)
    return traced(
        find,
        tf.TensorSpec((None, *image.shape), image.dtype),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((channels,), dtype),
        tf.TensorSpec((channels,), tf.int64),
        tf.TensorSpec((), tf.int32),
    )


def _cells(step):
    return math.prod(step.output.shape[:-1])


def _places(step, maps, maxima, enters):
    pairs = tf.where(enters)
    if _cells(step) == 1:
        return tf.zeros_like(pairs[:, 0])
    return _first_places(maps.dtype)(maps, tf.gather_nd(maxima, pairs), pairs)


@functools.cache
def _first_places(dtype):
    """A function that finds where in maps `(images, cells, channels)` the maximum of each pair is for the first time.

    Called, not copied into the graph of each layer: that would take longer to compile than the network.
    """

    def first_places(maps, maxima, pairs):
        _, cells, channels = tf.unstack(tf.shape(maps, tf.int64))
        flat, numbers = tf.reshape(maps, [-1]), tf.range(cells)
        starts = pairs[:, 1] * cells * channels + pairs[:, 0]
        total, some = tf.size(starts, tf.int64), tf.maximum(CELLS // cells, 1)

        def look(start, places):
            stop = tf.minimum(start + some, total)
            columns = tf.gather(flat, starts[start:stop, None] + numbers * channels)
            # tf.argmax leaves open which of several maxima it finds, and GPUs differ from CPUs there.
            first = tf.reduce_min(tf.where(columns == maxima[start:stop, None], numbers, cells - 1), axis=1)
            return stop, tf.concat([places, first], axis=0)

        start, shapes = (tf.zeros([], tf.int64), tf.zeros([0], tf.int64)), (tf.TensorShape([]), tf.TensorShape([None]))
        return tf.while_loop(lambda start, _: start < total, look, start, shapes)[1]

    signature = [
        tf.TensorSpec((None, None, None), dtype),
        tf.TensorSpec((None,), dtype),
        tf.TensorSpec((None, 2), tf.int64),
    ]
    return tf.function(first_places, signature, autograph=False, experimental_attributes={"_noinline": True})
