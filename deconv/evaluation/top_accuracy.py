"""Top-1 and top-5 accuracy of a model on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import keras
import numpy as np
from tqdm import tqdm

from deconv import graph
from deconv.graph.model_output import check_class_outputs, has_classes, no_classes
from deconv.validation import preprocessed


class TopAccuracy(NamedTuple):
    """Accuracies in [0, 1].

    Attributes:
        top1: Share of the images whose class has the highest output.
        top5: Share of the images whose class is among the five highest outputs.
        images: Number of images.
        left_out: Number of images without a class, or of a class that the model does not have.
        ranks: int `(images,)`: number of classes whose output is higher than that of the image's class; of equal
            outputs, that of the lower index counts as higher.
    """

    top1: float
    top5: float
    images: int
    left_out: int
    ranks: np.ndarray

    @property
    def standard_errors(self) -> tuple[float, float]:
        """Standard errors of `top1` and `top5` for a random sample of images: the square root of p (1 - p) / n."""
        top1, top5 = (float(np.sqrt(share * (1 - share) / self.images)) for share in (self.top1, self.top5))
        return top1, top5


def central_crop(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut the centre out of images; one row or column more is cut off at the bottom or the right if need be.

    Args:
        images: `(n, height, width, channels)`.
        size: `(height, width)`, at most those of the images.

    Returns:
        `(n, *size, channels)`, a view.

    Raises:
        ValueError: If the images are smaller.
    """
    top, left = ((side - wanted) // 2 for side, wanted in zip(images.shape[1:3], size, strict=True))
    if min(top, left) < 0:
        raise ValueError(
            f"central_crop: the images must be at least {size} (height, width); received {images.shape[1:3]}."
        )
    return images[:, top : top + size[0], left : left + size[1]]


def top_accuracy(
    model: keras.Model,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    classes: Callable[[np.ndarray], Iterable[int | None]],
    preprocess: Callable[[np.ndarray], Any],
    *,
    progress: bool = False,
) -> TopAccuracy:
    """Compute the top-1 and top-5 accuracy; every image is cut to the central crop of the model's input size.

    Args:
        model: A model with one output per class.
        batches: Batches `(images, labels)`: pixel values `(n, height, width, channels)`, at least as large as the
            model's input, and int `(n,)`.
        classes: Function from labels to the model's classes; None for a class that it does not have.
        preprocess: Function from pixel values to inputs of the model.
        progress: Whether to show a progress bar.

    Returns:
        `TopAccuracy`.

    Raises:
        ValueError: If the model has no class outputs, an output is not finite, or no image has a class of the model.
    """
    model_graph = graph.walk(model)
    if not has_classes(model_graph):
        raise no_classes((None, *model_graph.outputs[0].shape))
    size = model.input_shape[1:3]
    ranks, left_out = [], 0
    for images, labels in tqdm(batches, unit=" batches", disable=not progress):
        known = [-1 if target is None else target for target in classes(labels)]
        targets = np.where(np.asarray(labels) < 0, -1, known)
        chosen = targets >= 0
        left_out += int((~chosen).sum())
        if not chosen.any():
            continue
        inputs = preprocessed(central_crop(images[chosen], size), preprocess)
        outputs = keras.tree.flatten(model(inputs, training=False))[0]
        outputs = check_class_outputs(keras.ops.convert_to_numpy(outputs), model.layers[-1].name)
        order = np.argsort(-outputs, axis=1, kind="stable")
        ranks.append(np.argmax(order == targets[chosen][:, None], axis=1))
    if not ranks:
        raise ValueError(
            f"None of the {left_out:,} images has a class of model '{model.name}'. Put the images into one folder per "
            "class, named as the model's classes or by their WordNet ids (n01440764)."
        )
    found = np.concatenate(ranks)
    return TopAccuracy(float((found == 0).mean()), float((found < 5).mean()), len(found), left_out, found)
