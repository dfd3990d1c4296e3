"""Cost estimates for steps of the model graph: multiplications, and memory traffic of the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

if TYPE_CHECKING:
    from deconv.graph.model_graph import Step

TRAFFIC = 16
"""Number of multiplications that take as long as writing one number to memory and reading it again."""


def cost(step: Step, size: Sequence[int] | np.ndarray) -> int:
    """Estimate the work of computing a window of the output of a step.

    Args:
        step: A `Step`.
        size: `(rows, columns)` of the window of its output.

    Returns:
        Work in multiplications, memory traffic included (`TRAFFIC`).
    """
    cells, layer, channels = int(np.prod(size)), step.layer, step.output.shape[-1]
    if isinstance(layer, keras.layers.SeparableConv2D):
        kernels = (layer.depthwise_kernel, layer.pointwise_kernel)
        work = sum(int(np.prod(kernel.shape)) for kernel in kernels)
    elif isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
        work = int(np.prod(layer.kernel.shape))
    elif isinstance(layer, keras.layers.MaxPooling2D | keras.layers.AveragePooling2D):
        work = int(np.prod(layer.pool_size)) * channels
    else:
        work = 0
    return cells * (work + TRAFFIC * channels)
