"""An array in a file, with its declared properties, before it is read."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SMALL = 2**26  # bytes; smaller arrays are never rejected as decompression bombs
EXPANSION = 100  # compression hardly reduces trained weights


class Stored(NamedTuple):
    """One array of a file.

    Attributes:
        name: Its name in the file, for messages.
        shape: As declared in the file.
        dtype: As declared in the file.
        on_disk: Its size in the file, in bytes.
        read: Function that reads and returns the array. It needs no more memory than `shape` and `dtype` imply.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    on_disk: int
    read: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        """Size of the array in memory, in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def plain(name: object) -> str:
    """A name from a file for a message: on one line, and of limited length."""
    text = repr(str(name))[1:-1]
    return text if len(text) <= 120 else f"{text[:120]}…"


def check_expansion(name: str, nbytes: int, on_disk: int) -> None:
    """Reject arrays far larger than their data in the file, where their size is not limited otherwise.

    Args:
        name: Description of the array, for the message.
        nbytes: Its size in memory, in bytes.
        on_disk: Its size in the file, in bytes.

    Raises:
        ValueError: If the array is larger than `SMALL` and more than `EXPANSION` times its size in the file.
    """
    if nbytes > max(SMALL, EXPANSION * on_disk):
        raise ValueError(
            f"{name} would take {nbytes / 2**20:,.0f} MiB and is stored in {on_disk / 2**20:,.2f} MiB: more than "
            f"{EXPANSION} times as much, which trained weights never are. If it is correct, save it without compression"
        )
