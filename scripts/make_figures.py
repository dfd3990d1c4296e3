"""Draw the figures and tables of Zeiler & Fergus for a trained network, and what its layers look for.

Writes into --out every figure as PNG and PDF, with a JSON file of its numbers and its provenance, and index.html, which
shows all figures beside the results and claims of the paper. Finished figures are kept when the command runs again.

\b
  make_figures.py                                       all figures of LeNet-5 on digits
  make_figures.py --model alexnet --only fig5 fig7      two figures of AlexNet on photographs
  make_figures.py --model alexnet --dataset imagenette --data-dir DIR
"""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from scripts import command_line
from scripts.subjects import NETWORKS, Network

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    more: Annotated[list[str] | None, typer.Argument(metavar="[RECIPE]...", help="More recipes for --only.")] = None,
    model: Annotated[str, typer.Option(help=f"Network to visualize: {', '.join(NETWORKS)}.")] = "lenet5",
    weights: Annotated[
        str | None,
        typer.Option(help="mnist, imagenette (included), imagenet (downloaded), or a file [mnist or imagenette]."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="mnist-5k, imagenet-20 (both offline), mnist, imagenette, imagenet, tfds:NAME, or a folder."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of the data set: train, test or all.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the TFDS data sets.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Download missing data sets with TFDS.")] = False,
    transfer: Annotated[
        str | None, typer.Option(help="Data set for Tables 4 to 7, as --dataset [lenet5: digits-8x8, others: none].")
    ] = None,
    runs: Annotated[
        Path | None,
        typer.Option(help="Output folder of train_variants.py, for Figs. 4, 6 and Table 3 [OUT/runs for lenet5]."),
    ] = None,
    parts: Annotated[
        Path | None, typer.Option(help="CSV file with the columns image, part, top, left, bottom, right, for Table 1.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder; it is created if necessary [figures/MODEL].")] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Recipes to draw: fig1 to fig9, table1 to table7, pooling, filters, activations, health."),
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Draw finished figures again.")] = False,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 0,
):
    started = time.perf_counter()
    out = Path("figures") / model if out is None else out
    try:
        _check_options(model, seed, more, only, runs, parts)
        options: dict[str, Any] = {"weights": weights, "dataset": dataset, "split": split, "transfer": transfer}
        network = NETWORKS[model]._replace(**{name: value for name, value in options.items() if value is not None})
        places = {"data_dir": data_dir, "download": download, "runs": runs, "parts": parts}
        with command_line.stopped_by_signals(), command_line.output_folder(out):
            drawn = _draw(model, network, places, out, [*(only or ()), *(more or ())], anew, seed)
    except (ValueError, OSError, ImportError) as error:
        command_line.fail(error)
    except KeyboardInterrupt:
        finished = f"; the finished figures are in {out}, and the same command continues" if out.exists() else ""
        command_line.fail(f"interrupted{finished}.", 130)
    empty = [recipe for recipe, names in drawn.items() if not names]
    if empty:
        typer.echo(f"Not available for this network and data: {', '.join(empty)}.")
    count = sum(map(len, drawn.values()))
    seconds = time.perf_counter() - started
    typer.echo(f"{count} figure{'s' * (count != 1)} in {seconds:.0f} s: {out / 'index.html'}")


def _check_options(
    model: str,
    seed: int,
    more: Sequence[str] | None,
    only: Sequence[str] | None,
    runs: Path | None,
    parts: Path | None,
) -> None:
    """Check the values of the options.

    Raises:
        ValueError: If one is invalid.
    """
    if model not in NETWORKS:
        raise ValueError(f"--model must be one of {', '.join(NETWORKS)}; received {model!r}.")
    if not 0 <= seed < 2**32 - 2:
        raise ValueError(f"--seed must be at least 0 and below 2**32 - 2; received {seed}.")
    if more and not only:
        raise ValueError(f"Unexpected argument {more[0]!r}. To choose recipes pass --only {' '.join(more)}.")
    if runs is not None and not runs.is_dir():
        raise ValueError(f"--runs: there is no folder '{runs}'.")
    if parts is not None and not parts.is_file():
        raise ValueError(f"--parts: there is no file '{parts}'.")


def _draw(
    name: str, network: Network, places: dict[str, Any], out: Path, only: list[str], anew: bool, seed: int
) -> dict[str, list[str]]:
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


def _trained(groups: Sequence[str], folder: Path, seed: int) -> Path:
    """The groups of small networks that the requested recipes compare, trained if missing."""
    from scripts import train_variants

    train_variants.train("lenet5", groups, out=folder, seed=seed, say=typer.echo)
    return folder


if __name__ == "__main__":
    app()
