"""Entry point of `python -m deconv`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C at any time ends it with one line and exit status 130."""
    try:
        from deconv.cli import app

        app(prog_name="python -m deconv")
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as end:
        if (
            end.code == 130 and not sys.modules["deconv.cli.output"].error_printed
        ):  # Typer was interrupted before the command started
            _interrupted()
        raise


def _interrupted() -> None:
    print("Error: interrupted before anything was written.", file=sys.stderr)
    raise SystemExit(130) from None


if __name__ == "__main__":
    main()
