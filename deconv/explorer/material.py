"""What all pages of an explorer are made from: the model, its images, and how both are shown."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deconv import graph
from deconv.deconvnet.projection import Deconvnet
from deconv.explorer.image_store import ImageStore
from deconv.graph.receptive_field import windows_below
from deconv.imaging.pixel_space import to_pixel_space
from deconv.runtime.short_repr import short_repr
from deconv.validation import Preprocess, prepare

if TYPE_CHECKING:
    import keras


class Material(NamedTuple):
    """What all pages of an explorer are made from.

    Attributes:
        model: The model.
        model_graph: Its graph.
        net: Its deconvnet.
        store: The images.
        preprocess: The preprocessing function, or None.
        labels: Names of the labels of the data set; a label without a name is shown as its number.
        classes: Names of the classes of the model; empty without class outputs.
        contrast: Percentile of a projection's magnitudes that is drawn as white or black.
        batch_size: Images and units computed at a time.
        pages: `{layer: file name of its page, without suffix}`.
        out: Folder of the site.
        attribution: Name of an attribution method for the strongest image of each unit, or None.
        visualize: Settings of `deconv.features.visualize` for an optimised image of each unit, or None.
    """

    model: keras.Model
    model_graph: graph.Graph
    net: Deconvnet
    store: ImageStore
    preprocess: Preprocess | None
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    contrast: float
    batch_size: int
    pages: dict[str, str]
    out: Path
    attribution: str | None = None
    visualize: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return short_repr(self)

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """Preprocess images for the model."""
        edge = self.model_graph.inputs[0]
        return prepare(images, self.preprocess, edge.shape, edge.dtype)

    def in_pixel_space(self, projections: np.ndarray, channels: int) -> np.ndarray:
        """Convert projections to pixel space; unchanged if the preprocessing has no transpose."""
        with contextlib.suppress(ValueError):
            return to_pixel_space(projections, self.preprocess, channels) if self.preprocess else projections
        return projections

    def windows(self, layer: str, positions: np.ndarray) -> np.ndarray:
        """Receptive fields `(n, 4)` of units of a layer at positions `(n, 2)`, clipped to the image."""
        below = graph.subgraph(self.model_graph, graph.find(self.model_graph, layer))
        return windows_below(below, positions)[below.inputs[0]]

    def label_name(self, label: int) -> str:
        """Name of a label of the data set; empty for an image without a label."""
        if label < 0:
            return ""
        return str(self.labels[label]) if label < len(self.labels) else f"class {label}"
