"""Occlusion sensitivity: cover a square of the image, see what the network still recognises (section 4.2, Fig. 7)."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from deconv import graph
from deconv.inputs import check_channel, check_fill, check_finite, check_pair, check_positive, check_target, prepare
from deconv.recording import traced


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


def occlusion_maps(
    model,
    image,
    target=None,
    layer=None,
    size=8,
    stride=1,
    fill=0.0,
    *,
    channel=None,
    preprocess=None,
    batch_size=64,
    input_shape=None,
    progress=False,
):
    """Cover every place of the image in turn and record what the network says.

    The square moves by `stride`; where that does not end at the border, one more position does, so that every pixel is
    covered. At most `batch_size` occluded images exist at a time.

    Args:
        model: A functional or Sequential `keras.Model` whose output is `(n, classes)`.
        image: `(height, width, channels)`, in pixel units if `preprocess` is given, else as the model expects.
        target: Class to follow; None for the one that is most probable in the unoccluded image.
        layer: Layer whose map is watched; None for none.
        size: Side of the square in pixels, or `(height, width)`.
        stride: Step in pixels, or `(down, right)`; at most `size`.
        fill: What covers, in the units of `image`: a number, one per channel, or a whole image such as the mean image.
        channel: The map of `layer` to watch; None for the one with the strongest unit in the unoccluded image.
        preprocess: Function applied to each batch of occluded images before the model sees them.
        batch_size: How many occluded images are computed at a time.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.
        progress: Whether to show a progress bar.

    Returns:
        `OcclusionMaps`.

    Raises:
        ValueError: If the square is larger than the image, the stride skips pixels, or anything does not fit the model.
    """
    check_positive("batch_size", batch_size)
    image = np.asarray(image)
    if image.ndim != 3:
        raise ValueError(f"image must have shape (height, width, channels); received {image.shape}.")
    if preprocess is not None:
        image = image.astype(np.float32)  # so that `fill` need not be a whole number
    size, stride = check_pair("size", size), check_pair("stride", stride)
    tops, lefts = (_starts(*axis) for axis in zip(image.shape[:2], size, stride, ("rows", "columns"), strict=True))
    fill = check_fill(fill, image.shape).astype(image.dtype)
    look = _compile_look(model, layer, preprocess, input_shape)

    outputs, sums, peaks = look(image[None])
    target = int(outputs[0].argmax()) if target is None else check_target(target, outputs.shape[1])
    watched = None
    if layer is not None:
        watched = int(np.argmax(peaks[0]))
        if channel is not None:
            watched = check_channel(channel, len(peaks[0]), layer)

    places = len(tops) * len(lefts)
    probability = np.empty(places, outputs.dtype)
    predicted = np.empty(places, np.int64)
    activation = None if layer is None else np.empty(places, sums.dtype)
    for first in tqdm(range(0, places, batch_size), unit=" batches", disable=not progress):
        part = np.arange(first, min(first + batch_size, places))
        row, column = np.divmod(part, len(lefts))
        outputs_here, sums_here, _ = look(_cover(image, tops[row], lefts[column], size, fill))
        probability[part] = outputs_here[:, target]
        predicted[part] = outputs_here.argmax(axis=1)
        if layer is not None:
            activation[part] = sums_here[:, watched]
    grid = (len(tops), len(lefts))
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
    )


def pixel_map(values, maps, image_shape):
    """Spread a value per position over the pixels: each pixel gets the mean over the squares that cover it.

    Args:
        values: `(rows, columns)`, for example `maps.probability`.
        maps: The `OcclusionMaps` that they belong to.
        image_shape: `(height, width)` of the image.

    Returns:
        float64 array `(height, width)`.
    """
    if np.shape(values) != (len(maps.tops), len(maps.lefts)):
        raise ValueError(
            f"values must have one number for each position, {(len(maps.tops), len(maps.lefts))}; "
            f"received {np.shape(values)}."
        )
    end = maps.tops[-1] + maps.size[0], maps.lefts[-1] + maps.size[1]
    if tuple(image_shape) != tuple(int(side) for side in end):
        raise ValueError(f"image_shape must be {tuple(map(int, end))}, where the maps end; received {image_shape}.")
    down = _covers(maps.tops, maps.size[0], image_shape[0]).astype(float)
    right = _covers(maps.lefts, maps.size[1], image_shape[1]).astype(float)
    return down.T @ values @ right / np.outer(down.sum(axis=0), right.sum(axis=0))


def _starts(length, size, stride, axis):
    """Where the square begins along one axis: every `stride` pixels, and once flush with the end."""
    if size > length:
        raise ValueError(f"The square has {size} {axis} and the image only {length}; choose a smaller size.")
    if stride > size:
        raise ValueError(
            f"A stride of {stride} {axis} leaves pixels uncovered between squares of {size}; choose stride <= size."
        )
    starts = np.arange(0, length - size + 1, stride)
    return starts if starts[-1] == length - size else np.append(starts, length - size)


def _cover(image, tops, lefts, size, fill):
    """The image once for each square, covered there."""
    rows = _covers(tops, size[0], image.shape[0])
    columns = _covers(lefts, size[1], image.shape[1])
    return np.where((rows[:, :, None] & columns[:, None, :])[..., None], fill, image)


def _covers(starts, size, length):
    """`(positions, length)` bools: which pixels of an axis each position covers."""
    pixel = np.arange(length)
    return (pixel >= starts[:, None]) & (pixel < starts[:, None] + size)


def _compile_look(model, layer, preprocess, input_shape):
    """A function of images: arrays `(outputs, sum of each map, peak of each map)`. Traced once."""
    laid = graph.walk(model, input_shape)
    if len(laid.outputs) != 1:
        raise ValueError(
            f"Model '{laid.name}' has {len(laid.outputs)} outputs; occlusion needs one, of shape (n, classes). "
            "Cut it with keras.Model(model.inputs, one_output)."
        )
    output = laid.outputs[0]
    head = next(step for step in laid.steps if output in step.outputs)
    watched = head if layer is None else graph.find(laid, layer)
    laid = graph.below(laid, watched, head)
    image = laid.inputs[0]

    def forward(images):
        values = graph.run(laid, images)
        maps = values[watched.output]
        maps = tf.cast(maps, tf.float64 if maps.dtype == tf.float64 else tf.float32)  # a sum may exceed float16
        space = list(range(1, len(maps.shape) - 1))
        return values[output], tf.reduce_sum(maps, space), tf.reduce_max(maps, space)

    compiled = traced(forward, tf.TensorSpec((None, *image.shape), image.dtype))

    def look(images):
        found = [maps.numpy() for maps in compiled(prepare(images, preprocess, image.shape, image.dtype))]
        if found[0].ndim != 2:
            raise ValueError(
                f"The model must put out (n, classes) to be asked for a class; received {found[0].shape}. "
                "Cut it with keras.Model(model.inputs, ...)."
            )
        check_finite(found[0], head.name)
        return found

    return look
