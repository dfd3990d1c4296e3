"""Inversion: layers that keep everything give the image back, layers that lose some of it give what is left."""

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from keras import layers as kl
from specimens import SPECIMENS

import models
from deconv import datasets
from deconv.features.inversion import invert, roughness, sixth_powers


def digits(count):
    """Digits of different classes, uint8 `(count, 28, 28, 1)`."""
    images, _, _ = datasets.arrays(datasets.load("mnist-5k", "test"))
    return images[:: len(images) // count][:count]


def photographs(*shape, seed=0):
    """Smooth noise in pixel units."""
    noise = np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)
    return (noise + np.roll(noise, 1, 1) + np.roll(noise, 1, 2)) / 3


def correlation(images, others):
    return [np.corrcoef(image.ravel(), other.ravel())[0, 1] for image, other in zip(images, others, strict=True)]


def seeing(height, width, kernel):
    """A model whose only layer multiplies the colours of every pixel by a matrix."""
    image = keras.Input((height, width, len(kernel)))
    model = keras.Model(image, kl.Conv2D(np.shape(kernel)[1], 1, use_bias=False, name="colours")(image))
    model.set_weights([np.asarray(kernel, np.float32)[None, None]])
    return model


@pytest.fixture(scope="module")
def lenet():
    return models.LeNet5(weights="mnist")


@pytest.mark.slow
def test_conv1_of_lenet5_gives_digits_back_and_deeper_layers_less_and_less_of_them(lenet):
    images, preprocess = digits(5), models.lenet5.preprocess_input
    found = {
        layer: invert(lenet, images, layer, preprocess=preprocess, steps=120)
        for layer in ("conv1", "pool2", "predictions")
    }
    assert found["conv1"].images.dtype == np.float32 and found["conv1"].history.shape == (5, 120)
    assert found["conv1"].errors.max() <= 0.05**2  # 5 % as a distance, and so 0.25 % of the square
    assert min(correlation(images, found["conv1"].images)) >= 0.99
    alike = [np.mean(correlation(images, inversion.images)) for inversion in found.values()]
    assert alike[0] > 0.99 and (np.diff(alike) < -0.1).all()
    assert found["conv1"].errors.max() < found["pool2"].errors.min()
    assert all(inversion.errors.max() < 0.5 * inversion.history[:, 0].min() for inversion in found.values())


def test_errors_are_those_of_the_slow_twin():
    model, images = SPECIMENS["overlapping"](), photographs(3, 23, 19, 3)
    found = invert(model, images, "conv2", steps=4, preprocess=lambda pixels: pixels / 128 - 1)
    before, after = (reference.forward(model, side / 128 - 1)["conv2"] for side in (images, found.images))
    expected = ((after - before) ** 2).sum(axis=(1, 2, 3)) / (before**2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(found.errors, expected, rtol=1e-4)


def test_a_layer_that_keeps_everything_is_inverted_exactly():
    images = photographs(2, 7, 10, 3)
    model = seeing(7, 10, [[1, 0.5, 0], [0, 1, 0.5], [0.5, 0, 1]])
    found = invert(model, images, "colours", variation_weight=0, norm_weight=0, steps=300, learning_rate=2.0)
    assert found.errors.max() < 1e-4
    assert np.abs(found.images - images).mean() < 2 and min(correlation(images, found.images)) > 0.999


def test_what_a_layer_does_not_see_becomes_even():
    # The layer sees the second colour alone; of the others nothing is left but the start, made smooth.
    images = photographs(1, 9, 8, 3)
    found = invert(seeing(9, 8, [[0], [1], [0]]), images, "colours", variation_weight=1, steps=300)
    assert correlation(images[..., 1], found.images[..., 1])[0] > 0.99
    assert found.images[0, ..., [0, 2]].std(axis=(1, 2)).max() < 2 < 20 < found.images[0, ..., 1].std()


def test_more_weight_on_roughness_makes_smoother_images_that_fit_less():
    model, images = SPECIMENS["same"](), photographs(2, 21, 17, 2)
    weak, strong = (
        invert(model, images, "conv1", variation_weight=weight, steps=60, preprocess=lambda pixels: pixels / 128 - 1)
        for weight in (1, 1000)
    )
    assert (strong.errors > weak.errors).all()
    assert np.abs(np.diff(strong.images, axis=1)).mean() < 0.7 * np.abs(np.diff(weak.images, axis=1)).mean()


def test_more_weight_on_the_norm_draws_what_the_layer_does_not_see_to_the_colour_of_nothing():
    images = photographs(1, 9, 8, 3)
    layer = seeing(9, 8, [[0], [1], [0]])
    weak, strong = (
        invert(layer, images, "colours", norm_weight=weight, steps=150).images[..., [0, 2]].mean()
        for weight in (0, 1000)
    )
    assert strong < 0.8 * weak  # without a preprocessing nothing is black


def test_penalties_by_hand():
    # One step of 1 to the right and one down: 2, halved, over the energy of a photograph; 1 of 4 numbers is not 0.
    image = np.zeros((1, 2, 2, 1), np.float32)
    image[0, 0, 1] = 1
    energy = (64 / 255) ** 2 * 227 * 227
    assert roughness(3).penalty(tf.constant(image)).numpy() == pytest.approx([3 / energy])
    assert sixth_powers(8).penalty(tf.constant(image / 2)).numpy() == pytest.approx([8 / 4 / 64])


def test_a_picture_in_twice_as_many_pixels_is_as_rough():
    rows, columns = np.meshgrid(np.linspace(0, 3, 60), np.linspace(0, 2, 40), indexing="ij")
    picture = np.sin(rows * 2 + columns)[None, ..., None].astype(np.float32)
    large = tf.image.resize(picture, (120, 80))
    small, large = (roughness(1).penalty(tf.constant(side)).numpy() for side in (picture, large))
    assert large == pytest.approx(small, rel=0.05)


@pytest.mark.slow
def test_weights_by_default_are_twice_what_the_layer_lacks(lenet):
    image = digits(1)
    found = {
        layer: invert(lenet, image, layer, preprocess=models.lenet5.preprocess_input, steps=1).variation_weight
        for layer in ("conv1", "fc3", "predictions")
    }
    assert found == {"conv1": 2 * 784 / 4704, "fc3": pytest.approx(2 * 784 / 120), "predictions": 100}


def test_the_same_seed_gives_the_same_images_in_any_batches():
    model, images = SPECIMENS["overlapping"](), photographs(3, 23, 19, 3)
    one, other, another = (
        invert(model, images, "conv1", steps=5, batch_size=batch_size, seed=seed)
        for batch_size, seed in ((3, 4), (2, 4), (3, 5))
    )
    np.testing.assert_allclose(one.images, other.images, atol=0.05)
    assert np.abs(one.images - another.images).mean() > 1


def test_images_of_another_size_than_the_model_s_are_inverted_below_its_dense_layers():
    image = keras.Input((12, 12, 1))
    maps = kl.Conv2D(4, 3, name="conv")(image)
    model = keras.Model(image, kl.Dense(2, name="dense")(kl.Flatten()(maps)))
    images = photographs(1, 15, 9, 1)
    found = invert(model, images, "conv", steps=80, variation_weight=0)
    assert found.errors[0] < 0.02 and found.images.shape == (1, 15, 9, 1)
    with pytest.raises(
        ValueError, match=r"Layer 'dense' \(Dense\) of model '.*' does not work on images of 15 x 9 x 1"
    ):
        invert(model, images, "dense", steps=1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": np.zeros((23, 19, 3))}, r"images must be numbers \(n, height, width, channels\) in pixel units"),
        ({"images": np.full((1, 23, 19, 3), -1.0)}, "0 to 255; received values from -1 to -1"),
        ({"images": np.full((1, 23, 19, 3), np.nan)}, "0 to 255; received values from nan to nan"),
        ({"layer": "conv9"}, "has no layer 'conv9'"),
        ({"variation_weight": -1}, "variation_weight must be a number of at least 0; received -1"),
        ({"norm_weight": "1"}, "norm_weight must be a number of at least 0; received '1'"),
        ({"steps": 0}, "steps must be a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1"),
        ({"images": np.zeros((1, 23, 19, 3)), "layer": "silent"}, "'silent' outputs only zeros for image 0"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    image = keras.Input((23, 19, 3))
    maps = kl.Conv2D(2, 3, name="silent", use_bias=False)(image)
    arguments = {"images": photographs(1, 23, 19, 3), "layer": "silent"} | changed
    with pytest.raises(ValueError, match=message):
        invert(keras.Model(image, maps), **arguments)
