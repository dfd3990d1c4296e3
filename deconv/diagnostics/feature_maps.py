"""Activation maps of layers at three stages: before the activation, after it, and after the pooling that follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.graph.compilation import compile_function
from deconv.graph.keras_model import KERNELS
from deconv.graph.modified_gradients import activation_of, run
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_finite, check_images, check_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POOLS = (
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalAveragePooling2D,
)
_BEFORE_AN_ACTIVATION = (keras.layers.BatchNormalization, keras.layers.Rescaling)
"""Layers that may occur between a convolution or dense layer and its activation."""


class FeatureMaps(NamedTuple):
    """Activation maps of a layer at three stages.

    Attributes:
        before: `(n, rows, columns, channels)`, or `(n, channels)` of a dense layer: the signed input of the activation.
        after: The output of the activation, of the same shape; None if no activation follows.
        pooled: `(n, pooled rows, pooled columns, channels)`, or `(n, channels)` of a global pooling; None if no pooling
            follows.
        layers: Names of the three layers; None for a stage that does not exist. The first is the requested layer.
        between: Names of the layers between `after` and `pooled` that change the maps, such as contrast normalisation.
    """

    before: np.ndarray
    after: np.ndarray | None
    pooled: np.ndarray | None
    layers: tuple[str | None, ...]
    between: tuple[str, ...]

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, image: np.ndarray, number: int = 0, title: str | None = None, **settings: Any) -> Figure:
        """Draw the activation maps of one image (`plotting.feature_map_sheet`, which takes `settings`).

        Args:
            image: `(height, width, 1 or 3)` in pixel units, 0 to 255.
            number: Index of this image among those of the maps.
            title: Title of the figure; None for the names of the layers.

        Returns:
            The Matplotlib figure.
        """
        from deconv.plotting import feature_map_sheet, pixels

        title = f"Activation maps of {self.layers[0]}" if title is None else title
        return feature_map_sheet(pixels(image), self, title, number=number, **settings)


class _Stages(NamedTuple):
    """Steps of the three stages of a layer.

    Attributes:
        layer: The step of the requested layer.
        active: The step that ends with its activation, or None.
        pool: The pooling that follows, or None.
        between: Names of the steps between `active` and `pool` that change the maps.
    """

    layer: graph.Step
    active: graph.Step | None
    pool: graph.Step | None
    between: tuple[str, ...]


def feature_maps(
    model: keras.Model,
    images: ArrayLike,
    layers: str | int | Sequence[str | int] | None = None,
    *,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
) -> dict[str | int, FeatureMaps]:
    """Compute the activation maps of layers before and after their activation, and after the pooling that follows.

    The activation of a layer is its own, or that of a following layer, if only batch normalisation, scaling and layers
    that are the identity at inference are between the two. `before` is the input of the activation and thus includes
    batch normalisation. A pooling counts as following if only contrast normalisation, zero padding and layers that are
    the identity at inference are in between. Where the model graph forks, the first match counts.

    Memory holds the maps of all requested layers for all images.

    Args:
        model: A functional or Sequential `keras.Model`.
        images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
        layers: One layer or a sequence of them: names, paths or indices. None for all convolutions and dense layers.
        batch_size: Number of images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Returns:
        `{layer: FeatureMaps}`. The keys are the layers as given, or their names for `layers=None`.

    Raises:
        ValueError: If a layer does not exist, the images do not fit the model, or an output is NaN or infinite.
    """
    check_positive("batch_size", batch_size)
    model_graph = graph.walk(model, input_shape)
    if layers is None:
        layers = [step.name for step in model_graph.steps if issubclass(graph.kind(step.layer), KERNELS)]
        if not layers:
            raise ValueError(
                f"Model '{model.name}' has neither convolutions nor dense layers; name the layers to compute."
            )
    keys, steps = graph.find_all(model_graph, layers)
    stages = [stages_of(model_graph, step) for step in steps]
    outputs = [step for found in stages for step in (found.layer, found.active, found.pool) if step is not None]
    model_graph = graph.subgraph(model_graph, *outputs)
    image = model_graph.inputs[0]
    inputs = check_images(images, image.shape, image.dtype)
    forward = compile_function(_all_stages(model_graph, stages), tf.TensorSpec((None, *image.shape), image.dtype))
    parts = []
    for start in range(0, len(inputs), batch_size):
        batch = forward(inputs[start : start + batch_size])
        parts.append([check_finite(maps.numpy(), step.name) for maps, step in zip(batch, outputs, strict=True)])
    maps = iter(np.concatenate(part) for part in zip(*parts, strict=True))
    return {layer: _named(found, maps) for layer, found in zip(keys, stages, strict=True)}


def stages_of(model_graph: graph.Graph, step: graph.Step) -> _Stages:
    """Find the steps of the three stages of a layer: the layer itself, its activation, and the pooling that follows."""
    active = step if activation_of(step) is not None else None
    if active is None:
        active, _ = _following(model_graph, step, lambda later: activation_of(later) is not None, _BEFORE_AN_ACTIVATION)
    pool, between = _following(
        model_graph,
        active or step,
        lambda later: issubclass(graph.kind(later.layer), _POOLS),
        (keras.layers.ZeroPadding2D,),
    )
    return _Stages(step, active, pool, between)


def _following(
    model_graph: graph.Graph, step: graph.Step, wanted: Callable[[graph.Step], bool], passed: tuple[type, ...]
) -> tuple[graph.Step | None, tuple[str, ...]]:
    """The first wanted step after `step`, and the names of the steps in between that change the maps.

    The search continues only behind steps that are the identity at inference or of a class in `passed`.
    """
    waiting: list[tuple[graph.Step, tuple[str, ...]]] = [(step, ())]
    while waiting:
        before, between = waiting.pop(0)
        for later in model_graph.steps:
            if not set(later.inputs) & set(before.outputs):
                continue
            if wanted(later):
                return later, between
            is_idle = isinstance(later.layer, graph.IDLE)
            if is_idle or issubclass(graph.kind(later.layer), (*passed, *graph.IDLE)):
                waiting.append((later, between if is_idle else (*between, later.name)))
    return None, ()


def _all_stages(model_graph, stages):
    """A function from images to the maps of all stages that exist, layer by layer."""

    def forward(images):
        values, before = run(model_graph, images)
        maps = []
        for layer, active, pool, _ in stages:
            maps.append(values[layer.output] if active is None else before[active.name])
            maps += [values[step.output] for step in (active, pool) if step is not None]
        return maps

    return forward


def _named(stages: _Stages, maps: Iterator[np.ndarray]) -> FeatureMaps:
    """`FeatureMaps` of one layer; the maps of the stages that exist are taken from the iterator in order."""
    before = next(maps)
    after, pooled = (None if step is None else next(maps) for step in (stages.active, stages.pool))
    names = tuple(None if step is None else step.name for step in (stages.layer, stages.active, stages.pool))
    return FeatureMaps(before=before, after=after, pooled=pooled, layers=names, between=stages.between)
