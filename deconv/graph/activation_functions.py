"""What an activation function computes: known by identity, or found out by calling it on values.

A function may be written in many ways: `"relu"`, `tf.nn.relu`, a lambda, a `Lambda` layer, `keras.ops.maximum(x, 0)`.
Its name says nothing. So it is called on a few hundred numbers, once for each function, what it is set to and the rank
of its input.
"""

import weakref

import keras
import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.graph.function_behaviour import (
    CELL,
    EVERYTHING,
    IDENTITY,
    POSITION,
    RECTIFIER,
    UNKNOWN,
    Behaviour,
    adds_up,
    tried,
)
from deconv.graph.rearranging import AFFINE_OPERATIONS, COPY_OPERATIONS
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
"""Layers with weights that may end with an activation of their own."""

_KERAS = tuple(vars(keras.activations).values())
_SHAPES = {0: (), 1: (7,), 2: (5, 7), 3: (3, 5, 7), 4: (2, 3, 3, 5)}
"""Shapes, without the batch, on which functions are tried first."""
_TRIED: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
"""{function or layer: (version of its settings, {what else counts: Behaviour})}"""
_SETTINGS = Settings(settings)


def behaviour(function, shape) -> Behaviour:
    """What an activation function computes on maps.

    Args:
        function: As Keras takes it: a function of a tensor, a layer, or None for none.
        shape: Of the maps, without the batch. A function is called on these only if it takes no smaller ones.
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

    found = _found(function, (), call, shape)
    named = any(function is one for one in _KERAS)
    if isinstance(function, keras.layers.Layer) and not is_unknown(function):
        named = not isinstance(function, keras.layers.ReLU)  # which may have a threshold
    return found._replace(hides_rectifier=False) if named else found


def of(step) -> Behaviour | None:
    """What the activation that a step ends with computes, or the step itself (see `of_step`); None if it has none."""
    if graph.kind(step.layer) in ACTIVATED and hasattr(step.layer, "activation"):
        return behaviour(step.layer.activation, step.output.shape)
    return of_step(step)


def of_step(step) -> Behaviour | None:
    """What a step computes whose layer is an activation and no more; None if it is something else.

    Known are the activation layers of Keras and its operations. A layer of unknown class counts, and an operation too,
    if it makes of one map another of the same shape; what it computes is found out by calling it.
    """
    layer, kind, shape = step.layer, graph.kind(step.layer), step.output.shape
    if kind is keras.layers.Activation and hasattr(layer, "activation"):
        return behaviour(layer.activation, shape)
    by_attributes = _of_rectifier(layer, kind)
    if by_attributes is not None:
        return by_attributes
    if kind is keras.layers.Softmax and hasattr(layer, "axis"):
        axes = {axis % (len(shape) + 1) for axis in np.atleast_1d(layer.axis).tolist()}
        sees = POSITION if axes == {len(shape)} else EVERYTHING
        return Behaviour("softmax", sees, sees == POSITION, hides_rectifier=False)
    if not (is_unknown(layer) or kind in (keras.layers.ReLU, keras.layers.Activation)):
        return None
    edges = _edges(step)
    if len(edges) != 1 or len(step.outputs) != 1 or step.inputs[0].shape != shape:
        return None
    if not _is_float(edges[0]) or not _is_float(step.output):
        return None

    def call(maps):
        return _called(step, [tf.cast(maps, edges[0].dtype)])[0]

    leaves = [leaf if isinstance(leaf, int | float | str | None) else id(leaf) for leaf in _leaves(step)[1]]
    found = _found(layer, (str(edges[0].dtype), str(leaves)), call, shape)
    is_operation = not isinstance(layer, keras.layers.Layer)
    return found._replace(hides_rectifier=False) if is_operation and found.sees != CELL else found


def is_unknown(layer) -> bool:
    """Whether a layer, or an operation, is of a class of which only calling it says what it computes."""
    if "mirrored_as" in vars(type(layer)):
        return False
    if not isinstance(layer, keras.layers.Layer):
        return type(layer).__name__ not in (*AFFINE_OPERATIONS, *COPY_OPERATIONS)
    opaque = keras.layers.Lambda, keras.layers.Wrapper, keras.layers.RNN, keras.layers.TFSMLayer
    return not type(layer).__module__.startswith("keras.") or isinstance(layer, opaque)


def hides_rectifier(step) -> bool:
    """Whether a step may rectify in a way that cannot be seen from outside.

    So it is with an activation that `Behaviour` says so of, and with a layer of unknown class that is not linear.
    """
    layer, found = step.layer, of(step)
    if found is not None:
        return found.hides_rectifier
    if not isinstance(layer, keras.layers.Layer):  # `where(x > 0, x, 0)`: the comparison is a step of its own
        return _is_float(step.output) and any(edge.dtype == "bool" for edge in step.inputs)
    if not is_unknown(layer):
        return False
    if isinstance(layer, keras.layers.RNN) and hasattr(layer, "activation"):
        inside = behaviour(layer.activation, step.output.shape)
        return inside.hides_rectifier or inside.kind == "rectifier"
    return not _once(layer, tuple(edge.shape for edge in step.inputs), lambda: _is_affine(step))


def check_seen(model_graph, top_counts=True):
    """Refuse a graph in which a rectifier may be hidden from a method that changes what rectifiers pass down.

    Args:
        model_graph: A `Graph`.
        top_counts: Whether the activation of the last step counts.

    Raises:
        ValueError: It names the layer and the way out.
    """
    for step in model_graph.steps:
        counts = top_counts or step is not model_graph.steps[-1] or of(step) is None
        if counts and hides_rectifier(step):
            raise ValueError(
                f"Layer '{step.name}' ({type(step.layer).__name__}) may hold a rectifier that cannot be told apart "
                "from what else it computes, and this method changes what rectifiers pass down. Make the rectifier a "
                "layer of its own, keras.layers.ReLU; or, if the class leads signals down as a layer of Keras does, "
                "say so with `mirrored_as = keras.layers.Identity`, or that layer, in it. The plain gradient takes any "
                "layer."
            )


def _of_rectifier(layer, kind):
    """Keras's ReLU layer and its operations, by their attributes; None for what is something else, or has a slope."""
    if kind is not keras.layers.ReLU and not (
        kind.__name__ in ("Relu", "Relu6", "ReLU") and kind.__module__.startswith("keras.")
    ):
        return None
    if getattr(layer, "negative_slope", 0) or getattr(layer, "threshold", 0):
        return None
    return RECTIFIER._replace(end=6.0 if kind.__name__ == "Relu6" else getattr(layer, "max_value", None))


def _found(thing, key, call, shape):
    """The `Behaviour` of a function or layer: on a small shape, or on the shape of its maps if it takes no other."""
    small, has_weights = _SHAPES.get(len(shape)), bool(getattr(thing, "variables", ()))
    if small is not None and not has_weights:
        found = _once(thing, (len(shape), *key), lambda: tried(call, small))
        if found != UNKNOWN:
            return found
    # A function that is made for one shape cannot be run on a part of it.
    return _once(thing, (shape, *key), lambda: tried(call, shape)._replace(alike=False))


def _once(thing, key, find):
    """What `find()` returns, computed once for as long as a function or layer lives and is set as it is."""
    try:
        now = _SETTINGS.version(thing)
        of, known = _TRIED.get(thing, (None, {}))
        if of != now:
            known = {}
            _TRIED[thing] = now, known
    except TypeError:  # what cannot be referred to weakly, or has no hash, is tried again
        known = {}
    if key not in known:
        with calls(), tf.init_scope():  # outside of what is being traced
            known[key] = tf.autograph.experimental.do_not_convert(find)()
    return known[key]


class _Weights:
    """The scope in which the weights of a layer have other values, all positive: no judgement hangs on today's."""

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
    """What the step puts out for other maps, given in the order in which it takes its edges: a list."""
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
    """Whether a step of any inputs is a linear function of them and a constant."""
    rng = np.random.default_rng(0)
    edges = _edges(step)
    if not edges or not all(_is_float(edge) for edge in edges):
        return True
    pairs = [3 * rng.standard_normal((2, *edge.shape)) for edge in edges]
    maps = [np.stack([0 * one, one, two, one + two, -one]) for one, two in pairs]
    try:
        outputs = _called(step, [tf.cast(given, edge.dtype) for given, edge in zip(maps, edges, strict=True)])
        found = [np.asarray(keras.ops.convert_to_numpy(output)) for output in outputs]
    except Exception:  # a layer of the user's may raise anything
        return False
    return all(adds_up(*output.astype(np.float64)) for output in found)
