"""The k strongest of each channel, an image once: arrays alone."""

from typing import NamedTuple

import numpy as np

from deconv.runtime.short_repr import short_repr

NOBODY = np.iinfo(np.int64).max
"""The id where no image is: it comes after all others."""


class Ranking(NamedTuple):
    """The strongest units of each channel, strongest first; equal ones by image id.

    Attributes:
        values: `(channels, width)`, float32 or float64. The width is k, or as much less as there were fewer images.
        ids: `(channels, width)` int64; `NOBODY` where a channel has had fewer units than another, beside -inf.
        labels: `(channels, width)` int64.
        positions: `(channels, width)` int64, counted row by row in the map.
    """

    values: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    positions: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)


def nobody(channels, width, dtype):
    """A ranking without images."""
    shape = (channels, width)
    return Ranking(
        np.full(shape, -np.inf, dtype), np.full(shape, NOBODY), np.full(shape, -1), np.zeros(shape, np.int64)
    )


def last(ranking, k):
    """Value and id of the k-th unit of each channel, which another has to beat; those of nobody where there is none."""
    width = ranking.ids.shape[1]
    kept = ranking if width == k else nobody(len(ranking.ids), 1, ranking.values.dtype)
    return kept.values[:, -1], kept.ids[:, -1]


def joined(ranking, k, channels, values, ids, labels, positions):
    """A ranking after some more units have been shown to it.

    An image counts once per channel, with its strongest unit, at the first position and the smallest label of several.
    The result depends neither on the order of the units nor on how they are parted between calls, and showing a unit
    twice changes nothing.

    Args:
        ranking: A `Ranking`; it is left as it is.
        k: How many units are kept per channel.
        channels, values, ids, labels, positions: Arrays `(n,)`, a unit each. Values are finite.

    Returns:
        A `Ranking`.
    """
    if not len(channels):
        return ranking
    # Adding zero makes 0.0 of -0.0, which is equal and must look so.
    channels, *new = _sorted(channels, (values + 0.0).astype(ranking.values.dtype), ids, labels, positions)
    place = np.arange(len(channels)) - np.searchsorted(channels, channels)
    channels, place, *new = (part[place < k] for part in (channels, place, *new))
    touched, rows = np.unique(channels, return_inverse=True)
    count, width = ranking.ids.shape
    table = nobody(len(touched), width + place.max() + 1, ranking.values.dtype)
    for cells, old, some in zip(table, ranking, new, strict=True):
        cells[:, :width] = old[touched]
        cells[rows, width + place] = some
    _list_once(table)
    wider = min(k, max(width, np.count_nonzero(table.ids != NOBODY, axis=1).max()))
    best = np.lexsort((table.ids, -table.values), axis=-1)[:, :wider]
    result = nobody(count, wider, ranking.values.dtype)
    for part, old, cells in zip(result, ranking, table, strict=True):
        part[:, :width] = old
        part[touched] = np.take_along_axis(cells, best, axis=1)
    return result


def merged(one, other, k):
    """The ranking of what either of two has been shown: associative, commutative, idempotent."""
    channels, places = np.nonzero(other.ids != NOBODY)
    return joined(one, k, channels, *(part[channels, places] for part in other))


def _sorted(channels, values, ids, labels, positions):
    """Units by channels, the strongest first, each image once per channel."""
    units = channels, values, ids, labels, positions
    by_id = np.lexsort((ids, channels))
    if _follow(channels[by_id], ids[by_id]).any():
        by_id = np.lexsort((labels, positions, -values, ids, channels))
        again = np.append(False, _follow(channels[by_id], ids[by_id]))
        units = [part[by_id[~again]] for part in units]
    channels, values, ids, *_ = units
    order = np.lexsort((ids, -values, channels))
    return [part[order] for part in units]


def _follow(channels, ids):
    """Which pairs, but for the first, are the same as that before."""
    return (channels[1:] == channels[:-1]) & (ids[1:] == ids[:-1])


def _list_once(table):
    """Where a row of a ranking lists an image twice, leave the stronger, in place."""
    if not _twins(np.sort(table.ids, axis=1)).any():
        return
    order = np.lexsort((table.labels, table.positions, -table.values, table.ids), axis=-1)
    rows, places = np.nonzero(_twins(np.take_along_axis(table.ids, order, axis=1)))
    weaker = order[rows, places + 1]
    for cells, none in zip(table, nobody(1, 1, table.values.dtype), strict=True):
        cells[rows, weaker] = none[0, 0]


def _twins(ids):
    """Which ids in sorted rows are followed by the same once more."""
    return (ids[:, 1:] == ids[:, :-1]) & (ids[:, 1:] != NOBODY)
