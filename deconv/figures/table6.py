"""Table 6: multi-label images ranked for each class by a softmax on a trained network's features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from deconv import graph
from deconv.datasets.image_set import ImageSet
from deconv.deconvnet.recording import recorder
from deconv.figures.picture import Picture
from deconv.figures.published_results import Finding, Table, published
from deconv.figures.subject import Subject
from deconv.figures.table7 import training_classes
from deconv.plotting.probes import precision_chart
from deconv.probing.linear_classifiers import average_precisions
from deconv.probing.transfer_learning import last_hidden
from deconv.validation import check_finite, check_positive, prepare

_VOC_2012 = "tfds:voc/2012"
_OF_VOC = {"airplane": "aeroplane", "dining table": "diningtable", "potted plant": "pottedplant", "tv": "tvmonitor"}
"""Classes with another name in the paper."""
_BEHIND, _WON = 3.2, 5
_CRITERION = (
    f"mean average precision within {_BEHIND} points of the better of the two others, ahead of both on at least {_WON} "
    "classes; theirs is of the test images, whose labels are not public, ours of the validation images"
)


class Precision(NamedTuple):
    """Average precision of the ranking of multi-label images, for each class.

    Attributes:
        layer: Name of the layer whose features the softmax uses.
        average_precision: `(classes,)`, 0 to 1; NaN for a class without training or test images.
        taught: `(classes,)` ints, number of training images of the class.
        tested: `(classes,)` ints, number of test images of the class.
        ranked: `(classes,)` ints, number of test images that are ranked: all except those whose label is undefined.
        train_size: Total number of training images.
        test_size: Total number of test images.
    """

    layer: str
    average_precision: np.ndarray
    taught: np.ndarray
    tested: np.ndarray
    ranked: np.ndarray
    train_size: int
    test_size: int


def precision(
    model: keras.Model,
    image_set: ImageSet,
    *,
    C: float = 10.0,
    scaling: Literal["common", "each", "none"] = "common",
    preprocess: Callable[[np.ndarray], Any] | None = None,
    batch_size: int = 64,
) -> Precision | None:
    """Train a softmax on the features of the training images and rank the test images for each class.

    The features are the input of the last dense layer, computed for all images in one pass; the softmax is that of
    `deconv.probing.linear_classifiers.average_precisions`. The paper trains on the training and validation images of
    VOC 2012 and tests on its test images, whose labels are not public. Here the softmax is trained on the training
    images of the set and tested on its labelled test images: for VOC 2012, the validation images.

    Args:
        model: A functional or Sequential `keras.Model` with a layer below a dense one. It is not modified.
        image_set: A multi-label `ImageSet` with its training images first and then its test images (split "all"); see
            `train_size`.
        C, scaling, preprocess, batch_size: As for `deconv.probe`.

    Returns:
        `Precision`; None if fewer than two classes have training images, or if there are no test images.

    Raises:
        ImportError: If scikit-learn is not installed.
    """
    labels, _ = image_set.listing()
    train, test = np.split(labels, [image_set.train_size or 0])
    known = np.any(train > 0, axis=0)
    if known.sum() < 2 or not len(test):
        return None
    layer, features = _features(model, image_set, preprocess, check_positive("batch_size", batch_size))
    parts = (features[: len(train)], train[:, known], features[len(train) :], test[:, known])
    values = np.full(len(known), np.nan)
    values[known] = average_precisions(*parts, C=C, scaling=scaling)
    return Precision(
        layer=layer,
        average_precision=values,
        taught=(train > 0).sum(axis=0),
        tested=(test > 0).sum(axis=0),
        ranked=(test > -1).sum(axis=0),
        train_size=len(train),
        test_size=len(test),
    )


def _features(
    model: keras.Model, image_set: ImageSet, preprocess: Callable[[np.ndarray], Any] | None, batch_size: int
) -> tuple[str, np.ndarray]:
    """Name of the last hidden layer and its output for every image: `(name, (n, values))`."""
    model_graph = graph.walk(model)
    step, image = last_hidden(model_graph), model_graph.inputs[0]
    assert step is not None  # the recipe is skipped otherwise
    forward, features = recorder(graph.subgraph(model_graph, step), [step]), []
    for images, *_ in image_set.dataset.batch(batch_size).prefetch(1).as_numpy_iterator():
        maps = forward(prepare(images, preprocess, image.shape, image.dtype))[0][0].numpy()
        features.append(check_finite(maps, step.name).reshape(len(images), -1))
    return step.name, np.concatenate(features)


def precision_pictures(subject: Subject) -> Iterator[Picture]:
    """Draw the average precision of each class; nothing without a training and a test part of the other data."""
    data = subject.transfer
    found = precision(subject.model, data, preprocess=subject.preprocess)
    if found is None:
        return
    title = f"Ranking of multi-label images by the features of {subject.model.name}: {data.name}"
    hard = voc = ""
    if (found.ranked < found.test_size).any():
        hard = "Images in which a class is hard to recognise are not ranked for this class. "
    if _is_voc(data):
        voc = (
            "The paper trains on the training and validation images and tests on the test images, whose labels are not "
            "public; here the validation images are ranked. "
        )
    caption = (
        f"After the paper's Table 6. The network is not changed. A softmax on its last hidden layer is trained on "
        f"{len(data.class_names)} classes of {data.name} with {found.train_size:,} images, an image of several classes "
        f"once for each of them, and ranks {found.test_size:,} other images by the probability of each class. Average "
        "precision as defined for PASCAL VOC; grey marks show about what a random ranking gives, the fraction of "
        f"images that show the class. {hard}{voc}{training_classes(subject, data)}"
    )
    others = _others() if _is_voc(data) else {}
    chance = found.tested / np.maximum(found.ranked, 1)
    figure = precision_chart(data.class_names, found.average_precision, others, chance, title)
    numbers = {**found._asdict(), "classes": data.class_names, "data": data.name, "data_source": data.source}
    tables = [_table(found, data), published("table6")]
    yield Picture(
        name="table6_precision",
        title=title,
        caption=caption,
        figure=figure,
        numbers=numbers,
        findings=[_finding(found, data)],
        tables=tables,
    )


def untested() -> Finding:
    """Finding for data with one label per image."""
    measured = f"needs VOC 2012, where an image may be of several classes, as transfer data: --transfer {_VOC_2012}"
    return Finding("table6-voc", None, _CRITERION, measured)


def _is_voc(data: ImageSet) -> bool:
    return data.name.startswith(_VOC_2012) and list(data.class_names) == _classes()


def _classes() -> list[str]:
    """Class names of TFDS, in the order of the paper's rows."""
    return [_OF_VOC.get(row[0], row[0]) for row in published("table6").rows[:-1]]


def _others() -> dict[str, np.ndarray]:
    """Columns of the paper, `{method: (classes,)}`, 0 to 1."""
    table = published("table6")
    columns = zip(*(row[1:] for row in table.rows[:-1]), strict=True)
    return {name: np.array(column) / 100 for name, column in zip(table.columns[1:], columns, strict=True)}


def _table(found: Precision, data: ImageSet) -> Table:
    values = [None if np.isnan(value) else f"{100 * value:.1f}" for value in found.average_precision]
    rows: list[list[Any]] = [
        list(row) for row in zip(data.class_names, values, found.taught.tolist(), found.tested.tolist(), strict=True)
    ]
    if np.isfinite(found.average_precision).any():
        mean = 100 * np.nanmean(found.average_precision)
        rows.append(["mean", f"{mean:.1f}", found.train_size, found.test_size])
    note = "An image may be of several classes; the last row has the numbers of all images."
    columns = ["class", "average precision", "training images", "test images"]
    return Table(f"Ours: {data.name}, average precision in %", columns, rows, note)


def _finding(found: Precision, data: ImageSet) -> Finding:
    if not _is_voc(data):
        return untested()
    ours = found.average_precision
    if np.isnan(ours).any():
        measured = f"{np.isnan(ours).sum()} of the {len(ours)} classes have no training or no test images"
        return Finding("table6-voc", None, _CRITERION, measured)
    rivals = np.array([*_others().values()])[:2]
    won = np.flatnonzero(np.round(ours, 3) > np.round(rivals.max(axis=0), 3))  # rounded as in the paper
    mean, printed = round(100 * float(ours.mean()), 1), published("table6").rows[-1][1:3]
    names = ", ".join(data.class_names[place] for place in won)
    return Finding(
        "table6-voc",
        bool(mean >= round(max(printed) - _BEHIND, 1) and len(won) >= _WON),
        _CRITERION,
        f"mean {mean:.1f} % against {printed[0]} and {printed[1]} %; ahead of both on {len(won)} of {len(ours)}"
        + (f": {names}" if names else ""),
    )
