"""Command line of the package: `python -m deconv` runs every experiment on any Keras model and any images."""

import typer

from deconv.cli import controls, embed, explain, figures, health, occlude, project, top, verify, visualize

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="""See what every layer of a convolutional network looks for.

Every command takes a --model and --images, and writes into --out its pictures (PNG and PDF) with a JSON of their
numbers and of what they were made of. Without options: LeNet-5 on digits that come with the package.

\b
  python -m deconv project --layer conv2 --channel 0-5
  python -m deconv top --model alexnet --layer conv5
  python -m deconv explain --model own.keras --images photograph.jpg --preprocess unit
  python -m deconv visualize --model my_module:build --layer conv3 --channel 7
""",
)

_COMMANDS = (
    (project.project, "What in an image made units of a layer active."),
    (top.top, "For every channel the images it is most active in."),
    (occlude.occlude, "What is still recognised when a square is covered."),
    (visualize.visualize, "Images made for a unit or a class."),
    (explain.explain, "Every explanation of a class side by side, judged by a number."),
    (controls.controls, "How much of a picture is the unit, and how much the switches."),
    (embed.embed, "Images in a plane as a layer sees them."),
    (health.health, "Dead and repeated filters, co-adaptation, overfitting."),
    (verify.verify, "Whether a model's deconvnet is what it should be."),
    (figures.figures, "The figures and tables of Zeiler & Fergus."),
)

for run, what in _COMMANDS:
    app.command(short_help=what)(run)
