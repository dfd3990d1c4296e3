"""The strongest activations of every channel as a state: shown batches, merged, saved and taken up again (Fig. 2)."""

import math
from typing import NamedTuple

import numpy as np

from deconv import graph
from deconv.datasets.batches import whole_numbers
from deconv.graph import fingerprint
from deconv.graph.receptive_field import plane, windows_below
from deconv.runtime.short_repr import short_repr
from deconv.topk import checkpoint
from deconv.topk.candidates import kept_dtype
from deconv.topk.ranking import joined, merged, nobody
from deconv.topk.state_checks import check_about, ranking_of, sources_of
from deconv.validation import check_finite, check_positive


class TopActivations(NamedTuple):
    """The strongest units of a layer, one per image, strongest first; equal ones by image id.

    With fewer than k images the arrays are as much shorter.

    Attributes:
        values: `(channels, k)`, the activations: float32 where that holds them, else float64.
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

    def __repr__(self) -> str:
        return short_repr(self)


class Maps(NamedTuple):
    """What a layer puts out: `shape` without the batch, channels last, and the `dtype` in which its values are kept."""

    shape: tuple[int, ...]
    dtype: str


class TopK:
    """The k strongest units of each channel among the images shown so far, an image once per channel.

    It depends only on which images were shown, not on their order, nor on how they were parted between batches,
    workers and restarts: `merge` is associative, commutative and idempotent. Equal activations are ranked by image id;
    so all who work together must call an image by the same id, as an `ImageSet` and its shards do.

    `top_activations` fills one and saves it. Two workers, each with its part of the data set:

        digits = deconv.datasets.load("mnist-5k", "test")
        for index in (0, 1):  # each in a process, or on a machine, of its own
            file = f"part{index}.npz"
            deconv.top_activations(model, digits.shard(2, index), "conv2", preprocess=preprocess, checkpoint=file)

        state = deconv.TopK.load("part0.npz").merge(deconv.TopK.load("part1.npz"))
        state.complete, state.images  # True, 1000
        tops = state.tops(model)["conv2"]  # TopActivations, as of one scan of all digits

    `TopK.of` makes an empty one for activations of one's own.

    Args:
        maps: `{layer: Maps}`.
        k: How many images are kept per channel.
        made_by: What it is made by, as `TopK.of` finds it; two states must agree in it to be merged.
        sources: `Source`s, the data sets that it has been shown.

    Attributes:
        maps, k, made_by, sources: As given.
        rankings: `{layer: deconv.topk.ranking.Ranking}`.
    """

    def __init__(self, maps, k=9, made_by=None, sources=()):
        self.maps, self.k, self.made_by, self.sources = maps, check_positive("k", k), dict(made_by or {}), list(sources)
        self.rankings = {layer: nobody(shape[-1], 0, dtype) for layer, (shape, dtype) in maps.items()}

    @classmethod
    def of(cls, model, layers, k=9, *, preprocess=None, input_shape=None):
        """An empty state for layers of a model.

        Args:
            model: A functional or Sequential `keras.Model`.
            layers: One layer or a sequence of them: names, paths or indices. The state calls them by their names.
            k: How many images are kept per channel.
            preprocess: The function that the images go through first; known by module and name only.
            input_shape: `(height, width, channels)` for a model that leaves its input size open.
        """
        model_graph = graph.walk(model, input_shape)
        _, steps = graph.find_all(model_graph, layers)
        return cls(maps_of(steps), k, made_by(graph.subgraph(model_graph, *steps), steps, preprocess, input_shape))

    @property
    def images(self):
        """How many images `top_activations` has shown it, of all its sources."""
        return sum(source.images for source in self.sources)

    @property
    def complete(self):
        """Whether it has been shown all images of all its sources."""
        return bool(self.sources) and all(source.complete for source in self.sources)

    def update(self, activations, ids, labels=None):
        """Show it a batch.

        Args:
            activations: `{layer: (n, *shape)}` for every layer of the state, as `deconv.activations` gives them.
            ids: `(n,)` ints, which images these are.
            labels: `(n,)` ints; -1 by default.

        Raises:
            ValueError: If a layer is missing, activations have another shape or are not finite, or ids or labels are
                not one whole number for each image. The state is then as it was.
        """
        ids = whole_numbers("ids", ids)
        labels = np.full(len(ids), -1) if labels is None else whole_numbers("labels", labels, len(ids))
        for layer, (images, channels, values, positions) in self._strongest(activations, len(ids)).items():
            self.enter(layer, channels, values, ids[images], labels[images], positions)

    def enter(self, layer, channels, values, ids, labels, positions):
        """Show it single units of a layer: arrays `(n,)`, the values finite, positions counted row by row."""
        self.rankings[layer] = joined(self.rankings[layer], self.k, channels, values, ids, labels, positions)

    def merge(self, other):
        """The state that has been shown whatever either of the two has been shown; both stay as they are.

        Raises:
            ValueError: If they were made by different models, with other layers, k or preprocessing, or were shown
                different data sets that do not say which image is which.
        """
        if not isinstance(other, TopK):
            raise ValueError(f"A TopK merges with another TopK; received {type(other).__name__}.")
        found = _differences(self, other, "in one", "in the other")
        if found:
            raise ValueError(
                f"These states cannot be merged; they differ in {'; '.join(found)}. Merge what was made by one model, "
                "with the same layers, k and preprocess."
            )
        state = TopK(self.maps, self.k, self.made_by, fingerprint.merged([*self.sources, *other.sources]))
        if len(state.sources) > 1 and not all(source.identity["numbered"] for source in state.sources):
            raise ValueError(
                "These states cannot be merged: they were shown different data sets without ids, the images of each "
                "numbered from 0. Scan data sets of (image, label, id), with an id for each image of all of them."
            )
        state.rankings = {
            layer: merged(ranking, other.rankings[layer], self.k) for layer, ranking in self.rankings.items()
        }
        return state

    def tops(self, model):
        """What it holds, with the windows that the units see.

        Args:
            model: The model that it was made by.

        Returns:
            `{layer: TopActivations}`.

        Raises:
            ValueError: If the model is another one.
        """
        model_graph = graph.walk(model, self.made_by.get("input_shape"))
        steps = [graph.find(model_graph, layer) for layer in self.maps]
        found = fingerprint.architecture(graph.subgraph(model_graph, *steps), self.maps)
        if self.made_by.get("architecture", found) != found:
            raise ValueError(
                f"This state was made by model '{self.made_by['model']}', and what leads up to its layers is not the "
                f"same in '{model.name}', which was received. Give the model that it was made by."
            )
        return tops_in(model_graph, self)

    def save(self, path):
        """Write it to a file, which is replaced at once or not at all: see `state_file.save`.

        Threads and processes that save to one file do not disturb each other; who ends last has written it.

        Raises:
            OSError: If it cannot be written; the message names the file.
        """
        about = {"k": self.k, "maps": self.maps, "made_by": self.made_by, "sources": self.sources}
        named = ((f"{number}.", ranking._asdict()) for number, ranking in enumerate(self.rankings.values()))
        checkpoint.save(path, about, {start + name: array for start, arrays in named for name, array in arrays.items()})

    @classmethod
    def load(cls, path, like=None):
        """Read a saved state.

        Args:
            path: The file.
            like: A state that it must agree with in model, layers, k and preprocessing and, if that has any, in its
                sources; for example `TopK.of(model, layers, k)`. None takes any.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged or something else, holds what no scan leaves (values that are not finite or
                not in order, an image twice, positions outside of the map), or differs from `like`. The message names
                the file and says in what.
        """
        with checkpoint.reading(path) as (about, arrays):
            check_about(about)
            maps = {layer: Maps(tuple(shape), dtype) for layer, (shape, dtype) in about["maps"].items()}
            rankings = {
                layer: ranking_of(arrays, number, layer, shape, about["k"], sources_of(about))
                for number, (layer, shape) in enumerate(maps.items())
            }
            state = cls(maps, about["k"], about["made_by"], sources_of(about))
            state.rankings = rankings
        found = [] if like is None else _differences(state, like, "there", "here", sources=bool(like.sources))
        if found:
            raise ValueError(
                f"The state in '{path}' does not fit; it differs in {'; '.join(found)}. Give another path, or delete "
                "the file to begin anew."
            )
        return state

    def _strongest(self, activations, count):
        """The strongest unit of each image and channel: `{layer: (images, channels, values, positions)}`, all flat."""
        units = {}
        for layer, (shape, dtype) in self.maps.items():
            maps = np.asarray(activations.get(layer, np.empty(0)))
            if maps.shape != (count, *shape):
                raise ValueError(
                    f"The activations of layer '{layer}' must have shape {(count, *shape)}, one map for each id; "
                    f"received {maps.shape if layer in activations else f'only {list(activations)}'}."
                )
            cells = check_finite(maps.astype(dtype), layer).reshape(count, math.prod(shape[:-1]), shape[-1])
            images, channels = (places.ravel() for places in np.indices((count, shape[-1])))
            units[layer] = images, channels, cells.max(axis=1).ravel(), cells.argmax(axis=1).ravel()
        return units


def maps_of(steps):
    """`{name: Maps}` of some steps."""
    return {step.name: Maps(tuple(step.output.shape), kept_dtype(step.output.dtype)) for step in steps}


def made_by(model_graph, steps, preprocess, input_shape=None):
    """What a state is made by, for a graph cut to the steps that it watches."""
    shape = None if input_shape is None else [int(size) for size in input_shape]
    model = fingerprint.of_model(model_graph, [step.name for step in steps])
    told = {"preprocess": fingerprint.of_function(preprocess)} | fingerprint.of_arguments(preprocess)
    return model | told | {"input_shape": shape}


def tops_in(model_graph, state):
    """What a state holds, with the windows that the units see in a model laid open: `{layer: TopActivations}`."""
    return {
        layer: _with_windows(ranking, graph.subgraph(model_graph, graph.find(model_graph, layer)))
        for layer, ranking in state.rankings.items()
    }


def _with_windows(ranking, model_graph):
    """A ranking of the last step of a graph, as `TopActivations`."""
    shape = model_graph.steps[-1].output.shape
    _, columns = plane(shape)
    values, ids, labels, positions = ranking
    positions = np.stack(np.divmod(positions, columns), axis=-1)
    units = positions.reshape(-1, 2)
    if len(shape) != 3:  # all units see the same
        units = units[:1]
    windows = np.broadcast_to(windows_below(model_graph, units)[model_graph.inputs[0]], (values.size, 4)).reshape(
        *values.shape, 4
    )
    return TopActivations(values, ids, labels, positions, windows.copy())


def _differences(one, other, in_one, in_other, sources=False):
    """In what two states differ, as texts; with `sources` in these too, of which each has one."""
    found = []
    if one.k != other.k:
        found.append(f"k ({one.k} {in_one}, {other.k} {in_other})")
    ignored = {"model", "input_shape"}
    if set(one.maps) != set(other.maps):  # then the model is not hashed up to the same layers
        found.append(f"layers ({', '.join(one.maps)} {in_one}, {', '.join(other.maps)} {in_other})")
        ignored |= {"architecture", "weights"}
    elif one.made_by.get("architecture") != other.made_by.get("architecture"):
        ignored |= {"weights"}
    made = ({name: state.made_by[name] for name in state.made_by if name not in ignored} for state in (one, other))
    found += fingerprint.changes(*made, in_one, in_other)
    if sources and len(one.sources) != 1:
        found.append(f"data set ({len(one.sources)} of them {in_one}, one {in_other})")
    elif sources:
        seen = (state.sources[0].identity for state in (one, other))
        found += [f"data set: {change}" for change in fingerprint.changes(*seen, in_one, in_other)]
    if not found and one.maps != other.maps:
        found.append("shapes of the layers")
    return found
