"""Checks and messages shared by the scripts. TensorFlow is not loaded, so that errors are reported immediately."""

import shlex
import sys
from collections.abc import Sequence
from typing import NoReturn

import typer

from deconv.cli.output import fail, output_folder, stopped_by_signals

__all__ = ["check", "command_to_resume", "fail", "interrupted", "output_folder", "sizes", "stopped_by_signals"]


def check(option: str, value: object, holds: object, expected: str) -> None:
    """Check the value of an option; exit with a one-line error if `holds` is false."""
    if not holds:
        fail(f"{option} must be {expected}, received {value}.")


def sizes(option: str, values: Sequence[str] | None) -> dict[str, int] | None:
    """Convert values such as `"conv3=512"` to `{layer: size}`, or to None if there are none. Errors as in `check`."""
    size_of: dict[str, int] = {}
    for text in values or ():
        layer, _, digits = text.partition("=")
        size = int(digits) if digits.isdecimal() else 0
        check(option, text, layer and size, "a layer and its size, at least 1, such as conv3=512")
        check(option, text, size_of.setdefault(layer, size) == size, "given once per layer")
    return size_of or None


def command_to_resume() -> str:
    """The command line of this process, with --resume."""
    return shlex.join([sys.executable, *(word for word in sys.argv if word != "--resume"), "--resume"])


def interrupted() -> NoReturn:
    """Exit after Ctrl-C with a message that says how to resume."""
    typer.echo(f"\nInterrupted. To resume after the last finished epoch:\n  {command_to_resume()}", err=True)
    raise typer.Exit(130) from None
