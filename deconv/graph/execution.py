"""Run a model graph in inference mode, step by step."""

import keras

from deconv.graph.model_graph import Edge


def run(graph, images, call=None):
    """Run the graph on a batch, in inference mode.

    Args:
        graph: A `Graph` with one input.
        images: Tensor `(batch, *input shape)`.
        call: `call(step, *args, **kwargs)`, asked instead of the layer itself.

    Returns:
        `{edge: tensor}` for every edge of the graph.
    """
    call = call or call_layer
    values = {}

    def forward(images):
        values[graph.inputs[0]] = images
        for step in graph.steps:
            args, kwargs = keras.tree.map_structure(
                lambda leaf: values[leaf] if isinstance(leaf, Edge) else leaf, (step.args, step.kwargs)
            )
            results = keras.tree.flatten(call(step, *args, **kwargs))
            values.update(zip(step.outputs, results, strict=True))
        return results

    _Inference(forward)(images, training=False)
    return values


def call_layer(step, *args, **kwargs):
    """Call the step's own layer without leaving a trace in it: no losses, no updated state."""
    if "training" in kwargs:  # the graph says so, and as in `predict` it does not count
        kwargs = {**kwargs, "training": False}
    with keras.StatelessScope():
        return step.layer(*args, **kwargs)


class _Inference(keras.layers.Layer):
    """The layer inside whose call all others run: it tells them that nobody trains, and keeps Keras from taking each
    of them for the start of a new step, at which it would clear the losses that they hold."""

    def __init__(self, forward):
        super().__init__(autocast=False, name="inference")
        self.forward = forward

    def call(self, images, training=False):
        return self.forward(images)
