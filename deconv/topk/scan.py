"""Scan of a data set for the strongest activations of every channel, in one streaming pass (Fig. 2)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from deconv import graph
from deconv.datasets.batches import as_batches, prefetch
from deconv.graph.fingerprint import Source
from deconv.runtime.atomic_files import locked
from deconv.topk import checkpoint as state_file
from deconv.topk.candidates import finder
from deconv.topk.provenance import made_by, maps_of
from deconv.topk.ranking import last
from deconv.topk.results import TopActivations, tops_in
from deconv.topk.state import TopK
from deconv.validation import check_finite, check_positive, prepare

if TYPE_CHECKING:
    import keras


def top_activations(
    model: keras.Model,
    dataset: Any,
    layers: str | int | Sequence[str | int],
    k: int = 9,
    *,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 64,
    input_shape: Sequence[int] | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike | None = None,
    save_every: float = 60,
) -> dict[Any, TopActivations]:
    """Find the k images in which each channel has its strongest activations, and the positions of these.

    All layers are processed in one pass over the data, which takes little longer than the forward passes of the
    network: the next batch is read and preprocessed meanwhile. Memory holds a few batches and the strongest units,
    whatever the size of the data set. As in Fig. 2 of the paper, an image counts once per channel, with its strongest
    unit.

    A scan with a checkpoint can be interrupted at any time. The same call continues from the last batch saved. If
    `batch_size` is the same too, its result is bit for bit that of an uninterrupted scan, because the batches contain
    the same images and the network rounds alike. At the end the checkpoint contains the result, which the same call
    then returns at once, also from a folder that cannot be written to. `TopK.load` reads it. While a scan is running, a
    second one with the same checkpoint is rejected.

    Args:
        model: A functional or Sequential `keras.Model`.
        dataset: An `ImageSet`; or an array of images `(n, height, width, channels)`, or arrays `(images, labels)` or
            `(images, labels, ids)`; or a `tf.data.Dataset` of images, `(image, label)` or `(image, label, id)`, single
            or in batches; or a Keras `PyDataset`, a flow of its `ImageDataGenerator`, a PyTorch `Dataset` or
            `DataLoader`; or any object with one of these as `.dataset`. Data sets with a length are read batch by
            batch, infinite ones are rejected. See `deconv.datasets.batches.as_batches`, also for dicts, one-hot labels
            and sample weights. Without ids, images are numbered in their order.
        layers: One layer or a sequence of them: names, paths or indices.
        k: Number of images per channel.
        preprocess: Function applied to each batch of images before the model, in a separate thread.
        batch_size: Number of images per batch, if the data set is not batched already.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        progress: Whether to show a progress bar.
        checkpoint: Path of a file for the state. If it exists, the scan continues from it; it must then have the same
            model, layers, k, preprocessing and data set. Compared are: hashes of architecture and weights; the name of
            `preprocess` (of a `partial` also its arguments, of a lambda its code); the identity of an `ImageSet`, for a
            folder the names, sizes and content of its files; the content of arrays (beyond 64 MB an evenly spaced part
            of it); of all other data sets only types, length and first image. An `ImageSet` skips the images already
            processed without decoding them; a `tf.data.Dataset` is read from its start and must yield the same images
            in the same order in every pass.
        save_every: Seconds between two savings; 0 saves after every batch. The state is also saved when the scan fails
            or is interrupted.

    Returns:
        `{layer: TopActivations}`, whose keys are the elements of `layers`.

    Raises:
        ValueError: If the data set is empty, its images do not fit the model, a layer does not exist, or the network
            outputs NaN or infinity; or if the checkpoint is damaged, belongs to something else, is in use by another
            scan, is a folder, or its folder does not exist or cannot be written to.
        OSError: If saving the checkpoint fails, because the disk is full, for example. The message names the file.
    """
    check_positive("k", k)
    check_positive("batch_size", batch_size)
    if not isinstance(save_every, Real) or isinstance(save_every, bool) or not save_every >= 0:
        raise ValueError(f"save_every must be a number of seconds, at least 0; received {save_every!r}.")
    model_graph = graph.walk(model, input_shape)
    keys, steps = graph.find_all(model_graph, layers)
    below = graph.subgraph(model_graph, *steps)
    source, path = as_batches(dataset), None
    if checkpoint is None:
        state = TopK(maps_of(steps), k, sources=[Source({}, 0, False)])
    else:
        path = state_file.check_place(checkpoint)
        made = made_by(below, steps, preprocess, input_shape)
        new = TopK(maps_of(steps), k, made, [Source(source.identity(), 0, False)])
        state = _saved(path, new)
        if not state.complete:
            state_file.check_writable(path)
    with nullcontext() if path is None or state.complete else locked(path):
        if path is not None and not state.complete:
            state = _saved(path, new)  # another process may have with_floating_input before the lock was acquired
        source.first = state.sources[0].identity.get("first image")
        if state.complete:
            source.check_first()
        else:
            batches = prepared_batches(source.batches(batch_size, after=state.images), preprocess, below.inputs[0])
            find = finder(below, [graph.find(model_graph, layer) for layer in state.maps])
            with tqdm(unit=" images", initial=state.images, disable=not progress) as bar:
                _scan(find, state, source, batches, path, save_every, bar)
    tops = tops_in(model_graph, state.rankings)
    return {layer: tops[step.name] for layer, step in zip(keys, steps, strict=True)}


def _saved(path: Path, new: TopK) -> TopK:
    """The state in a file; the new state if there is no file."""
    return TopK.load(path, like=new) if path.exists() else new


def prepared_batches(
    batches: Any, preprocess: Callable[..., Any] | None, image: graph.Edge
) -> Generator[Any, None, None]:
    """Yield batches with preprocessed images; `image` is the input of the model graph."""
    # Closed explicitly: the traceback of an error may hold the generator until exit, when TensorFlow cannot end it.
    with closing(batches):
        for batch in batches:
            yield batch._replace(images=prepare(batch.images, preprocess, image.shape, image.dtype))


def _scan(
    find: Callable[..., Any],
    state: TopK,
    source: Any,
    batches: Generator[Any, None, None],
    path: Path | None,
    save_every: float,
    bar: tqdm,
) -> None:
    """Process all batches; with a path, save the state regularly and at the end, also after an error."""
    saved, last_saving = state.sources, time.monotonic()
    try:
        with closing(prefetch(batches)) as batches:
            for batch in batches:
                process_batch(find, state, batch)
                first = {} if source.first is None else {"first image": source.first}
                state.sources = [Source(state.sources[0].identity | first, batch.stop, False)]
                bar.update(len(batch.ids))
                if path is not None and time.monotonic() - last_saving >= save_every:
                    state.save(path)
                    saved, last_saving = state.sources, time.monotonic()
        if not state.images:
            raise ValueError("top_activations needs a data set of at least one image; received none.")
        state.sources = [state.sources[0]._replace(complete=True)]
    finally:
        # An interruption may have come between two layers. Processing the same batch again changes nothing.
        if path is not None and state.sources != saved:
            state.save(path)


def process_batch(find: Callable[..., Any], state: TopK, batch: Any) -> list[np.ndarray]:
    """Enter the candidates of a batch into the rankings of a state.

    Args:
        find: A function of `deconv.topk.candidates.finder`.
        state: The state.
        batch: A `Batch` of preprocessed images.

    Returns:
        The further arrays that `find` returns.

    Raises:
        ValueError: If an activation is NaN or infinite.
    """
    names, rankings = list(state.maps), state.rankings.values()
    starts = np.cumsum([0, *(len(ranking.ids) for ranking in rankings)])
    last_values, last_ids = map(np.concatenate, zip(*(last(ranking, state.k) for ranking in rankings), strict=True))
    count = len(batch.ids)
    # If an image occurs several times, more than k candidates may be needed to find k different images.
    most = min(state.k, count) if len(np.unique(batch.ids)) == count else count
    candidates = find(batch.images, batch.ids, last_values, last_ids, np.int32(most))
    finite, pairs, values, places, *more = (part.numpy() for part in candidates)
    if not finite.all():
        check_finite(np.array(np.nan), names[np.searchsorted(starts, np.argmin(finite), "right") - 1])
    bounds = np.searchsorted(pairs[:, 0], starts)
    for layer, first, part in zip(names, starts, map(slice, bounds, bounds[1:]), strict=False):
        channels, images = pairs[part].T
        state.enter(layer, channels - first, values[part], batch.ids[images], batch.labels[images], places[part])
    return more
