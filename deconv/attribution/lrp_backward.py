"""Propagate relevance from a unit to the pixels, layer by layer (rules: `deconv.attribution.relevance_propagation`)."""

from __future__ import annotations

import keras
import tensorflow as tf

from deconv import graph
from deconv.attribution import rules
from deconv.attribution.lrp_linear import is_filter, is_sum, linears
from deconv.attribution.lrp_plan import Plan
from deconv.deconvnet.recording import POOLS, pool_with_switches
from deconv.graph import affine_layers, modified_gradients
from deconv.ops import pooling


def descend(
    plan: Plan, images: tf.Tensor, signal: tf.Tensor, low: tf.Tensor, high: tf.Tensor
) -> tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, tuple[tf.Tensor, ...]]]:
    """Propagate the value of units to the pixels by LRP.

    Args:
        plan: A `Plan`.
        images: Tensor `(n, height, width, channels)`.
        signal: Tensor shaped like the output of the last step, one at the explained units and zero elsewhere.
        low, high: Tensors shaped like the images, the bounds of the pixels.

    Returns:
        `(relevance of the images, {step name: relevance of its output}, {step name: sums})`, where the sums are four
        tensors `(n,)`: the relevance of the outputs, of the inputs, of the biases, and the lost relevance. The dtype is
        float64 if the images are float64, else float32.
    """
    dtype = tf.float64 if images.dtype == tf.float64 else tf.float32
    model_graph, top = plan.graph, plan.graph.steps[-1]
    values, before = modified_gradients.run(model_graph, images)
    before = tf.cast(before[top.name], dtype)
    above = {top.output: before * tf.cast(signal, dtype)}
    bounds, inside = _bounds(plan, low, high, dtype), _inside_masks(model_graph, dtype)
    maps, sums = {}, {}
    for step in reversed(model_graph.steps):
        relevances = _output_relevances(step, above, values, dtype)
        relevance = maps[step.name] = relevances[0]
        arrays = [tf.cast(values[edge], dtype) for edge in step.inputs]
        zeros = tf.zeros(tf.shape(relevance)[:1], dtype)
        if step.name in plan.rules and plan.rules[step.name].shares:
            edge = step.inputs[0]
            context = {"inside": inside.get(edge, 1.0), "bounds": bounds.get(edge), "signed": step.name in plan.signed}
            below, biases, lost = _redistribute(step, plan, arrays, relevance, context)
        else:
            below, biases, lost = _pass_on(step, values, relevances), zeros, zeros
        into = tf.add_n([tf.reduce_sum(part, axis=range(1, len(part.shape))) for part in below])
        out = tf.add_n([tf.reduce_sum(part, axis=range(1, len(part.shape))) for part in relevances])
        sums[step.name] = (out, into, biases, lost)
        for edge, part in zip(step.inputs, below, strict=True):
            above[edge] = above[edge] + part if edge in above else part
    return above[model_graph.inputs[0]], maps, sums


def _output_relevances(step, above, values, dtype):
    """The relevance of each output of a step; zeros for an output that no step above uses."""
    relevances = [above.pop(edge, None) for edge in step.outputs]
    if len(relevances) == 1:
        return relevances
    return [
        tf.zeros(tf.shape(values[edge]), dtype) if part is None else part
        for edge, part in zip(step.outputs, relevances, strict=True)
    ]


def _redistribute(step, plan, arrays, relevance, context):
    """Apply a rule to a layer: a list of the relevances of its inputs, that of its biases and the loss, `(n,)` each."""
    rule, dtype = plan.rules[step.name], relevance.dtype
    lowest, *others = linears(step, dtype, plan.norms.get(step.name))
    maps = tf.stack(arrays) if is_sum(step) and len(arrays) > 1 else arrays[0]
    biases = lost = 0.0
    for linear in others:  # the pointwise part of a separable convolution, which no pixel feeds
        between = lowest.up(maps, lowest.kernel) + lowest.bias
        relevance, biases, lost = rules.share_out(
            rules.zero() if rule.needs_bounds else rule, linear, between, relevance
        )
    below, own_biases, own_lost = rules.share_out(rule, lowest._replace(**context), maps, relevance)
    parts = tf.unstack(below) if maps is not arrays[0] else [below]
    zeros = tf.zeros(tf.shape(relevance)[:1], dtype)
    return parts, zeros + biases + own_biases, zeros + lost + own_lost


def _pass_on(step, values, relevances):
    """Pass relevance through a layer without a rule: a list of the relevances of its inputs."""
    relevance = relevances[0]
    kind, shape = graph.kind(step.layer), step.inputs[0].shape
    if kind in POOLS:
        _, switches = pool_with_switches(step, values[step.inputs[0]])
        if len(relevance.shape) == 2:
            relevance, switches = relevance[:, None, None], switches[:, None, None]
        windows = {"pool_size": shape[:2]}
        if kind is keras.layers.MaxPooling2D:
            pool = step.layer
            windows = {"pool_size": pool.pool_size, "strides": pool.strides, "padding": pool.padding}
        return [pooling.unpool(relevance, switches, shape, **windows)]
    if kind is keras.layers.Concatenate:
        axis = step.layer.axis
        return tf.split(relevance, [edge.shape[axis - (axis > 0)] for edge in step.inputs], axis=axis)
    if kind is keras.layers.ZeroPadding2D:
        (top, _), (left, _) = step.layer.padding
        return [relevance[:, top : top + shape[0], left : left + shape[1]]]
    if affine_layers.is_copy(step):
        return affine_layers.transpose(*affine_layers.call_of(step), [edge.shape for edge in step.inputs], relevances)
    return [relevance]


def _bounds(plan, low, high, dtype):
    """`{edge: (low, high)}` of the image and of the steps before the lowest filters."""
    image = plan.graph.inputs[0]
    ranges = [graph.run(plan.entrance, limit) if plan.entrance.steps else {image: limit} for limit in (low, high)]
    both = {edge: [tf.cast(limits[edge], dtype) for limits in ranges] for edge in ranges[0]}
    return {edge: (tf.minimum(*pair), tf.maximum(*pair)) for edge, pair in both.items()}


def _inside_masks(model_graph, dtype):
    """`{edge: ones, and zeros in the border}` of zero-padded maps and of the steps above that keep their shape."""
    masks = {}
    for step in model_graph.steps:
        cells, shape = masks.get(step.inputs[0]), step.inputs[0].shape
        if graph.kind(step.layer) is keras.layers.ZeroPadding2D:
            cells = tf.ones([1, *shape], dtype) if cells is None else cells
            masks[step.output] = tf.pad(cells, [(0, 0), *step.layer.padding, (0, 0)])
        elif cells is not None and affine_layers.is_copy(step):
            if len(step.inputs) == 1:
                copies = affine_layers.forward(*affine_layers.call_of(step), [cells])
                masks.update(zip(step.outputs, copies, strict=True))
        elif cells is not None and not _combines_cells(step) and shape == step.output.shape:
            masks[step.output] = cells
    return masks


def _combines_cells(step):
    return is_filter(step) or is_sum(step) or graph.kind(step.layer) in (*POOLS, keras.layers.Concatenate)
