"""Inputs that are not (height, width, channels): each method where it has a meaning, a refusal where it has none."""

import keras
import numpy as np
import pytest
from keras import layers as kl

import deconv
from deconv import attribution

VOLUME, GREY, SERIES, VECTOR = (3, 4, 5, 2), (5, 4), (6, 2), (7,)


def quadratic(shape, dtype="float64"):
    """`(model, weights (entries, 2), images)`: class c puts out (w_c x)^2 of the flattened image x."""
    layers = [kl.Reshape((-1,), dtype=dtype)] if len(shape) > 1 else []
    layers += [
        kl.Dense(2, use_bias=False, dtype=dtype, name="sums"),
        kl.Lambda(keras.ops.square, dtype=dtype, name="squares"),
    ]
    model = keras.Sequential([keras.Input(shape, dtype=dtype), *layers])
    random = np.random.default_rng(0)
    weights = random.normal(size=(int(np.prod(shape)), 2))
    model.get_layer("sums").set_weights([weights])
    return model, weights, random


@pytest.fixture(scope="module")
def quadratics():
    return {shape: quadratic(shape) for shape in (VOLUME, GREY, SERIES, VECTOR)}


COUNTS = [(shape, count) for shape in (VOLUME, GREY, SERIES, VECTOR) for count in sorted({1, 2, *shape})]


@pytest.mark.parametrize(("shape", "count"), COUNTS)
def test_gradients_and_integrals_are_those_of_a_square_by_hand_for_every_number_of_images(quadratics, shape, count):
    model, weights, random = quadratics[shape]
    images, start = random.normal(size=(count, *shape)), random.normal(size=shape)
    w, x, b = weights[:, 1], images.reshape(count, -1), start.ravel()
    slopes = (2 * (x @ w)[:, None] * w).reshape(images.shape)
    np.testing.assert_allclose(attribution.gradient(model, images, 1), slopes, rtol=1e-10)
    np.testing.assert_allclose(attribution.input_x_gradient(model, images, 1), slopes * images, rtol=1e-10)
    # The mean slope on the way from b to x is that in the middle, 2 w (w (x + b) / 2).
    means = (((x + b) @ w)[:, None] * w * (x - b)).reshape(images.shape)
    found = attribution.integrated_gradients(model, images, 1, baseline=start, steps=3, batch_size=4)
    np.testing.assert_allclose(found, means, rtol=1e-9)
    gains = (x @ w) ** 2 - (b @ w) ** 2
    np.testing.assert_allclose(found.reshape(count, -1).sum(axis=1), gains, rtol=1e-9)


@pytest.mark.parametrize("shape", [VOLUME, GREY, SERIES, VECTOR])
def test_smooth_grad_of_a_square_is_the_slope_at_the_mean_of_the_noisy_images(quadratics, shape):
    model, weights, random = quadratics[shape]
    images, w = random.normal(size=(3, *shape)), weights[:, 0]
    for noise in (0.0, 0.2):
        drawn = np.random.default_rng(4).standard_normal((3, 5, *shape)).mean(axis=1)
        spans = images.reshape(3, -1).max(axis=1) - images.reshape(3, -1).min(axis=1)
        middles = (images + noise * spans.reshape(-1, *(1,) * len(shape)) * drawn).reshape(3, -1)
        expected = (2 * (middles @ w)[:, None] * w).reshape(images.shape)
        for batch_size in (32, 4):
            found = attribution.smooth_grad(model, images, 0, noise=noise, samples=5, seed=4, batch_size=batch_size)
            np.testing.assert_allclose(found, expected, rtol=1e-9)


def reshaped(before, *above, shape=(9, 8, 1)):
    """`(model, twin)`: one that brings its input into `shape` itself, and one that takes it so; of the same weights."""
    keras.utils.set_random_seed(1)
    layers = [
        kl.Conv2D(3, 3, activation="relu", name="conv"),
        kl.MaxPooling2D(name="pool"),
        kl.Flatten(),
        kl.Dense(4, name="top"),
    ]
    model = keras.Sequential([keras.Input(before), kl.Reshape(shape), *layers])
    return model, keras.Sequential([keras.Input(shape), *layers])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "methods"), [((9, 8), attribution.METHODS), ((72,), ("gradient", "lrp", "deconvnet"))]
)
def test_a_model_that_reshapes_its_input_has_the_maps_of_one_that_does_not(before, methods):
    model, twin = reshaped(before)
    images = np.random.default_rng(0).normal(size=(8, 9, 8, 1)).astype("float32")
    flat = images.reshape(8, *before)
    for name in methods:
        method = attribution.METHODS[name]
        options = {"lrp": {"bounds": (-4, 4)}, "smooth_grad": {"samples": 3}}.get(name, {})
        expected = method(twin, images, 1, **options).reshape(flat.shape)
        np.testing.assert_allclose(method(model, flat, 1, **options), expected, atol=1e-6, err_msg=name)
    net, other = deconv.Deconvnet(model), deconv.Deconvnet(twin)
    units, positions = [2, 0, 1, 2, 2, 1, 1, 0], [[0, 1]] * 8
    expected = other.project_units(images, "pool", units, positions).reshape(flat.shape)
    np.testing.assert_allclose(net.project_units(flat, "pool", units, positions), expected, atol=1e-6)
    expected = other.project(images, "pool", 1).reshape(flat.shape)
    np.testing.assert_allclose(net.project(flat, "pool", 1), expected, atol=1e-6)


@pytest.mark.slow
def test_explain_of_a_model_of_height_and_width_is_that_of_its_twin_with_channels():
    model, twin = reshaped((9, 8))
    image = np.random.default_rng(0).uniform(0, 255, (9, 8, 1)).astype("float32")
    settings = {"methods": ["gradient", "occlusion", "grad_cam", "lrp"], "steps": 4, "random_orders": 2, "runs": 1}
    found = deconv.explain(model, image, 1, preprocess=lambda images: images[..., 0] / 255, **settings)
    expected = deconv.explain(twin, image, 1, preprocess=lambda images: images / 255, **settings)
    assert found.maps["gradient"].shape == (9, 8, 1)
    for name, maps in expected.maps.items():
        np.testing.assert_allclose(found.maps[name], maps, atol=1e-6, err_msg=name)
        np.testing.assert_allclose(found.deletion[name], expected.deletion[name], atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("layer", "shape"), [(kl.Conv1D, (9, 2)), (kl.Conv3D, (3, 4, 5, 2))])
def test_grad_cam_of_sequences_and_volumes_is_the_weighed_map_resized_along_each_axis(layer, shape):
    keras.utils.set_random_seed(2)
    image = keras.Input(shape)
    maps = layer(3, 2, activation="relu", name="conv")(image)
    model = keras.Model(image, kl.Dense(4, name="top")(kl.Flatten()(maps)))
    images = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    seen = deconv.activations(model, images, "conv")["conv"]
    weights = model.get_layer("top").kernel.numpy()[:, 1].reshape(seen.shape[1:])
    means = weights.reshape(-1, 3).mean(axis=0)
    expected = np.maximum((seen * means).sum(axis=-1), 0)
    np.testing.assert_allclose(attribution.grad_cam_map(model, images, 1)[..., 0], expected, atol=1e-6)
    found = attribution.grad_cam(model, images, 1)
    assert found.shape == images.shape
    for axis, size in enumerate(shape[:-1], 1):
        expected = np.apply_along_axis(lambda line, size=size: resized(line, size), axis, expected)
    for channel in range(2):
        np.testing.assert_allclose(found[..., channel], expected, atol=1e-5)


def resized(line, size):
    """Numbers at the middles of cells, looked up linearly at the middles of `size` cells."""
    return np.interp((np.arange(size) + 0.5) * len(line) / size - 0.5, np.arange(len(line)), line)


def test_a_unit_of_a_volume_is_named_by_as_many_numbers_as_its_map_has_axes():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((4, 4, 4, 1)), kl.Conv3D(4, 2, name="conv")])
    images = np.random.default_rng(0).normal(size=(4, 4, 4, 4, 1)).astype("float32")
    kernel = model.get_layer("conv").kernel.numpy()[..., 0, 3]
    expected = np.zeros((4, 4, 4))
    expected[1:3, 0:2, 2:4] = kernel
    found = attribution.gradient(model, images, 3, "conv", unit=(1, 0, 2))
    np.testing.assert_allclose(found[..., 0], np.broadcast_to(expected, (4, 4, 4, 4)), atol=1e-6)
    strongest = attribution.gradient(model, images, 3, "conv")
    maps = deconv.activations(model, images, "conv")["conv"][..., 3]
    for number in range(4):
        place = np.unravel_index(maps[number].argmax(), (3, 3, 3))
        alone = attribution.gradient(model, images[number : number + 1], 3, "conv", unit=place)
        np.testing.assert_array_equal(strongest[number], alone[0])
    with pytest.raises(ValueError, match="position of 3 ints"):
        attribution.gradient(model, images, 3, "conv", unit=(1, 0))


def test_the_place_of_a_unit_in_a_sequence_is_one_number_or_a_row_of_its_own():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((6, 2)), kl.Conv1D(3, 2, name="conv")])
    images = np.zeros((2, 6, 2), "float32")
    expected = np.zeros((6, 2))
    expected[4:6] = model.get_layer("conv").kernel.numpy()[..., 1]
    for unit in ((4,), (0, 4)):
        found = attribution.gradient(model, images, 1, "conv", unit=unit)
        np.testing.assert_allclose(found, np.stack([expected] * 2), atol=1e-6)


GREY_MODEL = {}


def refusals():
    model = GREY_MODEL.setdefault("it", reshaped((9, 8))[0])
    flat = GREY_MODEL.setdefault("flat", reshaped((72,))[0])
    images = np.zeros((2, 9, 8), "float32")
    net = deconv.Deconvnet(model)
    return {
        "visualize": lambda: deconv.visualize(model, "conv", [0], steps=1),
        "controls": lambda: deconv.controls(model, images, "conv"),
        "cascade": lambda: deconv.cascade(model, images, "conv", [0, 0], [[0, 0]] * 2),
        "project_units with patches=True": lambda: net.project_units(images, "conv", [0, 1], patches=True),
        "grad_cam": lambda: attribution.grad_cam(flat, np.zeros((2, 72), "float32"), 1),
    }


@pytest.mark.parametrize("name", ["visualize", "controls", "cascade", "project_units with patches=True", "grad_cam"])
def test_what_needs_images_with_channels_says_so_and_what_came(name):
    with pytest.raises(ValueError, match=r"'sequential.*' takes (inputs|images) of shape \((9, 8|72,)\)") as refusal:
        refusals()[name]()
    assert str(refusal.value).startswith(name)
