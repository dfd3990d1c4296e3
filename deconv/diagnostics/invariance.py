"""How features and output follow an image that is moved, scaled or turned (arXiv:1311.2901, section 4, Fig. 5)."""

from typing import NamedTuple

import keras
import numpy as np
from tqdm import tqdm

from deconv import graph
from deconv.deconvnet.recording import recorder
from deconv.graph.model_graph import producer_of
from deconv.imaging.affine_transforms import check_values, transform
from deconv.runtime.dtypes import any_array
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_finite, check_images, check_positive, check_target, prepare

_PASSED_ON = (*graph.IDLE, keras.layers.Flatten, keras.layers.Reshape, keras.layers.ZeroPadding2D)
"""Layers whose output is as long a vector as their input: no layer of features of their own."""


class Invariance(NamedTuple):
    """What a transform of the image does to layers and output.

    Attributes:
        kind: `"translation"`, `"scale"` or `"rotation"`.
        values: `(values,)` float64, pixels, factors or degrees.
        targets: `(images,)` int64, the class that each image's `probability` is of.
        distances: `{layer: (images, values)}` float64, the Euclidean distance `|f(x') - f(x)|` between all activations
            of the layer for the transformed image and for the image as it is.
        norms: `{layer: (images,)}` float64, `|f(x)|`.
        probability: `(images, values)` float64, the model's output for the target class.
        predicted: `(images, values)` int64, the place of the largest output.
        untransformed: `(probability, predicted)` of the images as they are, each `(images,)`.
    """

    kind: str
    values: np.ndarray
    targets: np.ndarray
    distances: dict[str, np.ndarray]
    norms: dict[str, np.ndarray]
    probability: np.ndarray
    predicted: np.ndarray
    untransformed: tuple[np.ndarray, np.ndarray]

    __repr__ = short_repr

    @property
    def relative(self):
        """`{layer: (images, values)}`, the distances as a share of `|f(x)|`; NaN where the layer is inactive."""
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = {layer: self.distances[layer] / self.norms[layer][:, None] for layer in self.distances}
        return {layer: np.where(np.isfinite(share), share, np.nan) for layer, share in shares.items()}

    @property
    def offsets(self):
        """`(values,)`, how far each value is from leaving the image as it is; of turns the shorter way round."""
        return {
            "translation": self.values,
            "scale": self.values - 1,
            "rotation": (self.values + 180) % 360 - 180,
        }[self.kind]


def invariance(
    model,
    images,
    targets=None,
    kind="translation",
    values=None,
    layers=None,
    *,
    fill="edge",
    interpolation="bilinear",
    preprocess=None,
    batch_size=64,
    input_shape=None,
    progress=False,
):
    """Transform images step by step and measure how far features move and what becomes of the output.

    The paper does not say what it fills with, how it interpolates, or whether it normalises its distances;
    here they are not normalised, and `Invariance.relative` is there to compare layers. At most `batch_size`
    transformed images exist at a time, and the features of twice as many.

    Args:
        model: A functional or Sequential `keras.Model` whose output is `(n, classes)`.
        images: `(n, height, width, channels)`, in pixel units if `preprocess` is given, else as the model expects.
        targets: Class to follow, one for all or one for each image; None, or None for an image, for the one that is
            most probable in the image as it is.
        kind: `"translation"`, `"scale"` or `"rotation"`, see `deconv.imaging.affine_transforms.transform`.
        values: Pixels, factors or degrees; None for `default_values(kind, height)`.
        layers: A layer or a sequence of them, by name, path or index; None for the paper's layers 1 and 7, the first
            and the last hidden one: see `hidden_layers`.
        fill, interpolation: As for `deconv.imaging.affine_transforms.transform`; the fill in the units of `images`.
        preprocess: Function applied to each batch of transformed images before the model sees them.
        batch_size: How many transformed images are computed at a time.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.
        progress: Whether to show a progress bar.

    Returns:
        `Invariance`, its layers under the names of their steps.

    Raises:
        ValueError: If a transform, the images or a target do not fit, or the model has no two hidden layers to choose.
    """
    check_positive("batch_size", batch_size)
    model_graph = graph.walk(model, input_shape)
    head = next(step for step in model_graph.steps if model_graph.outputs[0] in step.outputs)
    steps = hidden_layers(model_graph) if layers is None else graph.find_all(model_graph, layers)[1]
    model_graph = graph.subgraph(model_graph, *steps, head)
    image = model_graph.inputs[0]
    images = np.asarray(images) if preprocess is not None else check_images(images, image.shape, image.dtype)
    values = check_values(kind, default_values(kind, image.shape[0]) if values is None else values)
    options = {"fill": fill, "interpolation": interpolation}
    transform(images[:1], kind, values[:1], **options)  # what does not fit is refused before any work
    forward = recorder(model_graph, [*steps, head])

    def look(batch):
        *features, outputs = (maps.numpy() for maps in forward(prepare(batch, preprocess, image.shape, image.dtype))[0])
        if outputs.ndim != 2:
            raise ValueError(
                f"The model must put out (n, classes) to be asked for a class; received {outputs.shape}. "
                "Cut it with keras.Model(model.inputs, ...)."
            )
        check_finite(outputs, head.name)
        return [maps.reshape(len(maps), -1).astype(np.float64) for maps in features], outputs

    count, size = len(images), (len(images), len(values))
    wanted = list(targets) if any_array(targets).ndim or isinstance(targets, list) else [targets] * count
    if len(wanted) != count:
        raise ValueError(f"targets must be one class for each of the {count} images; received {len(wanted)}.")
    distances, norms = [np.empty((len(steps), *shape)) for shape in (size, size[:1])]
    probability, predicted = np.empty(size), np.empty(size, np.int64)
    before, believed = np.empty(count), np.empty(count, np.int64)
    followed = np.empty(count, np.int64)
    with tqdm(total=count * len(values), unit=" images", disable=not progress) as bar:
        for first in range(0, count, batch_size):
            part = images[first : first + batch_size]
            here = slice(first, first + len(part))
            features, outputs = look(part.astype(part.dtype if part.dtype.kind == "f" else np.float32))  # its own copy
            norms[:, here] = [np.linalg.norm(maps, axis=1) for maps in features]
            believed[here] = outputs.argmax(axis=1)
            followed[here] = [
                known if target is None else check_target(target, outputs.shape[1])
                for target, known in zip(wanted[here], believed[here], strict=True)
            ]
            before[here] = np.take_along_axis(outputs, followed[here, None], axis=1)[:, 0]
            for start in range(0, len(part) * len(values), batch_size):
                pairs = np.arange(start, min(start + batch_size, len(part) * len(values)))
                number, place = np.divmod(pairs, len(values))
                moved, outputs = look(transform(part[number], kind, values[place], **options))
                for layer, (maps, maps_moved) in enumerate(zip(features, moved, strict=True)):
                    distances[layer, first + number, place] = np.linalg.norm(maps_moved - maps[number], axis=1)
                probability[first + number, place] = outputs[np.arange(len(pairs)), followed[first + number]]
                predicted[first + number, place] = outputs.argmax(axis=1)
                bar.update(len(pairs))
    names = [step.name for step in steps]
    return Invariance(
        kind,
        values,
        followed,
        dict(zip(names, distances, strict=True)),
        dict(zip(names, norms, strict=True)),
        probability,
        predicted,
        (before, believed),
    )


def default_values(kind, height):
    """What Fig. 5 covers, in proportion to the image: 60 of 224 pixels up and down, 1 to 1.8, 0 to 350 degrees.

    The ranges are those of the paper's drawing as far as we know it, and the steps are ours: 1/12 of the way up or down
    but at least a pixel, always whole ones; 0.05; 10 degrees.
    """
    check_values(kind, 1)
    if kind == "scale":
        return np.linspace(1, 1.8, 17).round(2)
    if kind == "rotation":
        return np.arange(0.0, 360, 10)
    field = max(1, round(60 / 224 * height))
    step = max(1, field // 12)
    return np.arange(-(field // step), field // step + 1.0) * step


def hidden_layers(model_graph):
    """The paper's layers 1 and 7 in a model of any kind.

    A layer of the paper (section 2) is a convolution with its rectification, its pooling and its contrast normalisation
    if it has them. So the first is what the first layer with filters has become just before something else has filters,
    forks, merges, or turns maps into a vector: pool1 of LeNet-5 and AlexNet. That counts against the paper's claim,
    since pooling makes maps steadier. The last hidden layer is what the last layer with filters, the classifier, takes.
    Dropout, flattening and padding change no distance, and are passed over.

    Args:
        model_graph: A `Graph`.

    Returns:
        Two steps, `(first, last)`.

    Raises:
        ValueError: If there are no two of them.
    """
    head = next(step for step in model_graph.steps if model_graph.outputs[0] in step.outputs)
    steps = graph.subgraph(model_graph, head).steps
    filters = [step for step in steps if _has_filters(step)]
    if filters:
        first, last = _whole_layer(steps, filters[0]), producer_of(model_graph, filters[-1])
        while last is not None and isinstance(last.layer, _PASSED_ON):
            last = producer_of(model_graph, last)
        if len(filters) > 1 and last is not None and last.name != first.name:
            return first, last
    raise ValueError(
        f"Model '{model_graph.name}' has no two hidden layers to compare, a first and a last one before its "
        "classifier. Name the layers to look at: layers=[...]."
    )


def _has_filters(step):
    return any(weight.name.endswith("kernel") for weight in step.layer.weights)


def _whole_layer(steps, step):
    """A layer with filters as far as its pooling and normalisation go."""
    found = step
    while True:
        users = [user for user in steps if step.output in user.inputs]
        if len(users) != 1 or len(users[0].inputs) != 1 or _has_filters(users[0]):
            return found
        (step,) = users
        if len(step.output.shape) != len(found.output.shape):
            return found
        if not isinstance(step.layer, _PASSED_ON):
            found = step
