"""Style transfer: Gram matrices by hand, losses by slow twins, and what each weight does to a picture."""

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from keras import layers as kl
from specimens import SPECIMENS, fill

import deconv
import models
from deconv import datasets
from deconv.features.style import gram, relative, transfer_style

SMALL = {"size": None, "steps": 3, "preprocess": lambda pixels: pixels / 128 - 1}
"""Settings that keep a test short."""


def photograph(*shape, seed=0):
    """Smooth noise in pixel units."""
    noise = np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)
    return (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / 3


def slow_gram(maps):
    """For each pair of channels the mean over the positions of their product."""
    _, rows, columns, channels = maps.shape
    products = np.zeros((channels, channels))
    for row in range(rows):
        for column in range(columns):
            products += np.outer(maps[0, row, column], maps[0, row, column])
    return products / (rows * columns)


def slow_relative(values, wanted):
    return ((values - wanted) ** 2).sum() / (wanted**2).sum()


def small(height=20, width=15, pool=kl.MaxPooling2D):
    """Two convolutions with a pooling between them, and a dense layer on top."""
    image = keras.Input((height, width, 3))
    maps = kl.Conv2D(5, 3, activation="relu", name="conv1")(image)
    maps = pool(2, name="pool1")(maps)
    maps = kl.Conv2D(4, 3, activation="relu", name="conv2")(maps)
    return fill(keras.Model(image, kl.Dense(2, name="dense")(kl.Flatten()(maps)), name="small"), 0)


# ------------------------------------------------------------------------------------------------------- by hand


def test_gram_matrices_by_hand():
    # Two positions with (1, 2) and (3, 4): 1·1 + 3·3 = 10, 1·2 + 3·4 = 14, 2·2 + 4·4 = 20; divided by 2.
    maps = tf.constant(np.array([1, 2, 3, 4, 0, 0, 0, 5], np.float32).reshape(2, 1, 2, 2))
    assert gram(maps).numpy().tolist() == [[[5, 7], [7, 10]], [[0, 0], [0, 12.5]]]
    assert gram(maps[:, 0, 0]).numpy().tolist() == [[[1, 2], [2, 4]], [[0, 0], [0, 0]]]
    assert relative(gram(maps), tf.constant([[[5.0, 7], [7, 0]]])).numpy()[0] == pytest.approx(100 / 123)


def test_gram_matrices_know_nothing_of_places():
    maps = np.random.default_rng(0).standard_normal((1, 5, 7, 3)).astype(np.float32)
    shuffled = np.random.default_rng(1).permutation(maps.reshape(35, 3)).reshape(1, 7, 5, 3)
    np.testing.assert_allclose(gram(tf.constant(maps)), gram(tf.constant(shuffled)), atol=1e-6)
    np.testing.assert_allclose(gram(tf.constant(maps))[0], slow_gram(maps), atol=1e-6)


# --------------------------------------------------------------------------------------------------------- losses


@pytest.mark.slow
@pytest.mark.parametrize("average", [False, True])
def test_losses_are_those_of_the_slow_twin(average):
    model, content, style = small(), photograph(20, 15, 3), photograph(20, 15, 3, seed=1)
    found = transfer_style(
        model, content, style, content_layers="conv2", style_layers=["conv1", "conv2"], average_pooling=average, **SMALL
    )
    twin = small(pool=kl.AveragePooling2D) if average else model
    painted, shown, wanted = (
        reference.forward(twin, SMALL["preprocess"](image[None])) for image in (found.image, content, style)
    )
    assert found.content_losses == {"conv2": pytest.approx(slow_relative(painted["conv2"], shown["conv2"]), rel=1e-4)}
    assert list(found.style_losses) == ["conv1", "conv2"]
    for layer, loss in found.style_losses.items():
        expected = slow_relative(slow_gram(painted[layer]), slow_gram(wanted[layer]))
        assert loss == pytest.approx(expected, rel=1e-4)
    assert found.image.shape == (20, 15, 3) and found.history.shape == (3,)
    assert [type(layer).__name__ for layer in model.layers][2] == "MaxPooling2D"


@pytest.mark.slow
def test_weights_weigh_the_mean_of_each_side():
    # Before the first step nothing of the content is lost, so that the sum is the style's alone, and grows with it.
    model, content, style = small(), np.clip(photograph(20, 15, 3), 32, 223), photograph(20, 15, 3, seed=1)
    settings = {**SMALL, "steps": 1, "largest_jitter": 0, "style_layers": ("conv1", "conv2")}
    one, three = (
        transfer_style(model, content, style, style_weight=weight, **settings).history[0] for weight in (1, 3)
    )
    assert three == pytest.approx(3 * one, rel=1e-4)
    before, wanted = (
        reference.forward(small(pool=kl.AveragePooling2D), SMALL["preprocess"](image[None]))
        for image in (content, style)
    )
    expected = [slow_relative(slow_gram(before[layer]), slow_gram(wanted[layer])) for layer in ("conv1", "conv2")]
    assert one == pytest.approx(np.mean(expected), rel=1e-3)


@pytest.mark.slow
def test_more_weight_on_roughness_paints_smoother():
    content, style = np.clip(photograph(20, 15, 3), 32, 223), photograph(20, 15, 3, seed=1)
    rough, smooth = (
        transfer_style(small(), content, style, roughness_weight=weight, **{**SMALL, "steps": 30}).image
        for weight in (0, 1e5)
    )
    assert np.abs(np.diff(smooth, axis=0)).mean() < 0.9 * np.abs(np.diff(rough, axis=0)).mean()


def test_the_content_in_its_own_style_costs_nothing():
    content = np.clip(photograph(23, 19, 3), 32, 223)
    settings = {**SMALL, "steps": 1, "largest_jitter": 0}
    found = transfer_style(SPECIMENS["overlapping"](), content, content, **settings)
    assert found.history[0] < 1e-6


@pytest.mark.slow
def test_from_noise_each_side_brings_its_own_image_back():
    model, content, style = small(), photograph(20, 15, 3), 255 - photograph(20, 15, 3, seed=1) / 4
    settings = {**SMALL, "steps": 60, "start": "noise", "parametrization": "pixels", "largest_jitter": 0}
    shown = transfer_style(model, content, style, content_layers="conv1", style_weight=0, learning_rate=4, **settings)
    painted = transfer_style(
        model, content, style, content_layers="conv1", content_weight=0, learning_rate=4, **settings
    )
    assert shown.content_losses["conv1"] < 0.1 < 0.3 < painted.content_losses["conv1"]
    assert max(painted.style_losses.values()) < 0.05 < 0.3 < max(shown.style_losses.values())
    assert np.corrcoef(shown.image.ravel(), content.ravel())[0, 1] > 0.7


@pytest.mark.slow
def test_a_digit_takes_the_style_of_another_in_a_network_of_one_colour():
    images, _, _ = datasets.arrays(datasets.load("mnist-5k", "test"))
    found = transfer_style(
        models.LeNet5(weights="mnist"),
        images[0],
        images[1],
        style_weight=1,
        steps=30,
        size=None,
        preprocess=models.lenet5.preprocess_input,
    )
    assert list(found.content_losses) == ["conv1"] and list(found.style_losses) == ["conv1", "conv2"]
    assert found.image.shape == (28, 28, 1) and found.history[-1] < found.history[0]


# -------------------------------------------------------------------------------------------------------- settings


@pytest.mark.slow
def test_layers_by_default_are_five_convolutions_and_the_last_but_one_of_them():
    image = maps = keras.Input((12, 12, 3))
    for number in range(7):
        maps = kl.Conv2D(2, 3, padding="same", name=f"conv{number}")(maps)
    content = photograph(12, 12, 3)
    found = transfer_style(keras.Model(image, maps), content, content[::-1], **{**SMALL, "steps": 1})
    assert list(found.style_losses) == ["conv0", "conv2", "conv3", "conv4", "conv6"]
    assert list(found.content_losses) == ["conv4"]


@pytest.mark.slow
def test_paths_are_read_resized_and_cut_to_the_middle(tmp_path):
    content, style = np.zeros((30, 40, 3), np.uint8), photograph(24, 18, 3).astype(np.uint8)
    content[:, 3:37] = 200  # of the 40 columns the middle 30 are left, which become 12
    for name, image in (("content.png", content), ("style.bmp", style)):
        keras.utils.save_img(tmp_path / name, image, scale=False)
    settings = {**SMALL, "size": 12, "steps": 2, "largest_jitter": 0}
    paths = transfer_style(small(), tmp_path / "content.png", str(tmp_path / "style.bmp"), **settings)
    arrays = transfer_style(small(), content, style, **settings)
    np.testing.assert_array_equal(paths.image, arrays.image)
    even = transfer_style(small(), np.full((12, 12, 3), 200), style, **settings)
    np.testing.assert_allclose(arrays.image, even.image, atol=1)


@pytest.mark.slow
def test_content_and_style_may_differ_in_size_and_from_the_model_s():
    found = transfer_style(small(), photograph(26, 21, 3), photograph(17, 31, 3), **SMALL)
    assert found.image.shape == (26, 21, 3)
    assert np.isfinite([*found.content_losses.values(), *found.style_losses.values()]).all()


@pytest.mark.slow
def test_the_same_seed_gives_the_same_image_and_leaves_the_model_as_it_was():
    model, content, style = small(), photograph(20, 15, 3), photograph(20, 15, 3, seed=1)
    weights = model.get_weights()
    one, same, other = (transfer_style(model, content, style, seed=seed, **SMALL).image for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    assert deconv.activations(model, content[None] / 128 - 1, "pool1")["pool1"].shape == (1, 9, 6, 5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"content": "absent.png"}, "content cannot be read as a png, jpg, bmp or gif image: 'absent.png'"),
        ({"style": __file__}, "style cannot be read as a png, jpg, bmp or gif image"),
        ({"style": np.zeros((20, 15))}, r"style must be numbers \(height, width, channels\)"),
        ({"content": np.full((20, 15, 3), -1)}, "content must be in pixel units, 0 to 255; received values from -1"),
        ({"content_layers": []}, "content_layers must name at least one layer"),
        ({"style_layers": "conv3"}, "Did you mean"),
        (
            {"style_layers": "dense", "size": 30},
            r"'dense' \(Dense\) of model 'small' does not work on images of 30 x 30",
        ),
        ({"content_weight": -1}, "content_weight must be a number of at least 0; received -1"),
        ({"style_weight": None}, "style_weight must be a number of at least 0; received None"),
        ({"start": "style"}, "start must be one of 'content', 'noise'; received 'style'"),
        ({"size": (0, 4)}, "size must be a whole number of at least 1; received 0"),
        ({"largest_jitter": 0.5}, "largest_jitter must be a whole number of at least 1; received 0.5"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    arguments = {"content": photograph(20, 15, 3), "style": photograph(20, 15, 3), **SMALL} | changed
    with pytest.raises(ValueError, match=message):
        transfer_style(small(), arguments.pop("content"), arguments.pop("style"), **arguments)


def test_layers_that_are_silent_and_models_without_convolutions_are_refused():
    image = keras.Input((6, 5, 1))
    bias = keras.initializers.Constant(-1e6)
    silent = keras.Model(image, kl.Conv2D(2, 3, activation="relu", bias_initializer=bias, name="conv")(image))
    with pytest.raises(ValueError, match="Layer 'conv' outputs only zeros for the content"):
        transfer_style(silent, photograph(6, 5, 1), photograph(6, 5, 1), **SMALL)
    dense = keras.Model(image, kl.Dense(2)(kl.Flatten()(image)), name="flat")
    with pytest.raises(ValueError, match="Model 'flat' has no convolutions"):
        transfer_style(dense, photograph(6, 5, 1), photograph(6, 5, 1), **SMALL)
