"""Convert the layout of kernels from other frameworks to Keras."""

import numpy as np


def convolution_kernel(kernel: np.ndarray) -> np.ndarray:
    """Convert the kernel of a convolution from OIHW to HWIO.

    Args:
        kernel: `(filters, channels, rows, columns)`. In a grouped kernel `channels` is the number of input channels of
            one group, and the filters of the first group come first.

    Returns:
        `(rows, columns, channels, filters)`, in the same order of filters.
    """
    return np.transpose(kernel, (2, 3, 1, 0))


def depthwise_kernel(kernel: np.ndarray) -> np.ndarray:
    """Transpose a depthwise kernel from `(channels, 1, rows, columns)` to `(rows, columns, channels, 1)`."""
    return np.transpose(kernel, (2, 3, 0, 1))


def dense_kernel(kernel: np.ndarray) -> np.ndarray:
    """Transpose the kernel of a dense layer from `(out, in)` to `(in, out)`."""
    return np.transpose(kernel)


def dense_kernel_after_flattening(kernel: np.ndarray, grid: tuple[int, int, int]) -> np.ndarray:
    """Convert the kernel of a dense layer after flattening: transpose it and reorder its inputs.

    Other frameworks flatten maps in the order `(channels, rows, columns)`, Keras in the order `(rows, columns,
    channels)`. The dense layer receives the same numbers in another order, so the rows of its kernel are reordered.

    Args:
        kernel: `(out, channels * rows * columns)`.
        grid: `(channels, rows, columns)`.

    Returns:
        `(rows * columns * channels, out)`.
    """
    return kernel.reshape(-1, *grid).transpose(2, 3, 1, 0).reshape(-1, len(kernel))
