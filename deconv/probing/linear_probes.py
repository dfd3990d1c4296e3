"""Linear probes: the accuracy of linear classifiers on the features of each layer (section 5.3, Table 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from deconv import graph
from deconv.datasets.sampling import listing
from deconv.probing.feature_vectors import count_of, forward_pass, grid_of, groups
from deconv.probing.linear_classifiers import (
    CLASSIFIERS,
    Classifier,
    Scaling,
    check_scaling,
    check_sklearn,
    classifier,
    in_span,
)
from deconv.probing.splits import Fold, check_sizes, class_accuracy, deviation, draw_folds
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_positive

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure


class Probes(NamedTuple):
    """Accuracies of linear classifiers on each layer.

    Attributes:
        layers: Names of the layers, as they were given.
        classifiers: `"svm"`, `"softmax"`, or both.
        per_class: `(sizes,)` ints, numbers of training images of each class.
        classes: `(classes,)` ints, the labels of the classes.
        accuracy: `(layers, classifiers, sizes, folds)`, mean of the classes' accuracies, 0 to 1.
        tested: `(classes,)` ints, number of test images of each class in a fold.
        values: `(layers,)` ints, number of values of each layer that a classifier uses.
    """

    layers: tuple[str | int, ...]
    classifiers: tuple[Classifier, ...]
    per_class: np.ndarray
    classes: np.ndarray
    accuracy: np.ndarray
    tested: np.ndarray
    values: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, place: int = -1, title: str | None = None) -> Figure:
        """Draw the accuracy of the classifiers, layer by layer (`plotting.layer_chart`).

        Args:
            place: Index into `per_class`.
            title: Title of the figure; None for the number of training images per class.

        Returns:
            The Matplotlib figure.
        """
        from deconv.plotting import layer_chart

        title = f"Linear classifiers on {self.per_class[place]} images per class" if title is None else title
        mean, spread = self.mean[..., place], self.deviation[..., place]
        layers, chance = [str(layer) for layer in self.layers], 1 / len(self.classes)
        return layer_chart(mean, spread, layers, self.values, self.classifiers, chance, title)

    @property
    def mean(self) -> np.ndarray:
        """`(layers, classifiers, sizes)`, over the folds."""
        return self.accuracy.mean(axis=-1)

    @property
    def deviation(self) -> np.ndarray:
        """`(layers, classifiers, sizes)`, standard deviation over the folds; NaN for a single fold."""
        return deviation(self.accuracy)


def probe(
    model: keras.Model,
    dataset: Any,
    layers: str | int | Sequence[str | int],
    per_class: int | Sequence[int] | np.ndarray = 30,
    *,
    test_per_class: int = 50,
    folds: int = 5,
    classifiers: Classifier | Sequence[Classifier] = CLASSIFIERS,
    C: float = 10.0,
    scaling: Scaling = "common",
    pooled: int | tuple[int, int] | None = None,
    preprocess: Callable | None = None,
    batch_size: int = 64,
    input_shape: tuple[int, int, int] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Probes:
    """Train linear classifiers on the features of layers, and test them on other images.

    This is the protocol of the paper's Table 7. The network is fixed. Of each class some images are drawn for training
    and up to 50 others for testing; the accuracy is the mean of the classes' accuracies. This is repeated for several
    folds. The features of all layers of a fold are computed in one pass, or in several if they take more than 1 GiB.

    The paper does not specify the classifiers. Here "svm" is one squared-hinge SVM per class and "softmax" multinomial
    logistic regression, both with an L2 penalty (`LinearSVC` and `LogisticRegression` of scikit-learn). The mean of the
    training images is subtracted, and the result is divided by one number, their root mean square distance from the
    mean, so that one `C` suits layers of any scale. Maps are flattened; only layers of more than 75,000 values per
    image are averaged.

    Args:
        model: A functional or Sequential `keras.Model`.
        dataset: An `ImageSet`, or arrays `(images, labels)`. Images with a label below zero are left out.
        layers: One layer or a sequence of them: names, paths or indices.
        per_class: Number of training images per class, or several such numbers. The smaller draws are subsets of the
            larger ones, and all are tested on the same images.
        test_per_class: Largest number of test images of each class.
        folds: Number of folds.
        classifiers: `"svm"`, `"softmax"`, or both.
        C: Weight of the training errors against the penalty.
        scaling: `"common"`, as above; `"each"` divides each value by its own standard deviation; `"none"` leaves
            features unchanged. Only training images are used.
        pooled: Largest side, or `(rows, columns)`, of a grid onto which maps are averaged; None as above.
        preprocess: Preprocessing function, applied to each batch of images.
        batch_size: Number of images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        seed: Seed of the folds.
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
        raise ValueError(f"classifiers must be one or more of {', '.join(CLASSIFIERS)}; received {classifiers!r}.")
    check_scaling(scaling, C)
    check_positive("batch_size", batch_size)
    model_graph = graph.walk(model, input_shape)
    names, steps = graph.find_all(model_graph, layers)
    model_graph = graph.subgraph(model_graph, *steps)
    grids = [grid_of(step.output.shape, pooled) for step in steps]
    labels, _, pick = listing(dataset, needs_labels=True)
    sizes = check_sizes(per_class)
    draws = draw_folds(labels, sizes, test_per_class, folds, seed)
    values = [count_of(step.output.shape, grid) for step, grid in zip(steps, grids, strict=True)]
    layer_groups = list(groups(values, draws[0].train.size + len(draws[0].test)))
    passes = [
        forward_pass(
            model_graph, [steps[n] for n in group], [grids[n] for n in group], preprocess, model_graph.inputs[0]
        )
        for group in layer_groups
    ]
    accuracy = np.empty((len(steps), len(classifiers), len(sizes), len(draws)))
    with tqdm(total=len(draws) * len(steps), unit=" layers", disable=not progress) as bar:
        for number, fold in enumerate(draws):
            images = pick(np.concatenate([fold.train.ravel(), fold.test]))
            for group, compute in zip(layer_groups, passes, strict=True):
                for layer, features in zip(group, compute(images, batch_size), strict=True):
                    accuracy[layer, ..., number] = _accuracies(features, labels, fold, sizes, classifiers, C, scaling)
                    bar.update()
    classes, tested = np.unique(labels[draws[0].test], return_counts=True)
    return Probes(
        layers=tuple(names),
        classifiers=classifiers,
        per_class=sizes,
        classes=classes,
        accuracy=accuracy,
        tested=tested,
        values=np.array(values),
    )


def _accuracies(
    features: np.ndarray,
    labels: np.ndarray,
    fold: Fold,
    sizes: np.ndarray,
    classifiers: Sequence[Classifier],
    C: float,
    scaling: Scaling,
) -> np.ndarray:
    """Accuracies `(classifiers, sizes)` on one layer; `features` are of the fold's training, then test images."""
    accuracy = np.empty((len(classifiers), len(sizes)))
    rows = np.arange(fold.train.size).reshape(fold.train.shape)
    for place, size in enumerate(sizes):
        train_labels = labels[fold.train[:, :size].ravel()]
        train, test = in_span(features[rows[:, :size].ravel()], features[fold.train.size :], scaling)
        for number, name in enumerate(classifiers):
            predicted = classifier(name, C).fit(train, train_labels).predict(test)
            accuracy[number, place] = class_accuracy(labels[fold.test], predicted)
    return accuracy
