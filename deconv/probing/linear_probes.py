"""How well classes are told apart from each layer: linear classifiers on its features (section 5.3, Table 7)."""

from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from deconv import graph
from deconv.datasets.sampling import labelled
from deconv.probing.feature_vectors import count_of, forward_pass, grid_of, groups
from deconv.probing.linear_classifiers import CLASSIFIERS, check_scaling, check_sklearn, classifier, in_span
from deconv.probing.splits import check_sizes, class_accuracy, deviation, draw_folds
from deconv.validation import check_positive


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
    model_graph = graph.walk(model, input_shape)
    layers, steps = graph.find_all(model_graph, layers)
    model_graph = graph.below(model_graph, *steps)
    grids = [grid_of(step.output.shape, pooled) for step in steps]
    labels, pick = labelled(dataset)
    sizes = check_sizes(per_class)
    draws = draw_folds(labels, sizes, test_per_class, folds, seed)
    values = [count_of(step.output.shape, grid) for step, grid in zip(steps, grids, strict=True)]
    together = list(groups(values, draws[0].train.size + len(draws[0].test)))
    seers = [
        forward_pass(
            model_graph, [steps[n] for n in group], [grids[n] for n in group], preprocess, model_graph.inputs[0]
        )
        for group in together
    ]
    accuracy = np.empty((len(steps), len(classifiers), len(sizes), len(draws)))
    with tqdm(total=len(draws) * len(steps), unit=" layers", disable=not progress) as bar:
        for number, fold in enumerate(draws):
            images, taught = pick(np.concatenate([fold.train.ravel(), fold.test])), fold.train.size
            rows = np.arange(taught).reshape(fold.train.shape)
            for group, see in zip(together, seers, strict=True):
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
