"""Deletion and insertion: a linear model whose curves are sums, and a slow twin that loops over steps and pixels."""

import keras
import numpy as np
import pytest
from keras import layers as kl
from specimens import SPECIMENS, images

import deconv
from deconv.evaluation.deletion_insertion import area, perturbation_curves
from deconv.imaging.gaussian_blur import blurred


def linear(height, width, channels=1, classes=2, seed=0):
    """A model that weighs every pixel: `(model, weights (height, width, channels, classes))`."""
    image = keras.Input((height, width, channels), dtype="float64")
    vector = kl.Flatten(dtype="float64")(image)
    model = keras.Model(image, kl.Dense(classes, use_bias=False, dtype="float64", name="scores")(vector))
    weights = np.random.default_rng(seed).normal(size=(height, width, channels, classes))
    model.set_weights([weights.reshape(-1, classes)])
    return model, weights


def test_curves_of_a_linear_model_by_hand():
    # Pixels times weights are 3, -2, 10, 0.5: in that order they go 10, 3, 0.5, -2, and the score, 11.5, with them.
    model, _ = linear(2, 2)
    model.set_weights([np.array([[3, 0], [-1, 0], [2.5, 0], [0.5, 0]])])
    image = np.array([[1.0, 2], [4, 1]])[..., None]
    found = perturbation_curves(model, image, {"w x": np.array([[3, -2], [10, 0.5]])}, 0, steps=4, fill=0.0, start=0.0)
    assert found.score == 11.5 and found.target == 0
    assert found.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.deletion["w x"].tolist() == [11.5, 1.5, -1.5, -2, 0]
    assert found.insertion["w x"].tolist() == [0, 10, 13, 13.5, 11.5]
    # Trapezoids of width 1/4: (11.5 / 2 + 1.5 - 1.5 - 2 + 0) / 4 and (0 + 10 + 13 + 13.5 + 11.5 / 2) / 4.
    assert found.areas == {"w x": (0.9375, 10.5625)}


def test_on_a_linear_model_no_order_falls_faster_than_input_times_gradient_and_none_rises_faster():
    model, weights = linear(5, 4, 3)
    image = np.random.default_rng(1).normal(size=(5, 4, 3))
    fill = np.array([0.3, -0.2, 0.1])
    best = ((image - fill) * weights[..., 1]).sum(axis=-1)
    orders = np.random.default_rng(2).random((40, 5, 4))
    names = {"best": best, **{str(number): order for number, order in enumerate(orders)}}
    found = perturbation_curves(model, image, names, 1, steps=20, fill=fill, start=fill)
    for name in names:
        assert (found.deletion["best"] <= found.deletion[name] + 1e-12).all()
        assert (found.insertion["best"] >= found.insertion[name] - 1e-12).all()
    assert found.areas["best"][0] < min(found.areas[str(number)][0] for number in range(40))


def test_giving_pixels_back_is_taking_the_others_away_in_the_opposite_order():
    model = SPECIMENS["lenet"]("float64")
    image = images(model, 1)[0]
    order = np.random.default_rng(0).random((28, 28))
    found = perturbation_curves(
        model, image, {"one": order, "opposite": -order}, 3, steps=8, fill=0.25, start=0.25, batch_size=5
    )
    np.testing.assert_allclose(found.insertion["one"], found.deletion["opposite"][::-1], rtol=1e-12)
    assert np.ptp(found.insertion["one"]) > 0


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "target"), [("max", 2), ("map", 1), ((1, 0), None)])
def test_curves_are_those_of_a_slow_twin(unit, target):
    model = SPECIMENS["alexnet"]("float64")
    pixels = np.random.default_rng(0).integers(0, 256, (31, 26, 3)).astype(np.uint8)
    scores = {"noise": np.random.default_rng(1).random((31, 26))}
    fill = np.array([100.0, 128, 90])

    def preprocess(batch):
        return np.asarray(batch, np.float64)[..., ::-1] / 64 - 2

    settings = {"unit": unit, "fill": fill, "steps": 5, "batch_size": 4, "preprocess": preprocess}
    found = perturbation_curves(model, pixels, scores, target, "conv2", **settings)

    def maps_of(image):
        return deconv.activations(model, preprocess(image[None]), ["conv2"])["conv2"][0]

    whole = maps_of(pixels)
    if target is None:
        target = int(whole[1, 0].argmax())
    place = np.unravel_index(whole[..., target].argmax(), whole.shape[:2]) if unit == "max" else unit
    order = sorted(np.ndindex(31, 26), key=lambda pixel: -scores["noise"][pixel])
    soft = slow_blur(pixels.astype(np.float32))
    for step in range(6):
        count = round(31 * 26 * step / 5)
        removed, returned = pixels.astype(np.float32), soft.copy()
        for pixel in order[:count]:
            removed[pixel], returned[pixel] = fill, pixels[pixel]
        for image, curve in ((removed, found.deletion), (returned, found.insertion)):
            maps = maps_of(image)[..., target]
            expected = maps.sum() if unit == "map" else maps[place]
            np.testing.assert_allclose(curve["noise"][step], expected, rtol=1e-6, atol=1e-9)
    assert found.target == target


def slow_blur(image):
    """A Gaussian of a tenth of the shorter side, cut at four widths; beyond the border the nearest pixel goes on."""
    height, width = image.shape[:2]
    sigma = min(height, width) / 10
    field = int(np.ceil(4 * sigma))
    weights = np.exp(-(np.arange(-field, field + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    result = np.zeros(image.shape)
    for row, column in np.ndindex(height, width):
        rows = np.clip(np.arange(row - field, row + field + 1), 0, height - 1)
        columns = np.clip(np.arange(column - field, column + field + 1), 0, width - 1)
        patch = image[rows][:, columns].astype(np.float64)
        result[row, column] = (weights[:, None, None] * weights[:, None] * patch).sum(axis=(0, 1))
    return result.astype(np.float32)


def test_the_blurred_image_is_that_of_a_slow_twin_and_a_plain_one_stays_as_it_is():
    image = np.random.default_rng(0).normal(size=(23, 31, 2))
    np.testing.assert_allclose(blurred(image, 2.3), slow_blur(image), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(blurred(np.full((2, 9, 30, 3), 7.0), 1.1), 7, rtol=1e-12)


def test_several_orders_of_one_name_give_their_mean_curve():
    model, _ = linear(3, 4)
    image = np.random.default_rng(1).normal(size=(3, 4, 1))
    orders = np.random.default_rng(2).random((3, 3, 4))
    maps = {"all": orders, "a": orders[0], "b": orders[1], "c": orders[2]}
    found = perturbation_curves(model, image, maps, 0, steps=6, start=0.0)
    for curves in (found.deletion, found.insertion):
        np.testing.assert_allclose(curves["all"], (curves["a"] + curves["b"] + curves["c"]) / 3, rtol=1e-12)
        assert np.abs(curves["a"] - curves["b"]).max() > 0.01


def test_removed_pixels_become_mean_grey_where_nothing_is_said():
    model, weights = linear(3, 5, 2)
    image, order = np.random.default_rng(3).uniform(0, 1, (3, 5, 2)), np.arange(15.0).reshape(3, 5)
    found = perturbation_curves(model, image, {"any": order}, 1, steps=5)
    mean = image.mean(axis=(0, 1))
    np.testing.assert_allclose(found.deletion["any"][-1], (mean * weights[..., 1]).sum(), rtol=1e-12)
    pixels = np.round(image * 255)
    found = perturbation_curves(model, pixels, {"any": order}, 1, steps=5, preprocess=lambda batch: batch / 255.0)
    np.testing.assert_allclose(found.deletion["any"][-1], (weights[..., 1] * 128 / 255).sum(), rtol=1e-6)


def test_equal_pixels_go_in_an_order_of_the_seed_and_after_those_that_count():
    model, _ = linear(6, 6)
    model.set_weights([np.stack([np.arange(36.0), np.ones(36)], axis=1)])
    image, flat = np.ones((6, 6, 1)), np.zeros((6, 6))
    flat[5, 5] = 1
    draws = [
        perturbation_curves(model, image, {"flat": flat}, 0, steps=36, seed=seed, fill=0).deletion["flat"]
        for seed in (0, 0, 1)
    ]
    assert draws[0].tolist() == draws[1].tolist() != draws[2].tolist()
    removed = -np.diff(draws[0])  # every pixel is worth its number
    assert removed[0] == 35 and sorted(removed) == list(range(36))
    assert removed[1:].tolist() not in (list(range(35)), list(range(34, -1, -1)))


def test_area_by_hand():
    assert area(np.array([0, 0.5, 1]), np.array([1, 0.5, 0])) == 0.5
    assert area(np.array([0, 0.25, 1]), np.array([1.0, 0, 0])) == 0.125


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"importance": {}}, "at least one map"),
        ({"importance": np.zeros((4, 3))}, "importance must be a dict"),
        ({"importance": {"a": np.zeros((3, 4))}}, r"importance\['a'\] must have shape \(4, 3\)"),
        ({"importance": {"a": np.zeros((4, 3, 1))}}, "Sum the channels"),
        ({"importance": {"a": np.full((4, 3), np.nan)}}, "must be finite"),
        ({"image": np.zeros((1, 4, 3, 1))}, "image must have shape"),
        ({"start": "black"}, "start must be 'blur'"),
        ({"start": np.zeros((2, 2))}, "fill must be"),
        ({"fill": [1, 2]}, "fill must be"),
        ({"steps": 0}, "steps must be"),
        ({"target": 2}, "target must be one of"),
        ({"layer": "conv"}, "has no layer 'conv'"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(changed, message):
    model, _ = linear(4, 3)
    given = {"image": np.zeros((4, 3, 1)), "importance": {"a": np.zeros((4, 3))}, "target": 0, **changed}
    with pytest.raises(ValueError, match=message):
        perturbation_curves(model, **given)
