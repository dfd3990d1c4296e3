"""Fig. 2: projections of the strongest activations of every channel in a data set, beside their image patches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from deconv.deconvnet.projection import Deconvnet
from deconv.figures.fig2_similarity import findings, mean_correlations
from deconv.figures.picture import Picture
from deconv.figures.projecting import left_out
from deconv.figures.subject import Subject, count_of, in_words
from deconv.graph.keras_model import label
from deconv.topk.sheet import TopSheet, top_sheets
from deconv.validation import check_channels


def top_data(
    subject: Subject,
    layers: Sequence[str],
    k: int = 9,
    channels: Sequence[int] | None = None,
    progress: bool = False,
    **batch_size: Any,
) -> Iterator[TopSheet]:
    """Scan the data once for all layers and project each of the strongest units shown, one `TopSheet` per layer.

    Args:
        subject: Model and data.
        layers: Names of layers.
        k: Images per channel.
        channels: Channels shown of each layer; None for a random subset, as drawn by `Subject.channels`.
        progress: Whether to show a progress bar.
        batch_size: As `batch_size=`, if given: images and units computed at a time.
    """

    def choose(layer: str, count: int) -> np.ndarray:
        return subject.channels(layer, count) if channels is None else check_channels(channels, count, layer)

    return top_sheets(
        Deconvnet(subject.model),
        subject.data,
        layers,
        k,
        choose=choose,
        pick=subject.pick,
        shown=subject.shown,
        preprocess=subject.preprocess,
        progress=progress,
        **batch_size,
    )


def sheet_caption(subject: Subject, sheet: TopSheet, which: str) -> str:
    """Describe what a `TopSheet` shows; `which` names its channels."""
    k, (height, width) = sheet.tops.ids.shape[1], sheet.patches.shape[2:4]
    units = f"the {count_of(k, 'strongest unit')} in {subject.data.size:,} images of {subject.data.name}, one per image"
    patches = f"{height}×{width} pixels, blue outside the image"
    if sheet.reason:
        return f"For each of {which}: the receptive fields of {units}, {patches}.{left_out(sheet.layer, sheet.reason)}"
    return (
        f"For each of {which}: left, the projections of {units}; right, their receptive fields, {patches}. Each "
        f"projection is divided by {subject.scale}; grey is zero, lighter values excite the unit, darker ones inhibit "
        "it."
    )


def top_pictures(subject: Subject) -> Iterator[Picture]:
    """Draw Fig. 2, one figure per convolutional layer; nothing without such layers."""
    layers = subject.drawn_filters()
    if not layers:
        return
    correlations = []
    for layer, sheet in zip(layers, top_data(subject, layers, batch_size=subject.batch_size), strict=True):
        count, k = sheet.tops.ids.shape
        values = sheet.tops.values[sheet.channels]
        inactive = int((sheet.tops.values[:, 0] <= 0).sum())
        part = "each channel" if len(values) == count else f"{len(values)} of {count} channels"
        title = f"{layer} of {subject.model.name}: top {k} activations of {part}, projected, and their patches"
        caption = (
            f"After the paper's Fig. 2. {sheet_caption(subject, sheet, in_words(len(values), count))}"
            + (" In the first layer, a projection is the filter itself." if layer == layers[0] else "")
            + f" {inactive or 'None'} of the {count_of(count, 'channel')} {'are' if inactive > 1 else 'is'} inactive "
            "in all images."
        )
        correlations.append([(np.nan, np.nan) if side is None else mean_correlations(side) for side in sheet.tiles])
        numbers: dict[str, Any] = {"silent_channels": inactive, "channels": sheet.channels}
        numbers["left_out"] = {"projections": sheet.reason} if sheet.reason else {}
        numbers |= {name: array[sheet.channels] for name, array in sheet.tops._asdict().items()}
        names = ("projections", "patches")
        numbers["alike_within_and_between_channels"] = dict(zip(names, correlations[-1], strict=True))
        layer_findings = findings(layers, *zip(*correlations, strict=True)) if layer == layers[-1] else ()
        figure = sheet.plot(title, scale=subject.scale)
        yield Picture(
            name=f"fig2_{label(layer)}",
            title=title,
            caption=caption,
            figure=figure,
            numbers=numbers,
            findings=layer_findings,
        )
