"""Run the lower layers of a model at another image size, which convolutions and poolings support."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from deconv import graph
from deconv.graph.compilation import compile_function
from deconv.ops import pooling
from deconv.runtime.dtypes import check_shape
from deconv.validation import preprocessed


def at_size(
    model: keras.Model,
    layers: str | int | Sequence[str | int | None] | None,
    shape: Sequence[int] | None,
    *,
    average_pooling: bool = False,
) -> graph.Graph:
    """Cut a model to the layers that are needed, for images of another size than its own.

    The model is not changed, and its weights are shared. Convolutions, poolings, normalisations, activations, and dense
    layers after a global pooling work at any size; a dense layer after a `Flatten` does not.

    Args:
        model: A functional or Sequential `keras.Model`.
        layers: One layer or a sequence of them: names, paths or indices; None for the model's output.
        shape: `(height, width, channels)` of the images; None for the size of the model.
        average_pooling: Whether to replace max poolings by average poolings of the same windows, as Gatys et al.
            (arXiv:1508.06576) do for smoother gradients. Cells in the padding are not counted. Global poolings are
            kept.

    Returns:
        A `Graph` of the steps that the layers need; `find` finds them by the same names as in the model.

    Raises:
        ValueError: If a layer is unknown, or a needed layer does not work at this size.
    """
    if shape is not None:
        check_shape(shape)
    whole = at_own_size(model, shape)
    names: list[Any] = list(layers) if isinstance(layers, list | tuple | range) else [layers]
    model_graph = graph.subgraph(whole, *(find(whole, name) for name in names))
    model_graph = model_graph._replace(outputs=whole.outputs, layers=whole.layers, aliases=whole.aliases)
    own = model_graph.inputs[0].shape
    if shape is not None and (len(shape) != len(own) or shape[-1] != own[-1]):
        raise ValueError(f"Model '{model.name}' takes images of {_sizes(own)}; received shape {tuple(shape)}.")
    if average_pooling:
        model_graph = model_graph._replace(steps=tuple(map(_averaging, model_graph.steps)))
    return (
        model_graph
        if shape is None or tuple(shape) == own
        else _resized(model_graph, tuple(int(side) for side in shape))
    )


def for_pixels(
    model: keras.Model,
    layers: str | int | Sequence[str | int | None] | None,
    shape: Sequence[int],
    preprocess: Callable[..., Any] | None = None,
    *,
    average_pooling: bool = False,
) -> graph.Graph:
    """As `at_size`, for the output of a preprocessing function of pixels with shape `(height, width, channels)`."""
    if preprocess is not None:
        shape = tuple(tf.convert_to_tensor(preprocessed(tf.zeros((1, *shape)), preprocess)).shape[1:])
    return at_size(model, layers, shape, average_pooling=average_pooling)


def find(model_graph: graph.Graph, layer: str | int | None) -> graph.Step:
    """The step of a layer, as `graph.find`; for None the step that computes the model's first output."""
    if layer is not None:
        return graph.find(model_graph, layer)
    return next(step for step in model_graph.steps if model_graph.outputs[0] in step.outputs)


class AveragePooling(keras.layers.Layer):
    """Average pooling over the windows of a max pooling, with any padding; padded cells are not counted."""

    def __init__(
        self, pool_size: Sequence[int], strides: Sequence[int], padding: Literal["valid", "same"], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size, self.strides, self.padding = pool_size, strides, padding

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        sides = zip(maps.shape[1:3], self.pool_size, self.strides, strict=True)
        padding = [(0, 0), *(pooling.window_padding(*side, self.padding) for side in sides), (0, 0)]

        def average(values):
            return tf.nn.avg_pool2d(tf.pad(values, padding), self.pool_size, self.strides, "VALID")

        return average(maps) / average(tf.ones((1, *maps.shape[1:3], 1), maps.dtype))

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        pool = keras.layers.MaxPooling2D(self.pool_size, self.strides, self.padding, data_format="channels_last")
        return pool.compute_output_shape(input_shape)


def at_own_size(model: keras.Model, shape: Sequence[int] | None) -> graph.Graph:
    """The graph of the whole model; undefined sides of its input take the values of `shape`."""
    try:
        own = model.inputs[0].shape[1:]
    except (AttributeError, ValueError, TypeError, IndexError):  # not a model with a graph: `walk` raises the error
        return graph.walk(model)
    if shape is None or None not in own:
        return graph.walk(model)
    if len(own) != len(shape):
        return graph.walk(model, shape)
    return graph.walk(model, tuple(size if side is None else side for side, size in zip(own, shape, strict=True)))


def _averaging(step):
    """Replace a max pooling step by an average pooling; return any other step as it is."""
    if not issubclass(graph.kind(step.layer), keras.layers.MaxPooling2D):
        return step
    pool = step.layer
    return step._replace(layer=AveragePooling(pool.pool_size, pool.strides, pool.padding, dtype=pool.dtype_policy))


def _resized(model_graph, shape):
    """The same steps with edges of other shapes, which are found by a symbolic forward pass."""
    image, shapes, called = model_graph.inputs[0], {}, []

    def call(step, *args, **kwargs):
        called.append(step)
        results = graph.call_layer(step, *args, **kwargs)
        if any(result.shape[0] != 2 for result in keras.tree.flatten(results)):
            raise ValueError("A reshape combines values of different images.")
        return results

    def forward(images):
        shapes.update((edge, maps.shape[1:]) for edge, maps in graph.run(model_graph, images, call).items())

    try:
        compile_function(forward, tf.TensorSpec((2, *shape), image.dtype))
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        step = called[-1]
        raise ValueError(
            f"Layer '{step.name}' ({type(step.layer).__name__}) of model '{model_graph.name}' does not work on images "
            f"of {_sizes(shape)}; the model is made for {_sizes(image.shape)}. Use images of that size, larger "
            "images if these are too small, or a layer below the first dense layer."
        ) from error
    edges = {edge: graph.Edge(shape, edge.dtype) for edge, shape in shapes.items()}
    return graph.with_edges(model_graph, edges)


def _sizes(shape):
    return " x ".join(map(str, shape))
