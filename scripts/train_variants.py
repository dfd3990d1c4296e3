"""Train the variants of a network that the figures compare, one after the other.

Writes a run of scripts/train_lenet5.py or scripts/train_alexnet.py into OUT/GROUP/NAME for each: one network over 64
epochs (evolution), one with and without dropout, weight decay and the like (regularisation), and the rows of the
paper's Table 3 (ablation). Finished runs are kept and unfinished ones gone on with, so the same command goes on after
an interruption.
"""

import inspect
import math
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from scripts import command_line, train_alexnet, train_lenet5

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
SCRIPTS = {"lenet5": train_lenet5, "alexnet": train_alexnet}
GROUPS = ("evolution", "regularisation", "ablation")
_NOT_ARGUMENTS = ("data_dir", "download", "out", "resume", "evaluate")


@app.command(help=__doc__)
def main(
    model: Annotated[str, typer.Option(help="lenet5, or alexnet, whose ablation has ZFNets too.")] = "lenet5",
    group: Annotated[list[str] | None, typer.Option(help=f"{', '.join(GROUPS)}; may be repeated [all].")] = None,
    dataset: Annotated[str | None, typer.Option(help="As the network's own script takes it [its default].")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where TFDS keeps its data sets.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Let TFDS fetch what is not there.")] = False,
    epochs: Annotated[int | None, typer.Option(help="Of every run [evolution 64, else the variant's own].")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step [the variant's own].")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="First, or highest [the script's].")] = None,
    recipe: Annotated[str | None, typer.Option(help="AlexNet's: paper or modern [paper].")] = None,
    units: Annotated[
        int | None, typer.Option(help="AlexNet's fc6 and fc7 as they are [paper 4096, modern 512].")
    ] = None,
    image_size: Annotated[str | None, typer.Option(help="AlexNet's, as 128:28,176:12,227 [its own].")] = None,
    mixed_precision: Annotated[bool, typer.Option("--mixed-precision", help="AlexNet's: compute in bfloat16.")] = False,
    cache: Annotated[float | None, typer.Option(help="AlexNet's: GiB of decoded images to keep [0.5].")] = None,
    seed: Annotated[int, typer.Option(help="Of every run.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder to write into, or to go on with.")] = Path("runs"),
):
    check, inf = command_line.check, math.inf
    check("--model", model, model in SCRIPTS, " or ".join(SCRIPTS))
    for name in group or ():
        check("--group", name, name in GROUPS, f"one of {', '.join(GROUPS)}")
    check("--epochs", epochs, epochs is None or epochs >= 1, "at least 1")
    check("--batch-size", batch_size, batch_size is None or batch_size >= 1, "at least 1")
    check("--learning-rate", learning_rate, learning_rate is None or 0 < learning_rate < inf, "a positive number")
    check("--recipe", recipe, recipe in (None, "paper", "modern"), "paper or modern")
    check("--units", units, units is None or units >= 1, "at least 1")
    check("--cache", cache, cache is None or 0 <= cache < inf, "0 or a positive number")
    check("--seed", seed, 0 <= seed < 2**32 - 2, "at least 0 and below 2**32 - 2")
    given = {"dataset": dataset, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    alexnets = {"recipe": recipe, "units": units, "image_size": image_size, "cache": cache}
    alexnets["mixed_precision"] = mixed_precision or None
    for name, value in alexnets.items():
        option = f"--{name.replace('_', '-')}"
        check(option, value, model == "alexnet" or value is None, "left out where --model is not alexnet")
    given = {name: value for name, value in {**given, **alexnets}.items() if value is not None}
    places = {"data_dir": data_dir, "download": download}
    groups = tuple(dict.fromkeys(group or GROUPS))
    told = typer.echo if model == "alexnet" else _say_nothing  # an epoch of LeNet-5 takes less than a second
    try:
        with command_line.stopped_by_signals():
            train(model, groups, out, seed=seed, say=typer.echo, detail=told, **places, **given)
    except (ValueError, OSError, ImportError) as error:
        command_line.fail(error)
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. The same command goes on after the last finished epoch.", err=True)
        raise typer.Exit(130) from None


def _say_nothing(line):
    pass


def train(model, groups, out, *, data_dir=None, download=False, seed=0, say=print, detail=_say_nothing, **given):
    """Train the missing runs of groups of variants in this process.

    Every run starts from a cleared Keras session and its own seed, so that its weights do not depend on other runs. Two
    effects remain afterwards: the global state of Keras is cleared (existing models continue to work), and TensorFlow's
    operations are deterministic in the whole process (`models.training.make_repeatable`), which makes some slower.

    Args:
        model: `"lenet5"` or `"alexnet"`.
        groups: Names from `models.training.variants.GROUPS`.
        out: Folder to write into; each run has its own, `out/group/slug`.
        data_dir, download: See `deconv.datasets.load`.
        seed: Seed of the runs.
        say: Function for a line for each network.
        detail: Function for the lines of the training script.
        **given: Arguments of the training script for all runs, such as `dataset` and `epochs`.

    Raises:
        ValueError, OSError, ImportError: If a run is impossible, as far as possible before the first is started; or, at
            the end, if runs have diverged.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    from models import training

    runs = planned(model, groups, seed, given)
    folders = [Path(out, variant.group, variant.slug) for variant, _ in runs]
    finished = [_looked_at(model, arguments, folder) for (_, arguments), folder in zip(runs, folders, strict=True)]
    diverged = []
    for (variant, arguments), folder, results in zip(runs, folders, finished, strict=True):
        count = sum(other.group == variant.group for other, _ in runs)
        title = f"{variant.group}, {variant.place} of {count}: {variant.name}"
        if results is not None:
            say(f"{title}: finished before.")
            continue
        say(title)
        keras.utils.clear_session()
        options = {"data_dir": data_dir, "download": download, "resume": True, "variant": variant.record}
        try:
            with command_line.output_folder(folder):
                SCRIPTS[model].train(arguments, folder, **options, say=detail)
        except training.DivergedError as error:
            say(f"  {error}")
            diverged.append(f"{variant.group}/{variant.slug}")
    if diverged:
        raise ValueError(
            f"Training has diverged for {', '.join(diverged)}; all others are finished. Do without, or start anew in "
            "another folder with a lower --learning-rate."
        )


def planned(model, groups, seed, given):
    """The variants of groups and all arguments of each: the script's, the variant's, and those `given`."""
    from models.training.variants import variants

    options = inspect.signature(SCRIPTS[model].main).parameters.items()
    usual = {name: option.default for name, option in options if name not in _NOT_ARGUMENTS} | given
    relative = {}  # arguments from which variants derive others
    if model == "alexnet":
        usual = train_alexnet.completed(usual)
        relative = {name: usual[name] for name in ("units", "image_size")}
    fixed = {name: value for name, value in given.items() if name not in relative}
    return [
        (variant, {**usual, **variant.options, **fixed})
        for group in groups
        for variant in variants(model, group, seed=seed, **relative)
    ]


def _looked_at(model, arguments, folder):
    """The results of a finished run, or None. Runs that cannot start or resume are reported before any training."""
    from models import training

    if model == "alexnet":
        from models.training import photographs

        arguments = train_alexnet.completed(arguments)
        photographs.Plan.of(arguments["model"], arguments["image_size"], arguments["epochs"])
        model = arguments["model"]
    return training.RunFolder(folder, model).check(arguments, resume=True)


if __name__ == "__main__":
    app()
