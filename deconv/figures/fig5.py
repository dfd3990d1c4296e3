"""Fig. 5: invariance of the first and last hidden layer and of the output to translation, scale and rotation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from deconv import graph
from deconv.diagnostics.invariance import Invariance, invariance
from deconv.diagnostics.invariance_measures import linearity, quickness, stability
from deconv.diagnostics.layer_choice import hidden_layers
from deconv.figures.fig5_findings import invariance_findings
from deconv.figures.fig5_symmetry import half_turn_data, symmetry_finding
from deconv.figures.picture import Picture
from deconv.figures.published_results import Table
from deconv.figures.subject import Subject
from deconv.graph.model_output import output_kind
from deconv.imaging.affine_transforms import KINDS, transform
from deconv.plotting import pixels
from deconv.plotting.invariance import invariance_sheet

SHOWN = {"translation": (-1, 0, 0.5, 1), "scale": (0, 0.25, 0.5, 1), "rotation": (0, 30, 90, 180)}
"""Transforms shown as tiles: fractions of the largest translation and of the largest scale change, and degrees."""

DRAWN = 5
"""Number of images in the charts of the paper."""


def invariance_data(
    subject: Subject, layers: Sequence[str], images: np.ndarray, targets: Sequence[int | None]
) -> dict[str, Invariance]:
    """Run the three experiments on the same images and return `{kind: Invariance}`."""
    kinds: tuple[Any, ...] = KINDS
    options: dict[str, Any] = {"layers": layers, "fill": subject.fill, "preprocess": subject.preprocess}
    options["batch_size"] = subject.batch_size
    return {kind: invariance(subject.model, images, targets, kind, **options) for kind in kinds}


def invariance_pictures(subject: Subject) -> Iterator[Picture]:
    """Draw Fig. 5 and its table, without class outputs for layers only; nothing with fewer than two hidden layers."""
    try:
        layers = [step.name for step in hidden_layers(graph.walk(subject.model))]
    except ValueError:  # fewer than two hidden layers to compare
        return
    images, labels, ids = subject.examples()
    targets = subject.targets(labels)
    experiments = invariance_data(subject, layers, images, targets)
    turned = half_turn_data(subject, layers[-1]) if subject.has_classes else None
    measured = {kind: measures(one, layers) for kind, one in experiments.items()}
    drawn = np.sort(np.random.default_rng(subject.seed).permutation(len(images))[:DRAWN])
    title = f"Invariance of {subject.model.name} to vertical translation, scale and rotation"
    score = output_kind(graph.walk(subject.model)) if subject.has_classes else None
    unknown = sum(target is None for target in targets) if score is not None else 0
    transforms = [_shown_transforms(images[drawn], one, subject.fill) for one in experiments.values()]
    tiles, values = zip(*transforms, strict=True)
    names = [subject.data.class_names[labels[place]] for place in drawn]
    predicted = experiments["translation"].targets
    for number, place in enumerate(drawn):
        if targets[place] is None and predicted is not None:
            names[number] += f", predicted: {subject.class_names[predicted[place]]}"
    figure = invariance_sheet(
        [_restricted(one, drawn) for one in experiments.values()],
        tiles,
        values,
        names,
        [*zip(layers, ("first layer", "last layer" if score is None else "last hidden layer"), strict=True)],
        [_notes(measured[kind], layers) for kind in experiments],
        title,
        f"{score} of the class" if unknown else f"{score} of the true class",
        score or "",
    )
    numbers: dict[str, Any] = {"layers": layers, "fill": subject.fill, "interpolation": "bilinear"}
    numbers |= {"image_ids": ids, "labels": labels}
    numbers |= {"drawn": drawn, "measures": measured, "half_turn": None if turned is None else turned._asdict()}
    numbers |= {kind: {**one._asdict(), "relative": one.relative} for kind, one in experiments.items()}
    findings = [
        *invariance_findings(measured, layers, ", of the class that it believes in" if unknown else "", score),
        symmetry_finding(turned, subject.data.class_names),
    ]
    yield Picture(
        name="fig5_invariance",
        title=title,
        caption=_caption(subject, layers, len(drawn), len(images), unknown, score),
        figure=figure,
        numbers=numbers,
        findings=findings,
        tables=[_table(measured, layers, len(images))],
    )


def _caption(subject: Subject, layers: Sequence[str], drawn: int, count: int, unknown: int, score: str | None) -> str:
    """Caption of the figure; `unknown` of the `count` images are of a class that the network does not have."""
    if score is None:
        last = f"{layers[1]} is the last layer of this network, which has no classifier and no layer 7"
        of_output = "; charts of the output need a classifier"
    else:
        last, of_output = f"{layers[1]} to its layer 7", " for the layers, and means for the output"
    caption = (
        f"After the paper's Fig. 5. {drawn} images of {subject.data.name}, drawn at random, are translated, "
        "scaled about the centre and rotated about the centre, by inverse mapping with bilinear interpolation; the "
        f"area outside of the image has the value {subject.fill:g}. Distances are Euclidean distances between all "
        f"activations of a layer for the image and for the transformed image, not normalised. {layers[0]} corresponds "
        f"to the paper's layer 1, with its pooling and normalisation if it has them, {last}. The "
        f"numbers above the charts and in the findings are medians over {count} images, at most one per class,"
        f"{of_output}."
    )
    if unknown:
        caption += (
            f" {unknown} of them {'is' if unknown == 1 else 'are'} of a class that the network does not have; the "
            f"{score} is then that of the most probable class of the untransformed image."
        )
    return caption


def measures(found: Invariance, layers: Sequence[str]) -> dict[str, Any]:
    """Compute the measures used to test the claims, for one kind of transform.

    Args:
        found: `Invariance` of one kind of transform.
        layers: Names of the layers.

    Returns:
        Dict: `"step"`, the smallest step; `"in_proportion"`, its fraction of the largest; `"kept"` and `"unchanged"`,
        the values of `stability`, None without class outputs; and `"layers"`, which maps each layer to medians over
        images: `"quickness"` and `"linearity"` of the distances, `"moved"` (distance at the smallest step as a fraction
        of `|f(x)|`) and `"half_turn"` (distance at 180 degrees as a fraction of the largest; None if the transform is
        no rotation).
        `stability`, `quickness` and `linearity` are defined in `deconv.diagnostics.invariance_measures`.
    """
    offsets = found.offsets
    sizes = np.abs(offsets)
    step = sizes[sizes > 0].min()
    kept, unchanged = (None, None) if found.probability is None else stability(found)
    of_layers = {}
    for layer in layers:
        distances, turned = found.distances[layer], found.values == 180
        with np.errstate(invalid="ignore"):
            shares = distances / distances.max(axis=1, keepdims=True)
        of_layers[layer] = {
            "quickness": _median(quickness(offsets, distances)),
            "linearity": _median(linearity(offsets, distances)),
            "moved": _median(found.relative[layer][:, np.isclose(sizes, step)]),
            "half_turn": _median(shares[:, turned]) if found.kind == "rotation" else None,
        }
    return {
        "step": float(step),
        "in_proportion": float(step / sizes.max()),
        "kept": kept,
        "unchanged": unchanged,
        "layers": of_layers,
    }


def _table(measured: Mapping[str, dict[str, Any]], layers: Sequence[str], count: int) -> Table:
    rows: list[list[Any]] = []
    for kind in KINDS:
        of_output = [measured[kind]["kept"], measured[kind]["unchanged"]]
        for layer in layers:
            of_layer = measured[kind]["layers"][layer]
            names = ("quickness", "linearity", "moved", "half_turn")
            rows.append([f"{kind}, {layer}", *(of_layer[name] for name in names)])
            rows[-1] += of_output if layer == layers[-1] else [None, None]
    columns = ["transform, layer", "distance at the smallest step / largest", "R² of a line through the origin"]
    columns += ["distance at the smallest step / |f(x)|", "distance at 180° / largest"]
    columns += ["probability kept", "predictions unchanged"]
    also = ", for the output means"
    if any(measured[kind]["kept"] is None for kind in KINDS):  # no class outputs
        also = ""
        columns, rows = columns[:-2], [row[:-2] for row in rows]
    return Table(
        "Invariance in numbers",
        columns,
        [[row[0], *(None if number is None else round(number, 3) for number in row[1:])] for row in rows],
        f"Medians over {count} images{also}. The smallest steps are "
        f"{measured['translation']['step']:g} pixels, {measured['scale']['step']:g} of the scale and "
        f"{measured['rotation']['step']:g}°. The paper prints no such numbers.",
    )


def _shown_transforms(images: np.ndarray, found: Invariance, fill: float) -> tuple[np.ndarray, np.ndarray]:
    """Return some transforms of the images as intensities `(images, shown, ...)`, and their values."""
    wanted: Any = SHOWN[found.kind]
    if found.kind == "translation":
        wanted = np.multiply(wanted, found.values.max())
    elif found.kind == "scale":
        wanted = 1 + np.multiply(wanted, found.values.max() - 1)
    values = np.array([found.values[np.abs(found.values - value).argmin()] for value in wanted])
    moved = transform(np.repeat(images, len(values), axis=0), found.kind, np.tile(values, len(images)), fill=fill)
    return pixels(moved).reshape(len(images), len(values), *moved.shape[1:]), values


def _restricted(found: Invariance, drawn: np.ndarray) -> Invariance:
    """Restrict an `Invariance` to the given images."""
    parts: dict[str, Any] = {"distances": {layer: distances[drawn] for layer, distances in found.distances.items()}}
    if found.probability is not None and found.predicted is not None:
        parts |= {"probability": found.probability[drawn], "predicted": found.predicted[drawn]}
    return found._replace(**parts)


def _notes(measured: dict[str, Any], layers: Sequence[str]) -> list[str]:
    """Texts above the charts of one kind of transform."""
    notes = []
    for layer in layers:
        one = measured["layers"][layer]
        note = f"smallest step: {one['quickness']:.0%} of the largest distance; R² {one['linearity']:.2f}"
        notes.append(note.replace("-", "−"))
    if measured["kept"] is None:
        return notes
    retained = f"mean {measured['kept']:.0%} retained"
    return [*notes, f"{retained}; {measured['unchanged']:.0%} of predictions unchanged"]


def _median(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else np.nan
