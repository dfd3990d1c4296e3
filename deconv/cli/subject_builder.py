"""Build the subject of a command: the network with its weights, its images, and what it is compared with."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, cast

from deconv.cli.named_networks import NETWORKS, TRAINED_ON, Network, build_named, preprocessing_of
from deconv.cli.output import load_tensorflow

if TYPE_CHECKING:
    from deconv.cli.options import Request
    from deconv.datasets import ImageSet
    from deconv.datasets.image_set import Split
    from deconv.figures import Subject


def requested_subject(request: Request) -> Subject:
    """The `deconv.figures.Subject` of a command: the requested model, and images of its input size.

    By default the images and drawing options are those of the named network.

    Raises:
        ValueError, ImportError: If model or data cannot be loaded; the message explains what to do.
    """
    from deconv.cli import images_option, model_option, options

    network = NETWORKS.get(request.model)
    if network is None and request.images is None:
        raise ValueError(
            f"--images is required for --model '{request.model}', for example --images mnist-5k or a folder."
        )
    load_tensorflow()
    from deconv import figures

    model, weights = model_option.model_of(request.model, options.sides(request.image_size))
    height, width, channels = model.input_shape[1:]
    network = network or _default_network(height, width, channels)
    split = cast("Split | None", request.split if request.images or request.split else network.split)
    form = (height, width), channels, request.data_dir, request.download
    data = images_option.images_of(request.images or network.dataset, split, *form)
    return figures.Subject(
        model=model,
        weights=weights,
        data=data,
        preprocess=model_option.preprocessing(request.preprocess, request.model, model.inputs[0].dtype),
        fill=network.fill,
        square=network.square,
        stride=network.stride,
        contrast=network.contrast,
        seed=request.seed,
        classes=_class_names(NETWORKS[request.model].weights if request.model in NETWORKS else None, model, data),
        trained_on=TRAINED_ON.get((weights, request.images or network.dataset)),
    )


def subject(
    name: str,
    network: Network,
    *,
    data_dir: str | os.PathLike | None = None,
    download: bool = False,
    seed: int = 0,
    runs: str | os.PathLike | None = None,
    parts: str | os.PathLike | None = None,
    needed: Collection[str] = (),
) -> Subject:
    """The `deconv.figures.Subject` of a named network for the figures of the paper.

    Args:
        name: A key of `NETWORKS`.
        network: Its `Network`, with the changes that the user requested.
        data_dir, download: See `deconv.datasets.load`.
        seed: Seed of every random choice.
        runs, parts: See `Subject`.
        needed: Names of the recipes that will be drawn; data that none of them needs are not loaded.

    Raises:
        ValueError, ImportError: If weights or data cannot be loaded; the message explains what to do.
    """
    from deconv import figures

    def load(dataset, split):
        return _load_images(dataset, split, network, data_dir, download)

    data = load(network.dataset, network.split)
    check_labels(data)
    model, classes = _build_network(network, data)
    training = held_out = transfer = None
    if {"fig4", "health", "table3", "table7"} & set(needed):
        training, held_out = (_load_or_none(load, network.dataset, split) for split in ("train", "test"))
    if network.transfer is not None and {"table7", "transfer"} & set(needed):
        # The network's own training images would make its features look better than they are.
        transfer = load(network.transfer, "test" if network.transfer in (network.weights, network.dataset) else "all")
    others: tuple[Subject, ...] = ()
    if network.beside is not None and "fig6" in needed:
        beside = NETWORKS[network.beside]._replace(dataset=network.dataset, split=network.split)
        others = (subject(network.beside, beside, data_dir=data_dir, download=download, seed=seed),)
    return figures.Subject(
        model=model,
        weights=network.weights,
        data=data,
        preprocess=preprocessing_of(network),
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
        trained_on=TRAINED_ON.get((network.weights, network.dataset)),
    )


def check_labels(data: ImageSet) -> None:
    """Check that each image has one class.

    Raises:
        ValueError: If not; a one-line message that explains what to do.
    """
    if not data.class_names:
        raise ValueError(f"The images of '{data.name}' have no classes; put them into one sub-folder per class.")
    if data.several:
        raise ValueError(
            f"The data set '{data.name}' has several labels per image, but one is needed. Give it as --transfer "
            f"{data.name} for Table 6."
        )


def _default_network(height, width, channels):
    """Drawing options for a model of the user: those of LeNet-5 for grey images, of AlexNet for colour images."""
    from deconv.occlusion.sliding_window import default_square

    fill, contrast = (0, 100) if channels == 1 else (128, 99.5)
    side = min(height, width)
    square, stride = default_square((height, width))
    return NETWORKS["lenet5"]._replace(
        weights="", side=side, channels=channels, fill=fill, square=square, stride=stride, contrast=contrast
    )


def _class_names(weights, model, data):
    """Names of the model's classes; None if they are those of the data, none without class outputs."""
    if len(model.outputs[0].shape) != 2:
        return ()
    named = _names_of(weights)
    if named:
        return named
    count = model.outputs[0].shape[-1]
    return None if count == len(data.class_names) else tuple(map(str, range(count)))


def _names_of(weights):
    """Names of the output classes of weights, if they are those of ImageNet."""
    import models

    named = {"imagenette": models.imagenet.IMAGENETTE, "imagenet": models.imagenet.imagenet_classes()}
    return tuple(text for _, text in named[weights]) if weights in named else None


def _load_images(dataset, split, network, data_dir, download):
    from deconv import datasets

    size = {"image_size": (network.side, network.side), "channels": network.channels}
    return datasets.load(dataset, split, data_dir=data_dir, download=download, **size)


def _load_or_none(load, dataset, split):
    """A part of a data set; None if it does not exist."""
    try:
        return load(dataset, split)
    except ValueError:
        return None


def _build_network(network, data):
    """The network and the names of its classes: those of the data or of its weights."""
    if network.build == "LeNet5":
        if network.weights == "mnist" and len(data.class_names) != 10:
            raise ValueError(
                f"LeNet-5's weights have 10 classes; '{network.dataset}' has {len(data.class_names)}. "
                f"Train with scripts/train_lenet5.py --dataset {network.dataset}, and give --weights FILE."
            )
        return build_named(network, classes=len(data.class_names)), None
    model = build_named(network)
    names = _class_names(network.weights, model, data)
    return model, tuple(data.class_names) if names is None else names
