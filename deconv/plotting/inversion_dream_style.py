"""Figures of inversions, DeepDream images and style transfer."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from deconv.plotting.grids import show_picture
from deconv.plotting.layer_results import StyleTransfer
from deconv.plotting.plain_text import plain_text, texts


@plain_text
def inversion_sheet(images: np.ndarray, found: Mapping[str, tuple[np.ndarray, np.ndarray]], title: str) -> Figure:
    """Draw images above their reconstructions from each layer, and the reconstruction error by layer.

    Args:
        images: `(n, height, width, 1 or 3)` intensities between 0 and 1.
        found: `{layer: (pictures, errors)}` from the lowest layer to the highest: reconstructions of the shape of
            `images`, and `(n,)` relative squared errors, as in `Inversion`.
        title: Title of the figure.

    Returns:
        The Matplotlib figure.
    """
    count, side = len(images), float(np.clip(images.shape[2] / 110, 0.9, 1.7))
    line = images.shape[1] / images.shape[2] * side + 0.05
    fig = plt.figure(figsize=(count * side + 5.6, max(3.6, (len(found) + 1) * line + 0.5)), layout="constrained")
    sheet, charts = fig.subfigures(1, 2, squeeze=False, width_ratios=[count * side + 1.0, 4.6])[0]
    axes = sheet.subplots(len(found) + 1, count, squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    rows = [("image", images), *((layer, pictures) for layer, (pictures, _) in found.items())]
    for row, (name, pictures) in zip(axes, rows, strict=True):
        for ax, picture in zip(row, pictures, strict=True):
            show_picture(picture, ax)
        row[0].set_ylabel(*texts([name]), rotation=0, ha="right", va="center", fontsize=9)
    correlations, errors_chart = charts.subplots(2, 1, sharex=True)
    places = np.arange(len(found))
    values = np.array(
        [[_correlation(*pair) for pair in zip(images, pictures, strict=True)] for pictures, _ in found.values()]
    )
    distances = np.sqrt([errors for _, errors in found.values()])
    correlations.plot(places, values, "o", color="0.7", markersize=4)
    correlations.plot(places, values.mean(axis=1), "o-", color="tab:blue", label="mean")
    correlations.set(ylabel="correlation with the image", ylim=(min(-0.1, values.min() - 0.05), 1.05))
    errors_chart.semilogy(places, distances, "o", color="0.7", markersize=4)
    errors_chart.semilogy(places, distances.mean(axis=1), "o-", color="tab:red", label="mean")
    errors_chart.axhline(0.05, color="0.4", linestyle=":", label="5 %")
    errors_chart.set(ylabel="|f(x) − f(x0)| / |f(x0)|", xlabel="layer")
    _plain(errors_chart.yaxis)
    errors_chart.set_xticks(places, texts(found), rotation=30 if len(found) > 5 else 0)
    for ax in (correlations, errors_chart):
        ax.legend(fontsize=8)
        ax.grid(alpha=0.3)
    fig.suptitle(title)
    return fig


@plain_text
def dream_sheet(images: np.ndarray, dreams: Mapping[str, np.ndarray], title: str) -> Figure:
    """Draw images beside their DeepDream results.

    Args:
        images: `(n, height, width, 1 or 3)` intensities between 0 and 1.
        dreams: `{layer: images}`, of the shape of `images`.
        title: Title of the figure.

    Returns:
        The Matplotlib figure.
    """
    columns = {"image": images, **dreams}
    side = float(np.clip(images.shape[2] / 90, 1.5, 3.2))
    height = images.shape[1] / images.shape[2] * side
    size = (len(columns) * (side + 0.1), len(images) * (height + 0.1) + 0.7)
    fig, axes = plt.subplots(len(images), len(columns), figsize=size, squeeze=False, layout="constrained")
    for column, (name, pictures) in zip(axes.T, columns.items(), strict=True):
        for number, (ax, picture) in enumerate(zip(column, pictures, strict=True)):
            show_picture(picture, ax, "" if number else texts([name])[0], 10)
    fig.suptitle(title)
    return fig


@plain_text
def style_sheet(content: np.ndarray, style: np.ndarray, transfer: StyleTransfer, title: str) -> Figure:
    """Draw the content and style images, the result, the loss during optimisation, and the final loss of each layer.

    Args:
        content, style: `(height, width, 1 or 3)` intensities between 0 and 1.
        transfer: A `StyleTransfer`.
        title: Title of the figure.

    Returns:
        The Matplotlib figure.
    """
    fig = plt.figure(figsize=(12.5, 6.6), layout="constrained")
    left, middle, right = fig.subfigures(1, 3, squeeze=False, width_ratios=[2.9, 5.7, 3.9])[0]
    for ax, picture, name in zip(left.subplots(2, 1), (content, style), ("content", "style"), strict=True):
        show_picture(picture, ax, name, 10)
    show_picture(np.clip(transfer.image / 255, 0, 1), middle.subplots(), "result", 10)
    progress, losses = right.subplots(2, 1)
    progress.semilogy(transfer.history, color="0.3")
    progress.set(xlabel="step", ylabel="weighted sum of losses")
    _plain(progress.yaxis)
    bars = [(f"{layer}, content", loss, "tab:blue") for layer, loss in transfer.content_losses.items()]
    bars += [(f"{layer}, style", loss, "tab:orange") for layer, loss in transfer.style_losses.items()]
    names, values, colours = zip(*bars, strict=True)
    losses.barh(range(len(bars)), values, color=colours)
    losses.set_yticks(range(len(bars)), texts(names), fontsize=8)
    losses.invert_yaxis()
    losses.set(xlabel="relative squared error")
    for ax in (progress, losses):
        ax.grid(alpha=0.3)
    fig.suptitle(title)
    return fig


def _plain(axis: Axis) -> None:
    """Format the numbers of a logarithmic axis as decimals: 0.2, not 2 × 10⁻¹."""
    axis.set_major_formatter("{x:g}")
    if np.ptp(np.log10(axis.get_view_interval())) < 1.5:
        axis.set_minor_formatter("{x:g}")


def _correlation(image: np.ndarray, picture: np.ndarray) -> float:
    """Correlation of two images; 0 if either is constant."""
    image, picture = (np.ravel(side) - np.mean(side) for side in (image, picture))
    size = np.linalg.norm(image) * np.linalg.norm(picture)
    return float(image @ picture / size) if size else 0.0
