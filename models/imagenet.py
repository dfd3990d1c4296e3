"""The classes of the ImageNet challenge, and of Imagenette, a subset of ten."""

import functools
import json
from pathlib import Path

import keras
import numpy as np

from models.loading import validation

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
def imagenet_classes():
    """The 1,000 classes of ILSVRC 2012 to 2017 in the order of the labels: a tuple of `(wnid, name)`."""
    table = json.loads(Path(__file__).with_name("imagenet_classes.json").read_text(encoding="utf-8"))
    return tuple(map(tuple, table))


def decode_predictions(predictions, top=5):
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
    predictions = keras.ops.convert_to_numpy(predictions)
    if predictions.ndim != 2 or predictions.shape[1] not in (1000, len(IMAGENETTE)):
        raise ValueError(
            "decode_predictions knows the 1000 classes of ImageNet and the 10 of Imagenette: expected shape (n, 1000) "
            f"or (n, 10), got {predictions.shape}. Name the classes of a network of your own from its data set."
        )
    classes = IMAGENETTE if predictions.shape[1] == len(IMAGENETTE) else imagenet_classes()
    if validation.check_whole("decode_predictions", "top", top) > len(classes):
        raise ValueError(f"decode_predictions: `top` must be 1 to {len(classes)}, got {top!r}.")
    order = np.argsort(-predictions, axis=1, kind="stable")[:, :top]
    return [
        [(*classes[label], float(scores[label])) for label in labels]
        for labels, scores in zip(order, predictions, strict=True)
    ]
