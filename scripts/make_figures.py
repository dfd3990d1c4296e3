"""Draw the figures and tables of Zeiler & Fergus for a trained network, and what its layers look for.

Writes into --out every picture as PNG and PDF, with a JSON of its numbers and of what it was made of, and index.html,
which shows them all beside what the paper prints and says. What is finished is kept when the same command runs again.

  make_figures.py                                        LeNet-5 on digits, everything
  make_figures.py --model alexnet --only fig5 table1     two of them, for AlexNet on photographs
  make_figures.py --model alexnet --dataset imagenette --transfer imagenette --data-dir DIR
"""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from scripts import command_line
from scripts.subjects import NETWORKS

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    more: Annotated[list[str] | None, typer.Argument(metavar="[RECIPE]...", help="More recipes for --only.")] = None,
    model: Annotated[str, typer.Option(help=f"Network to look into: {', '.join(NETWORKS)}.")] = "lenet5",
    weights: Annotated[
        str | None, typer.Option(help="mnist, imagenette (ours), imagenet (downloads), or a file [the network's].")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="mnist-5k, imagenet-20 (no network), mnist, imagenette, imagenet, tfds:NAME, or a folder."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Part of the data set: train, test or all.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where TFDS keeps its data sets.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Let TFDS fetch what is not there.")] = False,
    transfer: Annotated[
        str | None, typer.Option(help="Data set for Tables 4 to 7, as --dataset; digits-8x8 [for lenet5].")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of train_variants.py, for Figs. 4, 6 and Table 3 [OUT/runs for lenet5].")
    ] = None,
    parts: Annotated[
        Path | None, typer.Option(help="CSV of image, part, top, left, bottom, right for Table 1.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures; it is made if need be.")] = Path("figures"),
    only: Annotated[
        list[str] | None, typer.Option(help="Only these: fig1 to fig9, table1 to table7, or a recipe's name.")
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Draw what is finished once more.")] = False,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
):
    started = time.perf_counter()
    try:
        if model not in NETWORKS:
            raise ValueError(f"--model must be one of {', '.join(NETWORKS)}; received {model!r}.")
        if not 0 <= seed < 2**32 - 2:
            raise ValueError(f"--seed must be at least 0 and below 2**32 - 2; received {seed}.")
        if more and not only:
            raise ValueError(f"Unexpected {more[0]!r}. To choose recipes write --only {' '.join(more)}.")
        for option, path in (("--runs", runs), ("--parts", parts)):
            if path is not None and not path.exists():
                raise ValueError(f"{option}: there is no '{path}'.")
        given = {"weights": weights, "dataset": dataset, "split": split, "transfer": transfer}
        network = NETWORKS[model]._replace(**{name: value for name, value in given.items() if value is not None})
        places = {"data_dir": data_dir, "download": download, "runs": runs, "parts": parts}
        with command_line.made(out):
            drawn = _draw(model, network, places, out, [*(only or ()), *(more or ())], anew, seed)
    except (ValueError, OSError, ImportError) as error:
        command_line.fail(error)
    except KeyboardInterrupt:
        command_line.fail(f"interrupted; the pictures that are finished are in {out}, and the same command goes on.")
    empty = [recipe for recipe, names in drawn.items() if not names]
    if empty:
        typer.echo(f"Nothing to draw with this network and data: {', '.join(empty)}.")
    count = sum(map(len, drawn.values()))
    typer.echo(f"{count} pictures in {time.perf_counter() - started:.0f} s: {out / 'index.html'}")


def _draw(name, network, places, out, only, anew, seed):
    """Train what is missing, draw and save; returns the names of the pictures of every recipe."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import matplotlib
    import tensorflow as tf

    matplotlib.use("Agg")
    from deconv import datasets, figures
    from models import training
    from scripts import subjects

    training.make_repeatable(seed)  # some recipes train
    recipes = figures.chosen(only)
    subject = subjects.subject(name, network, **places, seed=seed, needed=recipes)
    groups = sorted({group for recipe in recipes for group in figures.GROUPS.get(recipe, ())})
    if subject.runs is None and name == "lenet5" and network.dataset == "mnist-5k" and groups:
        subject = subject._replace(runs=_trained(groups, out / "runs", seed))
    typer.echo(f"{subject.model.name} on {subject.data.source}")
    try:
        return figures.draw(subject, out, recipes, anew=anew, progress=True)
    except tf.errors.OpError as error:
        raise ValueError(datasets.reason(error)) from None


def _trained(groups, folder, seed):
    """The groups of small networks that some recipes compare, trained where they are missing."""
    from scripts import train_variants

    train_variants.train("lenet5", groups, out=folder, seed=seed, say=typer.echo)
    return folder


if __name__ == "__main__":
    app()
