"""Invariance of features and output to translation, scaling and rotation of the image (section 4, Fig. 5).

Zeiler & Fergus, arXiv:1311.2901.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import keras
import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from deconv import graph
from deconv.deconvnet.recording import recorder
from deconv.diagnostics.layer_choice import hidden_layers
from deconv.graph.model_output import check_class_outputs, has_classes, no_classes, output_step
from deconv.imaging.affine_transforms import check_values, transform
from deconv.runtime.dtypes import any_array
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_finite, check_images, check_positive, check_target, prepare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["translation", "scale", "rotation"]


class Invariance(NamedTuple):
    """Distances of features and class scores for transformed images.

    For a model without class outputs, such as a network cut below its classifier, all that concerns classes is None.

    Attributes:
        kind: `"translation"`, `"scale"` or `"rotation"`.
        values: `(values,)` float64, pixels, factors or degrees.
        targets: `(images,)` int64, the class whose probability is given, for each image; or None.
        distances: `{layer: (images, values)}` float64, the Euclidean distance `|f(x') - f(x)|` between all activations
            of the layer for the transformed and the original image.
        norms: `{layer: (images,)}` float64, `|f(x)|`.
        probability: `(images, values)` float64, the model's output for the target class; or None.
        predicted: `(images, values)` int64, the argmax of the outputs; or None.
        untransformed: `(probability, predicted)` of the original images, each `(images,)`; or None.
    """

    kind: Kind
    values: np.ndarray
    targets: np.ndarray | None
    distances: dict[str, np.ndarray]
    norms: dict[str, np.ndarray]
    probability: np.ndarray | None
    predicted: np.ndarray | None
    untransformed: tuple[np.ndarray, np.ndarray] | None

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(
        self,
        images: np.ndarray,
        layers: Sequence[str] | None = None,
        *,
        names: Sequence[str] | None = None,
        fill: float | Literal["edge"] = "edge",
        shown: int = 4,
        title: str | None = None,
        score: str = "probability",
    ) -> Figure:
        """Draw transformed images, the distances of two layers and the class probability (`plotting.invariance_sheet`).

        Args:
            images: The images of the experiment, `(n, height, width, 1 or 3)` in pixel units, 0 to 255.
            layers: Two layers to draw; None for the first and the last of the experiment.
            names: One text per image, for the legend; None for the target classes, or numbers without classes.
            fill: As in the experiment: pixel value outside of the transformed image, or `"edge"`.
            shown: Number of transforms drawn as images, evenly spaced over `values`.
            title: Title of the figure; None for the kind of transform.
            score: Kind of model output.

        Returns:
            The Matplotlib figure.
        """
        from deconv.plotting import invariance_sheet, pixels

        computed = [*self.distances]
        layers = [computed[0], computed[-1]] if layers is None else layers
        values = self.values[np.linspace(0, len(self.values) - 1, min(shown, len(self.values))).round().astype(int)]
        images = np.asarray(images)
        known = [f"image {number}" for number in range(len(images))] if self.targets is None else None
        names = names or known or [f"class {target}" for target in self.targets]  # type: ignore[union-attr]
        moved = transform(np.repeat(images, len(values), axis=0), self.kind, np.tile(values, len(images)), fill=fill)
        return invariance_sheet(
            [self],
            [pixels(moved).reshape(len(images), len(values), *moved.shape[1:])],
            [values],
            names,
            [(layer, "distance of features") for layer in layers],
            [("",) * (2 if self.probability is None else 3)],
            f"Invariance to {self.kind}" if title is None else title,
            f"{score} of the target class",
            score,
        )

    @property
    def relative(self) -> dict[str, np.ndarray]:
        """`{layer: (images, values)}`, the distances as a share of `|f(x)|`; NaN where the layer is inactive."""
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = {layer: self.distances[layer] / self.norms[layer][:, None] for layer in self.distances}
        return {layer: np.where(np.isfinite(share), share, np.nan) for layer, share in shares.items()}

    @property
    def offsets(self) -> np.ndarray:
        """`(values,)`, the difference of each value from the identity; for rotations from -180 to 180 degrees."""
        return {
            "translation": self.values,
            "scale": self.values - 1,
            "rotation": (self.values + 180) % 360 - 180,
        }[self.kind]


def invariance(
    model: keras.Model,
    images: ArrayLike,
    targets: int | Sequence[int | None] | np.ndarray | None = None,
    kind: Kind = "translation",
    values: ArrayLike | None = None,
    layers: str | int | Sequence[str | int] | None = None,
    *,
    fill: ArrayLike | Literal["edge"] = "edge",
    interpolation: Literal["bilinear", "nearest"] = "bilinear",
    preprocess: Callable[[np.ndarray], ArrayLike] | None = None,
    batch_size: int = 64,
    input_shape: Sequence[int] | None = None,
    progress: bool = False,
) -> Invariance:
    """Transform images step by step, and measure distances of features and changes of the output.

    The paper does not give its fill value, its interpolation, or whether its distances are normalised. Here they are
    not normalised; `Invariance.relative` is meant for comparing layers. At most `batch_size` transformed images exist
    at a time, and the features of twice as many.

    Args:
        model: A functional or Sequential `keras.Model` whose output is `(n, classes)`. With any other output, as of a
            network cut below its classifier, only distances are measured.
        images: `(n, height, width, channels)`, in pixel units if `preprocess` is given, else as the model expects.
        targets: Class index, one for all images or one for each; None, or None for an image, for the most probable
            class of the original image.
        kind: `"translation"`, `"scale"` or `"rotation"`, see `deconv.imaging.affine_transforms.transform`.
        values: Pixels, factors or degrees; None for `default_values(kind, height)`.
        layers: A layer or a sequence of them, by name, path or index; None for the paper's layers 1 and 7, the first
            and the last hidden layer: see `hidden_layers`.
        fill, interpolation: As for `deconv.imaging.affine_transforms.transform`; the fill in the units of `images`.
        preprocess: Preprocessing function, applied to each batch of transformed images.
        batch_size: Number of transformed images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.
        progress: Whether to show a progress bar.

    Returns:
        `Invariance`. The keys of its layers are the names of their steps in the model graph.

    Raises:
        ValueError: If a transform, the images or a target do not fit, the model does not have two hidden layers, or it
            has no class outputs and a target is given.
    """
    check_positive("batch_size", batch_size)
    model_graph = graph.walk(model, input_shape)
    head = output_step(model_graph) if has_classes(model_graph) else None
    steps = hidden_layers(model_graph) if layers is None else graph.find_all(model_graph, layers)[1]
    output_shape = model_graph.outputs[0].shape
    model_graph = graph.subgraph(model_graph, *steps, *([] if head is None else [head]))
    image = model_graph.inputs[0]
    pixels = np.asarray(images) if preprocess is not None else check_images(images, image.shape, image.dtype)
    checked = check_values(kind, default_values(kind, image.shape[0]) if values is None else values)
    options: dict[str, Any] = {"fill": fill, "interpolation": interpolation}
    transform(pixels[:1], kind, checked[:1], **options)  # unsuitable options are rejected before any computation
    forward = _ForwardPass(model_graph, steps, head, preprocess)
    requested = _targets_per_image(targets, len(pixels))
    if head is None and any(target is not None for target in requested):
        raise no_classes((None, *output_shape))
    result = _empty_result(kind, checked, [step.name for step in steps], len(pixels), head is not None)
    with tqdm(total=len(pixels) * len(checked), unit=" images", disable=not progress) as bar:
        for first in range(0, len(pixels), batch_size):
            batch = pixels[first : first + batch_size]
            original = forward(batch.astype(batch.dtype if batch.dtype.kind == "f" else np.float32))  # a copy
            _add_originals(result, first, requested, *original)
            for start in range(0, len(batch) * len(checked), batch_size):
                pairs = np.arange(start, min(start + batch_size, len(batch) * len(checked)))
                number, place = np.divmod(pairs, len(checked))
                transformed = forward(transform(batch[number], kind, checked[place], **options))
                _add_transformed(result, first, number, place, original[0], *transformed)
                bar.update(len(pairs))
    return result


def default_values(kind: Kind, height: int) -> np.ndarray:
    """Return the values of Fig. 5, in proportion to the image.

    The ranges are read from the paper's figure: vertical translations by up to 60 of 224 pixels, scales from 1 to 1.8,
    rotations from 0 to 350 degrees. The steps are our choice: 1/12 of the largest translation, in whole pixels and at
    least one; 0.05; 10 degrees.

    Args:
        kind: `"translation"`, `"scale"` or `"rotation"`.
        height: Height of the image in pixels.

    Returns:
        float64 `(values,)`.
    """
    check_values(kind, 1)
    if kind == "scale":
        return np.linspace(1, 1.8, 17).round(2)
    if kind == "rotation":
        return np.arange(0.0, 360, 10)
    largest = max(1, round(60 / 224 * height))
    step = max(1, largest // 12)
    return np.arange(-(largest // step), largest // step + 1.0) * step


class _ForwardPass:
    """Features of layers and class outputs of images, which it preprocesses; `head` is None without class outputs."""

    def __init__(self, model_graph, steps, head, preprocess):
        self._image, self._steps, self._head = model_graph.inputs[0], steps, head
        self._preprocess = preprocess
        self._forward = recorder(model_graph, [*steps, *([] if head is None else [head])])

    def __call__(self, images):
        """Return `{layer: float64 (n, entries)}` and outputs `(n, classes)` or None."""
        prepared = prepare(images, self._preprocess, self._image.shape, self._image.dtype)
        features, outputs = [maps.numpy() for maps in self._forward(prepared)[0]], None
        if self._head is not None:
            outputs = check_class_outputs(features.pop(), self._head.name)
        names = [step.name for step in self._steps]
        if outputs is None:
            check_finite(features[-1], names[-1])
        flat = (maps.reshape(len(maps), -1).astype(np.float64) for maps in features)
        return dict(zip(names, flat, strict=True)), outputs


def _targets_per_image(targets, count):
    """A list of one target for each image, None for the most probable class."""
    requested = list(targets) if any_array(targets).ndim or isinstance(targets, list) else [targets] * count
    if len(requested) != count:
        raise ValueError(f"targets must be one class for each of the {count} images; received {len(requested)}.")
    return requested


def _empty_result(kind, values, names, count, is_classifier):
    shape = count, len(values)
    return Invariance(
        kind=kind,
        values=values,
        targets=np.empty(count, np.int64) if is_classifier else None,
        distances={name: np.empty(shape) for name in names},
        norms={name: np.empty(count) for name in names},
        probability=np.empty(shape) if is_classifier else None,
        predicted=np.empty(shape, np.int64) if is_classifier else None,
        untransformed=(np.empty(count), np.empty(count, np.int64)) if is_classifier else None,
    )


def _add_originals(result, first, requested, features, outputs):
    """Write targets, norms and predictions of a batch of original images, whose first has the number `first`."""
    here = slice(first, first + len(next(iter(features.values()))))
    for name, maps in features.items():
        result.norms[name][here] = np.linalg.norm(maps, axis=1)
    if outputs is None:
        return
    probability, predicted = result.untransformed
    predicted[here] = outputs.argmax(axis=1)
    result.targets[here] = [
        most_probable if target is None else check_target(target, outputs.shape[1])
        for target, most_probable in zip(requested[here], predicted[here], strict=True)
    ]
    probability[here] = np.take_along_axis(outputs, result.targets[here, None], axis=1)[:, 0]


def _add_transformed(result, first, number, place, originals, features, outputs):
    """Write distances and predictions of transformed images.

    Each has the features `originals[layer][number]` before its transform by the value number `place`.
    """
    for name, maps in features.items():
        result.distances[name][first + number, place] = np.linalg.norm(maps - originals[name][number], axis=1)
    if outputs is None:
        return
    result.probability[first + number, place] = outputs[np.arange(len(outputs)), result.targets[first + number]]
    result.predicted[first + number, place] = outputs.argmax(axis=1)
