"""Projections of signals with exchanged switches: their own, those of another image, or those of noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.deconvnet.projection import Deconvnet
from deconv.deconvnet.recording import pool_with_switches
from deconv.graph.compilation import compile_function


class SwitchExchange:
    """The mirror model of a layer, run on signals and switches of different origin.

    Args:
        net: A `Deconvnet`.
        step: The `Step` of the layer.
        images: `(n, height, width, channels)`, preprocessed.
        random: Generator of the random cyclic order, in which the next image is the other image of each.
        seed: Seed of the noise.
        batch_size: Number of images computed at a time.
    """

    def __init__(
        self,
        net: Deconvnet,
        step: graph.Step,
        images: np.ndarray,
        random: np.random.Generator,
        seed: int,
        batch_size: int,
    ) -> None:
        self._net, self._step, self._images, self._seed = net, step, images, seed
        self._batch_size = batch_size
        self._pools = [graph.find(net.graph, name) for name in net.record(images[:1], step.name).switches]
        circle = random.permutation(len(images))
        self._another = np.empty_like(circle)
        self._another[circle] = np.roll(circle, -1)
        mirror = net.mirror(step.name)
        signal, *switches = (tf.TensorSpec(entry.shape, entry.dtype) for entry in mirror.inputs)
        self._project = compile_function(lambda signal, switches: mirror([signal, *switches]), signal, switches)

    def pictures(self, jobs: dict[str, tuple[np.ndarray, str]]) -> dict[str, np.ndarray]:
        """`{name: projections}` of `{name: (signals, origin of the switches)}`: `"own"`, `"another"` or `"noise"`."""
        parts: dict[str, list[np.ndarray]] = {name: [] for name in jobs}
        for first in range(0, len(self._images), self._batch_size):
            numbers = np.arange(first, min(first + self._batch_size, len(self._images)))
            switches = {
                "own": self._recorded(numbers),
                "another": self._recorded(self._another[numbers]),
                "noise": noise_switches(self._pools, numbers, self._seed),
            }
            for name, (signals, origin) in jobs.items():
                parts[name].append(self._project(tf.constant(signals[numbers]), switches[origin]).numpy())
        return {name: np.concatenate(batches) for name, batches in parts.items()}

    def _recorded(self, numbers):
        return list(self._net.record(self._images[numbers], self._step.name).switches.values())


def noise_switches(pools: Sequence[graph.Step], numbers: np.ndarray, seed: int) -> list[np.ndarray]:
    """Compute the switches of noise: a random cell of every window, with the padding and overlap of the pooling.

    Args:
        pools: Steps of max poolings.
        numbers: Ints, the numbers of the images; the noise of an image does not depend on the batch.
        seed: Seed of the noise.

    Returns:
        A list of int32 arrays, shaped like the outputs of the pools.
    """
    streams = [np.random.default_rng([seed, number]) for number in numbers.tolist()]
    switches = []
    for pool in pools:
        noise = np.stack([stream.random(pool.inputs[0].shape, np.float32) for stream in streams])
        switches.append(pool_with_switches(pool, tf.constant(noise))[1].numpy())
    return switches
