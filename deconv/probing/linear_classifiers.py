"""Linear classifiers on features, and the average precision for images of several classes (sections 5.2, 5.3)."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from deconv.ops.principal_components import inner_products, standardised
from deconv.runtime.optional_packages import require_sklearn

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

Classifier = Literal["svm", "softmax"]
Scaling = Literal["common", "each", "none"]
CLASSIFIERS: tuple[Classifier, ...] = ("svm", "softmax")
SCALINGS: tuple[Scaling, ...] = ("common", "each", "none")

_COLUMNS = 4096
"""Number of values per image whose standard deviation is computed at a time."""


def in_span(train: np.ndarray, test: np.ndarray, scaling: Scaling = "common") -> tuple[np.ndarray, np.ndarray]:
    """Scale features by statistics of the training images, and project them to the span of the training images.

    The result of a linear classifier with an L2 penalty depends only on inner products with the training images. Given
    the coordinates in their span, at most as many as there are images, it is the same as from all values, but faster.

    Args:
        train, test: `(n, values)` and `(m, values)`.
        scaling: `"common"`, `"each"` or `"none"`, see `probe`.

    Returns:
        float64 `(n, rank)` and `(m, rank)`; the scaled features themselves if there are no more values than images.
    """
    mean, scale = _scale(train, scaling)
    count, values = train.shape
    if values <= count:
        return standardised(train, mean, scale), standardised(test, mean, scale)
    products = inner_products(train, mean, scale, others=test)
    energy, directions = np.linalg.eigh(products[:count])
    nonzero = energy > 1e-12 * max(energy[-1], 1e-300)
    if not nonzero.any():  # the features are the same for all images
        return np.zeros((count, 1)), np.zeros((len(test), 1))
    coordinates = products @ (directions[:, nonzero] / np.sqrt(energy[nonzero]))
    return coordinates[:count], coordinates[count:]


def _scale(train, scaling):
    """The offset that is subtracted from each value and its divisor, `(values,)` each."""
    if scaling == "none":
        return np.zeros(train.shape[1]), np.ones(train.shape[1])
    mean, spread = train.mean(axis=0, dtype=np.float64), np.empty(train.shape[1])
    for start in range(0, len(spread), _COLUMNS):
        part = slice(start, start + _COLUMNS)
        spread[part] = np.sqrt(np.mean((train[:, part] - mean[part]) ** 2, axis=0))
    if scaling == "common":
        spread = np.full(len(spread), np.sqrt((spread**2).sum()))
    tiny = 1e-7 * np.abs(mean)  # constant values carry no information, only rounding errors
    return mean, np.where(spread > tiny, spread, 1)


def classifier(name: Classifier, C: float) -> LinearSVC | LogisticRegression:
    """An untrained classifier of scikit-learn; both converge to the unique optimum and use no random numbers."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    return LinearSVC(C=C, dual=False) if name == "svm" else LogisticRegression(C=C, max_iter=1000)


def check_sklearn() -> None:
    """Check that scikit-learn is installed.

    Raises:
        ImportError: If it is not; the message explains how to install it.
    """
    require_sklearn("Linear classifiers", "sklearn.linear_model", "sklearn.svm")


def check_scaling(scaling: str, C: float) -> None:
    """Check a scaling of features, and the weight `C` of the training errors.

    Raises:
        ValueError: If the scaling is unknown, or the weight is not above zero.
    """
    if scaling not in SCALINGS:
        raise ValueError(f"scaling must be one of {', '.join(SCALINGS)}; received {scaling!r}.")
    if not isinstance(C, Real) or isinstance(C, bool) or not 0 < C < np.inf:
        raise ValueError(f"C must be a number above 0; received {C!r}.")


def average_precision(scores: ArrayLike, truth: ArrayLike) -> float:
    """Compute the area under the precision-recall curve, as PASCAL VOC defines it since 2010 (Table 6).

    The precision at each recall is the maximum over this and any higher recall. Images of equal score are ranked in the
    given order.

    Args:
        scores: `(n,)`, higher for more likely members of the class.
        truth: `(n,)` of zeros and ones, at least one of them 1.

    Returns:
        float, 0 to 1.

    Raises:
        ValueError: If no image is of the class, or the shapes differ.
    """
    scores, truth = np.asarray(scores), np.asarray(truth).astype(bool)
    if scores.ndim != 1 or scores.shape != truth.shape or not truth.any():
        raise ValueError(
            "scores and truth must be (n,), one value for each image, with at least one image of the class; "
            f"received scores of shape {scores.shape}, truth of shape {truth.shape} with {int(truth.sum())} ones."
        )
    hits = truth[np.argsort(-scores, kind="stable")]
    precision = (np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits]
    return float(np.maximum.accumulate(precision[::-1]).mean())


def average_precisions(
    train: ArrayLike,
    train_labels: ArrayLike,
    test: ArrayLike,
    test_labels: ArrayLike,
    *,
    C: float = 10.0,
    scaling: Scaling = "common",
) -> np.ndarray:
    """Fit a softmax to images of several classes each, and compute the average precision of each class (Table 6).

    A softmax is for mutually exclusive classes. The paper uses one with 20 classes for VOC 2012, where an image may
    show several, and does not describe how it was trained. Here an image of m classes is used m times, once for each
    class, with weight 1 / m.

    Args:
        train, test: Features `(n, values)` and `(m, values)`, such as `deconv.activations` of the last hidden layer.
        train_labels, test_labels: `(n, classes)` and `(m, classes)` of zeros and ones; -1 for neither, as "difficult"
            in VOC: such an image is not used as an example of the class, and is ignored in its average precision.
        C: Weight of the training errors against the penalty.
        scaling: As for `deconv.probe`.

    Returns:
        float64 `(classes,)`, 0 to 1; NaN for a class without test images.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If labels and features do not fit, or a class has no training image.
    """
    check_sklearn()
    check_scaling(scaling, C)
    train, train_labels, test, test_labels = map(np.asarray, (train, train_labels, test, test_labels))
    for features, labels in ((train, train_labels), (test, test_labels)):
        if features.ndim != 2 or labels.shape != (len(features), train_labels.shape[-1]):
            raise ValueError(
                "Features must be (n, values), with labels (n, classes) of zeros and ones; "
                f"received {features.shape} and {labels.shape}."
            )
        if not np.isin(labels, (-1, 0, 1)).all():
            wrong = labels[~np.isin(labels, (-1, 0, 1))][0]
            raise ValueError(f"Labels must be 1 (of the class), 0 (not of it) or -1 (neither); received {wrong!r}.")
    known = train_labels > 0
    if not known.any(axis=0).all():
        raise ValueError(
            f"Class {known.any(axis=0).argmin()} has no training image; omit the class, or add images of it."
        )
    images, classes = np.nonzero(known)
    train, test = in_span(train, test, scaling)
    softmax = classifier("softmax", C)
    softmax.fit(train[images], classes, sample_weight=1 / known.sum(axis=1)[images])
    scores = softmax.predict_proba(test)
    return np.array([_average_precision_of_class(*pair) for pair in zip(scores.T, test_labels.T, strict=True)])


def _average_precision_of_class(scores, labels):
    """Average precision of one class over the images with a label for it."""
    counts, truth = labels >= 0, labels > 0
    return average_precision(scores[counts], truth[counts]) if truth.any() else np.nan
