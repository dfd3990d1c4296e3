"""What is compiled for a model follows every change of its graph, and nothing else makes it compile anew."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl
from specimens import fill

import deconv
from deconv import attribution
from deconv.graph import compilation

PIXELS = np.random.default_rng(0).standard_normal((2, 9, 8, 3)).astype("float32")


def small():
    model = keras.Sequential([keras.Input((9, 8, 3))])
    model.add(kl.Conv2D(4, 3, padding="same", activation="relu", name="conv"))
    model.add(kl.MaxPooling2D(2, name="pool"))
    model.add(kl.Flatten(name="flatten"))
    model.add(kl.Dense(3, name="top"))
    return fill(model, seed=1)


def score(model):
    """The first of what is compiled for occlusion: the model's output."""
    return deconv.occlusion_maps(model, PIXELS[0], 1, size=8, stride=8, exact="full").unoccluded[0]


def slope(model):
    return attribution.gradient(model, PIXELS, 1)


def expected_score(model):
    return model(PIXELS[:1])[0, 1]


def expected_slope(model):
    pixels = tf.Variable(PIXELS)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(model(pixels)[:, 1])
    return tape.gradient(value, pixels)


def another_top(model):
    model.pop()
    model.add(kl.Dense(5, name="top"))
    model.layers[-1].set_weights([PIXELS[0, 0, 0, 0] * np.ones((64, 5)) * np.arange(-2, 3), np.zeros(5)])


def another_activation(model):
    model.get_layer("conv").activation = keras.activations.linear


def another_dilation(model):
    model.get_layer("conv").dilation_rate = (2, 1)


def low_rank(model):
    model.get_layer("top").enable_lora(2)
    model.get_layer("conv").enable_lora(2)
    for layer in ("top", "conv"):
        model.get_layer(layer).lora_kernel_b.assign(np.ones(model.get_layer(layer).lora_kernel_b.shape))


def other_variables(model):
    layer = model.get_layer("top")
    layer._tracker.unlock()
    layer._kernel = keras.Variable(-layer.kernel.numpy())


@pytest.mark.parametrize(
    "change", [another_top, another_activation, another_dilation, low_rank, other_variables], ids=lambda f: f.__name__
)
def test_scores_and_gradients_are_those_of_the_model_as_it_is_now(change):
    model = small()
    before = score(model), slope(model)
    change(model)
    np.testing.assert_allclose(score(model), expected_score(model), rtol=1e-5)
    np.testing.assert_allclose(slope(model), expected_slope(model), rtol=0, atol=1e-6)
    assert abs(score(model) - before[0]) > 1e-2 and np.abs(slope(model) - before[1]).max() > 1e-2


@pytest.mark.slow
def test_projections_and_relevances_follow_too():
    model, methods = small(), (attribution.lrp,)
    net = deconv.Deconvnet(model)
    before = [net.project(PIXELS, "top", 1), *(method(model, PIXELS, 1) for method in methods)]
    other_variables(model)  # the top layer with its sign turned: so are the gradients below it
    after = [net.project(PIXELS, "top", 1), *(method(model, PIXELS, 1) for method in methods)]
    fresh = keras.Model(model.inputs, model.outputs)
    expected = [deconv.Deconvnet(fresh).project(PIXELS, "top", 1), *(method(fresh, PIXELS, 1) for method in methods)]
    for old, new, right in zip(before, after, expected, strict=True):
        np.testing.assert_allclose(new, right, rtol=0, atol=1e-6)
        assert np.abs(old - new).max() > 1e-3


def test_a_class_that_is_new_can_be_asked_for():
    model = small()
    score(model)
    another_top(model)
    unoccluded = deconv.occlusion_maps(model, PIXELS[0], 4, size=8, stride=8, exact="full").unoccluded[0]
    np.testing.assert_allclose(unoccluded, model(PIXELS[:1])[0, 4], rtol=1e-5)


@pytest.mark.parametrize("nested", [False, True])
def test_training_flags_compiling_and_other_uses_leave_what_is_kept_alone(nested):
    model = small()
    inner = model
    if nested:
        image = keras.Input((9, 8, 3))
        model = keras.Model(image, kl.Rescaling(2.0)(model(image)))
    made = []
    before = compilation.version(model)
    for use in (
        lambda: None,
        lambda: model.compile("sgd", "mse"),
        lambda: model.fit(PIXELS, np.zeros((2, 3)), verbose=0),
        lambda: setattr(model, "trainable", False),
        lambda: setattr(inner.layers[0], "trainable", True),
        lambda: model.predict(PIXELS, verbose=0),
        lambda: inner.set_weights([-weight for weight in inner.get_weights()]),
        lambda: keras.Model(inner.inputs, inner.layers[0].output)(PIXELS),
        lambda: slope(inner),
        lambda: model.summary(print_fn=lambda line, **_: None),
    ):
        use()
        compilation.cached(model, "key", lambda: made.append(1))
    assert len(made) == 1 and before == compilation.version(model)


def test_a_change_inside_a_nested_model_and_inside_an_activation_layer_is_seen():
    inner, image = small(), keras.Input((9, 8, 3))
    slope = kl.ReLU()
    model = keras.Model(image, kl.Dense(2, activation=slope, name="last")(inner(image)))
    before = compilation.version(model)
    slope.negative_slope = 0.5
    after = compilation.version(model)
    assert before != after
    inner.get_layer("pool").strides = (1, 1)
    assert after != compilation.version(model)


def test_what_was_kept_for_the_old_graph_and_the_model_itself_die():
    class Made:
        pass

    model = small()
    old = weakref.ref(compilation.cached(model, "key", Made))
    another_activation(model)
    compilation.cached(model, "key", Made)
    assert old() is None
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


class Doubled(keras.layers.Layer):
    """Doubles maps whose sum is positive: it branches on their values, which AutoGraph compiles."""

    @tf.function
    def call(self, maps):
        if tf.reduce_sum(maps) > 0:
            maps = 2 * maps
        return maps

    def compute_output_shape(self, input_shape):
        return input_shape


def test_a_layer_that_asks_for_autograph_gets_it():
    model = keras.Sequential([keras.Input((2, 2, 1)), Doubled(name="doubled")])
    ones = np.ones((1, 2, 2, 1), np.float32)
    for images, expected in ((ones, 2 * ones), (-ones, -ones)):
        np.testing.assert_array_equal(deconv.activations(model, images, "doubled")["doubled"], expected)
