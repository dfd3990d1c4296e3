"""Train the variants of a network that the figures compare, one after the other.

Each run of scripts/train_lenet5.py or scripts/train_alexnet.py is written into OUT/GROUP/NAME: one network over 64
epochs (evolution), one with and without dropout, weight decay and the like (regularisation), and the rows of the
paper's Table 3 (ablation). Finished runs are kept and unfinished ones are resumed, so that the same command continues
after an interruption.
"""

import inspect
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from scripts import command_line, train_alexnet, train_lenet5

if TYPE_CHECKING:
    from models.training.variants import Variant

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
SCRIPTS: dict[str, ModuleType] = {"lenet5": train_lenet5, "alexnet": train_alexnet}
GROUPS = ("evolution", "regularisation", "ablation")
_NOT_ARGUMENTS = ("data_dir", "download", "out", "resume", "evaluate")


@app.command(help=__doc__)
def main(
    model: Annotated[str, typer.Option(help="lenet5, or alexnet, whose ablation includes ZFNets.")] = "lenet5",
    group: Annotated[list[str] | None, typer.Option(help=f"{', '.join(GROUPS)}; may be repeated [all groups].")] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Data set, as for the script of the network [its default].")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the TFDS data sets.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Download missing data sets with TFDS.")] = False,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of every run [evolution 64, others: those of the variant].")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per batch [that of the variant].")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Initial or maximum rate [that of the script].")] = None,
    recipe: Annotated[str | None, typer.Option(help="Training recipe of AlexNet: paper or modern [paper].")] = None,
    units: Annotated[
        int | None, typer.Option(help="Units of fc6 and fc7 of the unchanged AlexNet [paper 4096, modern 512].")
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(help="Sides of the crops for AlexNet, such as 128:28,176:12,227 [227].")
    ] = None,
    mixed_precision: Annotated[
        bool, typer.Option("--mixed-precision", help="For AlexNet: compute in bfloat16.")
    ] = False,
    cache: Annotated[float | None, typer.Option(help="For AlexNet: GiB of decoded images in the cache [0.5].")] = None,
    seed: Annotated[int, typer.Option(help="Random seed of every run.")] = 0,
    out: Annotated[Path, typer.Option(help="Output folder: a new one, or one to resume.")] = Path("runs"),
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
    given: dict[str, Any] = {"dataset": dataset, "epochs": epochs, "batch_size": batch_size}
    given["learning_rate"] = learning_rate
    for_alexnet: dict[str, Any] = {"recipe": recipe, "units": units, "image_size": image_size, "cache": cache}
    for_alexnet["mixed_precision"] = mixed_precision or None
    for name, value in for_alexnet.items():
        option = f"--{name.replace('_', '-')}"
        check(option, value, model == "alexnet" or value is None, "omitted unless --model is alexnet")
    given = {name: value for name, value in {**given, **for_alexnet}.items() if value is not None}
    places: dict[str, Any] = {"data_dir": data_dir, "download": download}
    groups = tuple(dict.fromkeys(group or GROUPS))
    detail = typer.echo if model == "alexnet" else _ignore  # an epoch of LeNet-5 takes less than a second
    try:
        with command_line.stopped_by_signals():
            train(model, groups, out, seed=seed, say=typer.echo, detail=detail, **places, **given)
    except (ValueError, OSError, ImportError) as error:
        command_line.fail(error)
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. The same command resumes after the last finished epoch.", err=True)
        raise typer.Exit(130) from None


def _ignore(line: str) -> None:
    """Function for lines that are not printed."""


def train(
    model: str,
    groups: Sequence[str],
    out: str | os.PathLike,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    seed: int = 0,
    say: Callable[[str], object] = print,
    detail: Callable[[str], object] = _ignore,
    **given: Any,
) -> None:
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
        say: Function for one line per network.
        detail: Function for the lines of the training script.
        **given: Arguments of the training script for all runs, such as `dataset` and `epochs`.

    Raises:
        ValueError, OSError, ImportError: If a run is impossible, if possible before the first is started; or, at the
            end, if runs have diverged.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    from models import training

    runs = planned(model, groups, seed, given)
    folders = [Path(out, variant.group, variant.slug) for variant, _ in runs]
    finished = [
        _finished_results(model, arguments, folder) for (_, arguments), folder in zip(runs, folders, strict=True)
    ]
    diverged = []
    for (variant, arguments), folder, results in zip(runs, folders, finished, strict=True):
        count = sum(other.group == variant.group for other, _ in runs)
        title = f"{variant.group}, {variant.place} of {count}: {variant.name}"
        if results is not None:
            say(f"{title}: already finished.")
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
            f"Training has diverged for {', '.join(diverged)}; all others are finished. Omit these, or start again "
            "in another folder with a lower --learning-rate."
        )


def planned(
    model: str, groups: Sequence[str], seed: int, given: dict[str, Any]
) -> "list[tuple[Variant, dict[str, Any]]]":
    """The variants of groups and all arguments of each: the script's, the variant's, and those `given`."""
    from models.training.variants import variants

    options = inspect.signature(SCRIPTS[model].main).parameters.items()
    defaults = {name: option.default for name, option in options if name not in _NOT_ARGUMENTS} | given
    relative: dict[str, Any] = {}  # arguments from which variants derive others
    if model == "alexnet":
        defaults = train_alexnet.completed(defaults)
        relative = {name: defaults[name] for name in ("units", "image_size")}
    fixed = {name: value for name, value in given.items() if name not in relative}
    return [
        (variant, {**defaults, **variant.options, **fixed})
        for group in groups
        for variant in variants(model, group, seed=seed, **relative)
    ]


def _finished_results(model: str, arguments: dict[str, Any], folder: Path) -> dict[str, Any] | None:
    """The results of a finished run, or None.

    Raises:
        ValueError: If the run cannot start or resume; so this is reported before any training.
    """
    from models import training

    if model == "alexnet":
        from models.training import photographs

        arguments = train_alexnet.completed(arguments)
        photographs.Plan.of(arguments["model"], arguments["image_size"], arguments["epochs"])
        model = arguments["model"]
    return training.RunFolder(folder, model).check(arguments, resume=True)


if __name__ == "__main__":
    app()
