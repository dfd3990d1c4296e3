"""`python -m deconv figures`, and `scripts/make_figures.py`: the figures and tables of Zeiler & Fergus."""

import inspect
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from deconv.cli.named_networks import NETWORKS
from deconv.cli.options import Request, check, command
from deconv.cli.output import fail, in_terminal, load_tensorflow
from deconv.imaging.image_files import printable

Trainer = Callable[[Sequence[str], Path, int], Path]
"""Function `train(groups, folder, seed)` that trains the missing runs of groups of networks and returns `folder`."""

More = Annotated[list[str] | None, typer.Argument(metavar="[RECIPE]...", help="More recipes for --only.")]
Weights = Annotated[
    str | None,
    typer.Option(
        help="Weights of a named network: mnist, imagenette (included), imagenet (downloaded), or a file [default: "
        "mnist or imagenette]."
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RECIPE",
        help="Draw these only: fig1 to fig9, table1 to table7, pooling, filters, activations, health; may be repeated.",
    ),
]
TransferData = Annotated[
    str | None,
    typer.Option(help="Data set for Tables 4 to 7, as --images [default: digits-8x8 for lenet5, else none]."),
]
Runs = Annotated[
    Path | None,
    typer.Option(
        help="Output folder of scripts/train_variants.py, for Figs. 4, 6, Tables 2, 3 and health [default: for lenet5 "
        "on its default images, runs that the package contains]."
    ),
]
Train = Annotated[
    bool,
    typer.Option(
        "--train",
        help="Train the networks that figures compare instead of reading stored ones, which takes minutes: from random "
        "weights for Fig. 9, and, with make_figures.py, the runs of lenet5 that are missing in OUT/runs.",
    ),
]
Parts = Annotated[
    Path | None, typer.Option(help="CSV file with columns image, part, top, left, bottom, right, for Table 1.")
]


def figures_command(trainer: Trainer | None = None) -> Callable:
    """The command, and how `--train` trains the runs that Figs. 4, 6 and Table 3 of LeNet-5 compare.

    Args:
        trainer: Function that trains missing runs; without one, `--train` is refused for these figures.
    """

    @command
    def figures(
        request: Request,
        more: More = None,
        weights: Weights = None,
        only: Only = None,
        transfer: TransferData = None,
        runs: Runs = None,
        train: Train = False,
        parts: Parts = None,
        anew: Annotated[bool, typer.Option("--anew", help="Draw finished figures again.")] = False,
    ):
        """Draw the figures and tables of Zeiler & Fergus, and an HTML page that compares them with the paper.

        Every image must have one class. Finished figures are not drawn again when the command is repeated. A figure
        whose data are missing (training runs, parts, a second data set) is omitted.

        \b
          python -m deconv figures --out figures
          python -m deconv figures --model alexnet --only fig2 fig7
          python -m deconv figures --model own.keras --images my_pictures/ --preprocess unit
        """
        check("--runs", runs, runs is None or runs.is_dir(), "an existing folder")
        check("--parts", parts, parts is None or parts.is_file(), "an existing file")
        is_named = request.model in NETWORKS
        check("--weights", weights, weights is None or is_named, "omitted unless --model is a named network")
        if more and not only:
            raise ValueError(f"Unexpected argument {more[0]!r}. To choose recipes pass --only {' '.join(more)}.")
        given = {"dataset": request.images, "split": request.split, "transfer": transfer, "weights": weights}
        try:
            paths = {"runs": runs, "parts": parts}
            _draw(request, given, paths, [*(only or ()), *(more or ())], anew, train, trainer)
        except KeyboardInterrupt:
            there = any(request.out.glob("*.json"))
            finished = f"; the finished figures are in {printable(request.out)}, and the same command continues"
            fail(f"interrupted{finished if there else ''}.", 130)

    return figures


def standalone(trainer: Trainer, text: str) -> typer.Typer:
    """An application with this command alone, whose `--out` is `figures/MODEL` by default.

    Args:
        trainer: See `figures_command`.
        text: Help text.
    """
    run = figures_command(trainer)
    signature = inspect.signature(run)

    def main(**given):
        model = given["model"]
        given["out"] = Path("figures") / Path(model).name if given["out"] is None else given["out"]
        run(**given)

    help_of_out = typer.Option(help="Output folder; created if it does not exist [default: figures/MODEL].")
    changed: dict[str, dict[str, Any]] = {"out": {"default": None, "annotation": Annotated[Path | None, help_of_out]}}
    parameters = [one.replace(**changed.get(name, {})) for name, one in signature.parameters.items()]
    main.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    main.__annotations__ = {one.name: one.annotation for one in parameters}
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(help=text)(main)
    return app


def _draw(request, given, paths, recipes, anew, train, trainer):
    started = time.perf_counter()
    load_tensorflow()
    from deconv import figures
    from deconv.figures.subject import count_of
    from models import training

    recipes = figures.chosen(recipes)
    training.make_repeatable(request.seed)  # some recipes train
    subject = _subject(request, recipes, given, paths)._replace(scratch=train or _stored_runs() / "transfer.json")
    groups = sorted({group for recipe in recipes for group in figures.GROUPS.get(recipe, ())})
    is_default = request.model == "lenet5" and request.images in (None, NETWORKS["lenet5"].dataset)
    if groups and is_default and subject.runs is None:
        subject = subject._replace(runs=_runs(request, groups, train, trainer))
    typer.echo(f"{subject.model.name} on {subject.data.source}")
    drawn = figures.draw(subject, request.out, recipes, anew=anew, progress=in_terminal())
    empty = [recipe for recipe, names in drawn.items() if not names]
    if empty:
        typer.echo(f"No figures for this network and data: {', '.join(empty)}.")
    written, seconds = count_of(sum(map(len, drawn.values())), "figure"), time.perf_counter() - started
    typer.echo(f"Written: {written} and {printable(request.out / 'index.html')}, in {seconds:.0f} s")


def _stored_runs():
    """Folder of the packed runs of LeNet-5 that the package contains, see `scripts/pack_runs.py`."""
    import models

    return Path(models.__file__).parent / "weights" / "lenet5_runs"


def _runs(request, groups, train, trainer):
    """Folder of the runs of LeNet-5: those of the package, or trained ones."""
    if not train:
        typer.echo(f"Runs: those of the package, with float16 weights ({', '.join(groups)}). --train trains them anew.")
        return _stored_runs()
    if trainer is None:
        raise ValueError(
            "--train cannot train the runs of Figs. 4, 6, Tables 2, 3 and health here. Use scripts/make_figures.py "
            "--train, or pass --only transfer, or --runs FOLDER."
        )
    return trainer(groups, request.out / "runs", request.seed)


def _subject(request, recipes, given, paths):
    from deconv.cli import images_option, model_option, subject_builder

    if request.model in NETWORKS and (request.preprocess is None or given["weights"] is not None):
        network = NETWORKS[request.model]._replace(**{name: value for name, value in given.items() if value})
        tfds = {"data_dir": request.data_dir, "download": request.download}
        subject = subject_builder.subject(request.model, network, **tfds, **paths, seed=request.seed, needed=recipes)
        if request.preprocess is None:
            return subject
        function = model_option.preprocessing(request.preprocess, request.model, subject.model.inputs[0].dtype)
        return subject._replace(preprocess=function)
    subject = subject_builder.requested_subject(request)
    subject_builder.check_labels(subject.data)
    *size, channels = subject.data.image_shape
    transfer = given["transfer"]
    if transfer is not None:
        transfer = images_option.images_of(transfer, None, tuple(size), channels, request.data_dir, request.download)
    return subject._replace(transfer=transfer, **paths)


figures = figures_command()
