"""Optimised images: known answers, one trace, the same images from the same seed, help for what is dead."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import deconv
import models
from deconv import datasets
from deconv.features import (
    PRESETS,
    Objective,
    Target,
    channel,
    class_logit,
    diversity,
    fourier,
    high_frequency_share,
    neuron,
    optimize,
    pixels,
    regularizers,
    transforms,
    visualize,
)
from deconv.features.forward_pass import zero_of
from deconv.features.optimization import _rectifier_rule
from models.lenet5 import preprocess_input
from tests import specimens


def linear(height=6, width=5, channels=1, units=3, seed=0):
    """Each unit is a weighted sum of the pixels."""
    image = keras.Input((height, width, channels))
    vector = keras.layers.Dense(units, name="units")(keras.layers.Flatten(name="flatten")(image))
    model = keras.Model(image, vector)
    kernel = np.random.default_rng(seed).choice([-1.0, 1], (height * width * channels, units))
    model.get_layer("units").set_weights([kernel, np.zeros(units)])
    return model, np.moveaxis(kernel.reshape(height, width, channels, units), -1, 0)


@pytest.mark.parametrize("made, channels", [("fourier", 1), ("fourier", 3), ("pixels", 1), (pixels(squash=True), 3)])
def test_of_a_weighted_sum_the_best_image_is_white_where_the_weight_is_positive_and_black_elsewhere(made, channels):
    model, kernels = linear(channels=channels)
    rate = {"fourier": 0.5, "pixels": 20.0}.get(made, 0.5)
    found = optimize(model, neuron("units", range(3)), steps=120, parametrization=made, learning_rate=rate)
    assert (np.abs(found.images - np.where(kernels > 0, 255, 0)) < 20).mean() > 0.9
    np.testing.assert_allclose(found.scores, (found.images * kernels).sum((1, 2, 3)), rtol=1e-3)
    assert (found.scores > 0.85 * 255 * (kernels > 0).sum((1, 2, 3))).all()
    assert found.images.dtype == np.float32 and found.history.shape == (3, 120) and (found.images >= 0).all()
    assert (np.diff(found.history[:, ::20], axis=1) > -1e-3 * found.scores[:, None]).all()


def test_a_difference_is_really_a_difference():
    model, kernels = linear()
    found = optimize(
        model, neuron("units", 0) - neuron("units", 1), steps=60, parametrization="pixels", learning_rate=9.0
    )
    differs = kernels[0] != kernels[1]  # elsewhere it does not matter, and nothing moves
    assert (found.images[0][differs] == np.where(kernels[0] > 0, 255, 0)[differs]).all()
    assert (np.abs(found.images[0][~differs]) < 60).all()


def test_every_method_by_hand():
    # One pixel, of which the unit is 3 times the value: the gradient is 3.
    model = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Conv2D(1, 1, name="unit")])
    model.get_layer("unit").set_weights([np.full((1, 1, 1, 1), 3.0), np.zeros(1)])
    for method, rate, expected in (
        ("gradient", 2.0, [100, 106, 112, 118]),
        ("normalized", 2.0, [100, 102, 104, 106]),
        ("momentum", 2.0, [100, 106, 106 + 6 * 1.9, 106 + 6 * (1.9 + 2.71)]),
        ("adam", 2.0, [100, 102, 104, 106]),
    ):
        found = optimize(
            model,
            neuron("unit", 0),
            steps=3,
            parametrization="pixels",
            method=method,
            learning_rate=rate,
            start=np.full((1, 1, 1), 100.0),
        )
        np.testing.assert_allclose([*found.history[0] / 3, found.images[0, 0, 0, 0]], expected, rtol=1e-5)


def test_adam_is_that_of_its_authors_where_the_gradient_changes():
    # The unit is -(x - 100)²: from 90 the gradients are 20, and less from step to step (arXiv:1412.6980, algorithm 1).
    model = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Conv2D(1, 1, name="value")])
    model.get_layer("value").set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    value = Target("value")
    square = Objective(("square",), (value,), lambda seen, _: -tf.square(seen[value][:, 0, 0, 0] - 100))
    place, first, second = 90.0, 0.0, 0.0
    for step in range(1, 7):
        slope = -2 * (place - 100)
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        place += 3 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-7)
    settings = {"steps": 6, "parametrization": "pixels", "learning_rate": 3.0, "start": np.full((1, 1, 1), 90.0)}
    assert optimize(model, square, **settings).images.item() == pytest.approx(place, rel=1e-5)


def test_a_rectifier_is_helped_only_where_nothing_comes_through_and_only_with_what_raises():
    signal, seen = tf.constant([[-1.0, 2.0], [3.0, 2.0], [-3.0, 2.0]]), tf.constant([[-1.0, -1], [1, -1], [1, -1]])
    helped = _rectifier_rule(tf.constant(True))(signal, seen).numpy()
    assert helped.tolist() == [[0, 2], [3, 0], [-3, 0]]  # image by image: the first is blocked
    assert _rectifier_rule(tf.constant(False))(signal, seen).numpy().tolist() == [[0, 0], [3, 0], [-3, 0]]


def test_presets_have_the_numbers_of_their_sources():
    shape = (224, 224, 3)
    names = {name: [one.name for one in PRESETS[name](shape).get("regularizers", ())] for name in PRESETS}
    assert names["yosinski-1"] == ["blur 0.5 every 4", "norms above 50 %"]
    assert names["yosinski-2"] == ["decay 0.3", "norms above 20 %"]
    assert names["yosinski-3"] == ["decay 0.0001", "blur 1 every 4"]
    assert names["yosinski-4"] == ["blur 0.5 every 4", "contributions above 90 %"]
    assert names["erhan"] == [f"norm {224 * np.sqrt(3) / 4:g}"]
    assert [one.name for one in PRESETS["erhan"]((28, 28, 1))["regularizers"]] == [f"norm {28 / 3:g}"]
    moves = [one.name for one in PRESETS["photographs"](shape)["transforms"]]  # Olah et al.: pad and jitter 16, then 8
    assert moves == ["pad 16", "jitter 16", "scale 0.95 to 1.05", "rotate -5 to 5", "jitter 8", "crop 4"], moves
    assert len(PRESETS["digits"]((28, 28, 1))["transforms"]) == 4


def test_penalties_are_subtracted_and_operations_follow_the_step():
    model = keras.Sequential([keras.Input((1, 1, 1)), keras.layers.Conv2D(1, 1, name="unit")])
    model.get_layer("unit").set_weights([np.full((1, 1, 1, 1), 3.0), np.zeros(1)])

    def after(*some):
        settings = {"method": "gradient", "learning_rate": 2.0, "start": np.full((1, 1, 1), 100.0), "centre": 10}
        return optimize(
            model, neuron("unit", 0), steps=1, parametrization="pixels", regularizers=some, **settings
        ).images.item()

    np.testing.assert_allclose(after(), 106, rtol=1e-5)
    # x = 90 / 255; the slope of 1000 x² in pixels is 2000 * 90 / 255², and it takes away twice that.
    np.testing.assert_allclose(after(regularizers.l2(1000)), 106 - 2 * 2000 * 90 / 255**2, rtol=1e-5)
    np.testing.assert_allclose(after(regularizers.decay(0.25)), 10 + 0.75 * 96, rtol=1e-5)
    both = after(regularizers.decay(0.25), regularizers.norm_ball(50 / 255))
    np.testing.assert_allclose(both, 10 + 50, rtol=1e-5)


def test_an_objective_is_traced_once_to_climb_and_once_to_look_however_many_images_there_are():
    traces = []

    def score(values, numbers):
        traces.append(numbers.shape)
        return tf.gather(tf.reduce_mean(values[Target("units")], 1), tf.range(tf.shape(numbers)[0]))

    model, _ = linear()
    own = Objective(tuple("abcdefg"), (Target("units"),), score)
    optimize(model, own, steps=30, batch_size=3)
    assert len(traces) == 2


@pytest.mark.slow
def test_a_seed_decides_and_the_batch_does_not():
    model, few = (
        linear(),
        {"steps": 6, "transforms": (transforms.pad(1), transforms.jitter(2), transforms.rotate(-9, 9))},
    )
    model = model[0]

    def found(**settings):
        return optimize(model, neuron("units", [0, 1, 2, 1, 0]), **{**few, **settings}).images

    first = found()
    np.testing.assert_array_equal(first, found())
    np.testing.assert_allclose(first, found(batch_size=2), atol=1e-2)
    assert np.abs(first - found(seed=1)).mean() > 0.1
    assert np.abs(first[0] - first[4]).mean() > 0.01  # of the same unit, with another draw


def test_objectives_of_different_layers_are_made_one_after_the_other():
    model, both = models.LeNet5(weights="mnist"), [neuron("conv1", [2, 0]), class_logit(7)]
    found = optimize(model, both, steps=2, preprocess=preprocess_input, start=np.full((28, 28, 1), 9.0))
    assert found.labels == ("conv1, 2", "conv1, 0", "class 7") and found.images.shape == (3, 28, 28, 1)
    one = optimize(model, both[1], steps=2, preprocess=preprocess_input, start=np.full((28, 28, 1), 9.0))
    np.testing.assert_allclose(found.images[2], one.images[0], atol=1e-3)
    np.testing.assert_allclose(found.scores[2], one.scores[0], rtol=1e-4)


@pytest.mark.parametrize("name", ["nested", "alexnet"])
def test_scores_are_what_the_model_says_of_the_images(name):
    model = specimens.SPECIMENS[name]()
    layer = specimens.LAYERS[name]
    found = visualize(model, layer, [0, 2], "photographs", steps=12, preprocess=lambda images: images / 64 - 2)
    values = deconv.activations(model, found.images / 64 - 2, layer)[layer]
    places = (slice(None), *(side // 2 for side in values.shape[1:-1]))
    ours = values[places][np.arange(2), [0, 2]]
    np.testing.assert_allclose(np.maximum(found.scores, 0), np.maximum(ours, 0), rtol=1e-3, atol=1e-3)
    assert (found.scores > found.history[:, 0]).all()


def dead():
    """A unit behind two rectifiers that are off for an image of zeros, and on for a bright one."""
    image = keras.Input((4, 3, 1))
    maps = keras.layers.Conv2D(2, 1, activation="relu", name="first")(image)
    maps = keras.layers.Conv2D(2, 3, padding="same", name="filters")(maps)
    maps = keras.layers.ReLU(name="second")(maps)
    model = keras.Model(image, keras.layers.Conv2D(1, 1, name="unit")(maps))
    model.get_layer("first").set_weights([np.full((1, 1, 1, 2), 0.1), np.full(2, -4.0)])
    model.get_layer("filters").set_weights([np.full((3, 3, 2, 2), 0.1), np.full(2, -1.0)])
    model.get_layer("unit").set_weights([np.full((1, 1, 2, 1), 1.0), np.zeros(1)])
    return model


def test_a_unit_that_is_dead_at_the_start_rises_only_with_help():
    settings = {"steps": 40, "start": np.full((4, 3, 1), 5.0), "parametrization": "pixels", "learning_rate": 4.0}
    alone = optimize(dead(), neuron("unit", 0), helped_steps=0, **settings)
    helped = optimize(dead(), neuron("unit", 0), helped_steps=16, **settings)
    np.testing.assert_allclose(alone.images, 5, atol=1e-2)
    assert not alone.scores.any() and helped.scores > 1


def test_help_changes_nothing_where_a_gradient_comes_through():
    settings = {"steps": 8, "start": np.full((4, 3, 1), 200.0), "parametrization": "pixels", "learning_rate": 1.0}
    found = [optimize(dead(), neuron("unit", 0), helped_steps=steps, **settings).images for steps in (0, 16)]
    np.testing.assert_array_equal(*found)


def test_images_that_must_differ_do_differ():
    model = models.LeNet5(weights="mnist")
    settings = {"steps": 40, "preprocess": preprocess_input, "parametrization": fourier(base=20.0)}
    start = np.random.default_rng(0).uniform(18, 22, (28, 28, 1))
    one = neuron("conv2", 3)
    same = optimize(model, one + 0 * diversity("conv1", 4), start=start, batch_size=2, **settings).images
    different = optimize(
        model, one + 2 * diversity("conv1", 4), start=start + np.arange(4)[:, None, None, None], **settings
    )
    assert np.abs(same - same[:1]).max() < 1  # all alike, where nothing tells them to differ
    assert different.images.std(axis=0).max() > 30


def test_blur_and_waves_take_high_frequencies_away():
    model = models.LeNet5(weights="mnist")

    def share(*some, **settings):
        settings = {"learning_rate": 9.0, "parametrization": pixels(), "helped_steps": 0, **settings}
        objective = channel("conv2", range(5))
        made = optimize(model, objective, steps=40, preprocess=preprocess_input, regularizers=some, **settings)
        return high_frequency_share(made.images).mean()

    plain = share()
    assert share(regularizers.blur(1.0)) < 0.3 * plain
    assert share(parametrization=fourier(base=20.0), learning_rate=0.05) < 0.7 * plain


@pytest.mark.parametrize("preset", ["digits", "photographs", "yosinski-1", "yosinski-4", "erhan"])
def test_every_preset_raises_its_units(preset):
    channels = 3 if preset in ("photographs", "yosinski-4") else 1
    image = keras.Input((24, 20, channels))
    maps = keras.layers.Conv2D(4, 5, activation="relu", name="conv1")(image)
    model = keras.Model(image, keras.layers.Conv2D(3, 3, name="conv2")(maps))
    specimens.fill(model, 0)
    found = visualize(model, "conv2", preset=preset, steps=12, preprocess=lambda images: images / 255 - 0.25)
    assert found.images.shape == (3, 24, 20, channels) and np.isfinite(found.images).all()
    assert found.images.min() >= 0 and found.images.max() <= 255
    assert (found.scores > found.history[:, 0]).all()


@pytest.mark.slow
def test_another_size_than_the_model_s_own():
    model = models.AlexNet(weights=None)
    settings = {"steps": 1, "transforms": (), "helped_steps": 0, "preprocess": models.alexnet.preprocess_input}
    found = visualize(model, "conv2", [0, 1], size=(59, 75), **settings)
    assert found.images.shape == (2, 59, 75, 3)
    with pytest.raises(ValueError, match="does not work on images of 59 x 75 x 3"):
        visualize(model, "fc6", [0], size=(59, 75), **settings)


def test_the_colour_that_counts_as_nothing_is_what_preprocessing_makes_zero_of():
    np.testing.assert_allclose(zero_of(preprocess_input, (28, 28, 1)), [0], atol=0.01)
    means = [122.679, 116.669, 104.007]  # red, green, blue: the network takes blue first
    np.testing.assert_allclose(zero_of(models.alexnet.preprocess_input, (20, 30, 3)), means, atol=0.01)
    assert zero_of(None, (2, 2, 3)).tolist() == [0, 0, 0]
    assert zero_of(lambda images: images - images.mean(axis=(1, 2), keepdims=True), (5, 6, 1)).tolist() == [127.5]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"steps": 0}, "steps must be a whole number of at least 1; received 0"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"learning_rate": 0}, "learning_rate must be a number above zero; received 0"),
        ({"method": "sgd"}, "method must be one of adam, gradient, normalized, momentum; received 'sgd'"),
        ({"seed": -1}, "seed must be a whole number of at least 0; received -1"),
        (
            {"start": np.zeros((5, 5, 1))},
            r"start must be finite pixels \(6, 5, 1\) or \(1, 6, 5, 1\); received \(5, 5, 1\)",
        ),
        ({"transforms": (transforms.crop(3),)}, "'crop 3' leaves an empty image"),
        ({"fill": np.zeros((6, 5, 1))}, "fill must be a number or one per channel"),
        ({"centre": "grey"}, "fill must be a finite number|centre must be"),
        ({"preprocess": lambda images: images[:, 1:]}, "The model takes images of"),
        ({"parametrization": "waves"}, "parametrization must be"),
    ],
)
def test_a_setting_that_does_not_fit_is_told(settings, message):
    with pytest.raises(ValueError, match=message):
        optimize(linear()[0], neuron("units", 0), **{"steps": 1, **settings})


def test_a_preset_that_is_not_there_is_told():
    model, _ = linear()
    for arguments, message in (
        ({"preset": "lucid"}, "preset must be one of digits, photographs, yosinski-1"),
        ({"kind": "map"}, "kind must be 'neuron' or 'channel'; received 'map'"),
        ({"kind": "channel", "position": (0, 0)}, "kind='channel' uses the whole map"),
    ):
        with pytest.raises(ValueError, match=message):
            visualize(model, "units", **arguments)


def test_an_objective_that_is_not_finite_is_told():
    model, _ = linear()
    nothing = Objective(("nothing",), (Target("units"),), lambda values, numbers: values[Target("units")][:, 0] / 0)
    with pytest.raises(ValueError, match="NaN or infinity"):
        optimize(model, nothing, steps=1)


def test_yosinski_s_four_are_those_of_the_paper():
    names = [
        ["blur 0.5 every 4", "norms above 50 %"],
        ["decay 0.3", "norms above 20 %"],
        ["decay 0.0001", "blur 1 every 4"],
        ["blur 0.5 every 4", "contributions above 90 %"],
    ]
    for number, expected in enumerate(names, 1):
        found = PRESETS[f"yosinski-{number}"]((9, 9, 3))
        assert [one.name for one in found["regularizers"]] == expected and "transforms" not in found


@pytest.mark.slow
def test_made_to_order_is_stronger_than_the_strongest_of_5000_digits():
    model = models.LeNet5(weights="mnist")
    logits = models.LeNet5(weights="mnist", classifier_activation=None)
    digits, _, _ = datasets.arrays(datasets.load("mnist-5k", "all"))
    layers = ["conv1", "conv2", "fc3", "fc4", "predictions"]
    values = deconv.activations(logits, preprocess_input(digits), layers, batch_size=250)
    raised = []
    for layer, maps in values.items():
        strongest = maps.reshape(-1, maps.shape[-1]).max(axis=0)
        alive = np.flatnonzero(strongest > 0)[:: 1 if layer in ("conv1", "conv2", "predictions") else 6]
        made = visualize(model, layer, alive, preprocess=preprocess_input, batch_size=64)
        raised.append(made.scores > strongest[alive])
        assert layer != "predictions" or raised[-1].all()
    assert np.concatenate(raised).mean() >= 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regularizers": regularizers.l2(1)}, r"regularizers must be a list or tuple.*such as \(l2\(0.1\),\)"),
        ({"transforms": None}, "transforms must be a tuple or list of transforms, empty for none; received None"),
        ({"seed": 2**40}, "seed must be below"),
        ({"helped_steps": -1}, "helped_steps must be a whole number"),
        ({"parametrization": []}, "parametrization must be a Parametrization"),
        ({"preprocess": 3}, "preprocess must be a function of images, or None; received 3"),
        ({"preprocess": lambda images: np.asarray(images) / 255}, "compute with keras.ops or tf, not NumPy"),
        ({"preprocess": lambda images: images * np.nan}, "has become NaN or infinity"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(settings, message):
    model, _ = linear()
    with pytest.raises(ValueError, match=message):
        optimize(model, neuron("units", 0), steps=1, **settings)


def test_a_model_that_takes_whole_numbers_is_optimised_as_its_twin_of_floats():
    def made(dtype):
        image = keras.Input((9, 8, 3), dtype=dtype)
        return keras.Model(image, keras.layers.Conv2D(2, 3, name="conv")(keras.layers.Rescaling(1 / 255)(image)))

    model, twin = made("uint8"), made("float32")
    twin.set_weights(model.get_weights())
    found, expected = (optimize(one, neuron("conv", 0), steps=2, seed=3) for one in (model, twin))
    np.testing.assert_allclose(found.images, expected.images, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
