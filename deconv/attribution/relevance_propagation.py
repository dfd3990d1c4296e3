"""Layer-wise relevance propagation (LRP): redistribute the value of a unit layer by layer down to the pixels.

Bach et al., "On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation", PLOS
ONE 2015; the rules by layer as in Montavon et al., "Layer-wise relevance propagation: an overview", 2019. The relevance
R of the output of each layer is redistributed as follows:

| layer                                             | relevance of its inputs                                          |
|---------------------------------------------------|------------------------------------------------------------------|
| convolutions, dense layers                        | R by the rule that the composite has for the layer               |
| average pooling, Add, Average                     | R in proportion to the contribution of each input (rule `zero`)  |
| batch normalisation right after a filter          | R; it is merged into the filter, and its shift into the bias     |
| other batch normalisation, Rescaling, `maps / 2`  | R: each output has one input, and its shift gets nothing         |
| activations with f(0) = 0 that keep the sign      | R                                                                |
| max pooling                                       | all of R to the argmax of each window; overlapping windows add   |
| Concatenate, ZeroPadding2D, other copying layers  | R, to the inputs that were copied                                |
| dropout, contrast normalisation                   | R                                                                |

An activation function is recognised by its values, also in a lambda, an operation or a layer of unknown class
(`deconv.graph.activation_functions`). Any other layer of unknown class raises an error with its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, overload

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.attribution import rules
from deconv.attribution.lrp_backward import descend
from deconv.attribution.lrp_plan import plan, rules_for
from deconv.attribution.targets import chosen
from deconv.graph.compilation import compile_function
from deconv.runtime.short_repr import short_repr

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Relevances(NamedTuple):
    """Relevances of every layer for the explained units of n images.

    The relevance of the output of a layer is the sum of three parts: that of its inputs, that of its biases, and the
    lost part. The lost part is absorbed by `epsilon`, or belongs to outputs without contributions under the rule.

    Attributes:
        values: float64 `(n,)`, the redistributed value: the explained unit before its activation function.
        input: `(n, height, width, channels)`, the relevance of the pixels.
        maps: `{layer: (n, rows, columns, channels) or (n, channels)}`, relevance of the output of each layer, from the
            top.
        rules: `{layer: name of its rule}`, for the layers that redistribute relevance.
        residuals: `{layer: float64 (n,)}`, |sum at its inputs - sum at its output| / |value|. NaN where the value is 0.
        biases: `{layer: float64 (n,)}`, the relevance of its biases, divided by the value.
        lost: `{layer: float64 (n,)}`, the relevance lost in it, divided by the value.
    """

    values: np.ndarray
    input: np.ndarray
    maps: dict[str, np.ndarray]
    rules: dict[str, str]
    residuals: dict[str, np.ndarray]
    biases: dict[str, np.ndarray]
    lost: dict[str, np.ndarray]

    def plot(self, images: np.ndarray, labels: Sequence[str] | None = None, title: str = "Relevance") -> Figure:
        """Draw the relevance of the pixels beside the images (`plotting.attribution_sheet`).

        Args:
            images: `(n, height, width, 1 or 3)` in pixel units, 0 to 255.
            labels: One text per image; None for the relevance that was distributed.
            title: Title of the figure.

        Returns:
            The Matplotlib figure.
        """
        from deconv.plotting import attribution_sheet, pixels, signed

        labels = [f"{value:.3g}" for value in self.values] if labels is None else labels
        return attribution_sheet(pixels(images), {"lrp": signed(self.input)}, labels, title)

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def arrived(self) -> np.ndarray:
        """float64 `(n,)`, the sum of the pixels' relevance, divided by the value. NaN where the value is 0."""
        return _arrived_fraction(self.input, self.values)


@overload
def lrp(
    model: keras.Model,
    images: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    *,
    composite: str | rules.Rule | dict[Any, rules.Rule] = "auto",
    unit: Literal["max", "map"] | Sequence[int] = "max",
    bounds: tuple[ArrayLike, ArrayLike] | None = None,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
    return_arrived: Literal[False] = False,
) -> np.ndarray: ...


@overload
def lrp(
    model: keras.Model,
    images: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    *,
    composite: str | rules.Rule | dict[Any, rules.Rule] = "auto",
    unit: Literal["max", "map"] | Sequence[int] = "max",
    bounds: tuple[ArrayLike, ArrayLike] | None = None,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
    return_arrived: Literal[True],
) -> tuple[np.ndarray, np.ndarray]: ...


def lrp(
    model: keras.Model,
    images: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    *,
    composite: str | rules.Rule | dict[Any, rules.Rule] = "auto",
    unit: Literal["max", "map"] | Sequence[int] = "max",
    bounds: tuple[ArrayLike, ArrayLike] | None = None,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
    return_arrived: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Compute the relevance of the pixels for a unit by layer-wise relevance propagation.

    The relevance of the pixels sums to the value of the unit minus what biases and epsilons have absorbed.
    `return_arrived` gives the fraction that reaches the pixels, `relevances` where the rest is. The result depends on
    the rules: with `composite="zero"`, in a network of filters, rectifiers and pooling only, it is the gradient times
    the image.

    Args:
        model: A functional or Sequential `keras.Model`. It is not changed.
        images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
        target: Channel of the layer, for dense layers the class: an int; `(n,)` ints, one for each image;
            `(n, channels)` rows of zeros with a single one; or None for the strongest of each image.
        layer: Name, path or index of any layer, taken before its activation function; None for the model's output.
        composite: The rule of each layer. `"auto"`: `z_box` at the pixels, then `gamma`, `epsilon` and `zero` for a
            third each of the layers with weights (see `composites.COMPOSITES` for this and other names). A rule of
            `deconv.attribution.rules`, for all layers with weights. Or `{layer name or type: rule}`, where names take
            precedence over types; other layers follow `"auto"`.
        unit: Which units of the channel: `"max"`, the strongest; a position `(row, column)`; or `"map"`, their sum.
        bounds: `(low, high)`, the range of the pixels for the rule `z_box`, in the units of the model's input: numbers,
            `(channels,)` or images. For a `preprocess` of pixels from 0 to 255 they are `(preprocess(np.zeros(shape)),
            preprocess(np.full(shape, 255)))`. None for the smallest and largest value in each channel of each image, so
            that the result for an image does not depend on the others. Images of one or two axes, whose last need not
            be channels, use the range of the whole image.
        batch_size: Number of images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        return_arrived: Whether to return also the fraction of the value that reaches the pixels.

    Returns:
        Array shaped like `images`, float32 (float64 if the model is): signed, positive where a pixel is evidence for
        the unit; in the units of the layer. With `return_arrived`, `(array, arrived)`: float64 `(n,)`, the sum of each
        image's pixels divided by the value of its unit, 1 if all relevance reaches the pixels, NaN where the value is
        0.

    Raises:
        ValueError: If an argument does not fit the model, or a layer has no rule; the message names it and a remedy.
    """
    units = chosen(model, images, target, layer, unit, batch_size=batch_size, input_shape=input_shape)
    whole = graph.walk(model, input_shape)
    maps = _descend(units, rules_for(units.graph, whole, composite), bounds, batch_size, _pixel_relevances)
    return (maps, _arrived_fraction(maps, units.values)) if return_arrived else maps


def relevances(
    model: keras.Model,
    images: ArrayLike,
    target: ArrayLike | None = None,
    layer: str | int | None = None,
    *,
    composite: str | rules.Rule | dict[Any, rules.Rule] = "auto",
    unit: Literal["max", "map"] | Sequence[int] = "max",
    bounds: tuple[ArrayLike, ArrayLike] | None = None,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
) -> Relevances:
    """Compute the relevance of every layer, and the parts absorbed by biases or lost.

    Args and Raises: As for `lrp`.

    Returns:
        `Relevances`. For n images their size is that of all activations of the model.
    """
    units = chosen(model, images, target, layer, unit, batch_size=batch_size, input_shape=input_shape)
    by_layer = rules_for(units.graph, graph.walk(model, input_shape), composite)
    pixels, maps, sums = _descend(units, by_layer, bounds, batch_size, _all_relevances)
    value = np.where(units.values == 0, np.nan, units.values)
    sharing = [name for name in maps if name in by_layer]
    return Relevances(
        values=units.values,
        input=pixels,
        maps=maps,
        rules={name: str(by_layer[name]) for name in sharing},
        residuals={name: np.abs(into - out) / np.abs(value) for name, (out, into, _, _) in sums.items()},
        biases={name: sums[name][2] / value for name in sharing},
        lost={name: sums[name][3] / value for name in sharing},
    )


def _arrived_fraction(maps, values):
    """The sum of the pixels' relevance as a fraction of the value: float64 `(n,)`."""
    return maps.sum(axis=tuple(range(1, maps.ndim)), dtype=np.float64) / np.where(values == 0, np.nan, values)


def _pixel_relevances(plan, *tensors):
    return descend(plan, *tensors)[0]


def _all_relevances(plan, *tensors):
    return descend(plan, *tensors)


def _descend(units, by_layer, bounds, batch_size, propagate):
    """Propagate in batches by `propagate`, compiled once for a layer of a model and its rules."""
    images, (lowest, highest) = units.images, _check_bounds(bounds, units.images)
    compiled = units.network.compiled(_compile, propagate, tuple(by_layer.items()))
    parts = [
        tf.nest.map_structure(
            lambda tensor: tensor.numpy(), compiled(images[part], units.signal[part], lowest(part), highest(part))
        )
        for part in units.batches(batch_size)
    ]
    return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def _compile(model_graph, propagate, by_layer):
    network_plan = plan(model_graph, dict(by_layer))
    image, top = model_graph.inputs[0], model_graph.steps[-1].output
    like_images, signal = (tf.TensorSpec((None, *edge.shape), edge.dtype) for edge in (image, top))
    signature = like_images, signal, like_images, like_images
    return compile_function(lambda *tensors: propagate(network_plan, *tensors), *signature)


def _check_bounds(bounds, images):
    """Two functions from a slice of the images to its lower and upper bounds, shaped like it."""
    if bounds is None:
        axes = tuple(range(1, images.ndim - 1 if images.ndim > 3 else images.ndim))
        limits = images.min(axis=axes, keepdims=True), images.max(axis=axes, keepdims=True)
    else:
        try:
            limits = [np.broadcast_to(np.asarray(bound, images.dtype), images.shape) for bound in bounds]
            fits = len(limits) == 2 and np.isfinite(limits).all() and (limits[0] <= limits[1]).all()
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError(
                "bounds must be (low, high), each a finite number, one for each channel, or an image "
                f"{images.shape[1:]}, and low nowhere above high; received {bounds!r}."
            )
    return [lambda part, bound=bound: np.broadcast_to(bound[part], images[part].shape) for bound in limits]
