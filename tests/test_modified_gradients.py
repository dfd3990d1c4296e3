"""Forward passes whose rectifiers pass signals down by a rule: equal to the model, and by hand on the way down."""

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from keras import layers as kl
from specimens import LAYERS, SPECIMENS, images

from deconv import graph
from deconv.graph import modified_gradients
from models.layers import LocalResponseNormalization


def layered(build, shape=(1, 3, 1)):
    """A model of float64 layers in a row."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        model = keras.Sequential([keras.Input(shape, dtype="float64"), *build()])
    finally:
        keras.config.set_dtype_policy(before)
    return model, graph.walk(model)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SPECIMENS))
def test_a_run_computes_what_the_model_computes(name):
    model = SPECIMENS[name]("float64")
    model_graph, pixels = graph.walk(model), images(model)
    for rule in (None, *modified_gradients.RECTIFIERS.values()):
        values, _ = modified_gradients.run(model_graph, tf.constant(pixels), rule)
        np.testing.assert_allclose(values[model_graph.outputs[0]], model(pixels), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(SPECIMENS))
def test_what_a_step_put_out_before_its_activation_is_what_the_slow_twin_computes_without_it(name):
    model = SPECIMENS[name]("float64")
    whole = graph.walk(model)
    model_graph = graph.subgraph(whole, graph.find(whole, LAYERS[name]))
    values, before = modified_gradients.run(model_graph, tf.constant(images(model)))
    assert set(before) == {step.name for step in model_graph.steps}
    for step in model_graph.steps:
        activation = modified_gradients.activation_of(step)
        seen, put_out = before[step.name].numpy(), values[step.output].numpy()
        if activation is None:
            np.testing.assert_array_equal(put_out, seen)
        elif modified_gradients.rectifies(step):
            np.testing.assert_allclose(put_out, reference.rectify(seen), rtol=0, atol=1e-12)
            assert (seen < 0).any()
        else:
            np.testing.assert_allclose(put_out, reference.softmax(seen), rtol=0, atol=1e-12)


def test_the_three_rules_by_hand():
    model, model_graph = layered(lambda: [kl.ReLU(name="relu")])
    image = np.array([-1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)
    signal = np.array([5.0, -7.0, 11.0]).reshape(1, 1, 3, 1)
    expected = {"gradient": [0, -7, 11], "deconvnet": [5, 0, 11], "guided": [0, 0, 11]}
    for name, rule in modified_gradients.RECTIFIERS.items():
        down = modified_gradients.gradients(model_graph, rule, before=False)
        values, found = down(tf.constant(image), tf.constant(signal))
        assert values.numpy().ravel().tolist() == [0, 2, 3]
        assert found.numpy().ravel().tolist() == expected[name]
    assert model.layers[0].name == "relu"


def test_the_gradient_starts_at_the_logits_of_a_softmax_unless_told_otherwise():
    model, model_graph = layered(lambda: [kl.Flatten(), kl.Dense(2, "softmax", name="predictions")])
    kernel = np.array([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]])
    model.layers[-1].set_weights([kernel, np.array([0.5, -0.5])])
    image = np.array([1.0, -1.0, 2.0]).reshape(1, 1, 3, 1)
    values, found = modified_gradients.gradients(model_graph)(tf.constant(image), tf.constant([[0.0, 1.0]], "float64"))
    assert values.numpy().tolist() == [[12.5, 18.5]]
    assert found.numpy().ravel().tolist() == [2, 5, 11]
    after, slope = modified_gradients.gradients(model_graph, before=False)(
        tf.constant(image), tf.constant([[0.0, 1.0]], "float64")
    )
    first = 1 / (1 + np.exp(6.0))
    np.testing.assert_allclose(after, [[first, 1 - first]], rtol=1e-12)
    np.testing.assert_allclose(slope.numpy().ravel(), first * (1 - first) * np.array([1, 2, 4]), rtol=1e-12)


@pytest.mark.parametrize("rule", [None, *modified_gradients.RECTIFIERS])
def test_a_rectifier_is_the_same_inside_a_layer_beside_it_and_as_an_operation(rule):
    kernel = np.random.default_rng(0).standard_normal((3, 2, 2, 4))
    pixels = np.random.default_rng(1).standard_normal((2, 7, 5, 2))
    found = []
    for form in ("fused", "layer", "activation", "operation"):
        start = keras.Input((7, 5, 2), dtype="float64")
        activation = "relu" if form == "fused" else None
        maps = kl.Conv2D(4, (3, 2), activation=activation, use_bias=False, name="conv", dtype="float64")(start)
        if form == "layer":
            maps = kl.ReLU(dtype="float64")(maps)
        elif form == "activation":
            maps = kl.Activation("relu", dtype="float64")(maps)
        elif form == "operation":
            maps = keras.ops.relu(maps)
        top = kl.Conv2D(1, (5, 4), use_bias=False, name="top", dtype="float64")(maps)
        model = keras.Model(start, top)
        model.get_layer("conv").set_weights([kernel])
        model.get_layer("top").set_weights([np.random.default_rng(2).standard_normal((5, 4, 4, 1))])
        down = modified_gradients.gradients(graph.walk(model), modified_gradients.RECTIFIERS.get(rule))
        found.append(down(tf.constant(pixels), tf.ones((2, 1, 1, 1), "float64"))[1].numpy())
    assert np.abs(found[0]).max() > 0
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", [lambda: kl.ReLU(max_value=6), lambda: kl.Activation("relu6")])
def test_beyond_its_end_a_rectifier_is_off_for_the_rules_that_ask_what_it_saw(activation):
    _, model_graph = layered(lambda: [activation()])
    image, signal = np.reshape([-1.0, 3.0, 10.0], (1, 1, 3, 1)), np.reshape([1.0, 2.0, 3.0], (1, 1, 3, 1))
    expected = {None: [0, 2, 0], "gradient": [0, 2, 0], "deconvnet": [1, 2, 3], "guided": [0, 2, 0]}
    for name, slopes in expected.items():
        down = modified_gradients.gradients(model_graph, modified_gradients.RECTIFIERS.get(name), before=False)
        values, found = down(tf.constant(image), tf.constant(signal))
        assert values.numpy().ravel().tolist() == [0, 3, 6] and found.numpy().ravel().tolist() == slopes


def test_a_leaky_rectifier_keeps_its_own_derivative_under_every_rule():
    _, model_graph = layered(lambda: [kl.ReLU(negative_slope=0.5)])
    image, signal = np.full((1, 1, 3, 1), -1.0), np.full((1, 1, 3, 1), 4.0)
    for rule in modified_gradients.RECTIFIERS.values():
        found = modified_gradients.gradients(model_graph, rule, before=False)(tf.constant(image), tf.constant(signal))[
            1
        ]
        assert found.numpy().ravel().tolist() == [2, 2, 2]


def test_of_equal_maxima_a_global_pooling_sends_all_to_the_first():
    _, model_graph = layered(lambda: [kl.GlobalMaxPooling2D()])
    image = np.array([1.0, 4.0, 4.0]).reshape(1, 1, 3, 1)
    found = modified_gradients.gradients(model_graph)(tf.constant(image), tf.constant([[2.0]], "float64"))[1]
    assert found.numpy().ravel().tolist() == [0, 2, 0]


def test_the_twin_follows_the_model_when_it_is_trained_and_leaves_it_as_it_is():
    model, model_graph = layered(lambda: [kl.Flatten(), kl.Dense(1, "relu", use_bias=False, name="dense")])
    dense = model.layers[-1]
    dense.set_weights([np.array([[1.0], [2.0], [3.0]])])
    down = modified_gradients.gradients(model_graph)
    image, signal = tf.constant(np.ones((1, 1, 3, 1))), tf.constant([[1.0]], "float64")
    assert down(image, signal)[1].numpy().ravel().tolist() == [1, 2, 3]
    dense.set_weights([np.array([[-4.0], [5.0], [6.0]])])
    assert down(image, signal)[1].numpy().ravel().tolist() == [-4, 5, 6]
    assert dense.activation is keras.activations.relu and len(model.weights) == 1
    assert model(np.full((1, 1, 3, 1), -1.0)).numpy().tolist() == [[0.0]]


def test_contrast_normalisation_passes_signals_only_if_told_so():
    model, model_graph = layered(lambda: [LocalResponseNormalization(size=3, k=1.0, alpha=0.5)], (1, 1, 4))
    image = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
    signal = np.array([1.0, -1.0, 2.0, 0.5]).reshape(1, 1, 1, 4)
    own = modified_gradients.gradients(model_graph)(tf.constant(image), tf.constant(signal))[1].numpy()
    passed = modified_gradients.gradients(model_graph, norms_pass=True)(tf.constant(image), tf.constant(signal))[
        1
    ].numpy()
    assert passed.tolist() == signal.tolist()
    step = 1e-6
    for channel in range(4):
        moved = step * (np.arange(4) == channel)
        change = np.asarray(model(image + moved)) - np.asarray(model(image - moved))
        assert own[0, 0, 0, channel] == pytest.approx((change * signal).sum() / (2 * step), rel=1e-6)
