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
        if model != "lenet5":
            raise ValueError(f"--model must be lenet5; received {model!r}.")
        if seed < 0:
            raise ValueError(f"--seed must be at least 0; received {seed}.")
        _check_folder(out)
        count = _draw(weights, dataset, split, data_dir, download, out, only, seed)
    except (ValueError, OSError, ImportError) as error:
        typer.echo(f"Error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{count} pictures in {time.perf_counter() - started:.0f} s: {out / 'index.html'}")


def _draw(weights, dataset, split, data_dir, download, out, only, seed):
    """Draw and save; returns how many pictures."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import matplotlib
    import tensorflow as tf
    from tqdm import tqdm

    matplotlib.use("Agg")
    import models
    from deconv import datasets, figures
    from deconv.figures.record import provenance

    unknown = sorted(set(only or []) - set(figures.RECIPES))
    if unknown:
        raise ValueError(f"--only takes {', '.join(figures.RECIPES)}; received {', '.join(unknown)}.")
    data = datasets.load(dataset, split, data_dir=data_dir, download=download, image_size=(28, 28), channels=1)
    if not data.class_names:
        raise ValueError(f"--dataset {dataset} has no classes; put its pictures into one sub-folder per class.")
    network = models.LeNet5(weights=weights, classes=len(data.class_names))
    subject = figures.Subject(network, weights, data, models.lenet5.preprocess_input, seed=seed)
    typer.echo(f"{network.name} on {data.source}")
    made_of, count = provenance(subject), 0
    out.mkdir(parents=True, exist_ok=True)
    try:
        for name in tqdm([name for name in figures.RECIPES if not only or name in only], unit=" recipes", disable=None):
            for picture in figures.RECIPES[name](subject):
                figures.save(picture, out, made_of)
                count += 1
    except tf.errors.OpError as error:
        raise ValueError(datasets.reason(error)) from None
    figures.write_index(out, f"What every layer of {network.name} looks for, in {data.name}")
    return count


def _check_folder(out):
    """Fail now rather than after the work; nothing is left behind."""
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".probe").touch()
        (out / ".probe").unlink()
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(f"cannot write into --out {out}: {reason}. Choose a folder that is yours to write.") from None
    finally:
        for folder in missing:
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()


if __name__ == "__main__":
    app()
