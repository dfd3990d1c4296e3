"""The named networks and their default images and drawing options. Does not load TensorFlow."""

from typing import NamedTuple


class Network(NamedTuple):
    """Defaults of a network; lengths are in pixels, `fill` is a pixel value. The contrast is a percentile, see
    `deconv.figures.Subject`. `beside` is another network to compare it with."""

    build: str
    weights: str
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


_ALEXNET = Network(
    build="AlexNet",
    weights="imagenette",
    dataset="imagenet-20",
    split="test",
    side=227,
    channels=3,
    fill=128,
    square=50,
    stride=10,
    contrast=99.5,
)

NETWORKS = {
    "lenet5": Network(
        build="LeNet5",
        weights="mnist",
        dataset="mnist-5k",
        split="all",
        side=28,
        channels=1,
        fill=0,
        square=8,
        stride=1,
        contrast=100,
        transfer="digits-8x8",
    ),
    "alexnet": _ALEXNET._replace(beside="zfnet"),
    "alexnet_owt": _ALEXNET._replace(build="AlexNetOWT", weights="imagenet", side=224),
    "zfnet": _ALEXNET._replace(build="ZFNet", side=224, beside="alexnet"),
    "zfnet512": _ALEXNET._replace(build="ZFNet512", weights="imagenet", side=224),
}

TRAINED_ON = {
    ("mnist", "mnist-5k"): "both",
    ("mnist", "mnist"): "training",
    ("imagenette", "imagenette"): "training",
    ("imagenet", "imagenet"): "training",
}
"""The parts of data sets on which the weights, ours or published ones, were trained."""
