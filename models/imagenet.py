"""The classes of the ImageNet challenge, and of Imagenette, a subset of ten."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from models.loading import validation

if TYPE_CHECKING:
    import tensorflow as tf
    from numpy.typing import ArrayLike

IMAGENETTE = (
    ("n01440764", "tench"),
    ("n02102040", "English springer"),
    ("n02979186", "cassette player"),
    ("n03000684", "chain saw"),
    ("n03028079", "church"),
    ("n03394916", "French horn"),
    ("n03417042", "garbage truck"),
    ("n03425413", "gas pump"),
    ("n03445777", "golf ball"),
    ("n03888257", "parachute"),
)
"""Pairs `(wnid, name)` in the order of the labels."""


@functools.cache
def imagenet_classes() -> tuple[tuple[str, str], ...]:
    """The 1,000 classes of ILSVRC 2012 to 2017 in the order of the labels: a tuple of `(wnid, name)`."""
    table = json.loads(Path(__file__).with_name("imagenet_classes.json").read_text(encoding="utf-8"))
    return tuple(map(tuple, table))


def decode_predictions(predictions: ArrayLike | tf.Tensor, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """Names of the most probable classes.

    Args:
        predictions: Array or tensor `(n, 1000)`, the output of a network with ImageNet's classes, or `(n, 10)`, with
            those of Imagenette. Any other ten classes cannot be distinguished from these.
        top: Number of classes.

    Returns:
        For each image a list of `top` tuples `(wnid, name, score)`, the highest score first, e.g.
        `("n03394916", "French horn", 0.98)`.

    Raises:
        ValueError: If `predictions` is of another shape, or `top` is out of range.
    """
    scores: np.ndarray = keras.ops.convert_to_numpy(predictions)
    if scores.ndim != 2 or scores.shape[1] not in (1000, len(IMAGENETTE)):
        raise ValueError(
            "decode_predictions supports the 1000 classes of ImageNet and the 10 of Imagenette: expected shape "
            f"(n, 1000) or (n, 10), received {scores.shape}. For other classes use the class names of the data set."
        )
    classes = IMAGENETTE if scores.shape[1] == len(IMAGENETTE) else imagenet_classes()
    if validation.check_whole("decode_predictions", "top", top) > len(classes):
        raise ValueError(f"decode_predictions: `top` must be 1 to {len(classes)}, received {top!r}.")
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return [
        [(*classes[label], float(row[label])) for label in labels] for labels, row in zip(order, scores, strict=True)
    ]
