"""Comparison of maps before and after max pooling: the energy that is kept, and the invariance to translation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike

from deconv import graph
from deconv.deconvnet.projection import Deconvnet
from deconv.deconvnet.recording import POOLS, recorder
from deconv.graph.model_graph import producer_of
from deconv.imaging.affine_transforms import move
from deconv.imaging.nan_mean import nan_mean
from deconv.runtime.dtypes import any_array, array_of, as_dtype
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_channels, check_fill, check_images, check_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PoolingComparison(NamedTuple):
    """Maps of a layer before and after max pooling. The axis `channels` holds the selected channels.

    Attributes:
        before_layer, after_layer: Names of the two layers.
        channels: `(channels,)` ints, the selected channels.
        before: `(n, height, width, channels)`, the maps that are pooled.
        after: `(n, rows, columns, channels)`, the pooled maps.
        switches: `(n, rows, columns, channels)` int32, the argmax of each window: `row * width + column`.
        before_projection, after_projection: `(n, channels, image height, image width, image channels)`, projections of
            the whole map before and after pooling. (The strongest unit of a channel alone has the same projection on
            both sides, if a window covers it.)
        energy_kept: `(n, channels)`, share of the sum of squares at the positions of the switches; NaN for an inactive
            map.
        shifts: `(shifts,)` ints, translations of the image in pixels.
        change_before, change_after: `(shifts, channels)`, the relative Euclidean distance `|a' - a| / |a|` between the
            maps of the translated and the original image, averaged over images and the four directions; NaN for an
            inactive map.
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

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, image: np.ndarray, number: int = 0, title: str | None = None) -> Figure:
        """Draw one image's maps and projections before and after pooling (`plotting.pooling_sheet`).

        Args:
            image: `(height, width, 1 or 3)` in pixel units, 0 to 255.
            number: Index of this image in the comparison.
            title: Title of the figure; None for the names of the layers.

        Returns:
            The Matplotlib figure.
        """
        from deconv.plotting import pixels, pooling_sheet, signed

        sides = [signed(side[number]) for side in (self.before_projection, self.after_projection)]
        title = f"{self.before_layer} before and after {self.after_layer}" if title is None else title
        return pooling_sheet(pixels(image), self, sides, title, number)


def compare_pooling(
    model: keras.Model,
    images: ArrayLike,
    pool: str | int,
    channels: int | Sequence[int] | np.ndarray | None = None,
    *,
    shifts: int | Sequence[int] | np.ndarray = (1, 2, 3, 4),
    fill: ArrayLike = 0.0,
    rules: Mapping[Any, Any] | None = None,
    collisions: Literal["sum", "last", "max"] = "sum",
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
) -> PoolingComparison:
    """Compare the maps before and after a max pooling.

    Args:
        model: A functional or Sequential `keras.Model`.
        images: Float array `(n, height, width, channels)`, preprocessed as the model expects.
        pool: Name, path or index of a max-pooling layer.
        channels: Channel indices; None for all.
        shifts: Translations of the images in pixels, up, down, left and right.
        fill: Value of the pixels that are moved in at the border, in the units of `images`; 0 is the background of a
            digit.
        rules, collisions: As for `deconv.Deconvnet`.
        batch_size: Number of images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Returns:
        `PoolingComparison`.

    Raises:
        ValueError: If `pool` is not a max pooling, it pools the image itself, or anything does not fit the model.
    """
    check_positive("batch_size", batch_size)
    net = Deconvnet(model, collisions=collisions, rules=rules, input_shape=input_shape)
    before_step, step = _pooling(net.graph, pool, model.name)
    model_graph = graph.subgraph(net.graph, step)
    image = model_graph.inputs[0]
    inputs = check_images(images, image.shape, image.dtype)
    selected = np.arange(step.output.shape[-1]) if channels is None else channels
    selected = check_channels(selected, step.output.shape[-1], step.name)
    sizes = [check_positive("shifts", shift) for shift in np.atleast_1d(any_array(shifts)).tolist()]
    fill_value = as_dtype("fill", check_fill(fill, image.shape), image.dtype)
    net.mirror(before_step.name), net.mirror(step.name)  # a layer without a rule is rejected before any computation
    forward = recorder(model_graph, [before_step, step], [step])

    def maps_of(batch: np.ndarray) -> list[np.ndarray]:
        (before, after), (switches,) = forward(batch)
        return [maps.numpy()[..., selected] for maps in (before, after, switches)]

    parts = [maps_of(inputs[start : start + batch_size]) for start in range(0, len(inputs), batch_size)]
    before, after, switches = (np.concatenate(part) for part in zip(*parts, strict=True))
    change_before, change_after = _changes(maps_of, inputs, (before, after), sizes, fill_value, batch_size)
    return PoolingComparison(
        before_layer=before_step.name,
        after_layer=step.name,
        channels=selected,
        before=before,
        after=after,
        switches=switches,
        before_projection=net.project(inputs, before_step.name, selected, unit="map", batch_size=batch_size),
        after_projection=net.project(inputs, step.name, selected, unit="map", batch_size=batch_size),
        energy_kept=energy_kept(before, switches),
        shifts=np.array(sizes, np.int64),
        change_before=change_before,
        change_after=change_after,
    )


def energy_kept(before: ArrayLike, switches: ArrayLike) -> np.ndarray:
    """Compute the share of the activation energy (sum of squares) at the positions of the switches, each counted once.

    Args:
        before: `(n, height, width, channels)`.
        switches: Ints `(n, rows, columns, channels)`, `row * width + column`.

    Returns:
        float64 `(n, channels)`; NaN for an inactive map.

    Raises:
        ValueError: If `before` and `switches` are no maps, or the switches no ints.
    """
    maps, places = array_of("before", before), array_of("switches", switches)
    if maps.ndim != 4 or places.ndim != 4 or places.dtype.kind not in "iu":
        raise ValueError(
            "before and switches must be maps (n, height, width, channels), switches of whole numbers; received "
            f"{maps.dtype} {maps.shape} and {places.dtype} {places.shape}."
        )
    count, height, width, channels = maps.shape
    energy = np.square(maps.astype(np.float64)).reshape(count, height * width, channels)
    is_kept = np.zeros(energy.shape, bool)
    np.put_along_axis(is_kept, places.reshape(count, -1, channels), True, axis=1)
    with np.errstate(invalid="ignore"):
        return (energy * is_kept).sum(axis=1) / energy.sum(axis=1)


def _pooling(model_graph, pool, model_name):
    """The steps before and after a max pooling: the producer of its input, and the pooling itself."""
    step = graph.find(model_graph, pool)
    before = producer_of(model_graph, step)
    if not isinstance(step.layer, POOLS) or before is None:
        pools = [
            other.name
            for other in model_graph.steps
            if isinstance(other.layer, POOLS) and producer_of(model_graph, other)
        ]
        raise ValueError(
            f"Layer '{step.name}' ({type(step.layer).__name__}) is not a max pooling of a layer's maps; "
            f"those of model '{model_name}' are: {', '.join(pools) or 'none'}."
        )
    return before, step


def _changes(
    maps_of: Callable[[np.ndarray], list[np.ndarray]],
    images: np.ndarray,
    maps: tuple[np.ndarray, np.ndarray],
    shifts: list[int],
    fill: np.ndarray,
    batch_size: int,
) -> np.ndarray:
    """Mean relative changes of the maps before and after pooling under translations, `(2, shifts, channels)`."""
    directions = ((-1, 0), (1, 0), (0, -1), (0, 1))
    changes = np.empty((2, len(shifts), len(directions), len(images), maps[0].shape[-1]))
    for place, shift in enumerate(shifts):
        for direction, (down, right) in enumerate(directions):
            moved = move(images, shift * down, shift * right, fill)
            for start in range(0, len(images), batch_size):
                part = slice(start, start + batch_size)
                for side, (original, translated) in enumerate(zip(maps, maps_of(moved[part])[:2], strict=True)):
                    changes[side, place, direction, part] = _relative_change(original[part], translated)
    return nan_mean(changes.reshape(2, len(shifts), -1, changes.shape[-1]), axis=2)


def _relative_change(maps, moved):
    """`(n, channels)`, `|moved - maps| / |maps|`; NaN for an inactive map."""
    maps, moved = maps.astype(np.float64), moved.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.linalg.norm(maps.reshape(len(maps), -1, maps.shape[-1]), axis=1)
        change = np.linalg.norm((moved - maps).reshape(len(maps), -1, maps.shape[-1]), axis=1)
        return np.where(size > 0, change / size, np.nan)
