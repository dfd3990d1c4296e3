"""What a step costs, from its geometry: multiplications, and the traffic of what it writes."""

import keras
import numpy as np

TRAFFIC = 16
"""Multiplications in the time in which one number is written to memory and read again."""


def cost(step, size):
    """Work of computing `(rows, columns)` positions of the output of a step, in multiplications."""
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
