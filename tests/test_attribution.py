"""Gradients under three rules of the rectifier, Grad-CAM, and what may be explained."""

import gc
import inspect
import weakref

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import layers as kl
from reference import activation_of, calls_of, linear_part, rectify
from specimens import LAYERS, SPECIMENS, fill, images

import deconv
from deconv import attribution
from deconv.attribution.targets import chosen
from deconv.graph import modified_gradients
from deconv.plotting.attribution import attribution_sheet

matplotlib.use("Agg")

PASSED = {
    "gradient": lambda signal, seen: signal * (seen > 0),
    "deconvnet": lambda signal, seen: signal * (signal > 0),
    "guided_backprop": lambda signal, seen: signal * (seen > 0) * (signal > 0),
}
"""What a rectifier passes down, of the signal from above and what it saw itself."""


SHARED = lambda name: SPECIMENS[name]()  # noqa: E731 -- built once, and again if a test has changed it
"""Specimens that no test changes."""

FEW = {"smooth_grad": {"samples": 3}, "integrated_gradients": {"steps": 4, "tolerance": None}}
"""Options with which averages of gradients are quick."""


def twin(model, pixels, layer, signal, passed):
    """A signal from what `layer` puts out before its activation, down to the pixels, by loops over positions."""
    calls, outputs, seen, ways_down = calls_of(model), [np.asarray(pixels, float)], [None], [None]
    for _, called, sources in calls[1:]:
        before, way_down = linear_part(called, [outputs[source] for source in sources], "sum")
        outputs.append(rectify(before) if activation_of(called) == "relu" else before)
        seen.append(before)
        ways_down.append(way_down)
    top = [path for path, _, _ in calls].index(layer)
    signals = {top: np.asarray(signal, float)}
    for place in range(top, 0, -1):
        if place in signals:
            _, called, sources = calls[place]
            below = signals[place]
            if place != top and activation_of(called) == "relu":
                below = passed(below, seen[place])
            for source, part in zip(sources, ways_down[place](below), strict=True):
                signals[source] = signals.get(source, 0.0) + part
    return signals[0]


def network(*stack, shape):
    """A Sequential of a few layers; weights are given afterwards."""
    return keras.Sequential([keras.Input(shape, name="image"), *stack])


@pytest.mark.parametrize("name", ["overlapping", "nested", "alexnet"])
def test_the_gradient_is_the_slope_that_small_steps_measure(name):
    # Forks, strides, groups and contrast normalisation; the value is asked of Keras, in the model's own output.
    model = SPECIMENS[name]("float64")
    pixels = 2 * images(model, 2, seed=3)
    asked = chosen(model, pixels)
    value = np.sum(model(pixels).numpy() * asked.signal, axis=tuple(range(1, asked.signal.ndim)))
    np.testing.assert_allclose(value, asked.values, rtol=1e-12)  # so the last activation, if any, is awake
    slopes = attribution.gradient(model, pixels, asked.targets)
    ways = np.random.default_rng(0).standard_normal((12, *pixels.shape))
    ends = np.stack([pixels + 1e-7 * ways, pixels - 1e-7 * ways]).reshape(-1, *pixels.shape[1:])
    found = model(ends).numpy().reshape(2, 12, *asked.signal.shape) * asked.signal
    measured = -np.diff(found.reshape(2, 12, -1).sum(axis=-1), axis=0)[0] / 2e-7
    np.testing.assert_allclose((slopes * ways).reshape(12, -1).sum(axis=1), measured, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet", "same", "branching"])
def test_the_three_rules_of_a_rectifier_are_those_of_the_slow_twin(name):
    model, layer = SPECIMENS[name]("float64"), LAYERS[name]
    pixels = images(model, 2)
    signal = chosen(model, pixels, layer=layer).signal
    found = {}
    for method, passed in PASSED.items():
        found[method] = getattr(attribution, method)(model, pixels, layer=layer)
        expected = twin(model, pixels, layer, signal, passed)
        np.testing.assert_allclose(found[method], expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    assert not np.allclose(found["gradient"], found["deconvnet"])
    assert not np.allclose(found["guided_backprop"], found["deconvnet"])


@pytest.mark.parametrize(("name", "unit"), [("overlapping", "max"), ("alexnet", "max"), ("overlapping", "map")])
def test_the_deconvnet_as_a_gradient_is_the_projection_through_switches(name, unit):
    # Windows that share maxima, and contrast normalisation, which both pass over.
    model, layer = SHARED(name), LAYERS[name]
    pixels = images(model, 3)
    channel = int(chosen(model, pixels, layer=layer).targets[0])
    awake = pixels[chosen(model, pixels, channel, layer).values > 0]
    assert len(awake)
    projected = deconv.Deconvnet(model).project(awake, layer, channel, unit, start="one")
    found = attribution.deconvnet(model, awake, channel, layer, unit=unit)
    np.testing.assert_allclose(found, projected, rtol=0, atol=1e-6 * np.abs(projected).max())


def two_rectifiers():
    """Pixels x of a 1x4 image through relu(2x - 1) and a dense unit with weights 3, -4, 5, -6."""
    model = network(kl.Conv2D(1, 1, activation="relu", name="conv"), kl.Flatten(), kl.Dense(1), shape=(1, 4, 1))
    model.set_weights([np.full((1, 1, 1, 1), 2.0), np.array([-1.0]), np.array([[3.0], [-4], [5], [-6]]), np.zeros(1)])
    return model


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("gradient", [6, -8, 0, 0]),  # where 2x > 1
        ("deconvnet", [6, 0, 10, 0]),  # where the weight is above zero
        ("guided_backprop", [6, 0, 0, 0]),  # where both are
        ("input_x_gradient", [6 * 1.0, -8 * 0.75, 0, 0]),
    ],
)
def test_one_hidden_layer_by_hand(method, expected):
    pixels = np.array([1, 0.75, 0.25, 0], np.float32).reshape(1, 1, 4, 1)
    found = getattr(attribution, method)(two_rectifiers(), pixels)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-6)


def test_input_x_gradient_sums_to_the_unit_where_there_are_no_biases():
    model = SPECIMENS["lenet"]("float64")
    for layer in model.layers:
        if layer.weights:
            layer.bias.assign(np.zeros(layer.bias.shape))
    pixels = images(model, 3)
    found = attribution.input_x_gradient(model, pixels, [1, 5, 7])
    logits = chosen(model, pixels, [1, 5, 7]).values
    np.testing.assert_allclose(found.sum(axis=(1, 2, 3)), logits, rtol=1e-12)


def test_a_class_is_explained_before_its_softmax_whether_it_is_a_layer_or_not():
    fused = SHARED("lenet")
    pixels = images(fused)
    penultimate = fused.get_layer("dense2").output
    plain = kl.Dense(10, name="scores")
    apart = keras.Model(fused.inputs, kl.Softmax()(plain(penultimate)))
    plain.set_weights(fused.get_layer("predictions").get_weights())
    scores = keras.Model(fused.inputs, plain.output)
    expected = attribution.gradient(scores, pixels, 4)
    for model in (fused, apart):
        np.testing.assert_allclose(attribution.gradient(model, pixels, 4), expected, rtol=1e-6, atol=1e-7)


def test_a_target_may_be_said_in_five_ways():
    model = SHARED("lenet")
    pixels = images(model)
    strongest = model.predict(pixels, verbose=0).argmax(axis=1)
    expected = chosen(model, pixels)
    assert expected.targets.tolist() == strongest.tolist()
    for target in (strongest, strongest.tolist(), np.eye(10)[strongest], strongest - 10):
        found = chosen(model, pixels, target)
        assert found.targets.tolist() == strongest.tolist() and np.array_equal(found.values, expected.values)
        assert np.array_equal(found.signal, np.eye(10, dtype="float32")[strongest])
    assert chosen(model, pixels, -1).targets.tolist() == [9, 9, 9]


def test_units_of_a_hidden_layer_by_hand():
    # Two maps, 2x - 1 and -x, of a 2x2 image; the rectifier, which silences the second, is not looked at.
    model = network(kl.Conv2D(2, 1, activation="relu", name="conv"), shape=(2, 2, 1))
    model.set_weights([np.array([2.0, -1.0]).reshape(1, 1, 1, 2), np.array([-1.0, 0.0])])
    pixels = np.array([[1, 2], [5, 3]], np.float32).reshape(1, 2, 2, 1)
    for (target, unit), (place, slope, value) in {
        (0, "max"): ((1, 0), 2, 9),
        (1, "max"): ((0, 0), -1, -1),
        (1, (1, 1)): ((1, 1), -1, -3),
        (None, "max"): ((1, 0), 2, 9),
        (None, (0, 0)): ((0, 0), 2, 1),
    }.items():
        slopes = attribution.gradient(model, pixels, target, "conv", unit=unit)
        expected = np.zeros((1, 2, 2, 1))
        expected[0, place[0], place[1], 0] = slope
        assert np.array_equal(slopes, expected)
        assert chosen(model, pixels, target, "conv", unit).values == [value]
    assert np.array_equal(attribution.gradient(model, pixels, 1, 0, unit="map"), np.full((1, 2, 2, 1), -1.0))
    assert chosen(model, pixels, 0, "conv", "map").values == [1 + 3 + 9 + 5]


def test_any_layer_can_be_explained_inside_a_nested_model_or_a_pool():
    model = SPECIMENS["nested"]("float64")
    pixels = images(model, 2)
    for layer in ("base/conv1", "base/block/pool", "pool"):
        asked = chosen(model, pixels, 2, layer)
        found = attribution.gradient(model, pixels, 2, layer)
        expected = twin(model, pixels, layer, asked.signal, PASSED["gradient"])
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"target": 10}, "one of 0 to 9, the channels of layer 'predictions'; received 10"),
        ({"target": [0, -11, 3]}, "received -11"),
        ({"target": [1, 2]}, r"one for each image \(a sequence of 3\), one-hot rows.* received \[1, 2\]"),
        ({"target": 1.0}, "received 1.0"),
        ({"target": True}, "received True"),
        ({"target": np.ones((3, 10))}, "with a single one at a channel"),
        ({"target": np.eye(9)[:3]}, r"shape \(3, 10\).*received shape \(3, 9\)"),
        ({"target": 0.5 * np.eye(10)[:3]}, "one-hot"),
        ({"layer": "conv3"}, "no layer 'conv3'. Did you mean"),
        ({"layer": "conv2", "unit": (10, 0)}, "rows 0 to 9"),
        ({"layer": "conv2", "unit": "strongest"}, "unit must be 'max', 'map' or a position"),
        ({"images": np.zeros((28, 28, 1), "float32")}, r"Pass image\[None\]"),
        ({"images": np.zeros((1, 28, 28, 1), "uint8")}, "floating point"),
        ({"images": np.full((1, 28, 28, 1), np.nan, "float32")}, "image 0 holds NaN"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"model": np.zeros(3)}, "model must be a keras.Model"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_the_way_out(wrong, message):
    model = SHARED("lenet")
    with pytest.raises(ValueError, match=message):
        attribution.gradient(**{"model": model, "images": images(model), **wrong})


class Counting(kl.Layer):
    """Lets maps pass, and counts how often Python is asked to."""

    calls = 0

    def call(self, maps):
        Counting.calls += 1
        return maps + 0.0


def counted(model_seed=1):
    """A small network with a `Counting` inside."""
    stack = kl.Conv2D(3, 3, activation="relu", name="conv"), Counting(), kl.Flatten(), kl.Dense(2)
    return fill(network(*stack, shape=(6, 5, 1)), model_seed)


@pytest.mark.slow
def test_every_method_is_compiled_once_however_many_batches_and_calls_there_are():
    pixels = images(counted(), 7)
    for name in sorted(set(attribution.METHODS) - {"lrp"}):  # which has no rule for Counting
        method, whole, counts = attribution.METHODS[name], [], []
        for batch_sizes in ((7,), (2, 3)):
            model, Counting.calls = counted(), 0
            whole += [method(model, pixels, 1, batch_size=size, **FEW.get(name, {})) for size in batch_sizes]
            counts.append(Counting.calls)
        assert counts[0] == counts[1] > 0, name
        np.testing.assert_allclose(whole[1:], [whole[0]] * 2, rtol=0, atol=1e-6, err_msg=name)


def test_what_is_compiled_follows_the_weights_and_goes_with_the_model():
    model, other = counted(1), counted(2)
    pixels = images(model, 2)
    first, expected = attribution.gradient(model, pixels, 0), attribution.gradient(other, pixels, 0)
    model.set_weights(other.get_weights())
    found = attribution.gradient(model, pixels, 0)
    assert np.array_equal(found, expected) and not np.allclose(found, first)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_all_methods_are_called_alike_and_give_signed_maps_of_the_image():
    model = SHARED("overlapping")
    pixels = images(model, 2)
    for name, method in attribution.METHODS.items():
        arguments = inspect.signature(method).parameters
        assert list(arguments)[:4] == ["model", "images", "target", "layer"], name
        assert {"unit", "batch_size", "input_shape"} <= set(arguments), name
        found = method(model, pixels, 2, "conv3", unit=(0, 0), **FEW.get(name, {}))
        assert found.shape == pixels.shape and found.dtype == np.float32 and found.any(), name
        assert name == "grad_cam" or (found < 0).any(), name


def test_a_model_that_leaves_its_size_open_is_told_one():
    image = keras.Input((None, None, 3))
    model = fill(keras.Model(image, kl.GlobalAveragePooling2D()(kl.Conv2D(4, 3, activation="relu")(image))), 2)
    pixels = np.random.default_rng(0).standard_normal((2, 9, 7, 3)).astype("float32")
    found = attribution.gradient(model, pixels, 1, input_shape=(9, 7, 3))
    kernel = model.get_weights()[0]
    seen = model.layers[1](pixels).numpy()[..., 1]
    expected = np.zeros(pixels.shape)
    for row in range(7):
        for column in range(5):
            awake = (seen[:, row, column] > 0)[:, None, None, None]
            expected[:, row : row + 3, column : column + 3] += awake * kernel[..., 1] / 35
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(ValueError, match="has an undefined input size"):
        attribution.gradient(model, pixels, 1)


def test_channel_max_by_hand():
    maps = np.array([[1.0, -3.0, 2.0], [0.5, 0.25, -0.1]]).reshape(1, 2, 1, 3)
    assert attribution.channel_max(maps).ravel().tolist() == [3.0, 0.5]


# Grad-CAM


def cam_network(shape=(2, 2, 1), pool=1):
    """Maps relu(x) and relu(-x), pooled, and one score with the given weights."""
    model = network(
        kl.Conv2D(2, 1, activation="relu", name="conv"),
        kl.MaxPooling2D(pool, name="pool"),
        kl.Flatten(),
        kl.Dense(1, name="score"),
        shape=shape,
    )
    model.layers[0].set_weights([np.array([1.0, -1.0]).reshape(1, 1, 1, 2), np.zeros(2)])
    return model


def test_grad_cam_by_hand():
    # Weights of the four cells are 1, 2, 3, 4 on relu(x), whose awake cells are two, and 1, 1, -7, 1 on relu(-x).
    model = cam_network()
    kernel = np.array([[1, 1], [2, 1], [3, -7], [4, 1]], float)
    model.layers[-1].set_weights([kernel.reshape(8, 1), np.zeros(1)])
    pixels = np.array([[2, -3], [4, -5]], np.float32).reshape(1, 2, 2, 1)
    weights = kernel.mean(axis=0)  # 2.5 and -1: the pool of 1x1 passes all, whatever the maps are
    signed = np.array([[2 * weights[0], 3 * weights[1]], [4 * weights[0], 5 * weights[1]]]).reshape(1, 2, 2, 1)
    assert weights.tolist() == [2.5, -1.0]
    assert np.array_equal(attribution.grad_cam_map(model, pixels, rectify=False), signed)
    assert attribution.grad_cam_map(model, pixels).ravel().tolist() == [5, 0, 10, 0]
    assert np.array_equal(attribution.grad_cam(model, pixels), np.maximum(signed, 0))


def test_grad_cam_is_laid_over_the_image_cell_by_cell_and_has_no_colour():
    image = keras.Input((4, 8, 3))
    maps = kl.Conv2D(1, (4, 4), strides=4, use_bias=False, name="conv")(image)
    model = keras.Model(image, kl.GlobalAveragePooling2D()(maps))
    model.set_weights([np.full((4, 4, 3, 1), 1 / 48)])
    pixels = np.zeros((1, 4, 8, 3), np.float32)
    pixels[:, :, 4:] = 8  # cells of 0 and 8, whose gradient is 1/2 each
    assert attribution.grad_cam_map(model, pixels).ravel() == pytest.approx([0, 4])
    row = [0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4]  # the middle of a cell of 4 pixels lies between its second and third
    expected = np.broadcast_to(np.reshape(row, (1, 1, 8, 1)), pixels.shape)
    np.testing.assert_allclose(attribution.grad_cam(model, pixels), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "layer", "at"),
    [
        ("lenet", None, "conv2"),  # not the pool above it
        ("alexnet", None, "conv2"),  # nor the normalisation
        ("branching", None, "average"),  # where branches have met
        ("nested", None, "head"),
        ("nested", "base/conv2", "base/block/conv"),
    ],
)
def test_grad_cam_looks_at_the_last_layer_with_maps_of_its_own(name, layer, at):
    model = SHARED(name)
    pixels = images(model, 2)
    found = attribution.grad_cam_map(model, pixels, 0, layer, rectify=False)
    assert found.any() and np.array_equal(
        found, attribution.grad_cam_map(model, pixels, 0, layer, at=at, rectify=False)
    )
    maps = deconv.activations(model, pixels, at)[at]
    assert found.shape == (*maps.shape[:3], 1)


def test_grad_cam_needs_maps_below_what_it_explains():
    model = SHARED("lenet")
    pixels = images(model, 1)
    with pytest.raises(ValueError, match="no layer with activation maps below layer 'conv1'"):
        attribution.grad_cam(model, pixels, 0, "conv1")
    with pytest.raises(
        ValueError, match="at must be a layer with maps below layer 'conv2': conv1, pool1; received 'conv2'"
    ):
        attribution.grad_cam(model, pixels, 0, "conv2", at="conv2")
    with pytest.raises(ValueError, match="conv1, pool1, conv2, pool2; received 'dense1'"):
        attribution.grad_cam(model, pixels, at="dense1")


def test_the_sheet_shows_each_image_and_its_maps_in_the_order_and_on_the_scale_given():
    rng = np.random.default_rng(0)
    pictures, maps = rng.random((2, 5, 4, 1)), {name: rng.random((2, 5, 4, 1)) for name in ("lrp", "guided_backprop")}
    fig = attribution_sheet(pictures, maps, ["three", "f$ur"], "title", seconds={"lrp": 12.3, "guided_backprop": 0.456})
    shown = [ax.images[0] for ax in fig.axes if ax.images]
    expected = [side[number, ..., 0] for number in range(2) for side in (pictures, *maps.values())]
    assert all(np.array_equal(drawn.get_array(), tile) for drawn, tile in zip(shown, expected, strict=True))
    assert {drawn.get_clim() for drawn in shown} == {(0, 1)}
    assert [ax.get_title() for ax in fig.axes[:3]] == ["image", "LRP\n12 s", "guided backprop\n0.46 s"]
    assert [fig.axes[place].get_ylabel() for place in (0, 3)] == ["three", "f$ur"]
    one = attribution_sheet(pictures[:1], {str(place): pictures[:1] for place in range(7)}, ["three"], "title")
    assert [len({ax.get_position().x0 for ax in one.axes[:8]}), len(one.axes)] == [4, 9]  # two rows of four, a scale
    plt.close("all")


def test_guided_backprop_takes_the_own_derivative_of_contrast_normalisation_and_the_deconvnet_passes_it():
    model = SPECIMENS["alexnet"]("float64")
    pixels = images(model, 2)
    about = chosen(model, pixels, 1, LAYERS["alexnet"])
    for method, rule, passes in (("guided_backprop", "guided", False), ("deconvnet", "deconvnet", True)):
        found = attribution.METHODS[method](model, pixels, 1, LAYERS["alexnet"])
        own, other = (
            modified_gradients.gradients(about.graph, modified_gradients.RECTIFIERS[rule], norms_pass=norms)(
                pixels, about.signal
            )[1]
            for norms in (passes, not passes)
        )
        np.testing.assert_allclose(found, own, rtol=0, atol=1e-12)
        assert np.abs(found - other).max() > 1e-3 * np.abs(found).max()
