"""Is a network well trained? Dead channels, filters that dominate or repeat, co-adaptation, a gap to unseen images.

Zeiler & Fergus look at the first filters and at projections of the second layer to find what is wrong with a network
(arXiv:1311.2901, section 4.1, Fig. 6), and clip the RMS of filters so that none dominates (section 3). Here the same is
counted, for every layer; where the paper gives no measure, ours is defined where it is computed.
"""

from contextlib import closing
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
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

_RECTIFIERS = (keras.layers.ReLU, keras.layers.Activation)


class Gap(NamedTuple):
    """How differently a layer answers to the images of training and to unseen ones.

    Attributes:
        mean: float64 `(channels,)`, difference of the mean activations, seen less unseen, in units of their standard
            deviation over images (the root of the mean of both variances). Infinite if neither varies and they differ.
        active: float64 `(channels,)`, the same for whether the channel is active in an image.
        size: The mean of the magnitudes of `mean`.
        chance: What `size` would be about if both were drawn from the same images: `0.8 * sqrt(1/n + 1/m)`.
    """

    mean: np.ndarray
    active: np.ndarray
    size: float
    chance: float

    __repr__ = short_repr


class LayerHealth(NamedTuple):
    """What is known of a layer.

    Attributes:
        activity: Its `Activity` over the data set.
        dead: bool `(channels,)`, which were never above zero.
        rare: bool `(channels,)`, which were in some images, but in a smaller share than asked for.
        filters: Its `Filters`; None for a layer that has none.
        unseen: `Activity` over the unseen images, or None.
        gap: `Gap` between the two, or None.
    """

    activity: Activity
    dead: np.ndarray
    rare: np.ndarray
    filters: Filters | None
    unseen: Activity | None
    gap: Gap | None

    __repr__ = short_repr


def health(
    model,
    dataset,
    layers=None,
    *,
    unseen=None,
    preprocess=None,
    batch_size=64,
    input_shape=None,
    rare=0.01,
    alike=0.95,
    progress=False,
):
    """Examine the layers of a network, in one pass over each data set.

    Memory holds a few batches and, for each layer, the covariance of its channels, whatever the size of the data.

    Args:
        model: A functional or Sequential `keras.Model`.
        dataset: Images, best of all those of training; whatever `deconv.top_activations` takes.
        layers: One layer or a sequence of them: names, paths or indices. None for all layers with a kernel that
            `deconv.graph.keras_model.KERNELS` lists (convolutions, dense layers), and rectifications of their own. A
            channel is dead if the output of *this* layer is never above zero: where a rectification follows as a layer,
            that is the one to ask.
        unseen: A second data set, not trained on, for the gap; or None.
        preprocess: Function applied to each batch of images before the model sees it, in a thread of its own.
        batch_size: How many images are computed at a time, if the data set is not in batches already.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.
        rare: Active in a smaller share of the images than this is rarely active.
        alike: From which magnitude of the cosine on two filters are duplicates.
        progress: Whether to show a progress bar.

    Returns:
        `{layer: LayerHealth}`, with the layers as they were given, or their names.

    Raises:
        ValueError: If a data set is empty, its images do not fit the model, a layer does not exist, a share is not
            between 0 and 1, or the network puts out NaN or infinity.
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
    layers, steps = graph.find_all(model_graph, layers)
    below = graph.subgraph(model_graph, *steps)
    watch = _watcher(below, steps)
    seen, unseen = (
        None if some is None else _activities(watch, steps, below.inputs[0], some, preprocess, batch_size, progress)
        for some in (dataset, unseen)
    )
    found = {}
    for place, (layer, step) in enumerate(zip(layers, steps, strict=True)):
        activity, other = seen[place], unseen and unseen[place]
        found[layer] = LayerHealth(
            activity,
            activity.active == 0,
            (activity.active > 0) & (activity.active < rare),
            examine_filters(step.layer, alike),
            other,
            other and compare(activity, other),
        )
    return found


def compare(seen, unseen):
    """The `Gap` between two `Activity`s of one layer."""
    spreads = [seen.deviation, unseen.deviation]
    mean = _standardised(seen.mean - unseen.mean, *map(np.square, spreads))
    active = _standardised(seen.active - unseen.active, *(some.active * (1 - some.active) for some in (seen, unseen)))
    chance = np.sqrt(2 / np.pi * (1 / seen.images + 1 / unseen.images))
    return Gap(mean, active, float(np.abs(mean).mean()), float(chance))


def _watcher(model_graph, steps):
    """Compile the network: for each step, of each image and channel the mean, the share above zero, the mean square."""

    def watch(images):
        values = graph.run(model_graph, images)
        found = []
        for step in steps:
            maps = tf.reshape(values[step.output], [-1, np.prod(plane(step.output.shape)), step.output.shape[-1]])
            maps = tf.cast(maps, "float64" if maps.dtype == tf.float64 else "float32")
            above = tf.cast(maps > 0, maps.dtype)
            found.append([tf.reduce_mean(some, axis=1) for some in (maps, above, tf.square(maps))])
        return found

    image = model_graph.inputs[0]
    return compile_function(watch, tf.TensorSpec((None, *image.shape), image.dtype))


def _activities(watch, steps, image, dataset, preprocess, batch_size, progress):
    """The `Activity` of each step over a data set."""
    tallies = [Tally(step.output.shape[-1]) for step in steps]

    def prepared():
        with closing(as_batches(dataset).batches(batch_size)) as batches:
            for batch in batches:
                yield prepare(batch.images, preprocess, image.shape, image.dtype)

    with tqdm(unit=" images", disable=not progress) as bar, closing(prefetch(prepared())) as batches:
        for images in batches:
            for step, tally, found in zip(steps, tallies, watch(images), strict=True):
                means, covered, squares = (some.numpy() for some in found)
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
