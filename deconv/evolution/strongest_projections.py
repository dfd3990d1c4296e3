"""Projections of the strongest unit of each channel over a data set, compiled once for a model in training."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.datasets.batches import prefetch
from deconv.deconvnet.projection import Deconvnet
from deconv.graph.compilation import compile_function, version
from deconv.graph.receptive_field import plane, receptive_fields_below
from deconv.imaging.pixel_space import to_pixel_space
from deconv.ops import crops
from deconv.runtime.dtypes import any_array
from deconv.runtime.short_repr import short_repr
from deconv.topk.candidates import kept_dtype
from deconv.validation import check_channels, check_finite, check_positive, prepare

if TYPE_CHECKING:
    from deconv.datasets import batches as data


class Strongest(NamedTuple):
    """The strongest unit of each channel at one epoch: attributes of an `Evolution`, `(c, ...)` each."""

    projections: np.ndarray
    values: np.ndarray
    ids: np.ndarray
    positions: np.ndarray
    windows: np.ndarray
    filters: np.ndarray | None

    def __repr__(self) -> str:
        return short_repr(self)


class StrongestUnits:
    """A model compiled for finding and projecting the strongest units of selected channels.

    It uses the current weights of the model and is traced only once.

    Args:
        model: A functional or Sequential `keras.Model`.
        layers: One layer or a sequence of them: names, paths or indices. None for all convolutions.
        channels: As for `deconv.FeatureEvolution`.
        seed: Seed of the choice of channels.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Attributes:
        net: The `Deconvnet` of the model.
        model_graph: The model graph up to the layers.
        channels: `{name of the layer: ints (c,)}`.

    Raises:
        ValueError: If a layer or a channel does not exist, or the model has no convolution and `layers` is None.
    """

    def __init__(
        self,
        model: keras.Model,
        layers: str | int | Sequence[str | int] | None = None,
        channels: int | Sequence[int] | Mapping[str, int | Sequence[int]] = 6,
        seed: int = 0,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        self.net, self._version = Deconvnet(model, input_shape=input_shape), version(model)
        model_graph = self.net.graph
        if layers is None:
            steps = [step for step in model_graph.steps if isinstance(step.layer, keras.layers.Conv2D)]
            if not steps:
                raise ValueError(f"Model '{model.name}' has no convolution. Name the layers: layers=[...].")
        else:
            _, steps = graph.find_all(model_graph, layers)
        self.channels = {step.name: _selected(step, channels, seed) for step in steps}
        self.model_graph = graph.subgraph(model_graph, *steps)
        self._steps = {step.name: step for step in steps}
        self._starts = np.cumsum([0, *(len(selected) for selected in self.channels.values())])
        image = self.model_graph.inputs[0]
        self._peaks = compile_function(self._peaks_of, tf.TensorSpec((None, *image.shape), image.dtype))

    def fits(self, model: keras.Model) -> bool:
        """Return whether this was compiled for the model, and its graph has not changed since."""
        return self.net.model is model and self._version == version(model)

    def _peaks_of(self, images):
        """The largest activation of each selected channel in each image, `(n, channels)`, and its flat position."""
        values, peaks, places = graph.run(self.model_graph, images), [], []
        for name, step in self._steps.items():
            cells = tf.cast(tf.gather(values[step.output], self.channels[name], axis=-1), self._dtype)
            cells = tf.reshape(cells, [tf.shape(images)[0], np.prod(plane(step.output.shape)), cells.shape[-1]])
            peaks.append(tf.reduce_max(cells, axis=1))
            # tf.argmax does not specify which of several maxima it returns.
            count = cells.shape[1]
            order = tf.where(cells == peaks[-1][:, None], tf.range(count)[:, None], count - 1)
            places.append(tf.reduce_min(order, axis=1))
        return tf.concat(peaks, axis=1), tf.concat(places, axis=1)

    @property
    def _dtype(self):
        return kept_dtype(*(step.output.dtype for step in self._steps.values()))

    def strongest(
        self,
        source: data.Arrays | data.Stream | data.Sequence,
        preprocess: Callable[[np.ndarray], ArrayLike] | None = None,
        batch_size: int = 64,
    ) -> dict[str, Strongest]:
        """Find the strongest unit of each channel in one pass over the data, and project it.

        Args:
            source: A data set, as `deconv.datasets.batches.as_batches` returns it.
            preprocess: Preprocessing function, applied to each batch of images.
            batch_size: Number of images computed at a time.

        Returns:
            `{layer: Strongest}`. Projections are in pixel space if `preprocess` has a transpose (see `to_pixel_space`),
            else in the space of the model's input.

        Raises:
            ValueError: If the data set is empty, does not fit the model, or a layer puts out NaN or infinity.
        """
        values, ids, places, images = self._units(source.batches(batch_size), preprocess)
        colours, result = source.channels, {}
        for (name, step), part in zip(self._steps.items(), map(slice, self._starts, self._starts[1:]), strict=False):
            positions = np.stack(np.divmod(places[part], plane(step.output.shape)[1]), axis=1)
            cells, corners = self._windows(step, positions)
            projections = [
                _cut(_in_pixel_space(whole, preprocess, colours), corners[block], cells)
                for block, whole in self._projections(step, positions, ids[part], images, batch_size)
            ]
            result[name] = Strongest(
                projections=np.concatenate(projections),
                values=values[part],
                ids=ids[part],
                positions=positions,
                windows=np.concatenate([corners, corners + cells], axis=1),
                filters=self._filters(step),
            )
        return result

    def _units(self, batches, preprocess):
        """Values, image ids and flat positions of the strongest units, and the images that contain them.

        Of equal values that of the smallest image id is taken.
        """
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
            raise ValueError("The data set must have at least one image; received none.")
        return values, ids, places, images

    def _windows(self, step, positions):
        """Size of the receptive fields of units, and first row and column of each, which may be outside."""
        image = self.model_graph.inputs[0]
        field = receptive_fields_below(graph.subgraph(self.model_graph, step)).get(image)
        if field is None:
            return image.shape[:2], np.zeros_like(positions)
        return field.cells, positions * field.strides - field.before

    def _projections(
        self, step: graph.Step, positions: np.ndarray, ids: np.ndarray, images: dict[int, np.ndarray], batch_size: int
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Projections of units in blocks: the slice of the units, and `(n, height, width, channels)`."""
        wanted, numbers = np.unique(ids, return_inverse=True)
        inputs = np.stack([images[number] for number in wanted.tolist()])
        for first in range(0, len(ids), batch_size):
            block = slice(first, first + batch_size)
            channels = self.channels[step.name][block]
            yield (
                block,
                self.net.project_units(
                    inputs, step.name, channels, positions[block], numbers=numbers[block], batch_size=batch_size
                ),
            )

    def _filters(self, step):
        """The weights of each selected channel, flat; None for a layer without one filter per channel."""
        kernel = getattr(step.layer, "kernel", None)
        if kernel is None or kernel.shape[-1] != step.output.shape[-1]:
            return None
        kernel = tf.convert_to_tensor(kernel).numpy().astype(np.float32)
        return kernel[..., self.channels[step.name]].reshape(-1, len(self.channels[step.name])).T


def _selected(step, channels, seed):
    """Channels of a layer: the given ones, or the given number of channels drawn at random, in ascending order."""
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
    """Batches with preprocessed images."""
    with closing(batches):
        for batch in batches:
            yield batch._replace(images=prepare(batch.images, preprocess, image.shape, image.dtype))


def _in_pixel_space(projections, preprocess, channels):
    """Projections in pixel space; unchanged if the preprocessing has no transpose."""
    if preprocess is None:
        return projections
    try:
        return to_pixel_space(projections, preprocess, channels)
    except ValueError:
        return projections


def _cut(projections, corners, cells):
    """Cut a window from each projection, zero outside of it: float32 `(n, *cells, channels)`."""
    corners = corners.astype(np.int32)
    windows = crops.cut(projections, np.arange(len(projections), dtype=np.int32), corners, cells)
    return crops.blank(windows, corners, projections.shape[1:3]).numpy().astype(np.float32)
