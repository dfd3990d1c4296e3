"""Test whether a layer can be projected, for figures that show more than its projection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deconv.deconvnet.projection import Deconvnet


def why_not(net: Deconvnet, layer: str | int) -> str:
    """Reason why a layer has no deconvnet, in one line; an empty string if it has one.

    Args:
        net: A `Deconvnet`.
        layer: Name, path or index of a layer of the model.
    """
    try:
        net.mirror(layer)
    except ValueError as error:
        return str(error)
    return ""
