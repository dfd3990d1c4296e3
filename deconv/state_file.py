"""A saved state: arrays and what they are, in one `.npz` file without pickles."""

import json
import os
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

FORMAT, VERSION = "deconvnet top-k", 1
_DAMAGED = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)  # all that zipfile says of such files


def check_place(path):
    """Where a file is to be written, as a `Path`.

    Raises:
        ValueError: If it is a folder, or its own folder is not there or cannot be written to.
    """
    path = Path(path).expanduser()
    folder = path.resolve().parent
    if path.is_dir():
        raise ValueError(f"The checkpoint '{path}' is a folder; give the path of a file, such as '{path / 'top.npz'}'.")
    if not folder.is_dir():
        raise ValueError(f"The folder of the checkpoint '{path}' does not exist. Make it first, or give another path.")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"The folder of the checkpoint '{path}' cannot be written to. Give another path.")
    return path


def save(path, about, arrays):
    """Write a state under a temporary name in the same folder, then put it in the place of what was there.

    Whoever reads the file, also after the writing was killed or the power failed, finds the old state or the new one.

    Args:
        path: The file; its name is taken as it is.
        about: What the arrays are, as JSON can hold it.
        arrays: `{name: array}`.
    """
    path = Path(path).expanduser()
    described = json.dumps({"format": FORMAT, "version": VERSION, **about})
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, about=np.array(described), **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


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
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            if (about["format"], about["version"]) != (FORMAT, VERSION):
                raise ValueError(
                    f"it is '{about['format']}', version {about['version']}; expected '{FORMAT}', {VERSION}"
                )
            arrays = {name: file[name] for name in file.files}
        yield about, arrays
    except FileNotFoundError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, EOFError, OSError, *_DAMAGED) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"'{path}' holds no state that can be read: it is damaged, or something else ({told}). Give another path, "
            "or delete the file to begin anew."
        ) from error
