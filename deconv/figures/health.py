"""Layer health of trained networks: dead and repeated filters, co-adaptation, and the gap to held-out images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from deconv import graph
from deconv.datasets.image_set import ImageSet, fit_image
from deconv.diagnostics.layer_health import LayerHealth, health
from deconv.figures.image_subset import part_of
from deconv.figures.picture import Picture
from deconv.figures.published_results import Table
from deconv.figures.subject import Subject
from deconv.figures.training_runs import Run, read_runs
from deconv.plotting.health import health_sheet, regularisation_sheet

_SHARES = (("train_accuracy", "test_accuracy"), ("train_top1", "top1"))
_RARE, _ALIKE = 0.01, 0.95


def health_pictures(subject: Subject, **options: Any) -> Iterator[Picture]:
    """Draw the layer health of the network, and that of the runs of the group `regularisation`.

    Args:
        subject: The `Subject`.
        options: Other arguments of `deconv.health`, such as `batch_size`.
    """
    data = subject.data if subject.training is None else subject.training
    # Without training images there is no gap between training and held-out images.
    held_out = None if subject.training is None or subject.held_out is None else part_of(subject.held_out, subject.seed)
    if _accepts(subject.model, data):
        yield _of_one(subject, part_of(data, subject.seed), held_out, options)
    runs = read_runs(subject.runs and subject.runs / "regularisation")
    if runs and subject.training is not None and subject.held_out is not None:
        yield from _of_runs(subject, runs, options)


def _of_one(subject: Subject, seen: ImageSet, unseen: ImageSet | None, options: dict[str, Any]) -> Picture:
    options = {"layers": subject.examined_layers(), **options}
    layers: Mapping[Any, LayerHealth] = health_of(subject, subject.model, seen, unseen, **options)
    title = f"Health of {subject.model.name}, layer by layer"
    known, both = subject.trained_on is not None and subject.training is not None, subject.trained_on == "both"
    caption = (
        f"Over {seen.size:,} images of the {seen.split} part of {seen.name}"
        + (" on which the network was trained" if known else "")
        + (f" and {unseen.size:,} of its {unseen.split} part" if unseen is not None else "")
        + ", evenly spaced. Dead: never above zero in any of them; rare: above zero in fewer than 1 % of them. "
        "Filters: root mean square of each filter, divided by the median of the layer. Repeated: filters whose cosine "
        f"similarity with another filter of the layer is at least {_ALIKE:g} or at most −{_ALIKE:g}. Co-adaptation: "
        "mean absolute correlation, over images, between the mean activations of two channels. Independent: "
        "participation ratio of the eigenvalues of their covariance, as a fraction of the number of channels."
    )
    if unseen is not None:
        caption += (
            " Gap: difference between the mean activations of a channel over the first and over the second images, in "
            "standard deviations, averaged over channels; the dashed line is the value expected by chance."
        )
        if both:
            caption += " The network has been trained on both parts."
        if not known:
            caption += " It is not known whether the network has been trained on either part."
    numbers: dict[str, Any] = {"data": seen.source, "unseen": None if unseen is None else unseen.source}
    numbers |= {"rare": _RARE, "alike": _ALIKE}
    numbers["layers"] = {layer: _numbers(one) for layer, one in layers.items()}
    tables = [Table(title, *_layer_rows(layers))]
    return Picture(
        name="health", title=title, caption=caption, figure=health_sheet(layers, title), numbers=numbers, tables=tables
    )


def _of_runs(subject: Subject, runs: Sequence[Run], options: dict[str, Any]) -> Iterator[Picture]:
    """Compare the networks of a group, each on its own training images and on the held-out images."""
    found: dict[str, Mapping[Any, LayerHealth]] = {}
    sizes: list[tuple[int, int]] = []
    for run in runs:
        model, trained_on = run.model(), images_of(run, subject.training)
        if trained_on is None or not _accepts(model, trained_on):
            continue
        seen, unseen = (part_of(images, subject.seed) for images in (trained_on, subject.held_out))
        found[run.name] = health_of(subject, model, seen, unseen, **options)
        sizes.append((seen.size, unseen.size))
    if not found:
        return
    accuracies = {run.name: accuracies_of(run) for run in runs if run.name in found}
    ways = "way" if len(found) == 1 else "ways"
    title = f"{subject.model.name} trained in {len(found)} {ways}: overfitting and co-adaptation"
    counts = sorted({size for size, _ in sizes})
    caption = (
        f"Each network over {' or '.join(f'{count:,}' for count in counts)} of its training images and "
        f"{sizes[0][1]:,} held-out images of {subject.held_out.name}. Accuracies are those of the training record. "
        "Activation gap, co-adaptation, independent channels, dead channels and filters are defined as in the figure "
        "of a single network: the unit of the gap is the standard deviation over images, and the dashed line is the "
        "value expected by chance. Colours as in the first chart. There is one training run per network, so small "
        "differences may be due to chance."
    )
    networks = {name: {layer: _numbers(one) for layer, one in layers.items()} for name, layers in found.items()}
    numbers = {"accuracies": accuracies, "networks": networks}
    table = Table(title, *_run_rows(found, accuracies))
    figure = regularisation_sheet(found, accuracies, title)
    yield Picture(
        name="health_regularisation", title=title, caption=caption, figure=figure, numbers=numbers, tables=[table]
    )


def health_of(
    subject: Subject, model: keras.Model, seen: ImageSet, unseen: ImageSet | None, **options: Any
) -> dict[str | int, LayerHealth]:
    """`deconv.health` of a network with the subject's preprocessing; images are resized to its input if necessary."""
    shape = graph.walk(model).inputs[0].shape
    others = None if unseen is None else resized_to(unseen, shape)
    options = {"batch_size": subject.batch_size, **options}
    options |= {"preprocess": subject.preprocess, "rare": _RARE, "alike": _ALIKE}
    return health(model, resized_to(seen, shape), unseen=others, **options)


def images_of(run: Run, training: ImageSet) -> ImageSet | None:
    """Training images of a run: all of `training` or the part named in its record; None if they are other images."""
    about = run.record.get("data", {})
    part = re.search(r"Of these, part (\d+) of (\d+)\.$", about.get("train", ""))
    images = training if part is None else training.shard(int(part[2]), int(part[1]) - 1)
    return images if about.get("train_size", images.size) == images.size else None


def accuracies_of(run: Run) -> tuple[float | None, float | None]:
    """Accuracies on training and test images, as fractions; None for values missing in the record."""
    results = run.record["results"]
    train, test = next((pair for pair in _SHARES if pair[1] in results), _SHARES[0])
    return results.get(train), results.get(test)


def resized_to(image_set: ImageSet, shape: Sequence[Any]) -> ImageSet:
    """`ImageSet` resized to the input size of a network."""
    height, width, channels = shape
    if tuple(image_set.image_shape) == (height, width, channels) or not isinstance(image_set, ImageSet):
        return image_set
    dataset = image_set.dataset.map(lambda image, label, id: (fit_image(image, (height, width), channels), label, id))
    return image_set._replace(dataset=dataset, image_shape=(height, width, channels), encoded=None)


def _accepts(model: keras.Model, data: ImageSet) -> bool:
    """Whether the network has a single image input with the number of channels of the data."""
    inputs = graph.walk(model).inputs
    return len(inputs) == 1 and len(inputs[0].shape) == 3 and inputs[0].shape[2] == data.image_shape[2]


def repeated_filters(one: LayerHealth) -> int:
    """Number of filters of a layer that are similar to another filter."""
    return 0 if one.filters is None else len(np.unique(one.filters.duplicates))


def _numbers(one: LayerHealth) -> dict[str, Any]:
    """Health of a layer as JSON-serialisable numbers."""
    activity = one.activity
    numbers: dict[str, Any] = {"channels": len(one.dead), "images": activity.images}
    numbers |= {"dead": np.flatnonzero(one.dead), "rare": np.flatnonzero(one.rare)}
    numbers |= {"active": activity.active, "covered": activity.covered, "mean": activity.mean, "rms": activity.rms}
    numbers |= {"correlation": activity.correlation, "independent": activity.independent}
    if one.filters is not None:
        numbers["filters"] = one.filters._asdict()
    if one.gap is not None:
        assert one.unseen is not None  # a gap is computed from unseen images
        numbers["gap"] = {**one.gap._asdict(), "unseen_images": one.unseen.images}
        numbers["gap"]["correlation"] = one.unseen.correlation
    return numbers


def _layer_rows(found: Mapping[str, LayerHealth]) -> tuple[list[str], list[list[Any]]]:
    columns = ["layer", "channels", "dead", "rare", "RMS, largest / median", "RMS, spread / mean", "repeated filters"]
    columns += ["co-adaptation", "independent channels", "gap", "gap by chance"]
    rows: list[list[Any]] = []
    for layer, one in found.items():
        spread, variation = (None, None) if one.filters is None else (one.filters.spread, one.filters.variation)
        gap, chance = (None, None) if one.gap is None else (one.gap.size, one.gap.chance)
        rows.append([layer, len(one.dead), int(one.dead.sum()), int(one.rare.sum()), _rounded(spread, 2)])
        rows[-1] += [_rounded(variation, 2), repeated_filters(one), _rounded(one.activity.correlation, 3)]
        rows[-1] += [_rounded(one.activity.independent, 1), _rounded(gap, 3), _rounded(chance, 3)]
    return columns, rows


def _run_rows(
    found: Mapping[str, Mapping[str, LayerHealth]], accuracies: Mapping[str, tuple[float | None, float | None]]
) -> tuple[list[str], list[list[Any]], str]:
    columns = ["network", "training accuracy (%)", "test accuracy (%)", "difference (points)", "activation gap"]
    columns += ["by chance", "co-adaptation", "independent channels (%)", "dead channels (%)", "RMS, largest / median"]
    rows: list[list[Any]] = []
    for name, layers in found.items():
        train, test = accuracies[name]
        lost = None if train is None or test is None else train - test
        hidden = list(layers.values())[:-1] or list(layers.values())
        independent = [100 * one.activity.independent / len(one.dead) for one in hidden]
        spreads = [one.filters.spread for one in hidden if one.filters is not None]
        gaps = [one.gap for one in hidden if one.gap is not None]
        means = [_mean([gap.size for gap in gaps]), _mean([gap.chance for gap in gaps])]
        means.append(_mean([one.activity.correlation for one in hidden]))
        rows.append([name, *(_rounded(share and 100 * share, 2) for share in (train, test, lost))])
        rows[-1] += [_rounded(value, 3) for value in means]
        rows[-1] += [
            _rounded(_mean(independent), 1),
            _rounded(100 * _mean(np.concatenate([one.dead for one in hidden])), 1),
        ]
        rows[-1].append(_rounded(max(spreads, default=np.nan), 2))
    note = "Means over the hidden layers; of dead channels over all their channels; of the RMS the layer with the most."
    return columns, rows, note


def _mean(values: Sequence[float] | np.ndarray) -> float:
    known = np.asarray(values, float)[~np.isnan(np.asarray(values, float))]
    return float(known.mean()) if len(known) else np.nan


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), digits)
