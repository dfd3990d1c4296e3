"""Controls that separate the contribution of the unit to a projection from that of the switches.

Mahendran & Vedaldi (ECCV 2016) and Nie, Zhang & Patel (ICML 2018) question whether the projections of the deconvnet and
of guided backpropagation depend on the unit: the information about the image in the switches may determine most of
them. A projection is a function of a signal, which selects the unit, and of switches, the argmax positions of the max
poolings. Here each of the two is exchanged alone, then both, and the projections are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike

from deconv import graph
from deconv.deconvnet.projection import Deconvnet
from deconv.deconvnet.recording import activations
from deconv.evaluation.cascading_randomization import Cascade, cascade, gradient_function, unit_signals
from deconv.evaluation.control_units import choose_units
from deconv.evaluation.switch_exchange import SwitchExchange
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
    "edges": "the edge strength of the image, compared with the magnitude of the projection",
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

    def take(self, numbers: np.ndarray | slice) -> Controls:
        """The results of the images with these numbers, `(m,)` ints, in their order; without the cascade."""
        likeness = {
            control: {measure: values[numbers] for measure, values in by_measure.items()}
            for control, by_measure in self.likeness.items()
        }
        pictures = {control: values[numbers] for control, values in self.pictures.items()}
        return Controls(
            layer=self.layer,
            channels=self.channels[numbers],
            positions=self.positions[numbers],
            others=self.others[numbers],
            windows=self.windows[numbers],
            picture=self.picture[numbers],
            pictures=pictures,
            likeness=likeness,
            cascade=None,
        )

    def table(self, measure: str = "pearson") -> dict[str, tuple[float, float, int]]:
        """`{control: (mean, standard deviation, number of images)}`; images without the control are ignored."""
        rows = {control: by_measure[measure] for control, by_measure in self.likeness.items()}
        statistics = {control: nan_mean_and_std(row) for control, row in rows.items()}
        return {
            control: (float(mean), float(deviation), int((~np.isnan(rows[control])).sum()))
            for control, (mean, deviation) in statistics.items()
        }

    def shares(self, measure: str = "pearson") -> dict[str, np.ndarray]:
        """Compute how much the unit and the switches each add to the similarity while the other is exchanged.

        Let s be the similarity with neither kept. "unit" is the similarity with the same unit under another image's
        switches minus s; "switches" that of another channel under the same switches minus s; "both kept" is 1 minus s.
        If unit and switches acted independently, the first two would add up to the third.

        Returns:
            `{"unit", "switches", "both kept": (n,) float64}`.
        """
        similarities = {control: self.likeness[control][measure] for control in self.likeness}
        neither = similarities["both"]
        return {
            "unit": similarities["another image's switches"] - neither,
            "switches": similarities["another channel"] - neither,
            "both kept": 1 - neither,
        }


def controls(
    model: keras.Model,
    images: ArrayLike,
    layer: str | int,
    channels: ArrayLike | None = None,
    *,
    randomise: bool = True,
    seed: int = 0,
    batch_size: int = 32,
    input_shape: Sequence[int] | None = None,
) -> Controls:
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
        raise ValueError("controls requires at least 2 images, because it exchanges their switches; received 1.")
    depth = step.output.shape[-1]
    if depth < 2:
        raise ValueError(
            f"Layer '{step.name}' has 1 channel; controls requires at least 2, to compare one with another."
        )
    own_channels = None
    if channels is not None:
        own_channels = np.broadcast_to(check_channels(channels, depth, step.name), len(images))
    net.mirror(step.name)  # raise an error for a layer without a rule before any work
    maps = activations(model, images, step.name, batch_size=batch_size, input_shape=input_shape)[step.name]
    units = choose_units(check_finite(maps, step.name), own_channels, random)
    exchange = SwitchExchange(net, step, images, random, seed, batch_size)
    pictures = _projections(exchange, model_graph, images, units, batch_size)
    picture = pictures.pop("picture")
    windows, other_windows = (
        receptive_windows(model, step.name, positions, input_shape=input_shape)
        for positions in (units.positions, units.other_positions)
    )
    settings: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "input_shape": input_shape}
    own = units.channels, units.positions
    cascaded = cascade(model, images, step.name, *own, **settings) if randomise else None
    return Controls(
        layer=step.name,
        channels=units.channels,
        positions=units.positions,
        others=units.others,
        windows=windows,
        picture=picture,
        pictures=pictures,
        likeness=_similarities(picture, pictures, windows, other_windows),
        cascade=cascaded,
    )


def _projections(exchange, model_graph, images, units, batch_size):
    """The projections of the units as `"picture"`, and those of the controls; NaN where a control does not exist."""
    step = model_graph.steps[-1]
    own, other, other_unit = (
        unit_signals(step.output.shape, channels, positions).astype(step.output.dtype)
        for channels, positions in (
            (units.channels, units.positions),
            (units.others, units.positions),
            (units.other_channels, units.other_positions),
        )
    )
    pictures = exchange.pictures(
        {
            "picture": (own, "own"),
            "shuffled switches": (own, "noise"),
            "another image's switches": (own, "another"),
            "another channel": (other, "own"),
            "another unit": (other_unit, "own"),
            "both": (other, "another"),
        }
    )
    for control in ("another channel", "both"):
        pictures[control][units.others < 0] = np.nan
    pictures["another unit"][units.other_channels < 0] = np.nan
    for control, rule in (("guided backprop", "guided"), ("gradient", "gradient")):
        pictures[control] = gradient_function(model_graph, images, own, rule, batch_size)()
    pictures["edges"] = edges(images)
    return pictures


def _similarities(picture, pictures, windows, other_windows):
    """`{control: {measure: (n,)}}`, the similarity of each control to the projection, see `Controls`."""
    inside = window_masks(windows, picture.shape[1:3])
    union = inside | window_masks(other_windows, picture.shape[1:3])
    similarities = {}
    for control, compared in pictures.items():
        original = magnitude(picture) if control == "edges" else picture
        similarities[control] = similarity(original, compared, union if control == "another unit" else inside)
    return similarities
