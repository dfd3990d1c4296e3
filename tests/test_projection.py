"""Record, select, project: one call equals many, selection equals doing it by hand, and the model stays as it was."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers as kl
from specimens import LAYERS, SPECIMENS, fill, images

import deconv

DEEPEST = [(name, LAYERS[name]) for name in SPECIMENS]


def by_hand(net, pixels, layer, place, value=None):
    """Project the entry `place` of each image's activations, one image at a time, straight through the mirror."""
    below = []
    for number in range(len(pixels)):
        record = net.record(pixels[number : number + 1], layer)
        signal = np.zeros_like(record.activations)
        signal[(0, *place[number])] = record.activations[(0, *place[number])] if value is None else value
        below.append(np.asarray(net.mirror(layer)([signal, *record.switches.values()]))[0])
    return np.array(below)


def strongest(maps, channel):
    """Where a channel is strongest in each image, first in row-major order."""
    return [(*np.unravel_index(image[..., channel].argmax(), image.shape[:-1]), channel) for image in maps]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "layer"), DEEPEST)
def test_projecting_the_strongest_unit_is_selecting_it_by_hand(name, layer):
    model = SPECIMENS[name]("float64")
    net, pixels = deconv.Deconvnet(model), images(model, 3)
    maps = net.record(pixels, layer).activations
    channel = int(maps.max(axis=tuple(range(maps.ndim - 1))).argmax())
    expected = by_hand(net, pixels, layer, strongest(maps, channel))
    found = net.project(pixels, layer, channel)
    assert np.abs(expected).max() > 0 and found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layer", ["conv2", "dense1"])
@pytest.mark.parametrize("unit", ["max", "map", "position"])
def test_many_channels_of_many_images_in_one_call_equal_one_at_a_time(layer, unit):
    model = SPECIMENS["lenet"]("float64")
    net, pixels, channels = deconv.Deconvnet(model), images(model, 5), [3, 0, -1]
    unit = unit if unit != "position" else (4, 7) if layer == "conv2" else (0, 0)
    together = net.project(pixels, layer, channels, unit, batch_size=4)
    assert together.shape == (5, 3, 28, 28, 1)
    for number, place in np.ndindex(5, 3):
        alone = net.project(pixels[number : number + 1], layer, channels[place], unit)[0]
        np.testing.assert_allclose(together[number, place], alone, rtol=0, atol=1e-12)
    for batch_size in (1, 3, 100):
        again = net.project(pixels, layer, channels, unit, batch_size=batch_size)
        np.testing.assert_allclose(again, together, rtol=0, atol=1e-12)


def test_the_last_channel_is_also_called_minus_one():
    model = SPECIMENS["same"]()
    net, pixels = deconv.Deconvnet(model), images(model, 2)
    np.testing.assert_array_equal(net.project(pixels, "conv3", -1), net.project(pixels, "conv3", 3))


def test_a_position_is_projected_in_every_image_and_its_projections_add_up_to_the_map_before_rectification():
    model = SPECIMENS["average"]("float64")  # the pools are averages: projecting conv1 is linear in its positive maps
    net, pixels = deconv.Deconvnet(model), images(model, 2)
    places = [(row, column) for row in range(15) for column in range(12)]
    np.testing.assert_allclose(
        net.project(pixels, "conv1", 1, (6, 3)),
        by_hand(net, pixels, "conv1", [(6, 3, 1)] * 2),
        rtol=0,
        atol=1e-12,
    )
    total = sum(net.project(pixels, "conv1", 1, place) for place in places)
    np.testing.assert_allclose(total, net.project(pixels, "conv1", 1, "map"), rtol=0, atol=1e-12)
    assert np.abs(total).max() > 0


def test_no_channel_means_all_as_one():
    model = SPECIMENS["overlapping"]("float64")
    net, pixels = deconv.Deconvnet(model), images(model, 3)
    maps = net.record(pixels, "conv3").activations
    places = [np.unravel_index(image.argmax(), image.shape) for image in maps]
    expected = by_hand(net, pixels, "conv3", places)
    np.testing.assert_allclose(net.project(pixels, "conv3"), expected, rtol=0, atol=1e-12)


def test_start_one_is_the_projection_divided_by_the_activation():
    model = SPECIMENS["branching"]("float64")
    net, pixels = deconv.Deconvnet(model), images(model, 3)
    peak = net.record(pixels, "conv6").activations[..., 1].max(axis=(1, 2))
    one = net.project(pixels, "conv6", 1, start="one")
    assert (peak > 0).all() and np.abs(one).max() > 0
    scaled = peak[:, None, None, None] * one
    np.testing.assert_allclose(net.project(pixels, "conv6", 1), scaled, rtol=0, atol=1e-12 * np.abs(scaled).max())


@pytest.mark.parametrize("name", ["lenet", "overlapping", "branching", "nested"])
def test_a_mirror_scales_with_its_signal_and_nothing_comes_of_nothing(name):
    model, layer = SPECIMENS[name]("float64"), LAYERS[name]
    net = deconv.Deconvnet(model)
    record = net.record(images(model, 2), layer)
    switches = list(record.switches.values())
    signal = np.random.default_rng(1).standard_normal(record.activations.shape)
    below = np.asarray(net.mirror(layer)([signal, *switches]))
    assert np.abs(below).max() > 0 and not np.any(net.mirror(layer)([0 * signal, *switches]))

    @settings(max_examples=10, deadline=None, derandomize=True)
    @given(st.floats(1e-6, 1e6))
    def scales(factor):
        found = net.mirror(layer)([factor * signal, *switches])
        np.testing.assert_allclose(found, factor * below, rtol=0, atol=1e-12 * factor * np.abs(below).max())

    scales()


def test_a_silent_channel_projects_to_nothing():
    model = SPECIMENS["lenet"]()
    conv = model.get_layer("conv2")
    conv.set_weights([conv.kernel.numpy(), np.full(16, -1e3, "float32")])
    assert not deconv.Deconvnet(model).project(images(model), "conv2", [0, 5], "max").any()


def test_project_units_is_project_with_a_channel_and_a_position_for_each_image():
    model = SPECIMENS["same"]("float64")
    net, pixels = deconv.Deconvnet(model), images(model, 5)
    channels, positions = [0, 3, 1, 3, 2], [(0, 0), (1, 2), (0, 1), (2, 0), (1, 1)]
    for places in (positions, None):
        found = net.project_units(pixels, "conv3", channels, places, batch_size=2)
        for number, channel in enumerate(channels):
            unit = "max" if places is None else places[number]
            expected = net.project(pixels[number : number + 1], "conv3", channel, unit)[0]
            np.testing.assert_allclose(found[number], expected, rtol=0, atol=1e-12)
        assert found.any()


def test_of_equal_units_the_first_in_row_major_order_is_selected():
    maps = np.zeros((1, 2, 3, 2))
    maps[0, [0, 1], [2, 0], 1] = 4  # equal at (0, 2) and (1, 0); column-major order would choose the second
    kept = deconv.select(maps, 1)
    assert kept[0, 0, 2, 1] == 4 and kept.sum() == 4
    below = maps - 9  # a linear layer may be below zero everywhere: its strongest unit is still its largest
    assert deconv.select(below, 1)[0, 0, 2, 1] == -5 and deconv.select(below, 1).sum() == -5
    assert deconv.select(maps, 1, "map").sum() == 8 and deconv.select(maps, 1, "map", start="one").sum() == 6


def test_each_direction_is_traced_once_whatever_the_number_of_images():
    traces = []

    class Traced(kl.Layer):
        def call(self, signal):
            traces.append(self.name)
            return tf.identity(signal)

    image = keras.Input((9, 8, 2))
    maps = Traced(name="up")(kl.MaxPooling2D(2)(kl.Conv2D(3, 2, activation="relu")(image)))
    model = fill(keras.Model(image, kl.Conv2D(3, 2, activation="relu", name="top")(maps)), seed=1)
    net = deconv.Deconvnet(model, rules={Traced: lambda step: [Traced(name="down")]})
    net.mirror("top")
    traces.clear()
    for count, channels, batch_size in ((1, 0, 32), (3, [0, 1, 2], 2), (5, None, 4)):
        net.project(images(model, count), "top", channels, batch_size=batch_size)
        net.project_units(images(model, count), "top", [1] * count)
        net.record(images(model, count), "top")
    assert len(traces) <= 2 and len(set(traces)) == len(traces)


def state_of(model):
    """All of a model that could be changed: bits of the weights, configuration, graph, flags, losses."""
    inside = [*model._flatten_layers(recursive=True)]
    return (
        [(weight.path, weight.trainable, weight.numpy().tobytes()) for weight in model.variables],
        model.to_json(),
        [(layer.name, len(layer._inbound_nodes), len(layer._outbound_nodes), layer.trainable) for layer in inside],
        [(layer.name, [repr(loss) for loss in layer._losses], sorted(vars(layer))) for layer in inside],
    )


CALLS = {
    "record": lambda model, pixels: deconv.Deconvnet(model).record(pixels, "conv2"),
    "project": lambda model, pixels: deconv.Deconvnet(model).project(pixels, "top", [0, 1]),
    "project_units": lambda model, pixels: deconv.Deconvnet(model).project_units(pixels, "pool", [0, 1, 2]),
    "mirror": lambda model, pixels: deconv.mirror(model, "top").summary(print_fn=lambda line, **_: None),
    "activations": lambda model, pixels: deconv.activations(model, pixels, ["pool", "top"]),
    "top_activations": lambda model, pixels: deconv.top_activations(model, pixels, ["conv2", "top"], k=2),
    "occlusion_maps": lambda model, pixels: deconv.occlusion_maps(model, pixels[0], 1, "conv2", size=6, stride=5),
    "compare_pooling": lambda model, pixels: deconv.compare_pooling(model, pixels, "pool", shifts=(1,)),
    "verify": lambda model, pixels: deconv.verify(model, "top", pixels, show=False),
    "receptive_windows": lambda model, pixels: deconv.receptive_windows(model, "conv2", [[0, 1]]),
}


@pytest.mark.parametrize("regularizer", [None, "l2"], ids=["plain", "with an activity regularizer"])
@pytest.mark.parametrize("call", CALLS)
def test_the_model_is_the_same_bit_for_bit_after_every_call(call, regularizer):
    image = keras.Input((12, 11, 2))
    inner = keras.Input((6, 5, 3))
    block = keras.Model(inner, kl.Conv2D(4, 2, activation="relu", name="conv", trainable=False)(inner), name="conv2")
    maps = kl.Conv2D(3, 2, activity_regularizer=regularizer, name="conv1")(image)
    maps = kl.MaxPooling2D(3, 2, padding="same", name="pool")(kl.ReLU()(kl.BatchNormalization()(maps)))
    vector = kl.Dropout(0.5)(kl.Flatten()(block(maps)))
    model = fill(keras.Model(image, kl.Dense(3, "softmax", name="top")(vector)), seed=3)
    pixels = images(model)
    model(pixels)
    before = state_of(model)
    CALLS[call](model, pixels)
    assert state_of(model) == before


def test_a_model_that_takes_whole_numbers_is_given_them_and_answers_in_fractions():
    model = fill(
        keras.Sequential(
            [
                keras.Input((8, 7, 1), dtype="uint8"),
                kl.Rescaling(1 / 255),
                kl.Conv2D(3, 3, activation="relu", name="conv"),
            ]
        ),
        seed=4,
    )
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 7, 1), dtype="uint8")
    kernel, _ = model.get_weights()
    found = deconv.Deconvnet(model).project(pixels, "conv", 1, (2, 3), start="one")
    expected = np.zeros((2, 8, 7, 1))
    expected[:, 2:5, 3:6] = kernel[..., 1] / 255
    np.testing.assert_allclose(found, expected, atol=1e-8)
    net = deconv.Deconvnet(model)
    as_floats = net.record(pixels.astype("float32"), "conv").activations
    np.testing.assert_array_equal(as_floats, net.record(pixels, "conv").activations)
    with pytest.raises(ValueError, match=r"images must be whole numbers from 0 to 255"):
        net.record(pixels + np.float32(0.5), "conv")


def test_a_layer_with_one_axis_of_space_is_one_row_of_positions():
    image = keras.Input((4, 3, 2))
    model = keras.Model(image, kl.Reshape((-1, 2), name="row")(image))
    pixels = images(model, 2)
    found = deconv.Deconvnet(model).project(pixels, "row", 1, (0, 7))
    expected = np.zeros_like(pixels)
    expected[:, 2, 1, 1] = pixels[:, 2, 1, 1]
    np.testing.assert_array_equal(found, expected)
