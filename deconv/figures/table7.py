"""Table 7: accuracy of classifiers on the features of each layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from deconv import graph
from deconv.datasets.image_set import ImageSet
from deconv.figures.picture import Picture
from deconv.figures.published_results import Finding, Table, published
from deconv.figures.subject import Subject
from deconv.graph.model_graph import Step
from deconv.plotting.probes import layer_chart
from deconv.probing.linear_probes import Probes, probe

_NAMES = {"svm": "SVM", "softmax": "Softmax"}
_FOLLOWERS = (
    *graph.IDLE,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.BatchNormalization,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalAveragePooling2D,
)
_MOST_LAYERS = 12


def probe_pictures(subject: Subject) -> Iterator[Picture]:
    """Train an SVM and a softmax on the features of every layer; nothing with fewer than 20 images of a class."""
    other = None if subject.transfer is None or subject.transfer.several else subject.transfer
    data = subject.held_out if other is None else other
    layers = layers_of(subject.model)
    if data is None or not layers or smallest_class(data) < 20:
        return
    size = min(30, smallest_class(data) // 2)
    found = probe(subject.model, data, layers, size, preprocess=subject.preprocess, seed=subject.seed)
    mean, deviation, folds = found.mean[:, :, 0], found.deviation[:, :, 0], found.accuracy.shape[-1]
    title = f"Linear classifiers on the layers of {subject.model.name}: {data.name}, {size} training images per class"
    caption = (
        f"After the paper's Table 7. The network is not changed. An SVM and a softmax are trained on the features of "
        f"each layer, after its pooling and normalisation, with {size} images of each of {len(found.classes)} classes "
        f"of {data.name}, and tested on {in_range(found.tested)} other images. Mean accuracy of the classes; mean and "
        f"standard deviation over {folds} random draws. {training_classes(subject, data)}"
    )
    names = [_NAMES[name] for name in found.classifiers]
    figure = layer_chart(mean, deviation, layers, found.values, names, 1 / len(found.classes), title)
    numbers: dict[str, Any] = {**found._asdict(), "mean": found.mean, "deviation": found.deviation}
    numbers |= {"data": data.name, "data_source": data.source}
    yield Picture(
        name="table7_layers",
        title=title,
        caption=caption,
        figure=figure,
        numbers=numbers,
        findings=[_depth(found)],
        tables=[_table(found, data, size), published("table7")],
    )


def layers_of(model: keras.Model) -> list[str]:
    """Layers of Table 7: the map of each convolution after its pooling and normalisation, and each hidden dense layer.

    For a deep network, at most 12 evenly spaced layers, including the last one.
    """
    model_graph = graph.walk(model)
    users: dict[Any, list[Step]] = {}
    for step in model_graph.steps:
        for edge in step.inputs:
            users.setdefault(edge, []).append(step)
    names = []
    for step in model_graph.steps:
        if isinstance(step.layer, keras.layers.Conv2D | keras.layers.Dense):
            end, last = step, step
            while len(users.get(end.output, ())) == 1 and issubclass(
                graph.kind(users[end.output][0].layer), _FOLLOWERS
            ):
                end = users[end.output][0]
                last = last if isinstance(end.layer, graph.IDLE) else end
            if end.output not in model_graph.outputs:
                names.append(last.name)
    places = np.unique(np.linspace(0, len(names) - 1, min(len(names), _MOST_LAYERS)).round().astype(int))
    return [names[place] for place in places]


def smallest_class(data: ImageSet) -> int:
    """Number of images of the smallest class of a data set; 0 with fewer than two classes."""
    labels = data.listing()[0]
    _, counts = np.unique(labels[labels >= 0], return_counts=True)
    return int(counts.min()) if len(counts) > 1 else 0


def training_classes(subject: Subject, data: ImageSet) -> str:
    """Sentence that states whether the network was trained on the classes of `data`."""
    if not subject.has_classes:
        return "Whether the network was trained on these classes is not known here."
    if set(data.class_names) <= set(subject.class_names):
        return "The network itself was trained on these classes."
    return "The network was trained on other classes."


def in_range(counts: np.ndarray) -> str:
    """Format counts as "50" or "42 to 50"."""
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low} to {high}"


def in_percent(values: ArrayLike) -> str:
    """Format accuracies over folds as "83.8 ± 0.5"."""
    values = 100 * np.asarray(values)
    return f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")


def _table(found: Probes, data: ImageSet, size: int) -> Table:
    rows = [
        [f"{_NAMES[name]} ({layer})", in_percent(found.accuracy[place, kind, 0])]
        for kind, name in enumerate(found.classifiers)
        for place, layer in enumerate(found.layers)
    ]
    difference = 100 * (found.accuracy[-1, found.classifiers.index("softmax"), 0] - found.accuracy[-1, 0, 0])
    note = f"Softmax less SVM on {found.layers[-1]}: {difference.mean():+.1f} ± {difference.std(ddof=1):.1f} points."
    title = f"Ours: {published('table7').title.lower()}"
    return Table(title, ["classifier (layer)", f"{data.name}, {size} per class"], rows, note)


def _depth(found: Probes) -> Finding:
    from scipy.stats import spearmanr  # SciPy is a dependency of scikit-learn, which the probes require

    svm = 100 * found.accuracy[:, found.classifiers.index("svm"), 0]
    criterion = (
        "rank correlation of the SVM's accuracy with depth at least 0.8, and the last layer better than the first by "
        "more than two standard deviations of the difference over the folds"
    )
    if len(found.layers) < 3:
        few = f"the network has {len(found.layers)} such layers; 3 are needed"
        return Finding("table7-depth", None, criterion, few)
    mean, gain = svm.mean(axis=1), svm[-1] - svm[0]
    order = float(spearmanr(np.arange(len(mean)), mean).statistic) if np.ptp(mean) else 0.0
    best = found.layers[int(mean.argmax())]
    return Finding(
        "table7-depth",
        bool(order >= 0.8 and gain.mean() > 2 * gain.std(ddof=1)),
        criterion,
        f"rank correlation {order:.2f}; {found.layers[0]} {in_percent(svm[0] / 100)} %, {found.layers[-1]} "
        f"{in_percent(svm[-1] / 100)} %, difference {gain.mean():.1f} ± {gain.std(ddof=1):.1f}; best layer {best}",
    )
