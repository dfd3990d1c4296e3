"""Provenance of a result: hashes and names of its model, preprocessing function and images."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from deconv.graph.model_graph import Edge, Graph

WHOLE = 2**26
"""Size in bytes above which arrays (`of_array`) and sets of files (`of_files`) are hashed by samples."""
HASHED = ("architecture", "weights", "images", "labels", "ids", "first image", "content", "preprocess arguments")
"""Aspects whose value is a hash, which is not shown to the reader."""
_CODE = "preprocess code"
_IDLE = ("name", "trainable", "build_config")
_IDLE_ENDINGS = ("_initializer", "_regularizer", "_constraint")


class Source(NamedTuple):
    """A data set from which results have been computed.

    Attributes:
        identity: `{aspect: value}` that identifies it, serialisable as JSON. "numbered" is whether it yields ids
            itself.
        images: Number of its images that have been processed, from the first on.
        complete: Whether these are all of its images.
    """

    identity: dict
    images: int
    complete: bool


def of_model(model_graph: Graph, layers: Collection[str]) -> dict[str, str]:
    """Compute the provenance of a model up to given layers.

    Args:
        model_graph: A `Graph` with one input, cut to these layers (`graph.subgraph`).
        layers: Names of these layers.

    Returns:
        `{aspect: value}`.
    """
    return {
        "model": model_graph.name,
        "architecture": architecture(model_graph, layers),
        "weights": weights(model_graph),
    }


def architecture(model_graph: Graph, layers: Collection[str]) -> str:
    """Compute SHA-256 over the steps in their order: layer classes, edges, configurations, and the names in `layers`.

    Parts that do not affect the forward pass are not included: the names of other layers, in which Keras counts up when
    a model is built again; initializers, regularizers, constraints, `trainable`.
    """
    places = {edge: place for place, edge in enumerate(model_graph.inputs)}
    described: list[Any] = [[[int(size) for size in edge.shape], str(edge.dtype)] for edge in model_graph.inputs]
    for step in model_graph.steps:
        given = _plain((step.args, step.kwargs), places)
        name = step.name if step.name in layers else None
        described.append([name, type(step.layer).__name__, _config(step.layer), given])
        for edge in step.outputs:
            places[edge] = len(places)
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def weights(model_graph: Graph) -> str:
    """Compute SHA-256 over dtypes, shapes and bytes of all weights of the graph's layers."""
    digest, hashed = hashlib.sha256(), set()
    for step in model_graph.steps:
        for weight in getattr(step.layer, "weights", ()):
            if id(weight) not in hashed:  # weights of a shared layer count once
                hashed.add(id(weight))
                _update(digest, weight.numpy())
    return digest.hexdigest()


def of_function(function: Callable[..., Any] | None) -> str:
    """Return the module and qualified name of a function, "none" for None; see also `of_arguments`."""
    if function is None:
        return "none"
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def of_arguments(function: Callable[..., Any] | None) -> dict[str, str]:
    """Compute `{aspect: hash}` of the parts of a function that its name does not identify.

    These are the arguments of a `functools.partial` and, for a lambda, its code, defaults and the values that it closes
    over. Bytecode is specific to a Python version, so the version is part of the aspect's name and code of another
    version is not compared. Changes to the code of a named function are not detected.
    """
    arguments, hashes = [], {}
    while isinstance(function, functools.partial):
        arguments.append(_plain((function.args, function.keywords), {}))
        function = function.func
    if arguments:
        hashes["preprocess arguments"] = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()
    if isinstance(function, types.FunctionType | types.MethodType) and function.__name__ == "<lambda>":
        cells = [_plain(cell.cell_contents, {}) for cell in function.__closure__ or () if cell != types.CellType()]
        identifying = [_code(function.__code__), _plain(function.__defaults__, {}), cells]
        version = ".".join(map(str, sys.version_info[:2]))
        digest = hashlib.sha256(json.dumps(identifying, sort_keys=True).encode())
        hashes[f"{_CODE} of Python {version}"] = digest.hexdigest()
    return hashes


def _code(code):
    """Content of a code object, without its position in the source."""
    consts = [_code(const) if isinstance(const, types.CodeType) else repr(const) for const in code.co_consts]
    return [code.co_code.hex(), consts, list(code.co_names), list(code.co_varnames)]


def of_array(array: Any) -> str:
    """Compute SHA-256 over dtype, shape and content; above 64 MB over evenly spaced rows of at most that size together.

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


def check_first_image(image: np.ndarray, expected: str | None = None) -> str:
    """Hash the first image of a data set and check that it is the expected one.

    Args:
        image: That image, as an array `(1, height, width, channels)`.
        expected: Hash returned by the previous pass; None for no check.

    Returns:
        The hash.

    Raises:
        ValueError: If it is another image.
    """
    digest = of_array(image)
    if expected not in (None, digest):
        raise ValueError(
            "The first image of the data set differs from that of the previous pass or of the saved checkpoint: it is "
            "another data set, or its order changes between passes. Give the same images in the same order (for "
            "example without shuffle), or start with a new checkpoint."
        )
    return digest


def of_files(files: Sequence[str | os.PathLike]) -> str:
    """Compute SHA-256 over relative names, sizes and content of files, in their order; folder and time do not matter.

    If the files are larger than 64 MB together, three pieces of 4 KB of each are read: at the start, middle and end.

    Raises:
        OSError: If a file cannot be read.
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


def changes(one: Mapping[str, Any], other: Mapping[str, Any], in_one: str, in_other: str) -> list[str]:
    """List the aspects in which two fingerprints differ, as texts.

    Args:
        one, other: `{aspect: value}`. Aspects that are missing in one of the two are not compared.
        in_one, in_other: Words for where each comes from, such as "there" and "here".
    """
    names = [name for name in one if name in other and one[name] != other[name]]
    names = ["kind"] if "kind" in names else names  # other aspects of different kinds are not comparable
    return [
        name if name in HASHED or name.startswith(_CODE) else f"{name} ({one[name]} {in_one}, {other[name]} {in_other})"
        for name in names
    ]


def merged(sources: Iterable[Source]) -> list[Source]:
    """Merge sources so that each data set occurs once, with the largest number of images processed.

    The order of the result depends only on the identities.
    """
    sources_by_name: dict[str, Source] = {}
    for source in sources:
        name = json.dumps(source.identity, sort_keys=True)
        known = sources_by_name.get(name, source)
        sources_by_name[name] = Source(
            source.identity, max(source.images, known.images), source.complete or known.complete
        )
    return [sources_by_name[name] for name in sorted(sources_by_name)]


def _update(digest, array):
    digest.update(f"{array.dtype} {array.shape}".encode())
    digest.update(_bytes(array))


def _bytes(array):
    """Content of an array as uint8, without a copy if contiguous; also for bfloat16, which has no buffer interface."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _config(layer):
    try:
        config = layer.get_config()
    except NotImplementedError:  # a layer or operation that cannot be serialised
        return None
    relevant = {name: value for name, value in config.items() if name not in _IDLE and not name.endswith(_IDLE_ENDINGS)}
    return _plain(relevant, {})


def _plain(value, places):
    """Convert to JSON types: edges by their index, arrays by their hash, functions by their name."""
    if isinstance(value, Edge):
        return f"edge {places[value]}"
    if isinstance(value, dict):
        if value.get("class_name") == "__lambda__":  # its bytecode holds the path of its source file
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
