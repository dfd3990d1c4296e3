"""Which activations are sent down: all else is set to zero (arXiv:1311.2901, section 2.1)."""

import numpy as np

from deconv.runtime.dtypes import any_array, array_of
from deconv.validation import check_channels


def select(activations, channel=None, unit="max", *, start="activation"):
    """Set all other activations to zero.

    Args:
        activations: `(n, rows, columns, channels)`, `(n, channels)`, or with any other number of axes between the two.
        channel: One channel for all images, `(n,)` ints for one each, or None for all channels.
        unit: `"max"`, `"map"`, a position `(row, column)`, or `(n, 2)` ints for one each (see `Deconvnet.project`). In
            maps of another rank a position has a number for each of their axes, or is `(0, place)` where there is one.
        start: `"activation"` or `"one"`, the value of what is left.

    Returns:
        Array shaped like `activations`.

    Raises:
        ValueError: If `unit` or `start` is unknown, or a position lies outside the map.
    """
    check_start(start)
    activations = array_of("activations", activations)
    if activations.ndim < 2:
        raise ValueError(f"activations must have shape (n, rows, columns, channels); received {activations.shape}.")
    space = activations.shape[1:-1]
    space = (*(1,) * (2 - len(space)), *space)
    count, depth = len(activations), activations.shape[-1]
    maps = activations.reshape(count, *space, depth)
    keep = np.ones(maps.shape, bool)
    if channel is not None:
        channel = check_channels(channel, depth, "of the activations given")
        keep &= np.arange(depth) == np.reshape(channel, (-1, *(1,) * (maps.ndim - 1)))
    if isinstance(unit, str) and unit == "max":
        strongest = np.where(keep, maps, -np.inf).reshape(count, -1).argmax(axis=1)
        keep = np.arange(maps[0].size).reshape(maps.shape[1:]) == strongest.reshape(-1, *(1,) * (maps.ndim - 1))
    elif not (isinstance(unit, str) and unit == "map"):
        if activations.ndim == 3 and any_array(unit).shape in ((), (1,)):
            unit = (0, *np.atleast_1d(unit))
        for axis, place in enumerate(check_positions(unit, count, space).T, 1):
            there = np.arange(maps.shape[axis]) == place[:, None]
            keep &= there.reshape(count, *(-1 if other == axis else 1 for other in range(1, maps.ndim)))
    value = maps if start == "activation" else np.ones_like(maps)
    return np.where(keep, value, 0).astype(activations.dtype).reshape(activations.shape)


def locate(activations, numbers, channels=None, unit="max", *, start="activation"):
    """`select` for single positions, without the zeros: where each unit is, and the activations there.

    Args:
        activations: `(m, rows, columns, channels)`.
        numbers: `(n,)` ints, whose activations each unit is taken from.
        channels: `(n,)` ints, one for each; None for all.
        unit: `"max"` for the strongest, the first in row-major order of several; a position, or `(n, 2)` of them.
        start: `"activation"` or `"one"`.

    Returns:
        `(values, positions)`: `(n, channels)` as `select` leaves them at the position, which is `(n, 2)`.
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


def only(values, channels, start):
    """Vectors `(n, channels)` with all but one channel of each set to zero; with None, all are left."""
    values = values if start == "activation" else np.ones_like(values)
    return values if channels is None else np.where(np.arange(values.shape[1]) == channels[:, None], values, 0)


def check_start(start):
    """What is sent down.

    Raises:
        ValueError: If it is neither the activation nor one.
    """
    if start not in ("activation", "one"):
        raise ValueError(f"start must be 'activation' or 'one'; received {start!r}.")


def check_positions(unit, count, size):
    """A position, or one for each, as ints `(count, axes of the map)`.

    Raises:
        ValueError: If they are something else, or lie outside a map of `size`.
    """
    try:
        positions = np.broadcast_to(any_array(unit), (count, len(size)))
    except (ValueError, TypeError):
        positions = np.empty(0)
    if not np.issubdtype(positions.dtype, np.integer):
        place = "(row, column)" if len(size) == 2 else f"of {len(size)} numbers, one for each axis of the map,"
        raise ValueError(f"unit must be 'max', 'map' or a position {place} of ints; received {unit!r}.")
    if (positions < 0).any() or (positions >= size).any():
        if len(size) != 2:
            raise ValueError(f"The map has the axes {tuple(size)}; received position {unit!r}.")
        raise ValueError(
            f"The map has rows 0 to {size[0] - 1} and columns 0 to {size[1] - 1}; received position {unit!r}."
        )
    return positions
