"""Copies of a network for the other packages: in torch, and in Keras with the identity as gradient of normalisation.

A deconvnet skips contrast normalisation in the backward direction: the signal passes unchanged. Packages that
differentiate the network would differentiate it as well, so its derivative is the identity in both copies. The forward
passes compute equal numbers.
"""

from collections import OrderedDict

import numpy as np


def torch_twin(subject, last=None):
    """Rebuild the network of a subject in torch, with fixed weights and channels first.

    Args:
        subject: A `subjects.Subject`.
        last: Last layer, including its activation; None for the whole network.

    Returns:
        `torch.nn.Sequential`, whose modules have the names of the Keras layers; the activation of conv1 is
        `conv1_relu`. Its input is `(n, channels, height, width)`.
    """
    from torch import nn

    modules = OrderedDict()
    for layer in subject.layers:
        modules.update(_torch_modules(layer, subject.weights.get(layer["name"])))
        if layer["name"] == last:
            break
    twin = nn.Sequential(modules).eval()
    return twin.requires_grad_(False)


def _torch_modules(layer, weights):
    """`{name: module}` for one layer."""
    import torch
    from torch import nn

    name, kind = layer["name"], layer["kind"]
    activation = {"relu": nn.ReLU, "softmax": lambda: nn.Softmax(dim=1)}.get(layer.get("activation"))
    after = {f"{name}_{layer['activation']}": activation()} if activation else {}
    if kind in ("Conv2D", "GroupedConv2D"):
        kernel, bias = weights
        module = nn.Conv2d(
            kernel.shape[2] * layer["groups"],
            kernel.shape[3],
            kernel.shape[:2],
            tuple(layer["strides"]),
            _same_border(layer) if layer["padding"] == "same" else 0,
            groups=layer["groups"],
        )
        module.weight.data = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        module.bias.data = torch.from_numpy(bias)
    elif kind == "Dense":
        kernel, bias = weights
        module = nn.Linear(*kernel.shape)
        module.weight.data, module.bias.data = torch.from_numpy(np.ascontiguousarray(kernel.T)), torch.from_numpy(bias)
    elif kind in ("MaxPooling2D", "CeilMaxPooling2D"):
        module = nn.MaxPool2d(tuple(layer["pool_size"]), tuple(layer["strides"]), ceil_mode=layer["padding"] == "ceil")
    elif kind == "LocalResponseNormalization":
        module = _straight_through_normalization(layer)
    elif kind == "Flatten":
        module = _flatten_as_keras()
    elif kind in ("InputLayer", "Dropout"):
        return {}
    else:
        raise ValueError(f"Layer '{name}' is a {kind}, which has no twin in torch here.")
    return {name: module, **after}


def _same_border(layer):
    """Cells of padding on each side, which are equal for odd kernels without stride only."""
    if any(size % 2 == 0 for size in layer["kernel_size"]) or tuple(layer["strides"]) != (1, 1):
        raise ValueError(f"The padding of layer '{layer['name']}' is not the same on both sides.")
    return tuple(size // 2 for size in layer["kernel_size"])


def _straight_through_normalization(layer):
    import torch
    from torch import nn

    class StraightThrough(torch.autograd.Function):
        """Contrast normalisation whose derivative is the identity."""

        @staticmethod
        def forward(context, maps, band, k):
            energy = nn.functional.conv2d(maps * maps, band).add_(k)
            return energy.rsqrt_().mul_(energy.sqrt()).mul_(maps)  # energy ** -0.75

        @staticmethod
        def backward(context, above):
            return above, None, None

    class Normalization(nn.Module):
        """A product with a band matrix, faster than `local_response_norm`, which pools over a fifth axis."""

        def __init__(self):
            super().__init__()
            self.band = None

        def forward(self, maps):
            if self.band is None or (self.band.device, self.band.dtype) != (maps.device, maps.dtype):
                channel = torch.arange(maps.shape[1], device=maps.device)
                near = (channel[:, None] - channel).abs() <= layer["size"] // 2
                factor = layer["alpha"] / (layer["size"] if layer["convention"] == "caffe" else 1)
                self.band = (near * factor).to(maps.dtype)[:, :, None, None]
            return StraightThrough.apply(maps, self.band, layer["k"])

    if layer["beta"] != 0.75:
        raise ValueError(f"Layer '{layer['name']}' has beta {layer['beta']}; the twin computes 0.75.")
    return Normalization()


def _flatten_as_keras():
    from torch import nn

    class Flatten(nn.Module):
        """Flatten in the order rows, columns, channels, as Keras does with the channels last."""

        def forward(self, maps):
            return maps.permute(0, 2, 3, 1).flatten(1)

    return Flatten()


def straight_model(model, last):
    """Copy a Keras model up to a layer, with the identity as the derivative of contrast normalisation."""
    import keras
    import tensorflow as tf

    from models.layers import LocalResponseNormalization

    class StraightThrough(LocalResponseNormalization):
        def call(self, inputs):
            compute = super().call

            @tf.custom_gradient
            def passed(maps):
                return compute(maps), lambda above: above

            return passed(inputs)

    def copied(layer):
        kind = StraightThrough if isinstance(layer, LocalResponseNormalization) else type(layer)
        return kind.from_config(layer.get_config())

    short = keras.Model(model.inputs, model.get_layer(last).output)
    twin = keras.models.clone_model(short, clone_function=copied)
    twin.set_weights(short.get_weights())
    return twin
