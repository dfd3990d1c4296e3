"""Controls that separate the contribution of the unit to a projection from that of the switches.

Mahendran & Vedaldi (ECCV 2016) and Nie, Zhang & Patel (ICML 2018) question whether the projections of the deconvnet and
of guided backpropagation depend on the unit: the information about the image in the switches may determine most of
them. A projection is a function of a signal, which selects the unit, and of switches, the argmax positions of the max
poolings. Here each of the two is exchanged alone, then both, and the projections are compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.deconvnet.projection import Deconvnet
from deconv.deconvnet.recording import activations, pool_with_switches
from deconv.evaluation.cascading_randomization import Cascade, at, cascade, paint_gradients
from deconv.graph.compilation import compile_function
from deconv.graph.receptive_field import receptive_windows
from deconv.imaging.nan_mean import nan_mean_and_std
from deconv.imaging.rectangles import window_masks
from deconv.imaging.similarity import edges, magnitude, similarity
from deconv.runtime.short_repr import short_repr
from deconv.validation import (
    check_channels,
    check_finite,
    check_image_shape,
    check_images,
    check_positive,
    check_seed,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONTROLS = {
    "shuffled switches": "the same unit; every switch points at a random cell of its window",
    "another image's switches": "the same unit; the switches of the same channels in another image",
    "another channel": "another channel that is active at the same position, with the same switches",
    "another unit": "another active channel, where it is strongest, with the same switches",
    "both": "another channel at the same position, with another image's switches",
    "guided backprop": "the same unit by guided backpropagation",
    "gradient": "the gradient of the same unit",
    "edges": "where the image is steepest, against the magnitude of the picture",
}
"""{name: what is compared with the projection of a unit}."""


class Controls(NamedTuple):
    """Projections of the strongest unit of each image, and their similarity to the controls.

    Attributes:
        layer: Name of the layer.
        channels, positions: `(n,)` and `(n, 2)` ints, the units.
        others: `(n,)` ints, the channels of `"another channel"`; -1 where no other channel is active at the position.
        windows: `(n, 4)` ints, the receptive field of each unit: top, left, bottom, right.
        picture: `(n, height, width, channels of the image)`, the projections.
        pictures: `{control: (n, height, width, channels or 1)}`, see `CONTROLS`; NaN where there is none.
        likeness: `{control: {measure: (n,) float64}}`, see `deconv.imaging.similarity`: the similarity to the
            projection over the receptive field of the unit. For `"another unit"`, which has another receptive field, it
            is over the union of both; each projection is zero outside its own. Edges have no sign and are
            compared with the magnitude of the projection. NaN where a control does not exist.
        cascade: The `Cascade` of these units, or None.
    """

    layer: str
    channels: np.ndarray
    positions: np.ndarray
    others: np.ndarray
    windows: np.ndarray
    picture: np.ndarray
    pictures: dict[str, np.ndarray]
    likeness: dict[str, dict[str, np.ndarray]]
    cascade: Cascade | None

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, images: np.ndarray, title: str | None = None, **settings: Any) -> Figure:
        """Draw the projections beside those of the controls (`plotting.controls_sheet`, which takes `settings`).

        Args:
            images: The images of the experiment, `(n, height, width, 1 or 3)` in pixel units, 0 to 255.
            title: Title of the figure; None for the layer.

        Returns:
            The Matplotlib figure.
        """
        from deconv.plotting import controls_sheet

        return controls_sheet(images, self, f"Controls of {self.layer}" if title is None else title, **settings)

    def take(self, numbers):
        """The results of the images with these numbers, `(m,)` ints, in their order; without the cascade."""
        arrays = (self.channels, self.positions, self.others, self.windows, self.picture)
        likeness = {
            control: {measure: values[numbers] for measure, values in found.items()}
            for control, found in self.likeness.items()
        }
        pictures = {control: values[numbers] for control, values in self.pictures.items()}
        return Controls(self.layer, *(values[numbers] for values in arrays), pictures, likeness, None)

    def table(self, measure="pearson"):
        """`{control: (mean, standard deviation, number of images)}`; images without the control are ignored."""
        rows = {control: found[measure] for control, found in self.likeness.items()}
        return {name: (*map(float, nan_mean_and_std(row)), int((~np.isnan(row)).sum())) for name, row in rows.items()}

    def shares(self, measure="pearson"):
        """Compute how much the unit and the switches each add to the similarity while the other is exchanged.

        Let s be the similarity with neither kept. "unit" is the similarity with the same unit under another image's
        switches minus s; "switches" that of another channel under the same switches minus s; "both kept" is 1 minus s.
        If unit and switches acted independently, the first two would add up to the third.

        Returns:
            `{"unit", "switches", "both kept": (n,) float64}`.
        """
        one = {control: self.likeness[control][measure] for control in self.likeness}
        neither = one["both"]
        return {
            "unit": one["another image's switches"] - neither,
            "switches": one["another channel"] - neither,
            "both kept": 1 - neither,
        }


def controls(model, images, layer, channels=None, *, randomise=True, seed=0, batch_size=32, input_shape=None):
    """Exchange the unit and the switches of projections, and measure the similarity to the original projections.

    Each image gives one unit: the strongest of the layer, or of a channel, at the position that `Deconvnet.project`
    takes. The signal is one for every unit, active or not, so that projections differ by their shape only.

    | projection                 | unit    | switches            |
    |----------------------------|---------|---------------------|
    | the original               | its own | its own             |
    | `shuffled switches`        | its own | random              |
    | `another image's switches` | its own | of another image    |
    | `another channel`          | another | its own             |
    | `both`                     | another | of another image    |

    Random switches are those of noise, whose maximum is in each cell of a window with equal probability. Other images,
    channels and noise are drawn with the seed; the other image of each is the next one in a random cyclic order.

    Args:
        model: A functional or Sequential `keras.Model`. It is not changed.
        images: Float array `(n, height, width, channels)`, at least two, preprocessed as the model expects.
        layer: Name, path or index.
        channels: `(n,)` ints, a channel for each image, or one for all; None for that of the strongest unit.
        randomise: Whether to randomise weights too, which takes longest: see `cascade`.
        seed: Seed of every random choice.
        batch_size: Number of images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Returns:
        `Controls`.

    Raises:
        ValueError: If there is only one image, the layer has only one channel, or anything does not fit the model.
    """
    check_positive("batch_size", batch_size)
    random = np.random.default_rng(check_seed(seed))
    net = Deconvnet(model, input_shape=input_shape)
    step = graph.find(net.graph, layer)
    model_graph = graph.subgraph(net.graph, step)
    check_image_shape("controls", model_graph)
    images = check_images(images, model_graph.inputs[0].shape, model_graph.inputs[0].dtype)
    if len(images) < 2:
        raise ValueError("controls exchange the switches of images, so two at least are needed; received one.")
    depth = step.output.shape[-1]
    if depth < 2:
        raise ValueError(f"Layer '{step.name}' has one channel, and the controls need another one to compare with it.")
    if channels is not None:
        channels = np.broadcast_to(check_channels(channels, depth, step.name), len(images))
    net.mirror(step.name)  # raise an error for a layer without a rule before any work
    maps = activations(model, images, step.name, batch_size=batch_size, input_shape=input_shape)[step.name]
    channels, positions, others, (rivals, elsewhere) = _units(check_finite(maps, step.name), channels, random)

    dtype = step.output.dtype
    own, other, rival = (
        at(step.output.shape, some, places).astype(dtype)
        for some, places in ((channels, positions), (others, positions), (rivals, elsewhere))
    )
    jobs = {
        "picture": (own, "own"),
        "shuffled switches": (own, "noise"),
        "another image's switches": (own, "another"),
        "another channel": (other, "own"),
        "another unit": (rival, "own"),
        "both": (other, "another"),
    }
    pools = [graph.find(net.graph, name) for name in net.record(images[:1], step.name).switches]
    pictures = _Exchange(net, step, pools, images, random, seed, batch_size).pictures(jobs)
    picture = pictures.pop("picture")
    for control, lacking in (("another channel", others < 0), ("both", others < 0), ("another unit", rivals < 0)):
        pictures[control][lacking] = np.nan
    for name, rule in (("guided backprop", "guided"), ("gradient", "gradient")):
        pictures[name] = paint_gradients(model_graph, images, own, rule, batch_size)()
    pictures["edges"] = edges(images)

    windows, theirs = (
        receptive_windows(model, step.name, places, input_shape=input_shape) for places in (positions, elsewhere)
    )
    inside = window_masks(windows, images.shape[1:3])
    either = inside | window_masks(theirs, images.shape[1:3])
    likeness = {}
    for control, compared in pictures.items():
        shown = magnitude(picture) if control == "edges" else picture
        likeness[control] = similarity(shown, compared, either if control == "another unit" else inside)
    fallen = None
    if randomise:
        settings = {"seed": seed, "batch_size": batch_size, "input_shape": input_shape}
        fallen = cascade(model, images, step.name, channels, positions, **settings)
    return Controls(step.name, channels, positions, others, windows, picture, pictures, likeness, fallen)


def noise_switches(pools, numbers, seed):
    """Compute the switches of noise: a random cell of every window, with the padding and overlap of the pooling.

    Args:
        pools: Steps of max poolings.
        numbers: Ints, the numbers of the images; the noise of an image does not depend on the batch.
        seed: Seed of the noise.

    Returns:
        A list of int32 arrays, shaped like the outputs of the pools.
    """
    streams = [np.random.default_rng([seed, number]) for number in numbers.tolist()]
    found = []
    for pool in pools:
        noise = np.stack([stream.random(pool.inputs[0].shape, np.float32) for stream in streams])
        found.append(pool_with_switches(pool, tf.constant(noise))[1].numpy())
    return found


def _units(maps, channels, random):
    """Choose the unit of each image, and two others to compare it with.

    Returns:
        `(channels, positions, others, (channels, positions))`: the units; another active channel at the same position,
        -1 where there is none; another active channel, -1 where there is none, and the position of its maximum.
    """
    maps = maps.reshape(len(maps), *(1,) * (4 - maps.ndim), *maps.shape[1:])
    count, _, columns, depth = maps.shape
    flat = maps.reshape(count, -1, depth)
    peaks, places = flat.max(axis=1), flat.argmax(axis=1)
    numbers = np.arange(count)
    channels = peaks.argmax(axis=1) if channels is None else channels
    place = places[numbers, channels]
    not_own = np.arange(depth) != channels[:, None]

    def drawn(values):
        keys = np.where((values > 0) & not_own, random.random((count, depth)), -1)
        return np.where(keys.max(axis=1) >= 0, keys.argmax(axis=1), -1)

    others, rivals = drawn(flat[numbers, place]), drawn(peaks)

    def position(places):
        return np.stack(np.divmod(places, columns), axis=1)

    return channels, position(place), others, (rivals, position(places[numbers, rivals]))


class _Exchange:
    """The mirror of a layer, run on signals and switches of different origin."""

    def __init__(self, net, step, pools, images, random, seed, batch_size):
        self.net, self.step, self.pools, self.images, self.seed = net, step, pools, images, seed
        self.batch_size = batch_size
        circle = random.permutation(len(images))
        self.another = np.empty_like(circle)
        self.another[circle] = np.roll(circle, -1)
        mirror = net.mirror(step.name)
        signal, *switches = (tf.TensorSpec(entry.shape, entry.dtype) for entry in mirror.inputs)
        self._down = compile_function(lambda signal, switches: mirror([signal, *switches]), signal, switches)

    def pictures(self, jobs):
        """`{name: projections}` of `{name: (signals, origin of the switches)}`: `"own"`, `"another"` or `"noise"`."""
        whole = {name: [] for name in jobs}
        for first in range(0, len(self.images), self.batch_size):
            numbers = np.arange(first, min(first + self.batch_size, len(self.images)))
            switches = {
                "own": self._recorded(numbers),
                "another": self._recorded(self.another[numbers]),
                "noise": noise_switches(self.pools, numbers, self.seed),
            }
            for name, (signals, whose) in jobs.items():
                whole[name].append(self._down(tf.constant(signals[numbers]), switches[whose]).numpy())
        return {name: np.concatenate(parts) for name, parts in whole.items()}

    def _recorded(self, numbers):
        return list(self.net.record(self.images[numbers], self.step.name).switches.values())
