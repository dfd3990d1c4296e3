"""What a result was made of, in hashes short enough to keep beside it: model, preprocessing, images."""

import functools
import hashlib
import json
import os
import sys
import types
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deconv.graph.model_graph import Edge

WHOLE = 2**26
"""Arrays of more bytes than this are known by a sample of so many, taken evenly from all of their length."""
HASHED = ("architecture", "weights", "images", "labels", "ids", "first image", "content", "preprocess arguments")
"""Aspects that are known by a hash, which says nothing to a reader."""
_CODE = "preprocess code"
_IDLE = ("name", "trainable", "build_config")
_IDLE_ENDINGS = ("_initializer", "_regularizer", "_constraint")


class Source(NamedTuple):
    """A data set of which something has been made.

    Attributes:
        identity: What it is, `{aspect: value}`, as JSON holds it. "numbered" is whether it gives ids itself.
        images: How many of its images have been seen, from the first on.
        complete: Whether these are all.
    """

    identity: dict
    images: int
    complete: bool


def of_model(model_graph, layers):
    """What a model is, up to the layers to which a graph has been cut: `{aspect: value}`.

    Args:
        model_graph: A `Graph` with one input (`graph.below`).
        layers: Names of these layers.
    """
    return {
        "model": model_graph.name,
        "architecture": architecture(model_graph, layers),
        "weights": weights(model_graph),
    }


def architecture(model_graph, layers):
    """SHA-256 over the steps in their order: layer types, what feeds what, configurations, which are called `layers`.

    What has no part in the way up is left out: the names of other layers, which Keras counts up when a model is built
    again; initializers, regularizers, constraints, `trainable`.
    """
    places = {edge: place for place, edge in enumerate(model_graph.inputs)}
    described = [[[int(size) for size in edge.shape], str(edge.dtype)] for edge in model_graph.inputs]
    for step in model_graph.steps:
        given = _plain((step.args, step.kwargs), places)
        name = step.name if step.name in layers else None
        described.append([name, type(step.layer).__name__, _config(step.layer), given])
        for edge in step.outputs:
            places[edge] = len(places)
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def weights(model_graph):
    """SHA-256 over dtypes, shapes and bytes of all weights of the graph's layers."""
    digest, met = hashlib.sha256(), set()
    for step in model_graph.steps:
        for weight in getattr(step.layer, "weights", ()):
            if id(weight) not in met:  # a shared layer counts once
                met.add(id(weight))
                _update(digest, weight.numpy())
    return digest.hexdigest()


def of_function(function):
    """Module and qualified name of a function, "none" for None; for what else is known see `of_arguments`."""
    if function is None:
        return "none"
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def of_arguments(function):
    """What the name of a function does not say: `{aspect: hash}`.

    The arguments of a `functools.partial`; and of a lambda, whose name says nothing, its code and the values that it
    closes over. Code is that of one version of Python, which is part of the aspect's name: under another it is not
    compared. Of a function with a name of its own the code may be edited unnoticed.
    """
    arguments, found = [], {}
    while isinstance(function, functools.partial):
        arguments.append(_plain((function.args, function.keywords), {}))
        function = function.func
    if arguments:
        found["preprocess arguments"] = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()
    if getattr(function, "__name__", None) == "<lambda>" and hasattr(function, "__code__"):
        cells = [_plain(cell.cell_contents, {}) for cell in function.__closure__ or () if cell != types.CellType()]
        told = [_code(function.__code__), _plain(function.__defaults__, {}), cells]
        version = ".".join(map(str, sys.version_info[:2]))
        found[f"{_CODE} of Python {version}"] = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    return found


def _code(code):
    """What a piece of code does, without where it stands."""
    consts = [_code(const) if isinstance(const, types.CodeType) else repr(const) for const in code.co_consts]
    return [code.co_code.hex(), consts, list(code.co_names), list(code.co_varnames)]


def of_array(array):
    """SHA-256 over dtype, shape and content; beyond 64 MB over evenly spaced rows of that size together.

    Args:
        array: Anything with `shape`, `dtype` and slices along its first axis. It is never copied as a whole.
    """
    count = len(array)
    dtype = np.asarray(array[:0]).dtype
    row = dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
    taken = min(count, max(1, WHOLE // max(1, row)))
    step = 1 if taken == count else -(-count // taken)
    digest = hashlib.sha256(f"{dtype} {tuple(array.shape)}".encode())
    digest.update(_bytes(np.asarray(array[::step])))
    return digest.hexdigest()


def met(image, expected=None):
    """Hash of the first image of a data set, once it is seen to be the one expected.

    Args:
        image: That image, as an array `(1, height, width, channels)`.
        expected: What `met` gave at the pass before; None for anything.

    Raises:
        ValueError: If it is another image.
    """
    found = of_array(image)
    if expected not in (None, found):
        raise ValueError(
            "The data set begins with another image than at the pass before, or when the checkpoint was saved: "
            "either it is another one, or its order changes from one pass to the next. Give the same images in the "
            "same order (without shuffle, say), or begin anew with another checkpoint."
        )
    return found


def of_files(files):
    """SHA-256 over names, sizes and content of files, in their order; where they lie and when has no part in it.

    Of files that are together larger than 64 MB three pieces of 4 KB each are read: the first, the middle, the last.

    Raises:
        OSError: If one cannot be read.
    """
    digest = hashlib.sha256()
    sizes = [os.stat(file).st_size for file in files]
    small = sum(sizes) <= WHOLE
    common = os.path.commonpath([os.path.dirname(os.path.abspath(file)) for file in files]) if files else ""
    for file, size in zip(files, sizes, strict=True):
        digest.update(os.fsencode(os.path.relpath(os.path.abspath(file), common)) + b"\0%d\0" % size)
        with open(file, "rb") as stream:
            for place in (0,) if small else (0, max(0, size // 2 - 2048), max(0, size - 4096)):
                stream.seek(place)
                digest.update(stream.read(-1 if small else 4096))
    return digest.hexdigest()


def changes(one, other, in_one, in_other):
    """In which aspects two fingerprints `{aspect: value}` differ, as texts; what one of them lacks is left out.

    Args:
        one, other: The two.
        in_one, in_other: Words for where each is, such as "there" and "here".
    """
    names = [name for name in one if name in other and one[name] != other[name]]
    names = ["kind"] if "kind" in names else names  # of two kinds there is nothing else to compare
    return [
        name if name in HASHED or name.startswith(_CODE) else f"{name} ({one[name]} {in_one}, {other[name]} {in_other})"
        for name in names
    ]


def united(sources):
    """Sources, each data set once, with the most that has been seen of it; in an order that depends on nothing else."""
    found = {}
    for source in sources:
        name = json.dumps(source.identity, sort_keys=True)
        known = found.get(name, source)
        found[name] = Source(source.identity, max(source.images, known.images), source.complete or known.complete)
    return [found[name] for name in sorted(found)]


def _update(digest, array):
    digest.update(f"{array.dtype} {array.shape}".encode())
    digest.update(_bytes(array))


def _bytes(array):
    """The content of an array, without a copy if it lies in one piece; bfloat16 too, which knows no buffers."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _config(layer):
    try:
        config = layer.get_config()
    except NotImplementedError:  # an operation, or a layer, that cannot be saved
        return None
    kept = {name: value for name, value in config.items() if name not in _IDLE and not name.endswith(_IDLE_ENDINGS)}
    return _plain(kept, {})


def _plain(value, places):
    """What JSON can hold: edges by their place, arrays by their content, functions by their name."""
    if isinstance(value, Edge):
        return f"edge {places[value]}"
    if isinstance(value, dict):
        if value.get("class_name") == "__lambda__":  # its bytes hold the path of the file that it was written in
            return "a lambda"
        return {str(name): _plain(part, places) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, places) for part in value]
    if isinstance(value, np.ndarray | tf.Tensor):
        digest = hashlib.sha256()
        _update(digest, np.asarray(value))
        return digest.hexdigest()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    return of_function(value) if callable(value) else type(value).__name__
