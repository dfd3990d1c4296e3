"""What has been compiled for a model is kept for the next call; a model that is gone takes it along.

Compiled functions read the model's variables each time, so they follow when it is trained. They cannot follow when its
graph changes: another layer, another activation, `enable_lora`, `quantize`. So a `signature` of the graph is compared
at each call, and what was made for another one is made anew.
"""

import weakref

import keras

from deconv import keras_model

_KEPT = weakref.WeakKeyDictionary()
_SIGNATURES = weakref.WeakKeyDictionary()
_VALUES = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), slice)
"""Types that are compared by value, all others by identity."""
_BOOKKEEPING = frozenset(vars(keras.layers.Layer(name="bare"))) - {"name", "_dtype_policy"}
"""Attributes that say nothing about what a layer computes, `trainable` among them."""


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
    now = signature(model)
    if not same(_SIGNATURES.get(model, ()), now):
        _SIGNATURES[model], _KEPT[model] = now, {}
    known = _KEPT[model]
    if key not in known:
        known[key] = make()
    return known[key]


def signature(model):
    """What a model computes, but for the numbers in its variables, as a flat list for `same`.

    It holds the calls of layers in the model and in those inside it, and the attributes of each layer: settings,
    activations, the objects that are its variables. It does not hold whether layers are trainable.

    Raises:
        ValueError: If the model has no graph to walk.
    """
    found, seen = [], set()
    _describe_graph(model, found, seen)
    return found


def same(one, other):
    """Whether two signatures are equal."""
    return len(one) == len(other) and all(
        a is b or (type(a) is type(b) and isinstance(a, _VALUES) and a == b) for a, b in zip(one, other, strict=True)
    )


def _describe_graph(model, found, seen):
    inputs, outputs = keras_model.ends(model)
    found += [model.name, len(inputs), *inputs, *outputs]
    for node in keras_model.nodes(model):
        found.append(node)
        _describe(node.operation, found, seen)


def _describe(operation, found, seen):
    if id(operation) in seen:  # a shared layer, or one that a layer refers to in a circle
        return
    seen.add(id(operation))
    found += [operation, operation.name]
    if isinstance(operation, keras.Model):
        if keras_model.has_graph(operation):
            return _describe_graph(operation, found, seen)
    else:
        for name, value in vars(operation).items():
            if name not in _BOOKKEEPING and not name.startswith("_self_"):
                found.append(name)
                _flatten(value, found)
    for layer in getattr(operation, "_layers", ()):
        _describe(layer, found, seen)


def _flatten(value, found):
    if isinstance(value, list | tuple):
        found.append(len(value))
        for part in value:
            _flatten(part, found)
    elif isinstance(value, dict):
        found.append(len(value))
        for name, part in value.items():
            found.append(name)
            _flatten(part, found)
    else:
        found.append(value)
