"""How kernels lie in other frameworks, and how in Keras."""

import numpy as np


def convolution_kernel(kernel):
    """OIHW to HWIO: `(filters, channels, rows, columns)` to `(rows, columns, channels, filters)`.

    Grouped kernels keep their `channels` of one group; filters of the first group come first in both.
    """
    return np.transpose(kernel, (2, 3, 1, 0))


def dense_kernel(kernel):
    """`(out, in)` to `(in, out)`."""
    return np.transpose(kernel)


def dense_kernel_after_flattening(kernel, grid):
    """`(out, in)` to `(in, out)`, its inputs from channels-first to channels-last order.

    Other frameworks flatten `(channels, rows, columns)`, Keras `(rows, columns, channels)`: the dense layer gets the
    same numbers in another order, and its rows must follow.

    Args:
        kernel: `(out, channels * rows * columns)`.
        grid: `(channels, rows, columns)`.

    Returns:
        `(rows * columns * channels, out)`.
    """
    return kernel.reshape(-1, *grid).transpose(2, 3, 1, 0).reshape(-1, len(kernel))
