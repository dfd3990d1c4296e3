"""An array in a file: what the file says of it, before any of it is read."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SMALL = 2**26  # bytes: what is smaller is never called a bomb
EXPANSION = 100  # weights of a trained network hardly get smaller by compression


class Stored(NamedTuple):
    """One array of a file.

    Attributes:
        name: What the file calls it, for messages.
        shape: As the file declares it.
        dtype: As the file declares it.
        on_disk: Bytes that it takes in the file.
        read: Reads and returns the array. Takes no more memory than `shape` and `dtype` need.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    on_disk: int
    read: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes of the array in memory."""
        return math.prod(self.shape) * self.dtype.itemsize


def plain(name: object) -> str:
    """A name from a file for a message: in one line, and not endless."""
    text = repr(str(name))[1:-1]
    return text if len(text) <= 120 else f"{text[:120]}…"


def check_expansion(name: str, nbytes: int, on_disk: int) -> None:
    """Refuse what would take far more memory than its file suggests, where nothing else limits its size.

    Raises:
        ValueError: If it is larger than `SMALL` and more than `EXPANSION` times what is stored.
    """
    if nbytes > max(SMALL, EXPANSION * on_disk):
        raise ValueError(
            f"{name} would take {nbytes / 2**20:,.0f} MiB and is stored in {on_disk / 2**20:,.2f} MiB: more than "
            f"{EXPANSION} times as much, which no trained weights are. Save it without compression if it is right"
        )
