"""Read JSON from untrusted files.

`deconv` and `models` must not import each other, so both contain an identical copy of this module.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any


def read_object(path: str | os.PathLike, /, **kinds: type | tuple[type, ...]) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: The file.
        **kinds: Required members, with the type of each or a tuple of types, as for `isinstance`, except that `True`
            and `False` are not numbers.

    Returns:
        A dict.

    Raises:
        ValueError: If the file cannot be read, is not JSON in UTF-8, not an object, holds NaN or infinity, is nested
            too deeply, or has a member missing or of another type. The message is one line that names the file.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise ValueError("it is not a file" if path.exists() else "there is no such file")
        return parse_object(path.read_text(encoding="utf-8"), **kinds)
    except OSError as error:
        raise ValueError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise ValueError(f"'{path}' is not valid: {' '.join(str(error).split())}.") from error


def parse_object(text: str, /, **kinds: type | tuple[type, ...]) -> dict[str, Any]:
    """Parse the text of one JSON object to a dict; arguments as for `read_object`.

    Raises:
        ValueError: As `read_object`; the message does not name the file.
    """
    value = parse(text)
    check_members(value, **kinds)
    return value


def parse(text: str) -> Any:
    """Parse any JSON value in which all numbers are finite.

    Raises:
        ValueError: If the text is not such JSON, or nested too deeply. The message does not name the file.
    """
    try:
        value = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_finite_int)
        if re.search(r"\\u[dD][89a-fA-F]", text):  # surrogates, which are invalid if unpaired
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("it contains an unpaired surrogate, which cannot be encoded") from None
    return value


def check_members(value: Any, /, **kinds: type | tuple[type, ...]) -> None:
    """Check that a value read from JSON is an object with the required members; arguments as for `read_object`.

    Raises:
        ValueError: If not.
    """
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, received {_called(value)}")
    for name, kind in kinds.items():
        if name not in value:
            raise ValueError(f"it has no '{name}'")
        check_kind(f"'{name}'", value[name], kind)


def check_kind(name: str, value: Any, kind: type | tuple[type, ...]) -> None:
    """Check that a value read from JSON has a type, or one of a tuple of types.

    Args:
        name: Its name in the message.
        value: The value.
        kind: The type or types.

    Raises:
        ValueError: If not.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(_NAMES.get(one, one.__name__) for one in kinds)
        raise ValueError(f"{name} must be {expected}, received {_called(value)}")


_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def _called(value):
    return _NAMES.get(type(value), type(value).__name__)


def _refuse(constant):
    raise ValueError(f"it contains {constant}, which is not a finite number")


def _finite_int(text):
    if len(text) > 300:
        raise ValueError(f"it contains {text[:40]}..., which is too large for a number")
    return int(text)


def _finite(text):
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"it contains {text[:40]}, which is too large for a number")
    return number
