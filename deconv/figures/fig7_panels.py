"""The panels of Fig. 7 for chosen images: results, caption and numbers, for the figure and the command `occlude`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from deconv.deconvnet.mirrorable import why_not
from deconv.deconvnet.projection import Deconvnet
from deconv.figures.projecting import left_out
from deconv.figures.subject import Subject
from deconv.graph.model_output import output_kind
from deconv.occlusion.sensitivity import OcclusionMaps, occlusion_maps
from deconv.runtime.short_repr import short_repr


class Panels(NamedTuple):
    """Occlusion sensitivity of several images.

    Attributes:
        layer: Name of the layer.
        maps: One result per image.
        net: The deconvnet.
        projections: `(n, height, width, channels)`, for each image the projection of its strongest map; None if the
            layer has no deconvnet.
        kind: Kind of model output, as in `deconv.graph.model_output.output_kind`; None without class outputs.
        reason: Why there are no projections; an empty string if there are.
    """

    layer: str
    maps: list[OcclusionMaps]
    net: Deconvnet
    projections: np.ndarray | None
    kind: str | None
    reason: str

    def __repr__(self) -> str:
        return short_repr(self)

    def numbers(self, subject: Subject, labels: np.ndarray, ids: np.ndarray) -> dict[str, Any]:
        """The numbers to store with a figure."""
        numbers = {"layer": self.layer, "stride": subject.stride, "fill": subject.fill}
        numbers |= {"image_ids": ids, "labels": labels, "score": self.kind}
        numbers["left_out"] = {"projection": self.reason} if self.reason else {}
        return numbers | {"images": [maps._asdict() for maps in self.maps]}


def occlusion_panels(
    subject: Subject,
    images: np.ndarray,
    targets: Sequence[int | None],
    layer: str,
    *,
    progress: bool = False,
    **batch_size: int,
) -> Panels:
    """Compute the occlusion maps of every image, and the projection of the map that is strongest without occlusion.

    Args:
        subject: Model, size, stride and fill of the occluding patch.
        images: `(n, height, width, channels)` in pixel units.
        targets: One class per image; None for the predicted one.
        layer: Name of a layer.
        progress: Whether to show progress bars.
        batch_size: As `batch_size=`, if given.
    """
    patch = {"size": subject.square, "stride": subject.stride, "fill": subject.fill}
    settings: dict[str, Any] = {**patch, "preprocess": subject.preprocess, "progress": progress, **batch_size}
    maps = [
        occlusion_maps(subject.model, image, target, layer, **settings)
        for image, target in zip(images, targets, strict=True)
    ]
    net, projections = Deconvnet(subject.model), None
    reason = why_not(net, layer)
    if not reason:
        inputs = subject.prepared(images)
        projections = np.concatenate(
            [net.project(inputs[n : n + 1], layer, one.channel, unit="map") for n, one in enumerate(maps)]
        )
    kind = output_kind(net.graph) if subject.has_classes else None
    return Panels(layer=layer, maps=maps, net=net, projections=projections, kind=kind, reason=reason)


def panels_title(subject: Subject) -> str:
    """Title of a figure of occlusion maps."""
    return (
        f"Occlusion sensitivity of {subject.model.name}: {subject.square}×{subject.square} patch, "
        f"stride {subject.stride}"
    )


def panels_caption(subject: Subject, panels: Panels, of_class: str, elsewhere: str = "") -> str:
    """Describe the panels.

    Args:
        subject: Model and settings.
        panels: The results.
        of_class: Which class panel (d) shows.
        elsewhere: More about panel (c).
    """
    of_output = (
        "(d) and (e) are omitted, because the network has no class outputs."
        if panels.kind is None
        else f"(d) {panels.kind} of {of_class}. (e) "
        f"{'most probable' if panels.kind == 'probability' else 'strongest'} class."
    )
    return (
        f"A patch of pixel value {subject.fill:g} occludes each position of the image in turn; maps show the result at "
        "the centre of the patch. (a) the image; the red frame marks the minimum of "
        f"{'(b)' if panels.kind is None else '(d)'}. (b) total activation of the map of {panels.layer} with the "
        "strongest unit in the unoccluded image, relative to its value there. "
        + ("" if panels.reason else f"(c) projection of that map{elsewhere}. ")
        + of_output
        + (left_out(panels.layer, panels.reason) if panels.reason else "")
    )
