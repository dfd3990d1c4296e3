"""Sheets of many small pictures, each with a title, its units and one legible scale."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import Normalize

from deconv.plotting.display import mosaic

MAPS = "magma"
"""Colour map of activations, which start at zero."""

GAP = (0.55, 0.68, 0.84)
"""Colour between tiles: no digit and no projection has it."""


def show_picture(picture, ax, title="", size="small"):
    """Draw one picture `(height, width, 1 or 3)` with intensities between 0 and 1, without axes."""
    grey = picture.shape[-1] == 1
    ax.imshow(picture[..., 0] if grey else picture, cmap="gray" if grey else None, vmin=0, vmax=1)
    _bare(ax, title, size)


def top_sheet(projections, patches, channels, title, *, values=None, columns=4, tiles=3):
    """For every channel its strongest projections beside the patches of the images that caused them (Fig. 2).

    Args:
        projections, patches: `(channels, k, height, width, 1 or 3)`, intensities between 0 and 1, NaN where a window
            lies outside the image.
        channels: `(channels,)` ints, their numbers.
        title: Title of the sheet.
        values: `(channels, k)` activations; the largest is given above each channel.
        columns: Channels per row of the sheet.
        tiles: Tiles per row of a channel: 3 for the paper's 3x3.

    Returns:
        The Matplotlib figure.
    """
    rows = -(-len(channels) // columns)
    pairs = [
        np.concatenate([_with_margin(mosaic(side, tiles, max(1, side.shape[1] // 12), GAP)) for side in pair], axis=1)
        for pair in zip(projections, patches, strict=True)
    ]
    aspect = pairs[0].shape[0] / pairs[0].shape[1]
    size = (3.1 * columns, (3.05 * aspect + 0.24) * rows + 1.05)
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for place, ax in enumerate(axes.flat):
        if place >= len(channels):
            ax.axis("off")
            continue
        peak = "" if values is None else f", strongest {values[place, 0]:.2f}" if values[place, 0] > 0 else ", silent"
        show_picture(pairs[place], ax, f"channel {channels[place]}{peak}", 9)
    signed_bar(fig, axes)
    fig.suptitle(title)
    return fig


def signed_bar(fig, axes):
    """The scale of projections that are each divided by their own largest magnitude."""
    scale = plt.cm.ScalarMappable(Normalize(-1, 1), cmap="gray")
    bar = fig.colorbar(scale, ax=axes, location="bottom", fraction=0.02, aspect=60, pad=0.015, shrink=0.5)
    bar.set_ticks([-1, 0, 1], labels=["−1: inhibits", "0", "+1: excites"], fontsize=8)
    bar.set_label("projection / its own largest magnitude", fontsize=8)


def activation_sheet(images, maps, labels, title):
    """Every channel's map for several images, on one scale.

    Args:
        images: `(n, height, width, 1 or 3)` intensities between 0 and 1.
        maps: `(n, rows, columns, channels)` activations.
        labels: One text per image.
        title: Title of the sheet.

    Returns:
        The Matplotlib figure.
    """
    count, rows, columns, channels = maps.shape
    gap = max(1, rows // 12)
    tiles = np.moveaxis(maps, -1, 1).reshape(count * channels, rows, columns, 1).astype(float)
    tile_inches = min(0.8, 11 / channels)
    size = ((channels + 1.4) * tile_inches + 1.6, count * tile_inches * rows / columns + 1.1)
    fig, ax = plt.subplots(figsize=size, layout="constrained")
    whole = mosaic(tiles, channels, gap, background=np.nan)[..., 0]
    shown = ax.imshow(whole, cmap=MAPS, vmin=min(0, tiles.min()), vmax=tiles.max() or 1, interpolation="nearest")
    left = -columns - 2.5 * gap
    for place, image in enumerate(images):
        top = place * (rows + gap) - 0.5
        grey = {"cmap": "gray", "vmin": 0, "vmax": 1} if image.shape[-1] == 1 else {}
        ax.imshow(image.squeeze(), extent=(left - 0.5, left + columns - 0.5, top + rows, top), **grey)
    ax.set(xlim=(left - 0.5, whole.shape[1] - 0.5), ylim=(whole.shape[0] - 0.5, -0.5))
    _bare(ax)
    ax.set_xlabel("channel")
    ax.set_yticks([row * (rows + gap) + rows / 2 - 0.5 for row in range(count)], _texts(labels), fontsize=8)
    middles = [left + columns / 2 - 0.5, *(column * (columns + gap) + columns / 2 - 0.5 for column in range(channels))]
    ax.set_xticks(middles, ["image", *range(channels)], fontsize=8)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.tick_params(length=0)
    fig.colorbar(shown, ax=ax, label="activation", fraction=0.03, pad=0.01)
    fig.suptitle(title)
    return fig


def unit_strips(activations, labels, title, unit_labels=None):
    """A layer without space: one row per image, one column per unit, on one scale.

    Args:
        activations: `(n, units)`.
        labels: One text per image.
        title: Title of the sheet.
        unit_labels: One class name per unit, or None to count the units.
    """
    count, units = activations.shape
    fig, ax = plt.subplots(figsize=(max(6, min(13, units * 0.14 + 2)), count * 0.28 + 1.3), layout="constrained")
    lowest = min(0, activations.min())
    shown = ax.imshow(activations, cmap=MAPS, vmin=lowest, aspect="auto", interpolation="nearest")
    ax.set_yticks(range(count), _texts(labels))
    ax.set(xlabel="unit", ylabel="image of class")
    if unit_labels is not None:
        ax.set_xticks(range(units), _texts(unit_labels), rotation=90 if max(map(len, unit_labels)) > 3 else 0)
        ax.set_xlabel("class")
    fig.colorbar(shown, ax=ax, label="activation", fraction=0.03, pad=0.01)
    fig.suptitle(title)
    return fig


def pooling_sheet(image, comparison, projections, title, number=0):
    """One layer before and after its pooling, for one image, and the numbers over all.

    Args:
        image: `(height, width, 1 or 3)` intensities between 0 and 1.
        comparison: A `PoolingComparison`.
        projections: `(before, after)`, each `(channels, height, width, 1 or 3)` intensities between 0 and 1.
        title: Title of the sheet.
        number: Which image of the comparison to show.

    Returns:
        The Matplotlib figure.
    """
    channels = len(comparison.channels)
    before, after = comparison.before[number], comparison.after[number]
    top = max(before.max(), np.finfo(np.float32).tiny)
    cell = min(1.6, 15 / channels)
    fig = plt.figure(figsize=(max(9, cell * channels + 1.8), cell * 5 + 4.0), layout="constrained")
    maps, charts = fig.subfigures(2, 1, height_ratios=[cell * 5 + 0.6, 3.2])
    axes = maps.subplots(5, channels, squeeze=False)
    names = ("before", "switches", "after", "projected\nfrom before", "projected\nfrom after")
    for row, name in zip(axes, names, strict=True):
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for place in range(channels):
        column = axes[:, place]
        for ax, shown in ((column[0], before), (column[1], before), (column[2], after)):
            drawn = ax.imshow(shown[..., place], cmap=MAPS, vmin=0, vmax=top)
            _bare(ax)
        awake = after[..., place].ravel() != 0
        rows, columns = np.divmod(comparison.switches[number, ..., place].ravel()[awake], before.shape[1])
        column[1].plot(
            columns, rows, ".", color="cyan", markersize=min(6, 55 * cell / before.shape[0]), markeredgewidth=0
        )
        name = comparison.channels[place]
        column[0].set_title(f"channel {name}" if channels < 9 else name, fontsize=9)
        for ax, side in zip(column[3:], projections, strict=True):
            show_picture(side[place], ax)
    maps.colorbar(drawn, ax=axes[:3], label="activation", fraction=0.012, pad=0.01)
    _pooling_charts(charts, image, comparison)
    fig.suptitle(title)
    return fig


def _pooling_charts(fig, image, comparison):
    picture, energy, change = fig.subplots(1, 3, width_ratios=[0.7, 1.5, 1.5])
    show_picture(image, picture, "the image above")
    places = np.arange(len(comparison.channels))
    energy.bar(places, 100 * _known_mean(comparison.energy_kept, axis=0), color="0.45")
    energy.set_xticks(places, comparison.channels, fontsize=8)
    energy.set(xlabel="channel", ylabel="activation energy kept (%)", ylim=(0, 100))
    energy.set_title(f"mean of {len(comparison.energy_kept)} images", fontsize=9)
    for values, label, color in (
        (comparison.change_before, f"{comparison.before_layer}, before", "tab:red"),
        (comparison.change_after, f"{comparison.after_layer}, after", "tab:blue"),
    ):
        change.plot(comparison.shifts, values, color=color, alpha=0.25, linewidth=0.8)
        change.plot(comparison.shifts, _known_mean(values, axis=1), color=color, marker="o", label=label)
    change.set_xticks(comparison.shifts)
    change.set(xlabel="image moved by (pixels)", ylabel="change of the maps |a' − a| / |a|", ylim=(0, None))
    change.set_title("thin: one channel each; bold: mean", fontsize=9)
    change.legend(fontsize=8)


def occlusion_sheet(images, maps, projections, class_names, title):
    """One row per image: the image, its strongest map projected, and three maps of what the square does (Fig. 7).

    Args:
        images: `(n, height, width, 1 or 3)` intensities between 0 and 1.
        maps: One `OcclusionMaps` per image, all with a layer.
        projections: `(n, height, width, 1 or 3)` intensities between 0 and 1.
        class_names: Text of each class.
        title: Title of the sheet.

    Returns:
        The Matplotlib figure.
    """
    height, width = images.shape[1:3]
    names = (
        "image, and the square\nthat hurts most",
        "strongest map,\nprojected",
        "(b) its total activation,\nratio to uncovered",
        "(d) probability of\nthe true class",
        "(e) most probable\nclass",
    )
    fig, axes = plt.subplots(
        len(images), 5, figsize=(9.5, 1.62 * len(images) * height / width + 1.5), squeeze=False, layout="constrained"
    )
    colours = plt.get_cmap("tab10" if len(class_names) <= 10 else "tab20").resampled(len(class_names))
    ratios = [found.activation / max(abs(found.unoccluded[2]), 1e-12) for found in maps]
    most = max(1.0, *(ratio.max() for ratio in ratios))
    for row, image, found, projection, ratio in zip(axes, images, maps, projections, ratios, strict=True):
        show_picture(image, row[0])
        worst = np.unravel_index(found.probability.argmin(), found.probability.shape)
        corner = found.lefts[worst[1]] - 0.5, found.tops[worst[0]] - 0.5
        row[0].add_patch(
            plt.Rectangle(corner, found.size[1], found.size[0], fill=False, edgecolor="tab:red", linewidth=1.2)
        )
        row[0].set_ylabel(_texts(class_names)[found.target], rotation=0, ha="right", va="center")
        show_picture(projection, row[1])
        row[1].set_ylabel(f"ch. {found.channel}", fontsize=7)
        drawn = [
            _place_map(row[2], found, ratio, (height, width), cmap="viridis", vmin=0, vmax=most),
            _place_map(row[3], found, found.probability, (height, width), cmap="viridis", vmin=0, vmax=1),
            _place_map(
                row[4], found, found.predicted, (height, width), cmap=colours, vmin=-0.5, vmax=len(class_names) - 0.5
            ),
        ]
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(name, fontsize=9)
    for place, (shown, label) in enumerate(zip(drawn, ("ratio", "probability", "class"), strict=True)):
        bar = fig.colorbar(
            shown, ax=axes[:, place + 2], location="bottom", label=label, fraction=0.02, aspect=12, pad=0.01
        )
        if place == 2:
            turned = 90 if max(map(len, class_names)) > 3 else 0
            bar.set_ticks(range(len(class_names)), labels=_texts(class_names), fontsize=7, rotation=turned)
    fig.suptitle(title)
    return fig


def _place_map(ax, found, values, image_shape, **scale):
    """A value per position of the square, drawn where the middle of the square was."""
    rows, columns = found.tops + (found.size[0] - 1) / 2, found.lefts + (found.size[1] - 1) / 2
    shown = ax.pcolormesh(columns, rows, values, shading="nearest", **scale)
    ax.set(xlim=(-0.5, image_shape[1] - 0.5), ylim=(image_shape[0] - 0.5, -0.5), aspect="equal", facecolor="0.92")
    _bare(ax)
    return shown


def _bare(ax, title="", size="small"):
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    if title:
        ax.set_title(title, fontsize=size)


def _known_mean(values, axis):
    """The mean of what is known; 0 where nothing is, as for the energy of silent maps."""
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(axis=axis) / np.maximum(known.sum(axis=axis), 1)


def _texts(names):
    """Names as they are: Matplotlib would read what stands between dollars as mathematics."""
    return [str(name).replace("$", r"\$") for name in names]


def _with_margin(picture):
    """A white margin that sets the two halves of a pair apart."""
    margin = max(1, picture.shape[1] // 30)
    return np.pad(picture, ((0, 0), (margin, margin), (0, 0)), constant_values=1)
