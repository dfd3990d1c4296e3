"""Mergeable histogram of activations on a logarithmic grid, with one example image for each bin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deconv.runtime.short_repr import short_repr

BINS_PER_OCTAVE = 16
_MANTISSAS = np.exp2(np.arange(BINS_PER_OCTAVE) / BINS_PER_OCTAVE) / 2
"""Lower edges of the bins of the mantissas that `np.frexp` returns, from 0.5 to 1."""
_ZERO = 1100 * BINS_PER_OCTAVE
"""Added to the number of a bin so that it is positive for the smallest positive float64."""


def bins_of(values: ArrayLike) -> np.ndarray:
    """Compute the bin of each value; a larger value has the same or a larger bin.

    Bin 0 holds zero. Every other bin holds values of one sign, whose magnitudes differ by a factor below
    `2 ** (1 / 16)`, that is, by at most 4.5 %.

    Args:
        values: Finite floats of any shape.

    Returns:
        int64 array of that shape.
    """
    values = np.asarray(values, np.float64)
    mantissas, exponents = np.frexp(np.abs(values))
    parts = np.searchsorted(_MANTISSAS, mantissas, side="right") - 1
    return np.where(values == 0, 0, np.sign(values).astype(np.int64) * (exponents * BINS_PER_OCTAVE + parts + _ZERO))


def edges_of(bins: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Compute the edges `(low, high)` of bins: positive bins are `low <= value < high`, negative `low < value <= high`.

    Args:
        bins: Ints of any shape.

    Returns:
        Two float64 arrays of that shape; both are zero for bin 0.
    """
    bins = np.asarray(bins, np.int64)

    def edge(number: np.ndarray) -> np.ndarray:
        exponents, parts = np.divmod(number - _ZERO, BINS_PER_OCTAVE)
        with np.errstate(over="ignore"):  # the last bin ends at infinity
            return np.ldexp(_MANTISSAS[parts], exponents.astype(np.int32))

    near, far = edge(np.abs(bins)), edge(np.abs(bins) + 1)
    low, high = np.where(bins > 0, near, -far), np.where(bins > 0, far, -near)
    return np.where(bins == 0, 0.0, low), np.where(bins == 0, 0.0, high)


class Sketch(NamedTuple):
    """Histograms of the activations of several channels, one row per occupied bin, sorted by channel and bin.

    `merge` is associative and commutative: the sketch depends on the images only, not on their order or on their
    division into batches. The example of a bin is the image whose id has the smallest hash, so that examples are a
    random sample of images. Counts are exact. A quantile is known up to its bin, so with an error of at most 2.2 % of
    its magnitude. Memory depends on the number of occupied bins, some dozens per channel.

    Attributes:
        channels, bins: int64 `(m,)`.
        counts: int64 `(m,)`, number of images.
        hashes: uint64 `(m,)`, hash of the id of the example.
        ids, labels, positions: int64 `(m,)`, id, label and position in the map of the example.
        values: float64 `(m,)`, activation of the example.
    """

    channels: np.ndarray
    bins: np.ndarray
    counts: np.ndarray
    hashes: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    values: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)

    def merge(self, other: Sketch) -> Sketch:
        """Return the sketch of the images of both."""
        return _joined([self, other])

    def channel(self, channel: int) -> Sketch:
        """Return the rows of one channel."""
        first, last = np.searchsorted(self.channels, [channel, channel + 1])
        return Sketch(*(part[first:last] for part in self))

    def quantile_rows(self, quantiles: ArrayLike) -> np.ndarray:
        """Compute the row of the bin that contains each quantile of a sketch of one channel.

        Args:
            quantiles: `(q,)` floats from 0 to 1. Quantile x of n sorted values is number `ceil(x * n)`, from 1.

        Returns:
            `(q,)` ints; empty if the sketch is empty.
        """
        if not len(self.counts):
            return np.empty(0, np.int64)
        ends = np.cumsum(self.counts)
        ranks = np.maximum(1, np.ceil(np.asarray(quantiles, np.float64) * ends[-1]))
        return np.searchsorted(ends, ranks)


def empty_sketch() -> Sketch:
    """Return a sketch without images."""
    ints = np.empty(0, np.int64)
    return Sketch(
        channels=ints,
        bins=ints,
        counts=ints,
        hashes=np.empty(0, np.uint64),
        ids=ints,
        labels=ints,
        positions=ints,
        values=np.empty(0),
    )


def sketch_of(values: np.ndarray, positions: np.ndarray, ids: np.ndarray, labels: np.ndarray) -> Sketch:
    """Compute the sketch of a batch.

    Args:
        values: Finite floats `(n, channels)`, one activation per image and channel.
        positions: Ints `(n, channels)`, position of each activation in its map.
        ids, labels: Ints `(n,)`.

    Returns:
        A `Sketch`.
    """
    count, channels = values.shape
    numbers = np.repeat(np.asarray(ids, np.int64), channels)
    rows = Sketch(
        channels=np.tile(np.arange(channels), count),
        bins=bins_of(values).ravel(),
        counts=np.ones(values.size, np.int64),
        hashes=_hashes(numbers),
        ids=numbers,
        labels=np.repeat(np.asarray(labels, np.int64), channels),
        positions=np.asarray(positions, np.int64).ravel(),
        values=np.asarray(values, np.float64).ravel(),
    )
    return _joined([rows])


def _joined(sketches: Iterable[Sketch]) -> Sketch:
    """Rows of sketches, sorted; rows of the same channel and bin are added, with the example of smallest hash."""
    rows = Sketch(*(np.concatenate(parts) for parts in zip(*sketches, strict=True)))
    order = np.lexsort((rows.positions, rows.ids, rows.hashes, rows.bins, rows.channels))
    rows = Sketch(*(part[order] for part in rows))
    if not len(order):
        return rows
    is_new = (np.diff(rows.channels) != 0) | (np.diff(rows.bins) != 0)
    starts = np.concatenate([[0], np.flatnonzero(is_new) + 1])
    counts = np.add.reduceat(rows.counts, starts)
    return Sketch(*(part[starts] for part in rows))._replace(counts=counts)


def _hashes(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64 of int64 numbers, as uint64."""
    with np.errstate(over="ignore"):
        mixed = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
