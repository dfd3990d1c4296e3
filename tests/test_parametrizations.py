"""What optimised images are made of, moved by and held down by: each against a slow twin, or by hand."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

import deconv
from deconv.features import fourier, high_frequency_share, pixels, regularizers, transforms
from deconv.features.parametrizations import COLOURS, parametrization_of

SHAPES = [(1, 5, 8, 1), (2, 7, 9, 3), (3, 6, 6, 3), (2, 8, 5, 2)]


def pictures(shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 254.5, shape).astype(np.float32)


# -------------------------------------------------------------------------------------------------- parametrizations


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("made", [fourier(), fourier(base=20.0, decay=0.5), pixels(), pixels(squash=True)])
def test_every_image_has_parameters_that_make_it(made, shape):
    images = pictures(shape)
    found = made.images(made.parameters(images), shape[1:])
    np.testing.assert_allclose(found, images, atol=2e-2)
    assert np.abs(found - images).mean() < 2e-3


def test_black_and_white_come_back_within_a_thousandth_of_a_level():
    images = np.random.default_rng(0).choice([0.0, 255.0], (2, 9, 6, 1))
    made = pixels(squash=True)
    np.testing.assert_allclose(made.images(made.parameters(images), (9, 6, 1)), images, atol=2e-3)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_waves_make_images_as_a_slow_sum_of_cosines_does(shape):
    count, height, width, channels = shape
    made = fourier(base=60.0, spread=0.3)
    parameters = made.start(np.random.default_rng(3), shape, None)
    assert parameters.dtype == np.float32
    row, column = np.indices((height, width))
    values = np.zeros(shape)
    for down in range(height):
        for right in range(width // 2 + 1):
            frequency = np.hypot(min(down, height - down) / height, right / width)
            scale = np.sqrt(height * width) / max(frequency, 1 / max(height, width))
            phase = 2 * np.pi * (down * row / height + right * column / width)
            # Of a real image a wave and its opposite are one: those with right = 0 or width / 2 are listed twice.
            twice = 1 if right in (0, width / 2) else 2
            for image in range(count):
                for channel in range(channels):
                    real, imaginary = parameters[image, :, channel, down, right]
                    wave = real * np.cos(phase) - imaginary * np.sin(phase)
                    values[image, :, :, channel] += twice * scale * wave / (height * width) / 4
    if channels == 3:
        longest = max(np.sqrt(np.square(COLOURS[:, axis]).sum()) for axis in range(3))
        values = np.einsum("nhwc,oc->nhwo", values, COLOURS / longest)
    values += np.log(60 / 195)
    np.testing.assert_allclose(made.images(parameters, shape[1:]), 255 / (1 + np.exp(-values)), rtol=1e-3, atol=1e-3)


def test_no_waves_are_an_even_image_and_colours_vary_together():
    made = fourier(base=[20.0, 100.0, 250.0])
    even = made.images(np.zeros((1, 2, 3, 4, 3), np.float32), (4, 5, 3)).numpy()
    np.testing.assert_allclose(even, np.broadcast_to([20, 100, 250], even.shape), rtol=1e-5)
    made, shape = fourier(spread=1.0), (4, 16, 16, 3)
    noise = made.images(made.start(np.random.default_rng(0), shape, None), shape[1:]).numpy()
    assert np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1] > 0.7  # red and green
    parts = np.linalg.solve(COLOURS, np.log(noise / (255 - noise)).reshape(-1, 3).T)
    assert np.abs(np.corrcoef(parts) - np.eye(3)).max() < 0.2  # what they are made of does not


def test_a_name_is_a_parametrization_with_its_defaults():
    assert parametrization_of("fourier").name == "fourier" and parametrization_of(pixels()).name == "pixels"
    with pytest.raises(ValueError, match="parametrization must be a Parametrization, or one of 'fourier', 'pixels'"):
        parametrization_of("wavelets")


# -------------------------------------------------------------------------------------------------------- transforms


def moved(images, *sequence, uniforms=None, size=None, fill=0.0):
    uniforms = np.full((len(images), len(sequence), 2), 0.5) if uniforms is None else uniforms
    size = transforms.check_sizes(sequence, images.shape[1:3])[-1] if size is None else size
    return transforms.apply(sequence, tf.constant(images), tf.constant(uniforms, tf.float32), size, fill).numpy()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scaling_and_turning_are_those_of_fig_5(shape):
    images, random = pictures(shape), np.random.default_rng(1)
    uniforms = random.uniform(size=(len(images), 1, 2))
    found = moved(images, transforms.scale(0.6, 1.7), uniforms=uniforms, fill=9.0)
    expected = deconv.transform(images, "scale", 0.6 + 1.1 * uniforms[:, 0, 0], fill=9.0)
    np.testing.assert_allclose(found, expected, atol=5e-3)
    found = moved(images, transforms.rotate(-40, 70), uniforms=uniforms, fill=9.0)
    expected = deconv.transform(images, "rotation", -40 + 110 * uniforms[:, 0, 0], fill=9.0)
    np.testing.assert_allclose(found, expected, atol=5e-3)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 999), st.integers(1, 4))
def test_jitter_cuts_a_window_whose_place_is_chance(seed, width):
    images = pictures((6, 9, 7, 1), seed)
    uniforms = np.random.default_rng(seed).uniform(size=(6, 1, 2))
    found = moved(images, transforms.jitter(width), uniforms=uniforms)
    for image, window, (down, right) in zip(images, found, (uniforms[:, 0] * (width + 1)).astype(int), strict=True):
        np.testing.assert_allclose(window, image[down : down + 9 - width, right : right + 7 - width], atol=1e-3)


def test_padding_and_cropping_by_hand():
    image = np.arange(1, 7, dtype=np.float32).reshape(1, 2, 3, 1)
    padded = moved(image, transforms.pad(1), fill=8.0)[0, ..., 0]
    np.testing.assert_allclose(padded, [[8] * 5, [8, 1, 2, 3, 8], [8, 4, 5, 6, 8], [8] * 5], atol=1e-5)
    np.testing.assert_allclose(moved(image, transforms.pad(2), transforms.crop(2)), image, atol=1e-5)
    np.testing.assert_allclose(moved(image, transforms.pad(1), size=(2, 3)), image, atol=1e-5)  # the middle
    colours = moved(np.zeros((1, 1, 1, 2), np.float32), transforms.pad(1), fill=np.array([3.0, 4.0]))
    assert colours[0, 0, 0].tolist() == [3, 4] and not colours[0, 1, 1].any()


def test_a_sequence_is_read_once_where_it_would_lead_step_by_step():
    # By whole pixels and quarter turns nothing is interpolated, so that one reading and three are the same.
    images, uniforms = pictures((2, 6, 6, 3)), np.random.default_rng(2).uniform(size=(2, 3, 2))
    steps = transforms.pad(2), transforms.jitter(4), transforms.rotate(90, 90)
    expected = images
    for number, step in enumerate(steps):
        expected = moved(expected, step, uniforms=uniforms[:, number : number + 1], fill=7.0)
    np.testing.assert_allclose(moved(images, *steps, uniforms=uniforms, fill=7.0), expected, atol=1e-2)
    turned = moved(images, transforms.jitter(1), transforms.rotate(90, 90), uniforms=np.zeros((2, 2, 2)))
    np.testing.assert_allclose(turned, np.rot90(images[:, :5, :5], axes=(1, 2)), atol=1e-2)


def test_the_gradient_of_a_reading_is_its_transpose():
    images, signal = pictures((2, 6, 7, 1)), pictures((2, 6, 7, 1), 1)
    uniforms = tf.constant(np.random.default_rng(0).uniform(size=(2, 2, 2)), tf.float32)
    sequence = transforms.scale(0.8, 1.2), transforms.rotate(-20, 20)
    variable = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        total = tf.reduce_sum(transforms.apply(sequence, variable, uniforms, (6, 7)) * signal)
    np.testing.assert_allclose(tf.reduce_sum(tape.gradient(total, variable) * images), total, rtol=1e-5)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: transforms.scale(0, 1), "smallest must be a factor above 0"),
        (
            lambda: transforms.rotate(5, -5),
            "rotate takes two finite numbers, the second not smaller than the first; received 5, -5",
        ),
        (lambda: transforms.pad(0), "border must be a whole number of at least 1; received 0"),
        (
            lambda: transforms.check_sizes([transforms.crop(3)], (6, 9)),
            r"'crop 3' leaves an empty image, of size \(0, 3\)",
        ),
        (lambda: transforms.check_sizes(["pad"], (6, 9)), "must be results of pad, jitter, scale, rotate or crop"),
    ],
)
def test_a_transform_that_cannot_be_is_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ------------------------------------------------------------------------------------------------------ regularisers


def test_total_variation_by_hand():
    # Differences to the right 1, -3, - / 2, 0, -; below 3, 4, 7 / - - -. For beta 1 the roots of the sums of squares.
    image = np.array([[1.0, 2, -1], [4, 6, 6]]).reshape(1, 2, 3, 1)
    squares = np.array([1 + 9, 9 + 16, 49, 4, 0, 0])
    np.testing.assert_allclose(regularizers.total_variation(image), [squares.sum()])
    np.testing.assert_allclose(regularizers.total_variation(image, 1), [np.sqrt(squares).sum()], atol=1e-3)
    np.testing.assert_allclose(regularizers.variation(0.5).penalty(tf.constant(image)), [squares.sum() / 2])


@pytest.mark.parametrize("beta", [1.0, 1.5, 2.0])
def test_total_variation_is_a_slow_sum(beta):
    images = pictures((2, 5, 4, 3))
    expected = np.zeros(2)
    for number, row, column, channel in np.ndindex(images.shape):
        here = images[number, row, column, channel]
        right = images[number, row, column + 1, channel] - here if column < 3 else 0
        below = images[number, row + 1, column, channel] - here if row < 4 else 0
        expected[number] += (right**2 + below**2) ** (beta / 2)
    np.testing.assert_allclose(regularizers.total_variation(images, beta), expected, rtol=1e-5)


@pytest.mark.parametrize("width", [0.5, 1.0, 2.3])
def test_a_blur_is_that_of_scipy(width):
    images = pictures((2, 9, 6, 3))
    expected = gaussian_filter(images, (0, width, width, 0))
    np.testing.assert_allclose(regularizers.blurred(tf.constant(images), width), expected, rtol=1e-4)


def test_a_blur_waits_for_its_step():
    images, blur = tf.constant(pictures((1, 5, 5, 1))), regularizers.blur(1.0, every=3)
    changed = [not np.array_equal(blur.operation(images, None, tf.constant(step)), images) for step in range(7)]
    assert changed == [False, False, True, False, False, True, False]


def test_small_norms_and_contributions_are_set_to_nothing_by_hand():
    image = tf.constant([[[[3.0, 4], [0, -1]], [[6, 8], [-2, 0]]]])  # norms 5, 1, 10, 2: their median is 3.5
    kept = regularizers.without_small_norms(image, 50)
    assert kept.numpy().tolist() == [[[[3, 4], [0, 0]], [[6, 8], [0, 0]]]]
    gradient = tf.constant([[[[1.0, -1], [9, 9]], [[0, 0], [-2, 5]]]])  # contributions 1, 9, 0, 4: above 75 %, 5.25
    kept = regularizers.without_small_contributions(image, gradient, 75)
    assert kept.numpy().tolist() == [[[[0, 0], [0, -1]], [[0, 0], [0, 0]]]]


@pytest.mark.parametrize("percentile", [0, 13, 50, 90, 100])
def test_what_is_small_is_what_numpy_s_percentile_says(percentile):
    images, gradient = pictures((3, 7, 5, 3)) - 128, pictures((3, 7, 5, 3), 1) - 128
    norms = np.linalg.norm(images, axis=-1)
    given = np.abs((images * gradient).sum(-1))
    for sizes, found in (
        (norms, regularizers.clip_norms(percentile).operation(tf.constant(images), None, 0)),
        (given, regularizers.clip_contributions(percentile).operation(tf.constant(images), tf.constant(gradient), 0)),
    ):
        kept = found.numpy().any(axis=-1)
        limits = np.percentile(sizes, percentile, axis=(1, 2), keepdims=True)
        unsure = np.isclose(sizes, limits, rtol=1e-4)
        assert (kept == (sizes >= limits))[~unsure].all()
        np.testing.assert_array_equal(found.numpy()[kept], images[kept])


def test_decay_ball_and_l2_by_hand():
    image = tf.constant([[[[3.0]], [[4.0]]], [[[0.3]], [[0.4]]], [[[0.0]], [[0.0]]]])  # of length 5, 0.5 and 0
    np.testing.assert_allclose(regularizers.decay(0.25).operation(image, None, 0), 0.75 * image)
    np.testing.assert_allclose(regularizers.l2(0.1).penalty(image), [2.5, 0.025, 0], rtol=1e-6)
    inside = regularizers.norm_ball(2).operation(image, None, 0)
    np.testing.assert_allclose(tf.reshape(inside, [3, 2]), [[1.2, 1.6], [0.3, 0.4], [0, 0]], rtol=1e-6)
    sphere = regularizers.norm_ball(2, sphere=True).operation(image, None, 0)
    np.testing.assert_allclose(tf.reshape(sphere, [3, 2]), [[1.2, 1.6], [1.2, 1.6], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: regularizers.decay(1.5), "rate must be a number from 0 to 1; received 1.5"),
        (lambda: regularizers.blur(-1), "width must be a number of at least 0; received -1"),
        (lambda: regularizers.blur(1, 0), "every must be a whole number of at least 1; received 0"),
        (lambda: regularizers.clip_norms("all"), "percentile must be a number from 0 to 100; received 'all'"),
    ],
)
def test_a_regulariser_that_cannot_be_is_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ------------------------------------------------------------------------------------------------------- frequencies


def test_waves_are_low_or_high_by_their_length():
    row, column = np.indices((12, 16))
    waves = {
        (1, 1): 0,  # 0.10 cycles per pixel
        (3, 0): 0,  # 0.25, just not above
        (0, 5): 1,  # 0.31
        (2, 3): 0,  # hypot(0.17, 0.19) = 0.25 and a little more
    }
    waves[2, 3] = 1
    for (down, right), high in waves.items():
        wave = 100 + 20 * np.cos(2 * np.pi * (down * row / 12 + right * column / 16))
        np.testing.assert_allclose(high_frequency_share(wave[None, ..., None]), high, atol=1e-12)
    both = 3 * np.cos(2 * np.pi * row / 12) + 4 * np.cos(2 * np.pi * 7 * column / 16)
    np.testing.assert_allclose(high_frequency_share(both[None, ..., None]), 16 / 25)


def test_noise_has_four_fifths_and_an_even_image_none_that_is_known():
    noise = np.random.default_rng(0).standard_normal((2, 128, 128, 3))
    np.testing.assert_allclose(high_frequency_share(noise), 1 - np.pi / 16, atol=0.01)
    assert np.isnan(high_frequency_share(np.full((1, 5, 4, 3), 0.1)))
    with pytest.raises(ValueError, match=r"images must have shape \(n, height, width, channels\); received \(5, 4\)"):
        high_frequency_share(np.zeros((5, 4)))
