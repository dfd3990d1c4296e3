"""Output of the commands: complete figures, or none and an error message of one line."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from deconv.imaging.image_files import printable

if TYPE_CHECKING:
    from deconv.figures import Picture, Subject


@contextlib.contextmanager
def reporting_errors(out: Path) -> Iterator[None]:
    """Context manager for a command that writes into a folder; the folder is created and checked to be writable.

    An error with a message for the user is printed as one line on the standard error, with exit status 2; Ctrl-C
    likewise, with 130. Created folders are removed if nothing has been written into them.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides warnings such as that of a missing GPU
    os.environ["MPLBACKEND"] = "Agg"
    try:
        with stopped_by_signals(), output_folder(out):
            yield
    except KeyboardInterrupt:
        fail("interrupted; unfinished files have been removed.", 130)
    except (ValueError, OSError, ImportError) as error:
        from deconv.runtime import error_messages

        fail(error_messages.reason(error) if error_messages.is_wrapped(error) else error)
    except Exception as error:
        tensorflow = sys.modules.get("tensorflow")  # it may not be loaded
        if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
            raise
        from deconv import datasets

        fail(datasets.reason(error))


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Context manager in which the signal SIGTERM, as sent by schedulers, is treated as Ctrl-C."""

    def stop(number, frame):
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signal handlers
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


error_printed = False
"""Whether the reason for the end of the command has been printed."""


def fail(message: Any, status: int = 2) -> NoReturn:
    """Print one line on the standard error and exit with a status."""
    global error_printed
    error_printed = True
    typer.echo(f"Error: {' '.join(str(message).split())}", err=True)
    raise typer.Exit(status) from None


def note(message: Any) -> None:
    """Print one line on the standard error; the command continues."""
    typer.echo(f"Note: {' '.join(str(message).split())}", err=True)


@contextlib.contextmanager
def output_folder(out: Path) -> Iterator[None]:
    """Context manager that creates a folder and checks that it is writable, before TensorFlow is loaded.

    Created folders are removed at the end if nothing has been written into them.

    Raises:
        ValueError: If it cannot be created or written.
    """
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        try:
            out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=out):
                pass
        except OSError as error:
            raise ValueError(
                f"--out: the folder '{printable(out)}' cannot be created or written: {error.strerror}. Choose another."
            ) from error
        yield
    finally:
        for folder in new:
            with contextlib.suppress(OSError):  # it is not empty, or was not created
                folder.rmdir()


def write(subject: Subject, pictures: Iterable[Picture], out: Path, arguments: Mapping[str, Any]) -> None:
    """Write figures with their numbers and provenance; all of them, or none if one fails.

    Args:
        subject: The `figures.Subject`.
        pictures: Iterable of `figures.Picture`s.
        out: The folder; figures of the same names in it are replaced.
        arguments: The options of the command, for the record.
    """
    from deconv import figures
    from deconv.figures.picture import provenance
    from deconv.runtime.atomic_files import unfinished_folder

    about = {**provenance(subject), "arguments": {name: _plain(value) for name, value in arguments.items()}}
    with unfinished_folder(out) as unfinished:
        names = []
        try:
            for picture in pictures:
                figures.save(picture, unfinished, about)
                names.append(picture.name)
            for file in sorted(unfinished.iterdir()):
                os.replace(file, out / file.name)
        except OSError as error:  # it names a temporary file that no longer exists
            raise OSError(str(error).replace(str(unfinished), str(out))) from error
    for name in names:
        typer.echo(f"Written: {printable(out / name)}.png, .pdf and .json")


def load_tensorflow() -> None:
    """Load TensorFlow without its messages on the standard error, independent of its log level."""
    if "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    saved = os.dup(2)  # they are written by C++, so the file descriptor is redirected
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        importlib.import_module("tensorflow")
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def in_terminal() -> bool:
    """Whether the output is a terminal, so that a progress bar is useful."""
    return sys.stderr.isatty()


def _plain(value):
    return str(value) if isinstance(value, Path) else value
