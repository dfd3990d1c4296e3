"""The output of a model: the step that computes it, and whether its values are probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.validation import check_finite

Kind = Literal["probability", "score (logit)", "output"]

_RESHAPING = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Permute)
_PROBABILITIES = ("softmax", "sigmoid")
_CLASSES = 5
"""Values per row on which an unknown function is tested."""


def output_step(model_graph: graph.Graph) -> graph.Step:
    """Return the step of a `Graph` that computes the model's first output.

    With several outputs this need not be the last step.
    """
    return next(step for step in model_graph.steps if model_graph.outputs[0] in step.outputs)


def has_classes(model_graph: graph.Graph) -> bool:
    """Return whether the model's first output is one number per class.

    Outputs of any other shape, such as the activation maps of a network without its classifier, have no classes.
    """
    return len(model_graph.outputs[0].shape) == 1


def output_kind(model_graph: graph.Graph) -> Kind:
    """Classify the values of the model's first output.

    The last activation decides: `"probability"` for softmax and sigmoid, and for any other function that maps values
    from -30 to 30 to values from 0 to 1; `"score (logit)"` for several values without an activation; `"output"`
    otherwise. Layers that only reshape, or are the identity at inference, are skipped.

    Args:
        model_graph: A `Graph` with `outputs`, as `graph.walk` returns it.

    Returns:
        The name of the kind.
    """
    producers = {edge: step for step in model_graph.steps for edge in step.outputs}
    step: graph.Step | None = output_step(model_graph)
    while step is not None:
        several = step.output.shape[-1:] != (1,)
        activation = getattr(step.layer, "activation", None)
        name = getattr(activation, "__name__", None)
        if isinstance(step.layer, keras.layers.Softmax) or name in _PROBABILITIES:
            return "probability"
        if activation is not None and name != "linear":
            return "probability" if _stays_within_one(activation) else "output"
        is_function = not step.layer.weights if hasattr(step.layer, "weights") else True
        if not is_function:
            return "score (logit)" if several and hasattr(step.layer, "activation") else "output"
        if not isinstance(step.layer, (*_RESHAPING, *graph.IDLE)) and name != "linear":
            return "probability" if _stays_within_one(lambda values, step=step: _called(step, values)) else "output"
        step = producers.get(step.inputs[0]) if step.inputs else None
    return "output"


def is_probability(model_graph: graph.Graph) -> bool:
    """Return whether the last activation bounds the model's first output to the range 0 to 1."""
    return output_kind(model_graph) == "probability"


def _stays_within_one(function):
    """Whether a function of tensors maps values of any size to values from 0 to 1; False if it fails."""
    values = np.random.default_rng(0).uniform(-30, 30, (64, _CLASSES)).astype(np.float32)
    try:
        outputs = np.asarray(function(tf.constant(values)))
    except Exception:  # a user's function, which may accept other shapes only
        return False
    return bool(outputs.size and np.isfinite(outputs).all() and outputs.min() >= 0 and outputs.max() <= 1)


def _called(step, values):
    """Output of a step without weights, with `values` in place of its only input."""
    if len(step.inputs) != 1:
        raise ValueError("It has several inputs.")
    args, kwargs = keras.tree.map_structure(
        lambda leaf: values if isinstance(leaf, graph.Edge) else leaf, (step.args, step.kwargs)
    )
    return graph.call_layer(step, *args, **kwargs)


def check_class_outputs(outputs: np.ndarray, layer: str) -> np.ndarray:
    """Check that outputs of a model are finite and one number per class, and return them.

    Raises:
        ValueError: If they are not `(n, classes)`, or NaN or infinite.
    """
    if outputs.ndim != 2:
        raise no_classes(outputs.shape)
    return check_finite(outputs, layer)


def no_classes(shape: Sequence[int | None]) -> ValueError:
    """The error for a class, or class outputs, of a model whose output has another shape than `(n, classes)`."""
    return ValueError(
        f"The output of the model must be (n, classes), so that a class can be chosen; received {tuple(shape)}. "
        "Cut the model with keras.Model(model.inputs, ...)."
    )
