"""A self-check on the user's own model: is this mirror really the transpose, and what does it agree with?"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.deconvnet.claims import claim_error, claims, factors
from deconv.deconvnet.mirror import mirror_graph
from deconv.deconvnet.projection import Deconvnet
from deconv.deconvnet.selection import select
from deconv.graph import modified_gradients
from deconv.graph.gradients_through_the_head import with_floating_input
from deconv.runtime import devices
from deconv.runtime.dtypes import array_of, is_floating
from deconv.runtime.short_repr import short_repr
from deconv.validation import check_images, check_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIMITS = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2, "bfloat16": 1e-1}
"""{dtype: up to where residuals are rounding errors}."""

CHANNELS = 3
"""How many random active channels of each image are compared with the gradient."""


class Verification(NamedTuple):
    """Results of `verify`: `residuals` are near the rounding error of the model's dtype if all is well.

    Attributes:
        layer: Name of the layer.
        adjoint_residual: `|<Ax, y> - <x, mirror(y)>| / (|Ax| |y|)` for random x and y = Ax + noise as large, so that a
            mirror which leads elsewhere scores about 0.7, which is |Ax| / |y|, and one with a share of wrong filters
            that share of it. A is the
            network without biases, rectification and contrast normalisation, its switches held fixed, differentiated
            by TensorFlow; the mirror is taken without rectification.
        switch_replay: `{max pooling: largest difference between a pooled value and the value its switch points at}`, as
            a share of the largest pooled value.
        gradient_difference: Largest difference, relative to the largest value, between the projection of a unit and its
            gradient under the rule "ReLU passes what is positive in the signal" (Springenberg et al., arXiv:1412.6806,
            section 3.4), over the strongest unit of the layer and those of random active channels.
        collision_rate: `{max pooling: share of pooled units whose maximum another window of the same map shares}`.
        collisions: The policy of the mirror; only `"sum"` is the exact transpose.
        claim_errors: `{layer that says what it is mirrored as: how far it is from what it says}`, for identities and
            activations (see `deconv.deconvnet.claims`). Zero for contrast normalisation, whose own derivative a
            deconvnet leaves out.
        factors: `{contrast normalisation: least and largest factor by which it scales values of the images}`: what the
            mirror leaves out.
        dtype: The least exact in which the layer, or one below, computes: float16 for a float32 softmax on layers of
            mixed precision.
        tf32: Whether the user lets float32 products be computed in TF32, which matters on NVIDIA GPUs alone. These
            numbers, and all projections, are computed without it.
    """

    layer: str
    adjoint_residual: float
    switch_replay: dict[str, float]
    gradient_difference: float
    collision_rate: dict[str, float]
    collisions: str
    claim_errors: dict[str, float] = MappingProxyType({})
    factors: dict[str, tuple[float, float]] = MappingProxyType({})
    dtype: str = "float32"
    tf32: bool = False

    def __repr__(self) -> str:
        return short_repr(self)

    def plot(self, title: str | None = None) -> Figure:
        """Draw every residual of the layer beside its limit (`plotting.verification_sheet`)."""
        from deconv.plotting import verification_sheet

        return verification_sheet([self], f"Verification of {self.layer}" if title is None else title)

    @property
    def residuals(self):
        """All numbers that should be zero."""
        return (
            self.adjoint_residual,
            self.gradient_difference,
            *self.switch_replay.values(),
            *self.claim_errors.values(),
        )

    @property
    def limit(self):
        """Up to where residuals are rounding errors of the dtype: 1e-5 for float32."""
        return LIMITS.get(self.dtype, LIMITS["float32"])

    @property
    def holds(self):
        """Whether all residuals are within the limit."""
        return all(residual <= self.limit for residual in self.residuals)

    def __str__(self):
        rows = [("adjoint residual, whole chain", f"{self.adjoint_residual:.1e}")]
        rows += [(f"switch replay, {name}", f"{value:.1e}") for name, value in self.switch_replay.items()]
        rows.append(("difference from the modified gradient", f"{self.gradient_difference:.1e}"))
        rows += [(f"difference from what it says, {name}", f"{value:.1e}") for name, value in self.claim_errors.items()]
        rows += [
            (f"passed over, {name}", f"scales by {low:.3g} to {high:.3g}") for name, (low, high) in self.factors.items()
        ]
        rows += [(f"collision rate, {name}", f"{value:.1%}") for name, value in self.collision_rate.items()]
        rows.append(("collisions", self.collisions))
        rows.append(("TF32", f"off here; outside of deconv {'on' if self.tf32 else 'off'}"))
        width = max(len(name) for name, _ in rows)
        return "\n".join(
            [f"deconvnet of layer '{self.layer}'", *(f"  {name:<{width}}  {value}" for name, value in rows)]
        )


def verify(model, layer, images=None, *, collisions="sum", rules=None, input_shape=None, seed=0, show=True):
    """Check the deconvnet of a layer against derivations that do not use it, and print a small table.

    Everything is computed in float32, or the model's own dtype: on a GPU TF32, whose error of 1e-3 would hide a wrong
    mirror, is off meanwhile.

    Args:
        model: A functional or Sequential `keras.Model`.
        layer: Name, path or index.
        images: Float array `(n, height, width, channels)`, preprocessed; None for two images of seeded noise.
        collisions, rules, input_shape: As for `deconv.Deconvnet`.
        seed: Seed of the random vectors and channels.
        show: Whether to print the table.

    Returns:
        `Verification`.
    """
    tf32 = devices.uses_tf32()
    with devices.full_float32:
        found = _verify(model, layer, images, collisions, rules, input_shape, seed)._replace(tf32=tf32)
    if show:
        print(found)
    return found


def _verify(model, layer, images, collisions, rules, input_shape, seed):
    net = Deconvnet(model, collisions=collisions, rules=rules, input_shape=input_shape)
    model_graph = graph.subgraph(net.graph, graph.find(net.graph, layer))
    top, image = model_graph.steps[-1], model_graph.inputs[0]
    random = np.random.default_rng(check_seed(seed))
    if images is None:
        images = _noise(random, (2, *image.shape), image.dtype)
    images = check_images(images, image.shape, image.dtype)
    record = net.record(images, layer)
    linear = mirror_graph(model_graph, rules, collisions, rectify=False)
    told = claims(model_graph, rules)
    model_graph = with_floating_input(model_graph)
    images = images.astype(model_graph.inputs[0].dtype, copy=False)
    replay, scales = _replay(
        model_graph, images, record.switches, [step for step in told if modified_gradients.is_declared_identity(step)]
    )
    return Verification(
        layer=top.name,
        adjoint_residual=_adjoint_residual(
            model_graph, images, random, lambda signal: linear([signal, *record.switches.values()])
        ),
        switch_replay=replay,
        gradient_difference=_gradient_difference(net, model_graph, images, layer, record.activations, random),
        collision_rate={name: collision_rate(seen) for name, seen in record.switches.items()},
        collisions=collisions,
        claim_errors={step.name: claim_error(step, random) for step in told},
        factors=scales,
        dtype=_least_exact(model_graph),
    )


def _noise(random, shape, dtype):
    """Seeded noise; of pixels, 0 to 255 or what the dtype holds of them, for a model that takes whole numbers."""
    if is_floating(dtype):
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 2 if np.dtype(dtype).kind == "b" else min(256, np.iinfo(dtype).max + 1), shape)


def _least_exact(model_graph):
    """Name of the floating-point dtype of a step with the largest rounding error."""
    names = {tf.as_dtype(edge.dtype).name for step in model_graph.steps for edge in step.outputs}
    return max(sorted(names & set(LIMITS)), key=LIMITS.get, default="float32")


def collision_rate(switches):
    """Share of pooled units whose maximum another window of the same map shares.

    Args:
        switches: Ints `(n, rows, columns, channels)`, or `(n, channels)` after global pooling.

    Returns:
        A number from 0 to 1; 0 wherever windows do not overlap.
    """
    switches = array_of("switches", switches)
    if switches.ndim < 2:
        raise ValueError(f"switches must have shape (n, rows, columns, channels); received {switches.shape}.")
    ordered = np.sort(switches.reshape(len(switches), -1, switches.shape[-1]), axis=1)
    same = np.diff(ordered, axis=1) == 0
    nothing = np.zeros((len(ordered), 1, ordered.shape[-1]), bool)
    shared = np.concatenate([nothing, same], axis=1) | np.concatenate([same, nothing], axis=1)
    return float(shared.mean())


def _adjoint_residual(model_graph, images, random, down):
    """`|<Ax, y> - <x, down(y)>| / (|Ax| |y|)` for random x and y = Ax + noise of the length of Ax."""
    top, image = model_graph.steps[-1].output, model_graph.inputs[0]
    vector = random.standard_normal(images.shape).astype(image.dtype)
    with tf.GradientTape() as tape:
        anything = tf.Variable(tf.zeros((len(images), *top.shape), top.dtype))
        up = tf.reduce_sum(_modified_gradient(model_graph, images, anything, tf.identity) * vector)
    up = tape.gradient(up, anything)  # the transpose of the transpose: A itself, applied to `vector`
    up = np.zeros(anything.shape) if up is None else np.asarray(tf.cast(up, tf.float64))
    noise = random.standard_normal(up.shape)
    signal = up + noise * (np.linalg.norm(up) or 1) / np.linalg.norm(noise)
    signal = signal.astype(tf.as_dtype(top.dtype).as_numpy_dtype)
    below = np.asarray(tf.cast(down(signal), tf.float64))
    signal = signal.astype(np.float64)
    difference = np.vdot(up, signal) - np.vdot(vector.astype(np.float64), below)
    return float(abs(difference) / max(np.linalg.norm(up) * np.linalg.norm(signal), np.finfo(np.float32).tiny))


def _gradient_difference(net, model_graph, images, layer, activations, random):
    """Over the strongest unit of every image, and over the strongest of some of its active channels."""
    flat = activations.reshape(len(activations), -1, activations.shape[-1])
    active = flat.max(axis=1) > 0
    found = _relative_difference(
        net.project(images, layer), _modified_gradient(model_graph, images, select(activations), tf.nn.relu)
    )
    for _ in range(CHANNELS):
        keys = np.where(active, random.random(active.shape), 0) + random.random(active.shape) * 1e-9
        channels = keys.argmax(axis=1)
        signal = select(activations, channels)
        ours = net.project_units(images, layer, channels)
        found = max(found, _relative_difference(ours, _modified_gradient(model_graph, images, signal, tf.nn.relu)))
    return found


def _replay(model_graph, images, switches, norms):
    """One pass up: what pools give beside what the switches point at, and by how much normalisations scale.

    Returns:
        `({pool: largest difference}, {normalisation: (least, largest factor)})`.
    """
    pools = {step.name: step for step in model_graph.steps if step.name in switches}
    differences, scales = {}, {step.name: None for step in norms}

    def call(step, *args, **kwargs):
        result = graph.call_layer(step, *args, **kwargs)
        if step.name in pools:
            maps, seen = args[0].numpy(), switches[step.name]
            cells = maps.reshape(len(maps), -1, maps.shape[-1])
            chosen = np.take_along_axis(cells, seen.reshape(len(seen), -1, seen.shape[-1]), axis=1)
            differences[step.name] = _relative_difference([chosen.ravel()], [result.numpy().ravel()])
        if step.name in scales:
            scales[step.name] = factors(args[0], result)
        return result

    graph.run(model_graph, tf.convert_to_tensor(images), call)
    return {name: differences[name] for name in switches}, scales


def _relative_difference(ours, theirs):
    """Largest difference of each projection as a share of its largest value; of them the largest."""
    ours, theirs = (np.asarray(part, np.float64).reshape(len(part), -1) for part in (ours, theirs))
    largest = np.maximum(np.abs(theirs).max(axis=1), np.finfo(np.float32).tiny)
    return float((np.abs(ours - theirs).max(axis=1) / largest).max())


def _modified_gradient(model_graph, images, signal, rule):
    """The gradient of `<signal, layer>` with `rule` in place of the derivative of every ReLU."""
    images = tf.convert_to_tensor(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        values, _ = modified_gradients.run(
            model_graph, images, lambda above, _: rule(above), norms_pass=True, heads=False
        )
        value = tf.reduce_sum(values[model_graph.steps[-1].output] * tf.convert_to_tensor(signal))
    return tape.gradient(value, images)
