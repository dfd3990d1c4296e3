"""Settings of layers, models and functions as flat lists, which are compared to detect changes.

The settings of a layer are its attributes; those of a user's function are its defaults, closure variables and the
globals that it names; those of an object are its attributes. The values of weights are not included.
"""

from __future__ import annotations

import contextlib
import functools
import types
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import keras

from deconv.graph import keras_model

_VALUES = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), slice)
"""Types that are compared by value; all others are compared by identity."""
_BOOKKEEPING = frozenset(vars(keras.layers.Layer(name="bare"))) - {"name", "_dtype_policy"}
"""Attributes that do not affect what a layer computes, `trainable` among them."""
_LIBRARIES = frozenset(["builtins", "functools", "keras", "numpy", "tensorflow", "torch", "types"])
"""Packages whose functions and objects are not examined: they have no settings beyond their arguments."""
_CLOSED = set(_VALUES)
"""Cache of types of these packages, functions excluded; most values that a layer holds are of these types."""
_DEPTH = 4
"""Maximum depth to which nested objects are examined."""
_MOST = 100
"""Largest list or dict whose contents are compared, for those that functions refer to."""
_ALL: list = []
"""All `Settings`."""
_ANY = object()
"""Placeholder for an ignored setting."""


class _Contents(list):
    """Contents of a list or dict as one setting, so that a change of its length shifts no other setting."""


def settings(thing: Any) -> list[Any]:
    """List the settings of a layer, model or function, for `same`, without keeping it alive.

    Args:
        thing: A layer, an operation, a model, or any function.

    Returns:
        A flat list.

    Raises:
        ValueError: If it is a model that has no graph to walk.
    """
    values: list[Any] = []
    if isinstance(thing, keras.layers.Layer | keras.Operation):
        describe(thing, values, set())
    else:
        _describe_references(thing, values)
    return _all_weak(values)


def same(one: list[Any], other: list[Any]) -> bool:
    """Whether two of such lists are equal."""
    return len(one) == len(other) and all(_equal(a, b) for a, b in zip(one, other, strict=True))


class Settings:
    """Track the settings of objects, without those that change when layers are called.

    A layer may count its calls or record its inputs, which does not change what it computes. This package therefore
    calls layers inside `calls()`. Settings that differ afterwards are ignored from then on.
    """

    def __init__(self, look: Callable[[Any], list[Any]]) -> None:
        self._look = look
        self._known: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
        _ALL.append(self)

    def version(self, thing: Any) -> int:
        """Return a number that increases when the settings of an object change.

        Raises:
            TypeError: If the object supports no weak references or is not hashable.
        """
        current = self._look(thing)
        known = self._known.get(thing)
        if known is None or not same(known.settings, current):
            known = _Known(current, known.version + 1 if known else 0, _may_change_itself(thing))
            self._known[thing] = known
        return known.version

    def snapshots(self) -> dict[int, tuple[Any, list[Any]]]:
        """Return `{id: (object, its current settings)}` of all objects that may change when they are called."""
        current = {}
        for thing, known in list(self._known.items()):
            with contextlib.suppress(ValueError):  # a model that has lost its graph
                if known.notes:
                    current[id(thing)] = thing, self._look(thing)
        return current

    def ignore_changes(self, since: Mapping[int, tuple[Any, list[Any]]]) -> None:
        """Ignore from now on all settings that differ from an earlier result of `snapshots`."""
        for key, (thing, current) in self.snapshots().items():
            known, (_, before) = self._known[thing], since.get(key, (thing, ()))
            if len(known.settings) == len(before) == len(current):
                triples = zip(known.settings, before, current, strict=True)
                settings = [a if _equal(b, c) else _ANY for a, b, c in triples]
                self._known[thing] = known._replace(settings=settings)


class _Known(NamedTuple):
    """Settings of an object, the number of their changes, and whether calls may change them."""

    settings: list
    version: int
    notes: bool


def _may_change_itself(thing):
    """Whether an object is, or contains, a layer or function of the user."""
    return any(map(_is_user_code, thing._flatten_layers() if isinstance(thing, keras.Model) else [thing]))


def _is_user_code(thing):
    if isinstance(thing, keras.layers.Layer) and _is_library(thing):  # which may hold a function of the user
        return any(_is_user_code(value) for value in vars(thing).values() if callable(value))
    if isinstance(thing, types.MethodType | functools.partial):
        return True
    return not isinstance(thing, type | keras.Model) and not _is_library(thing)


@contextlib.contextmanager
def calls() -> Iterator[None]:
    """Context in which layers are called, so that the changes they make to themselves are ignored."""
    before = [(settings, settings.snapshots()) for settings in _ALL]
    try:
        yield
    finally:
        for settings, since in before:
            settings.ignore_changes(since)


def _equal(a, b):
    if a is b or a is _ANY or b is _ANY:
        return True
    if isinstance(a, _Contents) and isinstance(b, _Contents):
        return same(a, b)
    return type(a) is type(b) and isinstance(a, _VALUES) and a == b


def describe_graph(model: keras.Model, values: list[Any], visited: set[int]) -> None:
    """Append the settings of a model to the list `values`: its layer calls, and the attributes of each layer."""
    inputs, outputs = keras_model.inputs_and_outputs(model)
    values += [model.name, len(inputs), *inputs, *outputs]
    for node in keras_model.nodes(model):
        values.append(node)
        describe(node.operation, values, visited)


def describe(operation: keras.layers.Layer | keras.Operation, values: list[Any], visited: set[int]) -> None:
    """Append the settings of a layer to the list `values`; `visited` holds the ids of the layers described so far."""
    if id(operation) in visited:  # a shared layer, or a circular reference
        return
    visited.add(id(operation))
    values += [operation, operation.name]
    if isinstance(operation, keras.Model):
        if keras_model.has_graph(operation):
            return describe_graph(operation, values, visited)
    else:
        for name, value in vars(operation).items():
            if name not in _BOOKKEEPING and not name.startswith("_self_"):
                values.append(name)
                _flatten(value, values)
        if type(operation) not in _CLOSED and not _is_library(operation):
            _describe_references(type(operation).call, values)
    for layer in getattr(operation, "_layers", ()):
        describe(layer, values, visited)


def _flatten(value, values):
    """Append the value of an attribute of a layer, and the contents of lists and dicts."""
    if isinstance(value, list | tuple | dict):
        contents = _Contents(value if isinstance(value, dict) else ())
        for part in value.values() if isinstance(value, dict) else value:
            _flatten(part, contents)
        values.append(contents)
    else:
        values.append(value)
        if type(value) not in _CLOSED:
            _describe_references(value, values)


def _describe_references(thing, values, depth=_DEPTH, visited=()):
    """Append the objects that a user's function or object refers to, without the object itself."""
    if depth == 0 or id(thing) in visited or isinstance(thing, _VALUES):
        return
    if isinstance(thing, types.MethodType):
        parts = {"self": thing.__self__, "function": thing.__func__}
    elif isinstance(thing, functools.partial):
        parts = {"function": thing.func, "args": thing.args, "keywords": thing.keywords}
    elif _is_library(thing) or isinstance(thing, type | keras.layers.Layer | keras.Variable):
        return
    elif isinstance(thing, types.FunctionType):
        parts = _references(thing)
    else:
        parts = getattr(thing, "__dict__", None) or {}
    for name, part in parts.items():
        values.append(name)
        _append(part, values, depth, (*visited, id(thing)))


def _append(part, values, depth, visited):
    if isinstance(part, list | tuple | dict) and depth and len(part) <= _MOST:
        contents = _Contents()
        for element in [*part.keys(), *part.values()] if isinstance(part, dict) else part:
            _append(element, contents, depth - 1, visited)
        values.append(contents)
        return
    if not isinstance(part, types.MethodType):  # each access to a method makes a new object
        values.append(_weak(part))
    _describe_references(part, values, depth - 1, visited)


def _references(function):
    """`{name: value}` of the values that a function depends on besides its arguments."""
    code, cells = function.__code__, function.__closure__ or ()
    referenced = {"defaults": function.__defaults__, "keywords": function.__kwdefaults__}
    referenced.update({name: function.__globals__[name] for name in code.co_names if name in function.__globals__})
    for name, cell in zip(code.co_freevars, cells, strict=True):
        with contextlib.suppress(ValueError):  # the cell has no value yet
            referenced[name] = cell.cell_contents
    return referenced


def _is_library(thing):
    """Whether a function or object belongs to one of the packages in `_LIBRARIES`."""
    is_function = isinstance(thing, types.FunctionType)
    owner = thing if is_function or isinstance(thing, type) else type(thing)
    found = (getattr(owner, "__module__", None) or "builtins").split(".")[0] in _LIBRARIES
    if found and not is_function:
        _CLOSED.add(type(thing))
    return found


def _all_weak(values):
    return type(values)(_all_weak(value) if isinstance(value, _Contents) else _weak(value) for value in values)


def _weak(value):
    """The value itself or a weak reference to it; the reference is the same object as long as the value lives."""
    if isinstance(value, _VALUES):
        return value
    try:
        return weakref.ref(value)
    except TypeError:
        return value
