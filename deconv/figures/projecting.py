"""Captions of figures whose projection is left out."""


def left_out(layer: str, reason: str) -> str:
    """Caption sentence that replaces the description of a missing projection."""
    return f" The projection of {layer} is left out. {reason}"
