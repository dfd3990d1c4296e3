"""Draw what every layer of a trained network looks for.

Writes into --out every picture as PNG, with a JSON of its numbers and of what it was made of, and index.html, which
shows them all.
"""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from scripts import command_line

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


class Network(NamedTuple):
    """What a network is shown where nothing else is said; lengths are pixels, `fill` is a pixel value. The contrast is
    a percentile: see `deconv.figures.Subject`."""

    build: str
    weights: str | None
    dataset: str
    split: str
    side: int
    channels: int
    fill: float
    square: int
    stride: int
    contrast: float


NETWORKS = {
    "lenet5": Network("LeNet5", "mnist", "mnist-5k", "all", 28, 1, 0, 8, 1, 100),
    "alexnet": Network("AlexNet", "imagenette", "imagenet-20", "test", 227, 3, 128, 50, 10, 99.5),
    "alexnet_owt": Network("AlexNetOWT", "imagenet", "imagenet-20", "test", 224, 3, 128, 50, 10, 99.5),
    "zfnet": Network("ZFNet", None, "imagenet-20", "test", 224, 3, 128, 50, 10, 99.5),
    "zfnet512": Network("ZFNet512", "imagenet", "imagenet-20", "test", 224, 3, 128, 50, 10, 99.5),
}


@app.command(help=__doc__)
def main(
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
    out: Annotated[Path, typer.Option(help="Folder for the pictures; it is made if need be.")] = Path("figures"),
    only: Annotated[list[str] | None, typer.Option(help="Only this recipe; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
):
    started = time.perf_counter()
    try:
        if model not in NETWORKS:
            raise ValueError(f"--model must be one of {', '.join(NETWORKS)}; received {model!r}.")
        if seed < 0:
            raise ValueError(f"--seed must be at least 0; received {seed}.")
        given = {"weights": weights, "dataset": dataset, "split": split}
        network = NETWORKS[model]._replace(**{name: value for name, value in given.items() if value is not None})
        if network.weights is None:
            raise ValueError(f"--weights: there are none for {model} but your own; give a file, or --model zfnet512.")
        with command_line.made(out):
            count = _draw(model, network, data_dir, download, out, only, seed)
    except (ValueError, OSError, ImportError) as error:
        command_line.fail(error)
    except KeyboardInterrupt:
        command_line.fail(f"interrupted; the pictures that are finished are in {out}.")
    typer.echo(f"{count} pictures in {time.perf_counter() - started:.0f} s: {out / 'index.html'}")


def _draw(name, network, data_dir, download, out, only, seed):
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
    data = datasets.load(
        network.dataset,
        network.split,
        data_dir=data_dir,
        download=download,
        image_size=(network.side, network.side),
        channels=network.channels,
    )
    if not data.class_names:
        raise ValueError(f"--dataset {network.dataset} has no classes; put its pictures into one sub-folder per class.")
    model, classes = _built(network, data)
    subject = figures.Subject(
        model,
        network.weights,
        data,
        getattr(models, name).preprocess_input,
        fill=network.fill,
        square=network.square,
        stride=network.stride,
        contrast=network.contrast,
        seed=seed,
        classes=classes,
    )
    typer.echo(f"{model.name} on {data.source}")
    made_of, count = provenance(subject), 0
    try:
        wanted = [recipe for recipe in figures.RECIPES if not only or recipe in only]
        for recipe in tqdm(wanted, unit=" recipes", disable=None):
            for picture in figures.RECIPES[recipe](subject):
                figures.save(picture, out, made_of)
                count += 1
    except tf.errors.OpError as error:
        raise ValueError(datasets.reason(error)) from None
    figures.write_index(out, f"What every layer of {model.name} looks for, in {data.name}")
    return count


def _built(network, data):
    """The network, and the names of its classes: the data's, or those of its weights."""
    import models

    build = getattr(models, network.build)
    if network.build == "LeNet5":
        return build(weights=network.weights, classes=len(data.class_names)), None
    model = build(weights=network.weights)
    named = {"imagenette": models.imagenet.IMAGENETTE, "imagenet": models.imagenet.imagenet_classes()}
    if network.weights in named:
        return model, tuple(name for _, name in named[network.weights])
    count = model.output.shape[-1]
    return model, tuple(data.class_names if count == len(data.class_names) else map(str, range(count)))


if __name__ == "__main__":
    app()
