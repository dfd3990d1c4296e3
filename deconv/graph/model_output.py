"""What a model puts out: which step makes it, and whether its numbers are probabilities."""

from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from deconv import graph

Kind = Literal["probability", "score (logit)", "output"]

_RESHAPING = (keras.layers.Flatten, keras.layers.Reshape, keras.layers.Permute)
_PROBABILITIES = ("softmax", "sigmoid")
_CLASSES = 5
"""Values per row at which an unknown function is tried."""


def output_step(model_graph):
    """The step of a `Graph` that makes the model's first output.

    The last step need not be it: a model may have several outputs, and make the first of them first.
    """
    return next(step for step in model_graph.steps if model_graph.outputs[0] in step.outputs)


def output_kind(model_graph) -> Kind:
    """What the numbers of the model's first output are to be called.

    The last activation decides: `"probability"` for softmax and sigmoid, and for any other function that turns numbers
    from -30 to 30 into numbers from 0 to 1; `"score (logit)"` for several numbers without an activation; else
    `"output"`. Layers that only reshape or do nothing at inference are looked through.

    Args:
        model_graph: A `Graph` with `outputs`, as `graph.walk` makes it.
    """
    makers = {edge: step for step in model_graph.steps for edge in step.outputs}
    step = output_step(model_graph)
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
        step = makers.get(step.inputs[0]) if step.inputs else None
    return "output"


def is_probability(model_graph):
    """Whether the model's first output is between 0 and 1 by its last activation."""
    return output_kind(model_graph) == "probability"


def _stays_within_one(function):
    """Whether a function of tensors turns numbers of any size into numbers from 0 to 1; False if it fails."""
    values = np.random.default_rng(0).uniform(-30, 30, (64, _CLASSES)).astype(np.float32)
    try:
        found = np.asarray(function(tf.constant(values)))
    except Exception:  # a function of anybody's, which may take other shapes only
        return False
    return bool(found.size and np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1)


def _called(step, values):
    """What a step without weights makes of values in the place of its only input."""
    if len(step.inputs) != 1:
        raise ValueError("It has several inputs.")
    args, kwargs = keras.tree.map_structure(
        lambda leaf: values if isinstance(leaf, graph.Edge) else leaf, (step.args, step.kwargs)
    )
    return graph.call_layer(step, *args, **kwargs)
