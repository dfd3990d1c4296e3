"""Checks of the arguments of networks, with uniform messages."""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeGuard

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
        on_index: Their key in `models.loading.index_weights.INDEX_SOURCES` if the package index carries them.
        has_top: Whether they include the dense layers.
    """

    classes: int
    input_shape: tuple[int, int, int]
    sides: range | None = None
    units: tuple[int, ...] = ()
    file: Path | None = None
    on_index: str | None = None
    has_top: bool = True


def check_input_shape(
    network: str, input_shape: Sequence[int | None], smallest: int, open_sides: bool = False
) -> tuple[int | None, ...]:
    """Check the input shape of a network.

    Args:
        network: Its name, for the message.
        input_shape: The argument `(height, width, channels)`.
        smallest: The smallest side for which the output of the last pooling is not empty.
        open_sides: Whether height and width may both be None.

    Returns:
        Tuple of ints; height and width may be None with `open_sides`.

    Raises:
        ValueError: If it is invalid.
    """
    shape: tuple = tuple(input_shape) if isinstance(input_shape, tuple | list) else (input_shape,)
    sides = shape[2:] if open_sides and shape[:2] == (None, None) else shape
    if not (len(shape) == 3 and all(_is_whole(side) and side >= 1 for side in sides)) or any(
        side < smallest for side in sides[:-1]
    ):
        raise ValueError(
            f"{network}: `input_shape` must be (height, width, channels) with height and width of at least "
            f"{smallest}{', or both None' if open_sides else ''}, received {input_shape!r}."
        )
    return tuple(side if side is None else int(side) for side in shape)


def check_whole(network: str, name: str, value: object) -> int:
    """Check that an argument is a positive whole number.

    Args:
        network: Name of the network or function, for the message.
        name: Name of the argument, for the message.
        value: The argument.

    Returns:
        It as an int.

    Raises:
        ValueError: If it is not a positive whole number.
    """
    if not _is_whole(value) or value < 1:
        raise ValueError(f"{network}: `{name}` must be a positive whole number, received {value!r}.")
    return int(value)


def check_units(network: str, units: int | Sequence[int]) -> tuple[int, int]:
    """Check the sizes of fc6 and fc7.

    Args:
        network: Its name, for the message.
        units: One number for both, or a pair.

    Returns:
        `(fc6, fc7)`.

    Raises:
        ValueError: If they are not one or two positive whole numbers.
    """
    pair: tuple = tuple(units) if isinstance(units, tuple | list) else (units, units)
    if len(pair) != 2 or not all(_is_whole(size) and size >= 1 for size in pair):
        raise ValueError(
            f"{network}: `units` must be one or two positive whole numbers (fc6, fc7), received {units!r}."
        )
    return int(pair[0]), int(pair[1])


def sizes(
    network: str,
    weights: str | Path | None,
    default: Known,
    classes: int | None,
    units: int | Sequence[int] | None,
) -> tuple[int, tuple[int, int]]:
    """Determine the classes and units: the arguments, by default those of the weights.

    Args:
        network: Its name, for the message.
        weights: From `check_weights`; if it is a `Path`, the file is read.
        default: The `Known` with the values that are used if neither arguments nor weights determine them.
        classes, units: The arguments, or None.

    Returns:
        `(classes, (fc6, fc7))`.

    Raises:
        ValueError: If they are not positive whole numbers, or the file cannot be read.
    """
    outputs: dict[str, int] = {}
    if isinstance(weights, Path) and (classes is None or units is None):
        outputs = weight_files.outputs(weights)
    if classes is None:
        classes = outputs.get("predictions", default.classes)
    if units is None:
        units = tuple(outputs.get(layer, size) for layer, size in zip(("fc6", "fc7"), default.units, strict=True))
    return check_whole(network, "classes", classes), check_units(network, units)


def check_rate(network: str, name: str, value: object) -> float:
    """Check that an argument is a number in [0, 1).

    Args:
        network: Its name, for the message.
        name: Name of the argument, for the message.
        value: The argument.

    Returns:
        It as a float.

    Raises:
        ValueError: If it is not a number in this range.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 <= value < 1:
        raise ValueError(f"{network}: `{name}` must be a number in [0, 1), received {value!r}.")
    return float(value)


def check_weights(network: str, weights: str | os.PathLike | None, known: Mapping[str, Known]) -> str | Path | None:
    """Check the argument `weights`.

    Args:
        network: Its name, for the message.
        weights: The argument.
        known: The named weights of the network.

    Returns:
        None, one of the names in `known`, or a `Path`.

    Raises:
        ValueError: If it is none of these; the message lists the names.
    """
    if weights is None or (isinstance(weights, str) and weights in known):
        return weights
    names = ", ".join([*map(repr, known), "None"])
    if not isinstance(weights, str | os.PathLike):
        raise ValueError(f"{network}: `weights` must be {names}, or a path, received {weights!r}.")
    text = os.fspath(weights)
    if text and (text.endswith(weight_files.SUFFIXES) or os.path.exists(text)):
        return Path(text)
    close = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"{network} has no weights {text!r}.{hint} Expected {names}, or the path of a "
        f"{', '.join(weight_files.SUFFIXES)} file."
    )


def check_known(
    network: str,
    weights: str | Path | None,
    known: Known,
    input_shape: Sequence[int | None],
    include_top: bool,
    *,
    classes: int,
    units: tuple[int, ...] = (),
) -> None:
    """Check that named weights fit the other arguments of a network, with or without its dense layers.

    Args:
        network: Its name, for the message.
        weights: Their name, for the message.
        known: The arguments that they fit.
        input_shape: `(height, width, channels)`; height and width are None where the network accepts any.
        include_top: Whether the network has dense layers.
        classes, units: The requested values.

    Raises:
        ValueError: If they do not fit; the message says what to do.
    """
    these, channels = f"{network}: the weights {weights!r}", known.input_shape[2]
    if input_shape[2] != channels:
        remedy = "Convert the images to grey" if channels == 1 else "Repeat the channel of grey images three times"
        raise ValueError(
            f"{these} are for images of {channels} channel{'s' * (channels > 1)}, received input_shape={input_shape}. "
            f"{remedy}, or pass weights=None."
        )
    if not include_top:
        return
    if not known.has_top:
        raise ValueError(
            f"{these} are of the convolutions only, the dense layers are not published with them. Pass "
            "include_top=False."
        )
    if classes != known.classes:
        raise ValueError(
            f"{these} are for {known.classes} classes, received classes={classes}. Pass weights=None, or "
            "include_top=False and add another classifier."
        )
    if units != known.units:
        raise ValueError(
            f"{these} have units={known.units}, received units={units}. Omit `units`, or pass weights=None."
        )
    if known.sides and not all(side is None or side in known.sides for side in input_shape[:2]):
        first, last = known.sides[0], known.sides[-1]
        others = f" (any height and width from {first} to {last} fit)" if last > first else ""
        raise ValueError(
            f"{these} are for input_shape={known.input_shape}, received {input_shape}{others}. Resize the images, "
            "pass weights=None, or pass include_top=False for the convolutions only."
        )


def file_of(weights: str | Path | None, known: Mapping[str, Known], network: str) -> Path | None:
    """The file of checked `weights`, downloaded if it is not included in the package.

    Args:
        weights: From `check_weights`.
        known: `{name: Known}`.
        network: The key of the network in `models.loading.imagenet_weights.SOURCES`.

    Returns:
        `Path`, or None for None.

    Raises:
        ImportError, ConnectionError, ValueError, OSError: See `models.loading.imagenet_weights.imagenet_weights` and
            `models.loading.index_weights.index_weights`.
    """
    if weights is None or isinstance(weights, Path):
        return weights
    on_index = known[weights].on_index
    if on_index is not None:
        from models.loading import index_weights

        return index_weights.index_weights(on_index)
    if known[weights].file is None:
        from models.loading import imagenet_weights

        return imagenet_weights.imagenet_weights(network)
    return known[weights].file


def _is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is an integer; bool is not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
