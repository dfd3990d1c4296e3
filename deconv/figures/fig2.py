"""Fig. 2: for every channel the strongest activations of a data set, projected to pixels, beside their patches."""

from typing import NamedTuple

import numpy as np

from deconv.figures.record import Picture
from deconv.plotting import crop, pixels, signed, top_sheet
from deconv.projection import Deconvnet
from deconv.rules import label
from deconv.topk import TopActivations, top_activations


class TopSheet(NamedTuple):
    """A layer's strongest units.

    Attributes:
        layer: Its name.
        tops: What was found where.
        projections: `(channels, k, height, width, channels of the image)`, signed, cut to the window of the unit.
        patches: The same windows of the images, in pixel units.
    """

    layer: str
    tops: TopActivations
    projections: np.ndarray
    patches: np.ndarray


def top_data(subject, layers, k=9):
    """One scan of the data for all layers, then one projection for each winner."""
    net = Deconvnet(subject.model)
    found = top_activations(subject.model, subject.data, layers, k, preprocess=subject.preprocess)
    for layer, tops in found.items():
        images = subject.pick(tops.ids)
        channels = np.repeat(np.arange(len(tops.ids)), tops.ids.shape[1])
        positions, windows = tops.positions.reshape(-1, 2), tops.windows.reshape(-1, 4)
        projections = net.project_units(subject.preprocess(images), layer, channels, positions)
        cuts = [crop(pictures, windows) for pictures in (projections, images)]
        yield TopSheet(layer, tops, *(cut.reshape(*tops.ids.shape, *cut.shape[1:]) for cut in cuts))


def top_pictures(subject):
    layers = subject.filters()
    for layer, sheet in zip(layers, top_data(subject, layers), strict=True):
        count, k = sheet.tops.ids.shape
        height, width = sheet.projections.shape[2:4]
        title = f"{layer} of {subject.model.name}: top {k} activations of each channel, projected, and their patches"
        caption = (
            f"After the paper's Fig. 2. For each of the {count} channels: left, the {k} strongest units over "
            f"{subject.data.size:,} images of {subject.data.name}, one per image, projected down by the deconvnet; "
            f"right, what each of them saw, {height}×{width} pixels, blue where that lies outside the image. Every "
            "projection is scaled to its own largest magnitude; grey is zero, light excites, dark inhibits."
            + (" In the first layer that is the filter itself." if layer == layers[0] else "")
        )
        asleep = sheet.tops.values[:, :, None, None, None] <= 0  # a silent unit has no patch to show
        flat = np.nan_to_num(sheet.projections.reshape(count * k, height, width, -1))
        shown = signed(flat).reshape(sheet.projections.shape)
        figure = top_sheet(
            np.where(np.isnan(sheet.projections) | asleep, np.nan, shown),
            np.where(np.isnan(sheet.patches) | asleep, np.nan, pixels(sheet.patches)),
            np.arange(count),
            title,
            values=sheet.tops.values,
            columns=3 if count <= 9 else 4,
        )
        yield Picture(f"fig2_{label(layer)}", title, caption, figure, sheet.tops._asdict())
