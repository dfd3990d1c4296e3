"""Layers of the first ImageNet networks that Keras lacks, and the weight constraint of Zeiler & Fergus.

All are serializable. The attribute `mirrored_as` of a class names the Keras layer whose transpose a deconvnet applies
to propagate to the input; the deconvnet reads it, so that the two packages do not depend on each other.
"""

from __future__ import annotations

import math
import os
import platform
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np
from keras import ops

if TYPE_CHECKING:
    import tensorflow as tf


@keras.saving.register_keras_serializable(package="models")
class GroupedConv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D` with `groups`, several times as fast on a CPU.

    Kernel and result are the same: filter `f` of `filters` takes the channels of its own group only, as in the networks
    of Krizhevsky et al. 2012, section 3.5, whose two groups were on two GPUs. Keras's TensorFlow backend passes grouped
    kernels to XLA on a CPU, where training is four times slower; TensorFlow's own convolution accepts them directly.
    """

    mirrored_as = keras.layers.Conv2D

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolve the inputs; called by `keras.layers.Conv2D`."""
        if keras.backend.backend() != "tensorflow" or self.data_format != "channels_last":
            return super().convolution_op(inputs, kernel)
        import tensorflow as tf

        def convolve(maps: tf.Tensor, filters: tf.Tensor) -> tf.Tensor:
            return tf.nn.conv2d(maps, filters, self.strides, self.padding.upper(), dilations=self.dilation_rate)

        if self.groups == 1 or _has_grouped_gradient(inputs.dtype):
            return convolve(inputs, kernel)
        parts = zip(tf.split(inputs, self.groups, axis=-1), tf.split(kernel, self.groups, axis=-1), strict=True)
        return tf.concat([convolve(maps, filters) for maps, filters in parts], axis=-1)


@keras.saving.register_keras_serializable(package="models")
class LocalResponseNormalization(keras.layers.Layer):
    """Contrast normalisation across channels (Krizhevsky et al. 2012, section 3.3).

    `b_i = a_i / (k + alpha * sum_j a_j^2) ** beta`, where `j` runs over the `size` channels around `i`, fewer at the
    ends. There are two published conventions. The paper multiplies the sum by `alpha`, with k = 2; Caffe and ONNX
    multiply the mean, i.e. divide `alpha` by `size`, with k = 1.

    Args:
        size: Number of channels, odd.
        k, alpha, beta: The constants.
        convention: `"paper"` (alpha times the sum) or `"caffe"` (alpha times the sum divided by `size`).

    Input and output:
        `(..., channels)`, any float type. float16 is computed in float32: its squares overflow.

    Raises:
        ValueError: If a constant or the convention is out of range.
    """

    mirrored_as = keras.layers.Identity

    def __init__(
        self,
        size: int = 5,
        k: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        convention: Literal["paper", "caffe"] = "paper",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1 or size % 2 == 0:
            raise ValueError(f"LocalResponseNormalization: size must be a positive odd number, received {size!r}.")
        if convention not in ("paper", "caffe"):
            raise ValueError(
                f"LocalResponseNormalization: convention must be 'paper' or 'caffe', received {convention!r}. 'paper' "
                "multiplies the sum of squares by alpha, 'caffe' by alpha / size."
            )
        if not all(_is_number(value) for value in (k, alpha, beta)) or k <= 0 or alpha < 0 or beta < 0:
            raise ValueError(
                "LocalResponseNormalization: k must be a positive number, alpha and beta numbers of at least 0, "
                f"received k={k!r}, alpha={alpha!r}, beta={beta!r}."
            )
        self.size, self.k, self.alpha, self.beta, self.convention = int(size), k, alpha, beta, convention
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Compute the band matrix that sums over neighbouring channels."""
        if input_shape[-1] is None:
            raise ValueError(
                "LocalResponseNormalization needs a fixed number of channels on the last axis, received the input "
                f"shape {input_shape}."
            )
        channel = np.arange(input_shape[-1])
        factor = self.alpha / self.size if self.convention == "caffe" else self.alpha
        self._neighbours = factor * (abs(channel[:, None] - channel) <= self.size // 2)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalise the inputs."""
        dtype = "float32" if self.compute_dtype == "float16" else self.compute_dtype
        maps = ops.cast(inputs, dtype)
        # A product with a band matrix; a sum of shifted maps takes twice as long on a CPU.
        energy = self.k + ops.matmul(ops.square(maps), ops.cast(self._neighbours, dtype))
        if self.beta == 0.75:  # two square roots instead of a logarithm and an exponential
            root = ops.rsqrt(energy)
            return ops.cast(maps * root * ops.sqrt(root), self.compute_dtype)
        return ops.cast(maps * ops.power(energy, -self.beta), self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the output, equal to that of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialization."""
        own = {name: getattr(self, name) for name in ("size", "k", "alpha", "beta", "convention")}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="models")
class CeilMaxPooling2D(keras.layers.MaxPooling2D):
    """Max pooling whose last window may extend beyond the edge, as in Caffe and cuda-convnet.

    The output has `1 + ceil((n - pool_size) / strides)` cells for `n` input cells (`keras.layers.MaxPooling2D`
    rounds down). Cells outside the map are never the maximum.

    Args:
        pool_size: Int or pair.
        strides: Int or pair, by default `pool_size`; at most `pool_size`, else a window could lie outside the map.

    Raises:
        ValueError: If `strides` exceed `pool_size`, a map is too small for one window, or channels are not last.
    """

    mirrored_as = keras.layers.MaxPooling2D

    def __init__(
        self,
        pool_size: int | tuple[int, int] = 2,
        strides: int | tuple[int, int] | None = None,
        padding: Literal["ceil"] = "ceil",
        **kwargs: Any,
    ) -> None:
        if padding != "ceil":
            raise ValueError(f"CeilMaxPooling2D: padding must be 'ceil', received {padding!r}.")
        super().__init__(pool_size, strides, padding="valid", **{"data_format": "channels_last", **kwargs})
        self.padding = "ceil"
        if self.strides[0] > self.pool_size[0] or self.strides[1] > self.pool_size[1]:
            raise ValueError(
                f"CeilMaxPooling2D: strides must not exceed pool_size, received strides={self.strides} and "
                f"pool_size={self.pool_size}. Otherwise a window could lie outside the map."
            )
        if self.data_format != "channels_last":
            raise ValueError(f"CeilMaxPooling2D: data_format must be 'channels_last', received {self.data_format!r}.")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Pool the inputs."""
        self.compute_output_shape(inputs.shape)  # rejects maps that are too small
        # Padding by one less than the stride turns rounding down into rounding up.
        paddings = [(0, 0), *((0, stride - 1) for stride in self.strides), (0, 0)]
        padded = ops.pad(inputs, paddings, constant_values=-float("inf"))
        return ops.max_pool(padded, self.pool_size, self.strides, "valid", self.data_format)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Shape of the output.

        Raises:
            ValueError: If a map is too small for one window.
        """

        def count(size: int | None, pool: int, stride: int) -> int | None:
            if size is not None and size + stride <= pool:
                raise ValueError(
                    f"CeilMaxPooling2D '{self.name}': maps of size {input_shape[1:3]} are too small for a "
                    f"window of {self.pool_size} with strides {self.strides}. Use larger images."
                )
            return None if size is None else 1 - (pool - size) // stride

        sides = map(count, input_shape[1:3], self.pool_size, self.strides)
        return (input_shape[0], *sides, input_shape[3])


@keras.saving.register_keras_serializable(package="models")
class FilterRMS(keras.constraints.Constraint):
    """Rescale every filter whose root mean square exceeds a radius to that radius (arXiv:1311.2901, section 3).

    Zeiler & Fergus found it crucial against filters of the first layer that dominate all others. They do not say how
    often they apply it; a Keras constraint is applied after every update.

    Args:
        radius: The largest RMS of a filter over its rows, columns and input channels. The paper's 0.1 is for inputs of
            about [-128, 128]: for inputs divided by `s` it is `0.1 * s` in the first layer.

    Raises:
        ValueError: If `radius` is not a positive number.
    """

    def __init__(self, radius: float = 0.1) -> None:
        if not _is_number(radius) or radius <= 0:
            raise ValueError(f"FilterRMS: radius must be a positive number, received {radius!r}.")
        self.radius = radius

    def __call__(self, kernel: tf.Tensor) -> tf.Tensor:
        """Rescale the filters of a kernel `(rows, columns, channels, filters)`."""
        mean_square = ops.mean(ops.square(kernel), axis=tuple(range(len(kernel.shape) - 1)), keepdims=True)
        excess = ops.sqrt(mean_square) / self.radius
        return kernel / ops.maximum(excess, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialization."""
        return {"radius": self.radius}


def _has_grouped_gradient(dtype: str) -> bool:
    """Whether TensorFlow can differentiate a grouped convolution anywhere; on a CPU only oneDNN can, in two types."""
    onednn = platform.machine() in ("x86_64", "AMD64") and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0"
    return onednn and dtype in ("float32", "bfloat16")


def _is_number(value: object) -> bool:
    """Whether a value is a finite real number; bool is not."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
