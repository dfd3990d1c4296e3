"""Projection inside windows against projection of whole images, at every border."""

import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import layers as kl
from specimens import SPECIMENS, fill, images

import deconv
from deconv import graph
from deconv.deconvnet.patch_cost import has_patches, window_share
from deconv.deconvnet.patch_projection import PatchMirror
from deconv.graph import windowed_layers as windowed
from deconv.graph.receptive_field import receptive_fields_below
from models.layers import CeilMaxPooling2D, GroupedConv2D, LocalResponseNormalization


@functools.cache
def layer_of(name, place):
    """The middle or the last of the layers of a specimen whose units have a window of one size."""
    model_graph = graph.walk(SPECIMENS[name]())
    below = [receptive_fields_below(graph.subgraph(model_graph, step)) for step in model_graph.steps]
    found = [
        step.name for step, seen in zip(model_graph.steps, below, strict=True) if seen and None not in seen.values()
    ]
    return found[{"middle": len(found) // 2, "last": -1}[place]]


def every_unit(shape, seed=0):
    """Every position of a map, each with a random channel and one of three images: `(channels, positions, numbers)`."""
    positions = np.stack(np.mgrid[: shape[0], : shape[1]], axis=-1).reshape(-1, 2)
    random = np.random.default_rng(seed)
    return random.integers(0, shape[2], len(positions)), positions, random.integers(0, 3, len(positions))


def both_ways(model, layer, pixels, channels, positions, numbers):
    """The patches of units, with switches from whole maps and from windows, whether or not that saves any work."""
    net = deconv.Deconvnet(model, windowed=False)
    attached = net._attach(layer)
    patches = PatchMirror(attached.graph, attached.pools, attached.dtype)
    whole = patches.project(patches.record(pixels), numbers, channels, positions, "activation")
    windows = patches.project_windows(pixels, numbers, channels, positions, "activation")
    return [(found[0], patches.whole(*found)) for found in (whole, windows)], net


@pytest.mark.slow
@pytest.mark.parametrize("place", ["middle", "last"])
@pytest.mark.parametrize("name", [name for name in SPECIMENS if name != "average"])  # it divides by less at the border
def test_the_patch_of_every_unit_is_the_whole_projection_where_it_is_and_zero_elsewhere(name, place):
    model, layer = SPECIMENS[name]("float64"), layer_of(name, place)
    pixels = images(model, 3)
    units = every_unit(graph.find(graph.walk(model), layer).output.shape)
    found, net = both_ways(model, layer, pixels, *units)
    channels, positions, numbers = units
    expected = net.project_units(pixels, layer, channels, positions, numbers=numbers)
    assert np.abs(expected).max() > 0
    for _, pictures in found:
        np.testing.assert_allclose(pictures, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "same", "branching"])
def test_in_float32_patches_agree_to_a_hundred_thousandth(name):
    model = SPECIMENS[name]()
    layer = {"alexnet": "norm2", "same": "pool2", "branching": "add"}[name]
    pixels = images(model, 3)
    units = every_unit(model.get_layer(layer).output.shape[1:])
    net = deconv.Deconvnet(model)
    assert net._attach(layer).patches
    found = net.project_units(pixels, layer, *units[:2], numbers=units[2])
    expected = deconv.Deconvnet(model, windowed=False).project_units(pixels, layer, *units[:2], numbers=units[2])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


LAYER = st.tuples(
    st.sampled_from([kl.Conv2D, kl.DepthwiseConv2D, kl.MaxPooling2D, GroupedConv2D, CeilMaxPooling2D]),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 3),
    st.sampled_from(["valid", "same"]),
    st.integers(1, 2),
)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.tuples(st.integers(9, 14), st.integers(9, 14)), st.lists(LAYER, min_size=1, max_size=3))
def test_any_stack_of_filters_and_pools_projects_in_windows_as_it_does_whole(size, stack):
    maps = image = keras.Input((*size, 2), dtype="float64")
    for kind, cells, stride, padding, dilation in stack:
        padding = "ceil" if kind is CeilMaxPooling2D else padding
        filters = issubclass(kind, kl.Conv2D) or kind is kl.DepthwiseConv2D
        dilation = dilation if filters and stride == 1 else 1
        extent = [(size - 1) * dilation + 1 for size in cells]
        assume(padding == "same" or (maps.shape[1] >= extent[0] and maps.shape[2] >= extent[1]))
        assume(padding != "ceil" or stride <= min(cells))
        own = {"pool_size": cells, "padding": padding}
        if filters:
            own = {"kernel_size": cells, "dilation_rate": dilation, "activation": "relu", "padding": padding}
            own |= {} if kind is kl.DepthwiseConv2D else {"filters": 4}
            own |= {"groups": 2} if kind is GroupedConv2D else {}
        layer = kind(strides=stride, dtype="float64", **own)
        maps = LocalResponseNormalization(3, alpha=0.5, dtype="float64")(layer(maps))
    model = fill(keras.Model(image, maps), seed=len(stack))
    pixels = images(model, 3)
    units = every_unit(maps.shape[1:])
    found, net = both_ways(model, layer.name, pixels, *units)
    expected = net.project_units(pixels, layer.name, *units[:2], numbers=units[2])
    for _, pictures in found:
        np.testing.assert_allclose(pictures, expected, rtol=0, atol=1e-12 * max(np.abs(expected).max(), 1e-9))


def test_a_patch_lies_where_its_window_says_and_may_reach_outside():
    model = SPECIMENS["same"]("float64")
    net, pixels = deconv.Deconvnet(model), images(model, 2)
    # conv1 is (3, 4) SAME, pool1 3x3 stride 2 SAME, conv2 (4, 3) stride 2 SAME over 21 x 17 pixels, all by hand:
    # rows of conv2 r: pool1 2r - 1 .. 2r + 2 of 11; conv1 2(2r - 1) - 1 .. 2(2r + 2) + 1 of 21; pixels one more aside.
    channels, positions = np.repeat(np.arange(6), 2), np.tile([[0, 0], [5, 4]], (6, 1))
    units = {"positions": positions, "numbers": channels % 2, "start": "one"}
    patches = net.project_units(pixels, "conv2", channels, patches=True, **units)
    whole = net.project_units(pixels, "conv2", channels, **units)
    assert patches.windows[:, 0].tolist() == [4 * row - 4 for row in positions[:, 0]]
    assert patches.windows[0, 2] - patches.windows[0, 0] == 11 == patches.pictures.shape[1]
    assert whole[::2].any() and whole[1::2].any()
    for picture, image, (top, left, bottom, right) in zip(patches.pictures, whole, patches.windows, strict=True):
        assert top < 0 or bottom > 21
        inside = image[max(top, 0) : bottom, max(left, 0) : right]
        part = picture[max(-top, 0) :, max(-left, 0) :][: inside.shape[0], : inside.shape[1]]
        np.testing.assert_array_equal(part, inside)
        assert np.count_nonzero(picture) == np.count_nonzero(part) == np.count_nonzero(image)


@pytest.mark.slow
def test_the_window_of_a_patch_is_the_receptive_window_before_it_is_clipped():
    model = SPECIMENS["alexnet"]()
    shape = model.get_layer("conv2").output.shape[1:]
    channels, positions, numbers = every_unit(shape)
    patches = deconv.Deconvnet(model).project_units(
        images(model, 3), "conv2", channels, positions, numbers=numbers, patches=True
    )
    clipped = np.clip(patches.windows, 0, [31, 26, 31, 26])
    np.testing.assert_array_equal(clipped, deconv.receptive_windows(model, "conv2", positions))


def test_a_layer_without_windows_gives_the_whole_image_as_its_patch():
    model = SPECIMENS["lenet"]()
    found = deconv.Deconvnet(model).project_units(images(model, 2), "dense1", [3, 4], patches=True)
    assert found.pictures.shape == (2, 28, 28, 1) and found.windows.tolist() == [[0, 0, 28, 28]] * 2
    np.testing.assert_array_equal(
        found.pictures, deconv.Deconvnet(model).project_units(images(model, 2), "dense1", [3, 4])
    )


@pytest.mark.slow
@pytest.mark.parametrize("start", ["activation", "one"])
@pytest.mark.parametrize("unit", ["max", (1, 2)])
@pytest.mark.parametrize("channel", [None, 1, [2, 0, 2]])
def test_project_selects_the_same_units_in_windows_as_in_whole_images(channel, unit, start):
    model = SPECIMENS["overlapping"]("float64")
    pixels = images(model, 5)
    found, expected = (
        deconv.Deconvnet(model, windowed=windowed).project(pixels, "conv2", channel, unit, start=start, batch_size=2)
        for windowed in (True, False)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert found.any()


def test_without_positions_the_strongest_unit_of_the_channel_is_taken():
    model = SPECIMENS["overlapping"]("float64")
    pixels, channels, numbers = images(model, 3), [1, 5, 2, 0], [2, 0, 0, 1]
    found, expected = (
        deconv.Deconvnet(model, windowed=windowed).project_units(pixels, "conv2", channels, numbers=numbers)
        for windowed in (True, False)
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_the_order_of_units_and_the_batch_size_do_not_matter():
    model = SPECIMENS["alexnet"]("float64")
    pixels, net = images(model, 3), deconv.Deconvnet(model)
    channels, positions, numbers = every_unit(model.get_layer("conv2").output.shape[1:])
    first = net.project_units(pixels, "conv2", channels, positions, numbers=numbers)
    order = np.random.default_rng(1).permutation(len(channels))
    for batch_size in (1, 2, 5):
        again = net.project_units(
            pixels, "conv2", channels[order], positions[order], numbers=numbers[order], batch_size=batch_size
        )
        np.testing.assert_allclose(again, first[order], rtol=0, atol=1e-12)


def refuse(step):
    return [kl.Identity()]


def test_windows_are_left_alone_where_they_cannot_be_exact():
    average = graph.walk(SPECIMENS["average"]())
    same_average = graph.subgraph(average, graph.find(average, "pool1"))  # it divides by fewer cells at the border
    assert not has_patches(same_average, None, "sum")
    model_graph = graph.walk(SPECIMENS["overlapping"]())
    pooled = graph.subgraph(model_graph, graph.find(model_graph, "pool2"))
    assert has_patches(pooled, None, "sum") and has_patches(pooled, {"pool9": deconv.identity}, "sum")
    assert not has_patches(pooled, {"conv1": refuse}, "sum") and not has_patches(pooled, {kl.Conv2D: refuse}, "sum")
    assert not has_patches(pooled, None, "max") and not has_patches(pooled, None, "last")
    top = graph.subgraph(model_graph, graph.find(model_graph, "conv3"))
    assert window_share(top) > 0.9 and not has_patches(top, None, "sum")


def test_a_layer_that_holds_a_number_for_each_position_is_computed_whole():
    image = keras.Input((8, 9, 2))
    maps = kl.Conv2D(3, 3, activation="relu", name="conv1")(image) + np.ones((6, 7, 3), "float32")
    slopes = kl.PReLU(name="prelu")(kl.Conv2D(3, 3, name="conv2")(maps))
    model_graph = graph.walk(keras.Model(image, slopes))
    moves = {
        step.name.split("_")[0]: windowed.is_translation_equivariant(step) for step in model_graph.steps
    }  # Keras counts its additions
    assert moves == {"conv1": True, "add": False, "conv2": True, "prelu": False}
    assert not has_patches(graph.subgraph(model_graph, graph.find(model_graph, "conv2")), None, "sum")


def test_each_direction_is_traced_once_over_a_hundred_images():
    calls = []

    class Counted(kl.Layer):
        mirrored_as = kl.Identity

        def call(self, maps):
            calls.append(self.name)
            return tf.identity(maps)

    image = keras.Input((13, 12, 2))
    maps = kl.MaxPooling2D(2)(Counted(name="counted")(kl.Conv2D(3, 2, activation="relu")(image)))
    model = fill(keras.Model(image, kl.Conv2D(3, 2, name="top")(maps)), seed=1)
    net, pixels = deconv.Deconvnet(model), images(model, 100)
    assert net._attach("top").patches
    calls.clear()
    for count in (100, 7, 33):
        net.project(pixels[:count], "top", [0, 1])
        net.project_units(pixels[:count], "top", np.arange(count) % 3, np.zeros((count, 2), int))
    assert not calls  # both ways up had been traced when the patches were made


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([0, 3], "numbers must be whole numbers from 0 to 2, one image for each unit; received [0, 3]"),
        ([0.0, 1.0], "received [0.0, 1.0]"),
        ([[0, 1]], "received [[0, 1]]"),
        ([0, -1], "received [0, -1]"),
        ([0], "expected 1 of each, received channels of shape (2,) and no positions"),
    ],
)
def test_numbers_that_name_no_image_are_refused(numbers, message):
    model = SPECIMENS["overlapping"]()
    with pytest.raises(ValueError, match=re.escape(message)):
        deconv.Deconvnet(model).project_units(images(model, 3), "conv2", [0, 1], numbers=numbers)


@pytest.mark.slow
def test_a_rule_of_ours_that_the_user_gives_to_a_layer_counts_in_windows_too():
    model = SPECIMENS["branching"]("float64")
    pixels, units = images(model, 3), every_unit(model.get_layer("add").output.shape[1:])
    found = {}
    for rules in (None, {"norm2": deconv.identity}):
        net, whole = (deconv.Deconvnet(model, rules=rules, windowed=windowed) for windowed in (True, False))
        assert net._attach("add").patches
        found[str(rules)] = net.project_units(pixels, "add", *units[:2], numbers=units[2])
        expected = whole.project_units(pixels, "add", *units[:2], numbers=units[2])
        np.testing.assert_allclose(found[str(rules)], expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    assert len({values.tobytes() for values in found.values()}) == 2
