"""Tables 2 and 3: errors of networks trained from scratch with layers removed or resized, and of ensembles."""

import math
from typing import NamedTuple

import numpy as np

from deconv import graph
from deconv.deconvnet.recording import recorder
from deconv.figures.picture import Picture
from deconv.figures.published import Table, published
from deconv.figures.table3_claims import comparison_claims, depth_claims, standard_error
from deconv.figures.training_runs import data_of, read_runs
from deconv.plotting.error_bars import error_bars
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
    members: list
    each: np.ndarray
    together: float
    size: int

    def __repr__(self) -> str:
        return short_repr(self)


def error_pictures(subject):
    """Draw Tables 2 and 3; nothing without suitable runs of the group `ablation`."""
    runs = read_runs(subject.runs / "ablation") if subject.runs is not None else []
    alike = [run for run in runs if data_of(run) == data_of(runs[0])]
    if not alike:
        return
    rows, data = [row_of(run) for run in alike], data_of(alike[0])
    made_of = f"Trained: {data['train']} Tested: {data['test']}"
    if len(alike) < len(runs):
        made_of += f" {len(runs) - len(alike)} runs on other data are left out."
    yield _ablation_picture(rows, made_of)
    yield from _comparison_picture(rows, ensemble_data(subject, alike), made_of)


def row_of(run):
    """Errors in the record of a run, as a `Row`."""
    results, data, variant = run.record["results"], data_of(run), run.record.get("variant", {})
    keys = (("train_top1", "train_accuracy"), ("top1", "test_accuracy"), ("top5",))  # names for photographs, for digits
    known = [next((results[key] for key in names if key in results), math.nan) for names in keys]
    parameters = results.get("parameters")
    return Row(
        run.name,
        run.model_file.stem,
        variant.get("change", ""),
        variant.get("row", ""),
        run.model().count_params() if parameters is None else parameters,
        *(1 - accuracy for accuracy in known),
        data["train_size"],
        data["test_size"],
    )


def ensemble_data(subject, runs, batch_size=64):
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
    images, kind = subject.held_out, (subject.model.name, subject.model.input_shape)
    if images is None:
        return []
    changes = [run.record.get("variant", {}).get("change") for run in runs]
    tested = [data_of(run)["test"] == images.source for run in runs]
    loaded = [
        (run, change, run.model())
        for run, change, on_these in zip(runs, changes, tested, strict=True)
        if on_these and change in FULL_DEPTH
    ]
    full = [(run, change, model) for run, change, model in loaded if (model.name, model.input_shape) == kind]
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
            kind,
            f"{len(members)} {words[kind]}",
            [full[place][0].name for place in members],
            alone[members] / images.size,
            together[kind] / images.size,
            images.size,
        )
        for kind, members in groups.items()
    ]


def mean_probabilities(scores):
    """Mean probabilities of an ensemble: `(networks, n, classes)` probabilities to `(n, classes)`."""
    return np.mean(scores, axis=0, dtype=np.float64)


def wrong(scores, labels):
    """Number of images whose most probable class is not the label: `(..., n, classes)` to ints `(...)`."""
    return (scores.argmax(axis=-1) != labels).sum(axis=-1)


def _ablation_picture(rows, made_of):
    spread = [2 * standard_error(row.test, size=row.test_size) for row in rows]
    title = f"Errors of {len(rows)} networks, each trained from scratch"
    caption = (
        f"After the paper's Table 3. {made_of} Left: how often the most probable class is wrong, on the training "
        "images as they are and on the test images; the error bar is two standard errors of a binomial rate. Right: "
        "the paper's row that a network answers to, on ImageNet 2012. Every row is one training run from one seed; "
        "another seed gives other numbers."
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
    return Picture("table3_errors", title, caption, figure, numbers, depth_claims(rows), (table,))


def _comparison_picture(rows, ensembles, made_of):
    """Compare whole networks and ensembles (Table 2)."""
    single = [row for row in rows if row.change in ("none", "wide")]
    lines = [(row.name, row.test, row.test_size, _ALONE.get(row.paper)) for row in single]
    lines += [(found.name, found.together, found.size, _TOGETHER[found.kind]) for found in ensembles]
    if not lines:
        return
    names, errors, sizes, answers = zip(*lines, strict=True)
    paper = {row[0]: row[1] for row in published("table2").rows}
    theirs = np.array([paper.get(row, math.nan) for row in answers], float) / 100
    spread = [2 * standard_error(error, size=size) for error, size in zip(errors, sizes, strict=True)]
    title = "Errors of one network and of several together"
    caption = (
        f"After the paper's Table 2. {made_of} Left: how often the most probable class is wrong on the test images, "
        "with two standard errors of a binomial rate; of several networks together, that of the mean of their "
        "probabilities. Right: the paper's row that it answers to, on ImageNet 2012's validation images. Every network "
        "is one training run from one seed."
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
    yield Picture("table2_errors", title, caption, figure, numbers, claims, (table, published("table2")))


def _percents(*errors):
    """Errors in per cent for a table, None for unknown values."""
    return [None if math.isnan(error) else round(100 * float(error), 2) for error in errors]


def _scorer(model):
    """Function that returns the network output for preprocessed images."""
    model_graph = graph.walk(model)
    head = next(step for step in model_graph.steps if model_graph.outputs[0] in step.outputs)
    forward = recorder(model_graph, [head])
    return lambda images: forward(images)[0][0].numpy()
