"""One pass over a data set for the strongest units and the statistics of all channels of several layers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tqdm import tqdm

from deconv import graph
from deconv.datasets.batches import as_batches, prefetch
from deconv.explorer.channel_statistics import ChannelStatistics, empty_statistics
from deconv.graph.fingerprint import Source
from deconv.runtime.atomic_files import locked
from deconv.topk import checkpoint
from deconv.topk.candidates import finder
from deconv.topk.provenance import made_by, maps_of
from deconv.topk.scan import prepared_batches, process_batch
from deconv.topk.state import TopK
from deconv.validation import check_positive

if TYPE_CHECKING:
    import keras

FORMAT = "deconvnet channel statistics"
_TOP, _STATISTICS = "top.npz", "statistics.npz"


class Survey:
    """The strongest units and the statistics of the channels of several layers, among the images processed so far.

    Args:
        top: State of the search for the strongest units.
        statistics: `{layer: ChannelStatistics}`; None for those of no image.

    Attributes:
        top: As given.
        statistics: As given.
    """

    def __init__(self, top: TopK, statistics: Mapping[str, ChannelStatistics] | None = None) -> None:
        self.top = top
        empty = {layer: empty_statistics(maps.shape[-1]) for layer, maps in top.maps.items()}
        self._processed = (dict(statistics or empty), top.images)

    @property
    def statistics(self) -> dict[str, ChannelStatistics]:
        """`{layer: ChannelStatistics}`."""
        return self._processed[0]

    @property
    def images(self) -> int:
        """Number of images processed."""
        return self._processed[1]

    def update(self, activations: Mapping[str, ArrayLike], ids: ArrayLike, labels: ArrayLike | None = None) -> None:
        """Process a batch whose activations have been computed elsewhere.

        Args:
            activations: `{layer: (n, *shape)}` for every layer of the state, as `deconv.activations` returns them.
            ids: `(n,)` ints, the id of each image.
            labels: `(n,)` ints; -1 by default.

        Raises:
            ValueError: As `TopK.update`. The state is then unchanged.
        """
        self.top.update(activations, ids, labels)
        numbers = np.asarray(ids)
        of_layers = []
        for layer, (shape, dtype) in self.top.maps.items():
            cells = np.asarray(activations[layer]).astype(dtype).reshape(len(numbers), -1, shape[-1])
            above = (cells > 0).mean(axis=1)
            of_layers += [cells.max(axis=1), cells.argmax(axis=1), cells.mean(axis=1, dtype=np.float64), above]
        self._add(of_layers, numbers, np.full(len(numbers), -1) if labels is None else np.asarray(labels), len(numbers))

    def _add(self, arrays: Sequence[np.ndarray], ids: np.ndarray, labels: np.ndarray, count: int) -> None:
        """Add four arrays per layer, maxima, positions, means and covered shares, of `count` images."""
        statistics, images = self._processed
        updated = {}
        for number, layer in enumerate(self.top.maps):
            maxima, positions, means, covered = arrays[4 * number : 4 * number + 4]
            updated[layer] = statistics[layer].update(maxima, positions, means, covered, ids, labels)
        # One assignment: an interruption leaves the state before or after the batch, and never counts a batch twice.
        self._processed = (updated, images + count)

    def merge(self, other: Survey) -> Survey:
        """Return a new state, as if it had processed the images of both.

        Raises:
            ValueError: As `TopK.merge`.
        """
        statistics = {layer: own.merge(other.statistics[layer]) for layer, own in self.statistics.items()}
        survey = Survey(self.top.merge(other.top), statistics)
        survey._processed = (statistics, self.images + other.images)
        return survey

    def save(self, folder: str | os.PathLike) -> None:
        """Write the state as two files of a folder, each replaced at once or not at all.

        The strongest units are written first. If the process ends between the two, the images that only they contain
        are processed again, which changes nothing in them.

        Raises:
            OSError: If a file cannot be written; the message names it.
        """
        statistics, images = self._processed
        self.top.save(Path(folder) / _TOP)
        channels = {layer: len(of_layer.active) for layer, of_layer in statistics.items()}
        named = ((f"{number}.", of_layer.to_arrays()) for number, of_layer in enumerate(statistics.values()))
        arrays = {start + name: array for start, parts in named for name, array in parts.items()}
        about = {"format": FORMAT, "channels": channels, "images": images, "made_by": self.top.made_by}
        checkpoint.save(Path(folder) / _STATISTICS, about, arrays)

    @classmethod
    def load(cls, folder: str | os.PathLike, like: TopK | None = None) -> Survey:
        """Read a saved state.

        Args:
            folder: The folder given to `save`.
            like: As for `TopK.load`.

        Raises:
            FileNotFoundError: If a file does not exist.
            ValueError: If a file is damaged, the two do not belong together, or as `TopK.load`.
        """
        top = TopK.load(Path(folder) / _TOP, like=like)
        with checkpoint.reading(Path(folder) / _STATISTICS, FORMAT) as (about, arrays):
            if about["channels"] != {layer: maps.shape[-1] for layer, maps in top.maps.items()}:
                raise ValueError("it has other layers than the strongest units beside it")
            if about["made_by"] != top.made_by or about["images"] > top.images:
                raise ValueError("it belongs to another scan than the strongest units beside it")
            statistics = {
                layer: ChannelStatistics.from_arrays(_part(arrays, f"{number}."), maps.shape[-1])
                for number, (layer, maps) in enumerate(top.maps.items())
            }
            if any(of_layer.images != about["images"] for of_layer in statistics.values()):
                raise ValueError("its layers have different numbers of images")
        survey = cls(top, statistics)
        survey._processed = (statistics, about["images"])
        return survey


def survey(
    model: keras.Model,
    dataset: Any,
    layers: str | int | Sequence[str | int],
    k: int = 9,
    *,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 64,
    input_shape: Sequence[int] | None = None,
    progress: bool = False,
    folder: str | os.PathLike | None = None,
    save_every: float = 60,
) -> Survey:
    """Compute the strongest units and the statistics of all channels of several layers in one pass over the data.

    Memory holds a few batches and the state, whatever the size of the data set. With a folder, the scan can be
    interrupted at any time; the same call continues from the last batch saved, and returns a finished state at once.

    Args:
        model, dataset, layers, k, preprocess, batch_size, input_shape, progress, save_every: See `top_activations`.
        folder: Existing folder for the state; None to keep it in memory alone.

    Returns:
        A `Survey`.

    Raises:
        ValueError, OSError: As `top_activations`, for the files in the folder.
    """
    check_positive("k", k)
    check_positive("batch_size", batch_size)
    model_graph = graph.walk(model, input_shape)
    _, steps = graph.find_all(model_graph, layers)
    below = graph.subgraph(model_graph, *steps)
    source = as_batches(dataset)
    if folder is None:
        state = Survey(TopK(maps_of(steps), k, sources=[Source({}, 0, False)]))
    else:
        made = made_by(below, steps, preprocess, input_shape)
        new = TopK(maps_of(steps), k, made, [Source(source.identity(), 0, False)])
        is_saved = (Path(folder) / _STATISTICS).exists()
        state = Survey.load(folder, new) if is_saved else Survey(new)
    source.first = state.top.sources[0].identity.get("first image")
    if state.top.complete and state.images == state.top.images:
        source.check_first()
        return state
    batches = prepared_batches(source.batches(batch_size, after=state.images), preprocess, below.inputs[0])
    find = finder(below, [graph.find(model_graph, layer) for layer in state.top.maps], _per_image)
    bar = tqdm(unit=" images", desc="scan", initial=state.images, total=_count(dataset), disable=not progress)
    with bar, nullcontext() if folder is None else locked(folder):
        _scan(find, state, source, batches, folder, save_every, bar)
    return state


def _scan(find, state, source, batches, folder, save_every, bar):
    """Process all batches; with a folder, save the state regularly and at the end, also after an error."""
    saved, last_saving = state._processed, time.monotonic()
    try:
        with closing(prefetch(batches)) as batches:
            for batch in batches:
                more = process_batch(find, state.top, batch)
                state._add(more, batch.ids, batch.labels, len(batch.ids))
                _set_source(state, source, False)
                bar.update(len(batch.ids))
                if folder is not None and time.monotonic() - last_saving >= save_every:
                    state.save(folder)
                    saved, last_saving = state._processed, time.monotonic()
        if not state.images:
            raise ValueError("A survey needs a data set of at least one image; received none.")
        _set_source(state, source, True)
        saved = None
    finally:
        if folder is not None and state._processed is not saved:
            _set_source(state, source, state.top.complete)
            state.save(folder)


def _set_source(state, source, complete):
    """Record the number of processed images and the first image of the data set in the state."""
    first = {} if source.first is None else {"first image": source.first}
    state.top.sources = [Source(state.top.sources[0].identity | first, state.images, complete)]


def _per_image(maps: list[tf.Tensor]) -> list[tf.Tensor]:
    """Maximum, its first position, mean and share above zero of each image and channel, for each layer."""
    results = []
    for of_layer in maps:
        shape = tf.shape(of_layer)
        cells = tf.reshape(of_layer, [shape[0], shape[1] * shape[2], of_layer.shape[-1]])
        cells = tf.cast(cells, "float64" if of_layer.dtype == tf.float64 else "float32")
        maxima = tf.reduce_max(cells, axis=1)
        numbers = tf.range(tf.shape(cells)[1])[None, :, None]
        positions = tf.reduce_min(tf.where(cells == maxima[:, None], numbers, tf.shape(cells)[1] - 1), axis=1)
        results += [
            maxima,
            positions,
            tf.reduce_mean(cells, axis=1),
            tf.reduce_mean(tf.cast(cells > 0, cells.dtype), 1),
        ]
    return results


def _part(arrays, start):
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def _count(dataset):
    """Number of images of a data set, for the time left; None if it is unknown."""
    if hasattr(dataset, "size") and isinstance(dataset.size, int) and hasattr(dataset, "pick"):
        return dataset.size
    images = dataset[0] if isinstance(dataset, tuple) and dataset else dataset
    return len(images) if hasattr(images, "shape") and len(images.shape) == 4 else None
