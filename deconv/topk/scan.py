"""One streaming pass over a data set for the strongest activations of every channel (Fig. 2)."""

import time
from contextlib import closing, nullcontext
from numbers import Real

import numpy as np
from tqdm import tqdm

from deconv import graph
from deconv.datasets.batches import as_batches, prefetch
from deconv.graph.fingerprint import Source
from deconv.runtime.atomic_files import locked
from deconv.topk import checkpoint as state_file
from deconv.topk.candidates import finder
from deconv.topk.ranking import last
from deconv.topk.state import TopK, made_by, maps_of, tops_in
from deconv.validation import check_finite, check_positive, prepare


def top_activations(
    model,
    dataset,
    layers,
    k=9,
    *,
    preprocess=None,
    batch_size=64,
    input_shape=None,
    progress=False,
    checkpoint=None,
    save_every=60,
):
    """Find the k images in which each channel is most active, and where in them.

    One pass over the data for all layers, in little more time than the network itself takes: the next batch is read and
    preprocessed meanwhile. Memory holds a few batches and the winners, whatever the size of the data set. As in Fig. 2
    of the paper an image counts once per channel, with its strongest position.

    With a checkpoint the scan can be killed at any time. The same call goes on from the last batch saved, and its
    result is the same bit for bit as without the interruption if `batch_size` is the same too: then the batches are
    made of the same images, and the network rounds alike. In the end the checkpoint holds the result, which the same
    call returns at once, also from a folder that cannot be written to. `TopK.load` reads it. While a scan is under way
    a second one with the same checkpoint is refused.

    Args:
        model: A functional or Sequential `keras.Model`.
        dataset: An `ImageSet`; or an array of images `(n, height, width, channels)`, or arrays `(images, labels)` or
            `(images, labels, ids)`; or a `tf.data.Dataset` of images, `(image, label)` or `(image, label, id)`, single
            or in batches; or a Keras `PyDataset`, a flow of its `ImageDataGenerator`, a PyTorch `Dataset` or
            `DataLoader`; or anything with such a `.dataset`. What has a length is read batch by batch, what has no end
            is refused: see `deconv.datasets.batches.opened`, also for dicts, one-hot labels and sample weights. Without
            ids,
            images are numbered in the order in which they come.
        layers: One layer or a sequence of them: names, paths or indices.
        k: How many images per channel.
        preprocess: Function applied to each batch of images before the model sees it, in a thread of its own.
        batch_size: How many images are computed at a time, if the data set is not in batches already.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.
        progress: Whether to show a progress bar.
        checkpoint: Path of a file for the state. If it is there, the scan goes on from it. It must be of the same
            model, layers, k, preprocessing and data set. That is checked by hashes of architecture and weights; by the
            name of `preprocess` (of a `partial` by its arguments too, of a lambda by its code); by what an `ImageSet`
            says of itself, of a folder by names, sizes and content of its pictures; by the content of arrays (beyond 64
            MB an evenly spaced part of it); and of all others by types, count and first image: more cannot be known.
            An `ImageSet` leaves out the images already seen without decoding them; a `tf.data.Dataset` is read from
            its start and must give the same images in the same order at every pass.
        save_every: Seconds between two savings; 0 saves after every batch. When the scan fails or is interrupted, what
            it has seen is saved too.

    Returns:
        `{layer: TopActivations}`, with the layers as they were given.

    Raises:
        ValueError: If the data set is empty, its images do not fit the model, a layer does not exist, the network puts
            out NaN or infinity, or the checkpoint is damaged, belongs to something else or is in use by another scan,
            or lies where none can be: it is a folder, or its folder is not there or cannot be written to.
        OSError: If the checkpoint cannot be written when the time has come, because the disk is full, for example. The
            message names the file.
    """
    check_positive("k", k)
    check_positive("batch_size", batch_size)
    if not isinstance(save_every, Real) or isinstance(save_every, bool) or not save_every >= 0:
        raise ValueError(f"save_every must be a number of seconds, at least 0; received {save_every!r}.")
    model_graph = graph.walk(model, input_shape)
    layers, steps = graph.find_all(model_graph, layers)
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
            state = _saved(path, new)  # another process may have gone on before the lock was ours
        source.first = state.sources[0].identity.get("first image")
        if state.complete:
            source.check_first()
        else:
            batches = _prepared(source.batches(batch_size, after=state.images), preprocess, below.inputs[0])
            find = finder(below, [graph.find(model_graph, layer) for layer in state.maps])
            with tqdm(unit=" images", initial=state.images, disable=not progress) as bar:
                _scan(find, state, source, batches, path, save_every, bar)
    tops = tops_in(model_graph, state)
    return {layer: tops[step.name] for layer, step in zip(layers, steps, strict=True)}


def _saved(path, new):
    """The state in a file; a new one where there is none."""
    return TopK.load(path, like=new) if path.exists() else new


def _prepared(batches, preprocess, image):
    with closing(batches):  # not left to an error's traceback: TensorFlow cannot end a generator's stream at exit
        for batch in batches:
            yield batch._replace(images=prepare(batch.images, preprocess, image.shape, image.dtype))


def _scan(find, state, source, batches, path, save_every, bar):
    """Show a state all batches; with a path, save it every so often and at the end, however that comes."""
    saved, last_saving = state.sources, time.monotonic()
    try:
        with closing(prefetch(batches)) as batches:
            for batch in batches:
                _show(find, state, batch)
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
        # An interruption may have come between two layers: to be shown the same batch once more will change nothing.
        if path is not None and state.sources != saved:
            state.save(path)


def _show(find, state, batch):
    """Show a state a batch: of each layer, what is stronger than the last that it keeps."""
    names, rankings = list(state.maps), state.rankings.values()
    starts = np.cumsum([0, *(len(ranking.ids) for ranking in rankings)])
    values, ids = map(np.concatenate, zip(*(last(ranking, state.k) for ranking in rankings), strict=True))
    count = len(batch.ids)
    most = min(state.k, count) if len(np.unique(batch.ids)) == count else count
    found = find(batch.images, batch.ids, values, ids, np.int32(most))
    finite, pairs, values, places = (part.numpy() for part in found)
    if not finite.all():
        check_finite(np.nan, names[np.searchsorted(starts, np.argmin(finite), "right") - 1])
    ends = np.searchsorted(pairs[:, 0], starts)
    for layer, channel, part in zip(names, starts, map(slice, ends, ends[1:]), strict=False):
        channels, images = pairs[part].T
        state.enter(layer, channels - channel, values[part], batch.ids[images], batch.labels[images], places[part])
