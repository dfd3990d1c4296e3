"""Variants of networks to compare: one over time, several with different regularisation, and the rows of Table 3."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

GROUPS = ("evolution", "regularisation", "ablation")
"""`evolution`: one run of 64 epochs, with the checkpoints of Fig. 4. `regularisation`: the same network with dropout,
weight decay and the like, with none and with all. `ablation`: the rows of Table 3, each trained from scratch."""


_Row = tuple[str, str, str, str, dict[str, Any]]
"""Slug, name, row, change and options of a `Variant`."""


class Variant(NamedTuple):
    """One network to train.

    Attributes:
        group: One of `GROUPS`.
        place: Its position in the group, from 1.
        slug: Name of its folder.
        name: A short description of what distinguishes it.
        row: The corresponding row of the paper's Table 3, as in `deconv.figures.published_results`; "" for none.
        change: The change, in terms common to all architectures: `"none"`, `"convolutions"`, `"last dense"` or
            `"dense"` (left out), `"convolutions and dense"`, `"half"`, `"double"` (dense layers), `"wide"`
            (convolutions), `"wide and double"`; in the other groups the slug.
        options: Arguments of the training script that differ from its defaults.
    """

    group: str
    place: int
    slug: str
    name: str
    row: str
    change: str
    options: dict[str, Any]

    @property
    def record(self) -> dict[str, Any]:
        """The description of the variant in the record of a run."""
        return {name: getattr(self, name) for name in ("group", "place", "name", "row", "change")}


def variants(
    model: str, group: str, *, units: int = 4096, image_size: str | None = None, seed: int = 0
) -> tuple[Variant, ...]:
    """The variants of a network in a group, in order.

    Args:
        model: `"lenet5"` or `"alexnet"`; the ablation of the latter also includes rows of ZFNet, as Table 3 does.
        group: One of `GROUPS`.
        units: Size of AlexNet's unchanged fc6 and fc7; half and double are relative to it.
        image_size: As `scripts/train_alexnet.py --image-size` accepts it for AlexNet, or None. For a ZFNet, a final
            side of 227, AlexNet's, is replaced by its own 224.
        seed: Seed of the runs; LeNet-5's ablation has further runs with the next two seeds, for averages.

    Returns:
        Tuple of `Variant`.

    Raises:
        ValueError: If there is no such group for this network.
    """
    if model not in _TABLE or group not in GROUPS:
        raise ValueError(
            f"There are variants of {' and '.join(_TABLE)} in the groups {', '.join(GROUPS)}; received the model "
            f"{model!r} and the group {group!r}."
        )
    members = []
    for place, (slug, name, row, change, options) in enumerate(_TABLE[model][group](units), start=1):
        options = {**options, "seed": seed + options.get("seed", 0)}
        if image_size is not None:
            options["image_size"] = _own_side(image_size) if options.get("model") == "zfnet" else image_size
        members.append(Variant(group=group, place=place, slug=slug, name=name, row=row, change=change, options=options))
    return tuple(members)


def _own_side(image_size: str) -> str:
    """`"128:28,227"` adapted to ZFNet: `"128:28,224"`."""
    return re.sub(r"(^|,)227(?=$|:[^,]*$)", r"\g<1>224", image_size)


def _lenet5_evolution(_: int) -> list[_Row]:
    return [("as-it-is", "as it is", "", "none", {"epochs": 64})]


def _lenet5_regularisation(_: int) -> list[_Row]:
    """Variants on 1,000 digits, to allow overfitting, with small batches, to have enough steps for it."""
    few = {"epochs": 25, "every": 4, "batch_size": 32}
    plain: dict[str, Any] = {**few, "dropout": 0.0, "weight_decay": 0.0, "augment": False}
    twice = {"resize": {"conv1": 12, "conv2": 32, "fc3": 240, "fc4": 168}}
    kinds: list[tuple[str, str, dict[str, Any]]] = [
        ("plain", "plain", plain),
        ("dropout", "dropout", {**plain, "dropout": 0.5}),
        ("weight-decay", "weight decay", {**plain, "weight_decay": 0.1}),
        ("augmentation", "augmentation", {**plain, "augment": True}),
        ("all", "all three", {**plain, "dropout": 0.5, "weight_decay": 0.1, "augment": True}),
        ("plain-twice-as-wide", "plain, twice as wide", {**plain, **twice}),
    ]
    return [(slug, name, "", slug, options) for slug, name, options in kinds]


def _lenet5_ablation(_: int) -> list[_Row]:
    """The rows for LeNet-5, whose only convolution after the first corresponds to the paper's layers 3 and 4."""
    base, few = "replication of Krizhevsky et al.", {"epochs": 15}
    half, double = {"fc3": 60, "fc4": 42}, {"fc3": 240, "fc4": 168}
    wide = {"conv1": 12, "conv2": 32}
    rows: list[_Row] = [
        ("as-it-is", "as it is", base, "none", {}),
        ("without-conv2", "without conv2, pool2", "without layers 3, 4", "convolutions", {"without": ["conv2"]}),
        ("without-fc4", "without fc4", "without layer 7", "last dense", {"without": ["fc4"]}),
        ("without-fc3-fc4", "without fc3, fc4", "without layers 6, 7", "dense", {"without": ["fc3", "fc4"]}),
        (
            "without-conv2-fc3-fc4",
            "without conv2, pool2, fc3, fc4",
            "without layers 3, 4, 6, 7",
            "convolutions and dense",
            {"without": ["conv2", "fc3", "fc4"]},
        ),
        ("half", "fc3, fc4: 60, 42 units", "layers 6, 7: 2048 units", "half", {"resize": half}),
        ("double", "fc3, fc4: 240, 168 units", "layers 6, 7: 8192 units", "double", {"resize": double}),
        (
            "wide",
            "conv1, conv2: 12, 32 maps",
            "as in Fig. 3, layers 3, 4, 5: 512, 1024, 512 maps",
            "wide",
            {"resize": wide},
        ),
        (
            "wide-and-double",
            "12, 32 maps and 240, 168 units",
            "as in Fig. 3, both of the last two changes",
            "wide and double",
            {"resize": {**wide, **double}},
        ),
        ("as-it-is-again", "as it is, the next seed", base, "none", {"seed": 1}),
        ("as-it-is-once-more", "as it is, the seed after", base, "none", {"seed": 2}),
    ]
    return [(*row[:4], {**few, **row[4]}) for row in rows]


def _alexnet_evolution(_: int) -> list[_Row]:
    return [("as-it-is", "as it is", "", "none", {"epochs": 64})]


def _alexnet_regularisation(_: int) -> list[_Row]:
    """Variants of AlexNet; options that are not given are those of the recipe."""
    plain = {"dropout": 0.0, "weight_decay": 0.0, "filter_radius": 0.0}

    def only(name: str) -> dict[str, float]:
        return {option: value for option, value in plain.items() if option != name}

    kinds: list[tuple[str, str, dict[str, Any]]] = [
        ("plain", "plain", plain),
        ("dropout", "dropout", only("dropout")),
        ("weight-decay", "weight decay", only("weight_decay")),
        ("clipping", "clipping of filters", only("filter_radius")),
        ("all", "all three", {}),
    ]
    return [(slug, name, "", slug, options) for slug, name, options in kinds]


def _alexnet_ablation(units: int) -> list[_Row]:
    """The rows of Table 3, where half and double refer to the given size of the dense layers."""
    half, double = {"units": max(1, units // 2)}, {"units": 2 * units}
    zfnet = {"model": "zfnet"}
    wide = {"resize": {"conv3": 512, "conv4": 1024, "conv5": 512}}
    middle, dense = ["conv3", "conv4"], ["fc6", "fc7"]
    ours = "as in Fig. 3"
    return [
        ("alexnet", "AlexNet", "replication of Krizhevsky et al.", "none", {}),
        ("without-3-4", "without layers 3, 4", "without layers 3, 4", "convolutions", {"without": middle}),
        ("without-7", "without layer 7", "without layer 7", "last dense", {"without": ["fc7"]}),
        ("without-6-7", "without layers 6, 7", "without layers 6, 7", "dense", {"without": dense}),
        (
            "without-3-4-6-7",
            "without layers 3, 4, 6, 7",
            "without layers 3, 4, 6, 7",
            "convolutions and dense",
            {"without": [*middle, *dense]},
        ),
        ("half", f"layers 6, 7: {half['units']} units", "layers 6, 7: 2048 units", "half", half),
        ("double", f"layers 6, 7: {double['units']} units", "layers 6, 7: 8192 units", "double", double),
        ("zfnet", "ZFNet", ours, "none", zfnet),
        (
            "zfnet-half",
            f"ZFNet, layers 6, 7: {half['units']} units",
            f"{ours}, layers 6, 7: 2048 units",
            "half",
            {**zfnet, **half},
        ),
        (
            "zfnet-double",
            f"ZFNet, layers 6, 7: {double['units']} units",
            f"{ours}, layers 6, 7: 8192 units",
            "double",
            {**zfnet, **double},
        ),
        (
            "zfnet-wide",
            "ZFNet, layers 3, 4, 5: 512, 1024, 512 maps",
            f"{ours}, layers 3, 4, 5: 512, 1024, 512 maps",
            "wide",
            {**zfnet, **wide},
        ),
        (
            "zfnet-wide-and-double",
            f"ZFNet, 512, 1024, 512 maps and {double['units']} units",
            f"{ours}, both of the last two changes",
            "wide and double",
            {**zfnet, **wide, **double},
        ),
    ]


_TABLE: dict[str, dict[str, Callable[[int], list[_Row]]]] = {
    "lenet5": {
        "evolution": _lenet5_evolution,
        "regularisation": _lenet5_regularisation,
        "ablation": _lenet5_ablation,
    },
    "alexnet": {
        "evolution": _alexnet_evolution,
        "regularisation": _alexnet_regularisation,
        "ablation": _alexnet_ablation,
    },
}
