"""Rules of LRP against their formulas, written out over the matrix of a layer, and against numbers by hand."""

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from keras import layers as kl

from deconv import graph
from deconv.attribution import rules
from deconv.attribution.lrp_linear import Linear, linears
from models.layers import GroupedConv2D

LOW, HIGH = -2.5, 3.0  # around what `case` draws

LAYERS = {
    "conv": (kl.Conv2D(4, 3), (6, 5, 3)),
    "conv, one channel, SAME, strides": (kl.Conv2D(3, (2, 4), strides=(1, 2), padding="same"), (5, 8, 1)),
    "conv, dilation, no bias": (kl.Conv2D(3, 2, dilation_rate=(2, 1), padding="same", use_bias=False), (5, 6, 2)),
    "groups": (kl.Conv2D(4, 3, groups=2, strides=2, padding="same"), (7, 5, 4)),
    "groups of our own layer": (GroupedConv2D(4, (3, 2), groups=2), (5, 4, 6)),
    "depthwise": (kl.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2), (6, 7, 3)),
    "dense": (kl.Dense(5), (7,)),
    "dense over maps": (kl.Dense(3), (2, 3, 4)),
    "average pool": (kl.AveragePooling2D(3, 2, padding="same"), (6, 5, 2)),
    "global average": (kl.GlobalAveragePooling2D(), (3, 4, 2)),
}

RULES = {
    "zero": rules.zero(),
    "epsilon": rules.epsilon(0.3),
    "epsilon absolute": rules.epsilon(0.2, relative=False),
    "gamma": rules.gamma(0.4),
    "alpha 1 beta 0": rules.alpha_beta(1, 0),
    "alpha 2 beta 1": rules.alpha_beta(2, 1),
    "w2": rules.w2(),
    "flat": rules.flat(),
    "z_box": rules.z_box(),
}


def case(name, seed=0):
    """`(Linear, maps, relevance, matrix (inputs, outputs), biases (outputs,))`; maps and relevance of both signs."""
    layer, shape = LAYERS[name]
    layer = type(layer).from_config({**layer.get_config(), "dtype": "float64", "name": "layer"})
    image = keras.Input(shape, dtype="float64")
    model, rng = keras.Model(image, layer(image)), np.random.default_rng(seed)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.weights])
    (linear,) = linears(graph.walk(model).steps[0], tf.float64)
    maps = rng.uniform(-2, 2, (3, *shape))
    # The matrix row by row: what the slow twin of the layer makes of an input that is one in one place.
    basis = np.eye(np.prod(shape)).reshape(-1, *shape)
    shift, _ = reference.linear_part(layer, [np.zeros((1, *shape))], "sum")
    matrix = (reference.linear_part(layer, [basis], "sum")[0] - shift).reshape(len(basis), -1)
    return linear, maps, rng.normal(size=(3, *shift.shape[1:])), matrix, shift.ravel()


def plus(values):
    return np.maximum(values, 0)


def minus(values):
    return np.minimum(values, 0)


def twin(name, a, w, b, r):
    """One image, output by output: `(relevance of the inputs, of the biases)`, by the formulas.

    `a` `(inputs,)`, `w` `(inputs, outputs)`, `b` and `r` `(outputs,)`.
    """
    below, biases = np.zeros(len(a)), 0.0
    z = a @ w + b
    for k in range(len(r)):
        c, sees = a * w[:, k], w[:, k] != 0
        if name == "zero":
            shares, own = c / z[k], b[k] / z[k]
        elif name.startswith("epsilon"):
            size = 0.2 if "absolute" in name else 0.3 * np.sqrt(np.mean(z**2))
            total = z[k] + (size if z[k] >= 0 else -size)
            shares, own = c / total, b[k] / total
        elif name == "gamma":
            favour = plus if z[k] > 0 else minus
            c, bias = c + 0.4 * favour(c), b[k] + 0.4 * favour(b[k])
            shares, own = c / (c.sum() + bias), bias / (c.sum() + bias)
        elif name.startswith("alpha"):
            alpha, beta = (1, 0) if "1 beta 0" in name else (2, 1)
            up, down = plus(c).sum() + plus(b[k]), minus(c).sum() + minus(b[k])
            shares = alpha * (plus(c) / up if up else 0) - beta * (minus(c) / down if down else 0)
            own = alpha * (plus(b[k]) / up if up else 0) - beta * (minus(b[k]) / down if down else 0)
        elif name == "w2":
            shares, own = w[:, k] ** 2 / (w[:, k] ** 2).sum(), 0.0
        elif name == "flat":
            shares, own = sees / sees.sum(), 0.0
        else:
            worst = LOW * plus(w[:, k]) + HIGH * minus(w[:, k])
            shares, own = (c - worst) / (c - worst).sum(), 0.0
        below += shares * r[k]
        biases += own * r[k]
    return below, biases


@pytest.mark.parametrize("name", LAYERS)
def test_every_rule_is_its_formula_over_the_matrix_of_the_layer(name):
    linear, maps, relevance, matrix, shift = case(name)
    box = {"bounds": (np.full_like(maps, LOW), np.full_like(maps, HIGH))}
    for rule in RULES:
        below, biases, lost = rules.share_out(RULES[rule], linear._replace(**box), maps, relevance)
        for image in range(len(maps)):
            expected, own = twin(rule, maps[image].ravel(), matrix, shift, relevance[image].ravel())
            scale = np.abs(expected).max()
            np.testing.assert_allclose(below[image].numpy().ravel(), expected, rtol=0, atol=1e-10 * scale, err_msg=rule)
            np.testing.assert_allclose(np.broadcast_to(biases, 3)[image], own, rtol=1e-9, atol=1e-9, err_msg=rule)
            left = relevance[image].sum() - expected.sum() - own
            np.testing.assert_allclose(lost[image], left, rtol=0, atol=1e-9 * scale, err_msg=rule)


@pytest.mark.parametrize("rule", ["gamma", "alpha 1 beta 0", "alpha 2 beta 1"])
def test_inputs_known_to_be_positive_take_a_shorter_way_to_the_same_relevance(rule):
    linear, maps, relevance, *_ = case("groups")
    maps = np.abs(maps)
    whole, short = (rules.share_out(RULES[rule], linear._replace(signed=signed), maps, relevance) for signed in (1, 0))
    for found, expected in zip(short, whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def share(rule, weights, bias, inputs, relevance, **more):
    """A dense layer: `(relevance of the inputs, of the biases, lost)`."""

    def down(signal, kernel):
        return tf.matmul(signal, kernel, transpose_b=True)

    kernel = tf.constant(weights, tf.float64)
    bias = tf.constant(bias, tf.float64) if np.ndim(bias) else bias
    linear = Linear(kernel, bias, tf.matmul, down, **more)
    below, biases, lost = rules.share_out(rule, linear, np.array([inputs], float), np.array([relevance], float))
    return np.round(below[0].numpy(), 12).tolist(), float(np.round(biases, 12).sum()), float(np.round(lost, 12)[0])


def test_zero_and_epsilon_by_hand():
    # Inputs 1 and 2 with weights 3 and -1, bias 1: contributions 3, -2, 1, sum 2. Of a relevance of 4: 6, -4, 2.
    assert share(rules.zero(), [[3], [-1]], [1], [1, 2], [4]) == ([6, -4], 2, 0)
    # An epsilon of 2 makes the sum 4: 3, -2, 1, and 2 are lost.
    assert share(rules.epsilon(2, relative=False), [[3], [-1]], [1], [1, 2], [4]) == ([3, -2], 1, 2)
    # The sum is its own root mean square: half of it added makes 3.
    assert share(rules.epsilon(0.5), [[3], [-1]], [1], [1, 2], [3]) == ([3, -2], 1, 1)
    # A sum of -2, an epsilon of 2: away from zero, -4.
    assert share(rules.epsilon(2, relative=False), [[-3], [1]], [-1], [1, 2], [4]) == ([3, -2], 1, 2)


def test_gamma_by_hand_favours_the_sign_of_the_output():
    # Contributions 3 and -2 of sum 1; with a gamma of 1, 6 and -2 of sum 4.
    assert share(rules.gamma(1), [[3], [-1]], 0.0, [1, 2], [4]) == ([6, -2], 0, 0)
    # Of the output with the opposite weights, -3 and 2, the negative ones: the same relevance.
    assert share(rules.gamma(1), [[-3], [1]], 0.0, [1, 2], [4]) == ([6, -2], 0, 0)
    # As the factor grows it becomes alpha 1, beta 0.
    assert share(rules.gamma(1e14), [[3], [-1]], 0.0, [1, 2], [4]) == ([4, 0], 0, 0)


def test_alpha_beta_by_hand():
    # Contributions 3, 1 and -2: with alpha 2, beta 1 a relevance of 4 gives 8 * (3/4, 1/4) and -4.
    assert share(rules.alpha_beta(2, 1), [[3], [1], [-1]], 0.0, [1, 1, 2], [4]) == ([6, 2, -4], 0, 0)
    # The negative contribution may come from a negative input, and a bias has its part: 3, 1 and -2 again.
    assert share(rules.alpha_beta(2, 1), [[3], [1]], [1], [1, -2], [4]) == ([6, -4], 2, 0)
    assert share(rules.alpha_beta(1, 0), [[3], [1]], [1], [1, -2], [4]) == ([3, 0], 1, 0)


def test_alpha_beta_gives_away_too_much_where_nothing_speaks_against_an_output():
    assert share(rules.alpha_beta(2, 1), [[3], [1]], 0.0, [1, 1], [4]) == ([6, 2], 0, -4)


def test_a_sum_of_zero_gives_nothing_to_anyone():
    assert share(rules.zero(), [[1], [-1]], 0.0, [2, 2], [5]) == ([0, 0], 0, 5)
    assert share(rules.epsilon(), [[1], [-1]], 0.0, [2, 2], [5]) == ([0, 0], 0, 5)
    # To gamma the negative part of a sum of zero is twice as heavy: 2 and -4 of -2.
    assert share(rules.gamma(1), [[1], [-1]], 0.0, [2, 2], [5]) == ([-5, 10], 0, 0)
    assert share(rules.alpha_beta(1, 0), [[1], [-1]], 0.0, [0, 2], [5]) == ([0, 0], 0, 5)


def test_the_box_the_squares_and_the_flat_rule_by_hand():
    # Inputs 1 and 0 between -1 and 2, weights 3 and -1: 3 - (-3) = 6 and 0 - (-2) = 2. The bias has no part.
    bounds = np.full((1, 2), -1.0), np.full((1, 2), 2.0)
    assert share(rules.z_box(), [[3], [-1]], [7], [1, 0], [4], bounds=bounds) == ([3, 1], 0, 0)
    assert share(rules.w2(), [[3], [-1]], [7], [1, 0], [4]) == ([3.6, 0.4], 0, 0)
    assert share(rules.flat(), [[3], [0]], [7], [1, 0], [4]) == ([2, 2], 0, 0)
    # Inputs at the worst they could be have nothing to add.
    assert share(rules.z_box(), [[3], [-1]], [7], [-1, 2], [4], bounds=bounds) == ([0, 0], 0, 4)


@pytest.mark.parametrize("rule", ["zero", "gamma", "alpha 1 beta 0", "alpha 2 beta 1", "w2", "flat", "z_box"])
def test_without_biases_a_rule_conserves_relevance(rule):
    linear, maps, relevance, matrix, _ = case("conv, dilation, no bias")
    contributions = maps.reshape(3, -1, 1) * matrix
    both = (contributions > 0).any(axis=1) & (contributions < 0).any(axis=1)
    assert both.mean() > 0.9
    relevance *= both.reshape(relevance.shape)  # alpha-beta gives too much or too little of all others
    linear = linear._replace(bounds=(np.full_like(maps, LOW), np.full_like(maps, HIGH)))
    below, _, lost = rules.share_out(RULES[rule], linear, maps, relevance)
    np.testing.assert_allclose(below.numpy().sum(axis=(1, 2, 3)), relevance.sum(axis=(1, 2, 3)), rtol=0, atol=1e-9)
    np.testing.assert_allclose(lost, 0, atol=1e-9)


def test_constants_that_are_none_are_refused():
    for make in (rules.epsilon, rules.gamma, rules.alpha_beta):
        for wrong in (-0.1, np.nan, "0.1", None, True):
            with pytest.raises(ValueError, match="must be a number of at least 0; received"):
                make(wrong)
    with pytest.raises(ValueError, match="alpha - beta must be 1"):
        rules.alpha_beta(2, 0.5)
