"""Search of a batch for candidates for the strongest units, compiled together with the network."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from deconv import graph
from deconv.graph.compilation import compile_function
from deconv.graph.receptive_field import plane


def kept_dtype(*dtypes: Any) -> str:
    """Return the dtype in which activations of several dtypes are stored.

    It is the smallest that can represent them all and that NumPy sorts: `"float32"` or `"float64"`.
    """
    kinds = [tf.as_dtype(dtype) for dtype in dtypes]
    return "float32" if all(dtype.is_floating and dtype.size <= 4 for dtype in kinds) else "float64"


def finder(
    model_graph: graph.Graph,
    steps: Sequence[graph.Step],
    more: Callable[[list[tf.Tensor]], Sequence[tf.Tensor]] | None = None,
) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Compile the network together with the search for candidates.

    Args:
        model_graph: A `Graph` with one input.
        steps: The steps to observe. Their channels are numbered consecutively, in the order of the steps.
        more: Function from the maps of the steps, `(n, rows, columns, channels)` each, to further tensors to return; or
            None.

    Returns:
        A function of a batch, traced once for any number of images. Its arguments are

        - images `(n, height, width, channels)` and their int64 ids `(n,)`;
        - the values and int64 ids of the weakest stored unit of each channel, both `(channels,)`;
        - int32, the largest number of units of one channel that can enter the ranking: k, if all ids differ.

        It returns

        - whether all maxima of each channel are finite, bools `(channels,)`;
        - the candidates, int64 pairs `(channel, image in the batch)` `(p, 2)`, sorted by channel. A candidate is
          stronger than the weakest stored unit of its channel, or equal with a smaller id, and among the strongest
          units of the batch that can enter;
        - their activations `(p,)`;
        - their positions, int64 `(p,)`, in row-major order; the first position if several are equal;
        - the tensors of `more`.
    """
    dtype = kept_dtype(*(step.output.dtype for step in steps))
    counts = [step.output.shape[-1] for step in steps]

    def find(
        images: tf.Tensor, ids: tf.Tensor, last_values: tf.Tensor, last_ids: tf.Tensor, most: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        values = graph.run(model_graph, images)
        maps = [
            tf.reshape(values[step.output], [-1, *plane(step.output.shape), step.output.shape[-1]]) for step in steps
        ]
        of_rows = [tf.reduce_max(layer, axis=2) for layer in maps]
        maxima = [tf.transpose(tf.reduce_max(layer, axis=1)) for layer in of_rows]
        strongest = tf.concat([tf.cast(layer, dtype) for layer in maxima], axis=0)
        last_values, last_ids = last_values[:, None], last_ids[:, None]
        enters = (strongest > last_values) | ((strongest == last_values) & (ids < last_ids))
        # `top_k` is needed only if a channel has more candidates than can enter, as in the first batches.
        enters = tf.cond(
            tf.reduce_any(tf.math.count_nonzero(enters, axis=1, dtype=tf.int32) > most),
            lambda: enters & (strongest >= tf.math.top_k(strongest, most).values[:, -1:]),
            lambda: enters,
        )
        layers = zip(maps, of_rows, maxima, tf.split(enters, counts), strict=True)
        places = tf.concat([_places(*layer) for layer in layers], axis=0)
        pairs = tf.where(enters)
        is_finite = tf.reduce_all(tf.math.is_finite(strongest), axis=1)
        return is_finite, pairs, tf.gather_nd(strongest, pairs), places, *(more(maps) if more else ())

    image, channels = model_graph.inputs[0], sum(counts)
    return compile_function(
        find,
        tf.TensorSpec((None, *image.shape), image.dtype),
        tf.TensorSpec((None,), tf.int64),
        tf.TensorSpec((channels,), dtype),
        tf.TensorSpec((channels,), tf.int64),
        tf.TensorSpec((), tf.int32),
    )


def _places(maps: tf.Tensor, of_rows: tf.Tensor, maxima: tf.Tensor, enters: tf.Tensor) -> tf.Tensor:
    """Positions of the maxima of the candidates of one layer."""
    pairs = tf.where(enters)
    if tuple(maps.shape[1:3]) == (1, 1):
        return tf.zeros_like(pairs[:, 0])
    return _first_places(maps.dtype)(maps, of_rows, tf.gather_nd(maxima, pairs), pairs)


@functools.cache
def _first_places(dtype: tf.DType) -> Callable[..., tf.Tensor]:
    """Function that finds the first position of the maximum of each pair (channel, image), in row-major order.

    It is a function call in the compiled graph, not inlined for each layer, which would take longer to compile than the
    network.
    """

    def first_places(maps, of_rows, maxima, pairs):
        _, rows, columns, channels = tf.unstack(tf.shape(maps, tf.int64))
        channel, image = tf.unstack(pairs, axis=1)

        def first(lines, size, number):
            """First place of the maximum of each pair in line `number` of `lines`, `(count, size, channels)`."""
            cells = tf.range(size)
            places = (number[:, None] * size + cells) * channels + channel[:, None]
            is_maximum = tf.gather(tf.reshape(lines, [-1]), places) == maxima[:, None]
            # Which of several equal maxima tf.argmax returns is unspecified, and differs between GPUs and CPUs.
            return tf.reduce_min(tf.where(is_maximum, cells, size - 1), axis=1)

        row = first(of_rows, rows, image)
        return row * columns + first(maps, columns, image * rows + row)

    signature = [
        tf.TensorSpec((None, None, None, None), dtype),
        tf.TensorSpec((None, None, None), dtype),
        tf.TensorSpec((None,), dtype),
        tf.TensorSpec((None, 2), tf.int64),
    ]
    return tf.function(first_places, signature, autograph=False, experimental_attributes={"_noinline": True})
