"""Fig. 7: occlusion sensitivity; all panels are computed in one pass over the positions of the occluding patch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from deconv.deconvnet.projection import Deconvnet
from deconv.figures.fig7_panels import occlusion_panels, panels_caption, panels_title
from deconv.figures.picture import Picture
from deconv.figures.published_results import NO_CLASSES, Finding
from deconv.figures.subject import Subject
from deconv.occlusion.sensitivity import OcclusionMaps
from deconv.plotting import GAP, mosaic, occlusion_sheet, pixels
from deconv.topk.scan import top_activations

_ELSEWHERE = 4
"""Number of other images for which the strongest map is also projected."""


def occlusion_pictures(subject: Subject) -> Iterator[Picture]:
    """Draw Fig. 7; nothing for a network without convolutional layers."""
    if not subject.filters():
        return
    images, labels, ids = subject.examples()
    targets = subject.targets(labels)
    panels = occlusion_panels(subject, images, targets, subject.active_filters()[-1], batch_size=subject.batch_size)
    unknown, elsewhere = sum(target is None for target in targets) if subject.has_classes else 0, None
    if panels.projections is not None:
        elsewhere = _other_images(subject, panels.net, panels.layer, [maps.channel for maps in panels.maps], ids)
    title = panels_title(subject)
    more = f", and of its strongest units in {_ELSEWHERE} other images (grey is zero, blue is outside of the image)"
    caption = f"After the paper's Fig. 7. {panels_caption(subject, panels, 'the true class', more)}" + (
        f" {unknown} of the {len(images)} images {'belongs' if unknown == 1 else 'belong'} to no class of the "
        f"network; (d) then shows the {panels.kind} of the class predicted for the unoccluded image."
        if unknown
        else ""
    )
    truth = [subject.data.class_names[label] for label in labels]
    names = [
        name if target is not None or maps.target is None else f"{name},\npredicted: {subject.class_names[maps.target]}"
        for name, target, maps in zip(truth, targets, panels.maps, strict=True)
    ]
    shown = None if panels.projections is None else subject.shown(panels.projections)
    figure = occlusion_sheet(
        pixels(images),
        panels.maps,
        shown,
        names,
        subject.class_names,
        title,
        elsewhere=elsewhere,
        score=panels.kind or "",
    )
    numbers = panels.numbers(subject, labels, ids)
    findings, numbers["structure"] = occlusion_findings(panels.maps, panels.projections, panels.kind)
    yield Picture(
        name="fig7_occlusion", title=title, caption=caption, figure=figure, numbers=numbers, findings=findings
    )


def occlusion_findings(
    found: Sequence[OcclusionMaps], projections: np.ndarray | None, kind: str | None = "probability"
) -> tuple[list[Finding], np.ndarray]:
    """Test the claims about Fig. 7, and correlate each map of (b) with each projection of (c).

    Args:
        found: One `OcclusionMaps` per image.
        projections: For each image the projection of its strongest map: `(n, height, width, channels)`; None if the
            layer has no deconvnet.
        kind: Kind of model output; fractions of the output are meaningful for probabilities only. None without class
            outputs.

    Returns:
        Findings, and the correlations `(n, n)` between the drop of the activity in one image and the fraction of the
        magnitude of a projection covered by the occluding patch.
    """
    count = len(found)
    agreement = np.full((count, count), np.nan)
    if projections is not None:
        agreement = np.array([[_agreement(maps, picture) for picture in projections] for maps in found])
    own, others = np.diag(agreement), agreement[~np.eye(count, dtype=bool)]
    several = count > 1 and projections is not None
    about_object, about_class = _output_findings(found, kind)
    about_structure = Finding(
        "fig7-structure",
        bool(np.nanmean(own) > 0.3 and np.nanmean(own) > np.nanmean(others)) if several else None,
        "over the positions, the drop of the activity and the covered share of the projection correlate by more "
        "than 0.3, and more than with the projections of the other images (means)",
        f"own {np.nanmean(own):.2f}, others {np.nanmean(others):.2f}"
        if several
        else ("there is one image" if projections is not None else "the layer has no deconvnet"),
    )
    return [about_object, about_structure, about_class], agreement


def _output_findings(found: Sequence[OcclusionMaps], kind: str | None) -> tuple[Finding, Finding]:
    """Test the claims about the class score."""
    of_object = (
        "in half of the images or more there is a place at which the probability falls below half of what it is "
        "uncovered, while at the median position it stays above 90 % (median of the images); where the object is, is "
        "not known here"
    )
    of_class = (
        "in a third of the images or more, as in one of the paper's three, another class is most probable where the "
        "probability is lowest"
    )
    scores, classes = ([getattr(maps, name) for maps in found] for name in ("probability", "predicted"))
    if kind is None or any(score is None for score in scores):
        return Finding("fig7-object", None, of_object, NO_CLASSES), Finding(
            "fig7-other-class", None, of_class, NO_CLASSES
        )
    lows = np.array([score.min() / maps.unoccluded[0] for score, maps in zip(scores, found, strict=True)])
    usual = np.array([np.median(score) / maps.unoccluded[0] for score, maps in zip(scores, found, strict=True)])
    turned = [
        predicted.flat[score.argmin()] != maps.unoccluded[1]
        for predicted, score, maps in zip(classes, scores, found, strict=True)
    ]
    count, probable = len(found), kind == "probability"
    return (
        Finding(
            "fig7-object",
            bool((lows < 0.5).mean() >= 0.5 and np.median(usual) > 0.9) if probable else None,
            of_object,
            f"below half in {(lows < 0.5).sum()} of {count} images; median position: {np.median(usual):.0%}"
            if probable
            else f"what the network puts out is no probability: {kind}",
        ),
        Finding(
            "fig7-other-class",
            bool(np.mean(turned) >= 1 / 3),
            of_class,
            f"in {np.sum(turned)} of {count} images",
        ),
    )


def covered(maps: OcclusionMaps, picture: np.ndarray) -> np.ndarray:
    """Fraction of a projection's magnitude under the occluding patch at every position: `(rows, columns)`."""
    sums = np.pad(np.abs(picture).sum(axis=-1, dtype=np.float64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    top, left = maps.tops[:, None], maps.lefts
    bottom, right = top + maps.size[0], left + maps.size[1]
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return inside / max(sums[-1, -1], np.finfo(np.float64).tiny)


def _agreement(maps: OcclusionMaps, picture: np.ndarray) -> float:
    assert maps.activation is not None  # the maps are recorded with a layer
    drop, share = maps.unoccluded[2] - maps.activation.ravel(), covered(maps, picture).ravel()
    if not drop.std() or not share.std():
        return np.nan
    return float(np.corrcoef(drop, share)[0, 1])


def _other_images(
    subject: Subject, net: Deconvnet, layer: str, channels: Sequence[int | None], ids: np.ndarray
) -> list[np.ndarray]:
    """For each image a mosaic of projections of the map's strongest units in other images, cropped to their windows."""
    options: dict[str, Any] = {"preprocess": subject.preprocess, "batch_size": subject.batch_size}
    tops = top_activations(subject.model, subject.data, layer, _ELSEWHERE + 1, **options)[layer]
    mosaics = []
    for channel, own in zip(channels, ids, strict=True):
        assert channel is not None  # the maps are recorded with a layer
        others = np.flatnonzero((tops.ids[channel] != own) & (tops.values[channel] > 0))[:_ELSEWHERE]
        if not len(others):
            mosaics.append(np.full((2, 2, 1), 0.5))
            continue
        inputs = subject.prepared(subject.pick(tops.ids[channel, others]))
        raw = net.project_units(inputs, layer, [channel] * len(others), tops.positions[channel, others])
        tiles = subject.shown(raw, tops.windows[channel, others])
        mosaics.append(mosaic(tiles, 2, max(1, tiles.shape[1] // 20), GAP))
    return mosaics
