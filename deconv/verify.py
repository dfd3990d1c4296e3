"""A self-check on the user's own model: is this mirror really the transpose, and what does it agree with?"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from deconv import backward, graph
from deconv.inputs import check_images
from deconv.mirror import mirror_graph
from deconv.projection import Deconvnet
from deconv.selection import select


class Verification(NamedTuple):
    """Results of `verify`; the first three are near the rounding error of the model's dtype if all is well.

    Attributes:
        layer: Name of the layer.
        adjoint_residual: `|<Ax, y> - <x, mirror(y)>| / (|Ax| |y|)` for random x and y. A is the network without
            biases, rectification and contrast normalisation, its switches held fixed, differentiated by TensorFlow;
            the mirror is taken without rectification.
        switch_replay: `{max pooling: largest difference between a pooled value and the value its switch points at}`.
        gradient_difference: Largest relative difference between the projection and the gradient of the unit under the
            rule "ReLU passes what is positive in the signal" (Springenberg et al., arXiv:1412.6806, section 3.4).
        collision_rate: `{max pooling: share of pooled units whose maximum another window of the same map shares}`.
        collisions: The policy of the mirror; only `"sum"` is the exact transpose.
    """

    layer: str
    adjoint_residual: float
    switch_replay: dict[str, float]
    gradient_difference: float
    collision_rate: dict[str, float]
    collisions: str

    def __str__(self):
        rows = [("adjoint residual, whole chain", f"{self.adjoint_residual:.1e}")]
        rows += [(f"switch replay, {name}", f"{value:.1e}") for name, value in self.switch_replay.items()]
        rows.append(("difference from the modified gradient", f"{self.gradient_difference:.1e}"))
        rows += [(f"collision rate, {name}", f"{value:.1%}") for name, value in self.collision_rate.items()]
        rows.append(("collisions", self.collisions))
        width = max(len(name) for name, _ in rows)
        return "\n".join(
            [f"deconvnet of layer '{self.layer}'", *(f"  {name:<{width}}  {value}" for name, value in rows)]
        )


def verify(model, layer, images=None, *, collisions="sum", rules=None, input_shape=None, seed=0, show=True):
    """Check the deconvnet of a layer against derivations that do not use it, and print a small table.

    Args:
        model: A functional or Sequential `keras.Model`.
        layer: Name, path or index.
        images: Float array `(n, height, width, channels)`, preprocessed; None for two images of seeded noise.
        collisions, rules, input_shape: As for `deconv.Deconvnet`.
        seed: Seed of the random vectors.
        show: Whether to print the table.

    Returns:
        `Verification`.
    """
    net = Deconvnet(model, collisions=collisions, rules=rules, input_shape=input_shape)
    laid = graph.below(net.graph, graph.find(net.graph, layer))
    top, image = laid.steps[-1], laid.inputs[0]
    random = np.random.default_rng(seed)
    if images is None:
        images = random.standard_normal((2, *image.shape)).astype(image.dtype)
    images = check_images(images, image.shape, image.dtype)
    record = net.record(images, layer)

    vector = random.standard_normal(images.shape).astype(image.dtype)
    signal = random.standard_normal(record.activations.shape).astype(record.activations.dtype)
    linear = mirror_graph(laid, rules, collisions, rectify=False)
    found = Verification(
        top.name,
        _adjoint_residual(laid, images, vector, signal, linear([signal, *record.switches.values()])),
        _switch_replay(laid, images, record.switches),
        _relative_difference(
            net.project(images, layer),
            _modified_gradient(laid, images, select(record.activations), tf.nn.relu).numpy(),
        ),
        {name: collision_rate(seen) for name, seen in record.switches.items()},
        collisions,
    )
    if show:
        print(found)
    return found


def collision_rate(switches):
    """Share of pooled units whose maximum another window of the same map shares.

    Args:
        switches: Ints `(n, rows, columns, channels)`, or `(n, channels)` after global pooling.

    Returns:
        A number from 0 to 1; 0 wherever windows do not overlap.
    """
    switches = np.asarray(switches)
    ordered = np.sort(switches.reshape(len(switches), -1, switches.shape[-1]), axis=1)
    same = np.diff(ordered, axis=1) == 0
    nothing = np.zeros((len(ordered), 1, ordered.shape[-1]), bool)
    shared = np.concatenate([nothing, same], axis=1) | np.concatenate([same, nothing], axis=1)
    return float(shared.mean())


def _adjoint_residual(laid, images, vector, signal, down):
    """`|<Ax, y> - <x, mirror(y)>| / (|Ax| |y|)` with x `vector`, y `signal` and mirror(y) `down`."""
    with tf.GradientTape() as tape:
        anything = tf.Variable(tf.zeros_like(signal))
        up = tf.reduce_sum(_modified_gradient(laid, images, anything, tf.identity) * vector)
    up = tape.gradient(up, anything)  # the transpose of the transpose: A itself, applied to `vector`
    difference = tf.reduce_sum(up * signal) - tf.reduce_sum(vector * down)
    return float(tf.abs(difference) / tf.maximum(tf.norm(up) * tf.norm(signal), np.finfo(np.float32).tiny))


def _switch_replay(laid, images, switches):
    """Largest difference between what the model pools and what the switches point at, for each pool."""
    pools = {step.name: step for step in laid.steps if step.name in switches}
    differences = {}

    def call(step, *args, **kwargs):
        pooled = graph.call_layer(step, *args, **kwargs)
        if step.name in pools:
            maps, seen = args[0].numpy(), switches[step.name]
            cells = maps.reshape(len(maps), -1, maps.shape[-1])
            chosen = np.take_along_axis(cells, seen.reshape(len(seen), -1, seen.shape[-1]), axis=1)
            differences[step.name] = float(np.abs(chosen.reshape(seen.shape) - pooled.numpy()).max())
        return pooled

    graph.run(laid, tf.convert_to_tensor(images), call)
    return {name: differences[name] for name in switches}


def _relative_difference(ours, theirs):
    largest = max(np.abs(theirs).max(), np.finfo(theirs.dtype).tiny)
    return float(np.abs(ours - theirs).max() / largest)


def _modified_gradient(laid, images, signal, rule):
    """The gradient of `<signal, layer>` with `rule` in place of the derivative of every ReLU."""
    images = tf.convert_to_tensor(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        values, _ = backward.run(laid, images, lambda above, _: rule(above), norms_pass=True, heads=False)
        value = tf.reduce_sum(values[laid.steps[-1].output] * tf.convert_to_tensor(signal))
    return tape.gradient(value, images)
