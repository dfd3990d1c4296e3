"""Run a step of the model graph on windows of its input instead of the whole maps, with the same results.

Filters and pooling run without padding on windows that include the border: cells outside of the map are set to the
padding value. Pointwise layers run unchanged.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from deconv import graph
from deconv.graph import activation_functions
from deconv.graph.receptive_field import FILTERS, POOLS, receptive_fields
from deconv.ops import convolution

CONVS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)


def is_translation_equivariant(step: graph.Step) -> bool:
    """Return whether a step computes the same at every position, so that it can be run on windows.

    False for layers with a parameter per position, and for layers that depend on the whole map.
    """
    layer = step.layer
    if len(step.outputs) > 1 or any(field is None for field in receptive_fields(step)):
        return False
    if isinstance(layer, FILTERS + POOLS):
        # Average pooling with a border divides by the number of cells inside the map, which depends on the position.
        same_average = graph.kind(layer) is keras.layers.AveragePooling2D and layer.padding != "valid"
        return graph.kind(layer) in (*FILTERS, *POOLS) and not same_average and _is_alike(step)
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.axis in (-1, 3)
    if not _is_alike(step):
        return False
    if isinstance(layer, keras.layers.Normalization):
        return layer.axis in ((), (-1,), (3,))
    if not isinstance(layer, keras.layers.Layer):  # an operation such as `a + b` may hold a constant map
        leaves = keras.tree.flatten((step.args, step.kwargs))
        return all(isinstance(leaf, graph.Edge | int | float | str | bool | None) for leaf in leaves)
    if isinstance(layer, keras.layers.PReLU):
        return {1, 2}.issubset(layer.shared_axes or ())
    return True


def _is_alike(step):
    """Whether the activation of a step, if it has one, computes the same at every position."""
    activation = activation_functions.of(step)
    return activation is None or activation.alike


def outside(step: graph.Step) -> float | None:
    """Return the padding value of a step: 0, minus infinity for max pooling, None if it does not pad."""
    layer = step.layer
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return 0.0
    if not isinstance(layer, FILTERS + POOLS) or layer.padding == "valid":
        return None
    return -math.inf if isinstance(layer, keras.layers.MaxPooling2D) else 0.0


def call(step: graph.Step, *args: Any, **kwargs: Any) -> tf.Tensor:
    """Run a translation-equivariant step on windows `(n, rows, columns, channels)` that include their border."""
    layer = step.layer
    if isinstance(layer, keras.layers.ZeroPadding2D | keras.layers.Cropping2D):  # the window already has its final size
        return args[0]
    if isinstance(layer, keras.layers.MaxPooling2D):
        return tf.nn.max_pool2d(args[0], layer.pool_size, layer.strides, "VALID")
    if isinstance(layer, CONVS):
        return _filter(layer, args[0])
    return graph.call_layer(step, *args, **kwargs)


def _filter(layer, maps):
    maps = tf.cast(maps, layer.compute_dtype)
    dilation, strides = layer.dilation_rate, layer.strides
    if isinstance(layer, keras.layers.SeparableConv2D):
        maps = convolution.depthwise_conv(maps, _value(layer.depthwise_kernel, maps), strides, dilation)
        maps = convolution.conv(maps, _value(layer.pointwise_kernel, maps))
    elif isinstance(layer, keras.layers.DepthwiseConv2D):
        maps = convolution.depthwise_conv(maps, _value(layer.kernel, maps), strides, dilation)
    else:
        maps = convolution.conv(maps, _value(layer.kernel, maps), strides, dilation, layer.groups)
    if layer.use_bias:
        maps = maps + _value(layer.bias, maps)
    return maps if layer.activation is None else tf.convert_to_tensor(layer.activation(maps))


def _value(variable, maps):
    return tf.cast(tf.convert_to_tensor(variable), maps.dtype)
