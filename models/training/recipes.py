"""Training recipes for networks of photographs: that of the paper, and a faster modern one.

A recipe prepares a new model: initial weights, constraint, optimizer, loss, and the learning rate schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
from keras import ops

from models.layers import FilterRMS
from models.training.optimizers import CaffeSGD

if TYPE_CHECKING:
    import tensorflow as tf
    from numpy.typing import ArrayLike

RECIPES: dict[str, dict[str, Any]] = {
    "paper": {"epochs": 70, "batch_size": 128, "learning_rate": 0.01, "weight_decay": 5e-4, "units": 4096},
    "modern": {"epochs": 50, "batch_size": 64, "learning_rate": 0.015, "weight_decay": 2e-3, "units": 512},
}
"""Default values of a recipe. The paper does not give the weight decay; 5e-4 is Krizhevsky's."""
INPUT_SCALE = 64.0
"""In the modern recipe, networks with inputs in [-128, 128] learn as if the inputs had been divided by this."""
FIRST_LAYER_RATE = 10.0
"""Factor of the first layer's learning rate in the modern recipe, and so of the effect of its weight decay: few epochs
then suffice to remove the initial noise from its filters, which are visualized."""
_PATIENCE = 5


def prepare(
    model: keras.Model,
    recipe: Literal["paper", "modern"],
    *,
    learning_rate: float,
    weight_decay: float,
    steps: int,
    filter_radius: float,
    seed: int,
    grey_level: float = 1.0,
) -> None:
    """Initialise and compile a network.

    `"paper"` (Zeiler & Fergus, section 3; Krizhevsky et al. 2012, section 5): the initial weights of the model, SGD
    with momentum 0.9 and weight decay, the RMS of every filter limited to `filter_radius`. The learning rate is divided
    by 10 when the error stops falling; see `plateau_rate`.

    `"modern"`: He's initialisation (0.01 for the last layer, biases 0), Nesterov momentum, a linear warm-up (a
    twentieth of the run, at most 500 steps) and a cosine to 0, label smoothing 0.1, the same decay and constraint. The
    first layer is initialised and learns as if its inputs had been divided by `INPUT_SCALE`, and `FIRST_LAYER_RATE`
    times as fast.

    Args:
        model: A built network with layers `conv1` ... `predictions`; changed in place.
        recipe: `"paper"` or `"modern"`.
        learning_rate: The initial one, or the maximum.
        weight_decay: Weight decay of kernels, added to the gradient; biases have none.
        steps: Number of steps of the whole run.
        filter_radius: Largest RMS of a filter for inputs of about [-128, 128]; 0 for no constraint.
        seed: Seed of the modern recipe's initial weights.
        grey_level: The change of the network's input per grey level, see `grey_level_of`. If it is not 1, scale and
            radius of the first layer are adapted.
    """
    modern = recipe == "modern"
    decays = {layer.kernel.path: weight_decay for layer in model.layers if layer.weights}
    rates: dict[str, float] = {}
    rate: Any = learning_rate
    if modern:
        input_scale = INPUT_SCALE * grey_level
        _he_initialise(model, seed, input_scale)
        first = model.get_layer("conv1").kernel.path
        rates[first], decays[first] = FIRST_LAYER_RATE * input_scale**-2, weight_decay * input_scale**2
        warm_up = min(500, steps // 20)
        rate = keras.optimizers.schedules.CosineDecay(
            learning_rate / 10, max(1, steps - warm_up), warmup_target=learning_rate, warmup_steps=warm_up
        )
    if filter_radius:
        for layer in model.layers:
            if isinstance(layer, keras.layers.Conv2D):
                layer.kernel.constraint = FilterRMS(filter_radius / (grey_level if layer.name == "conv1" else 1.0))
    optimizer = CaffeSGD(rate, momentum=0.9, nesterov=modern, rates=rates, decays=decays)
    model.compile(optimizer, loss=Smoothed(0.1 if modern else 0.0), metrics=["accuracy"])


def grey_level_of(preprocess: Callable[[ArrayLike], ArrayLike]) -> float:
    """Compute the change of a network's inputs per grey level of a pixel.

    Args:
        preprocess: Function from pixels `(n, height, width, 3)` in [0, 255] to inputs of the network.

    Returns:
        A float: 1 if only means are subtracted, 0.0174 for torchvision's networks.
    """
    black, white = (np.asarray(preprocess(np.full((1, 1, 1, 3), level, np.float32))) for level in (0, 255))
    return round(float(np.mean(white - black)) / 255, 4)  # removes the rounding errors of subtracted means


def annealing(
    recipe: Literal["paper", "modern"], first: float
) -> Callable[[Sequence[Mapping[str, float]]], float] | None:
    """Learning rate schedule of a recipe by epochs.

    Args:
        recipe: `"paper"` or `"modern"`.
        first: The initial learning rate.

    Returns:
        Function from the history to the learning rate of the next epoch, see `plateau_rate`; None for the modern
        recipe, whose learning rate depends on the step only.
    """
    return (lambda history: plateau_rate(history, first)) if recipe == "paper" else None


def plateau_rate(
    history: Sequence[Mapping[str, float]],
    first: float,
    factor: float = 0.1,
    patience: int = _PATIENCE,
    reductions: int = 3,
) -> float:
    """The learning rate for the next epoch, divided by 10 whenever the test error has stopped falling.

    The paper says "annealed manually"; Krizhevsky et al. divided by 10, three times. This is a function of the history
    only, so that an interrupted run can be resumed without a difference.

    Args:
        history: List of dicts with `test_accuracy`, one per epoch.
        first: The initial learning rate.
        factor: Factor of each reduction.
        patience: Number of epochs without a better test accuracy before a reduction, counted anew after each.
        reductions: Maximum number of reductions.

    Returns:
        A float.
    """
    best, epochs_since_best, reduced = -math.inf, 0, 0
    for row in history:
        epochs_since_best = 0 if row["test_accuracy"] > best else epochs_since_best + 1
        best = max(best, row["test_accuracy"])
        if epochs_since_best >= patience and reduced < reductions:
            epochs_since_best, reduced = 0, reduced + 1
    return first * factor**reduced


@keras.saving.register_keras_serializable(package="models")
class Smoothed(keras.losses.Loss):
    """Cross-entropy of probabilities with label smoothing.

    Args:
        smoothing: Share of every label that is distributed evenly over all classes, in [0, 1).
    """

    def __init__(self, smoothing: float = 0.0, name: str = "smoothed_crossentropy", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def call(self, labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        """Cross-entropy of each example."""
        logarithms = ops.log(ops.maximum(ops.cast(probabilities, "float32"), 1e-7))
        labels = ops.reshape(ops.cast(labels, "int32"), (-1,))
        one_hot = ops.one_hot(labels, logarithms.shape[-1], dtype="float32")
        weights = one_hot * (1 - self.smoothing) + self.smoothing / logarithms.shape[-1]
        return -ops.sum(weights * logarithms, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialization."""
        return {"smoothing": self.smoothing, **super().get_config()}


def _he_initialise(model: keras.Model, seed: int, input_scale: float) -> None:
    """Draw initial weights as in He et al. 2015; those of the first layer are divided by `input_scale`."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.weights:
            shape = layer.kernel.shape
            spread = math.sqrt(2 / math.prod(shape[:-1]))
            if layer.name == "conv1":
                spread /= input_scale
            if layer.name == "predictions":
                spread = 0.01
            layer.kernel.assign(random.normal(0, spread, shape).astype("float32"))
            layer.bias.assign(np.zeros(layer.bias.shape, "float32"))
