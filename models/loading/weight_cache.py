"""The folder of converted weights, beside Keras's own files."""

from __future__ import annotations

import contextlib
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from models.loading.exclusive import exclusive


def cache_folder() -> Path:
    """`$KERAS_HOME/models`, by default `~/.keras/models`."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "models"


def is_complete(path: str | os.PathLike, note: str) -> bool:
    """Whether a `.npz` file has this comment and is complete.

    Args:
        path: The file; it may be missing.
        note: The comment, see `models.convert.note_of`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == note.encode() and archive.testzip() is None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):
        return False


def note_in(path: str | os.PathLike) -> str:
    """The comment of a `.npz` file, see `models.convert.note_of`; empty if it has none or is not such a file.

    Args:
        path: The file; it may be missing.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment.decode(errors="replace")
    except (OSError, zipfile.BadZipFile, ValueError):
        return ""


def cached(path: Path, note: str, file: str, make: Callable[[], None], by_hand: str) -> Path:
    """A file of converted weights, made where it is missing. Other processes wait for the one that makes it.

    Args:
        path: The file.
        note: Its comment.
        file: Name of the published file, for messages.
        make: Function that writes the file.
        by_hand: How to obtain the weights without the download, for messages.

    Returns:
        `path`.

    Raises:
        ConnectionError, ValueError: From `make`; the message says how to obtain the weights otherwise.
        OSError: If the cache cannot be written, or the disk is full.
    """
    if is_complete(path, note):
        return path
    with _explained(path, file, by_hand):
        path.parent.mkdir(parents=True, exist_ok=True)
        notice = f"Another process is downloading {file}; waiting for it."
        with exclusive(path.with_name(f"{file}.lock"), notice):
            if not is_complete(path, note):
                make()
    return path


@contextlib.contextmanager
def _explained(path: Path, file: str, by_hand: str) -> Iterator[None]:
    """Add the way out to the message of an error."""
    try:
        yield
    except ConnectionError as error:
        raise ConnectionError(f"{error} {by_hand}") from error
    except OSError as error:
        reason = error.strerror or (os.strerror(error.errno) if error.errno else error)
        raise OSError(
            f"The weights in {file} cannot be written to '{error.filename or path.parent}': {reason}. "
            "Free disk space, or set the environment variable KERAS_HOME to another folder."
        ) from error
    except ValueError as error:
        raise ValueError(f"{error} {by_hand}") from error
