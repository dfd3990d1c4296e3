"""Forward passes on occluded images of one image: in full, or incrementally where that is less work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.graph.compilation import cached, compile_function
from deconv.graph.model_output import check_class_outputs, has_classes, no_classes, output_step
from deconv.imaging.rectangles import cover
from deconv.occlusion.incremental_inference import Rectangles, may_save_work, recomputation
from deconv.validation import check_finite, prepare

_LARGEST_SHARE = 0.9
"""Incremental inference is used if its estimated work is below this share of the work of full forward passes."""

_TRIED_POSITIONS = 5
"""Number of positions at which is checked whether the preprocessing function treats every pixel independently."""


class ForwardPlan(NamedTuple):
    """How the forward passes for a list of positions are computed.

    Attributes:
        forward: Function of ints `(n,)`, numbers of positions, that returns the class outputs `(n, classes)` and the
            sums of the watched map `(n,)`. For a model without classes the first is to be ignored.
        order: Ints `(positions,)`, the order in which the positions are best computed.
        is_approximate: Whether the results are approximations.
    """

    forward: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    order: np.ndarray
    is_approximate: bool


class OccludedImages:
    """An image with an occluding patch at given positions, as input of a compiled model.

    Args:
        network: The compiled model.
        image: `(height, width, channels)`, before preprocessing.
        fill: Fill value of the patch, as `deconv.imaging.fills.fill_of` returns it.
        preprocess: Preprocessing function, or None.
        size: `(height, width)` of the patch.

    Attributes:
        prepared: `(1, height, width, channels)`, the unoccluded image after preprocessing.
    """

    def __init__(
        self,
        network: CompiledModel,
        image: np.ndarray,
        fill: np.ndarray,
        preprocess: Callable[[np.ndarray], ArrayLike] | None,
        size: tuple[int, int],
    ) -> None:
        self.network, self.image, self.fill, self.preprocess, self.size = network, image, fill, preprocess, size
        self.prepared = self._prepare(image[None])

    def forward(self, corners: np.ndarray, watched: int) -> tuple[np.ndarray, np.ndarray]:
        """Compute full forward passes on occluded images.

        Args:
            corners: Ints `(n, 2)`, first row and first column of the patch in each image.
            watched: Channel of the watched layer.

        Returns:
            Class outputs `(n, classes)`, and sums of the watched map `(n,)`.
        """
        occluded = cover(self.image, corners[:, 0], corners[:, 1], self.size, self.fill)
        outputs, sums, _ = self.network.forward(self._prepare(occluded))
        return outputs, sums[:, watched]

    def plan(
        self, corners: np.ndarray, watched: int, exact: Literal[True, "full"], growth: float | None
    ) -> ForwardPlan:
        """Choose full forward passes or incremental inference, whichever is less work.

        Args:
            corners: Ints `(positions, 2)`, first row and first column of the patch at each position.
            watched: Channel of the watched layer.
            exact, growth: As for `deconv.occlusion_maps`.

        Returns:
            `ForwardPlan`.
        """
        full = ForwardPlan(lambda part: self.forward(corners[part], watched), np.arange(len(corners)), False)
        if exact == "full" or (growth is None and not self.network.is_large):
            return full
        rectangles = self.network.rectangles(corners, self.size, growth)
        is_less_work = rectangles.share < _LARGEST_SHARE or growth is not None
        filled = self._filled(corners) if is_less_work else None
        if filled is None:
            return full
        whole, changed = self.network.recomputation
        maps, unoccluded_sums = whole(self.prepared)

        def forward(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            outputs, sums = changed(maps, unoccluded_sums, filled, *rectangles.of(part), watched)
            return check_finite(outputs.numpy(), self.network.head.name), sums.numpy()

        return ForwardPlan(forward, rectangles.order, growth is not None)

    def _filled(self, corners: np.ndarray) -> np.ndarray | None:
        """The fill value after preprocessing, `(1, height, width, channels)`; None if it depends on other pixels.

        Whether it does is checked at a few of the positions.
        """
        filled = self._prepare(np.broadcast_to(self.fill, self.image.shape)[None])
        if self.preprocess is None:
            return filled
        tried = corners[np.unique(np.linspace(0, len(corners) - 1, _TRIED_POSITIONS).astype(int))]
        occluded = self._prepare(cover(self.image, tried[:, 0], tried[:, 1], self.size, self.fill))
        if occluded.shape[1:3] != self.image.shape[:2]:
            return None
        expected = cover(self.prepared[0], tried[:, 0], tried[:, 1], self.size, filled[0])
        return filled if np.array_equal(occluded, expected) else None

    def _prepare(self, images: np.ndarray) -> np.ndarray:
        image = self.network.graph.inputs[0]
        return prepare(images, self.preprocess, image.shape, image.dtype)


class CompiledModel:
    """A model compiled for occlusion. Each pass is compiled once, when it is first needed.

    It refers to the layers of the model and not to the model itself, so that it can be cached with the model.

    Args:
        model: A functional or Sequential `keras.Model`.
        layer: The watched layer: name, path or index; None for the layer of the class outputs.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Raises:
        ValueError: If the model has no class outputs and no layer is watched.

    Attributes:
        graph: The model graph, up to the watched layer and the class outputs.
        output_shape: Shape of the output of the model.
        has_classes: Whether the model has class outputs. If not, it is computed up to the watched layer only.
        head: The step of the class outputs; without classes the watched layer.
    """

    def __init__(self, model: keras.Model, layer: str | int | None, input_shape: Sequence[int] | None) -> None:
        model_graph = graph.walk(model, input_shape)
        self.has_classes = has_classes(model_graph)
        self.output_shape = (None, *model_graph.outputs[0].shape)
        if layer is None and not self.has_classes:
            raise no_classes(self.output_shape)
        self._watched = output_step(model_graph) if layer is None else graph.find(model_graph, layer)
        self.head = output_step(model_graph) if self.has_classes else self._watched
        self._output = model_graph.outputs[0] if self.has_classes else self._watched.output
        self.graph = graph.subgraph(model_graph, self._watched, self.head)
        self._rectangles: tuple[tuple[bytes, float | None], Rectangles] | None = None

    @cached_property
    def _whole(self) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
        image = self.graph.inputs[0]

        def forward(images):
            values = graph.run(self.graph, images)
            maps = values[self._watched.output]
            maps = tf.cast(maps, tf.float64 if maps.dtype == tf.float64 else tf.float32)  # a sum may exceed float16
            space = list(range(1, len(maps.shape) - 1))
            return values[self._output], tf.reduce_sum(maps, space), tf.reduce_max(maps, space)

        return compile_function(forward, tf.TensorSpec((None, *image.shape), image.dtype))

    @cached_property
    def is_large(self) -> bool:
        """Whether incremental inference may be less work than full forward passes."""
        return may_save_work(self.graph)

    @cached_property
    def recomputation(self) -> tuple[Callable, Callable]:
        """The two compiled passes of incremental inference, see `recomputation`."""
        return recomputation(self.graph, self._output, self._watched.output)

    def rectangles(self, corners: np.ndarray, size: tuple[int, int], growth: float | None) -> Rectangles:
        """Compute the rectangles of each map that the patch changes; the last result is cached.

        Args:
            corners: Ints `(positions, 2)`, first row and first column of the patch at each position.
            size: `(height, width)` of the patch.
            growth: As for `deconv.occlusion_maps`.
        """
        patches = np.concatenate([corners, corners + size], axis=1)
        key = patches.tobytes(), growth
        if self._rectangles is None or self._rectangles[0] != key:
            self._rectangles = key, Rectangles(self.graph, patches, growth)
        return self._rectangles[1]

    def forward(self, images: np.ndarray) -> list[np.ndarray]:
        """Compute a forward pass on preprocessed images.

        Args:
            images: `(n, height, width, channels)`, as `deconv.validation.prepare` returns them.

        Returns:
            `[outputs (n, classes), sum of each watched map (n, channels), maximum of each watched map (n, channels)]`.

        Raises:
            ValueError: If an output is NaN or infinite.
        """
        outputs, sums, peaks = (maps.numpy() for maps in self._whole(images))
        (check_class_outputs if self.has_classes else check_finite)(outputs, self.head.name)
        return [outputs, sums, peaks]


def compiled(model: keras.Model, layer: str | int | None, input_shape: Sequence[int] | None) -> CompiledModel:
    """Return the `CompiledModel` of a model, cached for each layer and input shape as long as the model exists."""
    key = "occlusion", repr(layer), repr(input_shape)
    return cached(model, key, lambda: CompiledModel(model, layer, input_shape))
