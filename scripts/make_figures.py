"""Draw what every layer of a trained network looks for.

Writes into --out every picture as PNG, with a JSON of its numbers and of what it was made of, and index.html, which
shows them all.
"""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    model: Annotated[str, typer.Option(help="Network to look into: lenet5.")] = "lenet5",
    weights: Annotated[str, typer.Option(help="mnist (ours), or a file: .keras, .weights.h5, .npz.")] = "mnist",
    dataset: Annotated[str, typer.Option(help="mnist-5k (no network), mnist, tfds:NAME, or a folder.")] = "mnist-5k",
    split: Annotated[str, typer.Option(help="Part of the data set: train, test or all.")] = "all",
    data_dir: Annotated[Path | None, typer.Option(help="Where TFDS keeps its data sets.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Let TFDS fetch what is not there.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the pictures; it is made if need be.")] = Path("figures"),
    only: Annotated[list[str] | None, typer.Option(help="Only this recipe; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
):
    started = time.perf_counter()
    try:
        _check_folder(out)
        names = _draw(model, weights, dataset, split, data_dir, download, out, only, seed)
    except (ValueError, OSError, ImportError) as error:
        typer.echo(f"Error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{len(names)} pictures in {time.perf_counter() - started:.0f} s: {out / 'index.html'}")


def _draw(model, weights, dataset, split, data_dir, download, out, only, seed):
    """Draw and save; returns the names of the pictures."""
    if model != "lenet5":
        raise ValueError(f"--model must be lenet5; received {model!r}.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import matplotlib
    from tqdm import tqdm

    matplotlib.use("Agg")
    import keras

    import models
    from deconv import datasets, figures
    from deconv.figures.record import provenance

    unknown = sorted(set(only or []) - set(figures.RECIPES))
    if unknown:
        raise ValueError(f"--only takes {', '.join(figures.RECIPES)}; received {', '.join(unknown)}.")
    keras.utils.set_random_seed(seed)
    network = models.LeNet5(weights=weights)
    data = datasets.load(dataset, split, data_dir=data_dir, download=download, image_size=(28, 28), channels=1)
    subject = figures.Subject(network, weights, data, models.lenet5.preprocess_input, seed=seed)
    typer.echo(f"{model} on {data.source}")
    made_of, saved = provenance(subject), []
    out.mkdir(parents=True, exist_ok=True)
    recipes = [name for name in figures.RECIPES if not only or name in only]
    for name in tqdm(recipes, unit=" recipes", disable=None):
        saved += [figures.save(picture, out, made_of) for picture in figures.RECIPES[name](subject)]
    title = f"What every layer of {network.name} looks for, in {data.name}"
    figures.write_index(out, title, saved, made_of)
    return [about["name"] for about in saved]


def _check_folder(out):
    """Fail now rather than after the work; nothing is made yet."""
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        problem = "is not a folder" if not nearest.is_dir() else "is not yours to write"
        raise ValueError(f"cannot write into --out {out}: {nearest} {problem}. Choose another folder.")


if __name__ == "__main__":
    app()
