"""Whom `make_figures.py` draws: a network with its weights, the images that it is shown, what it is compared with."""

from pathlib import Path
from typing import NamedTuple


class Network(NamedTuple):
    """What a network is shown where nothing else is said; lengths are pixels, `fill` is a pixel value. The contrast is
    a percentile: see `deconv.figures.Subject`. `beside` is another network to set beside it."""

    build: str
    weights: str | None
    dataset: str
    split: str
    side: int
    channels: int
    fill: float
    square: int
    stride: int
    contrast: float
    transfer: str | None = None
    beside: str | None = None


NETWORKS = {
    "lenet5": Network("LeNet5", "mnist", "mnist-5k", "all", 28, 1, 0, 8, 1, 100, "digits-8x8"),
    "alexnet": Network("AlexNet", "imagenette", "imagenet-20", "test", 227, 3, 128, 50, 10, 99.5, beside="zfnet"),
    "alexnet_owt": Network("AlexNetOWT", "imagenet", "imagenet-20", "test", 224, 3, 128, 50, 10, 99.5),
    "zfnet": Network("ZFNet", "imagenette", "imagenet-20", "test", 224, 3, 128, 50, 10, 99.5, beside="alexnet"),
    "zfnet512": Network("ZFNet512", "imagenet", "imagenet-20", "test", 224, 3, 128, 50, 10, 99.5),
}

_TRAINED_ON = {
    ("mnist", "mnist-5k"): "both",
    ("mnist", "mnist"): "training",
    ("imagenette", "imagenette"): "training",
    ("imagenet", "imagenet"): "training",
}
"""Which parts of a data set our weights, or the published ones, have been trained on."""


def subject(name, network, *, data_dir=None, download=False, seed=0, runs=None, parts=None, needed=()):
    """The `deconv.figures.Subject` of a network.

    Args:
        name: A key of `NETWORKS`.
        network: Its `Network`, with what the user wants otherwise.
        data_dir, download: For TFDS.
        seed: Of every random choice.
        runs, parts: See `Subject`.
        needed: Names of the recipes that will be drawn; what none of them needs is not loaded.

    Raises:
        ValueError, ImportError: If weights or data are not there; the message says what to do.
    """
    import models
    from deconv import figures

    def load(dataset, split):
        return _loaded(dataset, split, network, data_dir, download)

    data = load(network.dataset, network.split)
    if not data.class_names:
        raise ValueError(f"--dataset {network.dataset} has no classes; put its pictures into one sub-folder per class.")
    if data.several:
        raise ValueError(
            f"--dataset {network.dataset} has several labels for an image, and one is needed; as --transfer "
            f"{network.dataset} it makes Table 6."
        )
    model, classes = _built(network, data)
    training = held_out = transfer = None
    if {"fig4", "health", "table3", "table7"} & set(needed):
        training, held_out = (_if_there(load, network.dataset, split) for split in ("train", "test"))
    if network.transfer is not None and {"table7", "transfer"} & set(needed):
        # The network's own training images would make its features look better than they are.
        transfer = load(network.transfer, "test" if network.transfer in (network.weights, network.dataset) else "all")
    others = ()
    if network.beside is not None and "fig6" in needed:
        beside = NETWORKS[network.beside]._replace(dataset=network.dataset, split=network.split)
        others = (subject(network.beside, beside, data_dir=data_dir, download=download, seed=seed),)
    return figures.Subject(
        model,
        network.weights,
        data,
        getattr(models, name).preprocess_input,
        fill=network.fill,
        square=network.square,
        stride=network.stride,
        contrast=network.contrast,
        seed=seed,
        classes=classes,
        training=training,
        held_out=held_out,
        transfer=transfer,
        runs=None if runs is None else Path(runs),
        parts=None if parts is None else Path(parts),
        others=others,
        trained_on=_TRAINED_ON.get((network.weights, network.dataset)),
    )


def _loaded(dataset, split, network, data_dir, download):
    from deconv import datasets

    size = {"image_size": (network.side, network.side), "channels": network.channels}
    return datasets.load(dataset, split, data_dir=data_dir, download=download, **size)


def _if_there(load, dataset, split):
    """A part of a data set; None where it has no such part."""
    try:
        return load(dataset, split)
    except ValueError:
        return None


def _built(network, data):
    """The network, and the names of its classes: the data's, or those of its weights."""
    import models

    build = getattr(models, network.build)
    if network.build == "LeNet5":
        if network.weights == "mnist" and len(data.class_names) != 10:
            raise ValueError(
                f"--weights mnist tells ten digits apart, and --dataset {network.dataset} has {len(data.class_names)} "
                f"classes. Train with scripts/train_lenet5.py --dataset {network.dataset}, and give --weights FILE."
            )
        return build(weights=network.weights, classes=len(data.class_names)), None
    model = build(weights=network.weights)
    named = {"imagenette": models.imagenet.IMAGENETTE, "imagenet": models.imagenet.imagenet_classes()}
    if network.weights in named:
        return model, tuple(name for _, name in named[network.weights])
    count = model.output.shape[-1]
    return model, tuple(data.class_names if count == len(data.class_names) else map(str, range(count)))
