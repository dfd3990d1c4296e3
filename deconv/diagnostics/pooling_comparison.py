"""The same map before and after its pooling: what pooling keeps, what it drops, what it makes steady."""

from typing import NamedTuple

import numpy as np

from deconv import graph
from deconv.deconvnet.projection import Deconvnet
from deconv.deconvnet.recording import POOLS, recorder
from deconv.graph.model_graph import producer_of
from deconv.imaging.affine_transforms import move
from deconv.runtime.dtypes import any_array, array_of, as_dtype
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_channels, check_fill, check_images, check_positive


class PoolingComparison(NamedTuple):
    """A layer before and after max pooling, `channels` being those that were asked for.

    Attributes:
        before_layer, after_layer: Names of the two layers.
        channels: `(channels,)` ints, which channels these are.
        before: `(n, height, width, channels)`, the maps that are pooled.
        after: `(n, rows, columns, channels)`, the pooled maps.
        switches: `(n, rows, columns, channels)` int32, where each maximum came from: `row * width + column`.
        before_projection, after_projection: `(n, channels, image height, image width, image channels)`, the whole map
            projected down from either side. (A channel's strongest unit alone is the same on both sides, if a window
            covers it.)
        energy_kept: `(n, channels)`, share of the sum of squares that the switches point at; NaN for an inactive map.
        shifts: `(shifts,)` ints, by how many pixels the image was moved.
        change_before, change_after: `(shifts, channels)`, how much the maps change with the move: the relative
            Euclidean distance `|a' - a| / |a|`, averaged over images and the four directions; NaN for an inactive map.
    """

    before_layer: str
    after_layer: str
    channels: np.ndarray
    before: np.ndarray
    after: np.ndarray
    switches: np.ndarray
    before_projection: np.ndarray
    after_projection: np.ndarray
    energy_kept: np.ndarray
    shifts: np.ndarray
    change_before: np.ndarray
    change_after: np.ndarray

    __repr__ = short_repr


def compare_pooling(
    model,
    images,
    pool,
    channels=None,
    *,
    shifts=(1, 2, 3, 4),
    fill=0.0,
    rules=None,
    collisions="sum",
    batch_size=32,
    input_shape=None,
):
    """Compare the maps that go into a max pooling with those that come out.

    Args:
        model: A functional or Sequential `keras.Model`.
        images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
        pool: Name, path or index of a max-pooling layer.
        channels: Which channels; None for all.
        shifts: By how many pixels to move the images, up, down, left and right.
        fill: What moves in at the border, in the units of `images`; 0 is the background of a digit.
        rules, collisions: As for `deconv.Deconvnet`.
        batch_size: How many images are computed at a time.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.

    Returns:
        `PoolingComparison`.

    Raises:
        ValueError: If `pool` is not a max pooling, it pools the image itself, or anything does not fit the model.
    """
    check_positive("batch_size", batch_size)
    net = Deconvnet(model, collisions=collisions, rules=rules, input_shape=input_shape)
    step = graph.find(net.graph, pool)
    maker = producer_of(net.graph, step)
    if not isinstance(step.layer, POOLS) or maker is None:
        pools = [
            other.name for other in net.graph.steps if isinstance(other.layer, POOLS) and producer_of(net.graph, other)
        ]
        raise ValueError(
            f"Layer '{step.name}' ({type(step.layer).__name__}) is not a max pooling of a layer's maps; "
            f"those of model '{model.name}' are: {', '.join(pools) or 'none'}."
        )
    model_graph = graph.subgraph(net.graph, step)
    image = model_graph.inputs[0]
    images = check_images(images, image.shape, image.dtype)
    channels = np.arange(step.output.shape[-1]) if channels is None else channels
    channels = check_channels(channels, step.output.shape[-1], step.name)
    shifts = np.array(
        [check_positive("shifts", shift) for shift in np.atleast_1d(any_array(shifts)).tolist()], np.int64
    )
    fill = as_dtype("fill", check_fill(fill, image.shape), image.dtype)
    net.mirror(maker.name), net.mirror(step.name)  # a layer without a rule is refused before any work
    forward = recorder(model_graph, [maker, step], [step])

    def look(batch):
        (before, after), (switches,) = forward(batch)
        return [maps.numpy()[..., channels] for maps in (before, after, switches)]

    starts = range(0, len(images), batch_size)
    parts = [look(images[start : start + batch_size]) for start in starts]
    before, after, switches = (np.concatenate(part) for part in zip(*parts, strict=True))
    changes = np.empty((2, len(shifts), 4, len(images), len(channels)))
    for place, shift in enumerate(shifts):
        for way, (down, right) in enumerate(((-shift, 0), (shift, 0), (0, -shift), (0, shift))):
            moved = move(images, down, right, fill)
            for start in starts:
                part = slice(start, start + batch_size)
                before_moved, after_moved, _ = look(moved[part])
                changes[0, place, way, part] = _relative_change(before[part], before_moved)
                changes[1, place, way, part] = _relative_change(after[part], after_moved)
    change_before, change_after = _mean_where_known(changes.reshape(2, len(shifts), -1, len(channels)), axis=2)
    project = {"unit": "map", "batch_size": batch_size}
    return PoolingComparison(
        maker.name,
        step.name,
        channels,
        before,
        after,
        switches,
        net.project(images, maker.name, channels, **project),
        net.project(images, step.name, channels, **project),
        energy_kept(before, switches),
        shifts,
        change_before,
        change_after,
    )


def energy_kept(before, switches):
    """Share of the activation energy (sum of squares) at the places that the switches point at, each counted once.

    Args:
        before: `(n, height, width, channels)`.
        switches: Ints `(n, rows, columns, channels)`, `row * width + column`.

    Returns:
        `(n, channels)`; NaN where the map is silent.
    """
    before, switches = array_of("before", before), array_of("switches", switches)
    if before.ndim != 4 or switches.ndim != 4 or switches.dtype.kind not in "iu":
        raise ValueError(
            "before and switches must be maps (n, height, width, channels), switches of whole numbers; received "
            f"{before.dtype} {before.shape} and {switches.dtype} {switches.shape}."
        )
    count, height, width, channels = before.shape
    energy = np.square(before.astype(np.float64)).reshape(count, height * width, channels)
    kept = np.zeros(energy.shape, bool)
    np.put_along_axis(kept, switches.reshape(count, -1, channels), True, axis=1)
    with np.errstate(invalid="ignore"):
        return (energy * kept).sum(axis=1) / energy.sum(axis=1)


def _relative_change(maps, moved):
    """`(n, channels)`, `|moved - maps| / |maps|`; NaN for an inactive map."""
    maps, moved = maps.astype(np.float64), moved.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.linalg.norm(maps.reshape(len(maps), -1, maps.shape[-1]), axis=1)
        change = np.linalg.norm((moved - maps).reshape(len(maps), -1, maps.shape[-1]), axis=1)
        return np.where(size > 0, change / size, np.nan)


def _mean_where_known(values, axis):
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=axis) / known.sum(axis=axis)
