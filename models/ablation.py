"""Copies of networks with layers left out or resized, as in Table 3 of Zeiler & Fergus (arXiv:1311.2901)."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from numbers import Integral
from typing import Any, Literal

import keras


def altered(
    model: keras.Model, without: str | Sequence[str] = (), sizes: Mapping[str, int] | None = None
) -> keras.Model:
    """Rebuild a network with layers left out or resized, and with new weights.

    A layer is left out together with the layers that only serve it: those between it and the next layer with a size of
    its own, flattening or resampling. `"fc7"` is left out with `dropout7`, LeNet-5's `"conv2"` with `pool2`, AlexNet's
    with `norm2` and `pool2`. `left_out` returns their names. The following layer receives the input of the layers left
    out, and takes its shape from it: without `conv2` the first dense layer of LeNet-5 has 1,176 inputs instead of 400.

    The paper does not say which layers are left out together. It leaves out layers 3, 4, 6 and 7, none of which is
    followed by pooling, so that only the treatment of dropout is a choice of this project.

    Args:
        model: A Functional or Sequential `keras.Model` that is a chain: every layer has one input and is used once, as
            in LeNet-5, AlexNet and ZFNet. It is not changed.
        without: Name or names of the layers to leave out: convolutions and dense layers, but not the first nor the
            last of them.
        sizes: `{layer: size}`: filters of convolutions, units of dense layers, e.g. `{"conv3": 512, "fc6": 256}`. The
            last layer is excluded; it has one unit per class.

    Returns:
        A functional `keras.Model` of the same name, not compiled. Its layers keep their names and other settings; all
        weights are new, drawn by the initializers of the model.

    Raises:
        ValueError: If the model is not a chain; a name is not one of its layers, or one that cannot be left out or
            resized; a size is not a positive whole number; or channels cannot be divided into a layer's groups.
    """
    if not isinstance(sizes or {}, dict):
        raise ValueError(f"`sizes` must be a dict {{layer: size}}, such as {{'conv3': 512}}; received {sizes!r}.")
    chain = _chain(model)
    removed, new_sizes = left_out(model, without), dict(sizes or {})
    for name, size in new_sizes.items():
        _check_size(model, chain, name, size, removed)
    original = model.inputs[0]
    x = image = keras.Input(original.shape[1:], dtype=original.dtype, name=original.name)
    for layer in chain:
        if layer.name not in removed:
            x = _rebuilt(layer, new_sizes.get(layer.name), x.shape[-1])(x)
    return keras.Model(image, x, name=model.name)


def left_out(model: keras.Model, without: str | Sequence[str]) -> tuple[str, ...]:
    """Names of all layers that are left out together with the given ones, from the input up.

    Args:
        model: See `altered`.
        without: Name or names of convolutions and dense layers.

    Returns:
        Tuple of names: those in `without`, and the layers that only serve them.

    Raises:
        ValueError: See `altered`.
    """
    chain, removed = _chain(model), []
    if not isinstance(without, str | list | tuple):
        raise ValueError(f"`without` must be the name of a layer or a list of names, received {without!r}.")
    names = [without] if isinstance(without, str) else list(without)
    for name in names:
        _check_layer(model, chain, name, "left out")
    removing = False
    for layer in chain:
        if _size_key(layer):
            removing = layer.name in names
        elif isinstance(layer, keras.layers.Flatten | keras.layers.Reshape | keras.layers.Resizing):
            removing = False
        if removing:
            removed.append(layer.name)
    return tuple(removed)


def _chain(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers from the input up, without the input layer."""
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a keras.Model, received {model!r}.")
    inputs, outputs = (getattr(model, name, None) or () for name in ("inputs", "outputs"))  # neither in a subclass
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(
            f"Layers can be left out of a network with one input and one output; '{model.name}' has "
            f"{len(inputs)} and {len(outputs)}. Build the changed network by hand."
        )
    chain: list[keras.layers.Layer] = []
    tensor = model.outputs[0]
    while tensor is not model.inputs[0]:
        history = tensor._keras_history
        layer, below = history.operation, history.operation._inbound_nodes[history.node_index].input_tensors
        if len(below) != 1 or layer in chain or isinstance(layer, keras.Model):
            fault = "is a nested model" if isinstance(layer, keras.Model) else "is used more than once"
            raise ValueError(
                f"Layers can be left out of a chain of layers; in '{model.name}' the layer '{layer.name}' "
                f"{fault if len(below) == 1 else f'has {len(below)} inputs'}. Build the changed network by hand."
            )
        chain.insert(0, layer)
        tensor = below[0]
    return chain


def _size_key(layer: keras.layers.Layer) -> str | None:
    """Name of a layer's size argument, `"filters"` or `"units"`; None for a layer whose size is that of its input."""
    return next((key for key in ("filters", "units") if hasattr(layer, key)), None)


def _check_layer(
    model: keras.Model, chain: list[keras.layers.Layer], name: str, change: Literal["left out", "resized"]
) -> None:
    """Check that a layer exists and can be changed in this way."""
    names = [layer.name for layer in chain]
    if name not in names:
        close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"Model '{model.name}' has no layer {name!r}.{hint} Its layers are: {', '.join(names)}.")
    sized = [layer.name for layer in chain if _size_key(layer)]
    fixed = sized[-1:] if change == "resized" else [sized[0], sized[-1]] if sized else []
    if name in fixed or name not in sized:
        allowed = ", ".join(layer for layer in sized if layer not in fixed) or "none"
        place = "last" if sized and name == sized[-1] else "first"
        reason = f"it is the {place} with a size" if name in fixed else "it has no size of its own"
        raise ValueError(
            f"The layer '{name}' of '{model.name}' cannot be {change}: {reason}. Layers that can: {allowed}."
        )


def _check_size(
    model: keras.Model, chain: list[keras.layers.Layer], name: str, size: Any, removed: Collection[str]
) -> None:
    """Check the new size of a layer."""
    _check_layer(model, chain, name, "resized")
    if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
        raise ValueError(f"The size of '{name}' of '{model.name}' must be a positive whole number, received {size!r}.")
    if name in removed:
        raise ValueError(f"The layer '{name}' of '{model.name}' can be left out or resized, not both.")


def _rebuilt(layer: keras.layers.Layer, size: int | None, channels: int) -> keras.layers.Layer:
    """A new layer with the settings of another, except for its size."""
    config = layer.get_config()
    if size is not None:
        config[_size_key(layer)] = int(size)
    groups = config.get("groups", 1)
    for name, count in (("filters", config.get("filters", groups)), ("input channels", channels)):
        if count % groups:
            raise ValueError(
                f"The layer '{layer.name}' has {groups} groups, into which its {count} {name} cannot be divided. "
                f"Take a multiple of {groups}."
            )
    return type(layer).from_config(config)
