"""Does hiding one part change the features of different images alike? (section 4.3, Fig. 8, Table 1)"""

from numbers import Real
from typing import NamedTuple

import numpy as np

from deconv import graph
from deconv.deconvnet.recording import recorder
from deconv.imaging.fills import fill_of
from deconv.imaging.rectangles import hide
from deconv.occlusion.part_masks import check_masks
from deconv.runtime.dtypes import array_of
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_finite, check_positive, prepare


class Distances(NamedTuple):
    """How far the signs of change disagree between pairs of images, in one layer, with one part hidden.

    Attributes:
        of_all: `(draws, pairs)`, share of all entries of the layer whose signs differ: the paper's distance.
        of_changed: `(draws, pairs)`, share of those entries alone that changed in at least one of the two images; NaN
            where none did.
        still: `(draws, pairs)`, share of entries that changed in neither image. `of_all` counts them as agreement;
            after a ReLU they are many.
    """

    of_all: np.ndarray
    of_changed: np.ndarray
    still: np.ndarray

    __repr__ = short_repr

    @property
    def mean(self):
        """Mean of `of_all` over draws and pairs."""
        return float(self.of_all.mean())

    @property
    def mean_of_changed(self):
        """Mean of `of_changed` over all draws and pairs in which something changed; NaN if there are none."""
        return float(_known_mean(self.of_changed.reshape(1, -1))[0])

    @property
    def deviation(self):
        """Standard deviation of `of_all` over draws and pairs (divided by their number, not by one less)."""
        return float(self.of_all.std())

    def chance(self, control, of="of_all"):
        """How often random places do as well: the share of the control's draws whose mean over the pairs is at most
        the mean here, this one counted among them, `(1 + as good) / (1 + draws)`. Small means: more alike than chance.
        NaN if nothing changed.

        Args:
            control: `Distances` of many random draws.
            of: Which distance, `"of_all"` or `"of_changed"`.
        """
        (own,) = _known_mean(getattr(self, of).reshape(1, -1))
        draws = _known_mean(getattr(control, of))
        draws = draws[~np.isnan(draws)]  # of a draw that changes nothing there is nothing to compare
        return float((1 + (draws <= own).sum()) / (1 + len(draws))) if np.isfinite(own) else np.nan


class Correspondence(NamedTuple):
    """What `correspondence` finds.

    Attributes:
        pairs: `(pairs, 2)` ints, which two images, i < j.
        thresholds: `{layer: number}`, changes up to this count as none.
        distances: `{layer: {part: Distances}}`.
    """

    pairs: np.ndarray
    thresholds: dict
    distances: dict

    __repr__ = short_repr


def correspondence(
    model, images, masks, layers, *, fill=None, threshold=1e-4, preprocess=None, batch_size=64, input_shape=None
):
    """Hide the same part in several images and compare how their features change.

    A layer's change is `eps = f(image) - f(image with the part hidden)`; two images correspond if the signs of their
    changes agree. The paper adds up Hamming distances of `sign(eps_i)` and `sign(eps_j)` over pairs, yet prints numbers
    near 0.07: we take the share of entries that disagree, and its mean over pairs. A sign is -1, 0 or +1. Features
    that a ReLU holds at zero in both images agree; `of_changed` leaves them out, so that a part is not called
    consistent for changing little. The size and value of the paper's masks are not given.

    Args:
        model: A functional or Sequential `keras.Model`.
        images: `(n, height, width, channels)`, two or more, in pixel units if `preprocess` is given, else as the model
            expects.
        masks: `{part: rectangles}`, ints `(n, 4)`: top, left, bottom, right of the part in each image, bottom and right
            excluded; or `(draws, n, 4)` to hide one after the other, as `random_masks` makes them.
        layers: One layer or a sequence of them: names, paths or indices.
        fill: What hides, in the units of `images`: a number, one per channel, or a whole image. None for mean grey:
            128 with `preprocess`, else the mean of each channel of these images.
        threshold: Changes up to this share of the layer's root mean square over the images as they are count as none.
            Rounding in float32 leaves about 1e-6 of it, other in batches of other sizes, and what moves a feature by a
            ten-thousandth of its usual size is no change to speak of. On AlexNet any threshold from 0 to 1e-3 gives
            mean distances within 0.02 of one another; larger ones count fewer features as changed.
        preprocess: Function applied to each batch of images, after the part is hidden.
        batch_size: How many images are computed at a time. Of one draw the signs are held, a byte per entry and image;
            of more, as many as `batch_size` images make.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.

    Returns:
        `Correspondence`, with layers and parts as they were given.

    Raises:
        ValueError: If there is only one image, or rectangles do not fit the images, or anything does not fit the model.
    """
    check_positive("batch_size", batch_size)
    if not isinstance(threshold, Real) or isinstance(threshold, bool) or not 0 <= threshold < np.inf:
        raise ValueError(f"threshold must be a share of the layer's scale, at least 0; received {threshold!r}.")
    images = array_of("images", images)
    if images.ndim != 4 or len(images) < 2:
        raise ValueError(
            f"images must be two or more, (n, height, width, channels), to be compared; received {images.shape}."
        )
    if preprocess is not None:
        images = images.astype(np.float32)  # so that `fill` need not be a whole number
    fill = fill_of(fill, images, in_pixels=preprocess is not None)
    masks = check_masks(masks, images.shape[1:], len(images))
    model_graph = graph.walk(model, input_shape)
    layers, steps = graph.find_all(model_graph, layers)
    model_graph = graph.subgraph(model_graph, *steps)
    image, forward = model_graph.inputs[0], recorder(model_graph, steps)

    def look(images):
        """Features of each layer, `(n, entries)`."""
        parts = [images[first : first + batch_size] for first in range(0, len(images), batch_size)]
        found = [forward(prepare(part, preprocess, image.shape, image.dtype))[0] for part in parts]
        found = [np.concatenate([maps.numpy() for maps in part]) for part in zip(*found, strict=True)]
        for maps, step in zip(found, steps, strict=True):
            check_finite(maps, step.name)
        return [maps.reshape(len(maps), -1) for maps in found]

    def signs(draws):
        """Signs of what changes when rectangles `(draws, n, 4)` are hidden, for each layer `(draws, n, entries)`."""
        rectangles, numbers = draws.reshape(-1, 4), np.tile(np.arange(len(images)), len(draws))
        held = [np.empty((len(numbers), maps.shape[1]), np.int8) for maps in whole]
        for first in range(0, len(numbers), batch_size):
            rows = slice(first, first + batch_size)
            hidden = look(hide(images[numbers[rows]], rectangles[rows], fill))
            for part, before, after, small in zip(held, whole, hidden, thresholds, strict=True):
                change = before[numbers[rows]] - after
                part[rows] = np.where(np.abs(change) > small, np.sign(change), 0)
        return [part.reshape(*draws.shape[:2], -1) for part in held]

    whole = look(images)
    thresholds = [float(threshold * np.sqrt(np.mean(np.square(maps, dtype=np.float64)))) for maps in whole]
    found = {layer: {} for layer in layers}
    together = max(1, batch_size // len(images))
    for part, draws in masks.items():
        starts = range(0, len(draws), together)
        blocks = [list(map(sign_distances, signs(draws[first : first + together]))) for first in starts]
        for layer, distances in zip(layers, zip(*blocks, strict=True), strict=True):
            found[layer][part] = Distances(*map(np.concatenate, zip(*distances, strict=True)))
    pairs = np.stack(np.triu_indices(len(images), 1), axis=1)
    return Correspondence(pairs, dict(zip(layers, thresholds, strict=True)), found)


def sign_distances(signs):
    """`Distances` of sign vectors.

    Args:
        signs: int8 `(draws, n, entries)` of -1, 0 and 1.
    """
    entries = signs.shape[-1]
    # Counts of entries in which both images have a sign are products of matrices; float32 counts exactly to 2**24.
    dtype = np.float32 if entries < 2**24 else np.float64
    alike = {}
    for sign in (-1, 0, 1):
        has = (signs == sign).astype(dtype)
        alike[sign] = (has @ has.swapaxes(1, 2)).astype(np.float64)
    first, second = np.triu_indices(signs.shape[1], 1)
    still = alike[0][:, first, second]
    differ = entries - sum(alike.values())[:, first, second]
    of_changed = np.divide(differ, entries - still, out=np.full(differ.shape, np.nan), where=still < entries)
    return Distances(differ / entries, of_changed, still / entries)


def _known_mean(values):
    """Mean of each row over what is known; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=1)
    return np.divide(np.where(known, values, 0).sum(axis=1), count, out=np.full(len(values), np.nan), where=count > 0)
