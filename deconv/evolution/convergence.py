"""Features over the epochs of a training: jumps, similarity of projections, convergence (Fig. 4)."""

import math
from typing import NamedTuple

import numpy as np

from deconv.runtime.short_repr import short_repr

LEVEL = 0.9
"""Two projections of this cosine share 81 % of their energy, more than four times as much as they do not share."""


class Evolution(NamedTuple):
    """Some features of a layer, each with its strongest unit over all images, epoch after epoch.

    Attributes:
        layer: Its name.
        epochs: `(e,)` int64, counted from 1, in order.
        channels: `(c,)` int64.
        projections: `(c, e, height, width, channels of the image)` float32, signed, cut to the window of the unit, so
            that the unit is at the same place in each; zero outside of the image.
        values: `(c, e)`, activations of these units.
        ids: `(c, e)` int64, the image in which each occurred.
        positions: `(c, e, 2)` int64, row and column of the unit in its map; zeros for a dense layer.
        windows: `(c, e, 4)` int64, what is shown of the image: top, left, bottom, right. It may reach outside.
        filters: `(c, e, weights)` float32, the weights of each channel; None for a layer without.
    """

    layer: str
    epochs: np.ndarray
    channels: np.ndarray
    projections: np.ndarray
    values: np.ndarray
    ids: np.ndarray
    positions: np.ndarray
    windows: np.ndarray
    filters: np.ndarray | None = None

    __repr__ = short_repr

    def part(self, places):
        """The same of some of the channels: ints, their places in `channels`."""
        kept = {name: getattr(self, name)[places] for name in self._fields[2:-1]}
        return self._replace(**kept, filters=None if self.filters is None else self.filters[places])

    @property
    def silent(self):
        """`(c, e)` bools: no image excites the channel, and which one comes first in it means nothing."""
        return self.values <= 0

    @property
    def jumps(self):
        """`(c, e)` bools: another image excites the channel most than at the epoch before; never if it is silent."""
        jumps = np.zeros(self.ids.shape, bool)
        awake = ~self.silent
        jumps[:, 1:] = (self.ids[:, 1:] != self.ids[:, :-1]) & awake[:, 1:] & awake[:, :-1]
        return jumps

    @property
    def similarity(self):
        """`(c, e)`, the cosine of each projection with that of the epoch before; NaN at first, and with a zero one."""
        found = np.full(self.ids.shape, np.nan)
        found[:, 1:] = cosine(self.projections[:, 1:], self.projections[:, :-1])
        return found

    @property
    def similarity_to_last(self):
        """`(c, e)`, the cosine of each projection with the last one; NaN where one is zero."""
        return cosine(self.projections, self.projections[:, -1:])


class Settling(NamedTuple):
    """Similarity of a layer's features to their final state, and the epoch of convergence.

    Attributes:
        epochs: `(e,)` int64.
        projections: `(e,)`, mean cosine of the projections with the last ones.
        filters: `(e,)`, mean cosine of the channels' weights with the last ones; None for a layer without.
        winners: `(e,)`, share of the channels that the same image excites most as in the end.
        channels: How many channels these are means of: those that are not silent in the end.
        level: What `projections` must not fall below any more.
        epoch: From when on it does not: the number by which layers are compared.
    """

    epochs: np.ndarray
    projections: np.ndarray
    filters: np.ndarray | None
    winners: np.ndarray
    channels: int
    level: float
    epoch: float

    __repr__ = short_repr


def settling(evolution, level=LEVEL):
    """Measure how fast a layer's features converge to their final state.

    The paper judges by eye: lower layers converge within a few epochs, upper ones "after a considerable number of
    epochs (40-50)". What the eye compares are the pictures; so is the number here: the epoch from which on the
    projections of the strongest units are, on average over the channels, as much like the last ones as `level` says.
    A jump to another image counts as far as it changes the picture. Weights may go on growing, which changes no picture
    and no cosine. By default the level is 0.9: then what a picture has in common with the last one is four times as
    strong, in squares, as what it has not; at 0.7, where both are equal, one still sees as much noise as structure. The
    other two curves tell why a picture still changes: the filters, or the image.

    It is found on the line between the last epoch that is below the level and the next, in the logarithm of the epoch,
    since epochs are looked at ever more rarely. The last epoch looked at is taken for the end, so that two networks
    should be compared over the same ones. A channel that is silent in the end is left out; one that was silent before
    had nothing of its picture then: 0.

    Args:
        evolution: An `Evolution`.
        level: A cosine, above 0 and at most 1.

    Returns:
        `Settling`. Its epoch is the first if the level was never missed, NaN if all channels are silent in the end.

    Raises:
        ValueError: If the level is no such number.
    """
    if not 0 < level <= 1:
        raise ValueError(f"level must be a cosine above 0 and at most 1; received {level!r}.")
    awake = ~evolution.silent[:, -1]
    alike = np.nan_to_num(evolution.similarity_to_last[awake], nan=0.0)
    same = ((evolution.ids == evolution.ids[:, -1:]) & ~evolution.silent)[awake]
    filters = None
    if evolution.filters is not None:
        filters = _mean(np.nan_to_num(cosine(evolution.filters, evolution.filters[:, -1:])[awake], nan=0.0))
    projections = _mean(alike)
    epoch = crossing(evolution.epochs, projections, level)
    return Settling(evolution.epochs, projections, filters, _mean(same), int(awake.sum()), float(level), epoch)


def crossing(epochs, values, level):
    """From when on values stay at a level or above it, between epochs on a line in the logarithm of the epoch.

    Args:
        epochs: `(e,)`, in order, above zero.
        values: `(e,)`.
        level: A number.

    Returns:
        A float: the first epoch if no value is below; NaN if the last one is, or is unknown.
    """
    low = np.flatnonzero(~(np.asarray(values) >= level - 1e-6))  # a cosine of equal projections may round below 1
    if not len(low):
        return float(epochs[0])
    before = low[-1]
    if before + 1 == len(epochs):
        return math.nan
    share = (level - values[before]) / (values[before + 1] - values[before])
    first, second = np.log(epochs[before : before + 2])
    return float(np.exp(first + min(share, 1) * (second - first)))


def cosine(one, other):
    """Cosines of arrays `(c, e, ...)` and `(c, e or 1, ...)`, each of all that follows: `(c, e)`; NaN with zeros."""
    one, other = (np.asarray(side, np.float64).reshape(*side.shape[:2], -1) for side in (one, other))
    sizes = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    products = np.einsum("ced,ced->ce", one, np.broadcast_to(other, one.shape))
    return np.where(sizes > 0, products / np.where(sizes > 0, sizes, 1), np.nan)


def _mean(values):
    """Over the channels; NaN if there are none."""
    return values.mean(axis=0) if len(values) else np.full(values.shape[1], np.nan)
