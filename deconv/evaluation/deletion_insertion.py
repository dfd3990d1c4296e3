"""Deletion and insertion curves: the score of an image as its pixels are removed or restored in order of importance.

After Petsiuk et al. 2018 (RISE, arXiv:1806.07421; the details are from memory). The earlier the score falls or rises,
the better the order identifies the pixels that the network uses, so that methods compare by a number. Images with
removed pixels are unlike the training images. The areas therefore only compare maps of one unit with one fill, with
each other and with the controls; they are not absolute measures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tqdm import tqdm

from deconv import graph
from deconv.attribution.targets import chosen
from deconv.graph.compilation import compile_function
from deconv.imaging.fills import fill_of
from deconv.imaging.gaussian_blur import blurred
from deconv.runtime.dtypes import array_of, as_dtype, is_floating
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_fill, check_finite, check_positive, check_seed, prepare


class Curves(NamedTuple):
    """Scores of one image as pixels are removed, and as they are restored.

    Attributes:
        shares: `(steps + 1,)` float64, from 0 to 1: the share of pixels that have been removed or restored.
        deletion: `{name: (steps + 1,) float64}`, the score after the most important pixels have been removed.
        insertion: `{name: (steps + 1,) float64}`, the score after the most important pixels have been restored.
        target: The class or channel of the score.
        score: The score of the unchanged image.
    """

    shares: np.ndarray
    deletion: dict[str, np.ndarray]
    insertion: dict[str, np.ndarray]
    target: int
    score: float

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def areas(self) -> dict[str, tuple[float, float]]:
        """`{name: (deletion, insertion)}`: areas under the curves, a small and a large one for a good order."""
        return {
            name: (area(self.shares, self.deletion[name]), area(self.shares, self.insertion[name]))
            for name in self.deletion
        }


def perturbation_curves(
    model: keras.Model,
    image: ArrayLike,
    importance: dict[str, Any],
    target: int | None = None,
    layer: str | int | None = None,
    *,
    unit: Literal["max", "map"] | Sequence[int] = "max",
    fill: ArrayLike | None = None,
    start: Literal["blur"] | ArrayLike = "blur",
    steps: int = 50,
    seed: int = 0,
    preprocess: Callable[..., Any] | None = None,
    batch_size: int = 64,
    input_shape: Sequence[int] | None = None,
    progress: bool = False,
) -> Curves:
    """Compute deletion and insertion curves for several orders of the pixels of one image.

    The score is the output of the layer after its activation function: the probability for a softmax. In a hidden layer
    it is the activation of the unit that is strongest in the unchanged image, at its position; for `unit="map"` the sum
    over the map. Pixels of equal importance are ordered at random, so that no scanning direction is favoured.

    Args:
        model: A functional or Sequential `keras.Model`.
        image: `(height, width, channels)`, in pixel units if `preprocess` is given, else as the model expects.
        importance: `{name: (height, width) or (orders, height, width)}`, larger for pixels that come first; for several
            orders under one name the mean curve is returned. `deconv.evaluation.method_comparison.importance` converts
            a map.
        target, layer, unit: The unit of the score, as for the methods of `deconv.attribution`.
        fill: The value of a removed pixel, in the units of `image`: a number, one per channel, or an image. None for
            mean grey: 128 with `preprocess`, else the mean of each channel of this image.
        start: The initial image of insertion: `"blur"`, or a value as for `fill`. `"blur"` is the image convolved with
            a Gaussian whose standard deviation is a tenth of the shorter side, with the border continued by its nearest
            pixel (Petsiuk et al. blur too, so that sharp edges of inserted pixels do not excite the network). It is
            rounded if the image is of integers and there is no `preprocess`.
        steps: Number of equal shares of the pixels.
        seed: Seed of the order of pixels of equal importance.
        preprocess: Preprocessing function, applied to each batch.
        batch_size: Number of images computed, and held in memory, at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        progress: Whether to show a progress bar.

    Returns:
        `Curves`.

    Raises:
        ValueError: If a map has another size or is not finite, or anything does not fit the model.
    """
    check_positive("batch_size", batch_size)
    check_positive("steps", steps)
    random = np.random.default_rng(check_seed(seed))
    image = array_of("image", image)
    if image.ndim != 3:
        raise ValueError(f"image must have shape (height, width, channels); received {image.shape}.")
    if preprocess is not None:
        image = image.astype(np.float32)  # so that `fill` need not be an integer
    names, ranks = _ranks(importance, image.shape, random)
    fill = fill_of(fill, image, in_pixels=preprocess is not None)
    initial = _start(start, image)
    score, target = scorer(
        model, image, target, layer, unit, preprocess=preprocess, input_shape=input_shape, spare=True
    )

    pixels = image.shape[0] * image.shape[1]
    removed = np.round(np.linspace(0, pixels, steps + 1)).astype(np.int64)
    count = len(ranks) * len(removed)
    scores = np.empty((2, count))
    for row, (before, after) in enumerate(((image, fill), (initial, image))):
        for first in tqdm(range(0, count, batch_size), unit=" batches", disable=not progress):
            jobs = np.arange(first, min(first + batch_size, count))
            order, step = np.divmod(jobs, len(removed))
            is_changed = ranks[order] < removed[step, None, None]
            scores[row, jobs] = score(np.where(is_changed[..., None], after, before))
    curves = scores.reshape(2, len(ranks), len(removed))
    deletion, insertion = ({name: of_orders[names == name].mean(axis=0) for name in importance} for of_orders in curves)
    return Curves(
        shares=removed / pixels,
        deletion=deletion,
        insertion=insertion,
        target=target,
        score=float(curves[0, 0, 0]),
    )


def scorer(
    model: keras.Model,
    image: np.ndarray,
    target: int | None = None,
    layer: str | int | None = None,
    unit: Literal["max", "map"] | Sequence[int] = "max",
    *,
    preprocess: Callable[..., Any] | None = None,
    input_shape: Sequence[int] | None = None,
    spare: bool = False,
) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """Compile the score of a unit as a function of changed images.

    Args:
        model, image, target, layer, unit, preprocess, input_shape: As for `perturbation_curves`; the unit, and the
            target if it is None, is the strongest one in this image.
        spare: Whether the scored images are temporary, so that the preprocessing function may change them in place.

    Returns:
        `(score, target)`: a function from images like `image`, `(n, height, width, channels)`, to float64 `(n,)`; and
        the class or channel as an int.
    """
    model_graph = graph.walk(model, input_shape)
    expected = model_graph.inputs[0]
    prepared = prepare(image[None], preprocess, expected.shape, expected.dtype)
    units = chosen(model, prepared, target, layer, unit, input_shape=input_shape, real=False)
    top, entry = units.graph.steps[-1], units.graph.inputs[0]
    signal = tf.constant(units.signal[0])

    def unit_values(images):
        values = graph.run(units.graph, images)[top.output]
        return tf.reduce_sum(values * signal, axis=list(range(1, len(values.shape))))

    forward = compile_function(unit_values, tf.TensorSpec((None, *entry.shape), entry.dtype))

    def score(images):
        images = prepare(images, preprocess, entry.shape, entry.dtype, spare=spare)
        return check_finite(forward(images).numpy(), top.name).astype(np.float64)

    return score, int(units.targets[0])


def area(shares: np.ndarray, curve: np.ndarray) -> float:
    """The area under a curve over shares from 0 to 1, by the trapezoidal rule, which is the mean score."""
    return float(np.sum(np.diff(shares) * (curve[1:] + curve[:-1]) / 2))


def _start(start, image):
    """The initial image of insertion."""
    if isinstance(start, str) and start == "blur":
        width = min(image.shape[:2]) / 10
        if is_floating(image.dtype):
            return blurred(image, width)
        return np.rint(blurred(image.astype(np.float64), width)).astype(image.dtype)
    if isinstance(start, str):
        raise ValueError(f"start must be 'blur', a number, one per channel, or an image; received {start!r}.")
    return as_dtype("start", check_fill(start, image.shape), image.dtype)


def _ranks(importance, image_shape, random):
    """`(names, ranks)`: the name of each order, and `(orders, height, width)` ints, 0 for the most important pixel."""
    if not isinstance(importance, dict) or not importance:
        raise ValueError(f"importance must be a dict {{name: map}} with at least one map; received {importance!r}.")
    names, flat = [], []
    for name, maps in importance.items():
        maps = np.asarray(maps, np.float64)
        if maps.ndim not in (2, 3) or maps.shape[-2:] != tuple(image_shape[:2]) or not maps.size:
            raise ValueError(
                f"importance[{name!r}] must have shape {tuple(image_shape[:2])}, a value for each pixel, or (orders, "
                f"{image_shape[0]}, {image_shape[1]}); received {maps.shape}. Sum the channels of a map first."
            )
        if not np.isfinite(maps).all():
            raise ValueError(f"importance[{name!r}] must be finite; it holds NaN or infinity.")
        orders = maps.reshape(-1, image_shape[0] * image_shape[1])
        names += [name] * len(orders)
        flat.append(orders)
    flat = np.concatenate(flat)
    ranks = np.empty(flat.shape, np.int32)
    for values, rank in zip(flat, ranks, strict=True):  # one by one, to limit the memory for sorting
        rank[np.lexsort((random.random(len(values)), -values))] = np.arange(len(values))
    return np.array(names), ranks.reshape(-1, *image_shape[:2])
