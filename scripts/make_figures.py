"""Draw the figures and tables of Zeiler & Fergus for a trained network, and what its layers look for.

Writes into --out every picture as PNG and PDF, with a JSON of its numbers and of what it was made of, and index.html,
which shows them all beside what the paper prints and says. What is finished is kept when the same command runs again.

\b
  make_figures.py                                       LeNet-5 on digits, everything
  make_figures.py --model alexnet --only fig5 fig7      two of them, for AlexNet on photographs
  make_figures.py --model alexnet --dataset imagenette --data-dir DIR
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
        str | None,
        typer.Option(help="mnist, imagenette (ours), imagenet (downloads), or a file [mnist or imagenette]."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="mnist-5k, imagenet-20 (no network), mnist, imagenette, imagenet, tfds:NAME, or a folder."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Part of the data set: train, test or all.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where TFDS keeps its data sets.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Let TFDS fetch what is not there.")] = False,
    transfer: Annotated[
        str | None, typer.Option(help="Data set for Tables 4 to 7, as --dataset [lenet5: digits-8x8, others: none].")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of train_variants.py, for Figs. 4, 6 and Table 3 [OUT/runs for lenet5].")
    ] = None,
    parts: Annotated[
        Path | None, typer.Option(help="CSV of image, part, top, left, bottom, right for Table 1.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures; made if need be [figures/MODEL].")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only these: fig1 to fig9, table1 to table7, pooling, filters, activations, health."),
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Draw again what is finished.")] = False,
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
        if runs is not None and not runs.is_dir():
            raise ValueError(f"--runs: there is no folder '{runs}'.")
        if parts is not None and not parts.is_file():
            raise ValueError(f"--parts: there is no file '{parts}'.")
        given = {"weights": weights, "dataset": dataset, "split": split, "transfer": transfer}
        network = NETWORKS[model]._replace(**{name: value for name, value in given.items() if value is not None})
        out = Path("figures") / model if out is None else out
        places = {"data_dir": data_dir, "download": download, "runs": runs, "parts": parts}
        with command_line.stopped_by_signals(), command_line.output_folder(out):
            drawn = _draw(model, network, places, out, [*(only or ()), *(more or ())], anew, seed)
    except (ValueError, OSError, ImportError) as error:
        command_line.fail(error)
    except KeyboardInterrupt:
        finished = (
            f"; the pictures that are finished are in {out}, and the same command goes on" if out.exists() else ""
        )
        command_line.fail(f"interrupted{finished}.", 130)
    empty = [recipe for recipe, names in drawn.items() if not names]
    if empty:
        typer.echo(f"Nothing to draw with this network and data: {', '.join(empty)}.")
    count = sum(map(len, drawn.values()))
    typer.echo(f"{count} pictures in {time.perf_counter() - started:.0f} s: {out / 'index.html'}")


def _draw(name, network, places, out, only, anew, seed):
    """Train missing networks, draw and save; returns the names of the figures of every recipe."""
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
    """The groups of small networks that the requested recipes compare, trained if missing."""
    from scripts import train_variants

    train_variants.train("lenet5", groups, out=folder, seed=seed, say=typer.echo)
    return folder


if __name__ == "__main__":
    app()
