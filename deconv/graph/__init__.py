"""Model graphs: a Keras model as a list of steps, and the receptive fields of its units."""

# ruff: noqa: E402
from deconv.runtime import keras_backend

keras_backend.check()  # before any layer is named

from deconv.graph.model_graph import (
    IDLE,
    Edge,
    Graph,
    Step,
    computes_as,
    find,
    find_all,
    kind,
    producer_of,
    subgraph,
    walk,
    with_edges,
)

from deconv.graph.execution import call_layer, run  # isort: skip

__all__ = [
    "IDLE",
    "Edge",
    "Graph",
    "Step",
    "call_layer",
    "computes_as",
    "find",
    "find_all",
    "kind",
    "producer_of",
    "run",
    "subgraph",
    "walk",
    "with_edges",
]
