"""Methods of `explain`: those of `deconv.attribution`, occlusion, and projection by explicit switches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from deconv.attribution import METHODS
from deconv.deconvnet.projection import Deconvnet
from deconv.evaluation.deletion_insertion import scorer
from deconv.occlusion.sensitivity import occlusion_maps, occlusion_scores
from deconv.occlusion.sliding_window import pixel_map
from deconv.validation import check_pair

CONTROLS = "edges", "random"
"""Names of the orders of pixels that `explain` adds to those of the methods."""

_SHARE = 5
"""The occluding patch has the shorter side of the image divided by this number, the stride that of the patch."""


def methods_of(
    methods: str | Sequence[str] | dict[str, Callable[..., Any]] | None, own: dict[str, Callable[..., Any]]
) -> dict[str, Callable[..., Any]]:
    """Look up methods by their names.

    Args:
        methods: As for `explain`.
        own: `{name: function}`, methods that take precedence over those of `deconv.attribution`, and further ones.

    Returns:
        `{name: function}`.

    Raises:
        ValueError: If there are none, one is unknown, or one has the name of a control.
    """
    known: dict[str, Any] = {**METHODS, **own}
    if methods is None:
        return known
    if isinstance(methods, str):
        methods = [methods]
    if not isinstance(methods, dict | list | tuple):
        raise ValueError(
            f"methods must be names, one or more of {', '.join(known)}, or a dict {{name: function}}; received "
            f"{methods!r}."
        )
    named: dict[str, Any] = methods if isinstance(methods, dict) else {name: known.get(name) for name in methods}
    for name, function in named.items():
        if name in CONTROLS:
            raise ValueError(f"'{name}' is the name of a control; use another name for the method.")
        if not callable(function):
            raise ValueError(
                f"methods must be one or more of {', '.join(known)}, or a dict {{name: function}}; received {name!r}."
            )
    if not named:
        raise ValueError(f"methods must name at least one of {', '.join(known)}; received none.")
    return named


def deconvnet_method(net: Deconvnet, name: str) -> Callable[..., np.ndarray]:
    """Projection by explicit switches from a layer, as a method."""

    def deconvnet(model, images, target, layer, *, unit, batch_size, input_shape):
        return net.project(images, name, target, unit, start="one", batch_size=batch_size)

    return deconvnet


def occlusion_method(
    image: np.ndarray,
    square: int | Sequence[int] | None,
    stride: int | Sequence[int] | None,
    scoring: dict[str, Any],
) -> Callable[..., np.ndarray]:
    """Occlusion as a method: the decrease of the score, spread over each patch's pixels, as `(1, height, width, 1)`.

    Args:
        image: `(height, width, channels)`, as given by the user.
        square, stride: As for `explain`.
        scoring: `preprocess`, `fill` and `batch_size`, as for `occlusion_maps`.
    """
    side = max(1, round(min(image.shape[:2]) / _SHARE)) if square is None else square
    size = check_pair("square", side)
    stride = check_pair("stride", max(1, min(size) // _SHARE) if stride is None else stride)

    def occlusion(model, images, target, layer, *, unit, batch_size, input_shape):
        if layer is None:
            settings = {**scoring, "input_shape": input_shape, "batch_size": batch_size}
            result = occlusion_maps(model, image, target, size=size, stride=stride, **settings)
            return _spread(result.unoccluded[0] - result.probability, result)
        settings = {"preprocess": scoring["preprocess"], "input_shape": input_shape}
        score, _ = scorer(model, image, target, layer, unit, **settings, spare=True)
        scores, grid = occlusion_scores(score, image, size, stride, fill=scoring["fill"], batch_size=batch_size)
        return _spread(score(np.array(image[None])) - scores, grid)

    def _spread(decrease, grid):
        return pixel_map(decrease, grid, image.shape[:2])[None, ..., None]

    return occlusion
