"""Occlusion sensitivity: class scores and activations under an occluding patch (section 4.2, Fig. 7)."""

from functools import cached_property
from numbers import Real
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from deconv import graph
from deconv.graph.compilation import cached, compile_function
from deconv.imaging.fills import fill_of
from deconv.imaging.rectangles import cover
from deconv.occlusion.incremental_inference import Rectangles, may_pay, recomputation
from deconv.occlusion.sampled_error import largest_error
from deconv.occlusion.sliding_window import default_square, starts
from deconv.runtime.dtypes import array_of
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_channel, check_finite, check_pair, check_positive, check_target, prepare

_SILENT_SECONDS = 2
"""A progress bar that nobody asked for appears when an occlusion takes longer."""


class OcclusionMaps(NamedTuple):
    """What each position of the square does. `rows` and `columns` count positions, not pixels.

    Attributes:
        probability: `(rows, columns)`, the model's output for the target class (Fig. 7d).
        predicted: `(rows, columns)` int64, the most probable class (Fig. 7e), the place of the largest output.
        activation: `(rows, columns)`, sum over the chosen map of the layer (Fig. 7b); None without a layer.
        tops, lefts: `(rows,)` and `(columns,)`, first row and first column of the square at each position.
        size: `(height, width)` of the square.
        target: The class whose probability is given.
        channel: The map whose activation is given, or None.
        unoccluded: `(probability, predicted, activation)` of the image as it is.
        error: If `growth` was given, an estimate of the largest error of `probability` that it causes, measured at up
            to 64 positions: 32 drawn at random over the grid, which make it at least the 0.9 quantile of the errors of
            all positions with a probability of 97 % over the draw, and the neighbours of the worst. It is no bound.
            The draw has a fixed seed, and `batch_size` does not matter. Exact for a grid of up to 64 positions.
        activation_error: The same for `activation`, at the same positions; None without a layer.
    """

    probability: np.ndarray
    predicted: np.ndarray
    activation: np.ndarray | None
    tops: np.ndarray
    lefts: np.ndarray
    size: tuple[int, int]
    target: int
    channel: int | None
    unoccluded: tuple[float, int, float | None]
    error: float | None = None
    activation_error: float | None = None

    __repr__ = short_repr


def occlusion_maps(
    model,
    image,
    target=None,
    layer=None,
    size=None,
    stride=None,
    fill=None,
    *,
    channel=None,
    preprocess=None,
    batch_size=64,
    input_shape=None,
    exact=True,
    growth=None,
    progress=None,
):
    """Compute the occlusion sensitivity of one image.

    The patch moves by `stride`; where that does not end at the border, one more position does, so that every pixel is
    covered. At most `batch_size` occluded images exist at a time. Of every map only the rectangle is recomputed that
    the patch has changed, wherever that is less work than to compute all of it; the numbers are the same up to
    rounding. What is compiled is kept for the next image as long as the model lives; it follows when the model is
    trained, and is compiled anew when its graph changes.

    Args:
        model: A functional or Sequential `keras.Model` whose output is `(n, classes)`.
        image: `(height, width, channels)`, in pixel units if `preprocess` is given, else as the model expects.
        target: Class to follow; None for the one that is most probable in the unoccluded image.
        layer: Layer whose map is watched; None for none.
        size: Side of the patch in pixels, or `(height, width)`; None for a quarter of the shorter side of the image.
        stride: Step in pixels, or `(down, right)`, at most `size`; None for about a twentieth of the shorter side of
            the image (`squares.default_square`).
        fill: What covers, in the units of `image`: a number, one per channel, or a whole image such as the mean image.
            None for mean grey: 128 with `preprocess`, where images are in pixel units; without it, where their range is
            not known, the mean of each channel of this image.
        channel: The map of `layer` to watch; None for the one with the strongest unit in the unoccluded image.
        preprocess: Function applied to each batch of occluded images before the model sees them. If it treats every
            pixel alone, which is tried out, only what changes is recomputed.
        batch_size: How many occluded images are computed at a time.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.
        exact: `"full"` computes every occluded image from the pixels up, for comparison.
        growth: None, or a share from 0 to 1 of the rows and columns of every map: the changed rectangle then grows no
            larger, which is an approximation, and faster. The result says how wrong it is, for which up to 64 positions
            are computed in full.
        progress: Whether to show a progress bar; None for one if the standard error is a terminal and the positions
            take longer than two seconds.

    Returns:
        `OcclusionMaps`.

    Raises:
        ValueError: If the patch is larger than the image, the stride skips pixels, or anything does not fit the model.
    """
    check_positive("batch_size", batch_size)
    if exact is not True and exact != "full":
        raise ValueError(f"exact must be True or 'full', which recomputes everything; received {exact!r}.")
    if growth is not None and not (isinstance(growth, Real) and not isinstance(growth, bool) and 0 < growth <= 1):
        raise ValueError(f"growth must be a share above 0 and at most 1, or None; received {growth!r}.")
    if growth is not None and exact == "full":
        raise ValueError(f"exact='full' recomputes everything, and growth={growth} less; choose one of them.")
    image = array_of("image", image)
    if image.ndim != 3:
        raise ValueError(f"image must have shape (height, width, channels); received {image.shape}.")
    if preprocess is not None:
        image = image.astype(np.float32)  # so that `fill` need not be a whole number
    size, stride = square_of(image.shape, size, stride)
    tops, lefts = (starts(*axis) for axis in zip(image.shape[:2], size, stride, ("rows", "columns"), strict=True))
    fill = fill_of(fill, image, in_pixels=preprocess is not None)
    network = _compiled(model, layer, input_shape)
    scene = _OccludedImages(network, image, fill, preprocess, size)

    outputs, sums, peaks = network.look(scene.prepared)
    target = int(outputs[0].argmax()) if target is None else check_target(target, outputs.shape[1])
    watched = None
    if layer is not None:
        watched = int(np.argmax(peaks[0]))
        if channel is not None:
            watched = check_channel(channel, len(peaks[0]), layer)

    row, column = np.divmod(np.arange(len(tops) * len(lefts)), len(lefts))
    corners = np.stack([tops[row], lefts[column]], axis=1)
    look, order, approximates = scene.looks(corners, watched or 0, exact, growth)
    probability = np.empty(len(corners), outputs.dtype)
    predicted = np.empty(len(corners), np.int64)
    activation = np.empty(len(corners), sums.dtype)
    bar = {"disable": None, "delay": _SILENT_SECONDS} if progress is None else {"disable": not progress}
    for first in tqdm(range(0, len(corners), batch_size), unit=" batches", **bar):
        part = order[first : first + batch_size]
        found, activation[part] = look(part)
        probability[part], predicted[part] = found[:, target], found.argmax(axis=1)
    grid = (len(tops), len(lefts))
    error = activation_error = None
    if growth is not None:
        error = activation_error = 0.0
    if approximates:

        def measure(some):
            parts = [some[first : first + batch_size] for first in range(0, len(some), batch_size)]
            right, sums = zip(*(scene.look(corners[part], watched or 0) for part in parts), strict=True)
            right, sums = np.concatenate(right)[:, target], np.concatenate(sums)
            return np.abs(np.stack([right - probability[some], sums - activation[some]], axis=1))

        error, activation_error = map(float, largest_error(grid, measure))
    return OcclusionMaps(
        probability.reshape(grid),
        predicted.reshape(grid),
        None if layer is None else activation.reshape(grid),
        tops,
        lefts,
        size,
        target,
        watched,
        (
            float(outputs[0, target]),
            int(outputs[0].argmax()),
            None if layer is None else float(sums[0, watched]),
        ),
        error,
        None if layer is None else activation_error,
    )


def square_of(image_shape, size=None, stride=None):
    """`(size, stride)` of the square as pairs of ints, where None stands for `squares.default_square`.

    Raises:
        ValueError: If one is given and is no size.
    """
    side, step = default_square(image_shape)
    size = check_pair("size", side if size is None else size)
    return size, tuple(min(step, rows) for rows in size) if stride is None else check_pair("stride", stride)


class _OccludedImages:
    """An image, what covers it, and how both reach the network."""

    def __init__(self, network, image, fill, preprocess, size):
        self.network, self.image, self.fill, self.preprocess, self.size = network, image, fill, preprocess, size
        self.prepared = self._prepare(image[None])

    def look(self, corners, watched):
        """Class outputs and sums of the watched map for squares, from occluded images as a whole."""
        occluded = cover(self.image, corners[:, 0], corners[:, 1], self.size, self.fill)
        outputs, sums, _ = self.network.look(self._prepare(occluded))
        return outputs, sums[:, watched]

    def looks(self, corners, watched, exact, growth):
        """The cheapest way to look: a function of numbers of squares, the order in which to ask it, and whether it
        approximates."""
        whole = (lambda part: self.look(corners[part], watched)), np.arange(len(corners)), False
        if exact == "full" or (growth is None and not self.network.is_large):
            return whole
        rectangles = self.network.rectangles(corners, self.size, growth)
        filled = self._filled(corners) if rectangles.share < 0.9 or growth is not None else None
        if filled is None:
            return whole
        base, changed = self.network.recomputation
        maps, sums = base(self.prepared)

        def look(part):
            found, activation = changed(maps, sums, filled, *rectangles.of(part), watched)
            return check_finite(found.numpy(), self.network.head.name), activation.numpy()

        return look, rectangles.order, growth is not None

    def _filled(self, corners):
        """What covers as the model sees it, `(1, height, width, channels)`; None if that depends on the rest."""
        filled = self._prepare(np.broadcast_to(self.fill, self.image.shape)[None])
        if self.preprocess is None:
            return filled
        some = corners[np.unique(np.linspace(0, len(corners) - 1, 5).astype(int))]
        found = self._prepare(cover(self.image, some[:, 0], some[:, 1], self.size, self.fill))
        if found.shape[1:3] != self.image.shape[:2]:
            return None
        expected = cover(self.prepared[0], some[:, 0], some[:, 1], self.size, filled[0])
        return filled if np.array_equal(found, expected) else None

    def _prepare(self, images):
        image = self.network.graph.inputs[0]
        return prepare(images, self.preprocess, image.shape, image.dtype)


class _Network:
    """A model, compiled for occlusion: each pass when it is first needed, once."""

    def __init__(self, model, layer, input_shape):
        model_graph = graph.walk(model, input_shape)
        self._output = model_graph.outputs[0]
        self.head = next(step for step in model_graph.steps if self._output in step.outputs)
        self._watched = self.head if layer is None else graph.find(model_graph, layer)
        self.graph = graph.subgraph(model_graph, self._watched, self.head)
        self._rectangles = None, None

    @cached_property
    def _whole(self):
        image = self.graph.inputs[0]

        def forward(images):
            values = graph.run(self.graph, images)
            maps = values[self._watched.output]
            maps = tf.cast(maps, tf.float64 if maps.dtype == tf.float64 else tf.float32)  # a sum may exceed float16
            space = list(range(1, len(maps.shape) - 1))
            return values[self._output], tf.reduce_sum(maps, space), tf.reduce_max(maps, space)

        return compile_function(forward, tf.TensorSpec((None, *image.shape), image.dtype))

    @cached_property
    def is_large(self):
        return may_pay(self.graph)

    @cached_property
    def recomputation(self):
        return recomputation(self.graph, self._output, self._watched.output)

    def rectangles(self, corners, size, growth):
        """What these squares change; for another image with the same squares it is known."""
        squares = np.concatenate([corners, corners + size], axis=1)
        key = squares.tobytes(), growth
        if self._rectangles[0] != key:
            self._rectangles = key, Rectangles(self.graph, squares, growth)
        return self._rectangles[1]

    def look(self, images):
        """Prepared images to `(outputs, sum of each map, peak of each map)`."""
        found = [maps.numpy() for maps in self._whole(images)]
        if found[0].ndim != 2:
            raise ValueError(
                f"The model must put out (n, classes) to be asked for a class; received {found[0].shape}. "
                "Cut it with keras.Model(model.inputs, ...)."
            )
        check_finite(found[0], self.head.name)
        return found


def _compiled(model, layer, input_shape):
    """What has been compiled for a model, a layer and a size."""
    return cached(model, ("occlusion", repr(layer), repr(input_shape)), lambda: _Network(model, layer, input_shape))
