"""Which cells of a map a position behind a filter sees: the arithmetic of one layer and of chains of layers.

A position `r` behind a filter of `k` cells with stride `s` and `p` cells of padding before the map sees the cells
`r * s - p` to `r * s - p + k`; `ReceptiveField` is that `(k, s, p)`.
"""

from typing import NamedTuple

import numpy as np


class ReceptiveField(NamedTuple):
    """Which cells a position sees: `cells` of them from `position * strides - before` on, each `(rows, columns)`."""

    cells: tuple[int, int]
    strides: tuple[int, int]
    before: tuple[int, int]

    def seen(self, windows):
        """Downwards: the cells that windows of positions `(n, 4)` see."""
        first, last = windows[:, :2] * self.strides, (windows[:, 2:] - 1) * self.strides
        return np.concatenate([first - self.before, last - self.before + self.cells], axis=1)

    def touched(self, windows):
        """Upwards: the positions that see a cell of windows `(n, 4)`."""
        first, last = windows[:, :2] + self.before, windows[:, 2:] - 1 + self.before
        return np.concatenate([(first - self.cells) // self.strides + 1, last // self.strides + 1], axis=1)

    def through(self, below):
        """The reach of a position behind this one and, further down, `below`."""
        cells, strides, before = map(np.array, below)
        return of((np.array(self.cells) - 1) * strides + cells, self.strides * strides, self.before * strides + before)

    def union(self, other):
        """What either sees, as one window; None if they move at different strides, so that no window has one size."""
        if self.strides != other.strides:
            return None
        before = np.maximum(self.before, other.before)
        after = np.maximum(np.subtract(self.cells, self.before), np.subtract(other.cells, other.before))
        return of(before + after, self.strides, before)


def of(cells, strides, before):
    return ReceptiveField(*(tuple(int(length) for length in side) for side in (cells, strides, before)))


ONE = ReceptiveField((1, 1), (1, 1), (0, 0))
"""A position and the cell at the same place."""
