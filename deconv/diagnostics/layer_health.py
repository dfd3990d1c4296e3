"""Health of layers: dead channels, dominant or duplicate filters, co-adaptation, and the gap to unseen images.

Zeiler & Fergus inspect the first filters and projections of the second layer to diagnose a network (arXiv:1311.2901,
section 4.1, Fig. 6), and clip the RMS of filters so that none dominates (section 3). Here this is measured for every
layer. Where the paper gives no measure, our own is defined in the docstring of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tqdm import tqdm

from deconv import graph
from deconv.datasets.batches import as_batches, prefetch
from deconv.diagnostics.activation_statistics import Activity, Tally
from deconv.diagnostics.filter_statistics import Filters, examine_filters
from deconv.graph.compilation import compile_function
from deconv.graph.keras_model import KERNELS
from deconv.graph.receptive_field import plane
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_finite, check_positive, prepare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RECTIFIERS = (keras.layers.ReLU, keras.layers.Activation)


class Gap(NamedTuple):
    """Standardised differences of a layer's activations between training images and unseen images.

    Attributes:
        mean: float64 `(channels,)`, difference of the mean activations, training minus unseen, in units of the standard
            deviation over images (the root of the mean of both variances). Infinite if neither varies and they differ.
        active: float64 `(channels,)`, the same for the share of images in which the channel is active.
        size: The mean of the magnitudes of `mean`.
        chance: The approximate value of `size` for two samples of the same distribution: `0.8 * sqrt(1/n + 1/m)`.
    """

    mean: np.ndarray
    active: np.ndarray
    size: float
    chance: float

    def __repr__(self) -> str:
        return short_repr(self)


class LayerHealth(NamedTuple):
    """Health of a layer.

    Attributes:
        activity: `Activity` over the data set.
        dead: bool `(channels,)`, whether the channel was never above zero.
        rare: bool `(channels,)`, whether it was above zero in at least one image, but in a smaller share of them than
            the argument `rare` of `health`.
        filters: `Filters`; None for a layer without.
        unseen: `Activity` over the unseen images, or None.
        gap: `Gap` between the two, or None.
    """

    activity: Activity
    dead: np.ndarray
    rare: np.ndarray
    filters: Filters | None
    unseen: Activity | None
    gap: Gap | None

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, layer: str = "layer", title: str = "Health of a layer") -> Figure:
        """Draw activation statistics, dead channels and filters of the layer (`plotting.health_sheet`)."""
        from deconv.plotting import health_sheet

        return health_sheet({layer: self}, title)


def health(
    model: keras.Model,
    dataset: Any,
    layers: str | int | Sequence[str | int] | None = None,
    *,
    unseen: Any = None,
    preprocess: Callable[[np.ndarray], ArrayLike] | None = None,
    batch_size: int = 64,
    input_shape: Sequence[int] | None = None,
    rare: float = 0.01,
    alike: float = 0.95,
    progress: bool = False,
) -> dict[str | int, LayerHealth]:
    """Measure the health of layers, in one pass over each data set.

    Memory holds a few batches and, for each layer, the covariance of its channels, independently of the size of the
    data.

    Args:
        model: A functional or Sequential `keras.Model`.
        dataset: Images, preferably all training images; any data set that `deconv.top_activations` takes.
        layers: One layer or a sequence of them: names, paths or indices. None for all layers with a kernel that
            `deconv.graph.keras_model.KERNELS` lists (convolutions, dense layers), and separate rectification layers. A
            channel is dead if the output of *this* layer is never above zero. Where the rectification is a layer of its
            own, dead channels are those of the rectification.
        unseen: A second data set, not used for training, for the gap; or None.
        preprocess: Preprocessing function, applied to each batch of images, in a separate thread.
        batch_size: Number of images computed at a time, if the data set is not batched already.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        rare: Share of the images below which a channel counts as rarely active, from 0 to 1.
        alike: Magnitude of the cosine from which two filters are duplicates, from 0 to 1.
        progress: Whether to show a progress bar.

    Returns:
        `{layer: LayerHealth}`. The keys are the layers as given, or their names for `layers=None`.

    Raises:
        ValueError: If a data set is empty, its images do not fit the model, a layer does not exist, a share is not
            between 0 and 1, or an output is NaN or infinite.
    """
    check_positive("batch_size", batch_size)
    _check_share("rare", rare)
    _check_share("alike", alike)
    if dataset is None:
        raise ValueError("health needs a data set; received None.")
    model_graph = graph.walk(model, input_shape)
    if layers is None:
        layers = [step.name for step in model_graph.steps if isinstance(step.layer, (*KERNELS, *_RECTIFIERS))]
        if not layers:
            raise ValueError(
                f"Model '{model.name}' has neither filters nor rectifications; name the layers to examine."
            )
    keys, steps = graph.find_all(model_graph, layers)
    model_graph = graph.subgraph(model_graph, *steps)
    image, statistics = model_graph.inputs[0], _statistics(model_graph, steps)
    activities: list[list[Activity] | list[None]] = [
        [None] * len(steps)
        if images is None
        else _activities(statistics, steps, image, images, preprocess, batch_size, progress)
        for images in (dataset, unseen)
    ]
    result = {}
    for layer, step, activity, of_unseen in zip(keys, steps, *activities, strict=True):
        result[layer] = LayerHealth(
            activity=activity,
            dead=activity.active == 0,
            rare=(activity.active > 0) & (activity.active < rare),
            filters=examine_filters(step.layer, alike),
            unseen=of_unseen,
            gap=None if of_unseen is None else compare(activity, of_unseen),
        )
    return result


def compare(seen: Activity, unseen: Activity) -> Gap:
    """Compute the gap between the activities of one layer on training images and on unseen images."""
    mean = _standardised(seen.mean - unseen.mean, np.square(seen.deviation), np.square(unseen.deviation))
    variances = (activity.active * (1 - activity.active) for activity in (seen, unseen))
    active = _standardised(seen.active - unseen.active, *variances)
    chance = np.sqrt(2 / np.pi * (1 / seen.images + 1 / unseen.images))
    return Gap(mean, active, float(np.abs(mean).mean()), float(chance))


def _statistics(model_graph, steps):
    """Compile the statistics of each step per image and channel: mean, share above zero, mean of squares."""

    def statistics(images):
        values = graph.run(model_graph, images)
        results = []
        for step in steps:
            maps = tf.reshape(values[step.output], [-1, np.prod(plane(step.output.shape)), step.output.shape[-1]])
            maps = tf.cast(maps, "float64" if maps.dtype == tf.float64 else "float32")
            above = tf.cast(maps > 0, maps.dtype)
            results.append([tf.reduce_mean(cells, axis=1) for cells in (maps, above, tf.square(maps))])
        return results

    image = model_graph.inputs[0]
    return compile_function(statistics, tf.TensorSpec((None, *image.shape), image.dtype))


def _activities(statistics, steps, image, dataset, preprocess, batch_size, progress):
    """The `Activity` of each step over a data set."""
    tallies = [Tally(step.output.shape[-1]) for step in steps]

    def prepared():
        with closing(as_batches(dataset).batches(batch_size)) as batches:
            for batch in batches:
                yield prepare(batch.images, preprocess, image.shape, image.dtype)

    with tqdm(unit=" images", disable=not progress) as bar, closing(prefetch(prepared())) as batches:
        for images in batches:
            for step, tally, of_step in zip(steps, tallies, statistics(images), strict=True):
                means, covered, squares = (values.numpy() for values in of_step)
                check_finite(squares, step.name)
                tally.add(means, covered, squares)
            bar.update(len(images))
    if not tallies[0].images:
        raise ValueError("health needs a data set of at least one image; received none.")
    return [tally.activity() for tally in tallies]


def _standardised(difference, *variances):
    scale = np.sqrt(np.mean(variances, axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(difference == 0, 0.0, difference / scale)


def _check_share(name, share):
    if isinstance(share, bool) or not isinstance(share, int | float | np.number) or not 0 <= share <= 1:
        raise ValueError(f"{name} must be a share between 0 and 1; received {share!r}.")
