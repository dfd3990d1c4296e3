"""A saved state: arrays and what they are, in one `.npz` file without pickles."""

import json
import math
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from deconv.runtime.atomic_files import replacing
from deconv.runtime.json_files import parse_object
from deconv.runtime.npz_files import read_arrays

FORMAT, VERSION = "deconvnet top-k", 1


def check_place(path):
    """Where a file is, or is to be written, as a `Path`.

    Raises:
        ValueError: If it is a folder, or its own folder is not there.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise ValueError(f"The checkpoint '{path}' is a folder; give the path of a file, such as '{path / 'top.npz'}'.")
    if not path.resolve().parent.is_dir():
        raise ValueError(f"The folder of the checkpoint '{path}' does not exist. Make it first, or give another path.")
    return path


def check_writable(path):
    """See that a file can be written at a `Path`.

    Raises:
        ValueError: If its folder cannot be written to.
    """
    if not os.access(path.resolve().parent, os.W_OK):
        raise ValueError(f"The folder of the checkpoint '{path}' cannot be written to. Give another path.")


def save(path, about, arrays):
    """Write a state under a temporary name in the same folder, then put it in the place of what was there.

    Whoever reads the file, also after the writing was killed or the power failed, finds the old state or the new one.

    Args:
        path: The file; its name is taken as it is.
        about: What the arrays are, as JSON can hold it.
        arrays: `{name: array}`.

    Raises:
        OSError: If it cannot be written; the message names the file.
    """
    path = Path(path).expanduser()
    described = json.dumps({"format": FORMAT, "version": VERSION, **about})
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez(file, about=np.array(described), **arrays)


@contextmanager
def reading(path):
    """`with reading(path) as (about, arrays):` make a state of what `save` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, of another version, or no such state at all; or if what is made of it inside goes
            wrong. The message names the file.
    """
    path = Path(path).expanduser()
    try:
        arrays = read_arrays(path, lambda declared: _check_declared(declared, path.stat().st_size))
        about = parse_object(str(arrays["about"]), format=str, version=int)
        if (about["format"], about["version"]) != (FORMAT, VERSION):
            raise ValueError(f"it is '{about['format']}', version {about['version']}; expected '{FORMAT}', {VERSION}")
        yield about, arrays
    except FileNotFoundError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, OSError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"'{path}' holds no state that can be read: it is damaged, or something else ({told}). Give another path, "
            "or delete the file to begin anew."
        ) from error


def _check_declared(declared, size):
    """Before anything is read: what `save` writes is not compressed, and its description is a text."""
    shape, dtype = declared.get("about", ((0,), np.dtype(float)))
    if shape != () or dtype.kind != "U":
        raise ValueError("it does not say what it is")
    if sum(math.prod(shape) * dtype.itemsize for shape, dtype in declared.values()) > size:
        raise ValueError("its arrays are compressed, which those of a state are not")
