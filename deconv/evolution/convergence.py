"""Features over the epochs of a training: jumps, similarity of projections, convergence (Fig. 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deconv.runtime.short_repr import short_repr

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVEL = 0.9
"""Default level of convergence. Projections with this cosine share 81 % of their energy, four times the remainder."""


class Evolution(NamedTuple):
    """Features of a layer at several epochs, each with its strongest unit over all images.

    Attributes:
        layer: Name of the layer.
        epochs: `(e,)` int64, counted from 1, in ascending order.
        channels: `(c,)` int64.
        projections: `(c, e, height, width, channels of the image)` float32, signed projections, cropped to the
            receptive field, so that the unit is at the same position in each; zero outside of the image.
        values: `(c, e)`, activations of the strongest units.
        ids: `(c, e)` int64, ids of the images in which they occur.
        positions: `(c, e, 2)` int64, row and column of the unit in its map; zeros for a dense layer.
        windows: `(c, e, 4)` int64, the cropped window of the image: top, left, bottom, right. It may extend outside.
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

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, title: str | None = None, **settings: Any) -> Figure:
        """Draw the strongest projection of each channel, epoch by epoch (`plotting.evolution_sheet`)."""
        from deconv.plotting import evolution_sheet

        return evolution_sheet(self, title, **settings)

    def part(self, places: Sequence[int] | np.ndarray) -> Evolution:
        """Return the evolution of a part of the channels.

        Args:
            places: Ints, indices into `channels`.
        """
        selected = {name: getattr(self, name)[places] for name in self._fields[2:-1]}
        return self._replace(**selected, filters=None if self.filters is None else self.filters[places])

    @property
    def silent(self) -> np.ndarray:
        """`(c, e)` bools: the channel is inactive for all images, so that its strongest unit is arbitrary."""
        return self.values <= 0

    @property
    def jumps(self) -> np.ndarray:
        """`(c, e)` bools: the strongest unit is in another image than at the previous epoch, active at both."""
        jumps = np.zeros(self.ids.shape, bool)
        is_active = ~self.silent
        jumps[:, 1:] = (self.ids[:, 1:] != self.ids[:, :-1]) & is_active[:, 1:] & is_active[:, :-1]
        return jumps

    @property
    def similarity(self) -> np.ndarray:
        """`(c, e)`, cosine of each projection with that of the previous epoch; NaN at the first, and if one is zero."""
        similarity = np.full(self.ids.shape, np.nan)
        similarity[:, 1:] = cosine(self.projections[:, 1:], self.projections[:, :-1])
        return similarity

    @property
    def similarity_to_last(self) -> np.ndarray:
        """`(c, e)`, cosine of each projection with the last one; NaN if one is zero."""
        return cosine(self.projections, self.projections[:, -1:])


class Settling(NamedTuple):
    """Similarity of a layer's features to their final state, and the epoch of convergence.

    Attributes:
        epochs: `(e,)` int64.
        projections: `(e,)`, mean cosine of the projections with the last ones.
        filters: `(e,)`, mean cosine of the channels' weights with the last ones; None for a layer without.
        winners: `(e,)`, share of the channels whose strongest unit is in the same image as at the last epoch.
        channels: Number of channels that are averaged: those that are active at the last epoch.
        level: The level of `projections` that defines convergence.
        epoch: The epoch from which on `projections` stays at or above the level: the measure by which layers are
            compared.
    """

    epochs: np.ndarray
    projections: np.ndarray
    filters: np.ndarray | None
    winners: np.ndarray
    channels: int
    level: float
    epoch: float

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, layer: str = "layer", title: str = "Convergence of features during training") -> Figure:
        """Draw the similarity to the last epoch (`plotting.settling_chart`)."""
        from deconv.plotting import settling_chart

        return settling_chart({layer: self}, title)


def settling(evolution: Evolution, level: float = LEVEL) -> Settling:
    """Measure how fast the features of a layer converge to their final state.

    The paper judges convergence visually: lower layers converge within a few epochs, upper ones "after a considerable
    number of epochs (40-50)". Here it is measured on the same projections: a layer has converged from the epoch on at
    which the cosine between the projections of the strongest units and the last ones, averaged over the channels,
    stays at `level` or above. A jump to another image counts as far as it changes the projection. Growing weights
    change neither. At the default level of 0.9 the energy that a projection shares with the last one is four times the
    remainder; at 0.7 both are equal, and a projection shows as much noise as structure. The other two curves show
    whether the filters or the images change.

    The epoch is interpolated between the last epoch below the level and the next one, linearly in the logarithm of the
    epoch, since later epochs are recorded more rarely. The last recorded epoch is taken as the final state, so two
    networks should be compared over the same epochs. Channels that are inactive at the last epoch are excluded. The
    cosine of a channel that was inactive at an earlier epoch is 0 there.

    Args:
        evolution: An `Evolution`.
        level: A cosine, above 0 and at most 1.

    Returns:
        `Settling`. Its epoch is the first one if no epoch is below the level, and NaN if all channels are inactive at
        the last epoch.

    Raises:
        ValueError: If the level is out of range.
    """
    if not 0 < level <= 1:
        raise ValueError(f"level must be a cosine above 0 and at most 1; received {level!r}.")
    is_active = ~evolution.silent[:, -1]
    cosines = np.nan_to_num(evolution.similarity_to_last[is_active], nan=0.0)
    is_same_image = ((evolution.ids == evolution.ids[:, -1:]) & ~evolution.silent)[is_active]
    filters = None
    if evolution.filters is not None:
        filters = _mean(np.nan_to_num(cosine(evolution.filters, evolution.filters[:, -1:])[is_active], nan=0.0))
    projections = _mean(cosines)
    return Settling(
        epochs=evolution.epochs,
        projections=projections,
        filters=filters,
        winners=_mean(is_same_image),
        channels=int(is_active.sum()),
        level=float(level),
        epoch=crossing(evolution.epochs, projections, level),
    )


def crossing(epochs: np.ndarray, values: np.ndarray, level: float) -> float:
    """Compute the epoch from which on values stay at or above a level.

    It is interpolated between epochs, linearly in the logarithm of the epoch.

    Args:
        epochs: `(e,)`, in ascending order, above zero.
        values: `(e,)`.
        level: A number.

    Returns:
        A float: the first epoch if no value is below the level; NaN if the last value is below it or NaN.
    """
    low = np.flatnonzero(
        ~(np.asarray(values) >= level - 1e-6)
    )  # the cosine of equal projections may be rounded to below 1
    if not len(low):
        return float(epochs[0])
    before = low[-1]
    if before + 1 == len(epochs):
        return math.nan
    share = (level - values[before]) / (values[before + 1] - values[before])
    first, second = np.log(epochs[before : before + 2])
    return float(np.exp(first + min(share, 1) * (second - first)))


def cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Compute cosines between vectors over all axes but the first two.

    Args:
        one: `(c, e, ...)`.
        other: `(c, e, ...)` or `(c, 1, ...)`.

    Returns:
        float64 `(c, e)`; NaN if one of the vectors is zero.
    """
    first, second = (np.asarray(side, np.float64).reshape(*side.shape[:2], -1) for side in (one, other))
    sizes = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    products = np.einsum("ced,ced->ce", first, np.broadcast_to(second, first.shape))
    return np.where(sizes > 0, products / np.where(sizes > 0, sizes, 1), np.nan)


def _mean(values):
    """Mean over the channels; NaN if there are none."""
    return values.mean(axis=0) if len(values) else np.full(values.shape[1], np.nan)
