"""Cascading randomisation: compare explanations before and after the weights are randomised from the top layer down.

Adebayo et al., arXiv:1810.03292, section 4.1. An explanation that does not change with the weights it is meant to
compute shows something else, such as the image or its edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from deconv import graph
from deconv.deconvnet.projection import Deconvnet
from deconv.deconvnet.selection import check_positions
from deconv.graph import modified_gradients
from deconv.graph.gradients_through_the_head import with_floating_input
from deconv.graph.receptive_field import receptive_windows
from deconv.imaging.nan_mean import nan_mean_and_std
from deconv.imaging.rectangles import window_masks
from deconv.imaging.similarity import similarity
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_channels, check_image_shape, check_images, check_positive, check_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ("deconvnet", "gradient", "guided_backprop")
"""The methods that `cascade` can compare."""


class Cascade(NamedTuple):
    """Similarity of explanations to those of the trained network while its layers are randomised.

    Attributes:
        layers: Names of the layers in the order in which they are randomised, from the top down.
        likeness: `{method: {measure: (n, layers + 1) float64}}`, see `deconv.imaging.similarity`, over the receptive
            field of each unit; the first column compares the trained network with itself. NaN where an explanation is
            empty.
    """

    layers: tuple[str, ...]
    likeness: dict[str, dict[str, np.ndarray]]

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, title: str = "Similarity to the maps of the trained network") -> Figure:
        """Draw the similarity layer by layer (`plotting.cascade_chart`)."""
        from deconv.plotting import cascade_chart

        return cascade_chart(self, title)

    def table(self, measure: str = "pearson") -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """`{method: (means, deviations)}` over the images, `(layers + 1,)` each; NaN values are ignored."""
        return {method: nan_mean_and_std(values[measure]) for method, values in self.likeness.items()}


def cascade(
    model: keras.Model,
    images: ArrayLike,
    layer: str | int,
    channels: ArrayLike,
    positions: ArrayLike | None = None,
    methods: str | Sequence[str] = METHODS,
    *,
    seed: int = 0,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
    progress: bool = False,
) -> Cascade:
    """Randomise the weights of a layer and of those below it from the top down, and compare explanations of its units.

    The weights of a layer are randomised by a permutation of the values within each of its variables. This keeps their
    distribution, and thus the scale of the activations, but removes all structure. (Adebayo et al. draw new weights
    from the initializer.) The channel and position of a unit are kept. The signal at the unit is one, so that a unit
    has an explanation even where it has become inactive. Switches and rectifiers are those of the randomised network
    for the same image. Layers above the unit do not affect its explanation and are not randomised.

    Args:
        model: A functional or Sequential `keras.Model`. It is not changed: a copy is randomised.
        images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
        layer: Name, path or index of the layer whose units are explained.
        channels: `(n,)` ints, one for each image, or one for all.
        positions: `(n, 2)` ints, row and column of each unit; None for a layer without spatial axes.
        methods: Names in `METHODS`, one or several.
        seed: Seed of the permutations.
        batch_size: Number of images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        progress: Whether to show a progress bar.

    Returns:
        `Cascade`.

    Raises:
        ValueError: If a method is unknown, there are no weights to randomise, or anything does not fit the model.
    """
    check_positive("batch_size", batch_size)
    random = np.random.default_rng(check_seed(seed))
    copy = copy_of(model)
    net = Deconvnet(copy, input_shape=input_shape, windowed=False)
    step = graph.find(net.graph, layer)
    model_graph = graph.subgraph(net.graph, step)
    check_image_shape("cascade", model_graph)
    images = check_images(images, model_graph.inputs[0].shape, model_graph.inputs[0].dtype)
    channels = check_channels(channels, step.output.shape[-1], step.name)
    if len(channels) not in (1, len(images)):
        raise ValueError(
            f"channels must be a single channel, or one for each image ({len(images)}); received {len(channels)}."
        )
    channels = np.broadcast_to(channels, len(images))
    if positions is None and len(step.output.shape) == 3:
        raise ValueError(f"Layer '{step.name}' has maps, so each unit needs a position (row, column); received None.")
    positions = np.zeros((len(images), 2), np.int64) if positions is None else positions
    shape = (step.output.shape[:-1] * 2 or (1, 1))[:2]
    positions = check_positions(positions, len(images), shape)
    inside = window_masks(receptive_windows(copy, step.name, positions, input_shape=input_shape), images.shape[1:3])
    explainers = _explainers(net, model_graph, images, channels, positions, methods, batch_size)
    weighted = with_weights(model_graph)
    if not weighted:
        raise ValueError(f"No layer of model '{model.name}' up to '{step.name}' has weights to randomise.")

    original = {method: compute() for method, compute in explainers.items()}
    similarities = {method: [similarity(maps, maps, inside)] for method, maps in original.items()}
    for _, weights in tqdm(weighted, unit=" layers", disable=not progress):
        shuffle(weights, random)
        for method, compute in explainers.items():
            similarities[method].append(similarity(original[method], compute(), inside))
    by_measure = {
        method: {measure: np.stack([step[measure] for step in steps], axis=1) for measure in steps[0]}
        for method, steps in similarities.items()
    }
    return Cascade(tuple(name for name, _ in weighted), by_measure)


def copy_of(model: keras.Model) -> keras.Model:
    """Copy a model: the same layers with their own variables, equal to those of `model`."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def with_weights(model_graph: graph.Graph) -> list[tuple[str, list[keras.Variable]]]:
    """The layers of a graph that have weights, from the top down: pairs `(name, variables)`, each layer once."""
    layers: dict[int, tuple[str, list[keras.Variable]]] = {}
    for step in reversed(model_graph.steps):
        if getattr(step.layer, "weights", None):  # operations have none
            layers.setdefault(id(step.layer), (step.name, step.layer.weights))
    return list(layers.values())


def shuffle(weights: Iterable[keras.Variable], random: np.random.Generator) -> None:
    """Permute the values within each variable, in place."""
    for variable in weights:
        values = variable.numpy()
        variable.assign(random.permutation(values.ravel()).reshape(values.shape))


def gradient_function(
    model_graph: graph.Graph, images: np.ndarray, signal: np.ndarray, rule: str, batch_size: int
) -> Callable[[], np.ndarray]:
    """A function without arguments that computes the gradients of signals under a rule with the current weights."""
    model_graph = with_floating_input(model_graph)
    backward, dtype = (
        modified_gradients.gradients(model_graph, modified_gradients.RECTIFIERS[rule]),
        model_graph.inputs[0].dtype,
    )

    def compute():
        slices = [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]
        parts = [backward(images[part].astype(dtype, copy=False), signal[part])[1] for part in slices]
        return np.concatenate([part.numpy() for part in parts])

    return compute


def _explainers(net, model_graph, images, channels, positions, methods, batch_size):
    """`{method: function without arguments}`; each returns `(n, height, width, channels)` with the current weights."""
    methods = [methods] if isinstance(methods, str) else list(methods)
    if not methods or set(methods) - set(METHODS):
        raise ValueError(f"methods must be one or more of {', '.join(METHODS)}; received {methods!r}.")
    step = model_graph.steps[-1]
    signal = unit_signals(step.output.shape, channels, positions).astype(step.output.dtype)

    def project():
        return net.project_units(images, step.name, channels, positions, start="one", batch_size=batch_size)

    rules = {"gradient": "gradient", "guided_backprop": "guided"}
    return {
        method: project
        if method == "deconvnet"
        else gradient_function(model_graph, images, signal, rules[method], batch_size)
        for method in methods
    }


def unit_signals(shape: Sequence[int], channels: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Signals that are one at a single unit each and zero elsewhere: float32 `(n, *shape)`."""
    signal = np.zeros((len(channels), *shape), np.float32)
    numbers = np.arange(len(channels))
    if len(shape) == 1:
        signal[numbers, channels] = 1
    else:
        signal[numbers, positions[:, 0], positions[:, 1], channels] = 1
    return signal
