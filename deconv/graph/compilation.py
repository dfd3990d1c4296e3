"""What has been compiled for a model is kept for the next call; a model that is gone takes it along.

Compiled functions read the model's variables each time, so they follow when it is trained. They cannot follow when its
graph changes: another layer, another activation, `enable_lora`, `quantize`. So the `version` of the graph is compared
at each call, and what was made for another one is made anew.
"""

import weakref

import keras
import tensorflow as tf

from deconv.graph.settings import Settings, calls, describe_graph
from deconv.runtime import devices, error_messages, forks

_KEPT: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def kept(model, key, make):
    """What `make()` returns, made once for a model as it is now and a key.

    What is kept follows when the model is trained, for it reads the model's own weights; when the model's graph changes
    it is thrown away.

    Args:
        model: A `keras.Model`. What is made may refer to its layers, not to the model itself: that would keep it alive.
            Anything else is not kept, so that `make` can refuse it.
        key: Anything hashable.
        make: Function of nothing. If it fails, nothing is kept.

    Raises:
        ValueError: If the model has no graph to walk.
    """
    if not isinstance(model, keras.Model):
        return make()
    now = version(model)
    of, known = _KEPT.get(model, (None, {}))
    if of != now:
        known = {}
        _KEPT[model] = now, known
    if key not in known:
        known[key] = make()
    return known[key]


def _signature(model):
    found = []
    describe_graph(model, found, set())
    return found


_SIGNATURES = Settings(_signature)


def version(model) -> int:
    """A number that is another one after a model computes something else, but for the numbers in its variables.

    Compared are the calls of layers in the model and in those inside it, and the attributes of each layer: settings,
    activations, the objects that are its variables; not whether layers are trainable, nor what layers note down when
    they are called.

    Raises:
        ValueError: If the model has no graph to walk.
    """
    return _SIGNATURES.version(model)


def traced(function, *signature):
    """Compile a function of tensors now, once, for the only signature it will have.

    What it computes is float32 on every device: TF32 is off during each call (`deconv.runtime.devices`).
    In a process that was forked after TensorFlow had been used a call is refused: it would hang.
    AutoGraph, which translates Python source, takes half of the time of tracing and is not needed: Keras does not apply
    it to layers either.

    Raises:
        ValueError: As the function itself, without what Keras and TensorFlow put around the message.
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
