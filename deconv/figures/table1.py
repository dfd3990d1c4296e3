"""Fig. 8 and Table 1: correspondence of object parts, from feature changes after occluding a part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from deconv import graph
from deconv.datasets.parts import DIGITS, Parts, read_parts
from deconv.figures.picture import Picture
from deconv.figures.published_results import Finding, Table, published
from deconv.figures.subject import Subject
from deconv.imaging.rectangles import hide
from deconv.occlusion.correspondence import Correspondence, Distances, correspondence
from deconv.occlusion.part_masks import random_masks
from deconv.plotting import pixels
from deconv.plotting.correspondence import distance_bars, hidden_sheet

_RANDOM, _ALIGNED = "random", "random, one place"
_CONTROLS = {_RANDOM: "random places occluded", _ALIGNED: "one random place per draw, occluded in all images"}
_DRAWS = 99
_LEVEL = 0.05
"""A part is more consistent than chance if at most this fraction of the random draws is as consistent."""


def correspondence_pictures(subject: Subject) -> Iterator[Picture]:
    """Draw Fig. 8 and Table 1; nothing without object parts or a layer that corresponds to layer 5."""
    lower, upper = compared_layers(subject.model)
    sets = subject_parts(subject)
    if lower is None or not sets:
        return
    layers = [layer for layer in (lower, upper) if layer is not None]
    found: dict[str, Correspondence] = {}
    for name in [name for parts in sets for name in parts.masks if name in _CONTROLS]:
        raise ValueError(f"A part cannot be called '{name}', which is the name of a control. Rename the part.")
    if len({_file_name(parts.object) for parts in sets}) < len(sets):
        names = ", ".join(repr(parts.object) for parts in sets)
        raise ValueError(f"Names of objects must differ in their letters and digits; received {names}.")
    for parts in sets:
        images = subject.pick(parts.ids)
        controls = {
            name: random_masks(
                parts.masks, images.shape[1:], _DRAWS, subject.seed, aligned=aligned, images=images, fill=subject.fill
            )
            for name, aligned in ((_RANDOM, False), (_ALIGNED, True))
        }
        masks = {**parts.masks, **controls}
        found[parts.object] = correspondence(
            subject.model, images, masks, layers, fill=subject.fill, preprocess=subject.preprocess
        )
        yield _occlusion_picture(subject, parts, images, controls[_RANDOM])
    yield _table_picture(subject, sets, found, lower, upper)


def compared_layers(model: keras.Model) -> tuple[str | None, str | None]:
    """Names of the layers that correspond to layers 5 and 7 of the paper, each None if there is none.

    The paper does not say whether "layer 5" is before or after its pooling. We use the input of the next layer: the max
    pooling after the last convolution, or the convolution itself if no pooling follows. "Layer 7" is the last hidden
    layer: the input of the last dense layer, unless this is the same layer as the former.
    """
    steps = graph.walk(model).steps
    filters = [place for place, step in enumerate(steps) if isinstance(step.layer, keras.layers.Conv2D)]
    if not filters:
        return None, None
    pools = [step for step in steps[filters[-1] :] if isinstance(step.layer, keras.layers.MaxPooling2D)]
    lower = (pools or [steps[filters[-1]]])[0]
    heads = [step for step in steps[filters[-1] :] if isinstance(step.layer, keras.layers.Dense)]
    makers = {edge: step for step in steps for edge in step.outputs}
    upper = makers.get(heads[-1].inputs[0]) if heads else None
    while upper is not None and issubclass(graph.kind(upper.layer), graph.IDLE):
        upper = makers.get(upper.inputs[0])
    is_lower = upper is None or upper is lower or isinstance(upper.layer, keras.layers.Flatten | keras.layers.Reshape)
    return lower.name, None if upper is None or is_lower else upper.name


def subject_parts(subject: Subject) -> list[Parts]:
    """`Parts` of the subject, or the included ones for its digits; an empty list if there are neither."""
    data = subject.data
    if subject.parts is not None:
        return read_parts(subject.parts, data)
    is_ours = data.name == "mnist-5k" and data.split != "train" and tuple(data.image_shape[:2]) == (28, 28)
    return read_parts(DIGITS, data) if is_ours else []


def _occlusion_picture(
    subject: Subject, parts: Parts, images: np.ndarray, control: np.ndarray, shown: int = 2
) -> Picture:
    rows = [None, *parts.masks.values(), *control[:shown]]
    names = ["image", *parts.masks, *(f"{_RANDOM} {number + 1}" for number in range(shown))]
    hidden = [images if row is None else hide(images, row, subject.fill) for row in rows]
    what = f" of '{parts.object}'" if parts.object else ""
    count = f"{len(images)} {'image' if len(images) == 1 else 'images'}"
    title = f"Parts{what} occluded in {count} of {subject.data.name}"
    caption = (
        f"After the paper's Fig. 8. The red frame marks the occluded rectangle, filled with {subject.fill:g}. Below: "
        f"{shown} of {_DRAWS} random draws of rectangles with the sizes of the parts. They may overlap with the parts; "
        "each changes at least half as much of an image as the part does, because two images in which nothing changes "
        "would count as consistent."
    )
    figure = hidden_sheet(pixels(np.stack(hidden)), rows, names, [f"no. {id}" for id in parts.ids], title)
    numbers = {"image_ids": parts.ids, "masks": parts.masks, "random": control, "fill": subject.fill}
    return Picture(
        name=f"fig8_{_file_name(parts.object)}", title=title, caption=caption, figure=figure, numbers=numbers
    )


def _table_picture(
    subject: Subject, sets: Sequence[Parts], found: Mapping[str, Correspondence], lower: str, upper: str | None
) -> Picture:
    layers = [layer for layer in (lower, upper) if layer is not None]
    title = f"Consistency of feature changes after occluding a part: {subject.model.name} on {subject.data.name}"
    sizes = ", ".join(str(len(parts.ids)) for parts in sets)
    caption = (
        "After the paper's Table 1. The signs of the changes of all features after occluding a part are compared "
        f"between pairs of images ({sizes} images of each object): share of features whose signs differ; a low value "
        f"is consistent. Bars: mean and standard deviation over pairs (and {_DRAWS} draws of random places). "
        "Above: the paper's distance, in which features that change in neither image count as agreement. Below: the "
        "distance without these features. The paper's control occludes random parts of the object; ours occludes "
        "random places, different in each image. Grey: a second control with one place for all images of a draw, which "
        "shows how consistent the changes are because of the place alone if the objects are centred. Fill value "
        f"{subject.fill:g}; changes below 1/10,000 of a layer's root mean square count as none."
    )
    groups: dict[str, Mapping[Any, Any]] = {name: result.distances for name, result in found.items()}
    numbers: dict[str, Any] = {"layers": layers, "draws": _DRAWS, "fill": subject.fill, "objects": {}}
    for parts in sets:
        result = found[parts.object]
        numbers["objects"][parts.object or "object"] = {
            "image_ids": parts.ids,
            "pairs": result.pairs,
            "thresholds": result.thresholds,
            **{layer: _numbers(result.distances[layer]) for layer in layers},
        }
    figure = distance_bars(groups, _CONTROLS, layers, title)
    findings = [_lower_finding(found, lower), _upper_finding(found, lower, upper)]
    tables = [_table(found, layers, subject), published("table1")]
    return Picture(
        name="table1_correspondence",
        title=title,
        caption=caption,
        figure=figure,
        numbers=numbers,
        findings=findings,
        tables=tables,
    )


def _numbers(parts: Mapping[str, Distances]) -> dict[str, dict[str, Any]]:
    """Numbers of one layer to store: all pairs for every part, and the mean of every draw for the random places."""
    numbers: dict[str, dict[str, Any]] = {}
    for part, distances in parts.items():
        numbers[part] = {
            "mean": distances.mean,
            "deviation": distances.deviation,
            "still": float(distances.still.mean()),
        }
        numbers[part]["mean_of_changed"] = distances.mean_of_changed
        if part in _CONTROLS:
            numbers[part]["draws"] = distances.of_all.mean(axis=1)
        else:
            numbers[part] |= {"chance": distances.chance(parts[_RANDOM]), "of_all": distances.of_all[0]}
            numbers[part]["chance_of_one_place"] = distances.chance(parts[_ALIGNED])
            numbers[part]["chance_of_changed"] = distances.chance(parts[_RANDOM], "of_changed")
            numbers[part]["of_changed"] = distances.of_changed[0]
    return numbers


def _table(found: Mapping[str, Correspondence], layers: Sequence[str], subject: Subject) -> Table:
    columns = [
        "occlusion",
        *layers,
        *(f"{layer}, of changed" for layer in layers),
        *(f"{layer}, p" for layer in layers),
    ]
    rows: list[list[Any]] = []
    for name, result in found.items():
        for part in result.distances[layers[0]]:
            cells = [result.distances[layer][part] for layer in layers]
            control = [result.distances[layer][_RANDOM] for layer in layers]
            rows.append(
                [
                    f"{name}, {part}" if name else part,
                    *(f"{cell.mean:.3f} ± {cell.deviation:.3f}" for cell in cells),
                    *(f"{cell.mean_of_changed:.3f}" for cell in cells),
                    *(
                        None if part in _CONTROLS else round(cell.chance(random), 3)
                        for cell, random in zip(cells, control, strict=True)
                    ),
                ]
            )
    note = (
        f"p: share of {_DRAWS} random draws at least as consistent, the part itself counted among them. "
        "'Of changed': without entries that change in neither image."
    )
    title = f"Ours: {subject.model.name} on {subject.data.name}; layer 5: {layers[0]}"
    return Table(title + (f", layer 7: {layers[1]}" if len(layers) > 1 else ""), columns, rows, note)


def _lower_finding(found: Mapping[str, Correspondence], lower: str) -> Finding:
    chances, values = [], []
    for name, result in found.items():
        distances = result.distances[lower]
        for part, own in distances.items():
            words = f"{name} {part} {own.mean:.3f}".lstrip()
            if part not in _CONTROLS:
                chances.append(own.chance(distances[_RANDOM]))
                words += f" (p {chances[-1]:.2f}, against one random place {own.chance(distances[_ALIGNED]):.2f})"
            values.append(f"{words}, of what changed {own.mean_of_changed:.3f}")
    return Finding(
        "table1-layer5",
        max(chances) <= _LEVEL,
        f"in {lower} every part's mean distance is below that of at least {1 - _LEVEL:.0%} of {_DRAWS} random draws",
        f"{'; '.join(values)}.",
    )


def _upper_finding(found: Mapping[str, Correspondence], lower: str, upper: str | None) -> Finding:
    criterion = (
        "how far the parts' mean lies below that of random places, relative to the latter and averaged over objects, "
        "is above zero in layer 5 and nearer to zero in layer 7"
    )
    if upper is None:
        return Finding("table1-layer7", None, criterion, "the network has no hidden layer above its convolutions")
    below, above = (
        float(np.mean([_gap(result.distances[layer]) for result in found.values()])) for layer in (lower, upper)
    )
    if not np.isfinite(below + above):
        return Finding("table1-layer7", None, criterion, "random places change nothing in one of the layers")
    measured = f"{below:+.1%} of random's mean in {lower}, {above:+.1%} in {upper} (the paper's table: +33.0%, +5.9%)."
    return Finding("table1-layer7", below > 0 and abs(above) < below, criterion, measured)


def _gap(parts: Mapping[str, Distances]) -> float:
    """Gap between the distances of the parts and of the random places, as a fraction of the latter."""
    random = parts[_RANDOM].mean
    means = [distances.mean for part, distances in parts.items() if part not in _CONTROLS]
    return float((random - np.mean(means)) / random) if random else np.nan


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name) or "parts"
