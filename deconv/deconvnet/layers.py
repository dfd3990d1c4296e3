"""Mirror layers: the operations of `deconv.ops.pooling` and `deconv.ops.convolution` as Keras layers.

A mirror layer has no weights of its own: it is *tied* to the variables of the model, because the deconvnet uses
"transposed versions of the same filters" (arXiv:1311.2901, section 2.1). When the model is trained, its mirrors follow.
A mirror that has been saved and loaded has copies of the weights. Mirror layers are never trained.

In all mirror layers, `target_shape` is the shape `(height, width, channels)` of the maps that the layer returns, which
is the input shape of the model's layer; all other settings are those of the model's layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from deconv.ops import convolution, pooling


@keras.saving.register_keras_serializable("deconv")
class MirrorLayer(keras.layers.Layer):
    """Base class of the mirror layers: shares variables without changing them or their `trainable` flag.

    Args:
        tied: `{attribute: variable or tensor of the model}`; None for a loaded layer, whose `build` adds the weights.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    weight_shapes: tuple[tuple[str, str], ...] = ()
    """Pairs `(attribute, config key of its shape)` of the weights that are tied, or added by `build`."""

    def __init__(self, *, tied: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, variable in (tied or {}).items():
            setattr(self, name, variable)

    @property
    def trainable(self) -> bool:
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        """Ignored: setting it would change the variables of the model."""

    def get_config(self) -> dict[str, Any]:
        return super().get_config()  # overridden because Keras would otherwise require `tied`, which is no setting

    def save_own_variables(self, store: Any) -> None:
        """Save the weights, also computed ones: a kernel with LoRA or quantization is loaded as a variable."""
        for place, (name, _) in enumerate(self.weight_shapes):
            store[str(place)] = keras.ops.convert_to_numpy(tf.convert_to_tensor(getattr(self, name)))

    def build(self, input_shape: Any) -> None:
        for name, shape in self.weight_shapes:
            if getattr(self, name, None) is None:
                setattr(self, name, self.add_weight(shape=getattr(self, shape), name=name, trainable=False))
        self.built = True


@keras.saving.register_keras_serializable("deconv")
class Rectify(MirrorLayer):
    """Mirror layer of a rectifier: `deconv.ops.pooling.rectify`."""

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        return pooling.rectify(signal)


@keras.saving.register_keras_serializable("deconv")
class Unpool(MirrorLayer):
    """Mirror layer of max pooling: `deconv.ops.pooling.unpool`, called with `[signal, switches]`.

    `pool_size` is None in mirrors that were saved by versions without this setting.
    """

    def __init__(
        self,
        target_shape: Sequence[int],
        collisions: Literal["sum", "last", "max"] = "sum",
        pool_size: int | Sequence[int] | None = None,
        strides: int | Sequence[int] | None = None,
        padding: Literal["valid", "same"] = "valid",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target_shape, self.collisions, self.padding = tuple(target_shape), collisions, padding
        self.pool_size = None if pool_size is None else pooling.pair(pool_size)
        self.strides = self.pool_size if strides is None else pooling.pair(strides)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        signal, switches = inputs
        if len(signal.shape) == 2:  # global pooling without its spatial axes
            signal, switches = signal[:, None, None], switches[:, None, None]
        windows: dict[str, Any] = {"pool_size": self.pool_size, "strides": self.strides, "padding": self.padding}
        return pooling.unpool(signal, switches, self.target_shape, self.collisions, **windows)

    def compute_output_shape(self, input_shapes: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        return (input_shapes[0][0], *self.target_shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | _settings(self, "target_shape collisions pool_size strides padding")


class _Filter(MirrorLayer):
    """Base class of the transposed convolutions."""

    weight_shapes = (("kernel", "kernel_shape"),)

    def __init__(
        self,
        target_shape: Sequence[int],
        kernel_shape: Sequence[int],
        strides: Sequence[int] = (1, 1),
        padding: Literal["valid", "same"] = "valid",
        dilation_rate: Sequence[int] = (1, 1),
        tied: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.kernel = None
        super().__init__(tied=tied, **kwargs)
        self.target_shape, self.kernel_shape = tuple(target_shape), tuple(kernel_shape)
        self.strides, self.padding, self.dilation_rate = tuple(strides), padding, tuple(dilation_rate)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (input_shape[0], *self.target_shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | _settings(self, "target_shape kernel_shape strides padding dilation_rate")


@keras.saving.register_keras_serializable("deconv")
class TransposeConv(_Filter):
    """Mirror layer of a convolution: `deconv.ops.convolution.transpose_conv`."""

    def __init__(self, *args: Any, groups: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.groups = groups

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        kernel = tf.convert_to_tensor(self.kernel)
        return convolution.transpose_conv(
            signal, kernel, self.target_shape, self.strides, self.padding, self.dilation_rate, self.groups
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable("deconv")
class TransposeDepthwiseConv(_Filter):
    """Mirror layer of a depthwise convolution: `deconv.ops.convolution.transpose_depthwise_conv`."""

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        kernel = tf.convert_to_tensor(self.kernel)
        return convolution.transpose_depthwise_conv(
            signal, kernel, self.target_shape, self.strides, self.padding, self.dilation_rate
        )


@keras.saving.register_keras_serializable("deconv")
class TransposeDense(MirrorLayer):
    """Mirror layer of a dense layer: multiplication by the transposed matrix."""

    weight_shapes = (("kernel", "kernel_shape"),)

    def __init__(self, kernel_shape: Sequence[int], tied: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        self.kernel = None
        super().__init__(tied=tied, **kwargs)
        self.kernel_shape = tuple(kernel_shape)

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        return tf.matmul(signal, tf.convert_to_tensor(self.kernel), transpose_b=True)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.kernel_shape[0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernel_shape": self.kernel_shape}


@keras.saving.register_keras_serializable("deconv")
class TransposeAveragePool(MirrorLayer):
    """Mirror layer of (global) average pooling: `deconv.ops.pooling.transpose_average_pool`."""

    def __init__(
        self,
        target_shape: Sequence[int],
        pool_size: Sequence[int],
        strides: Sequence[int],
        padding: Literal["valid", "same"] = "valid",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target_shape, self.padding = tuple(target_shape), padding
        self.pool_size, self.strides = tuple(pool_size), tuple(strides)

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        if len(signal.shape) == 2:
            signal = signal[:, None, None]
        return pooling.transpose_average_pool(signal, self.target_shape, self.pool_size, self.strides, self.padding)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (input_shape[0], *self.target_shape)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | _settings(self, "target_shape pool_size strides padding")


@keras.saving.register_keras_serializable("deconv")
class TransposeBatchNorm(MirrorLayer):
    """Mirror layer of batch normalization: its scale, `gamma / sqrt(variance + epsilon)`, without the shift."""

    def __init__(
        self, axis_size: int, epsilon: float, scale: bool = True, tied: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        self.gamma = self.moving_variance = None
        super().__init__(tied=tied, **kwargs)
        self.axis_size, self.epsilon, self.scale = (axis_size,), epsilon, scale
        gamma = (("gamma", "axis_size"),) if scale else ()
        self.weight_shapes = (*gamma, ("moving_variance", "axis_size"))

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        variance = tf.cast(tf.convert_to_tensor(self.moving_variance), signal.dtype)
        factor = tf.math.rsqrt(variance + self.epsilon)
        return signal * (factor * tf.cast(tf.convert_to_tensor(self.gamma), signal.dtype) if self.scale else factor)

    def get_config(self) -> dict[str, Any]:
        own = {"axis_size": self.axis_size[0], "epsilon": self.epsilon, "scale": self.scale}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("deconv")
class Scale(MirrorLayer):
    """Mirror layer of a multiplication by a constant: the same multiplication."""

    def __init__(self, factor: float | Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        return signal * self.factor

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("deconv")
class Split(MirrorLayer):
    """Mirror layer of a concatenation: each branch receives its own channels."""

    def __init__(self, sizes: Sequence[int], axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes, self.axis = list(sizes), axis

    def call(self, signal: tf.Tensor) -> list[tf.Tensor]:
        return tf.split(signal, self.sizes, axis=self.axis)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sizes": self.sizes, "axis": self.axis}


@keras.saving.register_keras_serializable("deconv")
class Copy(MirrorLayer):
    """Mirror layer of an addition: each branch receives the whole signal."""

    def __init__(self, branches: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.branches = branches

    def call(self, signal: tf.Tensor) -> list[tf.Tensor]:
        return [tf.identity(signal) for _ in range(self.branches)]

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> list[tuple[int | None, ...]]:
        return [tuple(input_shape)] * self.branches

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "branches": self.branches}


@keras.saving.register_keras_serializable("deconv")
class Zeros(MirrorLayer):
    """Zero signal for an output of a layer that no layer above uses; called with any signal of the same batch."""

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_shape = tuple(target_shape)

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        return tf.zeros((tf.shape(signal)[0], *self.target_shape), self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (input_shape[0], *self.target_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "target_shape": self.target_shape}


def _settings(layer: MirrorLayer, names: str) -> dict[str, Any]:
    return {name: getattr(layer, name) for name in names.split()}
