"""Verification of the deconvnet of a model: whether its mirror is the transpose, and which gradient it agrees with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.deconvnet.mirror import mirror_graph
from deconv.deconvnet.mirrored_as_checks import claim_error, claims, factors
from deconv.deconvnet.projection import Deconvnet
from deconv.deconvnet.selection import select
from deconv.deconvnet.verification_result import LIMITS, Verification
from deconv.graph import modified_gradients
from deconv.graph.gradients_through_the_head import with_floating_input
from deconv.runtime import devices
from deconv.runtime.dtypes import array_of, is_floating
from deconv.validation import check_images, check_seed

if TYPE_CHECKING:
    import keras

    from deconv.deconvnet.rules import Rules

CHANNELS = 3
"""Number of random active channels of each image that are compared with the gradient."""


def verify(
    model: keras.Model,
    layer: str | int,
    images: ArrayLike | None = None,
    *,
    collisions: Literal["sum", "last", "max"] = "sum",
    rules: Rules | None = None,
    input_shape: Sequence[int] | None = None,
    seed: int = 0,
    show: bool = True,
) -> Verification:
    """Check the deconvnet of a layer against derivations that do not use it, and print a small table.

    Everything is computed in float32, or the model's own dtype. TF32, whose error of 1e-3 on a GPU would hide a wrong
    mirror, is off during the computation.

    Args:
        model: A functional or Sequential `keras.Model`.
        layer: Name, path or index.
        images: Float array `(n, height, width, channels)`, preprocessed; None for two images of seeded noise.
        collisions, rules, input_shape: As for `deconv.Deconvnet`.
        seed: Seed of the random vectors and channels.
        show: Whether to print the table.

    Returns:
        A `Verification`.

    Raises:
        ValueError: If there is no such layer, the images do not fit the model, or a layer has no rule.
    """
    tf32 = devices.uses_tf32()
    with devices.full_float32:
        verification = _verify(model, layer, images, collisions, rules, input_shape, seed)._replace(tf32=tf32)
    if show:
        print(verification)
    return verification


def _verify(
    model: keras.Model,
    layer: str | int,
    images: ArrayLike | None,
    collisions: Literal["sum", "last", "max"],
    rules: Rules | None,
    input_shape: Sequence[int] | None,
    seed: int,
) -> Verification:
    net = Deconvnet(model, collisions=collisions, rules=rules, input_shape=input_shape)
    model_graph = graph.subgraph(net.graph, graph.find(net.graph, layer))
    top, image = model_graph.steps[-1], model_graph.inputs[0]
    random = np.random.default_rng(check_seed(seed))
    if images is None:
        images = _noise(random, (2, *image.shape), image.dtype)
    pixels = check_images(images, image.shape, image.dtype)
    record = net.record(pixels, layer)
    linear = mirror_graph(model_graph, rules, collisions, rectify=False)
    declared = claims(model_graph, rules)
    model_graph = with_floating_input(model_graph)
    pixels = pixels.astype(model_graph.inputs[0].dtype, copy=False)
    normalizations = [step for step in declared if modified_gradients.is_declared_identity(step)]
    replay, scales = _replay(model_graph, pixels, record.switches, normalizations)
    return Verification(
        layer=top.name,
        adjoint_residual=_adjoint_residual(
            model_graph, pixels, random, lambda signal: linear([signal, *record.switches.values()])
        ),
        switch_replay=replay,
        gradient_difference=_gradient_difference(net, model_graph, pixels, layer, record.activations, random),
        collision_rate={name: collision_rate(switches) for name, switches in record.switches.items()},
        collisions=collisions,
        claim_errors={step.name: claim_error(step, random) for step in declared},
        factors=scales,
        dtype=_least_exact(model_graph),
    )


def _noise(random: np.random.Generator, shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Seeded noise; for a model with integer input, whole numbers from 0 to 255 as far as the dtype can hold them."""
    if is_floating(dtype):
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 2 if np.dtype(dtype).kind == "b" else min(256, np.iinfo(dtype).max + 1), shape)


def _least_exact(model_graph: graph.Graph) -> str:
    """Name of the floating-point dtype of a step with the largest rounding error."""
    names = {tf.as_dtype(edge.dtype).name for step in model_graph.steps for edge in step.outputs}
    return max(sorted(names & set(LIMITS)), key=LIMITS.__getitem__, default="float32")


def collision_rate(switches: ArrayLike) -> float:
    """Compute the share of pooled units whose maximum is also that of another window of the same map.

    Args:
        switches: Ints `(n, rows, columns, channels)`, or `(n, channels)` after global pooling.

    Returns:
        A number from 0 to 1; 0 if windows do not overlap.

    Raises:
        ValueError: If the switches have fewer than two axes.
    """
    places = array_of("switches", switches)
    if places.ndim < 2:
        raise ValueError(f"switches must have shape (n, rows, columns, channels); received {places.shape}.")
    ordered = np.sort(places.reshape(len(places), -1, places.shape[-1]), axis=1)
    same = np.diff(ordered, axis=1) == 0
    nothing = np.zeros((len(ordered), 1, ordered.shape[-1]), bool)
    shared = np.concatenate([nothing, same], axis=1) | np.concatenate([same, nothing], axis=1)
    return float(shared.mean())


def _adjoint_residual(
    model_graph: graph.Graph,
    images: np.ndarray,
    random: np.random.Generator,
    down: Callable[[np.ndarray], tf.Tensor],
) -> float:
    """`|<Ax, y> - <x, down(y)>| / (|Ax| |y|)` for random x and y = Ax + noise of equal norm."""
    top, image = model_graph.steps[-1].output, model_graph.inputs[0]
    vector = random.standard_normal(images.shape).astype(image.dtype)
    with tf.GradientTape() as tape:
        at_top = tf.Variable(tf.zeros((len(images), *top.shape), top.dtype))
        product = tf.reduce_sum(_modified_gradient(model_graph, images, at_top, tf.identity) * vector)
    # The gradient is A' at_top, which is linear in `at_top`; differentiated again it gives A applied to `vector`.
    up = tape.gradient(product, at_top)
    up = np.zeros(at_top.shape) if up is None else np.asarray(tf.cast(up, tf.float64))
    noise = random.standard_normal(up.shape)
    signal = up + noise * (np.linalg.norm(up) or 1) / np.linalg.norm(noise)
    signal = signal.astype(tf.as_dtype(top.dtype).as_numpy_dtype)
    below = np.asarray(tf.cast(down(signal), tf.float64))
    signal = signal.astype(np.float64)
    difference = np.vdot(up, signal) - np.vdot(vector.astype(np.float64), below)
    return float(abs(difference) / max(np.linalg.norm(up) * np.linalg.norm(signal), np.finfo(np.float32).tiny))


def _gradient_difference(
    net: Deconvnet,
    model_graph: graph.Graph,
    images: np.ndarray,
    layer: str | int,
    activations: np.ndarray,
    random: np.random.Generator,
) -> float:
    """`gradient_difference` for the strongest unit of every image, and of `CHANNELS` random active channels of it."""
    flat = activations.reshape(len(activations), -1, activations.shape[-1])
    active = flat.max(axis=1) > 0
    difference = _relative_difference(
        net.project(images, layer), _modified_gradient(model_graph, images, select(activations), tf.nn.relu)
    )
    for _ in range(CHANNELS):
        # Random keys select an active channel of each image, or any channel of an image without active channels.
        keys = np.where(active, random.random(active.shape), 0) + random.random(active.shape) * 1e-9
        channels = keys.argmax(axis=1)
        signal = select(activations, channels)
        projections = net.project_units(images, layer, channels)
        gradient = _modified_gradient(model_graph, images, signal, tf.nn.relu)
        difference = max(difference, _relative_difference(projections, gradient))
    return difference


def _replay(
    model_graph: graph.Graph,
    images: np.ndarray,
    switches: dict[str, np.ndarray],
    normalizations: Sequence[graph.Step],
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Run a forward pass that compares pooled values with the values at the switches, and measures normalizations.

    Returns:
        `({pool: largest difference}, {normalization: (smallest, largest factor)})`.
    """
    normalized = {step.name for step in normalizations}
    differences, scales = {}, {}

    def call(step, *args, **kwargs):
        result = graph.call_layer(step, *args, **kwargs)
        if step.name in switches:
            maps, places = args[0].numpy(), switches[step.name]
            cells = maps.reshape(len(maps), -1, maps.shape[-1])
            chosen = np.take_along_axis(cells, places.reshape(len(places), -1, places.shape[-1]), axis=1)
            differences[step.name] = _relative_difference([chosen.ravel()], [result.numpy().ravel()])
        if step.name in normalized:
            scales[step.name] = factors(args[0], result)
        return result

    graph.run(model_graph, tf.convert_to_tensor(images), call)
    return {name: differences[name] for name in switches}, {step.name: scales[step.name] for step in normalizations}


def _relative_difference(projections: Sequence[Any] | np.ndarray, expected: Sequence[Any] | np.ndarray) -> float:
    """Largest difference between two batches of projections, each relative to the largest value of its projection."""
    one, other = (np.asarray(batch, np.float64).reshape(len(batch), -1) for batch in (projections, expected))
    largest = np.maximum(np.abs(other).max(axis=1), np.finfo(np.float32).tiny)
    return float((np.abs(one - other).max(axis=1) / largest).max())


def _modified_gradient(
    model_graph: graph.Graph, images: ArrayLike, signal: ArrayLike, rule: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Gradient of `<signal, layer>` with `rule` in place of the derivative of every ReLU."""
    images = tf.convert_to_tensor(images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        values, _ = modified_gradients.run(
            model_graph, images, lambda above, _: rule(above), norms_pass=True, heads=False
        )
        value = tf.reduce_sum(values[model_graph.steps[-1].output] * tf.convert_to_tensor(signal))
    return tape.gradient(value, images)
