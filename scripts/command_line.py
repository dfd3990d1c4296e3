"""What the scripts say and check alike. Loads no TensorFlow, so that a mistake is answered at once."""

import contextlib
import shlex
import sys
import tempfile

import typer


def check(option, value, holds, expected):
    """Fail in one line if an option has a value that it cannot have."""
    if not holds:
        fail(f"{option} must be {expected}, got {value}.")


def fail(message, status=2):
    """End with one line on the standard error and an exit status."""
    typer.echo(f"Error: {' '.join(str(message).split())}", err=True)
    raise typer.Exit(status) from None


def sizes(option, given):
    """`{layer: size}` from texts like `"conv3=512"`, or None where none is given. Fails in one line, as `check`."""
    found = {}
    for text in given or ():
        layer, _, size = text.partition("=")
        size = int(size) if size.isdecimal() else 0
        check(option, text, layer and size, "a layer and its size, at least 1, as conv3=512")
        check(option, text, found.setdefault(layer, size) == size, "given once for every layer")
    return found or None


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
                f"--out: the folder '{out}' cannot be made or written: {error.strerror}. Choose another."
            ) from error
        yield
    finally:
        for folder in new:
            with contextlib.suppress(OSError):  # it is not empty, or was never made
                folder.rmdir()


def command_to_resume():
    """The command that started this process, with --resume."""
    return shlex.join([sys.executable, *(word for word in sys.argv if word != "--resume"), "--resume"])


def interrupted():
    """End after Ctrl-C, saying how to go on."""
    typer.echo(f"\nInterrupted. To go on after the last finished epoch:\n  {command_to_resume()}", err=True)
    raise typer.Exit(130) from None
