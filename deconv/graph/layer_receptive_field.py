"""Receptive fields of single layers and of chains of layers.

Output position `r` of a filter of `k` cells with stride `s` and `p` cells of padding before the map depends on the
input cells `r * s - p` to `r * s - p + k`, the end exclusive. `ReceptiveField` is that `(k, s, p)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deconv.ops.pooling import pair


class ReceptiveField(NamedTuple):
    """`cells` input cells from `position * strides - before` on; each field is `(rows, columns)`."""

    cells: tuple[int, int]
    strides: tuple[int, int]
    before: tuple[int, int]

    def input_windows(self, windows: np.ndarray) -> np.ndarray:
        """Return the input windows on which output windows `(n, 4)` depend."""
        first, last = windows[:, :2] * self.strides, (windows[:, 2:] - 1) * self.strides
        return np.concatenate([first - self.before, last - self.before + self.cells], axis=1)

    def output_windows(self, windows: np.ndarray) -> np.ndarray:
        """Return the output windows (projective field) that depend on input windows `(n, 4)`."""
        first, last = windows[:, :2] + self.before, windows[:, 2:] - 1 + self.before
        return np.concatenate([(first - self.cells) // self.strides + 1, last // self.strides + 1], axis=1)

    def composed_with(self, below: ReceptiveField) -> ReceptiveField:
        """Return the receptive field of this layer composed with `below`, that of the layer before it."""
        cells, strides, before = map(np.array, below)
        return of((np.array(self.cells) - 1) * strides + cells, self.strides * strides, self.before * strides + before)

    def union(self, other: ReceptiveField) -> ReceptiveField | None:
        """Return the smallest receptive field that contains both; None if their strides differ."""
        if self.strides != other.strides:
            return None
        before = np.maximum(self.before, other.before)
        after = np.maximum(np.subtract(self.cells, self.before), np.subtract(other.cells, other.before))
        return of(before + after, self.strides, before)


def of(
    cells: Sequence[int] | np.ndarray, strides: Sequence[int] | np.ndarray, before: Sequence[int] | np.ndarray
) -> ReceptiveField:
    """Return a `ReceptiveField` of pairs of any type."""
    return ReceptiveField(pair(cells), pair(strides), pair(before))


ONE = ReceptiveField((1, 1), (1, 1), (0, 0))
"""The receptive field of a pointwise layer: the cell at the same position."""
