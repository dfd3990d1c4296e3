"""Command line of the package: `python -m deconv` runs every experiment on any Keras model and any images."""

import typer

from deconv.cli import (
    controls,
    embed,
    evaluate,
    explain,
    explore,
    figures,
    health,
    occlude,
    project,
    top,
    verify,
    visualize,
)

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="""Show what every layer of a convolutional network responds to.

Every command takes --model and --images. All but evaluate write their figures (PNG and PDF) into --out, with a JSON
file of their numbers and provenance. The defaults are LeNet-5 and the 5,000 digits of mnist-5k.

\b
  python -m deconv project --layer conv2 --channel 0-5
  python -m deconv top --model alexnet --layer conv5
  python -m deconv explain --model own.keras --images photograph.jpg --preprocess unit
  python -m deconv visualize --model my_module:build --layer conv3 --channel 7
""",
)

_COMMANDS = (
    (project.project, "Projections of a layer's units to pixel space."),
    (top.top, "Strongest activations of every channel, with projections."),
    (occlude.occlude, "Class score while parts of an image are occluded."),
    (visualize.visualize, "Images optimised to activate a unit or a class."),
    (explain.explain, "Attribution maps by all methods, with deletion and insertion."),
    (explore.explore, "A web site with a page for every unit of every layer."),
    (controls.controls, "Projections compared with control conditions."),
    (embed.embed, "Images in a plane by a layer's activations; class separation."),
    (evaluate.evaluate, "Top-1 and top-5 accuracy on labelled images."),
    (health.health, "Dead and repeated filters, co-adaptation, overfitting."),
    (verify.verify, "Check of a deconvnet against independent derivations."),
    (figures.figures, "The figures and tables of Zeiler & Fergus."),
)

for run, short_help in _COMMANDS:
    app.command(short_help=short_help)(run)
