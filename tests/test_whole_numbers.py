"""Models that take whole numbers, bfloat16 and float16 as they are: nothing wraps, and derivatives are right."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl

import deconv
from deconv import attribution
from deconv.imaging.rectangles import hide
from deconv.validation import check_images

QUICK = {"steps": 4, "random_orders": 2, "runs": 1}


def classifier(dtype, start=None):
    """A small network with its scaling inside; the same weights for every dtype."""
    keras.utils.set_random_seed(0)
    chain = [
        start or kl.Rescaling(1 / 255),
        kl.Conv2D(4, 3, activation="relu", name="conv"),
        kl.MaxPooling2D(name="pool"),
        kl.Flatten(),
        kl.Dense(3, activation="softmax", name="top"),
    ]
    return keras.Sequential([keras.Input((8, 7, 2), dtype=dtype), *chain])


@pytest.fixture(scope="module")
def models():
    return {dtype: classifier(dtype) for dtype in ("uint8", "uint16", "int32", "float32")}


def pixels(dtype="uint8", n=3):
    return np.random.default_rng(1).integers(0, 256, (n, 8, 7, 2)).astype(dtype)


CALLS = {
    "project": lambda m, x: deconv.Deconvnet(m).project(x, "pool", 1),
    "project_units": lambda m, x: deconv.Deconvnet(m).project_units(x, "conv", [0, 1, 2]),
    "verify": lambda m, x: deconv.verify(m, "top", x, show=False)[3],
    "controls": lambda m, x: list(deconv.controls(m, x, "conv", randomise=False).pictures.values()),
    "cascade": lambda m, x: list(
        deconv.cascade(m, x, "conv", [0, 1, 2], [[1, 2]] * 3, methods=["gradient"]).likeness["gradient"].values()
    ),
    "occlusion_maps": lambda m, x: deconv.occlusion_maps(m, x[0], 1, size=3, fill=7).probability,
    "perturbation_curves": lambda m, x: deconv.perturbation_curves(
        m, x[0], {"a": x[0, ..., 0]}, 1, fill=[255, 3], start=9, steps=5
    )[:3],
    "correspondence": lambda m, x: deconv.correspondence(m, x, {"a": [[0, 0, 3, 3]] * 3}, ["conv"], fill=200),
    "health": lambda m, x: deconv.health(m, x)["conv"].activity.mean,
    "top_activations": lambda m, x: deconv.top_activations(m, x, ["conv"], 2)["conv"],
    "compare_pooling": lambda m, x: deconv.compare_pooling(m, x, "pool", fill=255)[3:],
    "visualize": lambda m, x: deconv.visualize(m, "conv", [0], steps=2, progress=False).images,
    "explain": lambda m, x: deconv.explain(m, x[0], 1, methods=["gradient", "occlusion"], fill=9, start=0, **QUICK)[4],
    **{name: lambda m, x, method=method: method(m, x, 1) for name, method in attribution.METHODS.items()},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_a_model_of_uint8_gives_what_the_same_model_of_floats_gives(models, name):
    found = keras.tree.flatten(CALLS[name](models["uint8"], pixels()))
    expected = keras.tree.flatten(CALLS[name](models["float32"], pixels("float32")))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, str):
            assert one == other
        else:
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_other_whole_numbers_are_explained_alike(models, dtype):
    expected = attribution.integrated_gradients(models["float32"], pixels("float32"), 1, baseline=[3, 9])
    found = attribution.integrated_gradients(models[dtype], pixels(dtype), 1, baseline=[3, 9])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_the_slope_by_a_pixel_of_whole_numbers_is_worked_out_by_hand():
    image = keras.Input((2, 2, 1), dtype="uint8")
    model = keras.Model(image, kl.Dense(1, name="sum")(kl.Flatten()(kl.Rescaling(0.5, offset=3.0)(image))))
    model.get_layer("sum").set_weights([np.array([[1.0], [2], [-4], [8]]), np.array([7.0])])
    given = np.array([[[[200], [3]], [[0], [255]]]], "uint8")
    slopes = np.array([0.5, 1, -2, 4]).reshape(1, 2, 2, 1)
    np.testing.assert_allclose(attribution.gradient(model, given), slopes)
    np.testing.assert_allclose(attribution.input_x_gradient(model, given), slopes * given)
    np.testing.assert_allclose(attribution.integrated_gradients(model, given, baseline=255), slopes * (given - 255.0))
    noisy = attribution.smooth_grad(model, given, samples=3, noise=0.3)
    np.testing.assert_allclose(noisy, slopes, rtol=1e-6)


@pytest.mark.parametrize(
    ("fill", "received"), [(-1, "-1"), (300, "300"), ([0, 256], "256"), (0.5, "0.5"), (2.0**63, "9.2")]
)
def test_a_fill_that_does_not_fit_is_refused_and_never_wraps(models, fill, received):
    model, x = models["uint8"], pixels()
    calls = [
        lambda: deconv.occlusion_maps(model, x[0], 1, size=3, fill=fill),
        lambda: deconv.perturbation_curves(model, x[0], {"a": x[0, ..., 0]}, 1, fill=fill),
        lambda: deconv.explain(model, x[0], 1, "conv", ["occlusion"], fill=fill, **QUICK),
        lambda: deconv.correspondence(model, x, {"a": [[0, 0, 3, 3]] * 3}, ["conv"], fill=fill),
        lambda: deconv.compare_pooling(model, x, "pool", fill=fill),
        lambda: hide(x, [[0, 0, 3, 3]] * 3, fill),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"fill must be whole numbers from 0 to 255.*Round them") as refusal:
            call()
        assert f"received {received}" in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "dtype", "message"),
    [
        (np.full((1, 2), 256, "uint16"), "uint8", "from 0 to 255 .*received 256"),
        (np.full((1, 2), -1, "int64"), "uint16", "from 0 to 65535 .*received -1"),
        (np.full((1, 2), 2**31, "int64"), "int32", "received 2147483648"),
        (np.full((1, 2), 2.0**63), "int64", "received 9.2"),
        (np.full((1, 2), 1.5), "uint8", "received 1.5"),
        (np.full((1, 2), np.nan), "uint8", "received nan"),
        (np.full((1, 2), np.inf), "int32", "received inf"),
        (np.full((1, 2), 2), "bool", "from 0 to 1 .*received 2"),
        (np.full((1, 2), 3), "float32", "must be floating point.*int64"),
        (np.full((1, 2), True), "bfloat16", "must be floating point.*bool"),
        ([[1.0], [1.0, 2.0]], "float32", "images must be an array of numbers"),
        ([["a", "b"]], "float32", "images must be an array of numbers"),
        (tf.ragged.constant([[1.0], [1.0, 2.0]]), "float32", "images must be an array of numbers"),
    ],
)
def test_images_that_a_dtype_cannot_hold_are_refused(given, dtype, message):
    with pytest.raises(ValueError, match=message):
        check_images(given, (2,), dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64"])
def test_whole_numbers_are_taken_from_any_dtype_that_holds_them_exactly(dtype):
    for given in (np.array([[0, 7]]), np.array([[0.0, 7.0]], "float16"), np.array([[0, 7]], "uint16")):
        taken = check_images(given, (2,), dtype)
        assert taken.dtype == dtype and taken.tolist() == [[0, 7]]
    assert check_images(np.array([[True, False]]), (2,), "bool").tolist() == [[True, False]]
    assert check_images(np.array([[1, 0]]), (2,), "bool").dtype == bool


def test_a_blurred_start_of_whole_numbers_is_rounded_not_cut_off(models):
    given = np.full((8, 7, 2), 3, "uint8")
    given[:, 3:] = 4
    found = deconv.perturbation_curves(models["uint8"], given, {"a": given[..., 0]}, 1, steps=2)
    from deconv.imaging.gaussian_blur import blurred

    start = np.rint(blurred(given.astype("float64"), 0.7))
    expected = models["float32"].predict(start[None].astype("float32"), verbose=0)[0, 1]
    assert found.insertion["a"][0] == pytest.approx(float(expected), rel=1e-5)
    assert start.mean() > np.floor(blurred(given.astype("float64"), 0.7)).mean()


def embedded():
    image = keras.Input((4, 4, 1), dtype="uint8", name="words")
    return keras.Model(image, kl.Dense(2, name="top")(kl.Flatten()(kl.Embedding(256, 3)(image))), name="embedded")


def wrapping():
    image = keras.Input((4, 4, 1), dtype="uint8")
    return keras.Model(image, kl.Dense(2, name="top")(kl.Flatten()(kl.Rescaling(1.0)(image + image))), name="wraps")


@pytest.mark.parametrize("make", [embedded, wrapping])
def test_whole_numbers_that_are_computed_with_as_such_have_no_derivative_and_that_is_said(make):
    model = make()
    given = np.full((1, 4, 4, 1), 200, "uint8")
    with pytest.raises(ValueError, match=f"Model '{model.name}' .*no gradient with respect to them"):
        attribution.gradient(model, given, 1)
    found = deconv.explain(model, given[0], 1, **QUICK)  # what needs none is there
    assert list(found.maps)[-1] == "occlusion" and "no gradient" in found.left_out["gradient"]
    assert found.curves.score == pytest.approx(float(model.predict(given, verbose=0)[0, 1]), rel=1e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_floating_point_is_floating_point(dtype):
    keras.utils.set_random_seed(0)
    image = keras.Input((4, 3, 2), dtype=dtype)
    model = keras.Model(image, kl.Dense(2, dtype=dtype, name="top")(kl.Flatten(dtype=dtype)(image)))
    weights = model.get_layer("top").kernel.numpy().astype("float32").T.reshape(2, 4, 3, 2)
    given = np.random.default_rng(0).normal(size=(4, 4, 3, 2)).astype("float32")
    for method in (attribution.gradient, attribution.smooth_grad, attribution.guided_backprop):
        found = method(model, given, 1)
        assert found.dtype == dtype and found.shape == given.shape
        np.testing.assert_allclose(found.astype("float32"), np.stack([weights[1]] * 4), rtol=0.02, atol=1e-3)
    found = attribution.integrated_gradients(model, given, 1, tolerance=None).astype("float32")
    np.testing.assert_allclose(found, weights[1] * given, rtol=0.03, atol=1e-3)
    assert check_images(given[0, 0].astype(dtype), (2,), "float32").dtype == "float32"
    assert check_images(given[0, 0], (2,), "float8_e4m3fn").dtype.name == "float8_e4m3fn"
    assert deconv.transform(given.astype(dtype), "translation", [1]).dtype == dtype
