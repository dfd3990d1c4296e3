"""Data of the page of chosen images: predicted classes, strongest channels of each layer, and an occlusion map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deconv import graph
from deconv.deconvnet.recording import activations
from deconv.explorer.channel_statistics import ChannelStatistics
from deconv.explorer.material import Material
from deconv.explorer.pictures import SUFFIX, as_bytes, write_picture
from deconv.explorer.unit_data import rounded
from deconv.graph.model_output import has_classes, output_step
from deconv.occlusion.sensitivity import occlusion_maps

_MOST = 6
_PIXELS_OF_MAP = 224


def image_data(
    material: Material,
    ids: np.ndarray,
    labels: Mapping[int, int],
    statistics: Mapping[str, ChannelStatistics],
    fill: float | None = None,
) -> list[dict[str, Any]]:
    """Compute the data of the page of each image, and write their occlusion maps.

    The strongest channels of a layer are those whose largest activation is the largest share of the largest one over
    the data set.

    Args:
        material: The `Material`.
        ids: The images.
        labels: `{id: label}`; -1 or missing for an image without one.
        statistics: `{layer: ChannelStatistics}`.
        fill: Pixel value of the occluding patch; None for mean grey.

    Returns:
        A list with an entry per image, serializable as JSON.
    """
    material.store.write(ids.tolist())
    results = []
    for number in ids.tolist():
        image = material.store.images([number])
        inputs = material.inputs(image)
        results.append(
            {
                "id": number,
                "label": int(labels.get(number, -1)),
                "predicted": _predicted(material, inputs),
                "layers": _strongest(material, inputs, statistics),
                "occlusion": _occlusion(material, number, image[0], fill),
            }
        )
    return results


def _predicted(material, inputs):
    """`[[class, output], ...]`, the largest first; None without class outputs."""
    if not has_classes(material.model_graph) or not material.classes:
        return None
    name = output_step(material.model_graph).name
    outputs = activations(material.model, inputs, name)[name].reshape(-1)
    order = np.argsort(-outputs, kind="stable")[:_MOST]
    return [[int(one), rounded(outputs[one])] for one in order]


def _strongest(material, inputs, statistics):
    """`[[layer, [[channel, activation, share of its maximum], ...]], ...]`."""
    layers = list(statistics)
    maps = activations(material.model, inputs, layers)
    results = []
    for layer in layers:
        values = np.asarray(maps[layer], np.float64).reshape(-1, maps[layer].shape[-1]).max(axis=0)
        highest = statistics[layer].highest
        share = np.divide(values, highest, out=np.zeros(len(values)), where=highest > 0)
        order = [one for one in np.argsort(-share, kind="stable")[:_MOST] if values[one] > 0]
        results.append([layer, [[int(one), rounded(values[one]), rounded(share[one])] for one in order]])
    return results


def _occlusion(material, number, image, fill):
    """Write the map of one image; `{"target": class, "lowest": ..., "whole": ...}`, or None without class outputs."""
    if not has_classes(material.model_graph) or not material.classes:
        return None
    whole = np.asarray(image, np.float32)
    maps = occlusion_maps(
        material.model,
        whole,
        fill=fill,
        preprocess=material.preprocess,
        batch_size=material.batch_size,
        progress=False,
    )
    assert maps.probability is not None
    largest = max(float(np.max(maps.probability)), float(maps.unoccluded[0] or 0), 1e-12)
    scaled = as_bytes(np.asarray(maps.probability, np.float64) / largest)[..., None]
    factor = max(1, _PIXELS_OF_MAP // max(scaled.shape[:2]))
    path = material.out / "pictures" / "occlusion" / f"{number}{SUFFIX}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, scaled.repeat(factor, axis=0).repeat(factor, axis=1), tile=factor * max(scaled.shape[:2]))
    return {
        "target": int(maps.target if maps.target is not None else -1),
        "whole": rounded(float(maps.unoccluded[0] or 0)),
        "lowest": rounded(float(np.min(maps.probability))),
        "patch": [int(side) for side in maps.size],
    }


def chosen_ids(listing: tuple[np.ndarray, np.ndarray], count: int, seed: int = 0) -> np.ndarray:
    """Choose images for the image page: in turn one of each label, at random, in ascending order of their ids.

    Args:
        listing: Labels `(n,)` and ids `(n,)`.
        count: Largest number of images.
        seed: Seed of the choice.
    """
    labels, ids = (np.asarray(part) for part in listing)
    labels = labels if labels.ndim == 1 else np.full(len(ids), -1)
    order = np.random.default_rng(seed).permutation(len(ids))
    by_label = order[np.argsort(labels[order], kind="stable")]
    rounds = np.arange(len(ids)) - np.searchsorted(labels[by_label], labels[by_label])
    return np.sort(ids[by_label[np.argsort(rounds, kind="stable")[:count]]])


def layer_list(model_graph: graph.Graph, pages: Mapping[str, str]) -> list[dict[str, Any]]:
    """All steps of a model graph for the diagram: name, kind, output shape, and page if the layer has one."""
    return [
        {
            "name": step.name,
            "kind": type(step.layer).__name__,
            "shape": " × ".join(map(str, step.output.shape)),
            "page": pages.get(step.name),
        }
        for step in model_graph.steps
    ]
