"""Whether a layer can be projected down at all, for pictures that show more than its projection."""


def why_not(net, layer):
    """Why a layer has no deconvnet, in one line; an empty text where it has one.

    Args:
        net: A `Deconvnet`.
        layer: Name of a layer of its model.
    """
    try:
        net.mirror(layer)
    except ValueError as error:
        return str(error)
    return ""


def left_out(layer, reason):
    """The sentence that a caption has in place of a projection."""
    return f" The projection of {layer} is left out. {reason}"
