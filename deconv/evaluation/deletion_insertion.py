"""Take away pixels in the order that a map gives, watch the score fall; give them back, watch it rise.

Deletion and insertion after Petsiuk et al. 2018 (RISE, arXiv:1806.07421; from memory): the sooner a score
falls and the sooner it rises, the better the order names the pixels that the network uses. They make pictures of
different methods comparable by a number. Removed pixels make images that the network was never shown, so the areas
compare maps of one unit and one fill with each other and with the controls, and are no absolute grade.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from deconv import graph
from deconv.attribution.targets import chosen
from deconv.graph.compilation import traced
from deconv.imaging.fills import fill_of
from deconv.imaging.gaussian_blur import blurred
from deconv.runtime.dtypes import array_of, as_dtype, is_floating
from deconv.validation import check_fill, check_finite, check_positive, check_seed, prepare


class Curves(NamedTuple):
    """What is left of a score as pixels go, and what has come back as they return.

    Attributes:
        shares: `(steps + 1,)` float64, from 0 to 1: the share of pixels that have been removed, or given back.
        deletion: `{name: (steps + 1,) float64}`, the score after the most important ones have been removed.
        insertion: `{name: (steps + 1,) float64}`, the score after the most important ones have come back.
        target: The class, or channel, whose score it is.
        score: That of the image as it is.
    """

    shares: np.ndarray
    deletion: dict[str, np.ndarray]
    insertion: dict[str, np.ndarray]
    target: int
    score: float

    @property
    def areas(self):
        """`{name: (deletion, insertion)}`: the areas under the curves, a small and a large one for a good order."""
        return {
            name: (area(self.shares, self.deletion[name]), area(self.shares, self.insertion[name]))
            for name in self.deletion
        }


def perturbation_curves(
    model,
    image,
    importance,
    target=None,
    layer=None,
    *,
    unit="max",
    fill=None,
    start="blur",
    steps=50,
    seed=0,
    preprocess=None,
    batch_size=64,
    input_shape=None,
    progress=False,
):
    """Deletion and insertion curves of several orders of the pixels of one image.

    The score is what the layer puts out, after its activation: the probability where that is a softmax. In a hidden
    layer it is the activation of the unit that was strongest in the whole image, at its place; for `unit="map"` it is
    the sum over the map. Pixels of equal importance go in random order, so that no direction of reading is favoured.

    Args:
        model: A functional or Sequential `keras.Model`.
        image: `(height, width, channels)`, in pixel units if `preprocess` is given, else as the model expects.
        importance: `{name: (height, width) or (orders, height, width)}`, larger for what goes first; of several orders
            under one name the mean curve is given. See `deconv.evaluation.method_comparison.importance` for what a map
            becomes.
        target, layer, unit: Whose score: as for the methods of `deconv.attribution`.
        fill: What takes the place of a removed pixel, in the units of `image`: a number, one per channel, or an image.
            None for mean grey: 128 with `preprocess`, else the mean of each channel of this image.
        start: The image that insertion begins with: `"blur"`, the image under a Gaussian whose standard deviation is a
            tenth of the shorter side, the border continued with its nearest pixel (Petsiuk blurs too, so that no sharp
            edges of inserted pixels excite the network); or as `fill`. Of whole numbers, if the image without a
            `preprocess` is, the blurred image is rounded.
        steps: In how many equal shares of the pixels.
        seed: Of the order of pixels of equal importance.
        preprocess: Function applied to each batch before the model sees it.
        batch_size: How many images are computed, and exist, at a time.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.
        progress: Whether to show a progress bar.

    Returns:
        `Curves`.

    Raises:
        ValueError: If a map is of another size or not finite, or anything does not fit the model.
    """
    check_positive("batch_size", batch_size)
    check_positive("steps", steps)
    random = np.random.default_rng(check_seed(seed))
    image = array_of("image", image)
    if image.ndim != 3:
        raise ValueError(f"image must have shape (height, width, channels); received {image.shape}.")
    if preprocess is not None:
        image = image.astype(np.float32)  # so that `fill` need not be a whole number
    names, ranks = _ranks(importance, image.shape, random)
    fill = fill_of(fill, image, in_pixels=preprocess is not None)
    begin = _start(start, image)
    look = {"preprocess": preprocess, "input_shape": input_shape}
    score, target = scorer(model, image, target, layer, unit, **look, spare=True)

    pixels = image.shape[0] * image.shape[1]
    gone = np.round(np.linspace(0, pixels, steps + 1)).astype(np.int64)
    jobs = len(ranks) * len(gone)
    scores = np.empty((2, jobs))
    for way, (before, after) in enumerate(((image, fill), (begin, image))):
        for first in tqdm(range(0, jobs, batch_size), unit=" batches", disable=not progress):
            some = np.arange(first, min(first + batch_size, jobs))
            order, step = np.divmod(some, len(gone))
            reached = ranks[order] < gone[step, None, None]
            scores[way, some] = score(np.where(reached[..., None], after, before))
    curves = scores.reshape(2, len(ranks), len(gone))
    whole = float(curves[0, 0, 0])
    means = [{name: way[names == name].mean(axis=0) for name in importance} for way in curves]
    return Curves(gone / pixels, *means, target, whole)


def scorer(model, image, target=None, layer=None, unit="max", *, preprocess=None, input_shape=None, spare=False):
    """What a unit says of changed images.

    Args:
        model, image, target, layer, unit, preprocess, input_shape: As for `perturbation_curves`; the unit, and where no
            target is given the target, is the strongest one in this image.
        spare: Whether the images that are scored are made for that, so that a preprocessing may change them in place.

    Returns:
        `(score, target)`: a function from images like `image`, `(n, height, width, channels)`, to float64 `(n,)`; and
        the class or channel as an int.
    """
    model_graph = graph.walk(model, input_shape)
    expected = model_graph.inputs[0]
    prepared = prepare(image[None], preprocess, expected.shape, expected.dtype)
    found = chosen(model, prepared, target, layer, unit, input_shape=input_shape, real=False)
    top, entry = found.graph.steps[-1], found.graph.inputs[0]
    signal = tf.constant(found.signal[0])

    def put_out(images):
        values = graph.run(found.graph, images)[top.output]
        return tf.reduce_sum(values * signal, axis=list(range(1, len(values.shape))))

    forward = traced(put_out, tf.TensorSpec((None, *entry.shape), entry.dtype))

    def score(images):
        images = prepare(images, preprocess, entry.shape, entry.dtype, spare=spare)
        return check_finite(forward(images).numpy(), top.name).astype(np.float64)

    return score, int(found.targets[0])


def area(shares, curve):
    """The area under a curve over shares from 0 to 1, by the trapezoid rule: the mean score on the way."""
    return float(np.sum(np.diff(shares) * (curve[1:] + curve[:-1]) / 2))


def _start(start, image):
    """What insertion begins with."""
    if isinstance(start, str) and start == "blur":
        width = min(image.shape[:2]) / 10
        if is_floating(image.dtype):
            return blurred(image, width)
        return np.rint(blurred(image.astype(np.float64), width)).astype(image.dtype)
    if isinstance(start, str):
        raise ValueError(f"start must be 'blur', a number, one per channel, or an image; received {start!r}.")
    return as_dtype("start", check_fill(start, image.shape), image.dtype)


def _ranks(importance, image_shape, random):
    """`(names, ranks)`: of each order its name, and `(orders, height, width)` ints, 0 for the pixel that goes first."""
    if not isinstance(importance, dict) or not importance:
        raise ValueError(f"importance must be a dict {{name: map}} with at least one map; received {importance!r}.")
    names, flat = [], []
    for name, maps in importance.items():
        maps = np.asarray(maps, np.float64)
        if maps.ndim not in (2, 3) or maps.shape[-2:] != tuple(image_shape[:2]) or not maps.size:
            raise ValueError(
                f"importance[{name!r}] must have shape {tuple(image_shape[:2])}, a value for each pixel, or (orders, "
                f"{image_shape[0]}, {image_shape[1]}); received {maps.shape}. Add up the channels of a map first."
            )
        if not np.isfinite(maps).all():
            raise ValueError(f"importance[{name!r}] must be finite; it holds NaN or infinity.")
        orders = maps.reshape(-1, image_shape[0] * image_shape[1])
        names += [name] * len(orders)
        flat.append(orders)
    flat = np.concatenate(flat)
    ranks = np.empty(flat.shape, np.int32)
    for values, rank in zip(flat, ranks, strict=True):  # one by one, to hold what sorting needs for one of them only
        rank[np.lexsort((random.random(len(values)), -values))] = np.arange(len(values))
    return np.array(names), ranks.reshape(-1, *image_shape[:2])
