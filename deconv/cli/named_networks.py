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


NETWORKS = {
    "lenet5": Network("LeNet5", "mnist", "mnist-5k", "all", 28, 1, 0, 8, 1, 100, "digits-8x8"),
    "alexnet": Network("AlexNet", "imagenette", "imagenet-20", "test", 227, 3, 128, 50, 10, 99.5, beside="zfnet"),
    "alexnet_owt": Network("AlexNetOWT", "imagenet", "imagenet-20", "test", 224, 3, 128, 50, 10, 99.5),
    "zfnet": Network("ZFNet", "imagenette", "imagenet-20", "test", 224, 3, 128, 50, 10, 99.5, beside="alexnet"),
    "zfnet512": Network("ZFNet512", "imagenet", "imagenet-20", "test", 224, 3, 128, 50, 10, 99.5),
}

TRAINED_ON = {
    ("mnist", "mnist-5k"): "both",
    ("mnist", "mnist"): "training",
    ("imagenette", "imagenette"): "training",
    ("imagenet", "imagenet"): "training",
}
"""The parts of data sets on which the weights, ours or published ones, were trained."""
