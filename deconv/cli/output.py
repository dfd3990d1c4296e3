"""What a command leaves behind: finished pictures, or nothing and one line that says why."""

import contextlib
import importlib
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

import typer

from deconv.imaging.image_files import printable


@contextlib.contextmanager
def answering(out):
    """`with answering(out):` run a command that writes into a folder, which is made, and seen to be writable.

    An error that has a message for the user becomes one line on the standard error and exit status 2, Ctrl-C one and
    130. What was made of the folder is removed if nothing has been written into it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # that there is no GPU is nothing to act on
    os.environ["MPLBACKEND"] = "Agg"
    try:
        with stopped_by_signals(), made(out):
            yield
    except KeyboardInterrupt:
        fail("interrupted; what is unfinished has been removed.", 130)
    except (ValueError, OSError, ImportError) as error:
        from deconv.runtime import error_messages

        fail(error_messages.reason(error) if error_messages.is_wrapped(error) else error)
    except Exception as error:
        tensorflow = sys.modules.get("tensorflow")  # it may not have been loaded yet
        if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
            raise
        from deconv import datasets

        fail(datasets.reason(error))


@contextlib.contextmanager
def stopped_by_signals():
    """`with stopped_by_signals():` a request to end (SIGTERM), as a scheduler sends it, is taken as Ctrl-C is."""

    def stop(number, frame):
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # who alone may say what signals do
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


said = False
"""Whether the user has been told why the command ends."""


def fail(message, status=2):
    """End with one line on the standard error and an exit status."""
    global said
    said = True
    typer.echo(f"Error: {' '.join(str(message).split())}", err=True)
    raise typer.Exit(status) from None


def note(message):
    """Say something that the user should know, in one line on the standard error; the command goes on."""
    typer.echo(f"Note: {' '.join(str(message).split())}", err=True)


@contextlib.contextmanager
def made(out):
    """Make a folder and see that it can be written, before TensorFlow takes its seconds to load.

    What was made is removed at the end if nothing has been written into it.

    Raises:
        ValueError: If it cannot be made or written.
    """
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        try:
            out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=out):
                pass
        except OSError as error:
            raise ValueError(
                f"--out: the folder '{printable(out)}' cannot be made or written: {error.strerror}. Choose another."
            ) from error
        yield
    finally:
        for folder in new:
            with contextlib.suppress(OSError):  # it is not empty, or was never made
                folder.rmdir()


def write(subject, pictures, out, arguments):
    """Write pictures with their numbers and what they were made of; all of them, or none if one fails.

    Args:
        subject: The `figures.Subject`.
        pictures: Iterable of `figures.Picture`s.
        out: The folder; pictures of the same names in it are replaced.
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
        except OSError as error:  # which names a file that is gone by now
            raise OSError(str(error).replace(str(unfinished), str(out))) from error
    for name in names:
        typer.echo(f"Written: {printable(out / name)}.png, .pdf and .json")


def load_tensorflow():
    """Load TensorFlow without the lines that it writes while it loads, whatever its log level."""
    if "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    kept = os.dup(2)  # they come from C++, so that it is the file that must be turned away
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        importlib.import_module("tensorflow")
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def in_terminal():
    """Whether somebody watches, so that a progress bar is of use."""
    return sys.stderr.isatty()


def _plain(value):
    return str(value) if isinstance(value, Path) else value
