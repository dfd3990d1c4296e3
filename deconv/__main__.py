"""`python -m deconv`."""

import sys


def main():
    """Run a command; Ctrl-C ends it with one line and status 130 from the first import on."""
    output = None
    try:
        from deconv.cli import app, output

        app(prog_name="python -m deconv")
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as end:
        if end.code == 130 and not output.said:  # Typer was interrupted before the command had begun
            _interrupted()
        raise


def _interrupted():
    print("Error: interrupted before anything was written.", file=sys.stderr)
    raise SystemExit(130) from None


if __name__ == "__main__":
    main()
