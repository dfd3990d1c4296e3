"""Tables 2 and 3: errors of networks trained from scratch with layers removed or resized, and of ensembles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from deconv import graph
from deconv.deconvnet.recording import recorder
from deconv.figures.picture import Picture
from deconv.figures.published_results import Table, published
from deconv.figures.subject import Subject
from deconv.figures.table3_claims import comparison_claims, depth_claims, standard_error
from deconv.figures.training_runs import Run, data_of, read_runs
from deconv.plotting.error_chart import error_bars
from deconv.runtime.short_repr import short_repr

FULL_DEPTH = ("none", "half", "double", "wide", "wide and double")
"""Changes to a network that keep all its layers."""
_ALONE = {
    "replication of Krizhevsky et al.": "replication of Krizhevsky et al., 1 convnet",
    "as in Fig. 3": "1 convnet as in Fig. 3",
    "as in Fig. 3, layers 3, 4, 5: 512, 1024, 512 maps": "1 convnet, layers 3, 4, 5: 512, 1024, 512 maps (b)",
}
"""Rows of the paper's Table 3, and the rows of Table 2 for the same networks."""
_TOGETHER = {"same": "5 convnets as in Fig. 3 (a)", "full": "6 convnets, (a) and (b) combined"}
"""Rows of Table 2 that correspond to our two kinds of ensembles."""


class Row(NamedTuple):
    """A trained network and its errors.

    Attributes:
        name: Short distinguishing description.
        network: Name of the network that was changed, e.g. `"alexnet"`.
        change: The change, as named in `models.training.variants`: `"none"`, `"convolutions"`, ...; "" if unknown.
        paper: The corresponding row of the paper's Table 3, or "".
        parameters: Number of parameters.
        train, test, top5: Training top-1, test top-1 and test top-5 errors, fractions in [0, 1]; NaN if unknown.
        train_size, test_size: Numbers of images.
    """

    name: str
    network: str
    change: str
    paper: str
    parameters: int
    train: float
    test: float
    top5: float
    train_size: int
    test_size: int


class Ensemble(NamedTuple):
    """Networks whose probabilities are averaged.

    Attributes:
        kind: `"same"`: one network trained from several seeds; `"full"`: all networks of full depth.
        name: Description of the ensemble.
        members: Names of the networks.
        each: `(members,)` float64, error of each network, a fraction in [0, 1].
        together: Error of the mean of their probabilities.
        size: Number of images.
    """

    kind: str
    name: str
    members: list[str]
    each: np.ndarray
    together: float
    size: int

    def __repr__(self) -> str:
        return short_repr(self)


def error_pictures(subject: Subject) -> Iterator[Picture]:
    """Draw Tables 2 and 3; nothing without suitable runs of the group `ablation`."""
    runs = read_runs(subject.runs / "ablation") if subject.runs is not None else []
    comparable = [run for run in runs if data_of(run) == data_of(runs[0])]
    if not comparable:
        return
    rows, data = [row_of(run) for run in comparable], data_of(comparable[0])
    origin = f"Training images: {data['train']} Test images: {data['test']}"
    others = len(runs) - len(comparable)
    if others:
        origin += (
            f" {others} {'run' if others == 1 else 'runs'} on other data {'is' if others == 1 else 'are'} omitted."
        )
    yield _ablation_picture(rows, origin)
    yield from _comparison_picture(rows, ensemble_data(subject, comparable), origin)


def row_of(run: Run) -> Row:
    """Errors in the record of a run, as a `Row`."""
    results, data, variant = run.record["results"], data_of(run), run.record.get("variant", {})
    keys = (("train_top1", "train_accuracy"), ("top1", "test_accuracy"), ("top5",))  # names for photographs, for digits
    known = [next((results[key] for key in names if key in results), math.nan) for names in keys]
    parameters = results.get("parameters")
    train, test, top5 = (1 - accuracy for accuracy in known)
    return Row(
        name=run.name,
        network=run.model_file.stem,
        change=variant.get("change", ""),
        paper=variant.get("row", ""),
        parameters=run.model().count_params() if parameters is None else parameters,
        train=train,
        test=test,
        top5=top5,
        train_size=data["train_size"],
        test_size=data["test_size"],
    )


def ensemble_data(subject: Subject, runs: Sequence[Run], batch_size: int = 64) -> list[Ensemble]:
    """Compute the errors of single networks and of ensembles on the subject's held-out images.

    Ensembles are the runs of one unchanged network from several seeds, and all networks of full depth. A run is used
    only if its network has the subject's name and input shape, because it gets the subject's input, and if it was
    tested on the held-out images.

    Args:
        subject: A `Subject`.
        runs: List of `Run`.
        batch_size: Number of images per batch.

    Returns:
        List of `Ensemble`, empty without held-out images or with fewer than two such networks.
    """
    images, identity = subject.held_out, (subject.model.name, subject.model.input_shape)
    if images is None:
        return []
    changes = [run.record.get("variant", {}).get("change") for run in runs]
    tested = [data_of(run)["test"] == images.source for run in runs]
    loaded = [
        (run, change, run.model())
        for run, change, is_tested in zip(runs, changes, tested, strict=True)
        if is_tested and change in FULL_DEPTH
    ]
    full = [(run, change, model) for run, change, model in loaded if (model.name, model.input_shape) == identity]
    same = [place for place, (_, change, _) in enumerate(full) if change == "none"]
    groups = {"same": same} if len(same) > 1 else {}
    if len(full) > max(1, len(same)):
        groups["full"] = list(range(len(full)))
    if not groups:
        return []
    scorers = [_scorer(model) for _, _, model in full]
    alone, together = np.zeros(len(full), int), dict.fromkeys(groups, 0)
    for pixels, labels in images.dataset.map(lambda image, label, *_: (image, label)).batch(batch_size):
        inputs = subject.prepared(pixels.numpy())
        scores = np.stack([score(inputs) for score in scorers])
        alone += wrong(scores, labels.numpy())
        for kind, members in groups.items():
            together[kind] += int(wrong(mean_probabilities(scores[members]), labels.numpy()))
    words = {"same": "networks from different seeds", "full": "networks of full depth"}
    return [
        Ensemble(
            kind=kind,
            name=f"{len(members)} {words[kind]}",
            members=[full[place][0].name for place in members],
            each=alone[members] / images.size,
            together=together[kind] / images.size,
            size=images.size,
        )
        for kind, members in groups.items()
    ]


def mean_probabilities(scores: np.ndarray) -> np.ndarray:
    """Mean probabilities of an ensemble: `(networks, n, classes)` probabilities to `(n, classes)`."""
    return np.asarray(scores).mean(axis=0, dtype=np.float64)


def wrong(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Number of images whose most probable class is not the label: `(..., n, classes)` to ints `(...)`."""
    return (scores.argmax(axis=-1) != labels).sum(axis=-1)


def _ablation_picture(rows: Sequence[Row], origin: str) -> Picture:
    spread = [2 * standard_error(row.test, size=row.test_size) for row in rows]
    title = f"Errors of {len(rows)} {'network' if len(rows) == 1 else 'networks'} trained from scratch"
    caption = (
        f"After the paper's Table 3. {origin} Left: top-1 error on the training images (not augmented) and on the test "
        "images; the error bar is two standard errors of a binomial rate. Right: the corresponding row of the paper, "
        "on ImageNet 2012. Each row is one training run with one seed; another seed gives other numbers."
    )
    paper = {row[0]: row[1:] for row in published("table3").rows}
    theirs = np.array([paper.get(row.paper, [math.nan] * 3) for row in rows], float) / 100
    figure = error_bars(
        [f"{row.name}\n{row.parameters:,} parameters" for row in rows],
        {"training": [row.train for row in rows], "test": [row.test for row in rows]},
        {"training": theirs[:, 0], "validation": theirs[:, 1]},
        title,
        ("ours", "the paper's row, ImageNet 2012"),
        spread,
    )
    table = Table(
        "Error in %, each network trained from scratch; beside ours the paper's row, on ImageNet 2012",
        [
            *("change", "parameters", "train top-1", "test top-1", "test top-5"),
            *("the paper's row", "its train top-1", "its val top-1", "its val top-5"),
        ],
        [
            [row.name, row.parameters, *_percents(row.train, row.test, row.top5), row.paper or None, *_percents(*their)]
            for row, their in zip(rows, theirs, strict=True)
        ],
        f"One seed each. Two standard errors of the test error are at most {100 * max(spread):.2f} points.",
    )
    numbers = {"rows": [row._asdict() for row in rows], "two_standard_errors": spread}
    return Picture(
        name="table3_errors",
        title=title,
        caption=caption,
        figure=figure,
        numbers=numbers,
        findings=depth_claims(rows),
        tables=(table,),
    )


def _comparison_picture(rows: Sequence[Row], ensembles: Sequence[Ensemble], origin: str) -> Iterator[Picture]:
    """Compare whole networks and ensembles (Table 2)."""
    single = [row for row in rows if row.change in ("none", "wide")]
    lines: list[tuple[str, float, int, str | None]] = [
        (row.name, row.test, row.test_size, _ALONE.get(row.paper)) for row in single
    ]
    lines += [(found.name, found.together, found.size, _TOGETHER[found.kind]) for found in ensembles]
    if not lines:
        return
    names, errors, sizes, answers = zip(*lines, strict=True)
    paper = {row[0]: row[1] for row in published("table2").rows}
    theirs = np.array([paper.get(row, math.nan) for row in answers], float) / 100
    spread = [2 * standard_error(error, size=size) for error, size in zip(errors, sizes, strict=True)]
    title = "Errors of single networks and of ensembles"
    caption = (
        f"After the paper's Table 2. {origin} Left: top-1 error on the test images, with two standard errors of a "
        "binomial rate; for ensembles, the error of the mean of the probabilities. Right: the corresponding row of the "
        "paper, on the validation images of ImageNet 2012. Each network is one training run with one seed."
    )
    figure = error_bars(
        names, {"test": errors}, {"validation": theirs}, title, ("ours", "the paper's row, ImageNet 2012"), spread
    )
    table = Table(
        "Error in %; beside ours the paper's row, on ImageNet 2012",
        ["networks", "test top-1", "the paper's row", "its val top-1"],
        [
            [name, *_percents(error), answer, *_percents(their)]
            for name, error, answer, their in zip(names, errors, answers, theirs, strict=True)
        ],
        " ".join(f"{found.name}: {'; '.join(found.members)}." for found in ensembles),
    )
    numbers = {"rows": [row._asdict() for row in single], "ensembles": [found._asdict() for found in ensembles]}
    claims = comparison_claims(rows, ensembles)
    yield Picture(
        name="table2_errors",
        title=title,
        caption=caption,
        figure=figure,
        numbers=numbers,
        findings=claims,
        tables=(table, published("table2")),
    )


def _percents(*errors: float) -> list[float | None]:
    """Errors in per cent for a table, None for unknown values."""
    return [None if math.isnan(error) else round(100 * float(error), 2) for error in errors]


def _scorer(model: keras.Model) -> Callable[[Any], np.ndarray]:
    """Function that returns the network output for preprocessed images."""
    model_graph = graph.walk(model)
    head = next(step for step in model_graph.steps if model_graph.outputs[0] in step.outputs)
    forward = recorder(model_graph, [head])
    return lambda images: forward(images)[0][0].numpy()
