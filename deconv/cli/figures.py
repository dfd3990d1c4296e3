"""`python -m deconv figures`: the figures and tables of Zeiler & Fergus, for any model with classes."""

from pathlib import Path
from typing import Annotated

import typer

from deconv.cli.named_networks import NETWORKS
from deconv.cli.options import Request, check, command
from deconv.cli.output import in_terminal, load_tensorflow
from deconv.imaging.image_files import printable


@command
def figures(
    request: Request,
    only: Annotated[
        list[str] | None,
        typer.Option(help="fig1 to fig9, table1 to table7, pooling, filters, activations, health; may be repeated."),
    ] = None,
    transfer: Annotated[
        str | None,
        typer.Option(help="Data set for Tables 4 to 7, as --images [default: digits-8x8 for lenet5, else none]."),
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Output folder of scripts/train_variants.py, for Figs. 4, 6 and Table 3.")
    ] = None,
    parts: Annotated[
        Path | None, typer.Option(help="CSV file with columns image, part, top, left, bottom, right, for Table 1.")
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Draw finished figures again.")] = False,
):
    """Draw the figures and tables of Zeiler & Fergus, and an HTML page that compares them with the paper.

    Every image must have one class. Finished figures are not drawn again when the command is repeated. A figure whose
    data are missing (training runs, parts, a second data set) is omitted.

    \b
      python -m deconv figures --out figures
      python -m deconv figures --model alexnet --only fig2 --only fig7
      python -m deconv figures --model own.keras --images my_pictures/ --preprocess unit
    """
    check("--runs", runs, runs is None or runs.is_dir(), "an existing folder")
    check("--parts", parts, parts is None or parts.is_file(), "an existing file")
    _draw(request, only, transfer, {"runs": runs, "parts": parts}, anew)


def _draw(request, only, transfer, paths, anew):
    load_tensorflow()
    from deconv import figures
    from deconv.figures.subject import count_of
    from models import training

    recipes = figures.chosen(only)
    training.make_repeatable(request.seed)  # some recipes train
    subject = _subject(request, recipes, transfer, paths)
    typer.echo(f"{subject.model.name} on {subject.data.source}")
    drawn = figures.draw(subject, request.out, recipes, anew=anew, progress=in_terminal())
    empty = [recipe for recipe, names in drawn.items() if not names]
    if empty:
        typer.echo(f"No figures for this network and data: {', '.join(empty)}.")
    written = count_of(sum(map(len, drawn.values())), "figure")
    typer.echo(f"Written: {written} and {printable(request.out / 'index.html')}")


def _subject(request, recipes, transfer, paths):
    from deconv.cli import images_option, subject_builder

    if request.model in NETWORKS and request.preprocess is None:
        given = {"dataset": request.images, "split": request.split, "transfer": transfer}
        network = NETWORKS[request.model]._replace(**{name: value for name, value in given.items() if value})
        tfds = {"data_dir": request.data_dir, "download": request.download}
        return subject_builder.subject(request.model, network, **tfds, **paths, seed=request.seed, needed=recipes)
    subject = subject_builder.requested_subject(request)
    subject_builder.check_labels(subject.data)
    *size, channels = subject.data.image_shape
    if transfer is not None:
        transfer = images_option.images_of(transfer, None, tuple(size), channels, request.data_dir, request.download)
    return subject._replace(transfer=transfer, **paths)
