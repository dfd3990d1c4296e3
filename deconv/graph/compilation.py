"""Cache of the functions compiled for a model, released together with the model.

Compiled functions read the model's variables, so they remain valid when the model is trained. They become invalid when
its graph changes: another layer or activation, `enable_lora`, `quantize`. The `version` of the graph is therefore
compared at each call, and results for an older version are discarded.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import keras
import tensorflow as tf

from deconv.graph.settings import Settings, calls, describe_graph
from deconv.runtime import devices, error_messages, forks

_T = TypeVar("_T")
_CACHED: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
"""{model: (version of its graph, {key: result})}"""


def cached(model: keras.Model, key: Hashable, make: Callable[[], _T]) -> _T:
    """Return the cached result of `make()` for a model and a key.

    The result stays valid when the model is trained, because it reads the model's own weights. All results for a model
    are discarded when its graph changes.

    Args:
        model: A `keras.Model`. The result may refer to its layers but not to the model itself, which would keep it
            alive. For anything else `make()` is called without caching, so that it can reject the value.
        key: Any hashable value.
        make: Function without arguments. If it raises, nothing is cached.

    Returns:
        The value of `make()`.

    Raises:
        ValueError: If the model has no graph to walk.
    """
    if not isinstance(model, keras.Model):
        return make()
    current = version(model)
    cached_version, results = _CACHED.get(model, (None, {}))
    if cached_version != current:
        results = {}
        _CACHED[model] = current, results
    if key not in results:
        results[key] = make()
    return results[key]


def _signature(model):
    signature = []
    describe_graph(model, signature, set())
    return signature


_SIGNATURES = Settings(_signature)


def version(model: keras.Model) -> int:
    """Return a number that increases when a change of the model changes what it computes.

    The version depends on the calls of layers in the model and in nested models, and on the attributes of each layer:
    settings, activations, the identity of its variables. It does not depend on the values of variables, on whether
    layers are trainable, or on attributes that a layer changes itself when it is called.

    Raises:
        ValueError: If the model has no graph to walk.
    """
    return _SIGNATURES.version(model)


def compile_function(function: Callable[..., Any], *signature: Any) -> Callable[..., Any]:
    """Compile a function of tensors immediately, for one signature.

    float32 results are computed in float32 on every device: TF32 is off during each call (`deconv.runtime.devices`). A
    call in a process that was forked after TensorFlow had been used is refused, because it would hang. AutoGraph, which
    translates Python source, takes half of the tracing time and is not needed; Keras does not apply it to layers
    either.

    Args:
        function: Function of tensors.
        *signature: A `tf.TensorSpec` for each argument.

    Returns:
        The compiled function.

    Raises:
        ValueError: As raised by the function, without the text that Keras and TensorFlow add to the message.
    """
    try:
        with calls():
            compiled = tf.function(function, autograph=False).get_concrete_function(*signature)
    except ValueError as error:
        if not error_messages.is_wrapped(error):
            raise
        raise ValueError(error_messages.reason(error)) from error

    def call(*args):
        forks.check()
        with devices.full_float32:
            return compiled(*args)

    return call
