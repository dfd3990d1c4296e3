"""The operations of `ops.py` and `filters.py` as Keras layers: the layers of the mirrored network.

A mirror layer holds no weights of its own: it is *tied* to the model's variables, as the paper's deconvnet uses
"transposed versions of the same filters" (arXiv:1311.2901, section 2.1). When the model learns, its mirrors follow.
A mirror that was saved and loaded again has its own copy. Mirror layers never train anything.
"""

import keras
import tensorflow as tf

from deconv.ops import convolution, pooling


@keras.saving.register_keras_serializable("deconv")
class MirrorLayer(keras.layers.Layer):
    """Base class of the mirror layers: shares variables without ever changing them or their `trainable` flag."""

    weight_shapes = ()
    """Pairs `(attribute, config key of its shape)`; attributes are tied by the mirror or made by `build`."""

    def __init__(self, *, tied=None, **kwargs):
        super().__init__(**kwargs)
        for name, variable in (tied or {}).items():
            setattr(self, name, variable)

    @property
    def trainable(self):
        return False

    @trainable.setter
    def trainable(self, value):
        """Ignored: it would reach into the model that the variables belong to."""

    def get_config(self):
        return super().get_config()  # overridden so that Keras asks no face for `tied`, which is not configuration

    def save_own_variables(self, store):
        """Also what is no variable: a kernel that LoRA or quantisation compute. Loaded again it is one."""
        for place, (name, _) in enumerate(self.weight_shapes):
            store[str(place)] = keras.ops.convert_to_numpy(tf.convert_to_tensor(getattr(self, name)))

    def build(self, input_shape):
        for name, shape in self.weight_shapes:
            if getattr(self, name, None) is None:
                setattr(self, name, self.add_weight(shape=getattr(self, shape), name=name, trainable=False))
        self.built = True


@keras.saving.register_keras_serializable("deconv")
class Rectify(MirrorLayer):
    """Mirror layer of `ops.rectify`."""

    def call(self, signal):
        return pooling.rectify(signal)


@keras.saving.register_keras_serializable("deconv")
class Unpool(MirrorLayer):
    """Mirror layer of `ops.unpool`; called with `[signal, switches]`. Mirrors of earlier versions lack the windows."""

    def __init__(self, target_shape, collisions="sum", pool_size=None, strides=None, padding="valid", **kwargs):
        super().__init__(**kwargs)
        self.target_shape, self.collisions, self.padding = tuple(target_shape), collisions, padding
        self.pool_size = None if pool_size is None else pooling.pair(pool_size)
        self.strides = self.pool_size if strides is None else pooling.pair(strides)

    def call(self, inputs):
        signal, switches = inputs
        if len(signal.shape) == 2:  # global pooling without its spatial axes
            signal, switches = signal[:, None, None], switches[:, None, None]
        windows = {"pool_size": self.pool_size, "strides": self.strides, "padding": self.padding}
        return pooling.unpool(signal, switches, self.target_shape, self.collisions, **windows)

    def compute_output_shape(self, input_shapes):
        return (input_shapes[0][0], *self.target_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "target_shape": self.target_shape,
            "collisions": self.collisions,
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
        }


class _Filter(MirrorLayer):
    """What the two transposed convolutions have in common."""

    weight_shapes = (("kernel", "kernel_shape"),)

    def __init__(
        self,
        target_shape,
        kernel_shape,
        strides=(1, 1),
        padding="valid",
        dilation_rate=(1, 1),
        tied=None,
        **kwargs,
    ):
        self.kernel = None
        super().__init__(tied=tied, **kwargs)
        self.target_shape, self.kernel_shape = tuple(target_shape), tuple(kernel_shape)
        self.strides, self.padding, self.dilation_rate = tuple(strides), padding, tuple(dilation_rate)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.target_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "target_shape": self.target_shape,
            "kernel_shape": self.kernel_shape,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
        }


@keras.saving.register_keras_serializable("deconv")
class TransposeConv(_Filter):
    """Mirror layer of `filters.transpose_conv`."""

    def __init__(self, *args, groups=1, **kwargs):
        super().__init__(*args, **kwargs)
        self.groups = groups

    def call(self, signal):
        kernel = tf.convert_to_tensor(self.kernel)
        return convolution.transpose_conv(
            signal, kernel, self.target_shape, self.strides, self.padding, self.dilation_rate, self.groups
        )

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable("deconv")
class TransposeDepthwiseConv(_Filter):
    """Mirror layer of `filters.transpose_depthwise_conv`."""

    def call(self, signal):
        kernel = tf.convert_to_tensor(self.kernel)
        return convolution.transpose_depthwise_conv(
            signal, kernel, self.target_shape, self.strides, self.padding, self.dilation_rate
        )


@keras.saving.register_keras_serializable("deconv")
class TransposeDense(MirrorLayer):
    """A dense layer downwards: the signal times the transposed matrix."""

    weight_shapes = (("kernel", "kernel_shape"),)

    def __init__(self, kernel_shape, tied=None, **kwargs):
        self.kernel = None
        super().__init__(tied=tied, **kwargs)
        self.kernel_shape = tuple(kernel_shape)

    def call(self, signal):
        return tf.matmul(signal, tf.convert_to_tensor(self.kernel), transpose_b=True)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.kernel_shape[0])

    def get_config(self):
        return {**super().get_config(), "kernel_shape": self.kernel_shape}


@keras.saving.register_keras_serializable("deconv")
class TransposeAveragePool(MirrorLayer):
    """Mirror layer of `ops.transpose_average_pool`; a pool as large as the map is global average pooling."""

    def __init__(self, target_shape, pool_size, strides, padding="valid", **kwargs):
        super().__init__(**kwargs)
        self.target_shape, self.padding = tuple(target_shape), padding
        self.pool_size, self.strides = tuple(pool_size), tuple(strides)

    def call(self, signal):
        if len(signal.shape) == 2:
            signal = signal[:, None, None]
        return pooling.transpose_average_pool(signal, self.target_shape, self.pool_size, self.strides, self.padding)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.target_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "target_shape": self.target_shape,
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
        }


@keras.saving.register_keras_serializable("deconv")
class TransposeBatchNorm(MirrorLayer):
    """Batch normalisation downwards: its scale, `gamma / sqrt(variance + epsilon)`; the shift drops out."""

    def __init__(self, axis_size, epsilon, scale=True, tied=None, **kwargs):
        self.gamma = self.moving_variance = None
        super().__init__(tied=tied, **kwargs)
        self.axis_size, self.epsilon, self.scale = (axis_size,), epsilon, scale
        gamma = (("gamma", "axis_size"),) if scale else ()
        self.weight_shapes = (*gamma, ("moving_variance", "axis_size"))

    def call(self, signal):
        variance = tf.cast(tf.convert_to_tensor(self.moving_variance), signal.dtype)
        factor = tf.math.rsqrt(variance + self.epsilon)
        return signal * (factor * tf.cast(tf.convert_to_tensor(self.gamma), signal.dtype) if self.scale else factor)

    def get_config(self):
        own = {"axis_size": self.axis_size[0], "epsilon": self.epsilon, "scale": self.scale}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("deconv")
class Scale(MirrorLayer):
    """A multiplication by a constant, downwards the same."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, signal):
        return signal * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("deconv")
class Split(MirrorLayer):
    """The transpose of a concatenation: each branch gets its own channels back."""

    def __init__(self, sizes, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.sizes, self.axis = list(sizes), axis

    def call(self, signal):
        return tf.split(signal, self.sizes, axis=self.axis)

    def get_config(self):
        return {**super().get_config(), "sizes": self.sizes, "axis": self.axis}


@keras.saving.register_keras_serializable("deconv")
class Copy(MirrorLayer):
    """The transpose of an addition: every branch gets the whole signal."""

    def __init__(self, branches, **kwargs):
        super().__init__(**kwargs)
        self.branches = branches

    def call(self, signal):
        return [tf.identity(signal) for _ in range(self.branches)]

    def compute_output_shape(self, input_shape):
        return [tuple(input_shape)] * self.branches

    def get_config(self):
        return {**super().get_config(), "branches": self.branches}


@keras.saving.register_keras_serializable("deconv")
class Zeros(MirrorLayer):
    """What comes down to an output of a layer that nothing above uses: nothing. Called with any signal."""

    def __init__(self, target_shape, **kwargs):
        super().__init__(**kwargs)
        self.target_shape = tuple(target_shape)

    def call(self, signal):
        return tf.zeros((tf.shape(signal)[0], *self.target_shape), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.target_shape)

    def get_config(self):
        return {**super().get_config(), "target_shape": self.target_shape}
