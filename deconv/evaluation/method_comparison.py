"""Every explanation of one unit in one image, side by side, with its time and with curves that judge it by a number."""

import inspect
import time
from typing import Any, NamedTuple

import numpy as np

from deconv import graph
from deconv.attribution import METHODS
from deconv.attribution.targets import chosen
from deconv.deconvnet.projection import Deconvnet
from deconv.evaluation.deletion_insertion import Curves, perturbation_curves, scorer
from deconv.imaging.fills import fill_of
from deconv.imaging.rectangles import cover
from deconv.imaging.similarity import edges, magnitude
from deconv.occlusion.sensitivity import occlusion_maps
from deconv.occlusion.sliding_window import Squares, pixel_map, starts
from deconv.runtime.dtypes import array_of
from deconv.validation import check_pair, check_positive, check_seed, prepare

SENSITIVITIES = ("gradient", "smooth_grad", "guided_backprop", "deconvnet")
"""Methods that say how a unit would change with a pixel; all others say what a pixel contributes."""

_MOST_STEPS = 128
"""Of integrated gradients, whose own limit lets a unit that hardly gains take minutes; `options` can say otherwise."""

_CONTROLS = "edges", "random"

_SHARE = 5
"""The covering square of the occlusion is this part of the shorter side, and its stride this part of the square."""


class Explanation(NamedTuple):
    """What the methods say of one unit in one image, in the order in which they were asked for.

    Attributes:
        image: `(height, width, channels)`, as it was given.
        layer: Name of the layer; the last one for a class.
        target: The channel, or class.
        unit: `(row, column)` of the unit; `"map"`, or None for a layer without space.
        maps: `{method: float32 (height, width, channels of the network's input, or 1)}`, signed. They have the last
            axis too where the network takes `(height, width)`.
        seconds: `{method: float}`, how long its last run took.
        first_seconds: `{method: float}`, how long its first run took, with all that it compiles.
        curves: `Curves` of the methods and of two controls: `"edges"`, the steepest places of the image first, and
            `"random"`, the mean of random orders.
        left_out: `{method: reason}`, methods that do not apply to this network, if no methods were asked for by name.
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
    """Ask every method about one unit, and judge their maps by deletion and insertion.

    The deconvnet here is the one with explicit switches, `Deconvnet.project(start="one")`, in place of the same thing
    as a gradient. Occlusion is the loss of score under a square, given to the pixels that it covers (`pixel_map`); the
    score is that of the curves: the probability, or the activation of the unit. All methods explain the same unit, the
    one that is strongest in the whole image. A map is turned into an order of pixels by `importance`.

    Args:
        model: A functional or Sequential `keras.Model`. It is not changed.
        image: `(height, width, channels)`, in pixel units if `preprocess` is given, else as the model expects.
        target: Class, or channel of `layer`; None for the strongest.
        layer: Name, path or index; None for the model's output, before its softmax where a method differentiates.
        methods: Names of `deconv.attribution.METHODS` and `"occlusion"`; or `{name: function}` like those, for others
            too; None for all that apply.
        unit: `"max"`, the strongest unit of the channel; a position `(row, column)`; or `"map"`.
        preprocess: Function from a batch of images to what the model takes, of the same height and width.
        fill: What covers and what replaces removed pixels, in the units of `image`; None for mean
            grey: see `perturbation_curves`.
        start: What insertion begins with: `"blur"`, the image under a Gaussian of a tenth of its shorter side, or as
            `fill`.
        steps: In how many shares pixels are removed and given back.
        square, stride: Of the occlusion, in pixels; None for a fifth of the shorter side, and a fifth of that.
        options: `{method: {argument: value}}`, for example `{"smooth_grad": {"samples": 10}}`.
        random_orders: How many random orders the control is the mean of.
        runs: How often each method runs. Methods share what they compile, and the first of them pays for it, so that
            only times of a second run compare.
        seed: Of the random orders, of ties between pixels, and of methods that take a `seed`.
        batch_size: How many images are computed at a time, by every method and for the curves: covered, with noise, on
            the way from a baseline, with pixels taken away. It bounds the memory, and changes numbers by rounding only.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.
        progress: Whether to show a progress bar for the curves.

    Returns:
        `Explanation`.

    Raises:
        ValueError: If a method is unknown, one asked for by name does not apply, or anything does not fit the model.
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
    if preprocess is not None:  # black and white are known, between which LRP's rule for pixels shares out
        ends = np.stack([np.full(image.shape, end, np.float32) for end in (0, 255)])
        usual[METHODS["lrp"]] = {"bounds": np.sort(prepare(ends, preprocess, entry.shape, entry.dtype), axis=0)}
    maps, first_seconds, seconds, left_out = {}, {}, {}, {}
    for name, function in functions.items():
        settings = {"batch_size": batch_size, **asked, **_seeded(function, seed), **usual.get(function, {})}
        settings.update(options.get(name, {}))
        try:
            for run in range(runs):
                began = time.perf_counter()
                found = function(model, np.array(prepared), **settings)[0]  # a user's may change it in place
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
    """What each pixel counts for, by which it is removed first or last.

    A sensitivity (`SENSITIVITIES`) says in which direction a pixel should change, not whether the one that is there
    helps: its magnitudes are added up over the channels. A contribution has a sign that counts: what speaks for the
    unit goes first, what speaks against it last, so channels are added up as they are.

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
    """`{name: function}` of the methods asked for."""
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
    """Where the chosen unit is; `"map"` for a whole one, None in a layer without space."""
    if signal.ndim == 1:
        return None
    return unit if isinstance(unit, str) and unit == "map" else tuple(int(cell) for cell in np.argwhere(signal)[0][:2])


def _project(net, name):
    def deconvnet(model, images, target, layer, *, unit, batch_size, input_shape):
        return net.project(images, name, target, unit, start="one", batch_size=batch_size)

    return deconvnet


def _occlude(image, square, stride, look):
    """Occlusion as a method: the loss of score, spread over the pixels of each square, `(1, height, width, 1)`."""
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
        tops, lefts = (starts(*axis) for axis in zip(image.shape[:2], size, stride, ("rows", "columns"), strict=True))
        rows, columns = (corners.ravel() for corners in np.meshgrid(tops, lefts, indexing="ij"))
        scores = [
            score(cover(image, rows[part], columns[part], size, look["fill"]))
            for part in (slice(first, first + batch_size) for first in range(0, len(rows), batch_size))
        ]
        loss = (score(np.array(image[None])) - np.concatenate(scores)).reshape(len(tops), len(lefts))
        return _spread(loss, Squares(tops, lefts, size))

    def _spread(loss, found):
        return pixel_map(loss, found, image.shape[:2])[None, ..., None]

    return occlusion
