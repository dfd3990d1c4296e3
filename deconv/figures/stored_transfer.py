"""Stored accuracies of networks trained from random weights (Fig. 9), so that drawing the figure trains nothing."""

from __future__ import annotations

import hashlib
import inspect
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from deconv import graph
from deconv.figures.picture import effect_of
from deconv.probing.transfer_learning import Transfer, last_hidden, transfer
from deconv.runtime.json_files import check_members, read_object

if TYPE_CHECKING:
    from deconv.figures.subject import Subject

_SETTINGS = ("learning_rate", "most_updates", "enough", "examples", "test_per_class", "folds")
_IMAGES = 10_000
"""Largest number of images that identify a data set."""
_OPTIONS = ("activation", "rate", "strides", "padding", "kernel_initializer", "bias_initializer", "kernel_regularizer")


def training_of(subject: Subject, per_class: np.ndarray) -> dict[str, Any]:
    """Everything on which networks trained from random weights by `transfer` depend, except for package versions.

    The weights of the subject's network are not part of it, since these networks have its layers only.

    Args:
        subject: A `Subject` with transfer data.
        per_class: `(sizes,)` ints, numbers of training images per class.

    Returns:
        JSON-serialisable dict.
    """
    model_graph = graph.walk(subject.model)
    step, data = last_hidden(model_graph), subject.transfer
    assert step is not None  # the recipe is skipped otherwise
    defaults = inspect.signature(transfer).parameters
    steps = graph.subgraph(model_graph, step).steps
    digest = hashlib.sha256()
    for images, labels, *_ in data.dataset.take(_IMAGES).batch(256).as_numpy_iterator():
        digest.update(np.ascontiguousarray(images).tobytes() + np.asarray(labels, np.int64).tobytes())
    return {
        "input": [int(side) for side in model_graph.inputs[0].shape],
        "layers": [_layer(one.layer, one.output.shape) for one in steps],
        "data": {"name": data.name, "size": int(data.size), "images_sha256": digest.hexdigest()},
        "preprocess_effect": effect_of(subject.preprocess, data),
        "settings": {name: defaults[name].default for name in _SETTINGS},
        "per_class": [int(size) for size in per_class],
        "seed": int(subject.seed),
    }


def stored_transfer(file: str | os.PathLike, training: dict[str, Any], found: Transfer) -> Transfer | None:
    """Complete a `Transfer` without networks from random weights by the stored results of these.

    Args:
        file: JSON file with the members `training`, as of `training_of`, and `results`, with `scratch`, `updates` and
            `loss`.
        training: What the results must depend on.
        found: `Transfer` of the pretrained features.

    Returns:
        `Transfer`; None if the stored results are of another training.

    Raises:
        ValueError: If the file cannot be read, or is not such a file.
    """
    record = read_object(file, training=dict, results=dict)
    if record["training"] != training:
        return None
    try:
        check_members(record["results"], scratch=list, updates=list, loss=list)
        arrays: dict[str, Any] = {
            name: np.array(record["results"][name], found.scratch.dtype) for name in ("scratch", "loss")
        }
        arrays["updates"] = np.array(record["results"]["updates"], found.updates.dtype)
        if {array.shape for array in arrays.values()} != {found.pretrained.shape}:
            raise ValueError(f"expected results of the shape {found.pretrained.shape}")
    except (ValueError, TypeError) as error:
        raise ValueError(f"'{file}' holds no results of networks from random weights: {error}.") from None
    return found._replace(**arrays)


def _layer(layer: Any, shape: tuple[int, ...]) -> list[Any]:
    """Class, output shape and options of a layer, as far as they affect its training."""
    options = {name: _name(getattr(layer, name)) for name in _OPTIONS if getattr(layer, name, None) is not None}
    return [type(layer).__name__, [int(side) for side in shape], options]


def _name(value: Any) -> Any:
    """A JSON value of an option of a layer: numbers and texts unchanged, else the name of a function or class."""
    if isinstance(value, int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_name(part) for part in value]
    return getattr(value, "__name__", type(value).__name__)
