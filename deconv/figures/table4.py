"""Tables 4 to 6 and Fig. 9: transfer of a trained network's features to another task, by images per class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from deconv import graph
from deconv.datasets.image_set import ImageSet
from deconv.figures.picture import Picture
from deconv.figures.published_results import Finding, Table, published
from deconv.figures.stored_transfer import stored_transfer, training_of
from deconv.figures.subject import Subject
from deconv.figures.table6 import precision_pictures, untested
from deconv.figures.table7 import in_percent, smallest_class, training_classes
from deconv.plotting.probes import size_chart
from deconv.probing.splits import deviation
from deconv.probing.transfer_learning import Transfer, last_hidden, transfer

_SIZES = (1, 2, 3, 6, 10, 15, 30, 45, 60)
_MOST_PARAMETERS = 1_000_000
"""Maximum number of parameters for training from random weights; larger networks would take hours, not minutes."""
_TOO_LARGE = (
    f"a network of more than {_MOST_PARAMETERS:,} parameters is not trained from random weights here, which would take "
    "hours; deconv.probing.transfer_learning.transfer(..., scratch=True) does it"
)
STORED = "The results of the latter are of an earlier training; --train trains them again."
UNTRAINED = "Networks from random weights were not trained; --train trains them."


def transfer_pictures(subject: Subject) -> Iterator[Picture]:
    """Compare a new softmax on the last hidden layer with the same network trained from random weights.

    Yields nothing without other data. If the images of the other data may have several labels, Table 6 is drawn.
    """
    data = subject.transfer
    if data is None or last_hidden(graph.walk(subject.model)) is None:
        return
    if data.several:
        yield from precision_pictures(subject)
        return
    sizes = sizes_of(data)
    if not len(sizes):
        return
    found, beside = transfer_data(subject, sizes)
    folds = found.pretrained.shape[1]
    title = f"Features of {subject.model.name} on {data.name}, by training images per class"
    caption = (
        f"After the paper's Fig. 9 and its Tables 4 and 5. A new softmax on {found.layer} of the unchanged network is "
        f"trained on {len(found.classes)} classes of {data.name}{beside} Mean accuracy of the classes on other images; "
        f"mean and standard deviation over {folds} random draws. {training_classes(subject, data)}"
    )
    curves = {f"softmax on {found.layer}, pre-trained": _curve(found.pretrained)}
    curves["all layers from random weights"] = _curve(found.scratch)
    figure = size_chart(sizes, curves, 1 / len(found.classes), title)
    numbers: dict[str, Any] = {**found._asdict(), "data": data.name, "data_source": data.source}
    tables = [_table(found, data), *map(published, ("table4", "table5", "table6"))]
    yield Picture(
        name="fig9_transfer",
        title=title,
        caption=caption,
        figure=figure,
        numbers=numbers,
        findings=list(_findings(found, _TOO_LARGE if subject.model.count_params() >= _MOST_PARAMETERS else UNTRAINED)),
        tables=tables,
    )


def sizes_of(data: ImageSet) -> np.ndarray:
    """Numbers of training images per class that Fig. 9 compares, `(sizes,)` ints; empty if there are too few images."""
    return _sizes(smallest_class(data))


def transfer_data(subject: Subject, per_class: np.ndarray) -> tuple[Transfer, str]:
    """Compute accuracies by images per class; those of networks from random weights as `subject.scratch` says.

    Args:
        subject: A `Subject` with transfer data of one label per image.
        per_class: `(sizes,)` ints, numbers of training images per class.

    Returns:
        `(Transfer, end of a sentence about the networks from random weights)`.

    Raises:
        ValueError: If `subject.scratch` is a file that cannot be read.
    """
    small = subject.model.count_params() < _MOST_PARAMETERS
    trains = small and subject.scratch is True
    options: dict[str, Any] = {"scratch": trains, "preprocess": subject.preprocess, "seed": subject.seed}
    found = transfer(subject.model, subject.transfer, per_class=per_class, **options)
    if not small:
        return found, "."
    beside = "; for comparison, the same layers trained from random weights on the same images until they fit them."
    if not trains:
        stored = None
        if not isinstance(subject.scratch, bool):
            stored = stored_transfer(subject.scratch, training_of(subject, per_class), found)
        if stored is None:
            return found, f". {UNTRAINED}"
        found = stored
        beside += f" {STORED}"
    return found, beside


def _sizes(smallest: int) -> np.ndarray:
    """Training images per class, given the size of the smallest class: up to half of it, or the 30 of Table 4."""
    return np.array([size for size in _SIZES if size <= smallest // 2 or size == 30 < smallest])  # Caltech-101: 31


def _curve(accuracy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return accuracy.mean(axis=1), deviation(accuracy)


def _table(found: Transfer, data: Any) -> Table:
    columns = ["method", *(f"{size} per class" for size in found.per_class)]
    rows = [["from scratch", *map(_cell, found.scratch)], ["pre-trained", *map(_cell, found.pretrained)]]
    return Table(f"Ours: {data.name}, mean of the classes' accuracies in %", columns, rows)


def _cell(accuracy: np.ndarray) -> str | None:
    return in_percent(accuracy) if np.isfinite(accuracy).all() else None


def _findings(found: Transfer, missing: str = _TOO_LARGE) -> Iterator[Finding]:
    yield _by_far(found, missing)
    yield _few(found, missing)
    yield untested()


def _by_far(found: Transfer, missing: str) -> Finding:
    criterion = (
        "at every number of images per class from 15 (or at the largest) pre-trained features make at most half of "
        "the errors, as in all rows of the paper, and lead by more than two standard deviations over the folds"
    )
    if np.isnan(found.scratch).all():
        return Finding("table4-transfer", None, criterion, missing)
    shown = np.flatnonzero(found.per_class >= min(15, found.per_class[-1]))
    lead = found.pretrained - found.scratch
    errors = (1 - found.pretrained.mean(axis=1)) / np.maximum(1 - found.scratch.mean(axis=1), 1e-9)
    clear = lead.mean(axis=1) > 2 * deviation(lead)
    return Finding(
        "table4-transfer",
        bool((clear & (errors <= 0.5))[shown].all()),
        criterion,
        "; ".join(
            f"{found.per_class[place]} per class: {in_percent(found.pretrained[place])} % against "
            f"{in_percent(found.scratch[place])} %, {errors[place]:.2f} of the errors"
            for place in shown
        ),
    )


def _few(found: Transfer, missing: str) -> Finding:
    criterion = (
        "pre-trained features need at most a tenth of the images per class (the paper's: 6 of 60) to beat the network "
        "trained from random weights on the most"
    )
    if np.isnan(found.scratch).all():
        return Finding("fig9-few", None, criterion, missing)
    most, rival = int(found.per_class[-1]), found.scratch[-1].mean()
    mean = found.pretrained.mean(axis=1)
    enough = found.per_class[mean > rival]
    reached = f"from {enough[0]} per class on pre-trained" if len(enough) else "not reached by pre-trained"
    return Finding(
        "fig9-few",
        bool(len(enough) and 10 * enough[0] <= most),
        criterion,
        f"from random weights with {most} per class {in_percent(found.scratch[-1])} %: {reached} features, which have "
        + ", ".join(f"{100 * value:.1f} % with {size}" for size, value in zip(found.per_class, mean, strict=True)),
    )
