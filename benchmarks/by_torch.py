"""Contestants in torch, hand-written and Captum, on a copy of the network with the same weights.

Weights have no gradient, oneDNN is on, and the fastest batch sizes and memory formats are used. The hand-written
projections are what an expert would write: one forward pass for each image, which stores the argmax of every max
pooling, then the transposed layers for a batch of units of any images, with the derivative of every ReLU replaced by a
ReLU.
"""

import itertools
import time
import warnings

import numpy as np

from benchmarks.workers import Contestant

FORMATS = ("contiguous_format", "channels_last")


class ProjectionsByHand(Contestant):
    """Projections of whole activation maps; the forward pass of an image is shared by its units."""

    needs = ("torch",)
    settings = tuple(itertools.product((9, 18, 36, 72), FORMATS))  # multiples of nine, the units of a channel

    def compute(self, case, setting):
        import torch

        layer, which = case
        units = self.subject.chosen(layer, which)
        with torch.inference_mode():
            return self._projected(layer, units, setting)

    def once(self, case, setting):
        import torch

        layer, which = case
        with torch.inference_mode():
            start = time.perf_counter()
            self._recorded(layer, self.subject.chosen(layer, which), *setting)
            return time.perf_counter() - start

    def _recorded(self, layer, units, batch_size, memory):
        images = _channels_first(self.subject.images[np.unique(units.numbers)], memory)
        return _recorded(list(_twin(self, layer, memory)), images, batch_size)

    def _projected(self, layer, units, setting):
        import torch

        batch_size, memory = setting
        modules, (shapes, switches) = list(_twin(self, layer, memory)), self._recorded(layer, units, *setting)
        inverse = np.unique(units.numbers, return_inverse=True)[1]
        pictures = []
        for first in range(0, len(inverse), batch_size):
            numbers = torch.from_numpy(inverse[first : first + batch_size])
            part = slice(first, first + len(numbers))
            signal = torch.zeros(len(numbers), *shapes[-1][1:]).to(memory_format=_memory_format(memory))
            rows, columns = units.positions[part].T
            signal[np.arange(len(numbers)), units.channels[part], rows, columns] = 1
            for module, shape, places in zip(modules[::-1], shapes[-2::-1], switches[::-1], strict=True):
                signal = _down(module, signal, (len(numbers), *shape[1:]), places, numbers, memory)
            pictures.append(signal)
        return torch.cat(pictures)

    def result(self, case, found):
        return np.ascontiguousarray(found.detach().numpy().transpose(0, 2, 3, 1))


class ProjectionsByCaptum(ProjectionsByHand):
    """`NeuronDeconvolution` of the network cut at the layer; its selector selects another unit in each image."""

    needs = ("torch", "captum")
    once = Contestant.once

    def compute(self, case, setting):
        import torch
        from captum.attr import NeuronDeconvolution

        layer, which = case
        batch_size, memory = setting
        units, twin = self.subject.chosen(layer, which), _twin(self, layer, memory)
        explainer = NeuronDeconvolution(twin, twin[-1])
        pictures = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # each call warns about its hooks
            for first in range(0, len(units.numbers), batch_size):
                numbers, channels, positions = (field[first : first + batch_size] for field in units)
                rows, columns, count = *positions.T, len(numbers)

                def chosen(maps, count=count, channels=channels, rows=rows, columns=columns):
                    return maps[np.arange(count), channels, rows, columns]

                inputs = _channels_first(self.subject.images[numbers], memory)
                pictures.append(explainer.attribute(inputs, chosen))
        return torch.cat(pictures)


class OcclusionByHand(Contestant):
    """Forward passes of batches of occluded images, in inference mode."""

    needs = ("torch",)
    settings = tuple(itertools.product((64, 16, 256), FORMATS))

    def compute(self, case, setting):
        import torch

        (size, stride, fill), (batch_size, memory) = case, setting
        image = _channels_first(self.subject.images[:1], memory)
        tops, lefts = (_starts(side, size, stride) for side in image.shape[2:])
        corners, found = list(itertools.product(tops, lefts)), []
        with torch.inference_mode():
            twin = _twin(self, None, memory)
            for first in range(0, len(corners), batch_size):
                part = corners[first : first + batch_size]
                covered = image.repeat(len(part), 1, 1, 1)
                for number, (top, left) in enumerate(part):
                    covered[number, :, top : top + size, left : left + size] = fill
                found.append(twin(covered)[:, self.subject.target])
        return torch.cat(found).reshape(len(tops), len(lefts))


class OcclusionByCaptum(Contestant):
    """`Occlusion`, with a batch of positions for each forward pass.

    It averages differences over pixels; the probabilities that it requests from the network are compared, position by
    position, rows first. Its last patch on each axis is cut off at the border, here it is moved back.
    """

    needs = ("torch", "captum")
    settings = tuple(itertools.product((64, 16, 256, 1), FORMATS))

    def compute(self, case, setting):
        from captum.attr import Occlusion

        (size, stride, fill), (perturbations, memory) = case, setting
        image, twin, self.asked = _channels_first(self.subject.images[:1], memory), _twin(self, None, memory), []

        def forward(images):
            found = twin(images)
            self.asked.append(found[:, self.subject.target])
            return found

        window, steps = (image.shape[1], size, size), (image.shape[1], stride, stride)
        return Occlusion(forward).attribute(
            image, window, steps, fill, self.subject.target, perturbations_per_eval=perturbations
        )

    def result(self, case, found):
        import torch

        size, stride, _ = case
        rows, columns = (-(-(side - size) // stride) + 1 for side in self.subject.images.shape[1:3])
        return torch.cat(self.asked)[1:].reshape(columns, rows).T.detach().numpy()


CONTESTANTS = {
    "projections: torch, by hand": ProjectionsByHand,
    "projections: captum": ProjectionsByCaptum,
    "occlusion: torch, by hand": OcclusionByHand,
    "occlusion: captum": OcclusionByCaptum,
}


def _twin(contestant, layer, memory):
    """The torch copy of the network up to a layer, made once for each memory format."""

    from benchmarks.twins import torch_twin

    made = contestant.__dict__.setdefault("twins", {})
    if (layer, memory) not in made:
        made[layer, memory] = torch_twin(contestant.subject, layer).to(memory_format=_memory_format(memory))
    return made[layer, memory]


def _channels_first(images, memory):
    import torch

    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=_memory_format(memory))


def _starts(side, size, stride):
    starts = list(range(0, side - size + 1, stride))
    return starts if starts[-1] == side - size else [*starts, side - size]


def _recorded(modules, images, batch_size):
    """Forward pass: the shapes of the image and of every activation map, and the argmax of every max pooling."""
    import torch
    from torch.nn import functional

    shapes, switches = [], []
    for first in range(0, len(images), batch_size):
        maps = images[first : first + batch_size]
        shapes, seen = [maps.shape], []
        for module in modules:
            if isinstance(module, torch.nn.MaxPool2d):
                settings = (module.kernel_size, module.stride, 0, 1, module.ceil_mode)
                maps, places = functional.max_pool2d_with_indices(maps, *settings)
            else:
                maps, places = module(maps), None
            shapes.append(maps.shape)
            seen.append(places)
        switches.append(seen)
    parts = zip(*switches, strict=True)
    return shapes, [None if part[0] is None else torch.cat(part) for part in parts]


def _down(module, signal, shape, places, numbers, memory):
    """Propagate a signal down one layer: transposed filter, unpooling with the argmax, or ReLU for a ReLU."""
    import torch

    if isinstance(module, torch.nn.ReLU):
        return signal.relu_()
    if isinstance(module, torch.nn.MaxPool2d):
        maps = torch.empty(shape, memory_format=_memory_format(memory))  # only its shape is used
        settings = (module.kernel_size, module.stride, (0, 0), (1, 1), module.ceil_mode)
        return torch.ops.aten.max_pool2d_with_indices_backward(signal, maps, *settings, places[numbers])
    if isinstance(module, torch.nn.Conv2d):
        if module.groups == 1 and module.padding == (0, 0) and module.stride[0] == module.stride[1] > 1:
            return _down_by_sub_pixels(module, signal, shape, memory)
        sides = zip(shape[2:], signal.shape[2:], module.kernel_size, module.stride, module.padding, strict=True)
        rest = [side - ((above - 1) * step + cells - 2 * border) for side, above, cells, step, border in sides]
        return torch.nn.functional.conv_transpose2d(
            signal, module.weight, None, module.stride, module.padding, rest, module.groups
        )
    return signal  # contrast normalisation


def _down_by_sub_pixels(module, signal, shape, memory):
    """The transposed convolution with strides, as a convolution that computes all pixels of a stride at once.

    oneDNN takes four times as long for the transpose of AlexNet's conv1 itself.
    """
    from torch.nn import functional

    step = module.stride[0]
    cells = [-(-size // step) for size in module.kernel_size]
    if not hasattr(module, "sub_pixels"):
        height, width = (step * count - size for count, size in zip(cells, module.kernel_size, strict=True))
        kernel = functional.pad(module.weight, (0, width, 0, height))
        kernel = kernel.reshape(*kernel.shape[:2], cells[0], step, cells[1], step).permute(1, 3, 5, 0, 2, 4)
        module.sub_pixels = kernel.flatten(0, 2).flip(2, 3).contiguous(memory_format=_memory_format(memory))
    signal = functional.conv2d(signal, module.sub_pixels, padding=[count - 1 for count in cells])
    pixels = functional.pixel_shuffle(signal, step)[:, :, : shape[2], : shape[3]]
    beyond = [side - found for side, found in zip(shape[2:], pixels.shape[2:], strict=True)]
    return functional.pad(pixels, (0, beyond[1], 0, beyond[0])) if any(beyond) else pixels


def _memory_format(memory):
    import torch

    return getattr(torch, memory)
