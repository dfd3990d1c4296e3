"""The effective kernel of a layer: its variable, or the value that LoRA or quantisation computes from several."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    import keras


def kernel_of(layer: keras.layers.Layer) -> keras.Variable | _Computed:
    """Return the effective kernel of a layer, to be passed to `tf.convert_to_tensor`, which reads its current value.

    With LoRA this is the kernel plus the product of the two low-rank factors. After `quantize("int8")` it is the
    integer kernel divided by the scale of each channel. An int8 layer also rounds its inputs; a kernel cannot represent
    that.

    Args:
        layer: A built layer with a kernel.

    Returns:
        A variable, or an object with the `shape` of the kernel.

    Raises:
        ValueError: If the layer is quantised in another mode.
    """
    mode = getattr(layer, "quantization_mode", None)
    if mode not in (None, "int8"):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}) is quantised to {mode!r}; only floating-point and "
            "'int8' kernels can be transposed. Use the model before quantize()."
        )
    if mode is None and not getattr(layer, "lora_enabled", False):
        return layer.kernel
    return _Computed(layer, mode)


class _Computed:
    """A kernel that is computed when it is converted to a tensor."""

    def __init__(self, layer, mode):
        self.layer, self.mode, self.shape = layer, mode, layer._kernel.shape

    def __tf_tensor__(self, dtype=None, name=None):
        layer = self.layer
        kernel = tf.convert_to_tensor(layer._kernel)
        if self.mode == "int8":
            scale = tf.convert_to_tensor(layer.kernel_scale)
            kernel = tf.cast(kernel, scale.dtype) / scale
        if getattr(layer, "lora_enabled", False):
            down, up = map(tf.convert_to_tensor, (layer.lora_kernel_a, layer.lora_kernel_b))
            product = tf.tensordot(down, up, 1) * (layer.lora_alpha / layer.lora_rank)
            kernel = kernel + tf.cast(product, kernel.dtype)
        return kernel if dtype is None else tf.cast(kernel, dtype)
