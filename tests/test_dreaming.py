"""DeepDream by hand, and networks of one image size at any other."""

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from keras import layers as kl
from specimens import SPECIMENS, fill

import deconv
import models
from deconv import datasets, graph
from deconv.features import channel
from deconv.features.dreaming import dream, octave_sizes
from deconv.features.resizing import at_size
from models.layers import CeilMaxPooling2D


def photograph(*shape, seed=0):
    """Smooth noise in pixel units."""
    noise = np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)
    return (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1)) / 3


def doubling(height, width, channels=1):
    """A model whose only layer doubles every pixel."""
    image = keras.Input((height, width, channels))
    model = keras.Model(image, kl.Conv2D(channels, 1, use_bias=False, name="double")(image))
    model.set_weights([2 * np.eye(channels, dtype=np.float32)[None, None]])
    return model


def pooling(*shape, top=False):
    """A small network of colours, with a dense layer or without."""
    image = keras.Input(shape)
    maps = kl.Conv2D(5, 3, activation="relu", name="conv1")(image)
    maps = kl.MaxPooling2D(3, 2, padding="same", name="pool1")(maps)
    maps = kl.Conv2D(4, 3, activation="relu", name="conv2")(maps)
    if top:
        maps = kl.Dense(3, name="dense")(kl.Flatten(name="flatten")(maps))
    return keras.Model(image, maps, name="small")


def mean_square(model, image, layer, preprocess):
    return np.mean(deconv.activations(model, preprocess(image[None]), layer)[layer] ** 2)


# ------------------------------------------------------------------------------------------------------- the ascent


def test_one_step_by_hand():
    # The gradient of the mean of (2 p)² is as p itself: 10 and 30 have a mean of 20, and move by 1/2 and 3/2 of 4.
    image = np.array([10, 30], np.float32).reshape(1, 2, 1)
    found = dream(doubling(1, 2), image, "double", octaves=1, steps=1, rate=4)
    assert found.dtype == np.float32 and found.ravel() == pytest.approx([12, 36])


def test_steps_and_octaves_are_those_of_the_slow_twin():
    # A layer without neighbours does not notice that the image is moved, so that any jitter gives the same.
    image = photograph(17, 12, 3)
    detail = np.zeros_like(image)
    for size in octave_sizes((17, 12), 3, 1.5):
        base = tf.image.resize(image, size, antialias=True).numpy()
        dreamt = base + tf.image.resize(detail, size).numpy()
        for _ in range(2):
            dreamt = np.clip(dreamt + 3 * dreamt / np.abs(dreamt).mean(), 0, 255)
        detail = dreamt - base
    for jitter in (0, 7, 40):
        found = dream(
            doubling(17, 12, 3), image, ["double"], octaves=3, octave_scale=1.5, steps=2, rate=3, jitter=jitter
        )
        np.testing.assert_allclose(found, dreamt, atol=1e-3)


def test_octaves_by_hand():
    assert octave_sizes((256, 200), 4, 1.4) == [(93, 73), (131, 102), (183, 143), (256, 200)]
    assert octave_sizes((5, 2), 3, 2) == [(1, 1), (2, 1), (5, 2)]


def test_an_image_that_a_layer_is_silent_for_stays_as_it_is():
    image = keras.Input((6, 5, 1))
    bias = keras.initializers.Constant(-1e6)
    model = keras.Model(image, kl.Conv2D(2, 3, activation="relu", bias_initializer=bias)(image))
    picture = photograph(6, 5, 1)
    np.testing.assert_allclose(dream(model, picture, -1, octaves=1, steps=3), picture, atol=1e-4)


def test_a_digit_changes_until_conv2_sees_more_in_it():
    images, _, _ = datasets.arrays(datasets.load("mnist-5k", "test"))
    model, preprocess = models.LeNet5(weights="mnist"), models.lenet5.preprocess_input
    found = dream(model, images[0], "conv2", octaves=2, steps=20, rate=3, preprocess=preprocess)
    before, after = (mean_square(model, image, "conv2", preprocess) for image in (images[0], found))
    assert found.shape == (28, 28, 1) and 0 <= found.min() < found.max() <= 255
    assert after > 1.2 * before
    assert np.corrcoef(found.ravel(), images[0].ravel())[0, 1] > 0.5  # and is still there


def test_any_objective_can_be_dreamt_of():
    model, image = SPECIMENS["overlapping"](), photograph(23, 19, 3)

    def preprocess(pixels):
        return pixels / 128 - 1

    found = dream(model, image, channel("conv2", 3), octaves=2, steps=4, preprocess=preprocess)
    before, after = (
        deconv.activations(model, preprocess(side[None]), "conv2")["conv2"].mean(axis=(0, 1, 2))
        for side in (image, found)
    )
    assert after[3] > before[3] and np.argmax(after - before) == 3


def test_the_seed_decides_how_the_image_moves():
    model, image = pooling(20, 15, 3), photograph(20, 15, 3)
    one, same, other = (dream(model, image, "conv1", octaves=1, steps=3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.zeros((1, 20, 15, 3))}, r"image must be numbers \(height, width, channels\) in pixel units"),
        ({"image": np.full((20, 15, 3), 256)}, "0 to 255; received values from 256 to 256"),
        ({"layers": []}, "layers must name at least one layer"),
        ({"layers": "conv3"}, "Did you mean 'conv2'"),
        ({"layers": channel("conv1", [0, 1])}, "must be for one image; received one for 2"),
        ({"octaves": 0}, "octaves must be a whole number of at least 1"),
        ({"octave_scale": 1}, "octave_scale must be a number above 1; received 1"),
        ({"rate": 0}, "rate must be a number above 0; received 0"),
        ({"steps": 1.5}, "steps must be a whole number of at least 1"),
        ({"jitter": -1}, "jitter must be a whole number of at least 1"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"octaves": 9}, r"'conv2' \(Conv2D\) of model 'small' does not work on images of 1 x 1 x 3|'conv1'"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    arguments = {"image": photograph(20, 15, 3), "layers": "conv2", "steps": 1} | changed
    with pytest.raises(ValueError, match=message):
        dream(pooling(20, 15, 3), **arguments)


# ------------------------------------------------------------------------------------------------- any other size


def test_a_model_of_one_size_runs_at_another_as_the_same_model_with_open_sides():
    fixed, free = fill(pooling(20, 15, 3, top=True), 0), pooling(None, None, 3)
    free.set_weights(fixed.get_weights()[:4])
    model_graph = at_size(fixed, ["conv1", "conv2"], (31, 26, 3))
    assert model_graph.steps[-1].output.shape == free.compute_output_shape((1, 31, 26, 3))[1:]
    pixels = photograph(31, 26, 3)[None] / 255
    np.testing.assert_array_equal(
        graph.run(model_graph, tf.constant(pixels))[model_graph.steps[-1].output], free(pixels)
    )
    image = photograph(31, 26, 3)
    one, other = (dream(model, image, "conv2", octaves=2, steps=2) for model in (fixed, free))
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-3)  # pixels; two traces round differently


def test_a_nested_model_with_a_fork_runs_at_another_size():
    model = SPECIMENS["branching"]()
    height, width, channels = model.input_shape[1:]
    own = at_size(model, "conv6", None)
    larger = at_size(model, "conv6", (height + 6, width + 4, channels))
    pixels = np.random.default_rng(0).standard_normal((2, height + 6, width + 4, channels)).astype(np.float32)
    values = graph.run(larger, tf.constant(pixels))
    assert [step.name for step in larger.steps] == [step.name for step in own.steps]
    assert all(values[edge].shape[1:] == edge.shape for step in larger.steps for edge in step.outputs)


@pytest.mark.parametrize("padding", ["valid", "same", "ceil"])
def test_averaged_pools_are_those_of_the_slow_twin_and_the_model_keeps_its_own(padding):
    image = keras.Input((12, 9, 2))
    pool = CeilMaxPooling2D(3, 2) if padding == "ceil" else kl.MaxPooling2D((3, 2), (2, 1), padding=padding)
    model = keras.Model(image, pool(image))
    maps = np.random.default_rng(0).standard_normal((2, 11, 8, 2)).astype(np.float32)
    model_graph = at_size(model, pool.name, (11, 8, 2), average_pooling=True)
    (averaged,) = (graph.run(model_graph, tf.constant(maps))[step.output].numpy() for step in model_graph.steps)
    np.testing.assert_allclose(averaged, reference.average_pool(maps, pool.pool_size, pool.strides, padding), atol=1e-6)
    assert model_graph.steps[0].output.shape == averaged.shape[1:] and model.layers[-1] is pool


def test_layers_that_need_a_fixed_size_are_refused_and_named():
    model = pooling(20, 15, 3, top=True)
    # 24 rows: 22 behind conv1, 11 behind pool1, 9 behind conv2; 15 columns: 13, 7, 5.
    assert at_size(model, "flatten", (24, 15, 3)).steps[-1].output.shape == (9 * 5 * 4,)
    with pytest.raises(ValueError, match=r"'dense' \(Dense\) of model 'small' does not work on images of 24 x 15 x 3;"):
        at_size(model, "dense", (24, 15, 3))
    with pytest.raises(ValueError, match=r"Model 'small' takes images of 20 x 15 x 3; received shape \(20, 15, 1\)"):
        at_size(model, "conv1", (20, 15, 1))
    mixing = keras.Sequential([keras.Input((4, 4, 1)), kl.Reshape((2, 8, 1)), kl.Conv2D(1, 1, name="conv")])
    with pytest.raises(ValueError, match="Reshape"):
        at_size(mixing, "conv", (6, 4, 1))
