"""The strongest activations of every channel over a data set, in one streaming pass (Fig. 2)."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from deconv import graph
from deconv.inputs import check_finite, check_positive, prepare
from deconv.recording import traced
from deconv.windows import windows_below


class TopActivations(NamedTuple):
    """The strongest units of a layer, one per image, strongest first; equal ones by image id.

    With fewer than k images the arrays are as much shorter.

    Attributes:
        values: `(channels, k)`, the activations.
        ids: `(channels, k)` int64, the image in which each occurred.
        labels: `(channels, k)` int64, that image's label; -1 where the data set has none.
        positions: `(channels, k, 2)` int64, row and column of the unit in its map; zeros for a dense layer.
        windows: `(channels, k, 4)` int64, the part of the image that the unit sees: top, left, bottom, right.
    """

    values: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    windows: np.ndarray


def top_activations(model, dataset, layers, k=9, *, preprocess=None, batch_size=64, input_shape=None, progress=False):
    """Find the k images in which each channel is most active, and where in them.

    One pass over the data for all layers; memory holds one batch and the winners, whatever the size of the data set.
    As in Fig. 2 of the paper an image counts once per channel, with its strongest position.

    Args:
        model: A functional or Sequential `keras.Model`.
        dataset: Array of images `(n, height, width, channels)`; or a `tf.data.Dataset` of images, `(image, label)` or
            `(image, label, id)`, single or in batches; or anything with such a `.dataset`. Without ids, images are
            numbered in the order in which they come.
        layers: One layer or a sequence of them: names, paths or indices.
        k: How many images per channel.
        preprocess: Function applied to each batch of images before the model sees it.
        batch_size: How many images are computed at a time, if the data set is not in batches already.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.
        progress: Whether to show a progress bar.

    Returns:
        `{layer: TopActivations}`, with the layers as they were given.

    Raises:
        ValueError: If the data set is empty, its images do not fit the model, or a layer does not exist.
    """
    check_positive("k", k)
    check_positive("batch_size", batch_size)
    laid = graph.walk(model, input_shape)
    layers, steps = graph.find_all(laid, layers)
    laid = graph.below(laid, *steps)
    image = laid.inputs[0]
    strongest = _compile_maxima(laid, steps)
    best = [None] * len(steps)
    for images, labels, ids in tqdm(_batches(dataset, batch_size), unit=" batches", disable=not progress):
        images = prepare(images, preprocess, image.shape, image.dtype)
        for place, (values, positions) in enumerate(strongest(images)):
            found = (check_finite(values.numpy(), steps[place].name).T, *_per_channel(ids, labels, positions.numpy().T))
            best[place] = strongest_of(found if best[place] is None else _join(best[place], found), k)
    if best[0] is None:
        raise ValueError("top_activations needs a data set of at least one image; received none.")
    return {
        layer: _finish(graph.below(laid, step), *found) for layer, step, found in zip(layers, steps, best, strict=True)
    }


def strongest_of(found, k):
    """The k largest of each channel, largest first, equal ones by id.

    Args:
        found: `(values, ids, ...)`, arrays `(channels, any number)`.
        k: How many to keep.

    Returns:
        The same arrays, `(channels, at most k)`.
    """
    values, ids, *_ = found
    order = np.lexsort((ids, -values), axis=-1)[:, :k]
    return tuple(np.take_along_axis(array, order, axis=1) for array in found)


def _compile_maxima(laid, steps):
    """A function of images: for each step `(values, flat positions)`, both `(batch, channels)`. Traced once."""
    image = laid.inputs[0]

    def strongest(images):
        values = graph.run(laid, images)
        maxima = []
        for step in steps:
            maps = values[step.output]
            cells = tf.reshape(maps, [tf.shape(maps)[0], -1, maps.shape[-1]])
            maxima.append((tf.reduce_max(cells, axis=1), tf.argmax(cells, axis=1)))
        return maxima

    return traced(strongest, tf.TensorSpec((None, *image.shape), image.dtype))


def _batches(dataset, batch_size):
    """`(images, labels, ids)` arrays, one batch at a time."""
    dataset = getattr(dataset, "dataset", dataset)
    if isinstance(dataset, tf.data.Dataset):
        spec = dataset.element_spec
        first = spec[0] if isinstance(spec, tuple) else spec
        rank = first.shape.rank if isinstance(first, tf.TensorSpec) else None
        if rank not in (3, 4):
            raise ValueError(
                "The data set must yield images, (image, label) or (image, label, id), single or in batches; "
                f"received {spec}. Map it to one of these."
            )
        if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise ValueError(
                "The data set never ends; take a part of it with dataset.take(count), or leave repeat() out."
            )
        dataset = dataset.batch(batch_size) if rank == 3 else dataset
        dataset = dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
    else:
        everything = np.asarray(dataset)
        if everything.ndim == 0:
            raise ValueError(f"A data set is an array of images or a tf.data.Dataset; received {dataset!r}.")
        starts = range(0, len(everything), batch_size)
        dataset = (everything[start : start + batch_size] for start in starts)
    seen = 0
    for batch in dataset:
        images, *rest = batch if isinstance(batch, tuple) else (batch,)
        count = len(images)
        labels = rest[0] if rest else np.full(count, -1)
        ids = rest[1] if len(rest) > 1 else np.arange(seen, seen + count)
        seen += count
        yield images, _whole_numbers("labels", labels, count), _whole_numbers("ids", ids, count)


def _whole_numbers(name, numbers, count):
    numbers = np.asarray(numbers)
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"The {name} of a data set must be one whole number for each image; received {numbers.dtype} of shape "
            f"{numbers.shape} for {count} images. Map it to images, (image, label) or (image, label, id)."
        )
    return numbers.astype(np.int64)


def _per_channel(ids, labels, positions):
    return np.broadcast_to(ids, positions.shape), np.broadcast_to(labels, positions.shape), positions


def _join(one, other):
    return tuple(np.concatenate(pair, axis=1) for pair in zip(one, other, strict=True))


def _finish(laid, values, ids, labels, positions):
    shape = laid.steps[-1].output.shape
    columns = shape[1] if len(shape) == 3 else 1
    places = np.stack(np.divmod(positions, columns), axis=-1)
    seen = windows_below(laid, places.reshape(-1, 2))[laid.inputs[0]]
    return TopActivations(values, ids, labels, places, seen.reshape(*values.shape, 4))
