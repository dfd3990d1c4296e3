"""The strongest unit of some channels over a data set, projected: compiled once for a model whose weights move."""

import zlib
from contextlib import closing
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.datasets.batches import prefetch
from deconv.deconvnet.projection import Deconvnet
from deconv.graph.compilation import compile_function, version
from deconv.graph.receptive_field import plane, reaches_below
from deconv.imaging.pixel_space import to_pixel_space
from deconv.ops import crops
from deconv.runtime.dtypes import any_array
from deconv.runtime.short_repr import short_repr
from deconv.topk.candidates import kept_dtype
from deconv.validation import check_channels, check_finite, check_positive, prepare


class Strongest(NamedTuple):
    """The strongest unit of each of some channels: the attributes of an `Evolution`, of one epoch, `(c, ...)` each."""

    projections: np.ndarray
    values: np.ndarray
    ids: np.ndarray
    positions: np.ndarray
    windows: np.ndarray
    filters: np.ndarray | None

    __repr__ = short_repr


class Lens:
    """A model compiled for looking at chosen channels: it follows the model's weights and is never traced again."""

    def __init__(self, model, layers=None, channels=6, seed=0, input_shape=None):
        self.net, self._version = Deconvnet(model, input_shape=input_shape), version(model)
        model_graph = self.net.graph
        if layers is None:
            steps = [step for step in model_graph.steps if isinstance(step.layer, keras.layers.Conv2D)]
            if not steps:
                raise ValueError(f"Model '{model.name}' has no convolution. Name the `layers` to look at.")
        else:
            _, steps = graph.find_all(model_graph, layers)
        self.channels = {step.name: _chosen(step, channels, seed) for step in steps}
        self.model_graph = graph.subgraph(model_graph, *steps)
        self._steps = {step.name: step for step in steps}
        self._starts = np.cumsum([0, *(len(some) for some in self.channels.values())])
        image = self.model_graph.inputs[0]
        self._peaks = compile_function(self._peaks_of, tf.TensorSpec((None, *image.shape), image.dtype))

    def fits(self, model):
        """Whether it was made for this model, and for its graph as it is now."""
        return self.net.model is model and self._version == version(model)

    def _peaks_of(self, images):
        """The strongest activation of each chosen channel in each image, `(n, channels)`, and its first place."""
        values, peaks, places = graph.run(self.model_graph, images), [], []
        for name, step in self._steps.items():
            cells = tf.cast(tf.gather(values[step.output], self.channels[name], axis=-1), self._dtype)
            cells = tf.reshape(cells, [tf.shape(images)[0], np.prod(plane(step.output.shape)), cells.shape[-1]])
            peaks.append(tf.reduce_max(cells, axis=1))
            # tf.argmax leaves open which of several maxima it finds.
            count = cells.shape[1]
            order = tf.where(cells == peaks[-1][:, None], tf.range(count)[:, None], count - 1)
            places.append(tf.reduce_min(order, axis=1))
        return tf.concat(peaks, axis=1), tf.concat(places, axis=1)

    @property
    def _dtype(self):
        return kept_dtype(*(step.output.dtype for step in self._steps.values()))

    def see(self, source, preprocess=None, batch_size=64):
        """One pass over the data, then one projection for each channel.

        Args:
            source: What `batches.opened` makes of a data set.
            preprocess: Function applied to each batch of images before the model sees it.
            batch_size: How many images are computed at a time.

        Returns:
            `{layer: Strongest}`. Pictures are in the colours of the images if `preprocess` has a transpose (see
            `to_pixel_space`), else in those that the model takes.

        Raises:
            ValueError: If the data set is empty, does not fit the model, or a layer puts out NaN or infinity.
        """
        values, ids, places, images = self._winners(source.batches(batch_size), preprocess)
        colours, found = source.channels, {}
        for (name, step), part in zip(self._steps.items(), map(slice, self._starts, self._starts[1:]), strict=False):
            positions = np.stack(np.divmod(places[part], plane(step.output.shape)[1]), axis=1)
            cells, corners = self._windows(step, positions)
            pictures = [
                _cut(_in_colour(whole, preprocess, colours), corners[some], cells)
                for some, whole in self._projected(step, positions, ids[part], images, batch_size)
            ]
            windows = np.concatenate([corners, corners + cells], axis=1)
            units = np.concatenate(pictures), values[part], ids[part], positions, windows
            found[name] = Strongest(*units, self._filters(step))
        return found

    def _winners(self, batches, preprocess):
        """The strongest unit of each channel over all images, equal ones by image id, and the images with one."""
        image, count = self.model_graph.inputs[0], self._starts[-1]
        values, ids, places = np.full(count, -np.inf, self._dtype), np.zeros(count, np.int64), np.zeros(count, np.int64)
        images = {}
        with closing(prefetch(_prepared(batches, preprocess, image))) as batches:
            for batch in batches:
                peaks, where = (part.numpy() for part in self._peaks(batch.images))
                for name, start, stop in zip(self._steps, self._starts, self._starts[1:], strict=False):
                    check_finite(peaks[:, start:stop], name)
                best = peaks.max(axis=0)
                first = np.where(peaks == best, batch.ids[:, None], np.iinfo(np.int64).max).argmin(axis=0)
                enters = (best > values) | ((best == values) & (batch.ids[first] < ids))
                values = np.where(enters, best, values)
                ids = np.where(enters, batch.ids[first], ids)
                places = np.where(enters, where[first, np.arange(count)], places)
                images |= {int(batch.ids[number]): batch.images[number].copy() for number in np.unique(first[enters])}
                images = {number: images[number] for number in np.unique(ids).tolist()}
        if not images:
            raise ValueError("There must be a data set of at least one image to look at; received none.")
        return values, ids, places, images

    def _windows(self, step, positions):
        """How large the windows of units are, and the first row and column of each, which may lie outside."""
        image = self.model_graph.inputs[0]
        field = reaches_below(graph.subgraph(self.model_graph, step)).get(image)
        if field is None:
            return image.shape[:2], np.zeros_like(positions)
        return field.cells, positions * field.strides - field.before

    def _projected(self, step, positions, ids, images, batch_size):
        """Units down to whole images, in pieces: which of them, and `(n, height, width, channels)`."""
        wanted, numbers = np.unique(ids, return_inverse=True)
        shown = np.stack([images[number] for number in wanted.tolist()])
        for first in range(0, len(ids), batch_size):
            some = slice(first, first + batch_size)
            units = self.channels[step.name][some], positions[some]
            options = {"numbers": numbers[some], "batch_size": batch_size}
            yield some, self.net.project_units(shown, step.name, *units, **options)

    def _filters(self, step):
        """The weights of each chosen channel, flat; None for a layer that has not one filter for each."""
        kernel = getattr(step.layer, "kernel", None)
        if kernel is None or kernel.shape[-1] != step.output.shape[-1]:
            return None
        kernel = tf.convert_to_tensor(kernel).numpy().astype(np.float32)
        return kernel[..., self.channels[step.name]].reshape(-1, len(self.channels[step.name])).T


def _chosen(step, channels, seed):
    """Which channels of a layer to look at: as many as are asked for, drawn with the seed, in order; or those named."""
    if isinstance(channels, dict):
        if step.name not in channels:
            raise ValueError(f"channels must name every layer; received {list(channels)}, without '{step.name}'.")
        channels = channels[step.name]
    count = step.output.shape[-1]
    if any_array(channels).ndim or isinstance(channels, list | tuple):
        return check_channels(channels, count, step.name)
    random = np.random.default_rng([seed, zlib.crc32(step.name.encode())])
    return np.sort(random.choice(count, min(count, check_positive("channels", channels)), replace=False))


def _prepared(batches, preprocess, image):
    with closing(batches):
        for batch in batches:
            yield batch._replace(images=prepare(batch.images, preprocess, image.shape, image.dtype))


def _in_colour(pictures, preprocess, channels):
    """Projections in the colours of the images; unchanged where the preprocessing has no transpose."""
    if preprocess is None:
        return pictures
    try:
        return to_pixel_space(pictures, preprocess, channels)
    except ValueError:
        return pictures


def _cut(pictures, corners, cells):
    """Cut a window from each projection, zero outside of it: float32 `(n, *cells, channels)`."""
    corners = corners.astype(np.int32)
    windows = crops.cut(pictures, np.arange(len(pictures), dtype=np.int32), corners, cells)
    return crops.blank(windows, corners, pictures.shape[1:3]).numpy().astype(np.float32)
