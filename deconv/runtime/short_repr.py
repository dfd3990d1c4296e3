"""A short `repr` for results that hold arrays: names, dtypes and shapes instead of values."""

from __future__ import annotations

from typing import Any

_LONGEST = 60
"""Characters of one field beyond which it is summarized."""

_MOST = 3
"""Entries of a dict or a sequence that are listed."""


def short_repr(result: Any) -> str:
    """Summarize a `NamedTuple`: `Name(field=float32 (10, 28, 28, 1), other='conv1')`.

    Return it from the `__repr__` of the class.

    Args:
        result: The named tuple.

    Returns:
        One line. Arrays and tensors appear as dtype and shape, long dicts and sequences as their first three entries
        and their length, everything else as its own `repr`, or as the name of its type where that is long.
    """
    fields = (f"{name}={summary(value)}" for name, value in zip(result._fields, result, strict=True))
    return f"{type(result).__name__}({', '.join(fields)})"


def summary(value: Any) -> str:
    """Summarize one value of a result in a few words."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None and len(shape):
        return f"{getattr(dtype, 'name', dtype)} {tuple(shape)}"
    if isinstance(value, dict):
        return _listed([f"{key!r}: {summary(entry)}" for key, entry in value.items()], "{}")
    if hasattr(value, "_fields"):
        return short_repr(value)
    if isinstance(value, list | tuple):
        return _listed([summary(entry) for entry in value], "()" if isinstance(value, tuple) else "[]")
    if shape is not None and hasattr(value, "item"):
        value = value.item()  # an array of one number, of no axes
    if isinstance(value, float):
        return f"{value:.4g}"
    text = repr(value)
    return text if len(text) <= _LONGEST or isinstance(value, str) else f"<{type(value).__name__}>"


def _listed(entries: list[str], brackets: str) -> str:
    """Entries between brackets, the first few of many with their number."""
    more = [f"... {len(entries)} in all"] if len(entries) > _MOST + 1 else []
    return brackets[0] + ", ".join([*(entries[:_MOST] if more else entries), *more]) + brackets[1]
