"""Files of saved states: arrays and their description in one `.npz` file without pickles."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from deconv.runtime.atomic_files import replacing
from deconv.runtime.json_files import parse_object
from deconv.runtime.npz_files import read_arrays

FORMAT, VERSION = "deconvnet top-k", 1


def check_place(path: str | os.PathLike) -> Path:
    """Check the path of an existing or future file and convert it to a `Path`.

    Raises:
        ValueError: If the path is a folder, or its folder does not exist.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        raise ValueError(
            f"The checkpoint '{place}' is a folder; give the path of a file, such as '{place / 'top.npz'}'."
        )
    if not place.resolve().parent.is_dir():
        raise ValueError(f"The folder of the checkpoint '{place}' does not exist. Make it first, or give another path.")
    return place


def check_writable(path: Path) -> None:
    """Check that a file can be written at a path.

    Raises:
        ValueError: If its folder cannot be written to.
    """
    if not os.access(path.resolve().parent, os.W_OK):
        raise ValueError(f"The folder of the checkpoint '{path}' cannot be written to. Give another path.")


def save(path: str | os.PathLike, about: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write a state under a temporary name in the same folder, then replace the file at once.

    A reader finds the old or the new state, also after the process was killed or the power failed during writing.

    Args:
        path: The file; no suffix is added to its name.
        about: Description of the arrays, serializable as JSON; its `format`, if any, names another kind of state.
        arrays: `{name: array}`.

    Raises:
        OSError: If the file cannot be written; the message names it.
    """
    description = json.dumps({"format": FORMAT, "version": VERSION, **about})
    with replacing(Path(path).expanduser()) as partial, open(partial, "wb") as file:
        np.savez(file, about=np.array(description), **arrays)


@contextmanager
def reading(path: str | os.PathLike, format: str = FORMAT) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Context manager that reads what `save` has written: `with reading(path) as (about, arrays):`.

    Errors inside the block, where the state is built, count as errors of the file.

    Args:
        path: The file.
        format: The expected kind of state.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is damaged, of another version, or not a state; or if the block raises an error. The
            message names the file.
    """
    place = Path(path).expanduser()
    try:
        arrays = read_arrays(place, lambda declared: _check_declared(declared, place.stat().st_size))
        about = parse_object(str(arrays["about"]), format=str, version=int)
        if (about["format"], about["version"]) != (format, VERSION):
            raise ValueError(f"it is '{about['format']}', version {about['version']}; expected '{format}', {VERSION}")
        yield about, arrays
    except FileNotFoundError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, OSError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"'{place}' holds no state that can be read: it is damaged, or not a checkpoint ({reason}). Give another "
            "path, or delete the file to start again."
        ) from error


def _check_declared(declared: Mapping[str, tuple[tuple[int, ...], np.dtype]], size: int) -> None:
    """Check the headers of the arrays before they are read: uncompressed, and with a text as the description."""
    shape, dtype = declared.get("about", ((0,), np.dtype(float)))
    if shape != () or dtype.kind != "U":
        raise ValueError("it has no description")
    if sum(math.prod(shape) * dtype.itemsize for shape, dtype in declared.values()) > size:
        raise ValueError("its arrays are compressed; those of a checkpoint are not")
