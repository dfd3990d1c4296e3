"""Fig. 5: invariance of the first and last hidden layer and of the output to translation, scale and rotation."""

import numpy as np

from deconv import graph
from deconv.diagnostics.invariance import invariance
from deconv.diagnostics.invariance_measures import linearity, quickness, stability
from deconv.diagnostics.layer_choice import hidden_layers
from deconv.figures.fig5_symmetry import half_turn_data, symmetry_finding
from deconv.figures.picture import Picture
from deconv.figures.published import Finding, Table
from deconv.graph.model_output import output_kind
from deconv.imaging.affine_transforms import KINDS, transform
from deconv.plotting import pixels
from deconv.plotting.invariance import invariance_sheet

SHOWN = {"translation": (-1, 0, 0.5, 1), "scale": (0, 0.25, 0.5, 1), "rotation": (0, 30, 90, 180)}
"""Transforms shown as tiles: fractions of the largest translation and of the largest scale change, and degrees."""

DRAWN = 5
"""Number of images in the charts of the paper."""

DRAMATIC, STEADY, STRAIGHT = 3, 0.75, 0.9
"""Thresholds of the claims, for which the paper gives no numbers: a change is dramatic if the first step is three times
as long as proportional growth gives, steady if 75 % is kept, and nearly proportional if R² is at least 0.9."""


def invariance_data(subject, layers, images, targets):
    """Run the three experiments on the same images and return `{kind: Invariance}`."""
    options = {"layers": layers, "fill": subject.fill, "preprocess": subject.preprocess}
    return {kind: invariance(subject.model, images, targets, kind, **options) for kind in KINDS}


def invariance_pictures(subject):
    """Draw Fig. 5 and its table; nothing if the network has fewer than two hidden layers."""
    try:
        layers = [step.name for step in hidden_layers(graph.walk(subject.model))]
    except ValueError:  # fewer than two hidden layers to compare
        return
    images, labels, ids = subject.examples()
    targets = subject.targets(labels)
    found = invariance_data(subject, layers, images, targets)
    turned = half_turn_data(subject, layers[-1])
    measured = {kind: measures(one, layers) for kind, one in found.items()}
    drawn = np.sort(np.random.default_rng(subject.seed).permutation(len(images))[:DRAWN])
    title = f"Vertical translation, scale and rotation: what moves in {subject.model.name}"
    strange, score = sum(target is None for target in targets), output_kind(graph.walk(subject.model))
    caption = (
        f"After the paper's Fig. 5. {len(drawn)} images of {subject.data.name}, drawn at random; those moved, scaled "
        "about the middle and turned about the middle, by inverse mapping with bilinear interpolation; pixels of value "
        f"{subject.fill:g} come in from outside. Distances are between all activations of a layer for the image and "
        f"for the transformed one, not normalised. {layers[0]} stands for the paper's layer 1, with its pooling and "
        f"normalisation if it has them, {layers[1]} for its layer 7. The small numbers above the charts, and what is "
        f"found below, are medians over {len(images)} images, at most one per class, for the layers, and means for the "
        "output."
        + (
            f" Of {strange} of them the network does not know the class; the {score} is then of the class that it "
            "finds most probable in the image as it is."
            if strange
            else ""
        )
    )
    tiles, values = zip(*(_shown(images[drawn], one, subject.fill) for one in found.values()), strict=True)
    names = [
        subject.data.class_names[labels[place]]
        if targets[place] is not None
        else f"{subject.data.class_names[labels[place]]}? It says: {subject.class_names[one.targets[place]]}"
        for one in [found["translation"]]
        for place in drawn
    ]
    figure = invariance_sheet(
        [_of(one, drawn) for one in found.values()],
        tiles,
        values,
        names,
        [*zip(layers, ("first layer", "last hidden layer"), strict=True)],
        [_notes(measured[kind], layers) for kind in found],
        title,
        f"{score} of the class" if strange else f"{score} of the true class",
        score,
    )
    numbers = {"layers": layers, "fill": subject.fill, "interpolation": "bilinear", "image_ids": ids, "labels": labels}
    numbers |= {"drawn": drawn, "measures": measured, "half_turn": turned._asdict()}
    numbers |= {kind: {**one._asdict(), "relative": one.relative} for kind, one in found.items()}
    findings = [
        *invariance_findings(measured, layers, ", of the class that it believes in" if strange else "", score),
        symmetry_finding(turned, subject.data.class_names),
    ]
    yield Picture("fig5_invariance", title, caption, figure, numbers, findings, [_table(measured, layers, len(images))])


def measures(found, layers):
    """Compute the measures used to test the claims, for one kind of transform.

    Args:
        found: `Invariance` of one kind of transform.
        layers: Names of the layers.

    Returns:
        Dict: `"step"`, the smallest step; `"in_proportion"`, its fraction of the largest; `"kept"` and `"unchanged"`,
        the values of `stability`; and `"layers"`, which maps each layer to medians over images: `"quickness"` and
        `"linearity"` of the distances, `"moved"` (distance at the smallest step as a fraction of `|f(x)|`) and
        `"half_turn"` (distance at 180 degrees as a fraction of the largest; None if the transform is no rotation).
        `stability`, `quickness` and `linearity` are defined in `deconv.diagnostics.invariance_measures`.
    """
    offsets = found.offsets
    sizes = np.abs(offsets)
    step = sizes[sizes > 0].min()
    kept, unchanged = stability(found)
    told = {"step": float(step), "in_proportion": float(step / sizes.max()), "kept": kept, "unchanged": unchanged}
    told["layers"] = {}
    for layer in layers:
        distances, turned = found.distances[layer], found.values == 180
        with np.errstate(invalid="ignore"):
            shares = distances / distances.max(axis=1, keepdims=True)
        told["layers"][layer] = {
            "quickness": _median(quickness(offsets, distances)),
            "linearity": _median(linearity(offsets, distances)),
            "moved": _median(found.relative[layer][:, np.isclose(sizes, step)]),
            "half_turn": _median(shares[:, turned]) if found.kind == "rotation" else None,
        }
    return told


def invariance_findings(measured, layers, whose="", score="probability"):
    """Test the claims about Fig. 5, except for the one about symmetry.

    Args:
        measured: `{kind: measures}`.
        layers: Names of the first and of the last hidden layer.
        whose: Additional remark on the probabilities.
        score: Kind of model output; claims about the output are tested for probabilities only.

    Returns:
        List of `Finding`.
    """
    first, last = layers
    probable, no_share = score == "probability", f"what the network puts out is no probability: {score}"
    (quick, _), (moved, moved_last), (straight, straight_last) = (
        [{kind: measured[kind]["layers"][layer][name] for kind in KINDS} for layer in layers]
        for name in ("quickness", "moved", "linearity")
    )
    usual = {kind: measured[kind]["in_proportion"] for kind in KINDS}
    steps = {
        "translation": f"{measured['translation']['step']:g} px",
        "scale": f"a factor of {1 + measured['scale']['step']:g}",
        "rotation": f"{measured['rotation']['step']:g} degrees",
    }
    straight_kinds = ("translation", "scale")
    kept = {
        kind: f"{kind}: {told['kept']:.0%} of the probability kept, {told['unchanged']:.0%} of the predictions the same"
        for kind, told in measured.items()
    }
    steady = {kind: min(told["kept"], told["unchanged"]) >= STEADY for kind, told in measured.items()}
    criterion = (
        f"over the whole range the mean probability of the class is at least {STEADY:.0%} of that in the images as "
        f"they are, and at least {STEADY:.0%} of the predictions are the same as there"
    )
    return [
        Finding(
            "fig5-first-layer",
            _known(all(quick[kind] >= DRAMATIC * usual[kind] for kind in KINDS), *quick.values()),
            f"for each of the three transforms {first} moves at the smallest step by at least {DRAMATIC} times the "
            "share of its largest distance that would be in proportion (median over images)",
            "; ".join(f"{quick[kind]:.0%} at {steps[kind]}, in proportion {usual[kind]:.0%}" for kind in KINDS),
        ),
        Finding(
            "fig5-last-layer",
            _known(
                all(moved_last[kind] < moved[kind] and straight_last[kind] >= STRAIGHT for kind in straight_kinds),
                *(each[kind] for kind in straight_kinds for each in (moved, moved_last, straight_last)),
            ),
            f"for translation and for scale {last} moves at the smallest step by a smaller share of |f(x)| than "
            f"{first}, and R² of its distance against the size of the transform, on a line through the origin, is "
            f"{STRAIGHT:g} or more (medians over images)",
            "; ".join(
                f"{kind}: {moved_last[kind]:.0%} of |f(x)| at {steps[kind]} ({first} {moved[kind]:.0%}), "
                f"R² {straight_last[kind]:.2f} ({first} {straight[kind]:.2f})"
                for kind in straight_kinds
            ),
        ),
        Finding(
            "fig5-output",
            all(steady[kind] for kind in straight_kinds) if probable else None,
            f"for translation and for scale, {criterion}",
            "; ".join(kept[kind] for kind in straight_kinds) + whose if probable else no_share,
        ),
        Finding(
            "fig5-rotation",
            not steady["rotation"] if probable else None,
            f"it is not so that {criterion}",
            kept["rotation"] + whose if probable else no_share,
        ),
    ]


def _table(measured, layers, count):
    rows = []
    for kind in KINDS:
        told = measured[kind]
        for layer in layers:
            of = told["layers"][layer]
            rows.append([f"{kind}, {layer}", of["quickness"], of["linearity"], of["moved"], of["half_turn"]])
            rows[-1] += [told["kept"], told["unchanged"]] if layer == layers[-1] else [None, None]
    return Table(
        "Invariance in numbers",
        [
            "transform, layer",
            "distance at the smallest step / largest",
            "R² of a line through the origin",
            "distance at the smallest step / |f(x)|",
            "distance at 180° / largest",
            "probability kept",
            "predictions unchanged",
        ],
        [[row[0], *(None if number is None else round(number, 3) for number in row[1:])] for row in rows],
        f"Medians over {count} images, for the output means. The smallest steps are "
        f"{measured['translation']['step']:g} pixels, {measured['scale']['step']:g} of the scale and "
        f"{measured['rotation']['step']:g}°. The paper prints no such numbers.",
    )


def _shown(images, found, fill):
    """Return some transforms of the images as intensities `(images, shown, ...)`, and their values."""
    wanted = SHOWN[found.kind]
    if found.kind == "translation":
        wanted = np.multiply(wanted, found.values.max())
    elif found.kind == "scale":
        wanted = 1 + np.multiply(wanted, found.values.max() - 1)
    values = np.array([found.values[np.abs(found.values - value).argmin()] for value in wanted])
    moved = transform(np.repeat(images, len(values), axis=0), found.kind, np.tile(values, len(images)), fill=fill)
    return pixels(moved).reshape(len(images), len(values), *moved.shape[1:]), values


def _of(found, drawn):
    """Restrict an `Invariance` to the given images."""
    parts = {"distances": {layer: distances[drawn] for layer, distances in found.distances.items()}}
    parts |= {"probability": found.probability[drawn], "predicted": found.predicted[drawn]}
    return found._replace(**parts)


def _notes(told, layers):
    def of(layer):
        one = told["layers"][layer]
        return f"first step: {one['quickness']:.0%} of the largest; R² {one['linearity']:.2f}".replace("-", "−")

    steady = f"mean {told['kept']:.0%} of what it was; {told['unchanged']:.0%} of predictions the same"
    return [*map(of, layers), steady]


def _median(values):
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else np.nan


def _known(answer, *numbers):
    """Return the answer, or None if a number that it depends on is NaN."""
    return None if np.isnan(numbers).any() else bool(answer)
