"""All methods about one unit: a linear model on which they are known, and each against its own door."""

import re
import time

import keras
import matplotlib
import numpy as np
import pytest
from keras import layers as kl
from specimens import SPECIMENS, images

matplotlib.use("Agg")

import deconv
from deconv import attribution
from deconv.evaluation.method_comparison import explain, importance
from deconv.plotting.explain import explanation_sheet

QUICK = {"steps": 4, "random_orders": 2, "runs": 1}


def linear(height=5, width=4, channels=3):
    """`(model, weights (height, width, channels, classes))` of a model that weighs every pixel."""
    image = keras.Input((height, width, channels), dtype="float64")
    vector = kl.Flatten(dtype="float64")(image)
    model = keras.Model(image, kl.Dense(3, use_bias=False, dtype="float64", name="scores")(vector))
    weights = np.random.default_rng(0).normal(size=(height, width, channels, 3))
    model.set_weights([weights.reshape(-1, 3)])
    return model, weights


def test_on_a_linear_model_every_map_is_the_weights_or_what_pixels_contribute():
    model, weights = linear()
    image = np.random.default_rng(1).normal(size=(5, 4, 3))
    found = explain(model, image, 1, fill=0.0, start=0.0, square=1, stride=1, steps=20, seed=3, runs=1)
    w = weights[..., 1]
    for method in ("gradient", "smooth_grad", "guided_backprop", "deconvnet"):
        np.testing.assert_allclose(found.maps[method], w, rtol=1e-5, atol=1e-7, err_msg=method)
    for method in ("input_x_gradient", "integrated_gradients"):
        np.testing.assert_allclose(found.maps[method], w * image, rtol=1e-5, atol=1e-7, err_msg=method)
    np.testing.assert_allclose(found.maps["occlusion"][..., 0], (w * image).sum(axis=-1), rtol=1e-5, atol=1e-7)
    best = (w * image).sum() - np.append(0, np.cumsum(np.sort((w * image).sum(axis=-1).ravel())[::-1]))
    for method in ("input_x_gradient", "integrated_gradients", "occlusion"):
        np.testing.assert_allclose(found.deletion[method], best, rtol=1e-5, atol=1e-6)
    for method in ("gradient", "deconvnet", "edges", "random"):
        assert found.curves.areas[method][0] > found.curves.areas["occlusion"][0]
    assert (found.layer, found.target, found.unit) == ("scores", 1, None)
    assert found.curves.score == pytest.approx((w * image).sum())
    assert "grad_cam" in found.left_out and "grad_cam" not in found.maps  # nothing here has a place in a map


@pytest.mark.slow
@pytest.mark.parametrize(("layer", "unit"), [("conv2", "max"), ("conv2", (1, 3)), ("conv2", "map"), (None, "max")])
def test_every_method_explains_the_unit_that_it_would_explain_alone(layer, unit):
    model = SPECIMENS["lenet"]()
    image = images(model, 1)[0]
    methods = ["gradient", "integrated_gradients", "guided_backprop", "deconvnet", "grad_cam"]
    before = model.get_weights()
    found = explain(model, image, 4, layer, methods, unit=unit, **QUICK)
    assert list(found.maps) == methods and found.left_out == {}
    for method in ("gradient", "integrated_gradients", "guided_backprop", "grad_cam"):
        usual = {"most_steps": 128} if method == "integrated_gradients" else {}
        expected = attribution.METHODS[method](model, image[None], 4, layer, unit=unit, **usual)[0]
        np.testing.assert_allclose(found.maps[method], expected, rtol=1e-4, atol=1e-6, err_msg=method)
    name = "predictions" if layer is None else layer
    expected = deconv.Deconvnet(model).project(image[None], name, 4, unit, start="one")[0]
    np.testing.assert_allclose(found.maps["deconvnet"], expected, rtol=1e-4, atol=1e-6)
    maps = deconv.activations(model, image[None], [name])[name][0, ..., 4]
    score = {"max": maps.max(), "map": maps.sum()}[unit] if isinstance(unit, str) else maps[unit]
    assert found.curves.score == pytest.approx(float(score), rel=1e-5)
    place = None if layer is None else np.unravel_index(maps.argmax(), maps.shape) if unit == "max" else unit
    assert found.unit == place
    for weights, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, kept)


def test_the_pixels_bounds_of_lrp_are_black_and_white_as_the_network_sees_them():
    model, _ = linear(channels=1)
    pixels = np.random.default_rng(1).integers(0, 256, (5, 4, 1)).astype(np.uint8)

    def preprocess(batch):
        return 1 - np.asarray(batch, np.float64) / 100  # white is below black

    found = explain(model, pixels, 1, methods=["lrp"], preprocess=preprocess, **QUICK)
    prepared = preprocess(pixels[None])
    expected = attribution.lrp(model, prepared, 1, bounds=(1 - 2.55, 1.0))[0]
    np.testing.assert_allclose(found.maps["lrp"], expected, rtol=1e-5)
    assert np.abs(expected - attribution.lrp(model, prepared, 1)[0]).max() > 1e-3


def test_occlusion_of_a_hidden_unit_is_that_of_a_slow_twin():
    model = SPECIMENS["overlapping"]("float64")
    pixels = np.random.default_rng(0).integers(0, 256, (23, 19, 3)).astype(np.uint8)
    fill = [9.0, 99, 199]

    def preprocess(batch):
        return np.asarray(batch, np.float64) / 64 - 2

    settings = {"square": (6, 5), "stride": (5, 4), "fill": fill, "preprocess": preprocess, "batch_size": 7}
    found = explain(model, pixels, 2, "conv2", ["occlusion"], **settings, **QUICK)

    def unit_of(image):
        return deconv.activations(model, preprocess(image[None]), ["conv2"])["conv2"][0][(*found.unit, 2)]

    whole, total, times = unit_of(pixels), np.zeros((23, 19)), np.zeros((23, 19))
    for top in (0, 5, 10, 15, 17):
        for left in (0, 4, 8, 12, 14):
            covered = pixels.copy()
            covered[top : top + 6, left : left + 5] = fill
            total[top : top + 6, left : left + 5] += whole - unit_of(covered)
            times[top : top + 6, left : left + 5] += 1
    np.testing.assert_allclose(found.maps["occlusion"][..., 0], total / times, rtol=1e-4, atol=1e-6)
    assert np.ptp(total) > 0


def test_what_a_pixel_counts_for_by_hand():
    one = np.array([[[1.0, -3], [2, 0]]])
    assert importance(one, "gradient").tolist() == [[4, 2]]
    assert importance(one, "lrp").tolist() == [[-2, 2]]


def test_methods_of_ones_own_take_part_with_their_options_and_their_times():
    model, _ = linear()
    image, calls = np.random.default_rng(1).normal(size=(5, 4, 3)), []

    def slow_at_first(model, images, target, layer, *, unit, batch_size, input_shape, seed, times=1):
        calls.append(seed)
        time.sleep(0.3 if len(calls) == 1 else 0)
        return times * images

    methods = {"own": slow_at_first, "gradient": attribution.METHODS["gradient"]}
    found = explain(model, image, 0, None, methods, seed=7, options={"own": {"times": 3}}, **(QUICK | {"runs": 2}))
    np.testing.assert_allclose(found.maps["own"], 3 * image, rtol=1e-6)
    assert calls == [7, 7] and list(found.deletion) == ["own", "gradient", "edges", "random"]
    assert found.first_seconds["own"] > 0.3 > found.seconds["own"]


def test_what_is_random_goes_by_the_seed():
    model = SPECIMENS["sequential"]()
    image = images(model, 1)[0]
    settings = {"methods": ["smooth_grad"], "options": {"smooth_grad": {"samples": 3}}, **QUICK}
    one, same, other = (explain(model, image, 1, seed=seed, **settings) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.maps["smooth_grad"], same.maps["smooth_grad"])
    np.testing.assert_array_equal(one.deletion["random"], same.deletion["random"])
    assert np.abs(one.maps["smooth_grad"] - other.maps["smooth_grad"]).max() > 0
    assert np.abs(one.deletion["random"] - other.deletion["random"]).max() > 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"methods": ["lime"]}, "methods must be one or more of gradient, .*received 'lime'"),
        ({"methods": []}, "methods must name at least one"),
        ({"methods": ["grad_cam"]}, "grad_cam|Grad-CAM|map"),
        ({"options": {"lrp": {}}}, "options must be for the methods gradient; received options for lrp"),
        ({"image": np.zeros((1, 5, 4, 3))}, "image must have shape"),
        ({"preprocess": lambda batch: batch[:, :4]}, "images must have shape"),
        ({"target": 3}, "target must be one of"),
        ({"runs": 0}, "runs must be"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(changed, message):
    model, _ = linear()
    given = {"image": np.zeros((5, 4, 3)), "target": 0, "methods": ["gradient"], **QUICK, **changed}
    with pytest.raises(ValueError, match=message):
        explain(model, **given)


def test_a_preprocessing_that_resizes_is_refused():
    model, _ = linear()
    with pytest.raises(ValueError, match=r"changed \(10, 8\) to \(5, 4\)"):
        explain(model, np.zeros((10, 8, 3)), 0, preprocess=lambda batch: batch[:, ::2, ::2])


def test_the_sheet_tells_areas_and_times_and_draws_the_curves():
    model = SPECIMENS["sequential"]()
    found = explain(model, images(model, 1)[0], 1, methods=["gradient", "deconvnet"], **QUICK)
    fig = explanation_sheet(found, "title", score="probability of '1'")
    parts = [part for figure in fig.subfigs for part in figure.axes]
    told = {text.get_text() for ax in parts for text in ax.texts}
    for name, areas in found.curves.areas.items():
        assert {f"{area:.3f}" for area in areas} <= told, name
    assert {f"{seconds:.2f} s" for seconds in found.seconds.values()} <= told
    drawn = [line.get_ydata().tolist() for ax in parts for line in ax.lines]
    for curves in (found.deletion, found.insertion):
        for curve in curves.values():
            assert curve.tolist() in drawn


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": 3}, "methods must be names"),
        ({"methods": {"random": attribution.gradient}}, "'random' is the name of a control"),
        ({"options": [1]}, "options must be {method: {argument: value}}"),
        ({"options": {"gradient": 3}}, "options must be {method: {argument: value}}"),
        ({"preprocess": 3}, "preprocess must be a function of images, or None; received 3"),
    ],
)
def test_what_cannot_be_asked_is_refused(settings, message):
    model, _ = linear()
    with pytest.raises(ValueError, match=re.escape(message)):
        explain(model, np.ones((5, 4, 3)), 1, **{"methods": ["gradient"], **settings}, **QUICK)


def test_what_covers_and_what_is_removed_become_mean_grey_where_nothing_is_said():
    model = SPECIMENS["lenet"]("float32")
    pixels = np.random.default_rng(4).uniform(0, 255, (28, 28, 1)).astype("float32")
    for fill, preprocess in ((128.0, lambda batch: batch / 255), (pixels.mean(), None)):
        given = {"methods": ["occlusion", "gradient"], "preprocess": preprocess, **QUICK}
        found, expected = explain(model, pixels, 1, **given), explain(model, pixels, 1, fill=fill, **given)
        np.testing.assert_allclose(found.maps["occlusion"], expected.maps["occlusion"], rtol=1e-4, atol=1e-6)
        for name, curve in found.deletion.items():
            np.testing.assert_allclose(curve, expected.deletion[name], rtol=1e-3, atol=1e-5)
