"""The named networks and their default images and drawing options. Does not load TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import keras


class Network(NamedTuple):
    """Defaults of a network; lengths are in pixels, `fill` is a pixel value. The contrast is a percentile, see
    `deconv.figures.Subject`. `beside` is another network to compare it with. `module` of `models` holds the
    preprocessing. Without `include_top` the network ends at its last pooling and has no classes. `options` are further
    arguments of its function."""

    build: str
    module: str
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
    include_top: bool = True
    options: tuple[tuple[str, Any], ...] = ()


_ALEXNET = Network(
    build="AlexNet",
    module="alexnet",
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
        module="lenet5",
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
    "alexnet-imagenet": _ALEXNET._replace(
        build="AlexNetOWT",
        module="alexnet_owt",
        weights="imagenet-features",
        side=224,
        beside="zfnet",
        include_top=False,
    ),
    "alexnet-imgclsmob": _ALEXNET._replace(
        module="imgclsmob", weights="imagenet", side=224, options=(("geometry", "imgclsmob"),)
    ),
    "alexnet_owt": _ALEXNET._replace(build="AlexNetOWT", module="alexnet_owt", weights="imagenet", side=224),
    "efficientnet-lite0": _ALEXNET._replace(
        build="EfficientNetLite0", module="efficientnet_lite0", weights="imagenet", side=224
    ),
    "vgg16": _ALEXNET._replace(build="VGG16", module="vgg16", weights="imagenet-features", side=224, include_top=False),
    "zfnet": _ALEXNET._replace(build="ZFNet", module="zfnet", side=224, beside="alexnet"),
    "zfnet-imagenet": _ALEXNET._replace(build="ZFNet", module="imgclsmob", weights="imagenet", side=224),
    "zfnet-wide-imagenet": _ALEXNET._replace(
        build="ZFNet", module="imgclsmob", weights="imagenet", side=224, options=(("wide", True),)
    ),
    "zfnet512": _ALEXNET._replace(build="ZFNet512", module="zfnet512", weights="imagenet", side=224),
}

TRAINED_ON = {
    ("mnist", "mnist-5k"): "both",
    ("mnist", "mnist"): "training",
    ("imagenette", "imagenette"): "training",
    ("imagenet", "imagenet"): "training",
    ("imagenet-features", "imagenet"): "training",
}
"""The parts of data sets on which the weights, ours or published ones, were trained."""


def build_named(network: Network, **options: Any) -> keras.Model:
    """Build a named network with its weights.

    Args:
        network: A value of `NETWORKS`, perhaps with other weights.
        options: Further arguments of its function in `models`.

    Raises:
        ValueError, ImportError, ConnectionError, OSError: If the weights cannot be loaded; a one-line message.
    """
    import models

    options = {**dict(network.options), **options}
    if not network.include_top:
        options["include_top"] = False
    return getattr(models, network.build)(weights=network.weights, **options)


def preprocessing_of(network: Network) -> Callable:
    """The function that converts pixels 0 to 255 to inputs of a named network."""
    import models

    return getattr(models, network.module).preprocess_input
