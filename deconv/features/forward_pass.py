"""Compute outputs of layers from pixels, and the colours that count as zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.features.objectives import Target
from deconv.features.resizing import at_size, find
from deconv.graph import modified_gradients
from deconv.graph.gradients_through_the_head import with_floating_input
from deconv.imaging.pixel_space import probe
from deconv.runtime.error_messages import reason
from deconv.validation import check_fill, check_pair, check_positive, preprocessed


class ForwardPass:
    """A forward pass from pixels to the outputs of some layers.

    Args:
        model: A functional or Sequential `keras.Model`, or a `Graph`, which is used as it is.
        targets: `Target`s, the layers whose outputs are computed.
        size, image_channels, preprocess, centre, fill, input_shape: As for `optimize`.

    Attributes:
        shape: `(height, width, channels)` of the images.
        centre, fill: float32 `(channels,)` tensors, see `optimize`.

    Raises:
        ValueError: If the arguments are inconsistent.
    """

    def __init__(
        self,
        model: keras.Model | graph.Graph,
        targets: Sequence[Target],
        *,
        size: int | Sequence[int] | None = None,
        image_channels: int | None = None,
        preprocess: Callable[..., Any] | None = None,
        centre: ArrayLike | None = None,
        fill: ArrayLike | None = None,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        if not targets:
            raise ValueError("An objective must use the output of at least one layer; received a constant.")
        layers = [target.layer for target in targets]
        if isinstance(model, graph.Graph):
            model_graph = graph.subgraph(model, *(find(model, layer) for layer in layers))._replace(
                outputs=model.outputs
            )
            model_graph = model_graph._replace(layers=model.layers, aliases=model.aliases)
        else:
            model_graph = at_size(model, layers, input_shape)
            if size is not None:
                model_graph = at_size(model, layers, (*check_pair("size", size), model_graph.inputs[0].shape[-1]))
        model_graph = with_floating_input(model_graph)
        image = model_graph.inputs[0]
        if preprocess is not None and not callable(preprocess):
            raise ValueError(f"preprocess must be a function of images, or None; received {preprocess!r}.")
        if len(image.shape) != 3:
            raise ValueError(
                f"Model '{model_graph.name}' must take images (height, width, channels); it takes inputs of shape "
                f"{image.shape}."
            )
        self._model_graph, self._preprocess, self._image = model_graph, preprocess, image
        self.shape = (
            *image.shape[:2],
            image.shape[2] if image_channels is None else check_positive("image_channels", image_channels),
        )
        self._steps = {target: find(model_graph, target.layer) for target in targets}
        centre = zero_of(preprocess, self.shape) if centre is None else _colour("centre", centre, self.shape)
        self.centre = tf.constant(centre, tf.float32)
        self.fill = self.centre if fill is None else tf.constant(_colour("fill", fill, self.shape), tf.float32)

    def outputs(self, images: tf.Tensor, rectify: Callable[..., tf.Tensor] | None = None) -> dict[Target, tf.Tensor]:
        """Compute the outputs of the layers for a tensor of pixels: `{Target: float32 tensor}`.

        Args:
            images: Tensor `(n, *shape)`.
            rectify: Gradient rule of the rectifiers, as for `deconv.graph.modified_gradients.run`.

        Raises:
            ValueError: If `preprocess` fails, or its output does not have the shape of the model's input.
        """
        prepared = images if self._preprocess is None else self._prepared(images)
        if tuple(prepared.shape[1:]) != self._image.shape:
            raise ValueError(
                f"The model takes images of shape {self._image.shape}; preprocess returned {tuple(prepared.shape[1:])} "
                f"for images of shape {self.shape}. Give `image_channels` if images have another number of channels "
                "than the model's input."
            )
        values, before = modified_gradients.run(self._model_graph, tf.cast(prepared, self._image.dtype), rectify)
        return {
            target: tf.cast(before[step.name] if target.before else values[step.output], tf.float32)
            for target, step in self._steps.items()
        }

    def _prepared(self, images):
        try:
            return tf.convert_to_tensor(preprocessed(images, self._preprocess))
        except Exception as error:  # user code can raise anything
            raise ValueError(
                "preprocess must be a differentiable function of tensors: compute with keras.ops or tf, not NumPy. "
                f"It raised {type(error).__name__}: {reason(error)[:200]}"
            ) from error


def zero_of(preprocess: Callable[..., Any] | None, shape: Sequence[int]) -> np.ndarray:
    """The colour that a preprocessing function maps to zero, `(channels,)`.

    Mid-grey if the function is not affine and the same for each pixel.
    """
    if preprocess is None:
        return np.zeros(shape[-1:])
    noise, outputs = probe(preprocess, shape, np.float32)
    if outputs.shape[:3] == (shape[-1] + 2, *shape[:2]):
        black, *full = outputs[:-1, 0, 0]
        matrix = (np.stack(full) - black) / 255
        if np.allclose(noise @ matrix + black, outputs[-1], atol=1e-3 * np.abs(outputs[-1]).max()):
            colour, *_ = np.linalg.lstsq(matrix.T, -black, rcond=None)
            return np.clip(colour, 0, 255).round(3)
    return np.full(shape[-1:], 127.5)


def _colour(name, colour, shape):
    """A colour as one number per channel.

    Raises:
        ValueError: If it is of another form.
    """
    values = check_fill(colour, shape, name)
    if values.ndim == 3:
        raise ValueError(f"{name} must be a number or one per channel ({shape[-1]},); received a whole image.")
    return np.broadcast_to(values, shape[-1:])
