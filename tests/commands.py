"""Commands in the process of the tests, where a fresh one is not what is tested."""

from tensorflow.python.framework import config
from typer.testing import CliRunner


def run_here(app, *arguments):
    """What a command of typer says and returns; operations may be as they were before, whatever it has asked for."""
    before = config.is_op_determinism_enabled()
    try:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])
    finally:
        if not before:
            config.disable_op_determinism()
