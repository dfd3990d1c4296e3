"""Classify activation functions by identity or, where that is not possible, by calling them on test values.

The same function may be written in many ways: `"relu"`, `tf.nn.relu`, a lambda, a `Lambda` layer,
`keras.ops.maximum(x, 0)`. Its name is therefore not reliable. An unknown function is called on a few hundred values;
the result is cached for each combination of function, settings and input rank.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.graph.affine_layers import AFFINE_OPERATIONS, COPY_OPERATIONS
from deconv.graph.function_behaviour import (
    CELL,
    EVERYTHING,
    IDENTITY,
    POSITION,
    RECTIFIER,
    UNKNOWN,
    Behaviour,
    classify_by_calling,
    is_affine,
)
from deconv.graph.settings import Settings, calls, settings

ACTIVATED = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
    keras.layers.Dense,
    keras.layers.EinsumDense,
)
"""Layers with weights that have an `activation` argument."""

_KERAS = tuple(vars(keras.activations).values())
_SHAPES = {0: (), 1: (7,), 2: (5, 7), 3: (3, 5, 7), 4: (2, 3, 3, 5)}
"""{rank: shape without the batch} of the maps on which functions are called first."""
_RESULTS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
"""{function or layer: (version of its settings, {key: Behaviour})}"""
_SETTINGS = Settings(settings)


def behaviour(
    function: Callable[[tf.Tensor], tf.Tensor] | keras.layers.Layer | None, shape: tuple[int, ...]
) -> Behaviour:
    """Classify an activation function.

    Args:
        function: Any activation that Keras accepts: a function of one tensor, a layer, or None for the identity.
        shape: Shape of its input, without the batch. The function is called on maps of this shape only if it rejects
            smaller ones.

    Returns:
        A `Behaviour`; `UNKNOWN` if the function cannot be called.
    """
    if function is None or function is keras.activations.linear:
        return IDENTITY
    if function is keras.activations.relu:
        return RECTIFIER
    if function is keras.activations.relu6:
        return RECTIFIER._replace(end=6.0)
    by_attributes = _of_rectifier(function, type(function))
    if by_attributes is not None:
        return by_attributes

    def call(maps):
        with _Weights(function):
            return function(maps)

    result = _behaviour_by_calling(function, (), call, shape)
    is_known = any(function is one for one in _KERAS)
    if isinstance(function, keras.layers.Layer) and not is_unknown(function):
        is_known = not isinstance(function, keras.layers.ReLU)  # a ReLU layer may have a threshold
    return result._replace(hides_rectifier=False) if is_known else result


def of(step: graph.Step) -> Behaviour | None:
    """Return the `Behaviour` of the activation that a step ends with, or of the step itself (`of_step`), or None."""
    if graph.kind(step.layer) in ACTIVATED and hasattr(step.layer, "activation"):
        return behaviour(step.layer.activation, step.output.shape)
    return of_step(step)


def of_step(step: graph.Step) -> Behaviour | None:
    """Return the `Behaviour` of a step that is only an activation; None for any other step.

    Recognised are Keras's activation layers and operations. Layers of unknown class and operations also count if they
    map one tensor to one of the same shape; their behaviour is found by calling them.
    """
    layer, rule_class, shape = step.layer, graph.kind(step.layer), step.output.shape
    if rule_class is keras.layers.Activation and hasattr(layer, "activation"):
        return behaviour(layer.activation, shape)
    by_attributes = _of_rectifier(layer, rule_class)
    if by_attributes is not None:
        return by_attributes
    if rule_class is keras.layers.Softmax and hasattr(layer, "axis"):
        axes = {axis % (len(shape) + 1) for axis in np.atleast_1d(layer.axis).tolist()}
        depends_on = POSITION if axes == {len(shape)} else EVERYTHING
        return Behaviour("softmax", depends_on, alike=depends_on == POSITION, hides_rectifier=False)
    if not (is_unknown(layer) or rule_class in (keras.layers.ReLU, keras.layers.Activation)):
        return None
    edges = _edges(step)
    if len(edges) != 1 or len(step.outputs) != 1 or step.inputs[0].shape != shape:
        return None
    if not _is_float(edges[0]) or not _is_float(step.output):
        return None

    def call(maps):
        return _called(step, [tf.cast(maps, edges[0].dtype)])[0]

    leaves = [leaf if isinstance(leaf, int | float | str | None) else id(leaf) for leaf in _leaves(step)[1]]
    result = _behaviour_by_calling(layer, (str(edges[0].dtype), str(leaves)), call, shape)
    is_operation = not isinstance(layer, keras.layers.Layer)
    return result._replace(hides_rectifier=False) if is_operation and result.depends_on != CELL else result


def is_unknown(layer: keras.layers.Layer | keras.Operation) -> bool:
    """Return whether the function of a layer or operation can only be determined by calling it."""
    if "mirrored_as" in vars(type(layer)):
        return False
    if not isinstance(layer, keras.layers.Layer):
        return type(layer).__name__ not in (*AFFINE_OPERATIONS, *COPY_OPERATIONS)
    opaque = keras.layers.Lambda, keras.layers.Wrapper, keras.layers.RNN, keras.layers.TFSMLayer
    return not type(layer).__module__.startswith("keras.") or isinstance(layer, opaque)


def hides_rectifier(step: graph.Step) -> bool:
    """Return whether a step may contain a rectifier that cannot be separated from its other computations.

    True for activations with `Behaviour.hides_rectifier`, for operations with a boolean input, and for layers of
    unknown class that are not affine.
    """
    layer, activation = step.layer, of(step)
    if activation is not None:
        return activation.hides_rectifier
    if not isinstance(layer, keras.layers.Layer):  # in `where(x > 0, x, 0)` the comparison is a separate step
        return _is_float(step.output) and any(edge.dtype == "bool" for edge in step.inputs)
    if not is_unknown(layer):
        return False
    if isinstance(layer, keras.layers.RNN) and hasattr(layer, "activation"):
        recurrent = behaviour(layer.activation, step.output.shape)
        return recurrent.hides_rectifier or recurrent.kind == "rectifier"
    return not _cached(layer, tuple(edge.shape for edge in step.inputs), lambda: _is_affine(step))


def check_no_hidden_rectifier(model_graph: graph.Graph, top_counts: bool = True) -> None:
    """Reject a graph with possibly hidden rectifiers, for methods that modify the gradient of rectifiers.

    Args:
        model_graph: A `Graph`.
        top_counts: Whether the activation of the last step is checked too.

    Raises:
        ValueError: If a step may hide a rectifier. The message names the layer and the remedy.
    """
    for step in model_graph.steps:
        counts = top_counts or step is not model_graph.steps[-1] or of(step) is None
        if counts and hides_rectifier(step):
            raise ValueError(
                f"Layer '{step.name}' ({type(step.layer).__name__}) may contain a rectifier that cannot be separated "
                "from its other computations, and this method changes the gradient of rectifiers. Use a separate "
                "keras.layers.ReLU layer; or, if the layer has the backward rule of a Keras layer, declare it in its "
                "class, for example `mirrored_as = keras.layers.Identity`. The plain gradient works with any layer."
            )


def _of_rectifier(layer, rule_class):
    """Recognise Keras's ReLU layer and operations by their attributes; None for others and for leaky ones."""
    if rule_class is not keras.layers.ReLU and not (
        rule_class.__name__ in ("Relu", "Relu6", "ReLU") and rule_class.__module__.startswith("keras.")
    ):
        return None
    if getattr(layer, "negative_slope", 0) or getattr(layer, "threshold", 0):
        return None
    return RECTIFIER._replace(end=6.0 if rule_class.__name__ == "Relu6" else getattr(layer, "max_value", None))


def _behaviour_by_calling(thing, key, call, shape):
    """The `Behaviour` of a function or layer: on a small shape or, if it rejects that, on the shape of its maps."""
    small, has_weights = _SHAPES.get(len(shape)), bool(getattr(thing, "variables", ()))
    if small is not None and not has_weights:
        result = _cached(thing, (len(shape), *key), lambda: classify_by_calling(call, small))
        if result != UNKNOWN:
            return result
    # A function that accepts one shape only cannot be run on a part of a map.
    return _cached(thing, (shape, *key), lambda: classify_by_calling(call, shape)._replace(alike=False))


def _cached(thing, key, compute):
    """The result of `compute()`, cached for as long as a function or layer exists and keeps its settings."""
    try:
        version = _SETTINGS.version(thing)
        cached_version, cached = _RESULTS.get(thing, (None, {}))
        if cached_version != version:
            cached = {}
            _RESULTS[thing] = version, cached
    except TypeError:  # no weak references, or not hashable: not cached
        cached = {}
    if key not in cached:
        with calls(), tf.init_scope():  # outside of the function that is being traced
            cached[key] = tf.autograph.experimental.do_not_convert(compute)()
    return cached[key]


class _Weights:
    """Scope in which a layer's float weights are random positive numbers, so that results do not depend on them."""

    def __init__(self, layer):
        rng = np.random.default_rng(0)
        weights = layer.variables if isinstance(layer, keras.layers.Layer) else ()
        self._scope = keras.StatelessScope(
            [
                (weight, tf.cast(rng.uniform(0.5, 1.5, weight.shape), weight.dtype))
                for weight in weights
                if tf.as_dtype(weight.dtype).is_floating
            ]
        )

    def __enter__(self):
        self._scope.__enter__()

    def __exit__(self, *reason):
        self._scope.__exit__(*reason)


def _called(step, maps):
    """Outputs of a step, as a list, for other input maps, given in the order of the edges among its arguments."""
    given, edge = iter(maps), graph.Edge((), "float32")
    args, kwargs = keras.tree.map_structure(
        lambda leaf: next(given) if isinstance(leaf, graph.Edge) else leaf, (step.args, step.kwargs)
    )
    kwargs = {**kwargs, "training": False} if "training" in kwargs else kwargs

    def call(alone, _):
        with _Weights(step.layer):
            return step.layer(*args, **kwargs)

    alone = graph.Graph("", (edge,), (step._replace(inputs=(edge,), args=(edge,), kwargs={}),))
    values = graph.run(alone, maps[0], call)
    return [values[output] for output in step.outputs]


def _leaves(step):
    """`(edges, other leaves)` of the arguments of a step."""
    leaves = keras.tree.flatten((step.args, step.kwargs))
    edges = [leaf for leaf in leaves if isinstance(leaf, graph.Edge)]
    return edges, [leaf for leaf in leaves if not isinstance(leaf, graph.Edge)]


def _edges(step):
    return _leaves(step)[0]


def _is_float(edge):
    return tf.as_dtype(edge.dtype).is_floating


def _is_affine(step):
    """Whether a step, with any number of inputs, is an affine function of them."""
    rng = np.random.default_rng(0)
    edges = _edges(step)
    if not edges or not all(_is_float(edge) for edge in edges):
        return True
    pairs = [3 * rng.standard_normal((2, *edge.shape)) for edge in edges]
    maps = [np.stack([0 * one, one, two, one + two, -one]) for one, two in pairs]
    try:
        outputs = _called(step, [tf.cast(values, edge.dtype) for values, edge in zip(maps, edges, strict=True)])
        arrays = [np.asarray(keras.ops.convert_to_numpy(output)) for output in outputs]
    except Exception:  # a user's layer may raise any exception
        return False
    return all(is_affine(*output.astype(np.float64)) for output in arrays)
