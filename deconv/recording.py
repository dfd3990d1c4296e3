"""The way up, written down: activations of layers, and the switches of the max poolings below them (section 2.1)."""

import keras
import tensorflow as tf

from deconv import graph, ops

POOLS = (keras.layers.MaxPooling2D, keras.layers.GlobalMaxPooling2D)


def recorder(laid, layers, switches=()):
    """Compile a forward pass that hands out what it saw.

    Args:
        laid: A `Graph` with one input.
        layers: Steps whose outputs are wanted.
        switches: Max-pooling steps whose switches are wanted.

    Returns:
        A `tf.function` of images `(batch, height, width, channels)`, traced once for any batch size. It returns
        `(activations, switches)`, two lists in the order of `layers` and `switches`.
    """
    pools = {step.name for step in switches}
    image = laid.inputs[0]

    def forward(images):
        seen = {}

        def call(step, *args, **kwargs):
            if step.name not in pools:
                return graph.call_layer(step, *args, **kwargs)
            pooled, seen[step.name] = pool_with_switches(step, args[0])
            return pooled

        values = graph.run(laid, images, call)
        return [values[step.output] for step in layers], [seen[step.name] for step in switches]

    return tf.function(forward, input_signature=[tf.TensorSpec((None, *image.shape), image.dtype)])


def pool_with_switches(step, maps):
    """Run a max-pooling step and record its switches."""
    pool = step.layer
    if isinstance(pool, keras.layers.MaxPooling2D):
        return ops.max_pool_with_switches(maps, pool.pool_size, pool.strides, pool.padding)
    pooled, switches = ops.max_pool_with_switches(maps, maps.shape[1:3])
    return (pooled, switches) if pool.keepdims else (pooled[:, 0, 0], switches[:, 0, 0])
