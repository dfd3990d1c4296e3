"""Train AlexNet, ZFNet and their variants on photographs, repeatably.

The default is the paper's recipe (Zeiler & Fergus, section 3); --recipe modern needs fewer epochs. Writes into --out:
the model as .keras, weights.npz (float16), history.csv, learning_curve.png, training.json (all arguments, versions and
results) and checkpoints/ at the epochs of the paper's Fig. 4. --resume continues an interrupted run. --evaluate trains
nothing and prints the accuracy of the given weights.
"""

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from scripts import command_line, photograph_training, training_data
from scripts.photograph_training import NETWORKS

if TYPE_CHECKING:
    from models.training import RunFolder

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    dataset: Annotated[
        str, typer.Option(help="Data set: imagenette, imagenet, tfds:NAME, or a folder.")
    ] = "imagenette",
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the TFDS data sets.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Download missing data sets with TFDS.")] = False,
    model: Annotated[str, typer.Option(help=f"Network: {', '.join(NETWORKS)}.")] = "alexnet",
    recipe: Annotated[str, typer.Option(help="Training recipe: paper or modern.")] = "paper",
    epochs: Annotated[int | None, typer.Option(help="Number of epochs [paper 70, modern 50].")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per batch [paper 128, modern 64].")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Initial (paper) or maximum (modern) rate [0.01, 0.015].")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Weight decay of kernels, as in Caffe [paper 0.0005, modern 0.002].")
    ] = None,
    dropout: Annotated[float, typer.Option(help="Dropout rate of fc6 and fc7.")] = 0.5,
    units: Annotated[int | None, typer.Option(help="Units of fc6 and fc7 [paper 4096, modern 512].")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Layer to leave out; may be repeated.")] = None,
    resize: Annotated[
        list[str] | None, typer.Option(help="New size of a layer, such as conv3=512; may be repeated.")
    ] = None,
    filter_radius: Annotated[float, typer.Option(help="Maximum RMS of a filter; 0 for no limit.")] = 0.1,
    image_size: Annotated[
        str | None,
        typer.Option(
            help="Side of the crops, or growing sides: side:epochs,..., as 128:28,176:12,227 [the network's]."
        ),
    ] = None,
    mixed_precision: Annotated[bool, typer.Option("--mixed-precision", help="Compute in bfloat16.")] = False,
    cache: Annotated[float, typer.Option(help="GiB of decoded images in the cache and in the shuffle buffer.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Random seed of weights, order, crops and dropout.")] = 0,
    out: Annotated[Path, typer.Option(help="Output folder: a new one, or one to resume.")] = Path("runs/alexnet"),
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted run.")] = False,
    evaluate: Annotated[
        str | None, typer.Option(help="Only measure the accuracy of imagenette, imagenet, or a weights file.")
    ] = None,
):
    arguments: dict[str, Any] = {"dataset": dataset, "model": model, "recipe": recipe, "epochs": epochs}
    arguments |= {"batch_size": batch_size, "learning_rate": learning_rate, "weight_decay": weight_decay}
    arguments |= {"dropout": dropout, "units": units, "without": without or None}
    arguments |= {"resize": command_line.sizes("--resize", resize), "filter_radius": filter_radius}
    arguments |= {"image_size": image_size, "mixed_precision": mixed_precision, "cache": cache, "seed": seed}
    _check_options(arguments)
    places: dict[str, Any] = {"out": out, "data_dir": data_dir, "download": download, "resume": resume}
    try:
        if evaluate is not None:
            _evaluate(arguments, places, evaluate)
            return
        with command_line.stopped_by_signals(), command_line.output_folder(out):
            train(arguments, **places)
    except (ValueError, OSError, ImportError) as error:
        command_line.fail(error)
    except KeyboardInterrupt:
        if evaluate is not None:
            raise typer.Exit(130) from None
        command_line.interrupted()


def _check_options(arguments: dict[str, Any]) -> None:
    """Check the values of the options; exit with a one-line error if one is invalid."""

    def check(name: str, expected: str, is_valid: Callable[[Any], bool]) -> None:
        value = arguments[name]
        command_line.check(f"--{name.replace('_', '-')}", value, value is None or is_valid(value), expected)

    check("model", f"one of {', '.join(NETWORKS)}", lambda model: model in NETWORKS)
    check("recipe", "paper or modern", lambda recipe: recipe in ("paper", "modern"))
    for name in ("epochs", "batch_size", "units"):
        check(name, "at least 1", lambda count: count >= 1)
    check("learning_rate", "a positive number", lambda rate: 0 < rate < math.inf)
    for name in ("weight_decay", "filter_radius", "cache"):
        check(name, "0 or a positive number", lambda number: 0 <= number < math.inf)
    check("dropout", "at least 0 and below 1", lambda share: 0 <= share < 1)
    check("seed", "at least 0 and below 2**32", lambda seed: 0 <= seed < 2**32)


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
    """Train in this process, or resume an existing run; see `scripts.train_lenet5.train`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from models import training

    arguments = completed(arguments)
    folder = training.RunFolder(out, arguments["model"])
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
    from models.training import photographs, session

    plan = photographs.Plan.of(arguments["model"], arguments["image_size"], arguments["epochs"])
    if folder.check(arguments, places["resume"]) is not None:
        say(f"The run in '{folder.path}' is finished: top-1 accuracy {folder.result('top1'):.2%} on the central crop.")
        return
    run = photograph_training.PhotographTraining.of(arguments, plan, places)
    provenance = session.provenance("scripts/train_alexnet.py", run.train_set, run.test_set)
    folder.check_data(provenance["data"])
    run.report_data(say)
    model = run.prepared_network()
    about = {"variant": variant} if variant else {}
    folder.start({**about, **provenance, "arguments": arguments, "places": places})
    with training_data.withdrawn_on_failure(folder):
        history, seconds = run.fit(model, folder, sys.stdout.isatty() and variant is None, say)
        model = run.final_network(model)
        results: dict[str, Any] = run.results(model)
    results |= {"parameters": model.count_params(), "seconds": round(seconds, 1)}
    session.finish(folder, model, history, results, f"{NETWORKS[arguments['model']]} on {run.train_set.name}")
    say(photograph_training.accuracy_report(results, run.test_set))
    say(f"{seconds:.0f} s of training. Written to '{folder.path}'.")


def completed(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments, with the recipe's defaults for those that are None."""
    from models.training import recipes

    defaults = recipes.RECIPES[arguments["recipe"]]
    return {name: defaults.get(name) if value is None else value for name, value in arguments.items()}


def _evaluate(arguments: dict[str, Any], places: dict[str, Any], weights: str) -> None:
    """Print the accuracy of given weights."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    from deconv import datasets
    from models.loading import weight_files
    from models.training import photographs, recipes

    epochs = arguments["epochs"] or recipes.RECIPES[arguments["recipe"]]["epochs"]
    plan = photographs.Plan.of(arguments["model"], arguments["image_size"], epochs)
    test_set = photograph_training.photographs(arguments, places, "test", plan)
    build = photograph_training.builder_of(arguments["model"])
    options: dict[str, Any] = {"classes": len(test_set.class_names)}
    if arguments["units"] is not None:
        options["units"] = arguments["units"]
    if arguments["without"] or arguments["resize"]:
        changes = {name: arguments[name] for name in ("without", "resize")}
        model = photographs.network(build, plan.side, "float32", **options, **changes)
        weight_files.load(model, weights)
    else:
        model = build(weights=weights, input_shape=(plan.side, plan.side, 3), **options)
    typer.echo(f"Test: {test_set.size:,} images. {test_set.source}")
    preprocess = photograph_training.preprocess_of(arguments["model"])
    try:
        results = photograph_training.accuracies(model, test_set, plan.side, preprocess)
        typer.echo(photograph_training.accuracy_report(results, test_set))
    except tf.errors.OpError as error:  # a damaged image, detected while reading
        raise ValueError(datasets.reason(error)) from error


if __name__ == "__main__":
    app()
