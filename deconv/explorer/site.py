"""A static web site with a page for every unit of every layer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from tqdm import tqdm

from deconv import graph
from deconv.deconvnet.projection import Deconvnet
from deconv.explorer.image_data import chosen_ids, image_data, layer_list
from deconv.explorer.image_store import ImageStore
from deconv.explorer.layer_page import build_layer, receptive_field_text, summary
from deconv.explorer.material import Material
from deconv.explorer.page_names import page_names
from deconv.explorer.pictures import SUFFIX
from deconv.explorer.rendering import read_data, write_data, write_page, write_static
from deconv.explorer.survey import Survey, survey
from deconv.graph.keras_model import KERNELS
from deconv.graph.model_output import has_classes, output_step
from deconv.runtime.atomic_files import locked, replacing
from deconv.runtime.json_files import read_object
from deconv.validation import check_positive, check_real, check_seed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_VERSION = 1
"""Version of the data of the pages; layers of other versions are computed again."""


def explore(
    model: keras.Model,
    dataset: Any,
    out: str | os.PathLike,
    layers: str | int | Sequence[str | int] | None = None,
    *,
    k: int = 9,
    preprocess: Callable[..., Any] | None = None,
    class_names: Sequence[str] | None = None,
    label_names: Sequence[str] | None = None,
    image_ids: ArrayLike | None = None,
    image_count: int = 24,
    attribution: str | None = None,
    visualize: bool | Mapping[str, Any] = False,
    contrast: float | None = None,
    fill: float | None = None,
    about: Mapping[str, str] | None = None,
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> Path:
    """Write a static web site with a page for every unit of every layer.

    The pages show the network, the channels of each layer, and for each unit: its strongest projections beside their
    patches, examples from ten quantiles of its activation, the histogram of its activation, the classes and channels
    that it goes with, the filters below, and the effect on the class outputs of setting it to zero. The site needs
    neither a server nor a network: open `index.html`.

    The data set is read once for all layers. The call can be interrupted at any time: the same call continues the scan,
    and keeps the layers that are finished. The folder `state` of the site serves this purpose only and may be deleted.

    Args:
        model: A functional or Sequential `keras.Model` with images as input.
        dataset: Any data set that `deconv.top_activations` accepts. It is read again for the images that are shown.
        out: Folder of the site; created if it does not exist.
        layers: One layer or a sequence of them: names, paths or indices. None for all convolutions, or all layers
            with a kernel if there are none.
        k: Number of strongest images per channel.
        preprocess: Preprocessing function, applied to each batch of images.
        class_names: Names of the classes of the model; None for those of the data set if their number is that of the
            outputs, else numbers. Without class outputs they are ignored.
        label_names: Names of the labels of the data set; None for its `class_names`.
        image_ids: Ids of the images of the image page; None to choose `image_count` of them, in turn one of each label.
        image_count: Number of images of the image page.
        attribution: Name in `deconv.attribution.METHODS` of an explanation to show for each unit; None for none.
        visualize: Whether to optimise an image for each unit, which takes long; or settings of
            `deconv.features.visualize`.
        contrast: Percentile of a projection's magnitudes that is drawn as white or black; None for 100 with images of
            one channel, and 99.5 with others.
        fill: Pixel value of the occluding patch on the image page; None for mean grey.
        about: `{term: text}` about the weights and the data, for the overview.
        batch_size: Images and units computed at a time.
        seed: Seed of the choice of images.
        progress: Whether to show progress bars, with the time left.

    Returns:
        Path of `index.html`.

    Raises:
        ValueError: If an argument is invalid, or as `deconv.top_activations`.
        OSError: If a file cannot be written; the message names it.
    """
    check_positive("batch_size", batch_size)
    check_positive("image_count", image_count)
    check_seed(seed)
    _check_options(attribution, contrast, fill, image_ids)
    model_graph = graph.walk(model)
    names = _layers(model, model_graph, layers)
    labels = tuple(map(str, getattr(dataset, "class_names", ()) if label_names is None else label_names))
    classes = _classes(model_graph, class_names, labels)
    site = Path(out)
    for folder in (site / "state", site / "data", site / "pictures" / "images"):
        folder.mkdir(parents=True, exist_ok=True)
    material = Material(
        model=model,
        model_graph=model_graph,
        net=Deconvnet(model),
        store=ImageStore(dataset, site / "pictures" / "images", batch_size),
        preprocess=preprocess,
        labels=labels,
        classes=classes,
        contrast=_contrast(model_graph, contrast),
        batch_size=batch_size,
        pages=page_names(names),
        out=site,
        attribution=attribution,
        visualize=dict(visualize) if isinstance(visualize, Mapping) else {} if visualize else None,
    )
    options: dict[str, Any] = {"preprocess": preprocess, "batch_size": batch_size, "progress": progress}
    surveyed = survey(model, dataset, names, k, folder=site / "state", **options)
    with locked(site):
        summaries = _write_layers(material, surveyed, progress)
        ids = _image_ids(dataset, surveyed, image_ids, image_count, seed)
        images = image_data(material, ids, _labels(dataset, surveyed), surveyed.statistics, fill)
        _write_pages(material, surveyed, summaries, images, dict(about or {}))
    return site / "index.html"


def _check_options(attribution, contrast, fill, image_ids):
    from deconv.attribution import METHODS

    if attribution is not None and attribution not in METHODS:
        raise ValueError(f"attribution must be one of {', '.join(METHODS)}, or None; received {attribution!r}.")
    if contrast is not None and not 0 < check_real("contrast", contrast, 0) <= 100:
        raise ValueError(f"contrast must be above 0 and at most 100; received {contrast!r}.")
    if fill is not None:
        check_real("fill", fill)
    if image_ids is not None and not _are_ids(image_ids):
        raise ValueError(f"image_ids must be a sequence of ids, which are whole numbers; received {image_ids!r}.")


def _are_ids(given: Any) -> bool:
    try:
        ids = np.asarray(given)
    except ValueError:  # lists of unequal lengths
        return False
    return ids.size > 0 and ids.dtype.kind in "iu"


def _layers(model: keras.Model, model_graph: graph.Graph, layers: Any) -> list[str]:
    """Names of the layers to explore, each once, in the order of the model."""
    if layers is not None:
        _, steps = graph.find_all(model_graph, layers)
        chosen = {step.name for step in steps}
    else:
        chosen = {step.name for step in model_graph.steps if isinstance(step.layer, keras.layers.Conv2D)}
        chosen = chosen or {step.name for step in model_graph.steps if isinstance(step.layer, KERNELS)}
    if not chosen:
        raise ValueError(f"Model '{model.name}' has no layer with a kernel. Name the layers: layers=[...].")
    return [step.name for step in model_graph.steps if step.name in chosen]


def _classes(model_graph: graph.Graph, given: Sequence[str] | None, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the classes of the model; empty without class outputs."""
    if not has_classes(model_graph):
        return ()
    count = model_graph.outputs[0].shape[-1]
    names = labels if given is None else tuple(map(str, given))
    if given is not None and len(names) != count:
        raise ValueError(
            f"class_names must have one name for each of the {count} outputs of model '{model_graph.name}'; received "
            f"{len(names)}."
        )
    return names if len(names) == count else tuple(f"class {number}" for number in range(count))


def _contrast(model_graph: graph.Graph, given: float | None) -> float:
    return (100.0 if model_graph.inputs[0].shape[-1] == 1 else 99.5) if given is None else float(given)


def _write_layers(material: Material, surveyed: Survey, progress: bool) -> list[dict[str, Any]]:
    """Write pictures and data of all layers that are not finished yet; return what the overview shows of each."""
    tops = surveyed.top.tops(material.model)
    finished_file = material.out / "state" / "finished.json"
    finished: dict[str, Any] = {}
    with contextlib.suppress(ValueError, OSError):  # without it, or if it is damaged, all layers are computed again
        finished = read_object(finished_file)
    summaries = []
    with tqdm(
        unit=" channels", desc="pages", total=sum(len(one.ids) for one in tops.values()), disable=not progress
    ) as bar:
        for layer, page in material.pages.items():
            file, key = material.out / "data" / f"{page}.js", _key(material, surveyed, layer)
            if finished.get(page) == key and file.exists():
                data = read_data(file)
                bar.update(len(data["units"]))
            else:
                data = build_layer(material, layer, surveyed.statistics[layer], tops[layer], bar.update)
                write_data(file, page, data)
                finished[page] = key
                with replacing(finished_file) as partial:
                    partial.write_text(json.dumps(finished), encoding="utf-8")
            summaries.append(summary(data))
    return summaries


def _key(material: Material, surveyed: Survey, layer: str) -> str:
    """Hash of everything on which the data of a layer depends."""
    parts = [
        _VERSION,
        layer,
        surveyed.top.k,
        surveyed.top.made_by,
        [source._asdict() for source in surveyed.top.sources],
        list(material.pages.items()),
        material.labels,
        material.classes,
        material.contrast,
        material.attribution,
        repr(material.visualize),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _image_ids(dataset: Any, surveyed: Survey, given: ArrayLike | None, count: int, seed: int) -> np.ndarray:
    """Ids of the images of the image page."""
    if given is not None:
        return np.asarray(given, np.int64).ravel()
    if hasattr(dataset, "listing"):
        return chosen_ids(dataset.listing(), count, seed)
    known = _labels(dataset, surveyed)
    return chosen_ids((np.array(list(known.values()), np.int64), np.array(list(known), np.int64)), count, seed)


def _labels(dataset: Any, surveyed: Survey) -> dict[int, int]:
    """`{id: label}` of the images that are known: all of them, or those that occur on a page."""
    known: dict[int, int] = {}
    for layer, ranking in surveyed.top.rankings.items():
        sketch = surveyed.statistics[layer].sketch
        known |= dict(zip(sketch.ids.tolist(), sketch.labels.tolist(), strict=True))
        known |= dict(zip(ranking.ids.ravel().tolist(), ranking.labels.ravel().tolist(), strict=True))
    if hasattr(dataset, "listing"):
        labels, ids = dataset.listing()
        if labels.ndim == 1:
            known |= dict(zip(ids.tolist(), labels.tolist(), strict=True))
    known.pop(int(np.iinfo(np.int64).max), None)
    return known


def _write_pages(material: Material, surveyed: Survey, summaries: list, images: list, about: dict[str, str]) -> None:
    """Write the data that all pages share, the pages, and the static files."""
    site, model_graph = material.out, material.model_graph
    by_page = {one["page"]: one for one in summaries}
    steps = layer_list(model_graph, material.pages)
    for step in steps:
        if step["page"]:
            step |= by_page[step["page"]]
            step["field"] = receptive_field_text(material, graph.find(model_graph, step["name"]))
    count = max([len(material.labels), *(len(one.class_images) for one in surveyed.statistics.values())])
    shared = {
        "layers": [{name: one[name] for name in ("layer", "page", "channels", "ratio", "best")} for one in summaries],
        "labels": [material.label_name(label) for label in range(count)],
        "classes": list(material.classes),
        "suffix": SUFFIX,
        "images": surveyed.images,
        "shown": [one["id"] for one in images],
        "outputName": output_step(model_graph).name if material.classes else "",
    }
    write_data(site / "data" / "site.js", "site", shared)
    write_data(site / "data" / "images.js", "images", images)
    write_static(site)
    common = {"model": material.model.name, "layers": summaries, "images": f"{surveyed.images:,}"}
    write_page(
        site / "index.html", "overview.html", steps=steps, about=about, shape=model_graph.inputs[0].shape, **common
    )
    write_page(site / "images.html", "images.html", page="images", **common)
    for one in summaries:
        write_page(site / f"{one['page']}.html", "layer.html", layer=one, page=one["page"], **common)
