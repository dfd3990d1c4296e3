"""Train LeNet-5 on digits, repeatably.

Writes into --out: lenet5.keras, weights.npz (float16), history.csv, learning_curve.png, training.json (all arguments,
versions and results) and checkpoints/ at the epochs of the paper's Fig. 4. The same seed gives the same weights on the
same machine. --resume continues an interrupted run.
"""

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from scripts import command_line, training_data

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from deconv.datasets import ImageSet
    from models.training import RunFolder

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    dataset: Annotated[
        str, typer.Option(help="Data set: mnist-5k, mnist, tfds:NAME, or a folder of images.")
    ] = "mnist-5k",
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the TFDS data sets.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Download missing data sets with TFDS.")] = False,
    epochs: Annotated[int, typer.Option(help="Number of epochs.")] = 40,
    batch_size: Annotated[int, typer.Option(help="Images per batch.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Initial rate of AdamW; decreases to 0 as a cosine.")] = 0.002,
    weight_decay: Annotated[float, typer.Option(help="Weight decay of AdamW, of kernels only.")] = 0.02,
    dropout: Annotated[float, typer.Option(help="Dropout rate of fc3 and fc4.")] = 0.0,
    augment: Annotated[bool, typer.Option(help="Rotate, scale, shear and shift the digits slightly.")] = True,
    every: Annotated[int | None, typer.Option(help="Train on every n-th digit only.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Layer to leave out; may be repeated.")] = None,
    resize: Annotated[
        list[str] | None, typer.Option(help="New size of a layer, such as conv2=32; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of weights, order, augmentation and dropout.")] = 0,
    out: Annotated[Path, typer.Option(help="Output folder: a new one, or one to resume.")] = Path("runs/lenet5"),
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted run.")] = False,
):
    arguments: dict[str, Any] = {"dataset": dataset, "epochs": epochs, "batch_size": batch_size}
    arguments |= {"learning_rate": learning_rate, "weight_decay": weight_decay, "dropout": dropout}
    arguments |= {"augment": augment, "every": every}
    arguments |= {"without": without or None, "resize": command_line.sizes("--resize", resize), "seed": seed}
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


def train(
    arguments: dict[str, Any],
    out: Path,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    resume: bool = False,
    variant: dict[str, Any] | None = None,
    say: Callable[[str], object] = typer.echo,
) -> None:
    """Train in this process, or resume an existing run.

    Args:
        arguments: Everything on which the results depend, by the names of the command's options.
        out: Folder to write into.
        data_dir, download: See `deconv.datasets.load`.
        resume: Whether to resume an existing run.
        variant: Description of the network for the key `variant` of the record, or None.
        say: Function for a line of progress.

    Raises:
        ValueError, OSError, ImportError: If it fails; the message contains the cause and the remedy.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from models import training

    folder = training.RunFolder(out, "lenet5")
    with folder.held():
        places = training_data.recorded_places(folder, data_dir, download, resume)
        _train(folder, arguments, places, variant, say)


def _train(
    folder: "RunFolder",
    arguments: dict[str, Any],
    places: dict[str, Any],
    variant: dict[str, Any] | None,
    say: Callable[[str], object],
) -> None:
    """Train into a folder that is locked against other runs."""
    from models import training
    from models.lenet5 import preprocess_input
    from models.training import session
    from models.training.augmentation import random_affine

    if folder.check(arguments, places["resume"]) is not None:
        say(f"The run in '{folder.path}' is finished: test accuracy {folder.result('test_accuracy'):.2%}.")
        return
    form: dict[str, Any] = {"places": places, "image_size": (28, 28), "channels": 1}
    digits = training_data.labelled_images(arguments["dataset"], "train", **form)
    test_digits = training_data.labelled_images(arguments["dataset"], "test", **form)
    if arguments["every"] is not None:
        digits = digits.shard(arguments["every"], 0)
    provenance = session.provenance("scripts/train_lenet5.py", digits, test_digits)
    folder.check_data(provenance["data"])
    _network(arguments, len(digits.class_names), digits.size)  # rejects unknown layers before anything is written
    training.make_repeatable(arguments["seed"])
    model = _network(arguments, len(digits.class_names), digits.size)
    about = {"variant": variant} if variant else {}
    folder.start({**about, **provenance, "arguments": arguments, "places": places})
    training_data.report_sizes(digits, test_digits, say)
    test = _batches(test_digits)
    with training_data.withdrawn_on_failure(folder):
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
    _, train_accuracy = model.evaluate(_batches(digits), verbose=0)
    results: dict[str, Any] = training.evaluate(model, test)
    results |= {"train_accuracy": round(float(train_accuracy), 6)}
    results |= {"parameters": model.count_params(), "seconds": round(seconds, 1)}
    session.finish(folder, model, history, results, f"LeNet-5 on {digits.name}")
    say(
        f"Test accuracy {results['test_accuracy']:.2%} ({results['test_accuracy_float16']:.2%} with the float16 "
        f"weights) on {test_digits.size:,} images, after {seconds:.0f} s of training. Written to '{folder.path}'."
    )


def _batches(digits: "ImageSet") -> "tf.data.Dataset":
    """Preprocessed batches for evaluation."""
    from models import training
    from models.lenet5 import preprocess_input

    return training.test_batches(digits.dataset, digits.size, batch_size=1000, preprocess=preprocess_input)


def _network(arguments: dict[str, Any], classes: int, size: int) -> "keras.Model":
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
