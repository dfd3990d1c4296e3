"""Checks of the arguments of networks, with uniform messages."""

import difflib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.loading import weight_files


class Known(NamedTuple):
    """Named weights and the arguments that fit them.

    Attributes:
        classes: Number of classes.
        input_shape: `(height, width, channels)` of the training images.
        sides: Heights and widths for which the first dense layer keeps its size; None if all do.
        units: Sizes of the dense layers before the last, where the network has them as an argument.
        file: Their file if they are included in the package; None if they are downloaded.
    """

    classes: int
    input_shape: tuple
    sides: range | None = None
    units: tuple = ()
    file: Path | None = None


def check_input_shape(network, input_shape, smallest, open_sides=False):
    """Check the input shape of a network.

    Args:
        network: Its name, for the message.
        input_shape: The argument.
        smallest: The smallest side for which the output of the last pooling is not empty.
        open_sides: Whether height and width may both be None.

    Returns:
        Tuple of ints; height and width may be None with `open_sides`.

    Raises:
        ValueError: If it is invalid.
    """
    shape = tuple(input_shape) if isinstance(input_shape, tuple | list) else (input_shape,)
    sides = shape[2:] if open_sides and shape[:2] == (None, None) else shape
    if not (len(shape) == 3 and all(_is_whole(side) and side >= 1 for side in sides)) or any(
        side < smallest for side in sides[:-1]
    ):
        raise ValueError(
            f"{network}: `input_shape` must be (height, width, channels) with height and width of at least "
            f"{smallest}{', or both None' if open_sides else ''}, got {input_shape!r}."
        )
    return tuple(side if side is None else int(side) for side in shape)


def check_whole(network, name, value):
    """Check that an argument is a positive whole number.

    Raises:
        ValueError: If it is not.
    """
    if not _is_whole(value) or value < 1:
        raise ValueError(f"{network}: `{name}` must be a positive whole number, got {value!r}.")
    return int(value)


def check_units(network, units):
    """Sizes of fc6 and fc7 as a pair; one number is used for both.

    Raises:
        ValueError: If they are invalid.
    """
    pair = tuple(units) if isinstance(units, tuple | list) else (units, units)
    if len(pair) != 2 or not all(_is_whole(size) and size >= 1 for size in pair):
        raise ValueError(f"{network}: `units` must be one or two positive whole numbers (fc6, fc7), got {units!r}.")
    return tuple(map(int, pair))


def sizes(network, weights, usual, classes, units):
    """Classes and units from the arguments; by default those of the weights.

    Args:
        network: Its name, for the message.
        weights: From `check_weights`; if it is a `Path`, the file is read.
        usual: The `Known` with the values if neither arguments nor weights determine them.
        classes, units: The arguments, or None.

    Returns:
        `(classes, (fc6, fc7))`.

    Raises:
        ValueError: If they are not positive whole numbers, or the file cannot be read.
    """
    found = {}
    if isinstance(weights, Path) and (classes is None or units is None):
        found = weight_files.outputs(weights)
    if classes is None:
        classes = found.get("predictions", usual.classes)
    if units is None:
        units = tuple(found.get(layer, size) for layer, size in zip(("fc6", "fc7"), usual.units, strict=True))
    return check_whole(network, "classes", classes), check_units(network, units)


def check_rate(network, name, value):
    """Check a rate in [0, 1).

    Raises:
        ValueError: If it is not in this range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value < 1:
        raise ValueError(f"{network}: `{name}` must be a number in [0, 1), got {value!r}.")
    return float(value)


def check_weights(network, weights, known):
    """The value of the argument `weights`: None, one of the names in `known`, or a `Path`.

    Raises:
        ValueError: If it is none of these.
    """
    if weights is None or (isinstance(weights, str) and weights in known):
        return weights
    takes = ", ".join([*map(repr, known), "None"])
    if not isinstance(weights, str | os.PathLike):
        raise ValueError(f"{network}: `weights` must be {takes}, or a path, got {weights!r}.")
    text = os.fspath(weights)
    if text and (text.endswith(weight_files.SUFFIXES) or os.path.exists(text)):
        return Path(text)
    close = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"{network} has no weights {text!r}.{hint} It takes {takes}, or the path of a "
        f"{', '.join(weight_files.SUFFIXES)} file."
    )


def check_known(network, weights, known, input_shape, include_top, *, classes, units=()):
    """Check that named weights fit the other arguments of a network, with or without its dense layers.

    Args:
        network: Its name, for the message.
        weights: Their name, for the message.
        known: The arguments that they fit.
        input_shape: `(height, width, channels)`; height and width are None where the network takes any.
        include_top: Whether the network has dense layers.
        classes, units: The requested values.

    Raises:
        ValueError: If they do not fit; the message says what to do.
    """
    these, channels = f"{network}: the weights {weights!r}", known.input_shape[2]
    if input_shape[2] != channels:
        way = "Convert the images to grey" if channels == 1 else "Repeat the channel of grey images three times"
        raise ValueError(
            f"{these} are for images of {channels} channel{'s' * (channels > 1)}, got input_shape={input_shape}. "
            f"{way}, or take weights=None."
        )
    if not include_top:
        return
    if classes != known.classes:
        raise ValueError(
            f"{these} tell {known.classes} classes apart, got classes={classes}. Take weights=None, or "
            "include_top=False and a head of your own."
        )
    if units != known.units:
        raise ValueError(
            f"{these} have units={known.units}, got units={units}. Leave `units` out, or take weights=None."
        )
    if known.sides and not all(side is None or side in known.sides for side in input_shape[:2]):
        also = f" (any height and width from {known.sides[0]} to {known.sides[-1]} fit)" if known.sides[1:] else ""
        raise ValueError(
            f"{these} are for input_shape={known.input_shape}, got {input_shape}{also}. Resize the images, take "
            "weights=None, or include_top=False for the convolutions alone."
        )


def file_of(weights, known, network):
    """The file of checked `weights`, downloaded if it is not included in the package.

    Args:
        weights: From `check_weights`.
        known: `{name: Known}`.
        network: The key of the network in `models.loading.imagenet_weights.SOURCES`.

    Returns:
        `Path`, or None for None.

    Raises:
        ImportError, ConnectionError, ValueError, OSError: See `models.loading.imagenet_weights.imagenet_weights`.
    """
    if weights not in known:
        return weights
    if known[weights].file is None:
        from models.loading import imagenet_weights

        return imagenet_weights.imagenet_weights(network)
    return known[weights].file


def _is_whole(value):
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
