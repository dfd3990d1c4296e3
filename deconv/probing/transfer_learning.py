"""Compare pretrained features on another task with training from random weights (section 5.2, Tables 4, 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from tqdm import tqdm

from deconv import graph
from deconv.datasets.sampling import listing
from deconv.probing.linear_classifiers import Scaling
from deconv.probing.linear_probes import probe
from deconv.probing.splits import check_sizes, class_accuracy, deviation, draw_folds
from deconv.probing.training_from_scratch import Trainer
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_positive, prepare

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Transfer(NamedTuple):
    """Accuracies by images per class, with pretrained features and with a network trained from random weights.

    Attributes:
        layer: The layer whose features the new softmax takes.
        per_class: `(sizes,)` ints, numbers of training images of each class.
        classes: `(classes,)` ints, the labels of the classes.
        pretrained: `(sizes, folds)`, mean of the classes' accuracies, 0 to 1, of a softmax on the features.
        scratch: The same for the whole network trained from random weights; NaN where it was not trained.
        updates: `(sizes, folds)` ints, number of weight updates of each such network; 0 where there is none.
        loss: `(sizes, folds)`, its mean training loss at the end; NaN where there is none.
    """

    layer: str | int
    per_class: np.ndarray
    classes: np.ndarray
    pretrained: np.ndarray
    scratch: np.ndarray
    updates: np.ndarray
    loss: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, title: str = "Transfer to other classes") -> Figure:
        """Draw the accuracies against the number of training images (`plotting.size_chart`)."""
        from deconv.plotting import size_chart

        pretrained, scratch = f"softmax on {self.layer}, pre-trained", "trained from random weights"
        accuracies = {pretrained: self.pretrained, scratch: self.scratch}
        curves = {name: (values.mean(axis=1), deviation(values)) for name, values in accuracies.items()}
        return size_chart(self.per_class.tolist(), curves, 1 / len(self.classes), title)


def transfer(
    model: keras.Model,
    dataset: Any,
    layer: str | int | None = None,
    per_class: int | Sequence[int] | np.ndarray = (1, 2, 3, 6, 10, 15, 30, 45, 60),
    *,
    scratch: bool | int | Sequence[int] | np.ndarray = True,
    learning_rate: float = 1e-3,
    most_updates: int = 2000,
    enough: float = 0.01,
    examples: int = 32,
    test_per_class: int = 50,
    folds: int = 5,
    C: float = 10.0,
    scaling: Scaling = "common",
    preprocess: Callable | None = None,
    batch_size: int = 64,
    input_shape: tuple[int, int, int] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Transfer:
    """Train a new softmax on a fixed network, and for comparison the same network from random weights.

    Both use the same training and test images, drawn as in `deconv.probe`. The network trained from random weights has
    the layers of `model` up to the same layer, weights drawn by the layers' initializers, and a softmax for the new
    classes. It is trained with Adam, without augmentation, until its mean training loss has fallen to `enough`: then it
    fits the training images, and the comparison is not limited by the training time. The paper does not describe its
    training.

    Args:
        model: A functional or Sequential `keras.Model`. It is not changed.
        dataset: An `ImageSet`, or arrays `(images, labels)`. Images with a label below zero are left out.
        layer: The layer whose features are used; None for the input of the last dense layer.
        per_class: Number of training images per class, or several such numbers.
        scratch: Whether to train from random weights; or the numbers of `per_class` for which to do so.
        learning_rate: Learning rate of Adam.
        most_updates: Largest number of updates.
        enough: Mean training loss (cross-entropy) at which training ends, over the last pass through the images, at
            least 20 updates.
        examples: Number of images per update, or all of them if they are fewer.
        test_per_class, folds, C, scaling, preprocess, batch_size, input_shape, seed, progress: As for `deconv.probe`.

    Returns:
        `Transfer`.

    Raises:
        ImportError: If scikit-learn is not installed.
        ValueError: If a class has too few images, or anything else does not fit.
    """
    for name, value in (("learning_rate", learning_rate), ("enough", enough)):
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 < value < np.inf:
            raise ValueError(f"{name} must be a finite number above 0; received {value!r}.")
    most_updates, examples = check_positive("most_updates", most_updates), check_positive("examples", examples)
    sizes = check_sizes(per_class)
    scratch_sizes = _scratch_sizes(scratch, sizes)
    model_graph = graph.walk(model, input_shape)
    step = last_hidden(model_graph) if layer is None else graph.find(model_graph, layer)
    if step is None:
        raise ValueError(
            f"Model '{model.name}' has no layer below a dense layer; give the layer whose features to use."
        )
    draw: dict[str, Any] = {"test_per_class": test_per_class, "folds": folds, "seed": seed}
    images: dict[str, Any] = {"preprocess": preprocess, "batch_size": batch_size, "input_shape": input_shape}
    softmax: dict[str, Any] = {"classifiers": "softmax", "C": C, "scaling": scaling, "progress": progress}
    probes = probe(model, dataset, step.name, sizes, **softmax, **draw, **images)
    shape = len(sizes), folds
    result = Transfer(
        layer=_name(model_graph, step) if layer is None else layer,
        per_class=sizes,
        classes=probes.classes,
        pretrained=probes.accuracy[0, 0],
        scratch=np.full(shape, np.nan),
        updates=np.zeros(shape, np.int64),
        loss=np.full(shape, np.nan),
    )
    if len(scratch_sizes):
        trainer = Trainer(graph.subgraph(model_graph, step), len(probes.classes), learning_rate)
        options = {"most_updates": most_updates, "enough": enough, "examples": examples}
        with tqdm(total=len(scratch_sizes) * folds, unit=" networks", disable=not progress) as bar:
            _train_from_scratch(result, trainer, dataset, scratch_sizes, draw, preprocess, batch_size, options, bar)
    return result


def _scratch_sizes(scratch: Any, sizes: np.ndarray) -> np.ndarray:
    """The numbers of training images per class for which a network is trained from random weights."""
    if scratch is None:
        raise ValueError("scratch must be True, False or numbers of per_class; received None.")
    chosen = check_sizes(scratch) if not isinstance(scratch, bool | np.bool_) else sizes if scratch else sizes[:0]
    if not np.isin(chosen, sizes).all():
        raise ValueError(f"scratch must be True, False or numbers of per_class, {sizes.tolist()}; received {scratch}.")
    return chosen


def _train_from_scratch(result, trainer, dataset, scratch_sizes, draw, preprocess, batch_size, options, bar):
    """Train and test a network from random weights for each fold and size; the arrays of `result` are filled."""
    sizes, model_graph = result.per_class, trainer.model_graph
    labels, _, pick = listing(dataset, needs_labels=True)
    for number, fold in enumerate(draw_folds(labels, sizes, **draw)):
        train, test = (
            _prepared(pick(part), preprocess, model_graph, batch_size) for part in (fold.train.ravel(), fold.test)
        )
        rows = np.arange(len(train)).reshape(fold.train.shape)
        test_labels = np.searchsorted(result.classes, labels[fold.test])
        for place in np.flatnonzero(np.isin(sizes, scratch_sizes)):
            random = np.random.default_rng([draw["seed"], number, sizes[place]])
            part = rows[:, : sizes[place]]
            train_labels = np.repeat(np.arange(len(part)), sizes[place])
            result.updates[place, number], result.loss[place, number] = trainer.train(
                train[part.ravel()], train_labels, random, **options
            )
            result.scratch[place, number] = class_accuracy(test_labels, trainer.classify(test, batch_size))
            bar.update()


def _prepared(images, preprocess, model_graph, batch_size):
    """All images after preprocessing."""
    image, starts = model_graph.inputs[0], range(0, len(images), batch_size)
    batches = [prepare(images[start : start + batch_size], preprocess, image.shape, image.dtype) for start in starts]
    return np.concatenate(batches)


def last_hidden(model_graph: graph.Graph) -> graph.Step | None:
    """The step that computes the input of a graph's last dense layer; None if there is no such layer."""
    heads = [step for step in model_graph.steps if isinstance(step.layer, keras.layers.Dense)]
    return next((step for step in model_graph.steps if heads and heads[-1].inputs[0] in step.outputs), None)


def _name(model_graph, step):
    """The name of a step for display: for an identity layer, that of the step below it."""
    while isinstance(step.layer, graph.IDLE):
        makers = [maker for maker in model_graph.steps if step.inputs[0] in maker.outputs]
        if not makers:
            break
        step = makers[0]
    return step.name
