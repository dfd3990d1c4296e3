"""Mergeable statistics of the channels of one layer over a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from deconv.explorer.activation_sketch import Sketch, empty_sketch, sketch_of
from deconv.runtime.short_repr import short_repr


class ChannelStatistics(NamedTuple):
    """Statistics of the largest activation of each channel in each image.

    States are values: `update` and `merge` return new ones. `merge` is associative and commutative, up to the rounding
    of float64 sums; counts, extremes and the sketch are exact.

    Attributes:
        images: Number of images.
        active: int64 `(channels,)`, number of images in which the channel is above zero at any position.
        covered: float64 `(channels,)`, sum over images of the share of positions above zero.
        means: float64 `(channels,)`, sum over images of the mean of the map.
        sums, squares: float64 `(channels,)`, sums of the rectified maximum, `max(0, maximum)`, and of its square.
        lowest, highest: float64 `(channels,)`, extremes of the maximum.
        centre: float64 `(channels,)`, mean of the maximum.
        scatter: float64 `(channels, channels)`, sum of the products of the deviations of the maxima from `centre`
            (Chan, Golub and LeVeque 1979).
        class_images: int64 `(classes,)`, number of images of each class.
        class_sums: float64 `(classes, channels)`, sum of the rectified maxima over the images of each class.
        class_active: int64 `(classes, channels)`, number of images of each class in which the channel is above zero.
        sketch: Histograms of the maxima with examples, a `Sketch`.
    """

    images: int
    active: np.ndarray
    covered: np.ndarray
    means: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    centre: np.ndarray
    scatter: np.ndarray
    class_images: np.ndarray
    class_sums: np.ndarray
    class_active: np.ndarray
    sketch: Sketch

    def __repr__(self) -> str:
        return short_repr(self)

    def update(
        self,
        maxima: np.ndarray,
        positions: np.ndarray,
        means: np.ndarray,
        covered: np.ndarray,
        ids: np.ndarray,
        labels: np.ndarray,
    ) -> ChannelStatistics:
        """Return the statistics with a batch of images added.

        Args:
            maxima: Finite floats `(n, channels)`, the largest activation of each channel in each image.
            positions: Ints `(n, channels)`, its position in the map, in row-major order.
            means: Floats `(n, channels)`, mean of the map.
            covered: Floats `(n, channels)`, share of the positions above zero.
            ids, labels: Ints `(n,)`; the label is -1 for an image without one.
        """
        maxima = np.asarray(maxima, np.float64)
        labels = np.asarray(labels, np.int64)
        rectified = np.maximum(maxima, 0)
        classes = int(labels.max(initial=-1)) + 1
        belongs = (labels[None, :] == np.arange(classes)[:, None]).astype(np.float64)
        centre = maxima.mean(axis=0)
        batch = ChannelStatistics(
            images=len(maxima),
            active=np.count_nonzero(maxima > 0, axis=0),
            covered=np.asarray(covered, np.float64).sum(axis=0),
            means=np.asarray(means, np.float64).sum(axis=0),
            sums=rectified.sum(axis=0),
            squares=np.square(rectified).sum(axis=0),
            lowest=maxima.min(axis=0),
            highest=maxima.max(axis=0),
            centre=centre,
            scatter=(maxima - centre).T @ (maxima - centre),
            class_images=belongs.sum(axis=1).astype(np.int64),
            class_sums=belongs @ rectified,
            class_active=(belongs @ (maxima > 0)).astype(np.int64),
            sketch=sketch_of(maxima, positions, ids, labels),
        )
        return self.merge(batch)

    def merge(self, other: ChannelStatistics) -> ChannelStatistics:
        """Return the statistics over the images of both states.

        Raises:
            ValueError: If they have different numbers of channels.
        """
        if len(self.active) != len(other.active):
            raise ValueError(
                f"Statistics of {len(self.active)} and of {len(other.active)} channels cannot be merged; merge those "
                "of one layer."
            )
        if not self.images or not other.images:
            return self if self.images else other
        images, classes = self.images + other.images, max(len(self.class_images), len(other.class_images))
        difference = other.centre - self.centre
        scatter = np.outer(difference, difference * (self.images * other.images / images))
        scatter += self.scatter
        scatter += other.scatter
        return ChannelStatistics(
            images=images,
            active=self.active + other.active,
            covered=self.covered + other.covered,
            means=self.means + other.means,
            sums=self.sums + other.sums,
            squares=self.squares + other.squares,
            lowest=np.minimum(self.lowest, other.lowest),
            highest=np.maximum(self.highest, other.highest),
            centre=self.centre + difference * (other.images / images),
            scatter=scatter,
            class_images=_padded(self.class_images, classes) + _padded(other.class_images, classes),
            class_sums=_padded(self.class_sums, classes) + _padded(other.class_sums, classes),
            class_active=_padded(self.class_active, classes) + _padded(other.class_active, classes),
            sketch=self.sketch.merge(other.sketch),
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the state as `{name: array}`, for a file."""
        arrays = {name: np.asarray(value) for name, value in self._asdict().items() if name != "sketch"}
        return arrays | {f"sketch.{name}": part for name, part in self.sketch._asdict().items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], channels: int) -> ChannelStatistics:
        """Check and assemble what `to_arrays` returned.

        Raises:
            ValueError: If an array is missing, or has another shape or dtype; the message names it.
        """
        new = empty_statistics(channels)
        sketch = Sketch(
            **{name: _checked(arrays, f"sketch.{name}", part) for name, part in new.sketch._asdict().items()}
        )
        if len({len(part) for part in sketch}) > 1:
            raise ValueError("the columns of the sketch have different lengths")
        values: dict[str, Any] = {
            name: _checked(arrays, name, np.asarray(value))
            for name, value in new._asdict().items()
            if name not in ("sketch", "images")
        }
        if len({len(values[name]) for name in ("class_images", "class_sums", "class_active")}) > 1:
            raise ValueError("the statistics of classes have different lengths")
        images = int(_checked(arrays, "images", np.asarray(0)))
        if sketch.counts.sum() != images * channels or (len(sketch.channels) and sketch.channels.max() >= channels):
            raise ValueError("the sketch has not counted every channel of every image once")
        return cls(images=images, sketch=sketch, **values)

    @property
    def inactive(self) -> np.ndarray:
        """float64 `(channels,)`, share of the images in which the channel is nowhere above zero."""
        return 1 - self.active / max(1, self.images)

    @property
    def sparsity(self) -> np.ndarray:
        """Lifetime sparsity of the rectified maxima, from 0 (equal in all images) to 1 (above zero in one image).

        `(1 - (mean r)^2 / mean r^2) / (1 - 1/n)` (Vinje and Gallant 2000). 1 for a channel that is never above zero,
        and 0 for a single image in which it is.
        """
        count = self.images
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.square(self.sums) / (self.squares * count)
        ratio = np.where(self.squares > 0, ratio, 0)
        return np.clip((1 - ratio) / (1 - 1 / count), 0, 1) if count > 1 else np.where(self.squares > 0, 0.0, 1.0)

    @property
    def class_means(self) -> np.ndarray:
        """float64 `(classes, channels)`, mean of the rectified maxima of each class; NaN for a class without images."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.class_sums / np.where(self.class_images, self.class_images, np.nan)[:, None]

    @property
    def selectivity(self) -> tuple[np.ndarray, np.ndarray]:
        """Class selectivity of each channel (Morcos et al. 2018, arXiv:1803.06959) and its preferred class.

        `(largest - others) / (largest + others)`: the largest mean of a class, and the mean of the means of all other
        classes, of the rectified maxima. 0 for a channel that does not respond, or with fewer than two classes, whose
        preferred class is -1.
        """
        means, channels = self.class_means, len(self.active)
        present = np.flatnonzero(self.class_images > 0)
        if len(present) < 2:
            return np.zeros(channels), np.full(channels, -1)
        means = means[present]
        largest = means.max(axis=0)
        others = (means.sum(axis=0) - largest) / (len(present) - 1)
        total = largest + others
        index = np.divide(largest - others, total, out=np.zeros(channels), where=total > 0)
        return index, np.where(total > 0, present[means.argmax(axis=0)], -1)

    def correlations(self) -> np.ndarray:
        """Correlation over images between the maxima of channels, `(channels, channels)`; 0 for a constant channel."""
        spread = np.sqrt(np.diag(self.scatter))
        spread = np.where(spread > 1e-7 * np.abs(self.centre) * np.sqrt(max(1, self.images)), spread, np.inf)
        return np.clip(self.scatter / np.outer(spread, spread), -1, 1)


def empty_statistics(channels: int) -> ChannelStatistics:
    """Return statistics without images."""
    zeros, none = np.zeros(channels), np.empty((0, channels))
    return ChannelStatistics(
        images=0,
        active=np.zeros(channels, np.int64),
        covered=zeros,
        means=zeros,
        sums=zeros,
        squares=zeros,
        lowest=np.full(channels, np.inf),
        highest=np.full(channels, -np.inf),
        centre=zeros,
        scatter=np.zeros((channels, channels)),
        class_images=np.empty(0, np.int64),
        class_sums=none,
        class_active=none.astype(np.int64),
        sketch=empty_sketch(),
    )


def similarity_order(correlations: np.ndarray, start: int) -> np.ndarray:
    """Order channels so that each is followed by the most similar of those that remain.

    Args:
        correlations: `(channels, channels)`.
        start: The first channel.

    Returns:
        `(channels,)` ints, a permutation.
    """
    remaining, order = np.ones(len(correlations), bool), [start]
    remaining[start] = False
    while remaining.any():
        order.append(int(np.where(remaining, correlations[order[-1]], -np.inf).argmax()))
        remaining[order[-1]] = False
    return np.array(order)


def _padded(array: np.ndarray, classes: int) -> np.ndarray:
    """The array with zeros appended for classes that have not occurred."""
    return np.concatenate([array, np.zeros((classes - len(array), *array.shape[1:]), array.dtype)])


def _checked(arrays: Mapping[str, np.ndarray], name: str, like: np.ndarray) -> np.ndarray:
    """An array of the dtype and shape of `like`, except for the length of an empty first axis."""
    array = arrays.get(name)
    shape = None if array is None else array.shape
    expected = like.shape if like.size or not like.ndim else (*(shape or (0,))[:1], *like.shape[1:])
    if array is None or array.dtype != like.dtype or shape != expected:
        raise ValueError(f"'{name}' must be {like.dtype} {expected}, received {array!r:.80}")
    return array
