"""Compare explanations of one unit in one image by several methods, with running times and perturbation curves."""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deconv import graph
from deconv.attribution import METHODS
from deconv.attribution.targets import chosen
from deconv.deconvnet.projection import Deconvnet
from deconv.evaluation.deletion_insertion import Curves, perturbation_curves, scorer
from deconv.imaging.fills import fill_of
from deconv.imaging.similarity import edges, magnitude
from deconv.occlusion.sensitivity import occlusion_maps, occlusion_scores
from deconv.occlusion.sliding_window import pixel_map
from deconv.runtime.dtypes import array_of
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_pair, check_positive, check_seed, prepare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SENSITIVITIES = ("gradient", "smooth_grad", "guided_backprop", "deconvnet")
"""Methods whose maps are the sensitivity of a unit to a pixel; those of all others are contributions of the pixel."""

_MOST_STEPS = 128
"""Limit of integrated gradients, whose default takes minutes for a unit of small increase; `options` can override it.
"""

_CONTROLS = "edges", "random"

_SHARE = 5
"""The occluding patch has the shorter side of the image divided by this number, the stride that of the patch."""


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
    unit: Any
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
    def deletion(self):
        """`{method or control: (steps + 1,)}`, see `Curves`."""
        return self.curves.deletion

    @property
    def insertion(self):
        """`{method or control: (steps + 1,)}`, see `Curves`."""
        return self.curves.insertion


def explain(
    model,
    image,
    target=None,
    layer=None,
    methods=None,
    *,
    unit="max",
    preprocess=None,
    fill=None,
    start="blur",
    steps=50,
    square=None,
    stride=None,
    options=None,
    random_orders=10,
    runs=2,
    seed=0,
    batch_size=32,
    input_shape=None,
    progress=False,
):
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
    if image.ndim != 3:
        raise ValueError(f"image must have shape (height, width, channels); received {image.shape}.")
    prepared = prepare(image[None], preprocess, entry.shape, entry.dtype)
    if prepared.shape[1:3] != image.shape[:2]:
        raise ValueError(
            f"preprocess must keep the height and width of the image, so that a pixel of a map is one of the image; it "
            f"turned {image.shape[:2]} into {prepared.shape[1:3]}. Resize the image first."
        )
    about = chosen(model, prepared, target, layer, unit, input_shape=input_shape, real=False)
    target, unit = int(about.targets[0]), _place(about.signal[0], unit)
    asked = {"target": target, "layer": layer, "unit": "max" if unit is None else unit, "input_shape": input_shape}
    fill = fill_of(fill, image if preprocess is None else image.astype(np.float32), in_pixels=preprocess is not None)
    look = {"preprocess": preprocess, "fill": fill, "batch_size": batch_size}
    own = {
        "deconvnet": _project(Deconvnet(model, input_shape=input_shape), about.graph.steps[-1].name),
        "occlusion": _occlude(image, square, stride, look),
    }
    functions = _functions(methods, own)
    options = {} if options is None else options
    if not isinstance(options, dict) or not all(isinstance(arguments, dict) for arguments in options.values()):
        raise ValueError(f"options must be {{method: {{argument: value}}}}; received {options!r}.")
    unknown = set(options) - set(functions)
    if unknown:
        raise ValueError(f"options are for {', '.join(functions)}; received some for {', '.join(sorted(unknown))}.")

    usual = {METHODS["integrated_gradients"]: {"most_steps": _MOST_STEPS}}
    if preprocess is not None:  # black and white are known, the bounds of LRP's rule for pixels
        ends = np.stack([np.full(image.shape, end, np.float32) for end in (0, 255)])
        usual[METHODS["lrp"]] = {"bounds": np.sort(prepare(ends, preprocess, entry.shape, entry.dtype), axis=0)}
    maps, first_seconds, seconds, left_out = {}, {}, {}, {}
    for name, function in functions.items():
        settings = {"batch_size": batch_size, **asked, **_seeded(function, seed), **usual.get(function, {})}
        settings.update(options.get(name, {}))
        try:
            for run in range(runs):
                began = time.perf_counter()
                found = function(model, np.array(prepared), **settings)[0]  # a user's function may change it in place
                seconds[name] = time.perf_counter() - began
                if not run:
                    first_seconds[name] = seconds[name]
        except ValueError as error:
            if methods is not None:
                raise
            left_out[name] = str(error)
            continue
        found = np.asarray(found, np.float32)
        maps[name] = found[..., None] if found.ndim == 2 else found

    orders = {name: importance(found, name) for name, found in maps.items()}
    orders["edges"] = edges(image[None])[0, ..., 0]
    orders["random"] = np.random.default_rng(seed).random((random_orders, *image.shape[:2]))
    curves = perturbation_curves(
        model, image, orders, **asked, **look, start=start, steps=steps, seed=seed, progress=progress
    )
    return Explanation(image, about.graph.steps[-1].name, target, unit, maps, seconds, first_seconds, curves, left_out)


def importance(found, method):
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


def _functions(methods, own):
    """`{name: function}` of the chosen methods."""
    known = {**METHODS, **own}
    if methods is None:
        return known
    if isinstance(methods, str):
        methods = [methods]
    if not isinstance(methods, dict | list | tuple):
        raise ValueError(
            f"methods must be names, some of {', '.join(known)}, or a dict {{name: function}}; received {methods!r}."
        )
    if not isinstance(methods, dict):
        methods = {name: known.get(name) for name in methods}
    for name, function in methods.items():
        if name in _CONTROLS:
            raise ValueError(f"'{name}' is the name of a control, which stands beside the methods; give another name.")
        if not callable(function):
            raise ValueError(
                f"methods must be some of {', '.join(known)}, or a dict {{name: function}}; received {name!r}."
            )
    if not methods:
        raise ValueError(f"methods must name at least one of {', '.join(known)}; received none.")
    return methods


def _seeded(function, seed):
    return {"seed": seed} if "seed" in inspect.signature(function).parameters else {}


def _place(signal, unit):
    """The position of the chosen unit; `"map"` for a whole map, None in a layer without spatial axes."""
    if signal.ndim == 1:
        return None
    return unit if isinstance(unit, str) and unit == "map" else tuple(int(cell) for cell in np.argwhere(signal)[0][:2])


def _project(net, name):
    def deconvnet(model, images, target, layer, *, unit, batch_size, input_shape):
        return net.project(images, name, target, unit, start="one", batch_size=batch_size)

    return deconvnet


def _occlude(image, square, stride, look):
    """Occlusion as a method: the decrease of the score, spread over each patch's pixels, as `(1, height, width, 1)`."""
    side = max(1, round(min(image.shape[:2]) / _SHARE)) if square is None else square
    size = check_pair("square", side)
    stride = check_pair("stride", max(1, min(size) // _SHARE) if stride is None else stride)

    def occlusion(model, images, target, layer, *, unit, batch_size, input_shape):
        if layer is None:
            settings = {**look, "input_shape": input_shape, "batch_size": batch_size}
            found = occlusion_maps(model, image, target, size=size, stride=stride, **settings)
            return _spread(found.unoccluded[0] - found.probability, found)
        asked = {"preprocess": look["preprocess"], "input_shape": input_shape}
        score, _ = scorer(model, image, target, layer, unit, **asked, spare=True)
        scores, grid = occlusion_scores(score, image, size, stride, fill=look["fill"], batch_size=batch_size)
        return _spread(score(np.array(image[None])) - scores, grid)

    def _spread(loss, found):
        return pixel_map(loss, found, image.shape[:2])[None, ..., None]

    return occlusion
