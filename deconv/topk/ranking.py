"""Rankings of the k strongest units of each channel, with at most one unit per image, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from deconv.runtime.short_repr import short_repr

NO_IMAGE = np.iinfo(np.int64).max
"""The id of an empty place of a ranking; it is larger than all others."""


class Ranking(NamedTuple):
    """The strongest units of each channel, the strongest first; equal units are sorted by image id.

    Attributes:
        values: `(channels, width)`, float32 or float64. The width is k, or less if there were fewer than k images.
        ids: `(channels, width)` int64. If a channel has fewer units than another, its last places are empty: their id
            is `NO_IMAGE` and their value -inf.
        labels: `(channels, width)` int64.
        positions: `(channels, width)` int64, in row-major order in the map.
    """

    values: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    positions: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


def empty(channels: int, width: int, dtype: Any) -> Ranking:
    """Return a ranking whose places are all empty."""
    shape = (channels, width)
    return Ranking(
        values=np.full(shape, -np.inf, dtype),
        ids=np.full(shape, NO_IMAGE),
        labels=np.full(shape, -1),
        positions=np.zeros(shape, np.int64),
    )


def last(ranking: Ranking, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the values and ids `(channels,)` of the k-th units; those of an empty place if there are fewer than k."""
    is_full = ranking.ids.shape[1] == k
    full = ranking if is_full else empty(len(ranking.ids), 1, ranking.values.dtype)
    return full.values[:, -1], full.ids[:, -1]


def joined(
    ranking: Ranking,
    k: int,
    channels: np.ndarray,
    values: np.ndarray,
    ids: np.ndarray,
    labels: np.ndarray,
    positions: np.ndarray,
) -> Ranking:
    """Return a ranking with further units added.

    An image counts once per channel, with its strongest unit; of several equal units, with the first position and the
    smallest label. The result depends neither on the order of the units nor on how they are divided between calls, and
    adding a unit twice has no effect.

    Args:
        ranking: A `Ranking`; it is not changed.
        k: Number of units per channel.
        channels, values, ids, labels, positions: Arrays `(n,)`, one entry per unit. Values are finite.

    Returns:
        A `Ranking`.
    """
    if not len(channels):
        return ranking
    # Adding zero turns -0.0 into 0.0: equal values must also be stored alike.
    channels, *new = _sorted(channels, (values + 0.0).astype(ranking.values.dtype), ids, labels, positions)
    place = np.arange(len(channels)) - np.searchsorted(channels, channels)
    channels, place, *new = (part[place < k] for part in (channels, place, *new))
    touched, rows = np.unique(channels, return_inverse=True)
    count, width = ranking.ids.shape
    # Only channels with new units are sorted again, each in a row with its old units followed by the new ones.
    table = empty(len(touched), width + place.max() + 1, ranking.values.dtype)
    for cells, old, added in zip(table, ranking, new, strict=True):
        cells[:, :width] = old[touched]
        cells[rows, width + place] = added
    _list_once(table)
    wider = min(k, max(width, np.count_nonzero(table.ids != NO_IMAGE, axis=1).max()))
    best = np.lexsort((table.ids, -table.values), axis=-1)[:, :wider]
    result = empty(count, wider, ranking.values.dtype)
    for part, old, cells in zip(result, ranking, table, strict=True):
        part[:, :width] = old
        part[touched] = np.take_along_axis(cells, best, axis=1)
    return result


def merged(one: Ranking, other: Ranking, k: int) -> Ranking:
    """Return the ranking of the units of two rankings: an associative, commutative and idempotent operation.

    `k` is the number of units per channel.
    """
    channels, places = np.nonzero(other.ids != NO_IMAGE)
    return joined(one, k, channels, *(part[channels, places] for part in other))


def _sorted(
    channels: np.ndarray, values: np.ndarray, ids: np.ndarray, labels: np.ndarray, positions: np.ndarray
) -> list[np.ndarray]:
    """Units sorted by channel, the strongest first, with each image once per channel."""
    units: Sequence[np.ndarray] = (channels, values, ids, labels, positions)
    by_id = np.lexsort((ids, channels))
    if _follow(channels[by_id], ids[by_id]).any():
        by_id = np.lexsort((labels, positions, -values, ids, channels))
        again = np.append(False, _follow(channels[by_id], ids[by_id]))
        units = [part[by_id[~again]] for part in units]
    channels, values, ids, *_ = units
    order = np.lexsort((ids, -values, channels))
    return [part[order] for part in units]


def _follow(channels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Bools `(n - 1,)`: which pairs (channel, id), from the second on, equal the pair before."""
    return (channels[1:] == channels[:-1]) & (ids[1:] == ids[:-1])


def _list_once(table: Ranking) -> None:
    """Empty the place of the weaker unit, in place, where a row of a ranking contains an image twice."""
    if not _twins(np.sort(table.ids, axis=1)).any():
        return
    order = np.lexsort((table.labels, table.positions, -table.values, table.ids), axis=-1)
    rows, places = np.nonzero(_twins(np.take_along_axis(table.ids, order, axis=1)))
    weaker = order[rows, places + 1]
    for cells, blank in zip(table, empty(1, 1, table.values.dtype), strict=True):
        cells[rows, weaker] = blank[0, 0]


def _twins(ids: np.ndarray) -> np.ndarray:
    """Bools `(rows, width - 1)`: which ids in sorted rows equal the next one."""
    return (ids[:, 1:] == ids[:, :-1]) & (ids[:, 1:] != NO_IMAGE)
