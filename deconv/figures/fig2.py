"""Fig. 2: projections of the strongest activations of every channel in a data set, beside their image patches."""

from typing import NamedTuple

import numpy as np

from deconv.deconvnet.projection import Deconvnet
from deconv.figures.fig2_similarity import findings, likeness
from deconv.figures.picture import Picture
from deconv.figures.projecting import left_out, why_not
from deconv.figures.subject import in_words
from deconv.graph.keras_model import label
from deconv.plotting import crop, pixels, top_sheet
from deconv.runtime.short_repr import short_repr
from deconv.topk.scan import top_activations
from deconv.topk.state import TopActivations


class TopSheet(NamedTuple):
    """Strongest units of a layer.

    Attributes:
        layer: Name of the layer.
        tops: Strongest activations of all channels, with their images and positions.
        channels: `(n,)` ints, the channels shown.
        projections: `(n, k, height, width, channels of the image)`, intensities, cropped to the receptive field of the
            unit; None if the layer has no deconvnet.
        patches: The same windows of the images, as intensities. Both are NaN where a window lies outside the image.
        reason: Why there are no projections; an empty string if there are.
    """

    layer: str
    tops: TopActivations
    channels: np.ndarray
    projections: np.ndarray | None
    patches: np.ndarray
    reason: str = ""

    __repr__ = short_repr


def top_data(subject, layers, k=9):
    """Scan the data once for all layers and project each of the strongest units shown, one `TopSheet` per layer."""
    net = Deconvnet(subject.model)
    found = top_activations(subject.model, subject.data, layers, k, preprocess=subject.preprocess)
    chosen = {layer: subject.channels(layer, len(tops.ids)) for layer, tops in found.items()}
    wanted = np.unique(np.concatenate([found[layer].ids[channels].ravel() for layer, channels in chosen.items()]))
    winners = subject.pick(wanted)
    inputs = subject.prepared(winners)
    for layer, channels in chosen.items():
        tops = found[layer]
        ids, positions, windows = tops.ids[channels], tops.positions[channels], tops.windows[channels].reshape(-1, 4)
        numbers, each = np.searchsorted(wanted, ids.ravel()), np.repeat(channels, ids.shape[1])
        reason, cuts = why_not(net, layer), [crop(pixels(winners[numbers]), windows)]
        if not reason:
            projections = net.project_units(inputs, layer, each, positions.reshape(-1, 2), numbers=numbers)
            cuts.insert(0, subject.shown(projections, windows))
        cuts = [cut.reshape(*ids.shape, *cut.shape[1:]) for cut in cuts]
        yield TopSheet(layer, tops, channels, None if reason else cuts[0], cuts[-1], reason)


def top_pictures(subject):
    """Draw Fig. 2, one figure per convolutional layer; nothing without such layers."""
    layers = subject.filters()
    if not layers:
        return
    alike = []
    for layer, sheet in zip(layers, top_data(subject, layers), strict=True):
        count, k = sheet.tops.ids.shape
        height, width = sheet.patches.shape[2:4]
        values = sheet.tops.values[sheet.channels]
        silent = int((sheet.tops.values[:, 0] <= 0).sum())
        part = "each channel" if len(values) == count else f"{len(values)} of {count} channels"
        title = f"{layer} of {subject.model.name}: top {k} activations of {part}, projected, and their patches"
        caption = (
            f"After the paper's Fig. 2. For each of {in_words(len(values), count)}: "
            + (
                f"what the {k} strongest units over {subject.data.size:,} images of {subject.data.name}, one per "
                f"image, saw, {height}×{width} pixels, blue where that lies outside the image."
                f"{left_out(layer, sheet.reason)}"
                if sheet.reason
                else f"left, the {k} strongest units over "
                f"{subject.data.size:,} images of {subject.data.name}, one per image, projected down by the deconvnet; "
                f"right, what each of them saw, {height}×{width} pixels, blue where that lies outside the image. Every "
                f"projection is divided by {subject.scale}; grey is zero, light excites, dark inhibits."
                + (" In the first layer that is the filter itself." if layer == layers[0] else "")
            )
            + f" {silent or 'None'} of the {count} channels {'are' if silent > 1 else 'is'} silent in all images."
        )
        asleep = values[:, :, None, None, None] <= 0  # an inactive unit has no patch to show
        sides = (sheet.projections, sheet.patches)
        tiles = [None if side is None else np.where(asleep, np.nan, side) for side in sides]
        alike.append([(np.nan, np.nan) if side is None else likeness(side) for side in tiles])
        figure = top_sheet(
            *tiles,
            sheet.channels,
            title,
            values=values,
            columns=2 if width > 90 else 3 if len(values) <= 9 else 4,
            scale=subject.scale,
        )
        numbers = {"silent_channels": silent, "channels": sheet.channels}
        numbers["left_out"] = {"projections": sheet.reason} if sheet.reason else {}
        numbers |= {name: array[sheet.channels] for name, array in sheet.tops._asdict().items()}
        numbers["alike_within_and_between_channels"] = dict(zip(("projections", "patches"), alike[-1], strict=True))
        found = findings(layers, *zip(*alike, strict=True)) if layer == layers[-1] else ()
        yield Picture(f"fig2_{label(layer)}", title, caption, figure, numbers, found)
