"""State of a search for the strongest activations: updated by batches, merged, saved and loaded (Fig. 2)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from deconv import graph
from deconv.datasets.batches import whole_numbers
from deconv.graph import fingerprint
from deconv.topk import checkpoint
from deconv.topk.provenance import Maps, differences_of, made_by, maps_of
from deconv.topk.ranking import empty, joined, merged
from deconv.topk.results import TopActivations, tops_in
from deconv.topk.state_checks import check_about, ranking_of, sources_of
from deconv.validation import check_finite, check_positive

if TYPE_CHECKING:
    import keras


class TopK:
    """The k strongest units of each channel among the images processed so far, one unit per image and channel.

    The state depends only on the set of images, not on their order or on how they are divided between batches, workers
    and restarts: `merge` is associative, commutative and idempotent. Equal activations are ranked by image id, so all
    workers must use the same id for an image, as an `ImageSet` and its shards do.

    `top_activations` fills a state and saves it. Two workers, each with its part of the data set:

        digits = deconv.datasets.load("mnist-5k", "test")
        for index in (0, 1):  # each in its own process, or on its own machine
            file = f"part{index}.npz"
            deconv.top_activations(model, digits.shard(2, index), "conv2", preprocess=preprocess, checkpoint=file)

        state = deconv.TopK.load("part0.npz").merge(deconv.TopK.load("part1.npz"))
        state.complete, state.images  # True, 1000
        tops = state.tops(model)["conv2"]  # TopActivations, equal to those of one scan of all digits

    `TopK.of` makes an empty state for activations that are computed elsewhere.

    Args:
        maps: `{layer: Maps}`.
        k: Number of images per channel.
        made_by: Provenance, as computed by `TopK.of`; it must be equal in states that are merged.
        sources: `deconv.graph.fingerprint.Source`s, the data sets of the processed images.

    Attributes:
        maps, k, made_by, sources: As given.
        rankings: `{layer: deconv.topk.ranking.Ranking}`.

    Raises:
        ValueError: If k is not a whole number of at least 1.
    """

    def __init__(
        self,
        maps: Mapping[str, Maps],
        k: int = 9,
        made_by: Mapping[str, Any] | None = None,
        sources: Sequence[fingerprint.Source] = (),
    ) -> None:
        self.maps, self.k, self.made_by, self.sources = maps, check_positive("k", k), dict(made_by or {}), list(sources)
        self.rankings = {layer: empty(shape[-1], 0, dtype) for layer, (shape, dtype) in maps.items()}

    @classmethod
    def of(
        cls,
        model: keras.Model,
        layers: str | int | Sequence[str | int],
        k: int = 9,
        *,
        preprocess: Callable[..., Any] | None = None,
        input_shape: Sequence[int] | None = None,
    ) -> TopK:
        """Make an empty state for layers of a model.

        Args:
            model: A functional or Sequential `keras.Model`.
            layers: One layer or a sequence of them: names, paths or indices. The state refers to them by name.
            k: Number of images per channel.
            preprocess: The function that is applied to the images first; it is identified by module and name only.
            input_shape: `(height, width, channels)` for a model with an undefined input size.

        Returns:
            A `TopK`.

        Raises:
            ValueError: If a layer does not exist, or k is not a whole number of at least 1.
        """
        model_graph = graph.walk(model, input_shape)
        _, steps = graph.find_all(model_graph, layers)
        return cls(maps_of(steps), k, made_by(graph.subgraph(model_graph, *steps), steps, preprocess, input_shape))

    @property
    def images(self) -> int:
        """Number of images of all sources that `top_activations` has processed."""
        return sum(source.images for source in self.sources)

    @property
    def complete(self) -> bool:
        """Whether all images of all sources have been processed."""
        return bool(self.sources) and all(source.complete for source in self.sources)

    def update(self, activations: Mapping[str, ArrayLike], ids: ArrayLike, labels: ArrayLike | None = None) -> None:
        """Process a batch.

        Args:
            activations: `{layer: (n, *shape)}` for every layer of the state, as returned by `deconv.activations`.
            ids: `(n,)` ints, the id of each image.
            labels: `(n,)` ints; -1 by default.

        Raises:
            ValueError: If a layer is missing, activations have the wrong shape or are not finite, or ids or labels are
                not one whole number per image. The state is then unchanged.
        """
        number = whole_numbers("ids", ids)
        label = np.full(len(number), -1) if labels is None else whole_numbers("labels", labels, len(number))
        for layer, (images, channels, values, positions) in self._strongest(activations, len(number)).items():
            self.enter(layer, channels, values, number[images], label[images], positions)

    def enter(
        self,
        layer: str,
        channels: np.ndarray,
        values: np.ndarray,
        ids: np.ndarray,
        labels: np.ndarray,
        positions: np.ndarray,
    ) -> None:
        """Process single units of a layer.

        Args:
            layer: Name of the layer.
            channels, values, ids, labels, positions: Arrays `(n,)`, one entry per unit. Values are finite, positions
                are ints in row-major order.
        """
        self.rankings[layer] = joined(self.rankings[layer], self.k, channels, values, ids, labels, positions)

    def merge(self, other: TopK) -> TopK:
        """Merge two states into a new one, as if it had processed the images of both.

        Args:
            other: Another state; neither is changed.

        Returns:
            A `TopK`.

        Raises:
            ValueError: If the states have different models, layers, k or preprocessing, or come from different data
                sets without ids.
        """
        if not isinstance(other, TopK):
            raise ValueError(f"A TopK can only be merged with another TopK; received {type(other).__name__}.")
        differences = differences_of(self, other, "in one", "in the other")
        if differences:
            raise ValueError(
                f"These states cannot be merged; they differ in {'; '.join(differences)}. Merge only states of one "
                "model, with the same layers, k and preprocess."
            )
        state = TopK(self.maps, self.k, self.made_by, fingerprint.merged([*self.sources, *other.sources]))
        if len(state.sources) > 1 and not all(source.identity["numbered"] for source in state.sources):
            raise ValueError(
                "These states cannot be merged: they come from different data sets without ids, whose images are all "
                "numbered from 0. Scan data sets of (image, label, id), with an id that is unique to each image."
            )
        state.rankings = {
            layer: merged(ranking, other.rankings[layer], self.k) for layer, ranking in self.rankings.items()
        }
        return state

    def tops(self, model: keras.Model) -> dict[str, TopActivations]:
        """Return the strongest units with their receptive fields.

        Args:
            model: The model with which the state was computed.

        Returns:
            `{layer: TopActivations}`.

        Raises:
            ValueError: If the model has another architecture.
        """
        model_graph = graph.walk(model, self.made_by.get("input_shape"))
        steps = [graph.find(model_graph, layer) for layer in self.maps]
        architecture = fingerprint.architecture(graph.subgraph(model_graph, *steps), self.maps)
        if self.made_by.get("architecture", architecture) != architecture:
            raise ValueError(
                f"This state was computed with model '{self.made_by['model']}', whose layers up to "
                f"{', '.join(self.maps)} have another architecture than those of the given model '{model.name}'. Give "
                "the model with which the state was computed."
            )
        return tops_in(model_graph, self.rankings)

    def save(self, path: str | os.PathLike) -> None:
        """Write the state to a file, which is replaced at once or not at all (see `deconv.topk.checkpoint.save`).

        Threads and processes may save to the same file; the file is that of the last one to finish.

        Args:
            path: The file; no suffix is added to its name.

        Raises:
            OSError: If the file cannot be written; the message names it.
        """
        about = {"k": self.k, "maps": self.maps, "made_by": self.made_by, "sources": self.sources}
        named = ((f"{number}.", ranking._asdict()) for number, ranking in enumerate(self.rankings.values()))
        checkpoint.save(path, about, {start + name: array for start, arrays in named for name, array in arrays.items()})

    @classmethod
    def load(cls, path: str | os.PathLike, like: TopK | None = None) -> TopK:
        """Read a saved state.

        Args:
            path: The file.
            like: A state, for example `TopK.of(model, layers, k)`, whose model, layers, k and preprocessing must be
                equal and, if it has sources, these too. None accepts any state.

        Returns:
            A `TopK`.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If the file is damaged or not a state, contains what no scan writes (values that are not finite
                or not in order, an image twice, positions outside the map), or differs from `like`. The message names
                the file and the differences.
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
        differences = [] if like is None else differences_of(state, like, "there", "here", sources=bool(like.sources))
        if differences:
            raise ValueError(
                f"The state in '{path}' does not fit; it differs in {'; '.join(differences)}. Give another path, or "
                "delete the file to start again."
            )
        return state

    def _strongest(self, activations: Mapping[str, ArrayLike], count: int) -> dict[str, tuple[np.ndarray, ...]]:
        """Strongest unit of each image and channel: `{layer: (images, channels, values, positions)}`, arrays `(n,)`."""
        units: dict[str, tuple[np.ndarray, ...]] = {}
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
