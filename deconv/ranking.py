"""The k strongest of each channel, an image once: arrays alone."""

from typing import NamedTuple

import numpy as np

NOBODY = np.iinfo(np.int64).max
"""The id where no image is: it comes after all others."""


class Ranking(NamedTuple):
    """The strongest units of each channel, strongest first; equal ones by image id.

    Attributes:
        values: `(channels, k)`, float32 or float64; -inf where there have been fewer than k images.
        ids: `(channels, k)` int64; `NOBODY` there.
        labels: `(channels, k)` int64.
        positions: `(channels, k)` int64, counted row by row in the map.
    """

    values: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    positions: np.ndarray


def nobody(channels, k, dtype):
    """A ranking without images."""
    shape = (channels, k)
    return Ranking(
        np.full(shape, -np.inf, dtype), np.full(shape, NOBODY), np.full(shape, -1), np.zeros(shape, np.int64)
    )


def joined(ranking, channels, values, ids, labels, positions):
    """A ranking after some more units have been shown to it.

    An image counts once per channel, with its strongest unit, at the first position and the smallest label of several.
    The result depends neither on the order of the units nor on how they are parted between calls, and showing a unit
    twice changes nothing.

    Args:
        ranking: A `Ranking`; it is left as it is.
        channels, values, ids, labels, positions: Arrays `(n,)`, a unit each. Values are finite.

    Returns:
        A `Ranking`.
    """
    if not len(channels):
        return ranking
    # Adding zero makes 0.0 of -0.0, which is equal and must look so.
    channels, *new = _sorted(channels, (values + 0.0).astype(ranking.values.dtype), ids, labels, positions)
    place = np.arange(len(channels)) - np.searchsorted(channels, channels)
    k = ranking.ids.shape[1]
    channels, place, *new = (part[place < k] for part in (channels, place, *new))
    touched, rows = np.unique(channels, return_inverse=True)
    table = nobody(len(touched), k + place.max() + 1, ranking.values.dtype)
    for cells, old, some in zip(table, ranking, new, strict=True):
        cells[:, :k] = old[touched]
        cells[rows, k + place] = some
    _list_once(table)
    best = np.lexsort((table.ids, -table.values), axis=-1)[:, :k]
    result = Ranking(*(part.copy() for part in ranking))
    for part, cells in zip(result, table, strict=True):
        part[touched] = np.take_along_axis(cells, best, axis=1)
    return result


def merged(one, other):
    """The ranking of what either of two has been shown: associative, commutative, idempotent."""
    channels, places = np.nonzero(other.ids != NOBODY)
    return joined(one, channels, *(part[channels, places] for part in other))


def _sorted(channels, values, ids, labels, positions):
    """Units by channels, the strongest first, each image once per channel."""
    order = np.lexsort((labels, positions, ids, -values, channels))
    units = [part[order] for part in (channels, values, ids, labels, positions)]
    channels, _, ids, *_ = units
    order = np.lexsort((ids, channels))  # stable: of one image the strongest stays first
    twins = (np.diff(channels[order]) == 0) & (np.diff(ids[order]) == 0)
    if not twins.any():
        return units
    once = np.ones(len(order), bool)
    once[order[1:][twins]] = False
    return [part[once] for part in units]


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
