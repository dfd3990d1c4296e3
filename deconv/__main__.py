"""`python -m deconv`."""

from deconv.cli import app

if __name__ == "__main__":
    app(prog_name="python -m deconv")
