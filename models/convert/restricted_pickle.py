"""Read a pickle without executing anything in it: every class and function that it names must be in a given table."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO


class NotAllowed(pickle.UnpicklingError):
    """The pickle names a class or function that is not in the table, or refers to data in an unknown way."""


class _Unpickler(pickle._Unpickler):
    """The unpickler written in Python: its memory is bounded by the file, that of the one in C is not."""

    def __init__(self, file: BinaryIO, allowed: Mapping[tuple[str, str], Any], persistent: Callable | None) -> None:
        super().__init__(file)
        self._allowed = allowed
        self._persistent = persistent

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._allowed:
            raise NotAllowed(f"it holds an object of {module}.{name}, which is never loaded")
        return self._allowed[module, name]

    def get_extension(self, code: int) -> Any:
        raise NotAllowed("it refers to a registered extension of pickle")

    def persistent_load(self, pid: Any) -> Any:
        if self._persistent is None:
            raise NotAllowed("it refers to data outside itself")
        return self._persistent(pid)


def load(file: BinaryIO, allowed: Mapping[tuple[str, str], Any], persistent: Callable[[Any], Any] | None = None) -> Any:
    """Read one pickle from the current position of a file.

    Args:
        file: Binary file.
        allowed: `{(module, name): stand-in}`: what the pickle may name, and what is used in its place. A stand-in is a
            class of ours or a function of ours without side effects, never one that the pickle names.
        persistent: Function that converts a persistent id; without one, such ids are refused.

    Returns:
        The object, made of numbers, texts, containers and stand-ins.

    Raises:
        ValueError: If the pickle is damaged, or names anything else.
    """
    try:
        return _Unpickler(file, allowed, persistent).load()
    except NotAllowed as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("its objects are nested too deeply") from error
    except Exception as error:  # damaged pickles raise many types
        raise ValueError("it is damaged, or not a pickle") from error
