"""Presets of `optimize`, by name, and `visualize`, which applies them.

| preset        | images                        | regularisation                                   | source          |
|---------------|-------------------------------|--------------------------------------------------|-----------------|
| `digits`      | Fourier, starting near black  | small transforms, weak L2 and total variation    | this project    |
| `photographs` | Fourier, decorrelated colours | transforms                                       | Olah et al.     |
| `yosinski-1`  | pixels, starting from noise   | blur 0.5 every 4 steps, pixel norms above 50 %   | Yosinski et al. |
| `yosinski-2`  | the same                      | decay 0.3, pixel norms above 20 %                | the same        |
| `yosinski-3`  | the same                      | decay 0.0001, blur 1 every 4 steps               | the same        |
| `yosinski-4`  | the same                      | blur 0.5 every 4 steps, contributions above 90 % | the same        |
| `erhan`       | the same                      | fixed norm, that of real images                  | Erhan et al.    |

Olah, Mordvintsev & Schubert, "Feature Visualization", Distill 2017; Yosinski et al., arXiv:1506.06579, section 3 and
Table 1; Erhan et al., "Visualizing Higher-Layer Features of a Deep Network", 2009.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import ArrayLike

from deconv.features.objectives import channel as whole_channel
from deconv.features.objectives import class_logit, neuron
from deconv.features.optimization import Visualization, optimize
from deconv.features.parametrizations import fourier, pixels
from deconv.features.regularizers import (
    blur,
    clip_contributions,
    clip_norms,
    decay,
    l2,
    norm_ball,
    variation,
)
from deconv.features.resizing import at_size, find
from deconv.features.transforms import crop, jitter, pad, rotate, scale
from deconv.validation import check_channels, check_image_shape, check_pair

KINDS = ("neuron", "channel")


def digits(shape: Sequence[int]) -> dict[str, Any]:
    """Settings for light strokes on black with one channel: Fourier parametrization near black, small transforms.

    The weights of the penalties are this project's: just large enough to keep pixels black that do not affect the unit.
    """
    border = max(1, min(shape[:2]) // 14)
    return {
        "steps": 128,
        "parametrization": fourier(base=20.0),
        "transforms": (pad(border), jitter(border), scale(0.97, 1.03), rotate(-5, 5)),
        "regularizers": (variation(0.005), l2(0.005)),
        "learning_rate": 0.05,
    }


def photographs(shape: Sequence[int]) -> dict[str, Any]:
    """The transforms, with lengths for 224 pixels, and the learning rate of Olah et al.; they take 2560 steps."""
    border = max(1, min(shape[:2]) // 14)
    return {
        "steps": 128,
        "parametrization": fourier(),
        "transforms": (
            pad(border),
            jitter(border),
            scale(0.95, 1.05),
            rotate(-5, 5),
            jitter(max(1, border // 2)),
            crop(max(1, border // 4)),
        ),
        "learning_rate": 0.05,
    }


def _yosinski(*regularizers, rate):
    """Settings of gradient ascent from noise around the mean.

    The authors multiply the gradient of a Caffe network by 1, a scale that is specific to that network. Here the
    gradient is divided by its mean magnitude, so `rate` is in pixel units, and larger for stronger regularisers.
    """

    def settings(shape):
        return {
            "steps": 200,
            "parametrization": pixels(base=None, spread=10.0),
            "regularizers": regularizers,
            "method": "normalized",
            "learning_rate": rate,
        }

    return settings


def erhan(shape: Sequence[int]) -> dict[str, Any]:
    """Settings of activation maximisation by gradient ascent on a sphere.

    The radius is the distance of a typical image from the mean: a third of the range per pixel for digits (measured on
    MNIST), and a quarter for photographs (measured on images of ImageNet classes).
    """
    share = 1 / 3 if shape[-1] == 1 else 1 / 4
    return {
        "steps": 200,
        "parametrization": pixels(base=None, spread=40.0),
        "regularizers": (norm_ball(share * float(np.sqrt(np.prod(shape))), sphere=True),),
        "method": "normalized",
        "learning_rate": 4.0,
    }


PRESETS = {
    "digits": digits,
    "photographs": photographs,
    "yosinski-1": _yosinski(blur(0.5, 4), clip_norms(50), rate=2.0),
    "yosinski-2": _yosinski(decay(0.3), clip_norms(20), rate=40.0),
    "yosinski-3": _yosinski(decay(0.0001), blur(1.0, 4), rate=6.0),
    "yosinski-4": _yosinski(blur(0.5, 4), clip_contributions(90), rate=12.0),
    "erhan": erhan,
}
"""{name: function from the images' `(height, width, channels)` to arguments of `optimize`}."""


def visualize(
    model: keras.Model,
    layer: str | int | None = None,
    channels: ArrayLike | None = None,
    preset: str | None = None,
    *,
    kind: Literal["neuron", "channel"] = "neuron",
    position: ArrayLike | None = None,
    preprocess: Callable[..., Any] | None = None,
    input_shape: Sequence[int] | None = None,
    **settings: Any,
) -> Visualization:
    """Optimise for each channel of a layer an image that maximises it.

    Args:
        model: A functional or Sequential `keras.Model`.
        layer: Name, path or index of a layer; None for the classes, before their softmax.
        channels: Channels, units or classes: one or a sequence of them; None for all.
        preset: A name in `PRESETS`; None for `"digits"` where images have one channel, else `"photographs"`.
        kind: `"neuron"` for the unit at a position, `"channel"` for the mean of the map.
        position: `(row, column)` of the neuron, or one for each channel; None for the middle.
        preprocess: Preprocessing function of tensors, from pixels, 0 to 255, to the model's input; None for a model
            that takes pixels.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        **settings: Other arguments of `optimize`: `steps`, `seed`, `batch_size`, `progress`, `size` and so on. They
            take precedence over those of the preset.

    Returns:
        `Visualization`, in the order of `channels`.

    Raises:
        ValueError: If a name is unknown or a channel out of range, or as for `optimize`.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be 'neuron' or 'channel'; received {kind!r}.")
    if kind == "channel" and position is not None:
        raise ValueError(
            f"kind='channel' uses the whole map and takes no position; received position={position!r}. Omit it, or use "
            "kind='neuron'."
        )
    model_graph = at_size(model, layer, input_shape)
    check_image_shape("visualize", model_graph)
    image = model_graph.inputs[0].shape
    size, colours = settings.get("size"), settings.get("image_channels")
    shape = (*(image[:2] if size is None else check_pair("size", size)), colours or image[2])
    preset = preset or ("digits" if shape[-1] == 1 else "photographs")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}; received {preset!r}.")
    step = find(model_graph, layer)
    depth = step.output.shape[-1]
    channels = range(depth) if channels is None else channels
    if kind == "channel":
        objective = whole_channel(layer, channels)
    elif layer is None and position is None:
        objective = class_logit(channels)
    else:
        objective = neuron(layer, channels, position)
    check_channels(channels, depth, step.name)
    settings = {**PRESETS[preset](shape), **settings}
    return optimize(model, objective, preprocess=preprocess, input_shape=input_shape, **settings)
