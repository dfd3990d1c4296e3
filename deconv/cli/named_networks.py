"""The networks that have a name, and what each is shown where nothing else is said. Loads no TensorFlow."""

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

TRAINED_ON = {
    ("mnist", "mnist-5k"): "both",
    ("mnist", "mnist"): "training",
    ("imagenette", "imagenette"): "training",
    ("imagenet", "imagenet"): "training",
}
"""Which parts of a data set our weights, or the published ones, have been trained on."""
