"""Checks and messages shared by the scripts. Loads no TensorFlow, so that mistakes are reported at once."""

import shlex
import sys

import typer

from deconv.cli.output import fail, output_folder, stopped_by_signals

__all__ = ["check", "command_to_resume", "fail", "interrupted", "output_folder", "sizes", "stopped_by_signals"]


def check(option, value, holds, expected):
    """Check the value of an option; exit with a one-line error if `holds` is False."""
    if not holds:
        fail(f"{option} must be {expected}, received {value}.")


def sizes(option, given):
    """`{layer: size}` from texts such as `"conv3=512"`; None without any. Errors as in `check`."""
    found = {}
    for text in given or ():
        layer, _, size = text.partition("=")
        size = int(size) if size.isdecimal() else 0
        check(option, text, layer and size, "a layer and its size, at least 1, as conv3=512")
        check(option, text, found.setdefault(layer, size) == size, "given once per layer")
    return found or None


def command_to_resume():
    """The command line of this process, with --resume."""
    return shlex.join([sys.executable, *(word for word in sys.argv if word != "--resume"), "--resume"])


def interrupted():
    """Exit after Ctrl-C with a message that says how to resume."""
    typer.echo(f"\nInterrupted. To go on after the last finished epoch:\n  {command_to_resume()}", err=True)
    raise typer.Exit(130) from None
