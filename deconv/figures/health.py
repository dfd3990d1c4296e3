"""Layer health of trained networks: dead and repeated filters, co-adaptation, and the gap to held-out images."""

import re

import numpy as np

from deconv import graph
from deconv.datasets.image_set import ImageSet, fit_image
from deconv.diagnostics.layer_health import health
from deconv.figures.picture import Picture
from deconv.figures.published import Table
from deconv.figures.subset import part_of
from deconv.figures.training_runs import read_runs
from deconv.plotting.health import health_sheet, regularisation_sheet

_SHARES = (("train_accuracy", "test_accuracy"), ("train_top1", "top1"))
_RARE, _ALIKE = 0.01, 0.95


def health_pictures(subject, **options):
    """Draw the layer health of the network, and that of the runs of the group `regularisation`.

    Args:
        subject: The `Subject`.
        options: Other arguments of `deconv.health`, such as `batch_size`.
    """
    data = subject.data if subject.training is None else subject.training
    sets = [None if some is None else part_of(some, subject.seed) for some in (data, subject.held_out)]
    if subject.training is None:
        sets[1] = None  # without training images there is no gap between training and held-out images
    if _sees(subject.model, data):
        yield _of_one(subject, *sets, options)
    runs = read_runs(subject.runs and subject.runs / "regularisation")
    if runs and subject.training is not None and subject.held_out is not None:
        yield from _of_runs(subject, runs, options)


def _of_one(subject, seen, unseen, options):
    found = examined(subject, subject.model, seen, unseen, **options)
    title = f"Health of {subject.model.name}, layer by layer"
    known, both = subject.trained_on is not None and subject.training is not None, subject.trained_on == "both"
    which = " on which it was trained," if known else ""
    caption = (
        f"Over {seen.size:,} images of the {seen.split} part of {seen.name},{which}"
        + (f" and {unseen.size:,} of its {unseen.split} part," if unseen is not None else "")
        + " evenly spaced. Dead: never above zero in any of them; rare: in fewer than 1 % of them. Filters: the root "
        "mean square of each, by the layer's median. Repeated: filters with another one of the same layer that has a "
        f"cosine of at least {_ALIKE:g}, or at most −{_ALIKE:g}. Co-adaptation: mean absolute correlation, over "
        "images, between the mean activations of two channels. Independent: the participation ratio of the "
        "eigenvalues of their covariance, as a share of the channels."
        + (
            " Gap: how far the mean activation of a channel over the first is from that over the others, in standard "
            "deviations, on average over channels; the dashed line is chance."
            if unseen is not None
            else ""
        )
        + (" The network has been trained on both parts." if both and unseen is not None else "")
        + (" Whether the network has been trained on either is not known." if not known and unseen is not None else "")
    )
    numbers = {"data": seen.source, "unseen": None if unseen is None else unseen.source, "rare": _RARE, "alike": _ALIKE}
    numbers["layers"] = {layer: _numbers(one) for layer, one in found.items()}
    tables = [Table(title, *_layer_rows(found))]
    return Picture("health", title, caption, health_sheet(found, title), numbers, tables=tables)


def _of_runs(subject, runs, options):
    """Compare the networks of a group, each on its own training images and on the held-out images."""
    found, sizes = {}, []
    for run in runs:
        model, trained_on = run.model(), images_of(run, subject.training)
        if trained_on is None or not _sees(model, trained_on):
            continue
        seen, unseen = (part_of(some, subject.seed) for some in (trained_on, subject.held_out))
        found[run.name] = examined(subject, model, seen, unseen, **options)
        sizes.append((seen.size, unseen.size))
    if not found:
        return
    accuracies = {run.name: accuracies_of(run) for run in runs if run.name in found}
    title = f"{subject.model.name} trained in {len(found)} ways: overfitting and co-adaptation"
    counts = sorted({size for size, _ in sizes})
    caption = (
        f"Each network over {' or '.join(f'{count:,}' for count in counts)} of the images that it was trained on and "
        f"{sizes[0][1]:,} held-out ones of {subject.held_out.name}. Accuracies are those of its record. Activation "
        "gap, co-adaptation, independent channels, dead channels and filters as in the sheet of one network, where the "
        "gap has the standard deviation over images as its unit and the dashed line is chance. Colours as in the first "
        "chart. One training each: small differences may be chance."
    )
    numbers = {"accuracies": accuracies, "networks": {}}
    numbers["networks"] = {name: {layer: _numbers(one) for layer, one in some.items()} for name, some in found.items()}
    table = Table(title, *_run_rows(found, accuracies))
    figure = regularisation_sheet(found, accuracies, title)
    yield Picture("health_regularisation", title, caption, figure, numbers, tables=[table])


def examined(subject, model, seen, unseen, **options):
    """`deconv.health` of a network with the subject's preprocessing; images are resized to its input if necessary."""
    shape = graph.walk(model).inputs[0].shape
    sets = [None if some is None else fitted(some, shape) for some in (seen, unseen)]
    options |= {"preprocess": subject.preprocess, "rare": _RARE, "alike": _ALIKE}
    return health(model, sets[0], unseen=sets[1], **options)


def images_of(run, training):
    """Training images of a run: all of `training` or the part named in its record; None if they are other images."""
    about = run.record.get("data", {})
    part = re.search(r"Of these, part (\d+) of (\d+)\.$", about.get("train", ""))
    found = training if part is None else training.shard(int(part[2]), int(part[1]) - 1)
    return found if about.get("train_size", found.size) == found.size else None


def accuracies_of(run):
    """Accuracies on training and test images, as fractions; None for values missing in the record."""
    results = run.record["results"]
    train, test = next((pair for pair in _SHARES if pair[1] in results), _SHARES[0])
    return results.get(train), results.get(test)


def fitted(image_set, shape):
    """`ImageSet` resized to the input size of a network."""
    if tuple(image_set.image_shape) == tuple(shape) or not isinstance(image_set, ImageSet):
        return image_set
    dataset = image_set.dataset.map(lambda image, label, id: (fit_image(image, shape[:2], shape[2]), label, id))
    return image_set._replace(dataset=dataset, image_shape=tuple(shape), encoded=None)


def _sees(model, data):
    """Whether the network has a single image input with the number of channels of the data."""
    inputs = graph.walk(model).inputs
    return len(inputs) == 1 and len(inputs[0].shape) == 3 and inputs[0].shape[2] == data.image_shape[2]


def repeated(one):
    """Number of filters of a layer that are similar to another filter."""
    return 0 if one.filters is None else len(np.unique(one.filters.duplicates))


def _numbers(one):
    """Health of a layer as JSON-serialisable numbers."""
    activity = one.activity
    numbers = {"channels": len(one.dead), "images": activity.images}
    numbers |= {"dead": np.flatnonzero(one.dead), "rare": np.flatnonzero(one.rare)}
    numbers |= {"active": activity.active, "covered": activity.covered, "mean": activity.mean, "rms": activity.rms}
    numbers |= {"correlation": activity.correlation, "independent": activity.independent}
    if one.filters is not None:
        numbers["filters"] = one.filters._asdict()
    if one.gap is not None:
        numbers["gap"] = {**one.gap._asdict(), "unseen_images": one.unseen.images}
        numbers["gap"]["correlation"] = one.unseen.correlation
    return numbers


def _layer_rows(found):
    columns = ["layer", "channels", "dead", "rare", "RMS, largest / median", "RMS, spread / mean", "repeated filters"]
    columns += ["co-adaptation", "independent channels", "gap", "gap by chance"]
    rows = []
    for layer, one in found.items():
        spread, variation = (None, None) if one.filters is None else (one.filters.spread, one.filters.variation)
        gap, chance = (None, None) if one.gap is None else (one.gap.size, one.gap.chance)
        rows.append([layer, len(one.dead), int(one.dead.sum()), int(one.rare.sum()), _rounded(spread, 2)])
        rows[-1] += [_rounded(variation, 2), repeated(one), _rounded(one.activity.correlation, 3)]
        rows[-1] += [_rounded(one.activity.independent, 1), _rounded(gap, 3), _rounded(chance, 3)]
    return columns, rows


def _run_rows(found, accuracies):
    columns = ["network", "training accuracy (%)", "test accuracy (%)", "difference (points)", "activation gap"]
    columns += ["by chance", "co-adaptation", "independent channels (%)", "dead channels (%)", "RMS, largest / median"]
    rows = []
    for name, layers in found.items():
        train, test = accuracies[name]
        lost = None if train is None or test is None else train - test
        hidden = list(layers.values())[:-1] or list(layers.values())
        independent = [100 * one.activity.independent / len(one.dead) for one in hidden]
        spreads = [one.filters.spread for one in hidden if one.filters is not None]
        means = [_mean(values) for values in ([one.gap.size for one in hidden], [one.gap.chance for one in hidden])]
        means.append(_mean([one.activity.correlation for one in hidden]))
        rows.append([name, *(_rounded(share and 100 * share, 2) for share in (train, test, lost))])
        rows[-1] += [_rounded(value, 3) for value in means]
        rows[-1] += [
            _rounded(_mean(independent), 1),
            _rounded(100 * _mean(np.concatenate([o.dead for o in hidden])), 1),
        ]
        rows[-1].append(_rounded(max(spreads, default=np.nan), 2))
    note = "Means over the hidden layers; of dead channels over all their channels; of the RMS the layer with the most."
    return columns, rows, note


def _mean(values):
    known = np.asarray(values, float)[~np.isnan(np.asarray(values, float))]
    return float(known.mean()) if len(known) else np.nan


def _rounded(value, digits):
    return None if value is None or not np.isfinite(value) else round(float(value), digits)
