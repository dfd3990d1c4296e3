"""How well classes are told apart from each layer: linear classifiers on its features (section 5.3, Table 7)."""

from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from deconv import graph
from deconv.classifiers import CLASSIFIERS, check_scaling, check_sklearn, classifier, in_span
from deconv.folds import check_sizes, class_accuracy, deviation, draw_folds, labelled
from deconv.inputs import check_finite, check_pair, check_positive, prepare
from deconv.recording import recorder

MOST_VALUES = 75_000
"""A layer with more values per image than this is averaged; AlexNet's pool1 has 69,984."""

_MEMORY = 2**30
"""Bytes of features that are kept at a time."""


class Probes(NamedTuple):
    """What linear classifiers make of each layer.

    Attributes:
        layers: Names of the layers, as they were given.
        classifiers: `"svm"`, `"softmax"`, or both.
        per_class: `(sizes,)` ints, how many training images of each class.
        classes: `(classes,)` ints, the labels that are told apart.
        accuracy: `(layers, classifiers, sizes, folds)`, mean of the classes' accuracies, 0 to 1.
        tested: `(classes,)` ints, how many test images each class has in a fold.
        values: `(layers,)` ints, how many values of each layer a classifier sees.
    """

    layers: tuple
    classifiers: tuple
    per_class: np.ndarray
    classes: np.ndarray
    accuracy: np.ndarray
    tested: np.ndarray
    values: np.ndarray

    @property
    def mean(self):
        """`(layers, classifiers, sizes)`, over the folds."""
        return self.accuracy.mean(axis=-1)

    @property
    def deviation(self):
        """`(layers, classifiers, sizes)`, standard deviation over the folds; NaN of a single one."""
        return deviation(self.accuracy)


def probe(
    model,
    dataset,
    layers,
    per_class=30,
    *,
    test_per_class=50,
    folds=5,
    classifiers=CLASSIFIERS,
    C=10.0,
    scaling="common",
    pooled=None,
    preprocess=None,
    batch_size=64,
    input_shape=None,
    seed=0,
    progress=False,
):
    """Train linear classifiers on the features of layers, and test them on other images.

    The protocol of the paper's Table 7: the network stays as it is; of each class some images are drawn for training
    and up to 50 others for testing; the accuracy is the mean of the classes' accuracies; all of that several times. Of
    a fold the features of all layers come from one pass, or from several if they would take more than 1 GiB.

    What the paper leaves open: "svm" is one squared-hinge SVM per class, "softmax" multinomial logistic regression,
    both with an L2 penalty (`LinearSVC` and `LogisticRegression` of scikit-learn). The mean of the training images is
    taken off, and what is left is divided by one number, their root mean square distance from it; so one `C` suits
    layers of any size. Maps are flattened; only layers of more than 75,000 values per image are averaged.

    Args:
        model: A functional or Sequential `keras.Model`.
        dataset: An `ImageSet`, or arrays `(images, labels)`. Images with a label below zero are left out.
        layers: One layer or a sequence of them: names, paths or indices.
        per_class: How many training images per class, or several such numbers. The smaller draws are parts of the
            larger, and all are tested on the same images.
        test_per_class: At most so many test images of each class.
        folds: How many times.
        classifiers: `"svm"`, `"softmax"`, or both.
        C: Weight of the training errors against the penalty.
        scaling: `"common"`, as above; `"each"` divides each value by its own standard deviation; `"none"` leaves
            features as they are. Only training images are asked.
        pooled: Average maps onto a grid of at most this side, or `(rows, columns)`; None for as above.
        preprocess: Function applied to each batch of images before the model sees it.
        batch_size: How many images are computed at a time.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.
        seed: Of the folds.
        progress: Whether to show a progress bar.

    Returns:
        `Probes`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If a class has too few images, or anything else does not fit.
    """
    check_sklearn()
    classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    if not classifiers or not set(classifiers) <= set(CLASSIFIERS):
        raise ValueError(f"classifiers must be of {', '.join(CLASSIFIERS)}; received {classifiers!r}.")
    check_scaling(scaling, C)
    check_positive("batch_size", batch_size)
    laid = graph.walk(model, input_shape)
    layers, steps = graph.find_all(laid, layers)
    laid = graph.below(laid, *steps)
    grids = [_grid(step.output.shape, pooled) for step in steps]
    labels, pick = labelled(dataset)
    sizes = check_sizes(per_class)
    draws = draw_folds(labels, sizes, test_per_class, folds, seed)
    values = [_count(step.output.shape, grid) for step, grid in zip(steps, grids, strict=True)]
    groups = list(_groups(values, draws[0].train.size + len(draws[0].test)))
    seers = [_seer(laid, [steps[n] for n in group], [grids[n] for n in group], preprocess) for group in groups]
    accuracy = np.empty((len(steps), len(classifiers), len(sizes), len(draws)))
    with tqdm(total=len(draws) * len(steps), unit=" layers", disable=not progress) as bar:
        for number, fold in enumerate(draws):
            images, taught = pick(np.concatenate([fold.train.ravel(), fold.test])), fold.train.size
            rows = np.arange(taught).reshape(fold.train.shape)
            for group, see in zip(groups, seers, strict=True):
                for layer, features in zip(group, see(images, batch_size), strict=True):
                    for place, size in enumerate(sizes):
                        known = labels[fold.train[:, :size].ravel()]
                        train, test = in_span(features[rows[:, :size].ravel()], features[taught:], scaling)
                        for kind, name in enumerate(classifiers):
                            predicted = classifier(name, C).fit(train, known).predict(test)
                            accuracy[layer, kind, place, number] = class_accuracy(labels[fold.test], predicted)
                    bar.update()
    classes, tested = np.unique(labels[draws[0].test], return_counts=True)
    return Probes(tuple(layers), classifiers, sizes, classes, accuracy, tested, np.array(values))


def average(maps, grid):
    """Maps `(n, rows, columns, channels)` averaged onto a grid, each cell of a map in one cell of the grid."""
    for axis, cells in enumerate(grid, start=1):
        starts = np.arange(cells) * maps.shape[axis] // cells
        lengths = np.diff([*starts, maps.shape[axis]]).reshape(-1, *[1] * (3 - axis))
        maps = np.add.reduceat(maps, starts, axis=axis) / lengths
    return maps


def _grid(shape, pooled):
    """`(rows, columns)` to average a layer onto; None to take it as it is."""
    pooled = None if pooled is None else check_pair("pooled", pooled)
    if len(shape) != 3 or (pooled is None and np.prod(shape) <= MOST_VALUES):
        return None
    if pooled is None:
        side = max(shape[:2])
        while side > 1 and min(side, shape[0]) * min(side, shape[1]) * shape[2] > MOST_VALUES:
            side -= 1
        pooled = side, side
    return min(pooled[0], shape[0]), min(pooled[1], shape[1])


def _count(shape, grid):
    return int(np.prod(shape if grid is None else (*grid, shape[-1])))


def _groups(values, count):
    """Places of layers whose features fit into memory together; a layer that does not fit alone goes alone."""
    group, free = [], _MEMORY
    for place, size in enumerate(values):
        needed = 4 * size * count
        if group and needed > free:
            yield group
            group, free = [], _MEMORY
        group, free = [*group, place], free - needed
    yield group


def _seer(laid, steps, grids, preprocess):
    """A function from images and a batch size to the features `(n, values)` of some layers, in one pass."""
    below = graph.below(laid, *steps)
    forward, image = recorder(below, steps), below.inputs[0]

    def look(batch):
        batch = prepare(batch, preprocess, image.shape, image.dtype)
        for step, grid, maps in zip(steps, grids, forward(batch)[0], strict=True):
            maps = check_finite(maps.numpy(), step.name)
            yield (maps if grid is None else average(maps, grid)).reshape(len(batch), -1)

    def see(images, batch_size):
        values = [_count(step.output.shape, grid) for step, grid in zip(steps, grids, strict=True)]
        wide = [np.float64 if step.output.dtype == "float64" else np.float32 for step in steps]
        found = [np.empty((len(images), size), dtype) for size, dtype in zip(values, wide, strict=True)]
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            for features, maps in zip(found, look(images[part]), strict=True):
                features[part] = maps
        return found

    return see
