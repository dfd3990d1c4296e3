"""Style transfer: the content of one image in the style of another (Gatys, Ecker & Bethge, arXiv:1508.06576)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.features.forward_pass import ForwardPass
from deconv.features.inversion import roughness
from deconv.features.objectives import Objective, Target
from deconv.features.optimization import optimize
from deconv.features.parametrizations import Parametrization
from deconv.features.resizing import at_own_size, for_pixels
from deconv.features.transforms import jitter, pad
from deconv.runtime.error_messages import reason
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_pair, check_pixels, check_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STARTS = ("content", "noise")

_WORKABLE = 32, 223
"""Range of pixels of the initial image: the gradient of a sigmoid vanishes at black and white."""


class StyleTransfer(NamedTuple):
    """The result of a style transfer.

    Attributes:
        image: float32 `(height, width, channels)`, pixels from 0 to 255.
        content_losses, style_losses: `{layer: float}`, relative squared errors against the content and the style: 0 if
            they are equal, 1 for an image for which the output of the layer is zero.
        history: float32 `(steps,)`, the weighted sum of the losses before each step.
    """

    image: np.ndarray
    content_losses: dict[Any, float]
    style_losses: dict[Any, float]
    history: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, content: np.ndarray, style: np.ndarray, title: str = "Style transfer") -> Figure:
        """Draw content and style images `(height, width, 1 or 3)`, result and losses (`plotting.style_sheet`)."""
        from deconv.plotting import pixels, style_sheet

        return style_sheet(pixels(content), pixels(style), self, title)


def transfer_style(
    model: keras.Model,
    content: str | os.PathLike | ArrayLike,
    style: str | os.PathLike | ArrayLike,
    *,
    content_layers: str | int | Sequence[str | int] | None = None,
    style_layers: str | int | Sequence[str | int] | None = None,
    content_weight: float = 1.0,
    style_weight: float = 10.0,
    roughness_weight: float = 0.2,
    size: int | Sequence[int] | None = 256,
    start: Literal["content", "noise"] = "content",
    steps: int = 200,
    learning_rate: float = 0.05,
    parametrization: Literal["fourier", "pixels"] | Parametrization = "fourier",
    largest_jitter: int = 8,
    average_pooling: bool = True,
    preprocess: Callable[..., Any] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> StyleTransfer:
    """Compute an image with the content of one image and the style of another.

    The loss is the relative error of the content in some layers plus that of the style in other layers, each averaged
    over its layers, plus a small penalty on roughness:

        content_weight * |F - P|² / |P|²  +  style_weight * |G - A|² / |A|²

    F and P are the outputs of a layer for the image and for the content, after its activation function. G and A are the
    Gram matrices of the outputs for the image and for the style, see `gram`. Differences from Gatys et al.:

    - They divide the squared errors by constants, and scale the weights of their network so that the mean activation of
      every filter is 1. Here the errors are divided by the squared norm of the target values, which is independent of
      the scale of a layer. The layers of AlexNet differ by orders of magnitude, and need no weights of their own.
    - They start from white noise. Here the optimisation starts from the content and uses Adam, as all of
      `deconv.features`. The weights are relative and do not compare with theirs.
    - The first filters of AlexNet have a stride of 4 pixels and leave a grid in the image, which those of VGG do not. A
      Fourier parametrization, a small jitter and a penalty on roughness (as in `invert`) remove it.

    Args:
        model: A functional or Sequential `keras.Model`. It is not changed. A model for another image size is run at
            this size, as far as its layers support it.
        content, style: The images: paths of png, jpg, bmp or gif files, or arrays `(height, width, channels)` in pixel
            units [0, 255].
        content_layers, style_layers: Names, paths or indices, one or several. None for the style means all
            convolutions, or five of them (the first, the last and three between) if there are more; None for the
            content means the last but one of these. In AlexNet these are conv1 to conv5, and conv4.
        content_weight, style_weight, roughness_weight: Weights of the losses, at least 0.
        size: `(height, width)` of both images, or one number for both sides: the images are resized to cover this size
            and cropped at the centre. None keeps their sizes, which may differ.
        start: `"content"` or `"noise"`.
        steps: Number of update steps.
        learning_rate: Learning rate of Adam, in the units of the parametrization: about 4 for `"pixels"`.
        parametrization: As for `optimize`.
        largest_jitter: By how many pixels the image can be shifted at each step, at most half of them to each side; 0
            for none.
        average_pooling: Whether max poolings are replaced by average poolings during the optimisation, which gave
            better images for Gatys et al.
        preprocess: Preprocessing function of tensors, from pixels to the model's input; None for a model that takes
            pixels.
        seed: Seed of the jitter and of the noise.
        progress: Whether to show a progress bar.

    Returns:
        `StyleTransfer`.

    Raises:
        ValueError: If something does not fit the model, or an image cannot be read.
    """
    _check_weights(content_weight=content_weight, style_weight=style_weight, roughness_weight=roughness_weight)
    if start not in STARTS:
        raise ValueError(f"start must be one of {', '.join(map(repr, STARTS))}; received {start!r}.")
    if largest_jitter != 0:
        check_positive("largest_jitter", largest_jitter)
    content_image, style_image = _image("content", content, size, model), _image("style", style, size, model)
    content_targets, style_targets = _layer_targets(model, content_image.shape, content_layers, style_layers)
    losses = _Losses(model, content_image, style_image, content_targets, style_targets, average_pooling, preprocess)

    def score(values, numbers):
        content_losses, style_losses = losses.of(values)
        return -content_weight * _mean(content_losses) - style_weight * _mean(style_losses)

    border = -(-largest_jitter // 2)
    result = optimize(
        losses.graph_for(content_image),
        Objective(("style",), losses.targets, score),
        steps=steps,
        parametrization=parametrization,
        start=content_image.clip(*_WORKABLE) if start == "content" else None,
        learning_rate=learning_rate,
        regularizers=(roughness(roughness_weight),),
        transforms=(pad(border), jitter(largest_jitter)) if largest_jitter else (),
        image_channels=content_image.shape[-1],
        preprocess=preprocess,
        seed=seed,
        progress=progress,
    )
    content_losses, style_losses = (
        {target.layer: float(loss[0]) for target, loss in by_target.items()}
        for by_target in losses.of(losses.outputs(result.images[0]))
    )
    return StyleTransfer(result.images[0], content_losses, style_losses, -result.history[0])


def gram(maps: tf.Tensor) -> tf.Tensor:
    """Compute the Gram matrices of activation maps over their positions, divided by the number of positions.

    They hold the correlations of the channels irrespective of the position. Images of different sizes compare.

    Args:
        maps: Tensor `(n, rows, columns, channels)`, or `(n, channels)` for a layer without positions.

    Returns:
        Tensor `(n, channels, channels)`.
    """
    cells = tf.reshape(maps, [-1, int(np.prod(maps.shape[1:-1])), maps.shape[-1]])
    return tf.matmul(cells, cells, transpose_a=True) / cells.shape[1]


def relative(values: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """`|values - wanted|² / |wanted|²`, for each entry of the first axis."""
    axes = list(range(1, values.shape.rank))
    return tf.reduce_sum(tf.square(values - wanted), axes) / tf.reduce_sum(tf.square(wanted), axes)


class _Losses:
    """The relative errors of an image against the content in some layers and the style in others.

    Attributes:
        targets: All layers of the content and the style, each once.
    """

    def __init__(self, model, content, style, content_targets, style_targets, average_pooling, preprocess):
        self._model, self._average_pooling, self._preprocess = model, average_pooling, preprocess
        self.targets = (*content_targets, *(target for target in style_targets if target not in content_targets))
        self._content = _nonzero("content", self.outputs(content), content_targets)
        style_values = _nonzero("style", self.outputs(style), style_targets)
        self._grams = {target: gram(maps) for target, maps in style_values.items()}

    def graph_for(self, image):
        """The model graph up to the layers, for images of the size of this one."""
        layers = [target.layer for target in self.targets]
        return for_pixels(self._model, layers, image.shape, self._preprocess, average_pooling=self._average_pooling)

    def outputs(self, image):
        """The outputs of the layers for an image, `{Target: tensor}`."""
        channels = {"image_channels": image.shape[-1], "preprocess": self._preprocess}
        return ForwardPass(self.graph_for(image), self.targets, **channels).outputs(tf.constant(image[None]))

    def of(self, values):
        """The losses of the content and of the style, each `{Target: (n,) floats}`, from outputs of the layers."""
        content_losses = {target: relative(values[target], maps) for target, maps in self._content.items()}
        return content_losses, {target: relative(gram(values[target]), grams) for target, grams in self._grams.items()}


def _check_weights(**weights):
    for name, weight in weights.items():
        if not isinstance(weight, Real) or isinstance(weight, bool) or not 0 <= weight < np.inf:
            raise ValueError(f"{name} must be a number of at least 0; received {weight!r}.")


def _mean(losses):
    return sum(losses.values()) / len(losses)


def _layer_targets(model, shape, content_layers, style_layers):
    """The layers of the content and of the style as `Target`s; where none are given, the defaults of the model."""
    if style_layers is None or content_layers is None:
        filters = _filters(model, shape)
        style_layers = filters if style_layers is None else style_layers
        content_layers = filters[-2:][0] if content_layers is None else content_layers
    return _targets("content_layers", content_layers), _targets("style_layers", style_layers)


def _targets(name, layers):
    layers = list(layers) if isinstance(layers, list | tuple | range) else [layers]
    if not layers:
        raise ValueError(f"{name} must name at least one layer; received none.")
    return tuple(Target(layer, before=False) for layer in layers)


def _nonzero(name, values, targets):
    """The values of each layer; an error if they are all zero."""
    for target in targets:
        if not np.any(values[target]):
            raise ValueError(f"Layer {target.layer!r} outputs only zeros for the {name}. Choose another layer.")
    return {target: values[target] for target in targets}


def _filters(model, shape):
    """Names of at most five of the model's convolutions, from the lowest to the highest."""
    steps = at_own_size(model, shape).steps
    names = [step.name for step in steps if issubclass(graph.kind(step.layer), keras.layers.Conv2D)]
    if not names:
        raise ValueError(f"Model '{model.name}' has no convolutions. Give content_layers and style_layers.")
    return [names[place] for place in np.unique(np.linspace(0, len(names) - 1, 5).round().astype(int))]


def _image(name, source, size, model):
    """An image as float32 pixels, read if it is a path, resized and cropped if a size is given."""
    if isinstance(source, str | os.PathLike):
        source = _read(name, os.fspath(source), model.inputs[0].shape[-1])
    image = check_pixels(name, source)
    if size is None:
        return image
    height, width = check_pair("size", size)
    factor = max(height / image.shape[0], width / image.shape[1])
    rows, columns = (max(1, round(side * factor)) for side in image.shape[:2])
    if (rows, columns) != image.shape[:2]:
        image = tf.image.resize(image, (rows, columns), antialias=True).numpy().clip(0, 255)
    top, left = (rows - height) // 2, (columns - width) // 2
    return image[top : top + height, left : left + width]


def _read(name, path, channels):
    """Read an image file, with as many channels as the model takes if these are 1 or 3."""
    try:
        content = tf.io.read_file(path)
        return tf.io.decode_image(content, channels if channels in (1, 3) else 0, expand_animations=False).numpy()
    except (tf.errors.OpError, ValueError) as error:
        raise ValueError(
            f"{name} cannot be read as a png, jpg, bmp or gif image: '{path}'. ({reason(error)})"
        ) from error
