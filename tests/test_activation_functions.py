"""Activations are known by what they compute: recognised, refused by name where they cannot be, never guessed."""

import functools
import gc
import itertools

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from keras import layers as kl

import deconv
from deconv import attribution, graph
from deconv.graph import activation_functions, windowed_layers
from deconv.graph.activation_functions import behaviour
from deconv.graph.function_behaviour import CELL, EVERYTHING, POSITION

SHAPE = (9, 7, 6)
MAPS = [np.ones((1, 2, 1, 5), "float32"), np.zeros((1, 4, 3, 4), "int32")]
"""A signal for the mirror of `network`, and switches for its pool."""
PIXELS = np.random.default_rng(0).standard_normal((2, 10, 9, 3)).astype("float32")


def over_space(maps):
    return tf.nn.softmax(maps, axis=1)


def parabola(maps):
    """What no deconvnet knows: neither rectified nor linear."""
    return maps * maps


class Renamed(kl.ReLU):
    """A rectifier under another name."""


class Doubled(kl.ReLU):
    def call(self, maps):
        return 2 * tf.nn.relu(maps)


class Slope(kl.Layer):
    """A rectifier with a weight for its slope, which is zero today."""

    def build(self, shape):
        self.slope = self.add_weight(shape=(), initializer="zeros")

    def call(self, maps):
        return tf.where(maps > 0, maps, self.slope * maps)


class Block(kl.Layer):
    """A convolution and a relu inside one call."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(2, 2, shape[-1], 4), initializer="glorot_uniform", name="kernel")

    def call(self, maps):
        return self.last(tf.nn.conv2d(maps, self.kernel, 1, "VALID"))

    def last(self, maps):
        return tf.nn.relu(maps)


class LinearBlock(Block):
    def last(self, maps):
        return maps


def alone(layer, shape=SHAPE):
    """The step of a layer, or of a function of symbolic tensors, on maps of a shape."""
    image = keras.Input(shape)
    return graph.walk(keras.Model(image, layer(image))).steps[-1]


# What a function computes


@pytest.mark.parametrize(
    ("function", "end"),
    [
        ("relu", None),
        (tf.nn.relu, None),
        (keras.ops.relu, None),
        (lambda maps: tf.maximum(maps, 0), None),
        (lambda maps: (maps + tf.abs(maps)) / 2, None),
        (lambda maps: tf.numpy_function(lambda array: np.maximum(array, 0), [maps], tf.float32), None),
        (Renamed(), None),
        ("relu6", 6),
        (tf.nn.relu6, 6),
        (keras.ops.relu6, 6),
        (functools.partial(keras.activations.relu, max_value=2.5), 2.5),
        (kl.ReLU(max_value=100), 100),
    ],
)
def test_a_rectifier_is_recognised_however_it_is_written(function, end):
    found = behaviour(keras.activations.get(function), SHAPE)
    assert (found.kind, found.depends_on, found.alike, found.end) == ("rectifier", CELL, True, end)
    assert not found.hides_rectifier


@pytest.mark.parametrize(
    ("function", "kind", "sees", "hides"),
    [
        (lambda maps: maps, "identity", CELL, False),
        (tf.sigmoid, "sigmoid", CELL, False),
        (tf.tanh, "other", CELL, False),
        (tf.nn.leaky_relu, "other", CELL, False),
        (keras.activations.hard_sigmoid, "other", CELL, False),
        (lambda maps: 2 * tf.nn.relu(maps), "other", CELL, True),
        (lambda maps: tf.nn.relu(maps) ** 2, "other", CELL, True),
        (tf.nn.softmax, "softmax", POSITION, False),
        (over_space, "softmax", EVERYTHING, False),
        (lambda maps: tf.nn.softmax(maps, axis=0), "other", EVERYTHING, True),
        (lambda maps: maps / tf.reduce_max(maps, axis=(1, 2), keepdims=True), "other", EVERYTHING, True),
        (lambda maps: tf.roll(maps, 1, axis=2), "other", EVERYTHING, False),
        (lambda maps: maps - tf.reduce_mean(maps, axis=-1, keepdims=True), "other", POSITION, False),
        (lambda maps: maps + tf.random.normal(tf.shape(maps)), "other", EVERYTHING, True),
        (lambda maps: 1 / 0, "other", EVERYTHING, True),
    ],
)
def test_what_else_a_function_computes_and_what_it_sees(function, kind, sees, hides):
    found = behaviour(function, SHAPE)
    assert (found.kind, found.depends_on, found.hides_rectifier) == (kind, sees, hides)


def test_a_function_for_one_shape_is_tried_on_that_and_never_run_on_a_part_of_it():
    share = np.linspace(0, 1, 63, dtype="float32").reshape(9, 7, 1)
    found = behaviour(lambda maps: maps * share, SHAPE)
    assert (found.kind, found.depends_on, found.alike) == ("other", CELL, False)
    fixed = behaviour(lambda maps: tf.reshape(tf.nn.relu(tf.reshape(maps, (-1, 378))), (-1, 9, 7, 6)), SHAPE)
    assert (fixed.kind, fixed.alike) == ("rectifier", False)
    assert (
        behaviour(lambda maps: tf.nn.softmax(maps, axis=1), (5,)).depends_on == POSITION
    )  # of a vector that is the channels


def test_no_judgement_hangs_on_the_weights_of_today_or_changes_them():
    layer = Slope()
    step = alone(layer)
    assert activation_functions.of_step(step).kind == "other" and layer.slope.numpy() == 0
    model = keras.Sequential([keras.Input(SHAPE), kl.Lambda(tf.nn.relu), kl.Conv2D(2, 1, activity_regularizer="l2")])
    model(np.ones((1, *SHAPE), "float32"))
    before = [float(loss) for loss in model.losses]
    assert activation_functions.of_step(graph.walk(model).steps[0]).kind == "rectifier"
    assert [float(loss) for loss in model.losses] == before and before[0] > 0


@pytest.mark.parametrize("dtype", ["float64", "mixed_float16", "mixed_bfloat16"])
def test_a_layer_is_judged_in_its_own_dtype(dtype):
    kinds = [activation_functions.of_step(alone(kl.Lambda(f, dtype=dtype))).kind for f in (tf.nn.relu, tf.sigmoid)]
    assert kinds == ["rectifier", "sigmoid"]


@pytest.mark.slow
def test_a_function_is_called_once_and_forgotten_with_its_owner():
    calls, kinds = itertools.count(1), []  # a list would be seen to change, as what the function is set to

    def counted(maps):
        next(calls)
        return tf.nn.relu(maps)

    holder = [counted]

    @tf.function
    def traced(maps):
        kinds.append(behaviour(holder[0], SHAPE).kind)
        return maps

    traced(tf.zeros(1))  # it is called outside of what is being traced
    first, known = next(calls), len(activation_functions._RESULTS)
    assert behaviour(counted, (20, 30, 4)).kind == kinds[0] == "rectifier" and next(calls) == first + 1
    holder.clear()
    del counted
    gc.collect()
    assert len(activation_functions._RESULTS) < known


# Guided backpropagation, the deconvnet, LRP: the same numbers however a rectifier is written


def network(activation, shape=(10, 9, 3), seed=1):
    """Two convolutions with something between them; weights of a seed."""
    image = keras.Input(shape)
    maps = activation(kl.Conv2D(4, 3, name="conv1")(image))
    maps = kl.Conv2D(5, 3, activation=tf.nn.relu, name="conv2")(kl.MaxPooling2D(2)(maps))
    model = keras.Model(image, kl.Dense(3, name="top")(kl.Flatten()(maps)))
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model


FORMS = {
    "activation": lambda: kl.Activation(tf.nn.relu),
    "lambda": lambda: kl.Lambda(lambda maps: tf.maximum(maps, 0.0)),
    "subclass": Renamed,
    "operation": lambda: lambda maps: keras.ops.maximum(0.0, maps),
    "partial": lambda: kl.Activation(functools.partial(tf.nn.leaky_relu, alpha=0.0)),
}


def pictures(model):
    return {
        "guided": attribution.guided_backprop(model, PIXELS, 1),
        "relevance": attribution.lrp(model, PIXELS, 1, composite="gamma"),
        "mirror": deconv.mirror(model, "conv2").predict(MAPS, verbose=0),
        "window": deconv.receptive_windows(model, "conv2", [1, 0]),
    }


@pytest.fixture(scope="module")
def written_out():
    model = network(lambda maps: kl.ReLU()(maps))
    return model, pictures(model)


def slow_guided(model, rule):
    """Guided backpropagation or the deconvnet of class 1 by hand, from the slow operations of `reference`."""
    kernel1, bias1, kernel2, bias2, top, _ = (weight.astype("float64") for weight in model.get_weights())
    seen1 = reference.conv2d(PIXELS.astype("float64"), kernel1, bias1)
    pooled, switches = reference.max_pool(reference.rectify(seen1), (2, 2), (2, 2))
    seen2 = reference.conv2d(pooled, kernel2, bias2)
    down = np.tile(top[:, 1].reshape(1, *seen2.shape[1:]), (len(PIXELS), 1, 1, 1))
    down = np.maximum(down, 0) * (seen2 > 0 if rule == "guided_backprop" else 1)
    below = np.zeros(pooled.shape)
    for row, column in np.ndindex(down.shape[1:3]):
        below[:, row : row + 3, column : column + 3] += np.einsum("nk,rcik->nrci", down[:, row, column], kernel2)
    cells = np.zeros((len(PIXELS), seen1[0].size))
    for n, row, column, k in np.ndindex(below.shape):
        cells[n, switches[n, row, column, k] * seen1.shape[-1] + k] += below[n, row, column, k]
    down = np.maximum(cells.reshape(seen1.shape), 0) * (seen1 > 0 if rule == "guided_backprop" else 1)
    pixels = np.zeros(PIXELS.shape)
    for row, column in np.ndindex(down.shape[1:3]):
        pixels[:, row : row + 3, column : column + 3] += np.einsum("nk,rcik->nrci", down[:, row, column], kernel1)
    return pixels


@pytest.mark.slow
@pytest.mark.parametrize("method", ["guided_backprop", "deconvnet"])
def test_the_rules_of_rectifiers_reach_those_that_are_functions(method, written_out):
    expected = slow_guided(written_out[0], method)
    found = getattr(attribution, method)(network(FORMS["activation"]()), PIXELS, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    plain = attribution.gradient(written_out[0], PIXELS, 1)
    assert np.abs(found - plain).max() > 0.3 * np.abs(plain).max()


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_every_way_to_write_a_rectifier_gives_the_same_pictures(form, written_out):
    found, expected = pictures(network(FORMS[form]())), written_out[1]
    for name, picture in expected.items():
        np.testing.assert_array_equal(found[name], picture)
        assert picture.any()


def test_the_upper_end_of_a_rectifier_is_found_and_counts_as_off():
    image = keras.Input((1, 4, 1))
    model = keras.Model(image, kl.Lambda(lambda maps: tf.clip_by_value(maps, 0, 2))(image))
    pixels = np.reshape([-1, 1, 3, 5], (1, 1, 4, 1)).astype("float32")
    slopes = [
        attribution.guided_backprop(keras.Model(image, -kl.Conv2D(1, 1)(model.output)), pixels, 0, unit="map"),
        deconv.Deconvnet(model).project(pixels, -1, 0, unit="map"),
    ]
    assert not slopes[0][0, 0, [0, 2, 3], 0].any()
    assert slopes[1].ravel().tolist() == [0, 1, 2, 2]  # the deconvnet looks at the signal alone


HIDING = {
    "Block": lambda maps: Block(name="hidden")(maps),
    "Doubled": lambda maps: Doubled(name="hidden")(maps),
    "TimeDistributed": lambda maps: kl.TimeDistributed(kl.Dense(3, activation="relu"), name="hidden")(maps),
    "Activation": lambda maps: kl.Activation(lambda maps: 2 * tf.nn.relu(maps), name="hidden")(maps),
    "Conv2D": lambda maps: kl.Conv2D(2, 1, activation=lambda maps: tf.nn.relu(maps - 1), name="hidden")(maps),
}


@pytest.mark.parametrize("kind", HIDING)
def test_a_rectifier_that_cannot_be_taken_apart_is_refused_by_name(kind):
    model = network(HIDING[kind])
    for method in (attribution.guided_backprop, attribution.deconvnet):
        with pytest.raises(ValueError, match=rf"'hidden' \({kind}\) may contain a rectifier.*mirrored_as"):
            method(model, PIXELS, 1)
    assert attribution.gradient(model, PIXELS, 1).any()


def test_a_comparison_that_selects_is_refused_and_a_linear_layer_of_unknown_class_is_not():
    with pytest.raises(ValueError, match=r"\(Where\) may contain a rectifier"):
        attribution.guided_backprop(network(lambda maps: keras.ops.where(maps > 0, maps, 0.0)), PIXELS, 1)
    for unknown, known in ((LinearBlock(), kl.Conv2D(4, 2, use_bias=False)),):
        found, expected = (attribution.deconvnet(network(layer), PIXELS, 1) for layer in (unknown, known))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        assert expected.any()
    # GELU has a derivative of its own.
    activation_functions.check_no_hidden_rectifier(graph.walk(network(kl.Activation("gelu"))))


@pytest.mark.parametrize("layer", ["Block", "Doubled", "TimeDistributed"])
def test_what_is_of_unknown_class_has_no_mirror_and_no_relevance(layer):
    model = network(HIDING[layer])
    with pytest.raises(ValueError, match=rf"'hidden'.*{layer}.*rules=\{{'hidden': rule\}}"):
        deconv.mirror(model, "conv2")
    if layer != "Doubled":  # of which each value has one input: its relevance passes
        with pytest.raises(ValueError, match=r"'hidden'.*has no LRP rule"):
            attribution.lrp(model, PIXELS, 1)


# Activations that are no rectifiers: one rule for all


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "tanh", tf.nn.softmax, parabola])
@pytest.mark.parametrize("fused", [True, False])
def test_a_hidden_activation_that_is_no_rectifier_is_refused_and_may_be_passed(activation, fused):
    image = keras.Input((6, 5, 2))
    maps = kl.Conv2D(3, 2, activation=activation if fused else None, name="gate" if fused else "conv")(image)
    maps = maps if fused else kl.Activation(activation, name="gate")(maps)
    model = keras.Model(image, kl.Conv2D(2, 2, use_bias=False, name="top")(maps))
    with pytest.raises(ValueError, match=r"'gate'.*rules=\{'gate': deconv.pass_activation\}"):
        deconv.mirror(model, "top")
    signal = np.zeros((1, *model.output_shape[1:]), "float32")
    signal[0, 1, 2, 0] = 1
    found = deconv.mirror(model, "top", rules={"gate": deconv.pass_activation}).predict(signal, verbose=0)
    lower, upper = (model.get_layer(name).get_weights()[0] for name in ("gate" if fused else "conv", "top"))
    expected = np.zeros((6, 5, 2))
    for row, column in np.ndindex(2, 2):  # of the unit at (1, 2), down through both kernels
        for low, side in np.ndindex(2, 2):
            expected[1 + row + low, 2 + column + side] += lower[low, side] @ upper[row, column, :, 0]
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", tf.nn.softmax])
def test_a_head_may_be_where_a_projection_starts_with_a_cast_behind_it(activation):
    image = keras.Input((6, 5, 2))
    scores = kl.Dense(3, activation=activation, name="head")(kl.Flatten()(image))
    model = keras.Model(image, kl.Activation("linear", dtype="float32", name="cast")(kl.Dropout(0.5)(scores)))
    pixels = PIXELS[:, :6, :5, :2]
    for layer in ("head", "cast"):
        found = deconv.Deconvnet(model).project(pixels, layer, 1, start="one")
        np.testing.assert_allclose(found[0].ravel(), model.get_layer("head").get_weights()[0][:, 1], rtol=1e-6)


# Windows


MIXING = {
    "fused": lambda: kl.Conv2D(4, 1, activation=over_space, name="mix"),
    "dense": lambda: kl.Dense(4, activation=over_space, name="mix"),
    "layer": lambda: kl.Activation(over_space, name="mix"),
    "softmax": lambda: kl.Softmax(axis=(1, 2), name="mix"),
    "lambda": lambda: kl.Lambda(over_space, name="mix"),
    "operation": lambda: lambda maps: keras.ops.softmax(maps, axis=1),
}


def before_a_head(between):
    image = keras.Input((12, 11, 3))
    maps = between(kl.Conv2D(4, 3, name="conv")(image))
    model = keras.Model(image, kl.Dense(3, name="top")(kl.GlobalMaxPooling2D()(kl.Conv2D(5, 2, name="last")(maps))))
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("form", MIXING)
def test_an_activation_that_mixes_positions_sees_everything(form):
    model = before_a_head(MIXING[form]())
    model_graph = graph.walk(model)
    assert deconv.receptive_windows(model, "last", [2, 3]).tolist() == [0, 0, 12, 11]
    assert deconv.touched_windows(model, "last", [0, 0, 1, 1]).tolist() == [0, 0, 9, 8]
    assert [windowed_layers.is_translation_equivariant(step) for step in model_graph.steps[:2]] == [True, False]


@pytest.mark.parametrize("form", ["fused", "softmax"])
def test_occlusion_through_an_activation_that_mixes_positions_is_what_the_model_computes(form):
    model = before_a_head(MIXING[form]())
    image = np.random.default_rng(3).standard_normal((12, 11, 3)).astype("float32")
    found = deconv.occlusion_maps(model, image, 1, size=4, stride=4, fill=0, growth=1.0)  # in windows
    covered = image.copy()
    covered[4:8, 0:4] = 0
    assert np.isclose(found.probability[1, 0], model(covered[None]).numpy()[0, 1], rtol=1e-4)


def test_channels_that_are_mixed_are_one_position_and_a_shared_slope_is_the_same_everywhere():
    for layer, moves in (
        (kl.Activation(tf.nn.softmax), True),
        (kl.Conv2D(4, 1, activation=tf.nn.softmax), True),
        (kl.Softmax(axis=-1), True),
        (kl.PReLU(), False),
        (kl.PReLU(shared_axes=(1, 2)), True),
        (kl.Conv2D(4, 1, activation=lambda maps: maps * np.ones((10, 9, 1), "float32")), False),
    ):
        model = before_a_head(layer)
        assert deconv.receptive_windows(model, "last", [2, 3]).tolist() == [2, 3, 6, 7]
        assert windowed_layers.is_translation_equivariant(graph.walk(model).steps[1]) == moves


# Several dtypes in one model


@pytest.mark.parametrize(
    ("policy", "method"),
    [
        *(("mixed_float16", name) for name in ("gradient", "guided_backprop", "deconvnet", "grad_cam", "lrp")),
        ("mixed_bfloat16", "gradient"),
        ("float64", "guided_backprop"),
    ],
)
def test_a_head_of_another_dtype_gives_what_the_model_in_single_precision_gives(policy, method):
    def built(dtype):
        image = keras.Input((10, 9, 3))
        maps = kl.Conv2D(4, 3, activation="relu", dtype=dtype)(image)
        scores = kl.Dense(3, dtype=dtype)(kl.Flatten(dtype=dtype)(kl.Activation(tf.nn.relu, dtype="float32")(maps)))
        model = keras.Model(image, kl.Activation("softmax", dtype="float32")(scores))
        rng = np.random.default_rng(4)
        model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
        return model

    compute = functools.partial(getattr(attribution, method), images=PIXELS, target=1)
    found, expected = compute(built(policy)), compute(built("float32"))
    error = {"mixed_float16": 0.01, "mixed_bfloat16": 0.05, "float64": 1e-5}[policy]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=error * np.abs(expected).max())
