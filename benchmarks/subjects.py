"""The subject of a benchmark: a network, its images and the units of its Fig. 2, in a file that needs no TensorFlow.

`make` writes the file, in a process with TensorFlow and `deconv`; `load` reads it with NumPy only. The network is
stored layer by layer, so that `twins` can rebuild it in torch.
"""

import functools
import json
from typing import NamedTuple

import numpy as np


class Network(NamedTuple):
    """A network, its images, and the settings of the benchmarks.

    Attributes:
        build: Name of the function in `models`.
        weights: The argument `weights` of that function.
        dataset: Name for `deconv.datasets.load`; its test part is used.
        side: Height and width of an image.
        layers: The layers of its Fig. 2.
        squares: `(size, stride)` of the occluding patches.
        tiles: Size of a patch with an equal stride, for packages that support no other.
        try_out: `(size, stride)` for the choice of batch sizes.
    """

    build: str
    weights: str
    dataset: str
    side: int
    layers: tuple
    squares: tuple
    tiles: int
    try_out: tuple


NETWORKS = {
    "alexnet": Network(
        "AlexNet",
        "imagenette",
        "imagenet-20",
        227,
        ("conv1", "conv2", "conv3", "conv4", "conv5"),
        ((16, 8), (32, 8), (48, 8), (16, 4), (32, 4), (48, 4)),
        32,
        (32, 16),
    ),
    "lenet5": Network(
        "LeNet5",
        "mnist",
        "mnist-5k",
        28,
        ("conv1", "conv2"),
        ((4, 2), (8, 2), (12, 2), (4, 1), (8, 1), (12, 1)),
        4,
        (8, 1),
    ),
}


class Units(NamedTuple):
    """Units of one layer: image indices `(n,)`, channels `(n,)`, rows and columns `(n, 2)`."""

    numbers: np.ndarray
    channels: np.ndarray
    positions: np.ndarray


class Subject(NamedTuple):
    """The content of a file of `make`.

    Attributes:
        name: Key of `NETWORKS`.
        images: float32 `(m, height, width, channels)`, preprocessed.
        layers: A dict for each layer of the network: kind, name, settings.
        weights: `{layer: [arrays]}` in Keras's layout.
        units: `{layer: Units}`, nine for each channel, channel by channel.
        samples: `{layer: Units}`, those of a random sample of channels.
        target: The predicted class of the first image.
        probability: Its probability.
    """

    name: str
    images: np.ndarray
    layers: list
    weights: dict
    units: dict
    samples: dict
    target: int
    probability: float

    def chosen(self, layer, which):
        """The units of a layer: `"all"` of them or the `"sample"`."""
        return (self.units if which == "all" else self.samples)[layer]


@functools.cache
def model_of(name):
    """The Keras model of a network; cached."""
    import models

    network = NETWORKS[name]
    return getattr(models, network.build)(weights=network.weights)


def images_of(name, count=None):
    """The preprocessed images of a network: the first `count` of the test part of its data set, or all."""
    import models
    from deconv import datasets

    network = NETWORKS[name]
    data = datasets.load(network.dataset, "test", image_size=(network.side, network.side))
    by_class = network.dataset == "mnist-5k"
    pixels, _, _ = datasets.arrays(data, None if by_class else min(count or data.size, data.size))
    if by_class:
        pixels = pixels.reshape(10, -1, *pixels.shape[1:]).swapaxes(0, 1).reshape(pixels.shape)
    return getattr(models, network.build.lower()).preprocess_input(pixels[:count])


def make(name, path, layers=None, channels=8, seed=0, count=None):
    """Find the nine strongest units of every channel and write everything needed to project them.

    Args:
        name: Key of `NETWORKS`.
        path: The `.npz` file to write.
        layers: Layers whose units are searched, by default those in `NETWORKS`.
        channels: Number of channels of each layer in the sample.
        seed: Seed of the sample.
        count: Number of images to search, by default all.

    Returns:
        `{layer: [number of units, number of units in the sample]}`.
    """
    import deconv

    model, images = model_of(name), images_of(name, count)
    layers = list(layers or NETWORKS[name].layers)
    tops = deconv.top_activations(model, images, layers, k=9)
    probabilities = model.predict(images[:1], verbose=0)[0]
    arrays = {"target": probabilities.argmax(), "probability": probabilities.max()}
    used = np.unique(np.concatenate([[0], *(tops[layer].ids.ravel() for layer in layers)]))
    arrays["images"] = images[used]
    random, counts = np.random.default_rng(seed), {}
    for layer in layers:
        ids, positions = tops[layer].ids, tops[layer].positions
        drawn = np.sort(random.choice(len(ids), min(channels, len(ids)), replace=False))
        for which, some in (("all", np.arange(len(ids))), ("sample", drawn)):
            arrays[f"{which}/{layer}/numbers"] = np.searchsorted(used, ids[some].ravel())
            arrays[f"{which}/{layer}/channels"] = np.repeat(some, ids.shape[1])
            arrays[f"{which}/{layer}/positions"] = positions[some].reshape(-1, 2)
        counts[layer] = [ids.size, len(drawn) * ids.shape[1]]
    for layer in model.layers:
        for place, array in enumerate(layer.get_weights()):
            arrays[f"weights/{layer.name}/{place}"] = array
    arrays["about"] = np.array(json.dumps({"name": name, "layers": [_described(layer) for layer in model.layers]}))
    np.savez(path, **arrays)
    return counts


def load(path):
    """Read a file of `make` as a `Subject`."""
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(str(arrays["about"]))
    weights = {}
    for key in sorted(key for key in arrays if key.startswith("weights/")):
        weights.setdefault(key.split("/")[1], []).append(arrays[key])

    def units(which):
        layers = {key.split("/")[1] for key in arrays if key.startswith(which + "/")}
        return {layer: Units(*(arrays[f"{which}/{layer}/{field}"] for field in Units._fields)) for layer in layers}

    return Subject(
        about["name"],
        arrays["images"],
        about["layers"],
        weights,
        units("all"),
        units("sample"),
        int(arrays["target"]),
        float(arrays["probability"]),
    )


def _described(layer):
    """Kind, name and settings of a Keras layer, as needed by `twins`."""
    config = layer.get_config()
    kept = ("pool_size", "kernel_size", "strides", "padding", "groups", "size", "k", "alpha", "beta", "convention")
    found = {"kind": type(layer).__name__, "name": layer.name}
    found |= {key: config[key] for key in kept if key in config}
    return found | ({"activation": config["activation"]} if config.get("activation") else {})
