"""Convert the layout of kernels from other frameworks to Keras."""

import numpy as np


def convolution_kernel(kernel: np.ndarray) -> np.ndarray:
    """OIHW to HWIO: `(filters, channels, rows, columns)` to `(rows, columns, channels, filters)`.

    Grouped kernels keep `channels`, the number of channels of one group; filters of the first group come first in both.
    """
    return np.transpose(kernel, (2, 3, 1, 0))


def dense_kernel(kernel: np.ndarray) -> np.ndarray:
    """`(out, in)` to `(in, out)`."""
    return np.transpose(kernel)


def dense_kernel_after_flattening(kernel: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    """`(out, in)` to `(in, out)`, with inputs reordered from channels-first to channels-last.

    Other frameworks flatten `(channels, rows, columns)`, Keras `(rows, columns, channels)`: the dense layer receives
    the same numbers in another order, so the rows of its kernel are reordered.

    Args:
        kernel: `(out, channels * rows * columns)`.
        grid: `(channels, rows, columns)`.

    Returns:
        `(rows * columns * channels, out)`.
    """
    return kernel.reshape(-1, *grid).transpose(2, 3, 1, 0).reshape(-1, len(kernel))
