"""Feature vectors of images: their pixels, or the activations of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from deconv import graph
from deconv.deconvnet.recording import recorder
from deconv.validation import check_finite, check_pair, check_positive, prepare

if TYPE_CHECKING:
    import keras

MOST_VALUES = 75_000
"""Largest number of values per image of a layer that is not averaged; AlexNet's pool1 has 69,984."""

_MEMORY = 2**30
"""Largest size in bytes of the vectors computed in one pass."""


def vectors(
    model: keras.Model,
    images: np.ndarray,
    layers: Sequence[str | int | None],
    *,
    pooled: int | tuple[int, int] | None = None,
    preprocess: Callable | None = None,
    batch_size: int = 64,
    input_shape: tuple[int, int, int] | None = None,
) -> Iterator[np.ndarray]:
    """Compute the flattened outputs of layers for images, in one pass, or several if they take more than 1 GiB.

    Args:
        model: A functional or Sequential `keras.Model`.
        images: `(n, height, width, channels)`, as `preprocess` takes them.
        layers: Sequence of names, paths or indices; None for the image itself, as the model takes it.
        pooled: Largest side, or `(rows, columns)`, of a grid onto which maps are averaged; 1 is the mean of each
            channel. For None only maps of more than 75,000 values are averaged, onto the largest grid within this
            limit.
        preprocess: Preprocessing function, applied to each batch of images.
        batch_size: Number of images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Yields:
        float32 `(n, values)` for each layer, in their order; float64 for a layer of that dtype.

    Raises:
        ValueError: If a layer does not exist, or the images do not fit the model.
    """
    check_positive("batch_size", batch_size)
    model_graph = graph.walk(model, input_shape)
    named = [layer for layer in layers if layer is not None]
    named_steps = graph.find_all(model_graph, named)[1] if named else ()
    remaining = iter(named_steps)
    steps = [None if layer is None else next(remaining) for layer in layers]
    image = graph.subgraph(model_graph, *(named_steps or model_graph.steps[-1:])).inputs[0]
    edges = [image if step is None else step.output for step in steps]
    grids = [grid_of(edge.shape, pooled) for edge in edges]
    counts = [count_of(edge.shape, grid) for edge, grid in zip(edges, grids, strict=True)]
    for group in groups(counts, len(images)):
        compute = forward_pass(model_graph, [steps[n] for n in group], [grids[n] for n in group], preprocess, image)
        yield from compute(images, batch_size)


def average(maps: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Average maps `(n, rows, columns, channels)` onto a grid; each cell of a map belongs to one cell of the grid."""
    for axis, cells in enumerate(grid, start=1):
        starts = np.arange(cells) * maps.shape[axis] // cells
        lengths = np.diff([*starts, maps.shape[axis]]).reshape(-1, *[1] * (3 - axis))
        maps = np.add.reduceat(maps, starts, axis=axis) / lengths
    return maps


def grid_of(shape: tuple[int, ...], pooled: int | tuple[int, int] | None = None) -> tuple[int, int] | None:
    """The `(rows, columns)` onto which a layer is averaged; None if it is not."""
    pooled = None if pooled is None else check_pair("pooled", pooled)
    if len(shape) != 3 or (pooled is None and np.prod(shape) <= MOST_VALUES):
        return None
    if pooled is None:
        side = max(shape[:2])
        while side > 1 and min(side, shape[0]) * min(side, shape[1]) * shape[2] > MOST_VALUES:
            side -= 1
        pooled = side, side
    return min(pooled[0], shape[0]), min(pooled[1], shape[1])


def count_of(shape: tuple[int, ...], grid: tuple[int, int] | None = None) -> int:
    """Number of values of a layer per image, after averaging."""
    return int(np.prod(shape if grid is None else (*grid, shape[-1])))


def groups(counts: Sequence[int], images: int) -> Iterator[list[int]]:
    """Yield groups of layers, by their positions, whose vectors fit into memory together, or single larger ones."""
    group: list[int] = []
    free = _MEMORY
    for place, count in enumerate(counts):
        needed = 4 * count * images
        if group and needed > free:
            yield group
            group, free = [], _MEMORY
        group, free = [*group, place], free - needed
    yield group


def forward_pass(
    model_graph: graph.Graph,
    steps: Sequence[graph.Step | None],
    grids: Sequence[tuple[int, int] | None],
    preprocess: Callable | None,
    image: graph.Edge,
) -> Callable[[np.ndarray, int], list[np.ndarray]]:
    """A function from images and a batch size to the vectors `(n, values)` of several layers, in one pass.

    Args:
        model_graph: A `Graph`.
        steps: Its layers; None for the image itself.
        grids: The grid onto which each is averaged, from `grid_of`.
        preprocess: Preprocessing function, applied to each batch of images.
        image: The input edge.
    """
    edges = [image if step is None else step.output for step in steps]
    named = [step for step in steps if step is not None]
    forward = recorder(graph.subgraph(model_graph, *named), named) if named else lambda batch: ([], [])

    def batch_vectors(batch):
        batch = prepare(batch, preprocess, image.shape, image.dtype)
        maps = iter(forward(batch)[0])
        for step, grid in zip(steps, grids, strict=True):
            output = batch if step is None else check_finite(next(maps).numpy(), step.name)
            yield (output if grid is None else average(output, grid)).reshape(len(batch), -1)

    def all_vectors(images, batch_size):
        counts = [count_of(edge.shape, grid) for edge, grid in zip(edges, grids, strict=True)]
        dtypes = [np.float64 if edge.dtype == "float64" else np.float32 for edge in edges]
        arrays = [np.empty((len(images), count), dtype) for count, dtype in zip(counts, dtypes, strict=True)]
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            for array, values in zip(arrays, batch_vectors(images[part]), strict=True):
                array[part] = values
        return arrays

    return all_vectors
