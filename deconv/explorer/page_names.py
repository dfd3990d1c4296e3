"""File names of pages for layers of any name."""

from __future__ import annotations

import re
from collections.abc import Iterable

_RESERVED = {"index", "images", "assets", "data", "pictures", "state", "con", "prn", "aux", "nul"}
_LONGEST = 48


def page_names(layers: Iterable[str]) -> dict[str, str]:
    """Choose a file name without suffix for each layer.

    A name of up to 48 letters, digits, `_` and `-` is kept. All others are replaced by one of these characters and the
    number of the layer. Names are different also where upper and lower case are not distinguished.

    Args:
        layers: Different names.

    Returns:
        `{layer: file name}`.
    """
    names: dict[str, str] = {}
    taken = set(_RESERVED)
    for number, layer in enumerate(layers):
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", layer, flags=re.ASCII).strip("-_")[:_LONGEST]
        if name != layer or name.lower() in taken:
            name = f"{name or 'layer'}-{number}"
        while name.lower() in taken:
            name += "-"
        taken.add(name.lower())
        names[layer] = name
    return names
