"""What a layer computes for an image: its maps before its activation, after it, and after the pooling that follows."""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.graph.compilation import compile_function
from deconv.graph.keras_model import KERNELS
from deconv.graph.modified_gradients import activation_of, run
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_finite, check_images, check_positive

_POOLS = (
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalAveragePooling2D,
)
_BEFORE_AN_ACTIVATION = (keras.layers.BatchNormalization, keras.layers.Rescaling)
"""Layers that may stand between a filter and its activation."""


class FeatureMaps(NamedTuple):
    """A layer's maps for some images, at three stages.

    Attributes:
        before: `(n, rows, columns, channels)`, or `(n, channels)` of a dense layer: what the activation sees; signed.
        after: The same after it; None where no activation follows.
        pooled: `(n, pooled rows, pooled columns, channels)`, or `(n, channels)` of a global pooling; None where no
            pooling follows.
        layers: Names of the three layers that put them out; None where there is none. `before` belongs to the layer
            that was asked for.
        between: Names of the layers between `after` and `pooled` that compute something, such as contrast
            normalisation: the pooling sees what they make of `after`.
    """

    before: np.ndarray
    after: np.ndarray | None
    pooled: np.ndarray | None
    layers: tuple
    between: tuple

    __repr__ = short_repr


class _Stages(NamedTuple):
    """Steps: the one asked for, the one that ends with its activation, the pooling, those between the two."""

    asked: graph.Step
    active: graph.Step | None
    pool: graph.Step | None
    between: tuple


def feature_maps(model, images, layers=None, *, batch_size=32, input_shape=None):
    """The maps of layers for some images: before and after their activation, and after the pooling that follows.

    A layer's activation is its own, or that of a layer right behind it: nothing but batch normalisation, scaling and
    what does nothing at inference may stand between. `before` is what the activation sees, so batch normalisation is in
    it. A pooling follows if nothing but contrast normalisation, zero padding and idle layers stand between. Where the
    graph forks, the first that is found counts.

    Memory holds the maps of all layers asked for, of all images.

    Args:
        model: A functional or Sequential `keras.Model`.
        images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
        layers: One layer or a sequence of them: names, paths or indices. None for all convolutions and dense layers.
        batch_size: How many images are computed at a time.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.

    Returns:
        `{layer: FeatureMaps}`, with the layers as they were given, or their names.

    Raises:
        ValueError: If a layer does not exist, the images do not fit the model, or it puts out NaN or infinity.
    """
    check_positive("batch_size", batch_size)
    model_graph = graph.walk(model, input_shape)
    if layers is None:
        layers = [step.name for step in model_graph.steps if issubclass(graph.kind(step.layer), KERNELS)]
        if not layers:
            raise ValueError(f"Model '{model.name}' has neither convolutions nor dense layers; name the layers to see.")
    layers, steps = graph.find_all(model_graph, layers)
    stages = [stages_of(model_graph, step) for step in steps]
    ends = [step for found in stages for step in (found.asked, found.active, found.pool) if step is not None]
    model_graph = graph.subgraph(model_graph, *ends)
    image = model_graph.inputs[0]
    images = check_images(images, image.shape, image.dtype)
    forward = compile_function(_all_stages(model_graph, stages), tf.TensorSpec((None, *image.shape), image.dtype))
    parts = []
    for start in range(0, len(images), batch_size):
        found = forward(images[start : start + batch_size])
        parts.append([check_finite(maps.numpy(), step.name) for maps, step in zip(found, ends, strict=True)])
    maps = iter(np.concatenate(part) for part in zip(*parts, strict=True))
    return {layer: _named(found, maps) for layer, found in zip(layers, stages, strict=True)}


def stages_of(model_graph, step):
    """Which steps of a graph put out what a step's activation sees, what it makes of it, and what is pooled of that."""
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


def _following(model_graph, step, wanted, passed):
    """The first step behind `step` that is wanted, and the names of those between that compute something.

    Of a step that is neither wanted nor idle nor of a class in `passed`, what is behind it is not looked at.
    """
    waiting = [(step, ())]
    while waiting:
        before, between = waiting.pop(0)
        for later in model_graph.steps:
            if not set(later.inputs) & set(before.outputs):
                continue
            if wanted(later):
                return later, between
            idle = isinstance(later.layer, graph.IDLE)
            if idle or issubclass(graph.kind(later.layer), (*passed, *graph.IDLE)):
                waiting.append((later, between if idle else (*between, later.name)))
    return None, ()


def _all_stages(model_graph, stages):
    """A function from images to the maps of all stages, layer by layer, those left out that are not there."""

    def look(images):
        values, before = run(model_graph, images)
        found = []
        for asked, active, pool, _ in stages:
            found.append(values[asked.output] if active is None else before[active.name])
            found += [values[step.output] for step in (active, pool) if step is not None]
        return found

    return look


def _named(stages, maps):
    """`FeatureMaps` from an iterator of maps, of which those that are there are taken in order."""
    asked, active, pool, between = stages
    steps = (asked, active, pool)
    three = [None if step is None else next(maps) for step in steps]
    return FeatureMaps(*three, tuple(None if step is None else step.name for step in steps), between)
