"""Projections of units to pixel space: record, select, project (arXiv:1311.2901, section 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike

from deconv import graph
from deconv.deconvnet.layer_deconvnet import LayerDeconvnet, Record, pieces
from deconv.deconvnet.rule_lookup import check_rules
from deconv.deconvnet.selection import check_positions
from deconv.graph.compilation import version
from deconv.ops.pooling import check_collisions
from deconv.runtime.dtypes import any_array
from deconv.runtime.short_repr import short_repr
from deconv.validation import (
    check_channels,
    check_image_shape,
    check_images,
    check_numbers,
    check_positive,
)

if TYPE_CHECKING:
    import keras

    from deconv.deconvnet.rules import Rules


class Patches(NamedTuple):
    """Projections of single units, cut to their receptive fields.

    Attributes:
        pictures: `(n, height, width, channels of the image)`, the projections, all of one size; zero outside the image.
        windows: `(n, 4)` int64, the receptive field of each unit in its image: top, left, bottom, right. It may extend
            beyond the image.
    """

    pictures: np.ndarray
    windows: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


class Deconvnet:
    """A model with a deconvnet attached to each of its layers (arXiv:1311.2901, section 2.1).

    Projections are computed in float32 on a GPU too: TF32 is off during each method (`deconv.runtime.devices`).

    Args:
        model: A functional or Sequential `keras.Model` with images as input. It is never changed; its weights are
            shared, so projections follow when it is trained further. If its graph changes, by another layer or
            activation, `enable_lora` or `quantize`, the next call uses the new graph and compiles again; mirrors that
            have been returned before do not change.
        collisions: What happens where overlapping pooling windows share a maximum: `"sum"`, `"last"` or `"max"` (see
            `deconv.unpool`).
        rules: `{layer type or name: rule}` for layers without a built-in rule (see `deconv.mirror`).
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        windowed: Whether single units are projected inside their receptive fields where that is less work. The results
            are equal up to rounding. False computes whole images, for comparison.

    Attributes:
        model, collisions, rules, windowed: As given.
        graph: The `deconv.graph.model_graph.Graph` of the model.

    Raises:
        ValueError: If the model has no graph to walk, or an argument is invalid.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        collisions: Literal["sum", "last", "max"] = "sum",
        rules: Rules | None = None,
        input_shape: Sequence[int] | None = None,
        windowed: bool = True,
    ) -> None:
        check_collisions(collisions)
        self.model, self.collisions, self.rules, self.windowed = model, collisions, rules, windowed
        self._input_shape = input_shape
        self._walk(version(model))

    def mirror(self, layer: str | int) -> keras.Model:
        """Return the deconvnet attached to a layer; see `deconv.mirror` for its inputs and output.

        If it is called directly on a GPU, it uses TF32 if that is enabled, as any model does.

        Args:
            layer: Name, path or index.

        Returns:
            A `keras.Model`.

        Raises:
            ValueError: If there is no such layer, or a layer below it has no rule.
        """
        return self._attach(layer).mirror

    def record(self, images: ArrayLike, layer: str | int) -> Record:
        """Run the model up to a layer and record the switches of the max poolings below it.

        Args:
            images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
            layer: Name, path or index.

        Returns:
            A `Record`. `mirror(layer).predict([signal, *record.switches.values()])` projects any signal to pixel space.

        Raises:
            ValueError: If there is no such layer, or the images do not fit the model.
        """
        attached = self._attach(layer)
        image = attached.graph.inputs[0]
        return attached.record(check_images(images, image.shape, image.dtype))

    def project(
        self,
        images: ArrayLike,
        layer: str | int,
        channel: int | Sequence[int] | np.ndarray | None = None,
        unit: Literal["max", "map"] | ArrayLike = "max",
        *,
        start: Literal["activation", "one"] = "activation",
        batch_size: int = 32,
    ) -> np.ndarray:
        """Project activations of a layer to pixel space.

        Args:
            images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
            layer: Name, path or index of the layer to start from; a dense layer has one position.
            channel: One channel; a sequence, each channel of which is projected for each image; or None for all
                channels together.
            unit: Which units of the channel keep their activation, while all others are set to zero: `"max"`, the
                strongest unit in each image (the first in row-major order if several are equal); a position
                `(row, column)`; or `"map"`, all units.
            start: `"activation"` projects the activation itself, as the paper does; `"one"` replaces it by 1, which for
                a single unit changes only the scale.
            batch_size: Number of images, and of projections, per batch.

        Returns:
            Float array `(n, height, width, channels of the image)`, or `(n, len(channel), height, width, ...)` for a
            sequence. Signed: pixels with a positive value excite the unit, pixels with zero have no effect on it.

        Raises:
            ValueError: If the layer, channel, position or images do not fit the model; the message names the valid
                values.
        """
        attached = self._attach(layer)
        image = attached.graph.inputs[0]
        pixels = check_images(images, image.shape, image.dtype)
        check_positive("batch_size", batch_size)
        if not isinstance(unit, str) and any_array(unit).shape != (2,):
            raise ValueError(
                f"unit must be 'max', 'map' or a position (row, column) of ints; received {unit!r}. For a different "
                "position in each image, use project_units."
            )
        count = attached.step.output.shape[-1]
        channels = [None] if channel is None else check_channels(channel, count, attached.step.name)
        is_map = isinstance(unit, str) and unit == "map"
        patches = None if is_map else attached.patches
        projector: Any = patches or attached
        projections = np.empty((len(pixels), len(channels), *image.shape), projector.dtype)
        for first in range(0, len(pixels), batch_size):
            batch = pixels[first : first + batch_size]
            record = projector.record(batch)
            for units in pieces(np.arange(len(batch) * len(channels)), batch_size * projector.units_per_image):
                numbers, places = np.divmod(units, len(channels))
                selected = None if channel is None else channels[places]
                projected = projector.project(record, numbers, selected, unit, start)
                projections[first + numbers, places] = projected if patches is None else patches.whole(*projected)
        return projections if channel is not None and np.ndim(channel) else projections[:, 0]

    @overload
    def project_units(
        self,
        images: ArrayLike,
        layer: str | int,
        channels: ArrayLike,
        positions: ArrayLike | None = None,
        *,
        numbers: ArrayLike | None = None,
        start: Literal["activation", "one"] = "activation",
        batch_size: int = 32,
        patches: Literal[False] = False,
    ) -> np.ndarray: ...

    @overload
    def project_units(
        self,
        images: ArrayLike,
        layer: str | int,
        channels: ArrayLike,
        positions: ArrayLike | None = None,
        *,
        numbers: ArrayLike | None = None,
        start: Literal["activation", "one"] = "activation",
        batch_size: int = 32,
        patches: Literal[True],
    ) -> Patches: ...

    def project_units(
        self,
        images: ArrayLike,
        layer: str | int,
        channels: ArrayLike,
        positions: ArrayLike | None = None,
        *,
        numbers: ArrayLike | None = None,
        start: Literal["activation", "one"] = "activation",
        batch_size: int = 32,
        patches: bool = False,
    ) -> np.ndarray | Patches:
        """Project single units, each of any channel, position and image, such as those that `top_activations` finds.

        Args:
            images: Float array `(m, height, width, channels)`, preprocessed as the model expects.
            layer: Name, path or index.
            channels: `(n,)` ints, the channel of each unit.
            positions: `(n, 2)` ints, row and column of each unit; None for the strongest unit of the channel.
            numbers: `(n,)` ints, the index of the image of each unit; None for one unit per image, in their order.
            start: As in `project`.
            batch_size: Number of images per batch; units are batched so that they take no more memory than these.
            patches: Whether to return only the receptive field of each unit, which takes the least memory.

        Returns:
            Float array `(n, height, width, channels of the image)`, or `Patches`.

        Raises:
            ValueError: As for `project`.
        """
        attached = self._attach(layer)
        image, step = attached.graph.inputs[0], attached.step
        pixels = check_images(images, image.shape, image.dtype)
        check_positive("batch_size", batch_size)
        channel = check_channels(channels, step.output.shape[-1], step.name)
        number = np.arange(len(pixels)) if numbers is None else check_numbers(numbers, len(pixels))
        count = len(number)
        if len(channel) != count or (positions is not None and any_array(positions).shape != (count, 2)):
            given = "no positions" if positions is None else f"positions of shape {any_array(positions).shape}"
            raise ValueError(
                "project_units expects one channel and one position per image or, with `numbers`, per element of it; "
                f"expected {count} of each, received channels of shape {channel.shape} and {given}."
            )
        places = None
        if positions is not None:
            places = check_positions(positions, count, (step.output.shape[:-1] * 2 or (1, 1))[:2])
        if patches:
            check_image_shape("project_units with patches=True", attached.graph)
        projections, corners = attached.project_units(pixels, channel, places, number, start, batch_size, patches)
        if not patches:
            return projections
        return Patches(projections, np.concatenate([corners, corners + projections.shape[1:3]], axis=1))

    def _walk(self, now: int) -> None:
        """Build the graph of the model in its current version."""
        self.graph = graph.walk(self.model, self._input_shape)
        check_rules(self.graph, self.rules)
        self._attached: dict[str, LayerDeconvnet] = {}
        self._version = now

    def _attach(self, layer: str | int) -> LayerDeconvnet:
        """Deconvnet of a layer, built at its first use and again after a change of the graph."""
        now = version(self.model)
        if self._version != now:
            self._walk(now)
        step = graph.find(self.graph, layer)
        if step.name not in self._attached:
            self._attached[step.name] = LayerDeconvnet(step, self.graph, self.rules, self.collisions, self.windowed)
        return self._attached[step.name]
