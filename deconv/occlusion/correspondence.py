"""Correspondence of parts: whether hiding one part changes the features of different images alike.

Section 4.3, Fig. 8 and Table 1 of Zeiler & Fergus (arXiv:1311.2901).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Literal, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike

from deconv import graph
from deconv.deconvnet.recording import recorder
from deconv.imaging.fills import fill_of
from deconv.imaging.nan_mean import nan_mean
from deconv.imaging.rectangles import hide
from deconv.occlusion.part_masks import check_masks
from deconv.runtime.dtypes import array_of
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_finite, check_positive, prepare


class Distances(NamedTuple):
    """Distances between the signs of change of pairs of images, in one layer, with one part hidden.

    Attributes:
        of_all: `(draws, pairs)`, share of all entries of the layer whose signs differ: the paper's distance.
        of_changed: `(draws, pairs)`, the same share among the entries that changed in at least one of the two images;
            NaN if none did.
        still: `(draws, pairs)`, share of entries that changed in neither image. `of_all` counts them as agreement;
            after a ReLU there are many.
    """

    of_all: np.ndarray
    of_changed: np.ndarray
    still: np.ndarray

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def mean(self) -> float:
        """Mean of `of_all` over draws and pairs."""
        return float(self.of_all.mean())

    @property
    def mean_of_changed(self) -> float:
        """Mean of `of_changed` over all draws and pairs for which it is known; NaN if there are none."""
        return float(nan_mean(self.of_changed.ravel()))

    @property
    def deviation(self) -> float:
        """Population standard deviation of `of_all` over draws and pairs."""
        return float(self.of_all.std())

    def chance(self, control: Distances, of: Literal["of_all", "of_changed"] = "of_all") -> float:
        """Compute the probability of a mean distance at most as large as this one for random rectangles.

        Args:
            control: `Distances` of many random draws.
            of: The distance that is compared, `"of_all"` or `"of_changed"`.

        Returns:
            The one-sided p-value of a Monte Carlo test, `(1 + n) / (1 + draws)`. Here `n` is the number of draws of the
            control whose mean over the pairs is at most the mean of this object. Draws whose mean is NaN are not
            counted. NaN if nothing changed.
        """
        own = nan_mean(getattr(self, of).ravel())
        draws = nan_mean(getattr(control, of), axis=1)
        draws = draws[~np.isnan(draws)]
        return float((1 + (draws <= own).sum()) / (1 + len(draws))) if np.isfinite(own) else np.nan


class Correspondence(NamedTuple):
    """Result of `correspondence`.

    Attributes:
        pairs: `(pairs, 2)` ints, the indices of the two images of each pair, i < j.
        thresholds: `{layer: float}`, the magnitude up to which a change counts as none.
        distances: `{layer: {part: Distances}}`.
    """

    pairs: np.ndarray
    thresholds: dict[str | int, float]
    distances: dict[str | int, dict[str, Distances]]

    def __repr__(self) -> str:
        return short_repr(self)


def correspondence(
    model: keras.Model,
    images: ArrayLike,
    masks: Mapping[str, ArrayLike],
    layers: str | int | Sequence[str | int],
    *,
    fill: ArrayLike | None = None,
    threshold: float = 1e-4,
    preprocess: Callable[[np.ndarray], ArrayLike] | None = None,
    batch_size: int = 64,
    input_shape: Sequence[int] | None = None,
) -> Correspondence:
    """Hide the same part in several images and compare how their features change.

    The change of a layer is `eps = f(image) - f(image with the part hidden)`. Two images correspond if the signs of
    their changes agree; a sign is -1, 0 or +1. The paper sums Hamming distances between `sign(eps_i)` and `sign(eps_j)`
    over pairs, but reports numbers near 0.07. Here the distance is the share of entries that disagree, and its mean is
    taken over pairs. Features that a ReLU sets to zero in both images agree; `of_changed` excludes them, so that a part
    does not appear consistent only because it changes little. The paper does not give the size and value of its masks.

    Args:
        model: A functional or Sequential `keras.Model`.
        images: `(n, height, width, channels)`, two or more, in pixel units if `preprocess` is given, else as the model
            expects.
        masks: `{part: rectangles}`, ints `(n, 4)`: top, left, bottom, right of the part in each image, bottom and right
            excluded; or `(draws, n, 4)` for several draws, as `random_masks` returns them.
        layers: One layer or a sequence of them: names, paths or indices.
        fill: Fill value of the hidden part, in the units of `images`: a number, one per channel, or a whole image. None
            for mean grey: 128 with `preprocess`, else the mean of each channel of these images.
        threshold: Changes up to this share of the layer's root mean square over the original images count as none.
            Rounding in float32 causes changes of about 1e-6 of it, which depend on the batch size; a change of a
            ten-thousandth of the usual size of a feature is negligible. On AlexNet any threshold from 0 to 1e-3 gives
            mean distances within 0.02 of one another; larger ones count fewer features as changed.
        preprocess: Preprocessing function, applied to each batch of images after the part is hidden.
        batch_size: Number of images computed at a time. Memory holds the signs of one draw, one byte per entry and
            image, and of more draws at once as long as they have no more than `batch_size` images together.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Returns:
        `Correspondence`, with layers and parts as they were given.

    Raises:
        ValueError: If there is only one image, or rectangles do not fit the images, or anything does not fit the model.
    """
    check_positive("batch_size", batch_size)
    if not isinstance(threshold, Real) or isinstance(threshold, bool) or not 0 <= threshold < np.inf:
        raise ValueError(f"threshold must be a share of the layer's scale, at least 0; received {threshold!r}.")
    pixels = array_of("images", images)
    if pixels.ndim != 4 or len(pixels) < 2:
        raise ValueError(
            f"images must be two or more, (n, height, width, channels), to be compared; received {pixels.shape}."
        )
    if preprocess is not None:
        pixels = pixels.astype(np.float32)  # so that `fill` need not be a whole number
    fill_value = fill_of(fill, pixels, in_pixels=preprocess is not None)
    rectangles = check_masks(masks, pixels.shape[1:], len(pixels))
    model_graph = graph.walk(model, input_shape)
    keys, steps = graph.find_all(model_graph, layers)
    changes = _SignedChanges(model_graph, steps, pixels, fill_value, threshold, preprocess, batch_size)
    distances: dict[str | int, dict[str, Distances]] = {layer: {} for layer in keys}
    draws_per_block = max(1, batch_size // len(pixels))
    for part, draws in rectangles.items():
        starts = range(0, len(draws), draws_per_block)
        blocks = [list(map(sign_distances, changes.signs(draws[first : first + draws_per_block]))) for first in starts]
        for layer, of_layer in zip(keys, zip(*blocks, strict=True), strict=True):
            distances[layer][part] = Distances(*map(np.concatenate, zip(*of_layer, strict=True)))
    pairs = np.stack(np.triu_indices(len(pixels), 1), axis=1)
    return Correspondence(pairs, dict(zip(keys, changes.thresholds, strict=True)), distances)


def sign_distances(signs: np.ndarray) -> Distances:
    """Compute the distances between sign vectors.

    Args:
        signs: int8 `(draws, n, entries)` of -1, 0 and 1.

    Returns:
        `Distances` of all pairs of the n vectors of each draw.
    """
    entries = signs.shape[-1]
    # Counts of entries in which both images have a sign are products of matrices; float32 counts exactly to 2**24.
    dtype = np.float32 if entries < 2**24 else np.float64
    equal = {}
    for sign in (-1, 0, 1):
        has_sign = (signs == sign).astype(dtype)
        equal[sign] = (has_sign @ has_sign.swapaxes(1, 2)).astype(np.float64)
    first, second = np.triu_indices(signs.shape[1], 1)
    still = equal[0][:, first, second]
    differ = entries - sum(equal.values())[:, first, second]
    of_changed = np.divide(differ, entries - still, out=np.full(differ.shape, np.nan), where=still < entries)
    return Distances(differ / entries, of_changed, still / entries)


class _SignedChanges:
    """Signs of the changes of layers when parts of the images are hidden.

    Attributes:
        thresholds: For each layer the magnitude up to which a change counts as none.
    """

    def __init__(self, model_graph, steps, images, fill, threshold, preprocess, batch_size):
        model_graph = graph.subgraph(model_graph, *steps)
        self._image, self._steps = model_graph.inputs[0], steps
        self._forward = recorder(model_graph, steps)
        self._images, self._fill, self._preprocess, self._batch_size = images, fill, preprocess, batch_size
        self._unoccluded = self._features(images)
        scales = [np.sqrt(np.mean(np.square(maps, dtype=np.float64))) for maps in self._unoccluded]
        self.thresholds = [float(threshold * scale) for scale in scales]

    def _features(self, images):
        """Features of each layer, `(n, entries)`."""
        batches = [images[first : first + self._batch_size] for first in range(0, len(images), self._batch_size)]
        outputs = [
            self._forward(prepare(batch, self._preprocess, self._image.shape, self._image.dtype))[0]
            for batch in batches
        ]
        features = [np.concatenate([maps.numpy() for maps in of_layer]) for of_layer in zip(*outputs, strict=True)]
        for maps, step in zip(features, self._steps, strict=True):
            check_finite(maps, step.name)
        return [maps.reshape(len(maps), -1) for maps in features]

    def signs(self, draws):
        """Signs of the changes when rectangles `(draws, n, 4)` are hidden: for each layer `(draws, n, entries)`."""
        rectangles, numbers = draws.reshape(-1, 4), np.tile(np.arange(len(self._images)), len(draws))
        signs = [np.empty((len(numbers), maps.shape[1]), np.int8) for maps in self._unoccluded]
        for first in range(0, len(numbers), self._batch_size):
            rows = slice(first, first + self._batch_size)
            hidden = self._features(hide(self._images[numbers[rows]], rectangles[rows], self._fill))
            for of_layer, before, after, small in zip(signs, self._unoccluded, hidden, self.thresholds, strict=True):
                change = before[numbers[rows]] - after
                of_layer[rows] = np.where(np.abs(change) > small, np.sign(change), 0)
        return [of_layer.reshape(*draws.shape[:2], -1) for of_layer in signs]
