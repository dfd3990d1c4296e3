"""Read the graph that Keras records of a model: inputs, outputs, and the layer calls between them."""

from __future__ import annotations

from typing import Any

import keras

KERNELS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
"""Layers whose filters are analysed."""


def inputs_and_outputs(model: keras.Model) -> tuple[list[keras.KerasTensor], list[keras.KerasTensor]]:
    """Return the symbolic inputs and outputs of a model as two lists.

    Raises:
        ValueError: If it is not a model, has no graph, or overrides `call` or `__call__`, so that its graph may be
            incomplete.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"model must be a keras.Model; received {type(model).__name__}.")
    if not has_graph(model):
        raise ValueError(
            f"Model '{model.name}' ({type(model).__name__}) has no graph of layers. A Sequential model needs an Input "
            "or model.build((None, height, width, channels)); rewrite a subclassed model with the functional API."
        )
    for method in ("call", "__call__"):
        if _is_own(model, method):
            raise ValueError(
                f"Model '{model.name}' ({type(model).__name__}) overrides {method}, so its graph may not contain all "
                f"of its computations. {_REMEDIES[method]}"
            )
    return keras.tree.flatten(model.inputs), keras.tree.flatten(model.outputs)


_REMEDIES = {
    "call": "Include it in a graph: images = keras.Input(model.input_shape[1:]), "
    "model = keras.Model(images, model.call(images)); inside another model, call model.call(x) instead of model(x). "
    "In the method, use only Keras layers and operations.",
    "__call__": "Move its computation into a layer of the model, for example a keras.layers.Rescaling.",
}


def _is_own(model, method):
    """Whether a model's method is not Keras's but that of its class, of an intermediate class, or of the instance."""
    owner = next(base for base in type(model).__mro__ if method in vars(base))
    return method in vars(model) or owner.__module__.split(".")[0] != "keras"


def has_graph(model: keras.Model) -> bool:
    """Return whether a model has symbolic inputs and outputs."""
    try:
        return bool(model.inputs) and bool(model.outputs)
    except (AttributeError, ValueError):  # Keras raises either for a model that was never built
        return False


def nodes(model: keras.Model) -> list[Any]:
    """Return the layer calls in a model in topological order."""
    inputs, outputs = inputs_and_outputs(model)
    ready = {id(tensor) for tensor in inputs}
    order, waiting = [], [(node, False) for node in reversed([_producer(tensor) for tensor in outputs])]
    visited = set()
    while waiting:
        node, parents_done = waiting.pop()
        if parents_done:
            order.append(node)
        elif id(node) not in visited and not node.is_input:
            visited.add(id(node))
            waiting.append((node, True))
            needed = [_producer(tensor) for tensor in node.input_tensors if id(tensor) not in ready]
            waiting.extend((parent, False) for parent in reversed(needed))
    return order


def _producer(tensor):
    """The node that made a symbolic tensor (the record that Keras itself walks, `keras/src/ops/function.py`)."""
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


def label(name: str) -> str:
    """Convert a path to a valid Keras name, which must not contain a slash."""
    return name.replace("/", ".").replace(":", ".")
