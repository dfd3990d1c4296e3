"""Linear classifiers on features, and how well they do where an image is of several classes (sections 5.2, 5.3)."""

from numbers import Real

import numpy as np

from deconv.validation import require_sklearn

CLASSIFIERS = ("svm", "softmax")
SCALINGS = ("common", "each", "none")

_COLUMNS = 4096
"""Values per image that are taken to float64 at a time."""


def in_span(train, test, scaling="common"):
    """Scale features by what the training images say, and turn them into the span of the training images.

    The answer of a linear classifier with an L2 penalty depends on the training images' inner products alone. Given
    their coordinates in the span of the training images, at most as many as there are images, it answers as from all
    of the values, however many; only sooner.

    Args:
        train, test: `(n, values)` and `(m, values)`.
        scaling: `"common"`, `"each"` or `"none"`, see `probe`.

    Returns:
        float64 `(n, rank)` and `(m, rank)`; the features themselves, scaled, if they are no more than images.
    """
    mean, scale = _scale(train, scaling)

    def scaled(features, part):
        return (features[:, part].astype(np.float64) - mean[part]) / scale[part]

    count, values = train.shape
    if values <= count:
        return scaled(train, slice(None)), scaled(test, slice(None))
    products = np.zeros((count + len(test), count))
    for start in range(0, values, _COLUMNS):
        part = slice(start, start + _COLUMNS)
        known = scaled(train, part)
        products[:count] += known @ known.T
        products[count:] += scaled(test, part) @ known.T
    energy, directions = np.linalg.eigh(products[:count])
    kept = energy > 1e-12 * max(energy[-1], 1e-300)
    if not kept.any():  # the layer says the same of all images
        return np.zeros((count, 1)), np.zeros((len(test), 1))
    turned = products @ (directions[:, kept] / np.sqrt(energy[kept]))
    return turned[:count], turned[count:]


def _scale(train, scaling):
    """What is taken off each value and what it is divided by, `(values,)` each."""
    if scaling == "none":
        return np.zeros(train.shape[1]), np.ones(train.shape[1])
    mean, spread = train.mean(axis=0, dtype=np.float64), np.empty(train.shape[1])
    for start in range(0, len(spread), _COLUMNS):
        part = slice(start, start + _COLUMNS)
        spread[part] = np.sqrt(np.mean((train[:, part] - mean[part]) ** 2, axis=0))
    if scaling == "common":
        spread = np.full(len(spread), np.sqrt((spread**2).sum()))
    tiny = 1e-7 * np.abs(mean)  # what is the same in all training images says nothing, whatever its rounding
    return mean, np.where(spread > tiny, spread, 1)


def classifier(name, C):
    """An untrained classifier of scikit-learn; both find the one optimum and draw no random numbers."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    return LinearSVC(C=C, dual=False) if name == "svm" else LogisticRegression(C=C, max_iter=1000)


def check_sklearn():
    """That scikit-learn is there.

    Raises:
        ImportError: If not; it says how to install it.
    """
    require_sklearn("Linear classifiers", "sklearn.linear_model", "sklearn.svm")


def check_scaling(scaling, C):
    """A way to scale features, and a weight for errors.

    Raises:
        ValueError: If it is not known, or the weight is not above zero.
    """
    if scaling not in SCALINGS:
        raise ValueError(f"scaling must be one of {', '.join(SCALINGS)}; received {scaling!r}.")
    if not isinstance(C, Real) or isinstance(C, bool) or not 0 < C < np.inf:
        raise ValueError(f"C must be a number above 0; received {C!r}.")


def average_precision(scores, truth):
    """Area under the curve of precision over recall, as PASCAL VOC counts it since 2010 (Table 6).

    At each recall the precision is the best that is reached there or at any higher recall. Of equal scores the earlier
    image comes first.

    Args:
        scores: `(n,)`, higher for "more likely of this class".
        truth: `(n,)` of zeros and ones, at least one of them 1.

    Returns:
        float, 0 to 1.

    Raises:
        ValueError: If no image is of the class, or the two do not fit each other.
    """
    scores, truth = np.asarray(scores), np.asarray(truth).astype(bool)
    if scores.ndim != 1 or scores.shape != truth.shape or not truth.any():
        raise ValueError(
            "average_precision needs one score and one truth for each image, and at least one image of the class; "
            f"received scores of shape {scores.shape}, truth of shape {truth.shape} with {int(truth.sum())} ones."
        )
    hits = truth[np.argsort(-scores, kind="stable")]
    precision = (np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits]
    return float(np.maximum.accumulate(precision[::-1]).mean())


def average_precisions(train, train_labels, test, test_labels, *, C=10.0, scaling="common"):
    """A softmax over classes of which an image may have several, and its average precision for each (Table 6).

    A softmax tells classes apart that exclude each other. The paper's has 20 for VOC 2012, where an image may show
    several; how it was trained on these it does not say. Here an image of m classes is shown m times, once as each of
    them, with weight 1 / m.

    Args:
        train, test: Features `(n, values)` and `(m, values)`, such as `deconv.activations` of the last hidden layer.
        train_labels, test_labels: `(n, classes)` and `(m, classes)` of zeros and ones; -1 where an image is neither, as
            the "difficult" of VOC: it does not teach the class, and is left out where the class is measured.
        C: Weight of the training errors against the penalty.
        scaling: As for `deconv.probe`.

    Returns:
        float64 `(classes,)`, 0 to 1; NaN for a class of which no test image is.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If labels and features do not fit, or a class has no training image.
    """
    check_sklearn()
    check_scaling(scaling, C)
    train_labels, test_labels = (np.asarray(labels) for labels in (train_labels, test_labels))
    for features, labels in ((train, train_labels), (test, test_labels)):
        if np.ndim(features) != 2 or labels.shape != (len(features), train_labels.shape[-1]):
            raise ValueError(
                "Features must be (n, values), with labels (n, classes) of zeros and ones; "
                f"received {np.shape(features)} and {labels.shape}."
            )
        if not np.isin(labels, (-1, 0, 1)).all():
            wrong = labels[~np.isin(labels, (-1, 0, 1))][0]
            raise ValueError(f"Labels must be 1 (of the class), 0 (not of it) or -1 (neither); received {wrong!r}.")
    known = train_labels > 0
    if not known.any(axis=0).all():
        raise ValueError(f"Class {known.any(axis=0).argmin()} has no training image; leave it out or add some.")
    images, classes = np.nonzero(known)
    train, test = in_span(np.asarray(train), np.asarray(test), scaling)
    softmax = classifier("softmax", C)
    softmax.fit(train[images], classes, sample_weight=1 / known.sum(axis=1)[images])
    scores = softmax.predict_proba(test)
    return np.array([_of_one(*pair) for pair in zip(scores.T, test_labels.T, strict=True)])


def _of_one(scores, labels):
    """Average precision of one class, of the images that count for it."""
    counts, truth = labels >= 0, labels > 0
    return average_precision(scores[counts], truth[counts]) if truth.any() else np.nan
