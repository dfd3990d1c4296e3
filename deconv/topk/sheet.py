"""The strongest units of chosen channels with their projections and image patches (Fig. 2), for one or more layers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deconv.datasets.batches import Arrays, as_batches
from deconv.datasets.picking import images_by_id
from deconv.deconvnet.mirrorable import why_not
from deconv.deconvnet.projection import Deconvnet
from deconv.deconvnet.recording import activations
from deconv.imaging.pixel_space import to_pixel_space
from deconv.runtime.short_repr import short_repr
from deconv.topk.results import TopActivations
from deconv.topk.scan import top_activations
from deconv.validation import check_channels, check_real, check_seed, preprocessed

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

_MOST_CHANNELS = 16
"""Channels that are drawn where none are named, as many as the paper shows of most layers."""


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

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def tiles(self) -> tuple[np.ndarray | None, np.ndarray]:
        """`(projections, patches)` with NaN for inactive units, which have no patch to show."""
        inactive = self.tops.values[self.channels][:, :, None, None, None] <= 0
        projections = None if self.projections is None else np.where(inactive, np.nan, self.projections)
        return projections, np.where(inactive, np.nan, self.patches)

    def plot(self, title: str | None = None, *, scale: str = "its own largest magnitude") -> Figure:
        """Draw the projections beside the patches (Fig. 2).

        Args:
            title: Title of the figure; None for the layer and the number of images per channel.
            scale: Value by which each projection has been divided, for the label of the colour bar.

        Returns:
            The Matplotlib figure.
        """
        from deconv.plotting import top_sheet  # loads Matplotlib

        values = self.tops.values[self.channels]
        count, k = values.shape
        columns = 2 if self.patches.shape[3] > 90 else 3 if count <= 9 else 4
        return top_sheet(
            *self.tiles,
            self.channels,
            f"{self.layer}: top {k} activations of each channel" if title is None else title,
            values=values,
            columns=min(columns, count),
            tiles=k if k < 4 else int(np.ceil(np.sqrt(k))),
            scale=scale,
        )


def top_sheets(
    net: Deconvnet,
    dataset: Any,
    layers: Sequence[str | int],
    k: int = 9,
    *,
    choose: Callable[[str, int], np.ndarray],
    pick: Callable[[np.ndarray], np.ndarray],
    shown: Callable[[np.ndarray, np.ndarray], np.ndarray],
    look: Callable[[np.ndarray], np.ndarray] | None = None,
    preprocess: Callable[[np.ndarray], Any] | None = None,
    progress: bool = False,
    is_read_twice: bool = False,
    **batch_size: Any,
) -> Iterator[TopSheet]:
    """Scan the data once for all layers and project each of the strongest units shown, one `TopSheet` per layer.

    Args:
        net: The deconvnet of the model.
        dataset, layers, k, preprocess, progress: See `top_activations`.
        choose: Function from the name of a layer and its number of channels to the channels shown.
        pick: Function from ids to images.
        shown: Function from projections and windows `(n, 4)` to intensities, cropped to the windows.
        look: Function from images to intensities between 0 and 1; None for pixel values divided by 255.
        is_read_twice: Whether `pick` reads a data set again that may give other images, which is then checked.
        batch_size: As `batch_size=`, if given: images and units computed at a time.

    Raises:
        ValueError: If `is_read_twice` and the images have other activations than in the scan; or as `top_activations`.
    """
    from deconv.plotting import crop, pixels

    look = look or pixels
    tops = top_activations(net.model, dataset, list(layers), k, preprocess=preprocess, progress=progress, **batch_size)
    chosen = {layer: choose(layer, len(one.ids)) for layer, one in tops.items()}
    wanted = np.unique(np.concatenate([tops[layer].ids[channels].ravel() for layer, channels in chosen.items()]))
    images = pick(wanted)
    inputs = preprocessed(images, preprocess)
    for layer, channels in chosen.items():
        strongest = tops[layer]
        ids, positions, windows = (part[channels] for part in (strongest.ids, strongest.positions, strongest.windows))
        windows, positions = windows.reshape(-1, 4), positions.reshape(-1, 2)
        numbers, each = np.searchsorted(wanted, ids.ravel()), np.repeat(channels, ids.shape[1])
        patches, projections = crop(look(images[numbers]), windows), None
        if is_read_twice:
            where = numbers, *positions.T, each
            _check_values(net, inputs, layer, where, strongest.values[channels].ravel())
        if not (reason := why_not(net, layer)):
            projected = net.project_units(inputs, layer, each, positions, numbers=numbers, **batch_size)
            projections = shown(projected, windows)
            projections = projections.reshape(*ids.shape, *projections.shape[1:])
        patches = patches.reshape(*ids.shape, *patches.shape[1:])
        yield TopSheet(
            layer=layer, tops=strongest, channels=channels, projections=projections, patches=patches, reason=reason
        )


def _check_values(net, inputs, layer, where, values):
    """Check that images read a second time have the activations that the scan has found."""
    maps = activations(net.model, inputs, layer)[layer]
    maps = maps.reshape(len(maps), *(maps.shape[1:-1] or (1, 1)), maps.shape[-1])
    again = maps[where]
    if not np.allclose(again, values, rtol=1e-2, atol=1e-2 * np.abs(values).max()):
        raise ValueError(
            "The data set gave other images when it was read a second time. Give it ids, (image, label, id), or the "
            "same order in every pass: shuffle(..., reshuffle_each_iteration=False)."
        )


def _drawable(images: np.ndarray) -> np.ndarray:
    """Images of one or three channels unchanged; of all others the mean over the channels."""
    return images if images.shape[-1] in (1, 3) else images.mean(axis=-1, keepdims=True)


def top_sheet(
    model: keras.Model,
    images: Any,
    layer: str | int,
    channels: int | Sequence[int] | None = None,
    k: int = 9,
    *,
    preprocess: Callable[[np.ndarray], Any] | None = None,
    percentile: float | None = None,
    title: str | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: bool = False,
) -> Figure:
    """Draw the strongest activations of a layer's channels, projected to pixel space, beside their patches (Fig. 2).

    One call for a scan of the data (`top_activations`), a deconvnet (`Deconvnet.project_units`) and a figure
    (`plotting.top_sheet`). A layer without a deconvnet is drawn with its patches alone. Images with
    neither one nor three channels are drawn as the mean of their channels.

    Args:
        model: A functional or Sequential `keras.Model` with a fixed input size.
        images: Any data set that `top_activations` accepts: an `ImageSet`, arrays, a `tf.data.Dataset`, a `PyDataset`
            or a `DataLoader`. All but the first two are read twice and must give the same images in the same order.
        layer: Name, path or index of the layer.
        channels: Channels to draw; None for all, or for 16 drawn at random where the layer has more.
        k: Images per channel.
        preprocess: Function from a batch of images to the input of the model, as in `top_activations`.
        percentile: Percentile of a projection's magnitudes that is drawn as white or black; larger values are clipped.
            None for 100 with images of one channel, and 99.5 with others.
        title: Title of the figure; None for the layer, the model and `k`.
        seed: Seed of the draw of channels.
        batch_size: Images and units computed at a time.
        progress: Whether to show a progress bar.

    Returns:
        The Matplotlib figure. `figure.savefig(path)` writes it.

    Raises:
        ValueError: If an argument is invalid, the layer or a channel does not exist, `images` gives other images the
            second time, or as `top_activations`.
    """
    from deconv.plotting.display import crop, intensities, scale_text, signed

    check_seed(seed)
    if percentile is not None and not 0 < check_real("percentile", percentile, 0) <= 100:
        raise ValueError(f"percentile must be above 0 and at most 100; received {percentile!r}.")
    if title is not None and not isinstance(title, str):
        raise ValueError(f"title must be text, or None; received {title!r}.")
    net, depth = Deconvnet(model), 1

    def choose(name, count):
        if channels is not None:
            return check_channels(channels, count, name)
        if count <= _MOST_CHANNELS:
            return np.arange(count)
        return np.sort(np.random.default_rng(seed).choice(count, _MOST_CHANNELS, replace=False))

    def pick(ids):
        nonlocal depth
        picked = images_by_id(images, ids, batch_size)
        depth = picked.shape[-1]
        return picked

    def contrast():
        return (100.0 if depth == 1 else 99.5) if percentile is None else percentile

    def shown(projections, windows):
        # A preprocessing without a transpose leaves the projections as they are.
        with contextlib.suppress(ValueError):
            projections = to_pixel_space(projections, preprocess, depth) if preprocess else projections
        return signed(_drawable(crop(projections, windows)), percentile=contrast())

    def look(batch):
        return _drawable(intensities(batch))

    settings: dict[str, Any] = {"preprocess": preprocess, "progress": progress, "batch_size": batch_size}
    settings["is_read_twice"] = not hasattr(images, "pick") and not isinstance(as_batches(images), Arrays)
    (sheet,) = top_sheets(net, images, [layer], k, choose=choose, pick=pick, shown=shown, look=look, **settings)
    title = f"{sheet.layer} of {model.name}: top {k} activations" if title is None else title
    return sheet.plot(title, scale=scale_text(contrast()))
