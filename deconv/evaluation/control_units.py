"""The units that `controls` projects: the strongest of each image, and others to compare it with."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Units(NamedTuple):
    """The units of the images, and others to compare them with.

    Attributes:
        channels, positions: `(n,)` and `(n, 2)` ints, the units.
        others: `(n,)` ints, another active channel at the same position, -1 where there is none.
        other_channels, other_positions: `(n,)` and `(n, 2)` ints, another active channel, -1 where there is none, and
            the position of its maximum.
    """

    channels: np.ndarray
    positions: np.ndarray
    others: np.ndarray
    other_channels: np.ndarray
    other_positions: np.ndarray


def choose_units(maps: np.ndarray, channels: np.ndarray | None, random: np.random.Generator) -> Units:
    """Choose the unit of each image, and others to compare it with.

    Args:
        maps: `(n, rows, columns, channels)` or `(n, channels)`, the outputs of the layer.
        channels: `(n,)` ints, a channel for each image; None for that of the strongest unit.
        random: Generator of the choice of the other channels.

    Returns:
        `Units`.
    """
    maps = maps.reshape(len(maps), *(1,) * (4 - maps.ndim), *maps.shape[1:])
    count, _, columns, depth = maps.shape
    flat = maps.reshape(count, -1, depth)
    peaks, places = flat.max(axis=1), flat.argmax(axis=1)
    numbers = np.arange(count)
    channels = peaks.argmax(axis=1) if channels is None else channels
    place = places[numbers, channels]
    not_own = np.arange(depth) != channels[:, None]

    def random_active(values):
        keys = np.where((values > 0) & not_own, random.random((count, depth)), -1)
        return np.where(keys.max(axis=1) >= 0, keys.argmax(axis=1), -1)

    others, other_channels = random_active(flat[numbers, place]), random_active(peaks)

    def position(places):
        return np.stack(np.divmod(places, columns), axis=1)

    return Units(
        channels=channels,
        positions=position(place),
        others=others,
        other_channels=other_channels,
        other_positions=position(places[numbers, other_channels]),
    )
