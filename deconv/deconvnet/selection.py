"""Selection of the activations to project: all others are set to zero (arXiv:1311.2901, section 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from deconv.runtime.dtypes import any_array, array_of
from deconv.validation import check_channels


def select(
    activations: ArrayLike,
    channel: int | ArrayLike | None = None,
    unit: Literal["max", "map"] | ArrayLike = "max",
    *,
    start: Literal["activation", "one"] = "activation",
) -> np.ndarray:
    """Set all activations but the selected ones to zero.

    Args:
        activations: `(n, rows, columns, channels)`, `(n, channels)`, or with any other number of axes between the two.
        channel: One channel for all images, `(n,)` ints for one per image, or None for all channels.
        unit: `"max"`, `"map"`, a position `(row, column)`, or `(n, 2)` ints for one per image (see
            `Deconvnet.project`). In maps of another rank a position has one number per axis, or is `(0, place)` for
            maps with one axis.
        start: `"activation"` or `"one"`: the value of the selected activations.

    Returns:
        Array shaped like `activations`.

    Raises:
        ValueError: If `unit` or `start` is unknown, or a position lies outside the map.
    """
    check_start(start)
    given = array_of("activations", activations)
    if given.ndim < 2:
        raise ValueError(f"activations must have shape (n, rows, columns, channels); received {given.shape}.")
    space = given.shape[1:-1]
    space = (*(1,) * (2 - len(space)), *space)
    count, depth = len(given), given.shape[-1]
    maps = given.reshape(count, *space, depth)
    keep = np.ones(maps.shape, bool)
    if channel is not None:
        channels = check_channels(channel, depth, "of the activations given")
        keep &= np.arange(depth) == np.reshape(channels, (-1, *(1,) * (maps.ndim - 1)))
    if isinstance(unit, str) and unit == "max":
        strongest = np.where(keep, maps, -np.inf).reshape(count, -1).argmax(axis=1)
        keep = np.arange(maps[0].size).reshape(maps.shape[1:]) == strongest.reshape(-1, *(1,) * (maps.ndim - 1))
    elif not (isinstance(unit, str) and unit == "map"):
        if given.ndim == 3 and any_array(unit).shape in ((), (1,)):
            unit = (0, *np.atleast_1d(unit))
        for axis, place in enumerate(check_positions(unit, count, space).T, 1):
            selected = np.arange(maps.shape[axis]) == place[:, None]
            keep &= selected.reshape(count, *(-1 if other == axis else 1 for other in range(1, maps.ndim)))
    value = maps if start == "activation" else np.ones_like(maps)
    return np.where(keep, value, 0).astype(given.dtype).reshape(given.shape)


def locate(
    activations: np.ndarray,
    numbers: np.ndarray,
    channels: np.ndarray | None = None,
    unit: Literal["max"] | ArrayLike = "max",
    *,
    start: Literal["activation", "one"] = "activation",
) -> tuple[np.ndarray, np.ndarray]:
    """Find the position of each unit and the activations at it: `select` for single positions, without the zeros.

    Args:
        activations: `(m, rows, columns, channels)`.
        numbers: `(n,)` ints, the index of the image of each unit.
        channels: `(n,)` ints, the channel of each unit; None for all channels.
        unit: `"max"` for the strongest unit, the first in row-major order if several are equal; a position, or `(n, 2)`
            positions.
        start: `"activation"` or `"one"`.

    Returns:
        `(values, positions)`: the result of `select` at each position, `(n, channels)`, and the positions, `(n, 2)`.

    Raises:
        ValueError: As for `select`.
    """
    check_start(start)
    rows, columns, depth = activations.shape[1:]
    if not isinstance(unit, str) or unit != "max":
        positions = check_positions(unit, len(numbers), (rows, columns))
    else:
        if channels is None:
            strongest = activations.reshape(len(activations), -1).argmax(axis=1)[numbers]
            strongest, channels = np.divmod(strongest, depth)
        else:
            strongest = activations[numbers, :, :, channels].reshape(len(numbers), -1).argmax(axis=1)
        positions = np.stack(np.divmod(strongest, columns), axis=1)
    return only(activations[numbers, positions[:, 0], positions[:, 1]], channels, start), positions


def only(values: np.ndarray, channels: np.ndarray | None, start: Literal["activation", "one"]) -> np.ndarray:
    """Set all but one channel of each vector to zero.

    Args:
        values: `(n, channels)`, the activations at one position per unit.
        channels: `(n,)` ints, the channel of each unit; None to keep all channels.
        start: `"activation"` or `"one"`: the value of the selected channels.

    Returns:
        Array shaped like `values`.
    """
    values = values if start == "activation" else np.ones_like(values)
    return values if channels is None else np.where(np.arange(values.shape[1]) == channels[:, None], values, 0)


def check_start(start: Any) -> None:
    """Check that a value is `"activation"` or `"one"`.

    Raises:
        ValueError: If it is neither.
    """
    if start not in ("activation", "one"):
        raise ValueError(f"start must be 'activation' or 'one'; received {start!r}.")


def check_positions(unit: ArrayLike, count: int, size: Sequence[int]) -> np.ndarray:
    """Check positions and convert them to an array.

    Args:
        unit: One position, or `count` positions, each with one int per axis of the map.
        count: Number of units.
        size: Size of the map.

    Returns:
        Ints `(count, len(size))`.

    Raises:
        ValueError: If they are something else, or lie outside the map.
    """
    try:
        positions = np.broadcast_to(any_array(unit), (count, len(size)))
    except (ValueError, TypeError):
        positions = np.empty(0)
    if not np.issubdtype(positions.dtype, np.integer):
        position = "(row, column) of ints" if len(size) == 2 else f"of {len(size)} ints, one per axis of the map"
        raise ValueError(f"unit must be 'max', 'map' or a position {position}; received {unit!r}.")
    if (positions < 0).any() or (positions >= size).any():
        if len(size) != 2:
            raise ValueError(f"Positions must lie inside the map of shape {tuple(size)}; received {unit!r}.")
        raise ValueError(
            f"The map has rows 0 to {size[0] - 1} and columns 0 to {size[1] - 1}; received position {unit!r}."
        )
    return positions
