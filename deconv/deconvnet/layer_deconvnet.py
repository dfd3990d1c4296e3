"""The deconvnet of one layer, with its forward pass and its mirror compiled for whole images."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.deconvnet.mirror import mirror_graph
from deconv.deconvnet.patch_cost import has_patches
from deconv.deconvnet.patch_projection import PatchMirror
from deconv.deconvnet.recording import recorder
from deconv.deconvnet.rules import Rules
from deconv.deconvnet.selection import select
from deconv.graph.compilation import compile_function
from deconv.graph.keras_model import label
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_finite


class Record(NamedTuple):
    """Results of a forward pass.

    Attributes:
        activations: `(n, rows, columns, channels)`, or `(n, channels)` for a dense layer; the output of the layer.
        switches: `{name of a max pooling: int32 array shaped like its output}`, from the top down, in the order of the
            inputs of the mirror after the first.
    """

    activations: np.ndarray
    switches: dict[str, np.ndarray]

    def __repr__(self) -> str:
        return short_repr(self)


class LayerDeconvnet:
    """The deconvnet of one layer: its graph, its mirror, and both directions compiled, each traced once.

    Args:
        step: The step from which projections start.
        model_graph: The `Graph` of the whole model.
        rules: Rules of the user, or None.
        collisions: Policy for colliding maxima.
        windowed: Whether single units may be projected inside their receptive fields.

    Attributes:
        step: As given.
        graph: The part of the graph below the step.
        mirror: The mirrored network, a `keras.Model`.
        dtype: Dtype of the projections.
        pools: Max-pooling steps, in the order of the inputs of the mirror after the first.
        units_per_image: Number of units that take as much memory as one image.
    """

    units_per_image = 1

    def __init__(
        self,
        step: graph.Step,
        model_graph: graph.Graph,
        rules: Rules | None,
        collisions: Literal["sum", "last", "max"],
        windowed: bool,
    ) -> None:
        self.step = step
        self.graph = graph.subgraph(model_graph, step)
        self.mirror = mirror_graph(self.graph, rules, collisions)
        self.dtype = self.mirror.outputs[0].dtype
        named = {label(pool.name): pool for pool in self.graph.steps}
        self.pools = [named[entry.name.removesuffix("_switches")] for entry in self.mirror.inputs[1:]]
        self._rules = rules
        self._has_patches = windowed and has_patches(self.graph, rules, collisions)

    @cached_property
    def patches(self) -> PatchMirror | None:
        """The projection inside receptive fields; None if it is impossible or not less work."""
        return PatchMirror(self.graph, self.pools, self.dtype, self._rules) if self._has_patches else None

    @cached_property
    def _up(self) -> Callable[..., tuple[list[tf.Tensor], list[tf.Tensor]]]:
        return recorder(self.graph, [self.step], self.pools)

    @cached_property
    def _down(self) -> Callable[..., tf.Tensor]:
        signal, *switches = (tf.TensorSpec(entry.shape, entry.dtype) for entry in self.mirror.inputs)
        return compile_function(lambda signal, switches: self.mirror([signal, *switches]), signal, switches)

    def record(self, images: np.ndarray) -> Record:
        """Run the forward pass on images that have been checked."""
        (activations,), switches = self._up(images)
        activations = check_finite(activations.numpy(), self.step.name)
        names = [step.name for step in self.pools]
        return Record(activations, {name: places.numpy() for name, places in zip(names, switches, strict=True)})

    def prefers_windows(self, units: int, images: int) -> bool:
        """Return False: whole images are recorded (see `PatchMirror.prefers_windows`)."""
        return False

    def project(
        self,
        record: Record,
        numbers: np.ndarray,
        channels: np.ndarray | None,
        unit: Literal["max", "map"] | ArrayLike,
        start: Literal["activation", "one"],
    ) -> np.ndarray:
        """Project units of recorded images to whole images.

        Args:
            record: From `record`.
            numbers: `(n,)` ints, the index of the image of each unit.
            channels, unit, start: As for `select`.

        Returns:
            Array `(n, height, width, channels of the image)`.
        """
        signal = select(record.activations[numbers], channels, unit, start=start)
        return self._down(signal, [places[numbers] for places in record.switches.values()]).numpy()

    def project_units(
        self,
        images: np.ndarray,
        channels: np.ndarray,
        positions: np.ndarray | None,
        numbers: np.ndarray,
        start: Literal["activation", "one"],
        batch_size: int,
        is_cut: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Project units in batches.

        Args:
            images, channels, positions, numbers, start, batch_size: As for `deconv.Deconvnet.project_units`, checked.
            is_cut: Whether to return only the receptive fields, if units are projected inside them.

        Returns:
            `(projections, corners)`: `(n, height, width, channels of the image)`, and the first row and column of each
            receptive field, int64 `(n, 2)`; zeros if whole images are projected.
        """
        patches, image = self.patches, self.graph.inputs[0]
        projector: Any = patches or self
        shape = (*patches.window.cells, image.shape[2]) if is_cut and patches else image.shape
        projections = np.empty((len(numbers), *shape), projector.dtype)
        corners = np.zeros((len(numbers), 2), np.int64)
        distinct, numbers = np.unique(numbers, return_inverse=True)
        for batch in pieces(np.arange(len(distinct)), batch_size):
            in_batch = np.flatnonzero(np.isin(numbers, batch))
            batch_images = images[distinct[batch]]
            record = None
            if positions is None or not projector.prefers_windows(len(in_batch), len(batch)):
                record = projector.record(batch_images)
            for units in pieces(in_batch, batch_size * projector.units_per_image):
                unit = "max" if positions is None else positions[units]
                selected = numbers[units] - batch[0], channels[units], unit, start
                if record is None:
                    projected = projector.project_windows(batch_images, *selected)
                else:
                    projected = projector.project(record, *selected)
                if patches is not None:
                    corners[units] = patches.corners(projected[1])
                    projected = projected[0] if is_cut else patches.whole(*projected)
                projections[units] = projected
        return projections, corners


def pieces(numbers: np.ndarray, size: int) -> list[np.ndarray]:
    """Split an array into consecutive pieces of at most `size` elements."""
    return [numbers[first : first + size] for first in range(0, len(numbers), size)]
