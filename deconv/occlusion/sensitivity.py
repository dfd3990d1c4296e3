"""Occlusion sensitivity: class scores and activations under an occluding patch (section 4.2, Fig. 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Literal, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from deconv.graph.model_output import no_classes
from deconv.imaging.fills import fill_of
from deconv.imaging.rectangles import cover
from deconv.occlusion.occluded_images import ForwardPlan, OccludedImages, compiled
from deconv.occlusion.sampled_error import largest_error
from deconv.occlusion.sliding_window import Squares, square_of, starts
from deconv.runtime.dtypes import array_of
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_channel, check_positive, check_target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PROGRESS_DELAY = 2
"""With `progress=None` a progress bar appears if the positions take longer than this number of seconds."""


class OcclusionMaps(NamedTuple):
    """Class scores and activations at each position of the occluding patch, in a grid of positions.

    Attributes:
        probability: `(rows, columns)`, the model's output for the target class (Fig. 7d); None for a model without
            class outputs, such as a network cut below its classifier.
        predicted: `(rows, columns)` int64, the most probable class, the argmax of the outputs (Fig. 7e); None likewise.
        activation: `(rows, columns)`, the sum over the watched map of the layer (Fig. 7b); None without a layer.
        tops, lefts: `(rows,)` and `(columns,)` ints, first row and first column of the patch at each position, in
            pixels.
        size: `(height, width)` of the patch in pixels.
        target: The class whose probability is given; None for a model without class outputs.
        channel: The channel whose activation is given; None without a layer.
        unoccluded: `(probability, predicted, activation)` of the unoccluded image, each None where it is not given.
        error: With `growth`, an estimate of the largest error of `probability` that it causes; else None. It is
            measured at up to 64 positions: 32 drawn at random over the grid, and the neighbours of the worst. The
            random ones make it at least the 0.9 quantile of the errors of all positions with a probability of 97 %
            over the draw. It is no upper bound. The draw has a fixed seed and does not depend on `batch_size`. The
            error is exact for a grid of up to 64 positions.
        activation_error: The same for `activation`, at the same positions; None without a layer.
    """

    probability: np.ndarray | None
    predicted: np.ndarray | None
    activation: np.ndarray | None
    tops: np.ndarray
    lefts: np.ndarray
    size: tuple[int, int]
    target: int | None
    channel: int | None
    unoccluded: tuple[float | None, int | None, float | None]
    error: float | None = None
    activation_error: float | None = None

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(
        self,
        image: np.ndarray,
        class_names: Sequence[str] | None = None,
        *,
        projection: np.ndarray | None = None,
        title: str = "Occlusion sensitivity",
        score: str = "probability",
    ) -> Figure:
        """Draw the image and the maps (`plotting.occlusion_sheet`).

        Args:
            image: `(height, width, 1 or 3)` in pixel units, 0 to 255.
            class_names: Name of each class; None for the class numbers.
            projection: Projection of the strongest map, signed, `(height, width, 1 or 3)`; None to omit it.
            title: Title of the figure.
            score: Kind of model output: `"probability"`, or another text for the label.

        Returns:
            The Matplotlib figure.
        """
        from deconv.plotting import occlusion_sheet, pixels, signed

        shown = None if projection is None else signed(projection[None])
        if self.predicted is None or self.target is None:
            return occlusion_sheet(pixels(image)[None], [self], shown, ["image"], (), title)
        if class_names is None:
            class_names = [str(number) for number in range(max(self.predicted.max(), self.target) + 1)]
        name = class_names[self.target]
        return occlusion_sheet(pixels(image)[None], [self], shown, [name], class_names, title, score=score)


class _Scores(NamedTuple):
    """Results at all positions of the patch, `(positions,)` each; see `OcclusionMaps`.

    For a model without class outputs, `probability` and `predicted` are not defined.
    """

    probability: np.ndarray
    predicted: np.ndarray
    activation: np.ndarray


def occlusion_maps(
    model: keras.Model,
    image: ArrayLike,
    target: int | None = None,
    layer: str | int | None = None,
    size: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    fill: ArrayLike | None = None,
    *,
    channel: int | None = None,
    preprocess: Callable[[np.ndarray], ArrayLike] | None = None,
    batch_size: int = 64,
    input_shape: Sequence[int] | None = None,
    exact: Literal[True, "full"] = True,
    growth: float | None = None,
    progress: bool | None = None,
) -> OcclusionMaps:
    """Compute the occlusion sensitivity of one image.

    An occluding patch is moved over the image by `stride`. Where the last position does not end at the border, one more
    position does, so that every pixel is covered. At most `batch_size` occluded images exist at a time.

    Only the rectangle of each map that the patch changes is recomputed, wherever that is less work than a full forward
    pass; the results are the same up to rounding. Networks of more than a hundred layers run full passes, because such
    a pass takes a minute to compile for them. The compiled functions are cached as long as the model exists. They
    remain valid when the model is trained, and are compiled anew when its graph changes.

    Args:
        model: A functional or Sequential `keras.Model` whose output is `(n, classes)`. With any other output, as of a
            network cut below its classifier, only the activations of `layer` are given.
        image: `(height, width, channels)`, in pixel units if `preprocess` is given, else as the model expects.
        target: Class index; None for the most probable class of the unoccluded image.
        layer: Name, path or index of the layer whose map is watched; None for none. Required without class outputs.
        size: Side of the patch in pixels, or `(height, width)`; None for a quarter of the shorter side of the image.
        stride: Step in pixels, or `(down, right)`, at most `size`; None for about a twentieth of the shorter side of
            the image (`deconv.occlusion.sliding_window.default_square`).
        fill: Fill value of the patch, in the units of `image`: a number, one per channel, or a whole image such as the
            mean image. None for mean grey: 128 with `preprocess`, where images are in pixel units; without it, where
            their range is unknown, the mean of each channel of this image.
        channel: The channel of `layer` to watch; None for the one with the strongest unit in the unoccluded image.
        preprocess: Preprocessing function, applied to each batch of occluded images. Only if it treats every pixel
            independently, which is checked at a few positions, is incremental inference used.
        batch_size: Number of occluded images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        exact: `"full"` computes a full forward pass for every occluded image, for comparison.
        growth: None, or a share above 0 and at most 1 of the rows and columns of every map, to which the recomputed
            rectangle is limited. This is a faster approximation. The result contains an estimate of its error, for
            which up to 64 positions are computed in full.
        progress: Whether to show a progress bar; None for one if the standard error is a terminal and the positions
            take longer than two seconds.

    Returns:
        `OcclusionMaps`.

    Raises:
        ValueError: If the patch is larger than the image, the stride skips pixels, or anything does not fit the model,
            such as a target for a model without class outputs.
    """
    _check_options(batch_size, exact, growth)
    pixels = array_of("image", image)
    if pixels.ndim != 3:
        raise ValueError(f"image must have shape (height, width, channels); received {pixels.shape}.")
    if preprocess is not None:
        pixels = pixels.astype(np.float32)  # so that `fill` need not be a whole number
    grid, corners = _positions(pixels.shape, *square_of(pixels.shape, size, stride))
    fill_value = fill_of(fill, pixels, in_pixels=preprocess is not None)
    network = compiled(model, layer, input_shape)
    occluded = OccludedImages(network, pixels, fill_value, preprocess, grid.size)

    outputs, sums, peaks = network.forward(occluded.prepared)
    best, followed = _target(network, outputs, target)
    watched = None if layer is None else _watched_channel(peaks[0], sums[0], channel, layer)
    plan = occluded.plan(corners, watched or 0, exact, growth)
    empty = _Scores(*(np.empty(len(corners), dtype) for dtype in (outputs.dtype, np.int64, sums.dtype)))
    scores = _scores(plan, followed, empty, batch_size, progress)
    error = activation_error = None if growth is None else 0.0
    if plan.is_approximate:
        error, activation_error = _errors(occluded, corners, watched or 0, followed, scores, grid, batch_size)
    shape = len(grid.tops), len(grid.lefts)
    return OcclusionMaps(
        probability=None if followed is None else scores.probability.reshape(shape),
        predicted=None if followed is None else scores.predicted.reshape(shape),
        activation=None if watched is None else scores.activation.reshape(shape),
        tops=grid.tops,
        lefts=grid.lefts,
        size=grid.size,
        target=followed,
        channel=watched,
        unoccluded=(
            None if followed is None else float(outputs[0, followed]),
            best,
            None if watched is None else float(sums[0, watched]),
        ),
        error=None if followed is None else error,
        activation_error=None if watched is None else activation_error,
    )


def occlusion_scores(
    score: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    size: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    *,
    fill: np.ndarray,
    batch_size: int = 64,
) -> tuple[np.ndarray, Squares]:
    """Compute any score of an image under the occluding patch at each position. Internal, no public interface.

    Args:
        score: Function from occluded images `(n, height, width, channels)`, in the units of `image`, to `(n,)`.
        image: `(height, width, channels)`.
        size, stride: As for `occlusion_maps`.
        fill: Fill value of the patch, as `deconv.imaging.fills.fill_of` returns it.
        batch_size: Number of occluded images computed at a time.

    Returns:
        Scores `(rows, columns)`, and the grid of positions, as `pixel_map` takes both.

    Raises:
        ValueError: If the patch is larger than the image, or the stride skips pixels.
    """
    grid, corners = _positions(image.shape, *square_of(image.shape, size, stride))
    batches = (corners[first : first + batch_size] for first in range(0, len(corners), batch_size))
    scores = [score(cover(image, batch[:, 0], batch[:, 1], grid.size, fill)) for batch in batches]
    return np.concatenate(scores).reshape(len(grid.tops), len(grid.lefts)), grid


def _check_options(batch_size, exact, growth):
    check_positive("batch_size", batch_size)
    if exact is not True and exact != "full":
        raise ValueError(f"exact must be True or 'full', which recomputes everything; received {exact!r}.")
    if growth is not None and not (isinstance(growth, Real) and not isinstance(growth, bool) and 0 < growth <= 1):
        raise ValueError(f"growth must be a share above 0 and at most 1, or None; received {growth!r}.")
    if growth is not None and exact == "full":
        raise ValueError(f"exact='full' recomputes everything, growth={growth} only a part; choose one of them.")


def _positions(image_shape, size, stride):
    """All positions of the patch, row by row: the grid, and ints `(positions, 2)`, first row and column of each."""
    tops, lefts = (starts(*axis) for axis in zip(image_shape[:2], size, stride, ("rows", "columns"), strict=True))
    row, column = np.divmod(np.arange(len(tops) * len(lefts)), len(lefts))
    return Squares(tops, lefts, size), np.stack([tops[row], lefts[column]], axis=1)


def _target(network, outputs, target):
    """The most probable class of the unoccluded image and the class to follow; `(None, None)` without class outputs."""
    if not network.has_classes:
        if target is not None:
            raise no_classes(network.output_shape)
        return None, None
    best = int(outputs[0].argmax())
    return best, best if target is None else check_target(target, outputs.shape[1])


def _watched_channel(peaks, sums, channel, layer):
    """The channel that was chosen, else the one with the strongest unit.

    Of several with equally strong units, as under ReLU6, it is the one with the largest total activation.
    """
    if channel is not None:
        return check_channel(channel, len(peaks), layer)
    return int(np.where(peaks == peaks.max(), sums, -np.inf).argmax())


def _scores(plan: ForwardPlan, target: int | None, scores: _Scores, batch_size: int, progress: bool | None) -> _Scores:
    """Compute all positions in batches, in the order of the plan, into the given arrays."""
    bar = {"disable": None, "delay": _PROGRESS_DELAY} if progress is None else {"disable": not progress}
    for first in tqdm(range(0, len(plan.order), batch_size), unit=" batches", **bar):
        part = plan.order[first : first + batch_size]
        outputs, scores.activation[part] = plan.forward(part)
        if target is not None:
            scores.probability[part], scores.predicted[part] = outputs[:, target], outputs.argmax(axis=1)
    return scores


def _errors(occluded, corners, watched, target, scores, grid, batch_size):
    """Estimate the largest errors of probability and activation, from full forward passes at some positions."""

    def errors_at(numbers):
        parts = [numbers[first : first + batch_size] for first in range(0, len(numbers), batch_size)]
        outputs, sums = zip(*(occluded.forward(corners[part], watched) for part in parts), strict=True)
        of_activation = np.concatenate(sums) - scores.activation[numbers]
        if target is None:
            return np.abs(np.stack([np.zeros_like(of_activation), of_activation], axis=1))
        of_probability = np.concatenate(outputs)[:, target] - scores.probability[numbers]
        return np.abs(np.stack([of_probability, of_activation], axis=1))

    error, activation_error = largest_error((len(grid.tops), len(grid.lefts)), errors_at)
    return float(error), float(activation_error)
