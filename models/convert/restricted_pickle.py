"""Read a pickle without executing anything in it: every class and function that it names must be in a given table."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any, ClassVar

_OPERATIONS: dict[int, Any] = pickle._Unpickler.dispatch
_REFUSED = b"".join(  # none of them belongs to arrays; the first allocates as many bytes as the file declares
    (
        *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
        *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
        *(pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID, pickle.BINPERSID),
    )
)


class NotAllowed(pickle.UnpicklingError):
    """The pickle names a class or function that is not in the table, or changes an object that has no state."""


class _Unpickler(pickle._Unpickler):
    """The unpickler written in Python: its memory is bounded by the file, that of the one in C is not."""

    stack: list[Any]
    dispatch: ClassVar[dict[int, Any]] = {code: run for code, run in _OPERATIONS.items() if code not in _REFUSED}

    def __init__(self, content: io.BytesIO, allowed: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(content)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise NotAllowed(f"it holds an object of {module}.{name}, which is never loaded")
        return self._allowed[module, name]

    def load_build(self) -> None:
        """Set the state of an object; functions and classes, which are shared, have none."""
        if not hasattr(type(self.stack[-2]), "__setstate__"):
            raise NotAllowed(f"it changes a value of the type {type(self.stack[-2]).__name__}")
        _OPERATIONS[pickle.BUILD[0]](self)

    dispatch[pickle.BUILD[0]] = load_build


def load(content: bytes, allowed: Mapping[tuple[str, str], Any]) -> Any:
    """Read one pickle.

    Args:
        content: The pickle, and nothing after it.
        allowed: `{(module, name): stand-in}`: what the pickle may name, and what is used in its place. A stand-in is a
            class of ours or a function of ours without side effects, never one that the pickle names.

    Returns:
        The object, made of numbers, texts, containers and stand-ins.

    Raises:
        ValueError: If the pickle is damaged, or names anything else, or data follow it.
    """
    stream = io.BytesIO(content)
    try:
        found = _Unpickler(stream, allowed).load()
    except NotAllowed as error:
        raise ValueError(" ".join(str(error).split())[:300]) from error
    except RecursionError as error:
        raise ValueError("its objects are nested too deeply") from error
    except Exception as error:  # damaged pickles raise many types
        raise ValueError("it is damaged, or not a pickle") from error
    if stream.read(1):
        raise ValueError("data follow its arrays")
    return found
