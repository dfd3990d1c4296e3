"""Equality to the last bit, where the same sums run in the same order."""

import numpy as np
import tensorflow as tf


def has_gpu():
    """Whether the tests run where TensorFlow has a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def assert_same_bits(found, expected):
    """Equal bits on a CPU. A GPU may take another kernel for another batch size: there floats are equal up to rounding.

    For numbers that were computed in batches of different sizes.
    """
    assert found.dtype == expected.dtype
    if found.dtype.kind == "f" and has_gpu():
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max(initial=0))
    else:
        np.testing.assert_array_equal(found, expected)
