"""What layers, models and functions are set to, as flat lists that are compared to notice a change.

A layer is set by its attributes, a function of the user's by its defaults, the variables of the functions around it and
the globals that it names, an object by its attributes. The values of weights do not count.
"""

import contextlib
import functools
import types
import weakref
from typing import NamedTuple

import keras

from deconv.graph import keras_model

_VALUES = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), slice)
"""Types that are compared by value, all others by identity."""
_BOOKKEEPING = frozenset(vars(keras.layers.Layer(name="bare"))) - {"name", "_dtype_policy"}
"""Attributes that say nothing about what a layer computes, `trainable` among them."""
_LIBRARIES = frozenset(["builtins", "functools", "keras", "numpy", "tensorflow", "torch", "types"])
"""Packages whose functions and objects have no settings of the user's but what they are called with."""
_CLOSED = set(_VALUES)
"""Types of these packages that have been seen, no functions: most of what a layer holds is of these."""
_DEPTH = 4
"""How deep objects inside objects are looked into."""
_MOST = 100
"""The largest list or dict that is looked into, of those that functions refer to."""
_ALL: list = []
"""All `Settings`."""
_ANY = object()
"""Stands for a setting that does not count."""


class _Contents(list):
    """What a list or dict holds: one setting, so that a longer list moves no other."""


def settings(thing):
    """What a layer, model or function is set to, for `same`. It keeps nothing of it alive.

    Args:
        thing: A layer, an operation or a model, or any function.

    Raises:
        ValueError: If it is a model that has no graph to walk.
    """
    found = []
    if isinstance(thing, keras.layers.Layer | keras.Operation):
        describe(thing, found, set())
    else:
        _inside(thing, found)
    return _all_held(found)


def same(one, other):
    """Whether two of such lists are equal."""
    return len(one) == len(other) and all(_equal(a, b) for a, b in zip(one, other, strict=True))


class Settings:
    """Settings of many things, each in a list as of `settings`, without those that change when layers are called.

    A layer may count its calls, or note down what it sees: that changes nothing that it computes. So whatever calls
    layers in this package does so in `calls()`; what is another value afterwards does not count from then on.
    """

    def __init__(self, look):
        self._look, self._known = look, weakref.WeakKeyDictionary()
        _ALL.append(self)

    def version(self, thing) -> int:
        """A number that is another one after a thing has been set otherwise.

        Raises:
            TypeError: If it cannot be referred to weakly, or has no hash.
        """
        now = self._look(thing)
        known = self._known.get(thing)
        if known is None or not same(known.settings, now):
            known = _Known(now, known.version + 1 if known else 0, _notes(thing))
            self._known[thing] = known
        return known.version

    def looks(self):
        """`{id: (thing, its settings now)}` of all things that may change when they are called."""
        found = {}
        for thing, known in list(self._known.items()):
            with contextlib.suppress(ValueError):  # a model that has lost its graph
                if known.notes:
                    found[id(thing)] = thing, self._look(thing)
        return found

    def leave_out_changes(self, since):
        """Let what is not as in an earlier result of `looks` count no more."""
        for key, (thing, now) in self.looks().items():
            known, (_, before) = self._known[thing], since.get(key, (thing, ()))
            if len(known.settings) == len(before) == len(now):
                three = zip(known.settings, before, now, strict=True)
                settings = [a if _equal(b, c) else _ANY for a, b, c in three]
                self._known[thing] = known._replace(settings=settings)


class _Known(NamedTuple):
    """The settings of a thing, how often they have changed, and whether they may change when it is called."""

    settings: list
    version: int
    notes: bool


def _notes(thing):
    """Whether a thing is, or holds, a layer or function of the user's."""
    layers = thing._flatten_layers() if isinstance(thing, keras.Model) else [thing]
    return not all(isinstance(layer, keras.layers.Layer) and _library(layer) for layer in layers)


@contextlib.contextmanager
def calls():
    """Inside of it layers are called, which may change what they note down."""
    before = [(settings, settings.looks()) for settings in _ALL]
    try:
        yield
    finally:
        for settings, since in before:
            settings.leave_out_changes(since)


def _equal(a, b):
    if a is b or a is _ANY or b is _ANY:
        return True
    if isinstance(a, _Contents) and isinstance(b, _Contents):
        return same(a, b)
    return type(a) is type(b) and isinstance(a, _VALUES) and a == b


def describe_graph(model, found, seen):
    """Add to a list what a model is set to: its calls of layers, and the attributes of each layer."""
    inputs, outputs = keras_model.ends(model)
    found += [model.name, len(inputs), *inputs, *outputs]
    for node in keras_model.nodes(model):
        found.append(node)
        describe(node.operation, found, seen)


def describe(operation, found, seen):
    """The same for a layer; `seen` is a set of the ids of those that have been described."""
    if id(operation) in seen:  # a shared layer, or one that a layer refers to in a circle
        return
    seen.add(id(operation))
    found += [operation, operation.name]
    if isinstance(operation, keras.Model):
        if keras_model.has_graph(operation):
            return describe_graph(operation, found, seen)
    else:
        for name, value in vars(operation).items():
            if name not in _BOOKKEEPING and not name.startswith("_self_"):
                found.append(name)
                _flatten(value, found)
        if type(operation) not in _CLOSED and not _library(operation):
            _inside(type(operation).call, found)
    for layer in getattr(operation, "_layers", ()):
        describe(layer, found, seen)


def _flatten(value, found):
    """Add what an attribute of a layer holds."""
    if isinstance(value, list | tuple | dict):
        contents = _Contents(value if isinstance(value, dict) else ())
        for part in value.values() if isinstance(value, dict) else value:
            _flatten(part, contents)
        found.append(contents)
    else:
        found.append(value)
        if type(value) not in _CLOSED:
            _inside(value, found)


def _inside(thing, found, depth=_DEPTH, seen=()):
    """Add what a function or object of the user's refers to, itself left out."""
    if depth == 0 or id(thing) in seen or isinstance(thing, _VALUES):
        return
    if isinstance(thing, types.MethodType):
        parts = {"self": thing.__self__, "function": thing.__func__}
    elif isinstance(thing, functools.partial):
        parts = {"function": thing.func, "args": thing.args, "keywords": thing.keywords}
    elif _library(thing) or isinstance(thing, type | keras.layers.Layer | keras.Variable):
        return
    elif isinstance(thing, types.FunctionType):
        parts = _around(thing)
    else:
        parts = getattr(thing, "__dict__", None) or {}
    for name, part in parts.items():
        found.append(name)
        _add(part, found, depth, (*seen, id(thing)))


def _add(part, found, depth, seen):
    if isinstance(part, list | tuple | dict) and depth and len(part) <= _MOST:
        contents = _Contents()
        for value in [*part.keys(), *part.values()] if isinstance(part, dict) else part:
            _add(value, contents, depth - 1, seen)
        found.append(contents)
        return
    if not isinstance(part, types.MethodType):  # of which each look makes a new one
        found.append(_held(part))
    _inside(part, found, depth - 1, seen)


def _around(function):
    """What a function has beside its arguments: `{name: value}`."""
    code, cells = function.__code__, function.__closure__ or ()
    found = {"defaults": function.__defaults__, "keywords": function.__kwdefaults__}
    found.update({name: function.__globals__[name] for name in code.co_names if name in function.__globals__})
    for name, cell in zip(code.co_freevars, cells, strict=True):
        with contextlib.suppress(ValueError):  # which has no value yet
            found[name] = cell.cell_contents
    return found


def _library(thing):
    """Whether a function or object is of a package that is no user's."""
    is_function = isinstance(thing, types.FunctionType)
    owner = thing if is_function or isinstance(thing, type) else type(thing)
    found = (getattr(owner, "__module__", None) or "builtins").split(".")[0] in _LIBRARIES
    if found and not is_function:
        _CLOSED.add(type(thing))
    return found


def _all_held(values):
    return type(values)(_all_held(value) if isinstance(value, _Contents) else _held(value) for value in values)


def _held(value):
    """A value itself, or a weak reference: the same one for the same object, as long as it lives."""
    if isinstance(value, _VALUES):
        return value
    try:
        return weakref.ref(value)
    except TypeError:
        return value
