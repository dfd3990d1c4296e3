"""Train AlexNet, ZFNet and their variants on photographs, repeatably.

The default is the paper's recipe (Zeiler & Fergus, section 3); --recipe modern gets there in fewer epochs. Writes
into --out: the model as .keras, weights.npz (float16), history.csv, learning_curve.png, training.json (every argument,
versions, results) and checkpoints/ at the epochs of the paper's Fig. 4. An interrupted run goes on with --resume.
With --evaluate nothing is trained: the accuracy of given weights is printed.
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
NETWORKS = {"alexnet": "AlexNet", "alexnet_owt": "AlexNetOWT", "zfnet": "ZFNet", "zfnet512": "ZFNet512"}


@app.command(help=__doc__)
def main(
    dataset: Annotated[str, typer.Option(help="imagenette, imagenet, tfds:NAME, or a folder.")] = "imagenette",
    data_dir: Annotated[Path | None, typer.Option(help="Where TFDS keeps its data sets.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Let TFDS fetch what is not there.")] = False,
    model: Annotated[str, typer.Option(help=f"{', '.join(NETWORKS)}.")] = "alexnet",
    recipe: Annotated[str, typer.Option(help="paper or modern.")] = "paper",
    epochs: Annotated[int | None, typer.Option(help="Passes over the images [paper 70, modern 50].")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step [paper 128, modern 64].")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="First, or highest [paper 0.01, modern 0.015].")] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Of kernels, as Caffe counts it [paper 0.0005, modern 0.002].")
    ] = None,
    dropout: Annotated[float, typer.Option(help="Share of fc6 and fc7 dropped.")] = 0.5,
    units: Annotated[int | None, typer.Option(help="Size of fc6 and fc7 [paper 4096, modern 512].")] = None,
    without: Annotated[list[str] | None, typer.Option(help="Leave this layer out; may be repeated.")] = None,
    resize: Annotated[
        list[str] | None, typer.Option(help="Give a layer another size, as conv3=512; may be repeated.")
    ] = None,
    filter_radius: Annotated[float, typer.Option(help="Largest RMS of a filter; 0 for any.")] = 0.1,
    image_size: Annotated[
        str | None,
        typer.Option(help="Side of the crops, or side:epochs,... to grow, as 128:28,176:12,227 [the network's own]."),
    ] = None,
    mixed_precision: Annotated[bool, typer.Option("--mixed-precision", help="Compute in bfloat16.")] = False,
    cache: Annotated[float, typer.Option(help="GiB of decoded images to keep in memory and shuffle at a time.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Of weights, order, crops and dropout.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder to write into; a new one, or one to resume.")] = Path(
        "runs/alexnet"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    evaluate: Annotated[str | None, typer.Option(help="Only measure: imagenette, imagenet, or a weights file.")] = None,
):
    check, inf = command_line.check, math.inf
    check("--model", model, model in NETWORKS, f"one of {', '.join(NETWORKS)}")
    check("--recipe", recipe, recipe in ("paper", "modern"), "paper or modern")
    check("--epochs", epochs, epochs is None or epochs >= 1, "at least 1")
    check("--batch-size", batch_size, batch_size is None or batch_size >= 1, "at least 1")
    check("--learning-rate", learning_rate, learning_rate is None or 0 < learning_rate < inf, "a positive number")
    check("--weight-decay", weight_decay, weight_decay is None or 0 <= weight_decay < inf, "0 or a positive number")
    check("--dropout", dropout, 0 <= dropout < 1, "at least 0 and below 1")
    check("--units", units, units is None or units >= 1, "at least 1")
    check("--filter-radius", filter_radius, 0 <= filter_radius < inf, "0 or a positive number")
    check("--cache", cache, 0 <= cache < inf, "0 or a positive number")
    check("--seed", seed, 0 <= seed < 2**32, "at least 0 and below 2**32")
    arguments = {
        "dataset": dataset,
        "model": model,
        "recipe": recipe,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "dropout": dropout,
        "units": units,
        "without": without or None,
        "resize": command_line.sizes("--resize", resize),
        "filter_radius": filter_radius,
        "image_size": image_size,
        "mixed_precision": mixed_precision,
        "cache": cache,
        "seed": seed,
    }
    places = {"out": out, "data_dir": data_dir, "download": download, "resume": resume}
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


def train(arguments, out, *, data_dir=None, download=False, resume=False, variant=None, say=typer.echo):
    """Train in this process, or resume an existing run; see `scripts.train_lenet5.train`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from models import training

    arguments = completed(arguments)
    folder = training.RunFolder(out, arguments["model"])
    with folder.held():
        _train(folder, arguments, data_dir, download, resume, variant, say)


def _train(folder, arguments, data_dir, download, resume, variant, say):
    """Train into a folder that is locked against other runs."""
    import tensorflow as tf

    import models
    from deconv import datasets
    from models import training
    from models.training import photographs, recipes, session

    out = folder.path
    plan = photographs.Plan.of(arguments["model"], arguments["image_size"], arguments["epochs"])
    results = folder.check(arguments, resume)
    if results is not None:
        say(f"The run in '{out}' is finished: top-1 accuracy {folder.result('top1'):.2%} on the central crop.")
        return
    places = {"data_dir": data_dir and str(data_dir), "download": download, "out": str(out), "resume": resume}
    train_set, test_set = (_photographs(arguments, places, split, plan.source_side) for split in ("train", "test"))
    provenance = session.provenance("scripts/train_alexnet.py", train_set, test_set)
    folder.check_data(provenance["data"])
    say(f"Training: {train_set.size:,} images. {train_set.source}")
    say(f"Test: {test_set.size:,} images. {test_set.source}")
    cache_bytes = int(arguments["cache"] * 2**30)
    fitting = cache_bytes // math.prod(train_set.image_shape)
    if fitting < train_set.size:
        say(f"Shuffling {fitting:,} of them at a time, which is what fits into --cache {arguments['cache']:g}.")

    build = getattr(models, NETWORKS[arguments["model"]])
    preprocess = getattr(models, arguments["model"]).preprocess_input
    steps = math.ceil(train_set.size / arguments["batch_size"])

    def network(side, dtype="float32"):
        return photographs.network(
            build,
            side,
            dtype,
            classes=len(train_set.class_names),
            **{name: arguments[name] for name in ("units", "dropout", "without", "resize")},
        )

    def kept(model):
        return photographs.filled(network(plan.side), model)

    for side in set(plan.sides):  # reports a side that is too small before anything is written
        build(weights=None, input_shape=(side, side, 3), include_top=False)
    if arguments["without"] or arguments["resize"]:  # reports unknown layers
        photographs.check_growth(network(None if plan.grows else plan.side), network(plan.side))
    training.make_repeatable(arguments["seed"])
    with photographs.devices():
        model = network(
            None if plan.grows else plan.side, "mixed_bfloat16" if arguments["mixed_precision"] else "float32"
        )
        recipes.prepare(
            model,
            arguments["recipe"],
            steps=steps * arguments["epochs"],
            grey_level=recipes.grey_level_of(preprocess),
            **{name: arguments[name] for name in ("learning_rate", "weight_decay", "filter_radius", "seed")},
        )
    about = {"variant": variant} if variant else {}
    folder.start({**about, **provenance, "arguments": arguments, "places": places})
    try:
        history, seconds = training.train(
            model,
            train_set.dataset,
            train_set.size,
            plan.tests(test_set, preprocess, cache_bytes),
            folder,
            epochs=arguments["epochs"],
            batch_size=arguments["batch_size"],
            seed=arguments["seed"],
            preprocess=preprocess,
            augment=plan.augmentation(arguments["recipe"], steps),
            learning_rate=recipes.annealing(arguments["recipe"], arguments["learning_rate"]),
            kept=kept,
            cache_bytes=cache_bytes,
            bar=sys.stdout.isatty() and variant is None,
            say=say,
        )
        model = kept(model)
        results = _measured(model, test_set, plan.side, preprocess)
        rounded = photographs.filled(network(plan.side), model, "float16")
        half = _measured(rounded, test_set, plan.side, preprocess, ten=False)
        seen = _measured(model, train_set, plan.side, preprocess, ten=False)
    except training.DivergedError:
        folder.withdraw()
        raise
    except (tf.errors.OpError, ValueError) as error:  # a damaged image, detected while reading
        folder.withdraw()
        raise ValueError(datasets.reason(error)) from error
    results |= {f"{name}_float16": value for name, value in half.items()}
    results |= {f"train_{name}": value for name, value in seen.items()}
    results |= {"parameters": model.count_params(), "seconds": round(seconds, 1)}
    session.finish(folder, model, history, results, f"{NETWORKS[arguments['model']]} on {train_set.name}")
    say(_report(results, test_set))
    say(f"{seconds:.0f} s of training. Written to '{out}'.")


def completed(arguments):
    """The arguments, with the recipe's defaults for those that are None."""
    from models.training import recipes

    usual = recipes.RECIPES[arguments["recipe"]]
    return {name: usual.get(name) if value is None else value for name, value in arguments.items()}


def _evaluate(arguments, places, weights):
    """Print the accuracy of given weights."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    import models
    from deconv import datasets
    from models.training import photographs, recipes

    epochs = arguments["epochs"] or recipes.RECIPES[arguments["recipe"]]["epochs"]
    plan = photographs.Plan.of(arguments["model"], arguments["image_size"], epochs)
    test_set = _photographs(arguments, places, "test", plan.source_side)
    build, given = getattr(models, NETWORKS[arguments["model"]]), {"classes": len(test_set.class_names)}
    if arguments["units"] is not None:
        given["units"] = arguments["units"]
    if arguments["without"] or arguments["resize"]:
        alteration = {name: arguments[name] for name in ("without", "resize")}
        model = photographs.network(build, plan.side, "float32", **given, **alteration)
        models.loading.weight_files.load(model, weights)
    else:
        model = build(weights=weights, input_shape=(plan.side, plan.side, 3), **given)
    typer.echo(f"Test: {test_set.size:,} images. {test_set.source}")
    preprocess = getattr(models, arguments["model"]).preprocess_input
    try:
        typer.echo(_report(_measured(model, test_set, plan.side, preprocess), test_set))
    except tf.errors.OpError as error:  # a damaged image, detected while reading
        raise ValueError(datasets.reason(error)) from error


def _measured(model, test_set, side, preprocess, ten=True):
    """The accuracies of a network; with a progress bar on a terminal."""
    from tqdm import tqdm

    from models.training import evaluation

    return evaluation.accuracies(
        model,
        test_set.dataset,
        test_set.size,
        side,
        preprocess,
        ten=ten,
        progress=lambda batches: tqdm(batches, "Testing", unit=" batches", leave=False, disable=None),
    )


def _report(results, test_set):
    return (
        f"Central crop: top-1 {results['top1']:.2%}, top-5 {results['top5']:.2%}; ten crops: top-1 "
        f"{results['ten_crop_top1']:.2%}, top-5 {results['ten_crop_top5']:.2%}; {test_set.size:,} images of "
        f"{test_set.name}."
    )


def _photographs(arguments, places, split, side):
    """One split of the data set as colour images, square and of one size."""
    from deconv import datasets

    found = datasets.load(
        arguments["dataset"],
        split,
        data_dir=places["data_dir"],
        download=places["download"],
        image_size=(side, side),
        channels=3,
    )
    if found.several:
        raise ValueError(f"{arguments['dataset']!r} has several labels for an image; one is needed to train on.")
    if not found.class_names:
        raise ValueError(f"{arguments['dataset']!r} has no labels to train on: one sub-folder per class is expected.")
    return found


if __name__ == "__main__":
    app()
