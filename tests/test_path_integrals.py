"""Averages of gradients: around an image, and on the way to it."""

import keras
import numpy as np
import pytest
from keras import layers as kl
from specimens import LAYERS, SPECIMENS, images

import deconv
import models
from deconv import attribution
from deconv.attribution.gradient_averages import average


def steps_network(thresholds, weights=None):
    """The sum of relu(x - threshold), one threshold for each pixel of a row, times weights."""
    count = len(thresholds)
    model = keras.Sequential(
        [
            keras.Input((1, count, 1), name="image"),
            kl.Flatten(),
            kl.Dense(count, "relu", name="steps"),
            kl.Dense(1, name="score"),
        ]
    )
    weights = np.ones(count) if weights is None else np.asarray(weights, float)
    model.set_weights([np.eye(count), -np.asarray(thresholds, float), weights[:, None], np.zeros(1)])
    return model


def linear_network():
    """A filter, its mean and a score: linear in a 4x3 image of two channels, with biases."""
    image = keras.Input((4, 3, 2), dtype="float64")
    maps = kl.Conv2D(3, 2, name="conv", dtype="float64")(image)
    score = kl.Dense(2, name="score", dtype="float64")(kl.Flatten(dtype="float64")(maps))
    model = keras.Model(image, score)
    rng = np.random.default_rng(4)
    model.set_weights([rng.standard_normal(weight.shape) for weight in model.get_weights()])
    return model


# SmoothGrad


def test_without_noise_it_is_the_gradient():
    model = SPECIMENS["branching"]()
    pixels = images(model, 2)
    found = attribution.smooth_grad(model, pixels, 1, LAYERS["branching"], noise=0, samples=3)
    expected = attribution.gradient(model, pixels, 1, LAYERS["branching"])
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


def test_the_mean_over_noise_by_hand():
    # The slope of relu(x - 1/2) is one in as many copies as have x + noise above 1/2. The range of the image is 2, so
    # the deviation is 1/2; the second pixel is a deviation below the step, the last three deviations above.
    pixels = np.array([0.5, 0, 1, 2], np.float32).reshape(1, 1, 4, 1)
    found = attribution.smooth_grad(steps_network([0.5] * 4), pixels, noise=0.25, samples=2000, batch_size=500, seed=3)
    drawn = np.random.default_rng(3).standard_normal((2000, 4))
    shares = np.mean(pixels.reshape(4) + 0.5 * drawn > 0.5, axis=0)
    np.testing.assert_allclose(found.ravel(), shares, atol=1e-3)
    np.testing.assert_allclose(found.ravel(), [0.5, 0.1587, 0.8413, 0.99865], atol=0.03)  # the normal distribution


def test_each_image_has_noise_of_its_own_range_and_its_own_unit():
    # What is said of one image does not depend on another beside it, but for the noise that is drawn first.
    model = steps_network([0.5, 0.5])
    pixels = np.array([[0, 100], [0.4, 0.5]], np.float32).reshape(2, 1, 2, 1)
    found = attribution.smooth_grad(model, pixels, noise=0.1, samples=400, seed=1)
    drawn = np.random.default_rng(1).standard_normal((2, 400, 2))
    expected = np.mean(pixels.reshape(2, 1, 2) + np.reshape([10, 0.01], (2, 1, 1)) * drawn > 0.5, axis=1)
    np.testing.assert_allclose(found.reshape(2, 2), expected, atol=3e-3)
    assert found[1, 0, 0, 0] == 0 and 0.4 < found[1, 0, 1, 0] < 0.6 and found[0, 0, 1, 0] == pytest.approx(1)


def test_the_noise_is_that_of_the_seed_in_batches_of_any_size():
    model = SPECIMENS["overlapping"]()
    pixels = images(model, 3)
    one, again, other = (
        attribution.smooth_grad(model, pixels, 0, samples=5, batch_size=size, seed=seed)
        for size, seed in ((32, 7), (4, 7), (32, 8))
    )
    np.testing.assert_allclose(one, again, rtol=0, atol=1e-6)
    assert np.abs(one - other).max() > 1e-3


def test_no_more_points_exist_at_a_time_than_a_batch_holds_and_each_counts_for_its_own_image():
    seen = []

    def points(numbers, places):
        seen.append(list(zip(numbers.tolist(), places.tolist(), strict=True)))
        return (10.0 * numbers + places).reshape(-1, 1, 1, 1)

    class Tensor(np.ndarray):
        def numpy(self):
            return np.asarray(self)

    def down(images, signal):  # its "gradient" is the image itself, times the signal
        return None, (images * signal.reshape(-1, 1, 1, 1)).view(Tensor)

    found = average(down, np.array([1.0, 2.0, -1.0]), points, [0.5, 0.25, 0.25], batch_size=4)
    # 0, 1, 2; 10, 11, 12 twice; 20, 21, 22 negative
    assert found.ravel().tolist() == [0.75, 2 * 10.75, -20.75]
    assert [len(batch) for batch in seen] == [4, 4, 1]
    assert [pair for batch in seen for pair in batch] == [(image, point) for image in range(3) for point in range(3)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"noise": -0.1}, "noise must be a number of at least 0, .* received -0.1"),
        ({"noise": np.nan}, "received nan"),
        ({"noise": "much"}, "received 'much'"),
        ({"samples": 0}, "samples must be a whole number of at least 1"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_wrong_noise_is_refused(wrong, message):
    model = steps_network([0.5, 0.5])
    with pytest.raises(ValueError, match=message):
        attribution.smooth_grad(model, np.zeros((1, 1, 2, 1), "float32"), **wrong)


# Integrated gradients


@pytest.mark.parametrize("baseline", [0.0, [0.5, -1.0], "image", "images"])
def test_of_a_linear_network_it_is_the_weight_times_the_way(baseline):
    model = linear_network()
    pixels = images(model, 3)
    if isinstance(baseline, str):
        baseline = images(model, 3, seed=9)[0] if baseline == "image" else images(model, 3, seed=9)
    weights = attribution.gradient(model, pixels, 1)
    found = attribution.integrated_gradients(model, pixels, 1, baseline=baseline, steps=1)
    np.testing.assert_allclose(found, weights * (pixels - baseline), rtol=1e-12, atol=1e-14)
    if np.ndim(baseline) == 0:
        np.testing.assert_allclose(found, attribution.input_x_gradient(model, pixels, 1), rtol=1e-12)
    error = attribution.completeness(model, pixels, found, 1, baseline=baseline)
    assert error.max() < 1e-12
    gains = model(pixels).numpy()[:, 1] - model(np.broadcast_to(baseline, pixels.shape)).numpy()[:, 1]
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), gains, rtol=1e-12)


def test_a_step_on_the_way_by_hand():
    # On the way from 0 to 1, relu(x - 1/4) begins to rise after a quarter; relu(x - 1) never does; the third has the
    # weight -2 and begins at once.
    model = steps_network([0.25, 1, 0], [1, 1, -2])
    pixels = np.ones((1, 1, 3, 1), np.float32)
    found = attribution.integrated_gradients(model, pixels, steps=400, tolerance=None)
    np.testing.assert_allclose(found.ravel(), [0.75, 0, -2], atol=3e-3)
    back = attribution.integrated_gradients(model, 0 * pixels, baseline=1, steps=400, tolerance=None)
    np.testing.assert_allclose(back, -found, atol=1e-6)


def test_it_is_the_slow_sum_over_equal_steps():
    model = SPECIMENS["lenet"]("float64")
    pixels = images(model, 1)
    shares = (np.arange(300) + 0.5) / 300
    slow = pixels * attribution.gradient(model, shares.reshape(-1, 1, 1, 1) * pixels, 4).mean(axis=0)
    found = attribution.integrated_gradients(model, pixels, 4, steps=300, tolerance=None)
    np.testing.assert_allclose(found, slow, rtol=0, atol=0.02 * np.abs(slow).max())


def test_images_whose_sum_is_off_get_more_steps_and_the_others_do_not():
    model = SPECIMENS["alexnet"]()
    pixels = images(model)
    few = attribution.integrated_gradients(model, pixels, tolerance=None)
    error = attribution.completeness(model, pixels, few)
    assert error.max() > 0.3 and error.min() < 0.025
    found = attribution.integrated_gradients(model, pixels, tolerance=0.025)
    kept = error <= 0.025
    assert np.array_equal(found[kept], few[kept]) and not np.array_equal(found, few)
    assert attribution.completeness(model, pixels, found).max() <= 0.025
    limited = attribution.integrated_gradients(model, pixels, tolerance=1e-9, steps=16, most_steps=32)
    np.testing.assert_allclose(limited, few, rtol=0, atol=1e-7)


def test_integrated_gradients_of_our_lenet_are_complete():
    model = models.LeNet5(weights="mnist")
    digits = deconv.datasets.load("mnist-5k", "test")
    labels, ids = digits.listing()
    pixels = models.lenet5.preprocess_input(digits.pick([ids[labels == digit][0] for digit in range(10)]))
    for target, layer in ((None, None), (3, None), (5, "conv2")):
        maps = attribution.integrated_gradients(model, pixels, target, layer)
        error = attribution.completeness(model, pixels, maps, target, layer)
        assert error.max() <= 0.01
        assert attribution.completeness(model, pixels, 0.5 * maps, target, layer) == pytest.approx(0.5, abs=0.01)


@pytest.mark.slow
def test_integrated_gradients_of_our_alexnet_are_complete():
    model = models.AlexNet(weights="imagenette")
    photographs = deconv.datasets.load("imagenet-20", image_size=(227, 227))
    pixels = models.alexnet.preprocess_input(photographs.pick(photographs.listing()[1][1:2]))
    maps = attribution.integrated_gradients(model, pixels)
    assert attribution.completeness(model, pixels, maps).max() <= 0.01


def test_completeness_by_hand():
    model = steps_network([0.25, 0.5])
    pixels = np.ones((3, 1, 2, 1), np.float32)  # gains 1.25
    maps = np.array([[0.75, 0.5], [1.0, 0.5], [-1, 1]]).reshape(3, 1, 2, 1)
    np.testing.assert_allclose(attribution.completeness(model, pixels, maps), [0, 0.2, 1], atol=1e-6)
    nothing = attribution.completeness(model, 0 * pixels, maps)
    assert np.isinf(nothing[:2]).all() and np.isnan(nothing[2])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"baseline": [1.0, 2.0]}, r"baseline must be .* \(1,\), an image \(1, 2, 1\), .* received shape \(2,\)"),
        ({"baseline": np.inf}, "finite"),
        ({"baseline": "black"}, "baseline must be"),
        ({"steps": 0}, "steps must be"),
        ({"most_steps": 1.5}, "most_steps must be"),
        ({"tolerance": 0}, "tolerance must be a relative error above 0, or None; received 0"),
        ({"tolerance": True}, "received True"),
    ],
)
def test_a_wrong_way_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        attribution.integrated_gradients(steps_network([0.5, 0.5]), np.ones((1, 1, 2, 1), "float32"), **wrong)


def test_maps_of_another_shape_are_refused():
    model, pixels = steps_network([0.5, 0.5]), np.ones((1, 1, 2, 1), "float32")
    with pytest.raises(ValueError, match=r"shaped like the images, \(1, 1, 2, 1\); received \(1, 2, 1\)"):
        attribution.completeness(model, pixels, pixels[0])
