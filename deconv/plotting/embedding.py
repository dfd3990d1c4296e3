"""Figures of embeddings: images of a layer as points and thumbnails; units, their clusters and their projections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from deconv.plotting.display import crop, pixels, signed
from deconv.plotting.grids import GAP, bare, show_picture, signed_bar
from deconv.plotting.plain_text import plain_text, texts
from deconv.plotting.results import ClusterTops, Embedding, UnitEmbedding
from deconv.plotting.thumbnails import thumbnails

_NOTE = "Neighbourhoods are meaningful; sizes of clusters and distances between clusters are not."
_NO_CLASS = (0.75, 0.75, 0.75)
_ClassNames = Sequence[str] | Mapping[int, str] | None


@plain_text
def embedding_sheet(
    found: Embedding,
    images: np.ndarray | None = None,
    class_names: _ClassNames = None,
    title: str | None = None,
) -> Figure:
    """Draw the images of an embedding as points coloured by class and, beside them, as thumbnails.

    Args:
        found: An `Embedding`.
        images: `(n, height, width, 1 or 3)` in pixel units, in the order of `found`; None to draw points only.
        class_names: Name of each class; None to use its number.
        title: Title of the figure; None for the name of the layer.

    Returns:
        The Matplotlib figure.
    """
    widths = [6.4] if images is None else [6.2, 8.0]
    across, down = np.ptp(found.points, axis=0)
    tall = widths[-1] * float(np.clip(down / across, 0.5, 1.1)) + 1.3
    options: dict[str, Any] = {"width_ratios": widths, "squeeze": False, "layout": "constrained"}
    fig, axes = plt.subplots(1, len(widths), figsize=(sum(widths), tall), **options)
    legend = _points(axes[0, 0], found, class_names)
    if images is not None:
        picture, extent, shown = thumbnails(found.points, images, _colours(found.labels)[0])
        axes[0, 1].imshow(picture, extent=extent, interpolation="nearest")
        bare(axes[0, 1])
        axes[0, 1].set_title(f"{len(shown)} of these images, each in the free cell nearest to its point", fontsize=9)
    axes[0, 0].set_aspect("equal", adjustable="box")
    _finish(fig, title or f"{found.layer}: {in_words(found)}", legend, 5 * len(widths))
    return fig


@plain_text
def embedding_row(embeddings: Sequence[Embedding], title: str, class_names: _ClassNames = None) -> Figure:
    """Draw several embeddings of the same images side by side, as points coloured by class.

    Args:
        embeddings: Sequence of `Embedding`.
        title: Title of the figure.
        class_names: Name of each class; None to use its number.

    Returns:
        The Matplotlib figure.
    """
    count = len(embeddings)
    columns = min(count, 4)
    rows = -(-count // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(3.9 * columns, 4.2 * rows + 0.9), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[count:]:
        ax.axis("off")
    for ax, embedding in zip(axes.flat, embeddings, strict=False):
        legend = _points(ax, embedding, class_names, size=7)
        quality = f"trustworthiness {embedding.trustworthiness:.3f}"
        ax.set_title(*texts([f"{embedding.layer}\n{quality}"]), fontsize=9)
    _finish(fig, f"{title}\n{in_words(embeddings[-1], trust=False)}", legend, 3 * columns)
    return fig


@plain_text
def unit_sheet(
    found: UnitEmbedding,
    tops: ClusterTops | None = None,
    class_names: _ClassNames = None,
    title: str | None = None,
    *,
    percentile: float = 100.0,
    to_pixels: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Figure:
    """Draw the units of a layer as points coloured by cluster, with class responses and projections of each cluster.

    Args:
        found: A `UnitEmbedding`.
        tops: The `ClusterTops` of `found`; None to draw no projections.
        class_names: Name of each class; None to use its number.
        title: Title of the figure; None for the name of the layer.
        percentile: Percentile of the magnitudes of a projection that is drawn as black or white.
        to_pixels: Function that converts projections to the colours of the images, such as `deconv.to_pixel_space`;
            None for no conversion.

    Returns:
        The Matplotlib figure.
    """
    count, classes = found.count, len(found.classes)
    colours = _palette(count)
    widths = [6.0, *([0.42 * min(classes, 20) + 1.6] if classes else []), *([6.0] if tops is not None else [])]
    tall = max(5.0, 0.8 * count + 1.8)
    fig = plt.figure(figsize=(sum(widths), tall), layout="constrained")
    grid = fig.add_gridspec(count, len(widths), width_ratios=widths)
    _unit_points(fig.add_subplot(grid[:, 0]), found, colours)
    if classes:
        _preference(fig, fig.add_subplot(grid[:, 1]), found, class_names)
    if tops is not None:
        axes = [fig.add_subplot(grid[cluster, -1]) for cluster in range(count)]
        _draw_clusters(axes, tops, colours, percentile, to_pixels)
        scale = (
            "its own largest magnitude" if percentile == 100 else f"the {percentile:g}th percentile of its magnitudes"
        )
        signed_bar(fig, axes, f"projection / {scale}")
    dead = f"; {len(found.dead)} with the same response to all images omitted" if len(found.dead) else ""
    words = (
        f"{len(found.units)} units of {found.layer}{dead}: {_method(found)} of their responses to {found.images:,} "
        f"images, seed {found.seed}, trustworthiness {found.trustworthiness:.3f}"
    )
    fig.suptitle("\n".join(texts([*([title] if title else []), words])), fontsize=11)
    fig.supxlabel(_NOTE, fontsize=8, color="0.35")
    return fig


def in_words(found: Embedding, *, trust: bool = True) -> str:
    """Describe an embedding in words: method, number of images, perplexity, seed and trustworthiness."""
    quality = f", trustworthiness {found.trustworthiness:.3f}" if trust else ""
    return f"{_method(found)} of {len(found.ids):,} images, seed {found.seed}{quality}"


def _method(found: Embedding | UnitEmbedding) -> str:
    return "PCA" if found.method == "pca" else f"t-SNE (perplexity {found.perplexity:.3g})"


def _points(ax: Axes, found: Embedding, class_names: _ClassNames, size: float = 14) -> list[Line2D]:
    """Draw images as points and return the entries of the legend."""
    colours, classes = _colours(found.labels)
    x, y = found.points.T
    ax.scatter(x, y, c=colours, s=size, linewidths=0)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xticks=[], yticks=[])
    if found.method == "pca":
        ax.set(xlabel="first principal component", ylabel="second")
    for spine in ax.spines.values():
        spine.set_color("0.8")
    if len(classes) > 20:
        return []
    names = [label if class_names is None else class_names[label] for label in classes]
    palette = _palette(len(classes))
    dots = [
        Line2D([], [], marker="o", linestyle="", color=colour, label=name)
        for colour, name in zip(palette, texts(names), strict=True)
    ]
    if (found.labels < 0).any():
        dots.append(Line2D([], [], marker="o", linestyle="", color=_NO_CLASS, label="no class"))
    return dots


def _finish(fig: Figure, title: str, legend: list[Line2D], columns: int) -> None:
    if legend:
        fig.legend(handles=legend, loc="outside lower center", ncols=min(columns, len(legend)), fontsize=9)
    fig.suptitle("\n".join(texts([title, _NOTE])), fontsize=11)


def _unit_points(ax: Axes, found: UnitEmbedding, colours: np.ndarray) -> None:
    x, y = found.points.T
    ax.scatter(x, y, c=colours[found.clusters], s=150 if len(found.units) <= 150 else 25, linewidths=0)
    for unit, (x, y) in zip(found.units, found.points, strict=True) if len(found.units) <= 150 else ():
        ax.text(x, y, str(unit), fontsize=6.5, ha="center", va="center")
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_color("0.8")
    ax.set_title(f"{found.count} clusters (k-means), mean silhouette {found.silhouette:.2f}", fontsize=9)


def _preference(fig: Figure, ax: Axes, found: UnitEmbedding, class_names: _ClassNames) -> None:
    classes = found.classes[:20]
    values = found.preference[:, :20]
    most = np.abs(values).max() or 1
    drawn = ax.imshow(values, cmap="gray", vmin=-most, vmax=most, aspect="auto")
    names = texts(str(label) if class_names is None else class_names[label] for label in classes)
    ax.set_xticks(range(len(classes)), names, rotation=90 if max(map(len, names)) > 3 else 0, fontsize=8)
    sizes = np.bincount(found.clusters)
    ax.set_yticks(range(found.count), [f"{cluster}\n{size} units" for cluster, size in enumerate(sizes)], fontsize=8)
    ax.set_ylabel("cluster", fontsize=8)
    ax.set_title("response to each class", fontsize=9)
    bar = fig.colorbar(drawn, ax=ax, location="bottom", fraction=0.04, pad=0.02, aspect=20)
    bar.set_label("standard deviations from the mean", fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _draw_clusters(
    axes: Sequence[Axes],
    tops: ClusterTops,
    colours: np.ndarray,
    percentile: float,
    to_pixels: Callable[[np.ndarray], np.ndarray] | None,
) -> None:
    """Draw one row per cluster: projections and image patches of its most central units."""
    projections = tops.projections if to_pixels is None else to_pixels(tops.projections)
    pairs = [signed(crop(projections, tops.windows), percentile=percentile), crop(pixels(tops.images), tops.windows)]
    shades = max(side.shape[-1] for side in pairs)
    tiles = [np.broadcast_to(side, (*side.shape[:-1], max(shades, 3))) for side in pairs]
    tiles = [np.where(np.isnan(side), GAP, side) for side in tiles]
    gap = max(1, tiles[0].shape[1] // 14)
    most = np.bincount(tops.clusters).max()
    for cluster, ax in enumerate(axes):
        members = np.flatnonzero(tops.clusters == cluster)
        row = np.ones((tiles[0].shape[1], most * (2 * tiles[0].shape[2] + 3 * gap), 3))
        for place, unit in enumerate(members):
            left = place * (2 * tiles[0].shape[2] + 3 * gap)
            for side in tiles:
                row[:, left : left + side.shape[2]] = side[unit]
                left += side.shape[2]
        show_picture(row, ax)
        step = 2 * tiles[0].shape[2] + 3 * gap
        for place, unit in enumerate(members):
            label = f"unit {tops.units[unit]}"
            ax.text((place + 0.5) * step - 1.5 * gap, -0.02 * row.shape[0] - 1, label, fontsize=7, ha="center")
        ax.set_ylabel(str(cluster), rotation=0, ha="right", va="center", fontsize=9, color="black")
        ax.add_patch(Rectangle((-2.2 * gap, 0), 1.2 * gap, row.shape[0], color=colours[cluster], clip_on=False))
        ax.set_xlim(-2.4 * gap, row.shape[1])
    outside = "\n(blue: outside of the image)" if np.isnan(pairs[1]).any() else ""
    words = f"most central units: strongest projection and its image patch{outside}"
    axes[0].set_title(words, fontsize=9, pad=14)


def _colours(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the colour of each label (grey for unlabelled points) and the sorted classes."""
    classes, places = np.unique(labels[labels >= 0], return_inverse=True)
    colours = np.tile(np.array(_NO_CLASS), (len(labels), 1))
    colours[labels >= 0] = _palette(len(classes))[places]
    return colours, classes


def _palette(count: int) -> np.ndarray:
    """Return `count` distinct colours, `(count, 3)`."""
    if count <= 20:
        return np.array(color_sequences["tab10" if count <= 10 else "tab20"])[:count]
    return plt.get_cmap("turbo")(np.linspace(0, 1, count))[:, :3]
