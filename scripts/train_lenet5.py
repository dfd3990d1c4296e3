"""Train LeNet-5 on digits, repeatably.

Writes into --out: lenet5.keras, weights.npz (float16), history.csv, learning_curve.png, training.json (every argument,
versions, results) and checkpoints/ at the epochs of the paper's Fig. 4. The same seed gives the same weights on the
same machine; an interrupted run goes on with --resume.
"""

import math
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from scripts import command_line

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    dataset: Annotated[str, typer.Option(help="mnist-5k, mnist, tfds:NAME, or a folder of pictures.")] = "mnist-5k",
    data_dir: Annotated[Path | None, typer.Option(help="Where TFDS keeps its data sets.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Let TFDS fetch what is not there.")] = False,
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 40,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="AdamW's at the first step; falls to 0 as a cosine.")] = 0.002,
    weight_decay: Annotated[float, typer.Option(help="AdamW's, on kernels only.")] = 0.02,
    dropout: Annotated[float, typer.Option(help="Share of fc3 and fc4 dropped.")] = 0.0,
    augment: Annotated[bool, typer.Option(help="Turn, stretch, slant and shift the digits a little.")] = True,
    every: Annotated[int | None, typer.Option(help="Train on every n-th digit only.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Leave this layer out; may be repeated.")] = None,
    resize: Annotated[
        list[str] | None, typer.Option(help="Give a layer another size, as conv2=32; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and dropout.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder to write into; a new one, or one to resume.")] = Path("runs/lenet5"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
):
    arguments = {
        "dataset": dataset,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "dropout": dropout,
        "augment": augment,
        "every": every,
        "without": without or None,
        "resize": command_line.sizes("--resize", resize),
        "seed": seed,
    }
    command_line.check("--epochs", epochs, epochs >= 1, "at least 1")
    command_line.check("--batch-size", batch_size, batch_size >= 1, "at least 1")
    command_line.check("--learning-rate", learning_rate, 0 < learning_rate < math.inf, "a positive number")
    command_line.check("--weight-decay", weight_decay, 0 <= weight_decay < math.inf, "0 or a positive number")
    command_line.check("--dropout", dropout, 0 <= dropout < 1, "at least 0 and below 1")
    command_line.check("--every", every, every is None or every >= 1, "at least 1")
    command_line.check("--seed", seed, 0 <= seed < 2**32, "at least 0 and below 2**32")
    try:
        with command_line.stopped_by_signals(), command_line.output_folder(out):
            train(arguments, out, data_dir=data_dir, download=download, resume=resume)
    except (ValueError, OSError, ImportError) as error:
        command_line.fail(error)
    except KeyboardInterrupt:
        command_line.interrupted()


def train(arguments, out, *, data_dir=None, download=False, resume=False, variant=None, say=typer.echo):
    """Train in this process, or resume an existing run.

    Args:
        arguments: Everything on which the results depend, by the names of the command's options.
        out: Folder to write into.
        data_dir, download: See `deconv.datasets.load`.
        resume: Whether to resume an existing run.
        variant: Description of the network for the key `variant` of the record, or None.
        say: Function for a line of progress.

    Raises:
        ValueError, OSError, ImportError: If it fails; the message says why and what to do.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from models import training

    folder = training.RunFolder(out, "lenet5")
    with folder.held():
        _train(folder, arguments, data_dir, download, resume, variant, say)


def _train(folder, arguments, data_dir, download, resume, variant, say):
    """Train into a folder that is locked against other runs."""
    import tensorflow as tf

    from deconv import datasets
    from models import training
    from models.lenet5 import preprocess_input
    from models.training import session
    from models.training.augmentation import random_affine

    out = folder.path
    results = folder.check(arguments, resume)
    if results is not None:
        say(f"The run in '{out}' is finished: test accuracy {folder.result('test_accuracy'):.2%}.")
        return
    form = {"data_dir": data_dir, "download": download, "image_size": (28, 28), "channels": 1}
    digits, test_digits = (datasets.load(arguments["dataset"], split, **form) for split in ("train", "test"))
    if digits.several:
        raise ValueError(f"{arguments['dataset']!r} has several labels for an image; one is needed to train on.")
    if not digits.class_names:
        raise ValueError(f"{arguments['dataset']!r} has no labels to train on: one sub-folder per class is expected.")
    if arguments["every"] is not None:
        digits = digits.shard(arguments["every"], 0)
    places = {"data_dir": data_dir and str(data_dir), "download": download, "out": str(out), "resume": resume}
    provenance = session.provenance("scripts/train_lenet5.py", digits, test_digits)
    folder.check_data(provenance["data"])
    _network(arguments, len(digits.class_names), digits.size)  # reports unknown layers first
    training.make_repeatable(arguments["seed"])
    model = _network(arguments, len(digits.class_names), digits.size)
    about = {"variant": variant} if variant else {}
    folder.start({**about, **provenance, "arguments": arguments, "places": places})
    say(f"Training: {digits.size:,} images. {digits.source}")
    say(f"Test: {test_digits.size:,} images. {test_digits.source}")

    def batches(found):
        return training.test_batches(found.dataset, found.size, batch_size=1000, preprocess=preprocess_input)

    test = batches(test_digits)
    try:
        history, seconds = training.train(
            model,
            digits.dataset,
            digits.size,
            test,
            folder,
            epochs=arguments["epochs"],
            batch_size=arguments["batch_size"],
            seed=arguments["seed"],
            preprocess=preprocess_input,
            augment=random_affine if arguments["augment"] else None,
            bar=sys.stdout.isatty() and variant is None,
            say=say,
        )
    except training.DivergedError:
        folder.withdraw()
        raise
    except (tf.errors.OpError, ValueError) as error:  # a damaged image, detected while reading
        folder.withdraw()
        raise ValueError(datasets.reason(error)) from error
    _, train_accuracy = model.evaluate(batches(digits), verbose=0)
    results = {**training.evaluate(model, test), "train_accuracy": round(float(train_accuracy), 6)}
    results |= {"parameters": model.count_params(), "seconds": round(seconds, 1)}
    session.finish(folder, model, history, results, f"LeNet-5 on {digits.name}")
    say(
        f"Test accuracy {results['test_accuracy']:.2%} ({results['test_accuracy_float16']:.2%} with the float16 "
        f"weights) on {test_digits.size:,} images, after {seconds:.0f} s of training. Written to '{out}'."
    )


def _network(arguments, classes, size):
    """A new, compiled LeNet-5: AdamW, weight decay on the kernels only, a cosine from the learning rate to 0."""
    import keras

    import models
    from models.ablation import altered

    model = models.LeNet5(weights=None, classes=classes, dropout=arguments["dropout"])
    if arguments["without"] or arguments["resize"]:
        model = altered(model, arguments["without"] or (), arguments["resize"])
    steps = math.ceil(size / arguments["batch_size"]) * arguments["epochs"]
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(arguments["learning_rate"], steps),
        weight_decay=arguments["weight_decay"],
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


if __name__ == "__main__":
    app()
