"""Compare explanations of one unit in one image by several methods, with running times and perturbation curves."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike

from deconv import graph
from deconv.attribution import METHODS
from deconv.attribution.targets import chosen
from deconv.deconvnet.projection import Deconvnet
from deconv.evaluation.deletion_insertion import Curves, perturbation_curves
from deconv.evaluation.explanation_methods import deconvnet_method, methods_of, occlusion_method
from deconv.imaging.fills import fill_of
from deconv.imaging.similarity import edges, magnitude
from deconv.runtime.dtypes import array_of
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_positive, check_seed, prepare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SENSITIVITIES = ("gradient", "smooth_grad", "guided_backprop", "deconvnet")
"""Methods whose maps are the sensitivity of a unit to a pixel; those of all others are contributions of the pixel."""

_MOST_STEPS = 128
"""Limit of integrated gradients, whose default takes minutes for a unit of small increase; `options` can override it.
"""


class Explanation(NamedTuple):
    """Explanations of one unit in one image, in the order of the methods.

    Attributes:
        image: `(height, width, channels)`, as it was given.
        layer: Name of the layer; the last one for a class.
        target: The channel, or class.
        unit: `(row, column)` of the unit; `"map"`, or None for a layer without space.
        maps: `{method: float32 (height, width, channels of the network's input, or 1)}`, signed. The last axis is
            present also where the network takes `(height, width)`.
        seconds: `{method: float}`, the running time of the last run.
        first_seconds: `{method: float}`, the running time of the first run, including compilation.
        curves: `Curves` of the methods and of two controls: `"edges"`, pixels in order of the gradient magnitude of the
            image, and `"random"`, the mean of random orders.
        left_out: `{method: reason}`, methods that do not apply to this network; only if no methods were named.
    """

    image: np.ndarray
    layer: str
    target: int
    unit: tuple[int, ...] | str | None
    maps: dict[str, np.ndarray]
    seconds: dict[str, float]
    first_seconds: dict[str, float]
    curves: Curves
    left_out: dict[str, str]

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, title: str | None = None, **settings: Any) -> Figure:
        """Draw the maps of all methods with their scores (`plotting.explanation_sheet`, which takes `settings`)."""
        from deconv.plotting import explanation_sheet

        return explanation_sheet(self, f"Explanations of {self.layer}" if title is None else title, **settings)

    @property
    def deletion(self) -> dict[str, np.ndarray]:
        """`{method or control: (steps + 1,)}`, see `Curves`."""
        return self.curves.deletion

    @property
    def insertion(self) -> dict[str, np.ndarray]:
        """`{method or control: (steps + 1,)}`, see `Curves`."""
        return self.curves.insertion


def explain(
    model: keras.Model,
    image: ArrayLike,
    target: int | None = None,
    layer: str | int | None = None,
    methods: str | Sequence[str] | dict[str, Callable[..., Any]] | None = None,
    *,
    unit: Literal["max", "map"] | Sequence[int] = "max",
    preprocess: Callable[..., Any] | None = None,
    fill: ArrayLike | None = None,
    start: Literal["blur"] | ArrayLike = "blur",
    steps: int = 50,
    square: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    options: dict[str, dict[str, Any]] | None = None,
    random_orders: int = 10,
    runs: int = 2,
    seed: int = 0,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
    progress: bool = False,
) -> Explanation:
    """Explain one unit with several methods, and evaluate their maps by deletion and insertion.

    The deconvnet is computed with explicit switches, `Deconvnet.project(start="one")`, not as the equivalent gradient.
    Occlusion is the decrease of the score under an occluding patch, assigned to the pixels that it covers
    (`pixel_map`); its score is that of the curves: the probability, or the activation of the unit. All methods explain
    the same unit, which is the strongest in the whole image. A map is converted to an order of pixels by `importance`.

    Args:
        model: A functional or Sequential `keras.Model`. It is not changed.
        image: `(height, width, channels)`, in pixel units if `preprocess` is given, else as the model expects.
        target: Class, or channel of `layer`; None for the strongest.
        layer: Name, path or index; None for the model's output, which methods that differentiate take before its
            softmax.
        methods: Names of `deconv.attribution.METHODS` and `"occlusion"`; or `{name: function}` with the same signature,
            for other methods too; None for all that apply.
        unit: `"max"`, the strongest unit of the channel; a position `(row, column)`; or `"map"`.
        preprocess: Preprocessing function from a batch of images to the model's input, of the same height and width.
        fill: The value of occluded and of removed pixels, in the units of `image`; None for mean grey: see
            `perturbation_curves`.
        start: The initial image of insertion: `"blur"`, the image convolved with a Gaussian of a tenth of its shorter
            side, or a value as for `fill`.
        steps: Number of shares in which pixels are removed and restored.
        square, stride: Side of the occluding patch and its stride, in pixels; None for a fifth of the shorter side, and
            a fifth of that.
        options: `{method: {argument: value}}`, for example `{"smooth_grad": {"samples": 10}}`.
        random_orders: Number of random orders that the control averages.
        runs: Number of runs of each method. Methods share compiled functions, which the first of them compiles, so that
            only the times of a second run compare.
        seed: Seed of the random orders, of ties between pixels, and of methods that take a `seed`.
        batch_size: Number of images computed at a time, by every method and for the curves: occluded, noisy, between
            the baseline and the image, or with removed pixels. It bounds the memory and changes results only by
            rounding.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        progress: Whether to show a progress bar for the curves.

    Returns:
        `Explanation`.

    Raises:
        ValueError: If a method is unknown, one that was named does not apply, or anything does not fit the model.
    """
    for name, value in (("random_orders", random_orders), ("runs", runs), ("steps", steps)):
        check_positive(name, value)
    check_seed(seed)
    image = array_of("image", image)
    entry = graph.walk(model, input_shape).inputs[0]
    prepared = _prepared(image, preprocess, entry)
    chosen_unit = chosen(model, prepared, target, layer, unit, input_shape=input_shape, real=False)
    target, place = int(chosen_unit.targets[0]), _place(chosen_unit.signal[0], unit)
    name = chosen_unit.graph.steps[-1].name
    subject: dict[str, Any] = {
        "target": target,
        "layer": layer,
        "unit": "max" if place is None else place,
        "input_shape": input_shape,
    }
    fill = fill_of(fill, image if preprocess is None else image.astype(np.float32), in_pixels=preprocess is not None)
    scoring: dict[str, Any] = {"preprocess": preprocess, "fill": fill, "batch_size": batch_size}
    own = {
        "deconvnet": deconvnet_method(Deconvnet(model, input_shape=input_shape), name),
        "occlusion": occlusion_method(image, square, stride, scoring),
    }
    functions = methods_of(methods, own)
    settings = {
        method: {"batch_size": batch_size, **subject, **_seeded(function, seed)}
        for method, function in functions.items()
    }
    for further in (_defaults(functions, image.shape, preprocess, entry), _checked_options(options, functions)):
        for method, arguments in further.items():
            settings[method].update(arguments)
    results = _results(functions, model, prepared, settings, runs, leave_out=methods is None)
    orders = {method: importance(values, method) for method, values in results["maps"].items()}
    orders["edges"] = edges(image[None])[0, ..., 0]
    orders["random"] = np.random.default_rng(seed).random((random_orders, *image.shape[:2]))
    curves = perturbation_curves(
        model, image, orders, **subject, **scoring, start=start, steps=steps, seed=seed, progress=progress
    )
    return Explanation(image=image, layer=name, target=target, unit=place, curves=curves, **results)


def importance(found: ArrayLike, method: str) -> np.ndarray:
    """Compute the importance of each pixel, by which pixels are ordered for deletion and insertion.

    The sign of a sensitivity (`SENSITIVITIES`) is the direction in which a pixel should change, not whether its present
    value supports the unit: the magnitudes are summed over the channels. The sign of a contribution matters: evidence
    for the unit comes first, evidence against it last, so the signed values are summed over the channels.

    Args:
        found: `(height, width, channels)`, a map.
        method: Name of the method.

    Returns:
        float64 `(height, width)`.
    """
    if method in SENSITIVITIES:
        return magnitude(np.asarray(found)[None])[0, ..., 0]
    return np.asarray(found, np.float64).sum(axis=-1)


def _prepared(image, preprocess, entry):
    """The image as the model takes it, `(1, ...)`, of the same height and width."""
    if image.ndim != 3:
        raise ValueError(f"image must have shape (height, width, channels); received {image.shape}.")
    prepared = prepare(image[None], preprocess, entry.shape, entry.dtype)
    if prepared.shape[1:3] != image.shape[:2]:
        raise ValueError(
            "preprocess must keep the height and width of the image, so that a pixel of a map belongs to one of the "
            f"image; it changed {image.shape[:2]} to {prepared.shape[1:3]}. Resize the image first."
        )
    return prepared


def _checked_options(options, functions):
    """The arguments of single methods; an error if they are not for one of the functions."""
    options = {} if options is None else options
    if not isinstance(options, dict) or not all(isinstance(arguments, dict) for arguments in options.values()):
        raise ValueError(f"options must be {{method: {{argument: value}}}}; received {options!r}.")
    unknown = set(options) - set(functions)
    if unknown:
        raise ValueError(
            f"options must be for the methods {', '.join(functions)}; received options for "
            f"{', '.join(sorted(unknown))}."
        )
    return options


def _defaults(functions, image_shape, preprocess, entry):
    """`{method: {argument: value}}`, defaults of methods of `deconv.attribution` that differ from their own."""
    defaults = {METHODS["integrated_gradients"]: {"most_steps": _MOST_STEPS}}
    if preprocess is not None:  # black and white are known, the bounds of LRP's rule for pixels
        limits = np.stack([np.full(image_shape, value, np.float32) for value in (0, 255)])
        defaults[METHODS["lrp"]] = {"bounds": np.sort(prepare(limits, preprocess, entry.shape, entry.dtype), axis=0)}
    return {method: defaults.get(function, {}) for method, function in functions.items()}


def _results(functions, model, prepared, settings, runs, leave_out):
    """The fields `maps`, `seconds`, `first_seconds` and `left_out` of an `Explanation`.

    Args:
        functions, settings: `{method: function}` and `{method: {argument: value}}`.
        model, prepared: The model, and the image as it takes it.
        runs: Number of runs of each method.
        leave_out: Whether methods that raise a ValueError are left out; otherwise the error is raised.
    """
    maps, seconds, first_seconds, left_out = {}, {}, {}, {}
    for method, function in functions.items():
        try:
            values, first_seconds[method], seconds[method] = _timed(function, model, prepared, settings[method], runs)
        except ValueError as error:
            if not leave_out:
                raise
            left_out[method] = str(error)
            continue
        values = np.asarray(values, np.float32)
        maps[method] = values[..., None] if values.ndim == 2 else values
    return {"maps": maps, "seconds": seconds, "first_seconds": first_seconds, "left_out": left_out}


def _timed(function, model, prepared, settings, runs):
    """`(map, seconds of the first run, seconds of the last run)` of a method."""
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        values = function(model, np.array(prepared), **settings)[0]  # a user's function may change it in place
        seconds.append(time.perf_counter() - began)
    return values, seconds[0], seconds[-1]


def _seeded(function, seed):
    return {"seed": seed} if "seed" in inspect.signature(function).parameters else {}


def _place(signal, unit):
    """The position of the chosen unit; `"map"` for a whole map, None in a layer without spatial axes."""
    if signal.ndim == 1:
        return None
    return unit if isinstance(unit, str) and unit == "map" else tuple(int(cell) for cell in np.argwhere(signal)[0][:2])
