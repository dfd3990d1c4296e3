"""Test whether a layer can be projected, for figures that show more than its projection."""


def why_not(net, layer):
    """Reason why a layer has no deconvnet, in one line.

    Args:
        net: A `Deconvnet`.
        layer: Name of a layer of the model.

    Returns:
        The reason, or `""`.
    """
    try:
        net.mirror(layer)
    except ValueError as error:
        return str(error)
    return ""


def left_out(layer, reason):
    """Caption sentence that replaces the description of a missing projection."""
    return f" The projection of {layer} is left out. {reason}"
