"""Recomputing only what a square changes, against computing every occluded image from the pixels up."""

import gc
import re
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import layers as kl
from specimens import BUILT, SPECIMENS, fill, images

import deconv
from deconv import graph
from deconv.graph import compilation
from deconv.imaging.rectangles import cover
from deconv.occlusion.incremental_inference import MOST_STEPS, Rectangles, may_save_work, recomputation, windowed_steps
from deconv.occlusion.sliding_window import starts
from models.layers import CeilMaxPooling2D, GroupedConv2D, LocalResponseNormalization


def with_classes(model):
    """A specimen that ends in classes, with what it lacks for that on top."""
    if len(model.outputs[0].shape) == 2:
        return model
    dtype = model.outputs[0].dtype
    head = kl.Dense(3, "softmax", name="head", dtype=dtype)(kl.Flatten(dtype=dtype, name="all")(model.outputs[0]))
    return fill(keras.Model(model.inputs[0], head), seed=1)


def squares_of(shape, size, stride):
    tops, lefts = (starts(*axis, "cells") for axis in zip(shape[:2], size, stride, strict=True))
    corners = np.stack(np.meshgrid(tops, lefts, indexing="ij"), axis=-1).reshape(-1, 2)
    return np.concatenate([corners, corners + size], axis=1)


def recomputed(model, watched, image, filled, squares, channel, growth=None, at_once=5):
    """Class outputs and sums of a map for every square, by recomputation, whether or not that saves any work."""
    model_graph = graph.walk(model)
    step = graph.find(model_graph, watched)
    model_graph = graph.subgraph(model_graph, step, graph.find(model_graph, model.layers[-1].name))
    rectangles = Rectangles(model_graph, squares, growth)
    whole, changed = recomputation(model_graph, model_graph.steps[-1].output, step.output)
    maps, sums = whole(image[None])
    outputs, found = [None] * len(squares), np.empty(len(squares))
    for first in range(0, len(squares), at_once):
        part = rectangles.order[first : first + at_once]
        classes, found[part] = changed(maps, sums, filled[None], *rectangles.of(part), channel)
        for place, output in zip(part, classes.numpy(), strict=True):
            outputs[place] = output
    return np.array(outputs), found, rectangles


def from_the_pixels(model, watched, image, filled, squares, channel):
    size = tuple(squares[0, 2:] - squares[0, :2])
    occluded = cover(image, squares[:, 0], squares[:, 1], size, filled)
    both = deconv.activations(model, occluded, [watched, model.layers[-1].name])
    maps = both[watched][..., channel]
    return both[model.layers[-1].name], maps.reshape(len(maps), -1).sum(axis=1)


def assert_equal(found, expected, tolerance=1e-12):
    for ours, theirs in zip(found[:2], expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


CASES = [
    ("lenet", "conv2", (5, 8), (3, 4)),
    ("overlapping", "pool2", (4, 7), (3, 5)),
    ("same", "conv3", (3, 2), (3, 2)),
    ("valid_stride2", "conv2", (6, 5), (5, 4)),
    ("dilated", "conv3", (4, 4), (4, 3)),
    ("grouped", "separable1", (3, 5), (2, 4)),
    ("branching", "average", (5, 3), (3, 3)),
    ("nested", "base/block/pool", (7, 6), (5, 4)),
    ("average", "pool1", (6, 4), (4, 4)),
    ("global_max", "max", (3, 4), (3, 2)),
    ("alexnet", "norm2", (8, 9), (5, 6)),
    ("padded", "conv2", (4, 3), (3, 3)),
    ("sequential", "flatten", (5, 5), (4, 3)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "watched", "size", "stride"), CASES, ids=[case[0] for case in CASES])
def test_what_a_square_changes_recomputed_equals_the_occluded_image_from_the_pixels_up(name, watched, size, stride):
    model = with_classes(SPECIMENS[name]("float64"))
    image, filled = images(model, 2, seed=5)
    squares = squares_of(image.shape, size, stride)
    found = recomputed(model, watched, image, filled, squares, 1)
    assert_equal(found, from_the_pixels(model, watched, image, filled, squares, 1))
    assert len(np.unique(found[0], axis=0)) > len(squares) // 2  # the squares do change what the network says


LAYER = st.tuples(
    st.sampled_from([kl.Conv2D, kl.DepthwiseConv2D, kl.MaxPooling2D, GroupedConv2D, CeilMaxPooling2D]),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 3),
    st.sampled_from(["valid", "same"]),
)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(9, 14), st.integers(9, 14)),
    st.lists(LAYER, min_size=1, max_size=3),
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_any_stack_under_any_square_is_recomputed_exactly(shape, stack, size):
    maps = image = keras.Input((*shape, 2), dtype="float64")
    for kind, cells, stride, padding in stack:
        padding = "ceil" if kind is CeilMaxPooling2D else padding
        assume(padding == "same" or (maps.shape[1] >= cells[0] and maps.shape[2] >= cells[1]))
        assume(padding != "ceil" or stride <= min(cells))
        own = {"pool_size": cells}
        if issubclass(kind, kl.Conv2D) or kind is kl.DepthwiseConv2D:
            own = {"kernel_size": cells, "activation": "relu"}
            own |= {} if kind is kl.DepthwiseConv2D else {"filters": 4}
            own |= {"groups": 2} if kind is GroupedConv2D else {}
        layer = kind(strides=stride, padding=padding, dtype="float64", **own)
        maps = LocalResponseNormalization(3, alpha=0.5, dtype="float64")(layer(maps))
    model = with_classes(fill(keras.Model(image, maps), seed=len(stack)))
    image, filled = images(model, 2, seed=1)
    squares = squares_of(shape, size, size)
    found = recomputed(model, layer.name, image, filled, squares, 0)
    assert_equal(found, from_the_pixels(model, layer.name, image, filled, squares, 0))


def test_rectangles_hold_every_cell_that_changes_and_only_those_windows_are_computed():
    model = SPECIMENS["alexnet"]("float64")
    model_graph = graph.walk(model)
    image, filled = images(model, 2, seed=2)
    squares = squares_of(image.shape, (5, 4), (3, 4))
    rectangles = Rectangles(model_graph, squares)
    names = [step.name for step in windowed_steps(model_graph)]
    assert names == ["pad1", "conv1", "norm1", "pool1", "conv2", "pool2", "norm2"]
    occluded = cover(image, squares[:, 0], squares[:, 1], (5, 4), filled)
    for step in windowed_steps(model_graph):
        before, after = (deconv.activations(model, some, step.name)[step.name] for some in (image[None], occluded))
        changed = (np.abs(before - after) > 1e-12).any(axis=-1)
        corners, sizes = rectangles.corners[step.output], rectangles.sizes[step.output]
        assert (sizes > 0).all() and changed.any()
        for cells, (top, left), (rows, columns) in zip(changed, corners, sizes, strict=True):
            assert cells.sum() == cells[top : top + rows, left : left + columns].sum()
    assert (rectangles.sizes[model_graph.steps[1].output] < 8).all()  # conv1 makes maps of 14 x 12


@pytest.fixture(scope="module")
def wide():
    """A network large enough that recomputation pays, with a softmax that is sure of nothing."""
    image = keras.Input((96, 90, 3))
    maps = kl.Conv2D(16, 7, strides=2, activation="relu", name="conv1")(image)
    maps = kl.MaxPooling2D(3, 2, name="pool1")(maps)
    maps = kl.Conv2D(64, 5, padding="same", activation="relu", name="conv2")(maps)
    maps = kl.Conv2D(64, 3, padding="same", activation="relu", name="conv3")(maps)
    vector = kl.Flatten()(kl.MaxPooling2D(4, name="pool3")(maps))
    return fill(keras.Model(image, kl.Dense(5, "softmax", name="classes")(vector), name="wide"), seed=3)


SETTINGS = {"layer": "conv3", "size": 16, "stride": 8, "fill": 0.5}


@pytest.mark.slow
def test_occlusion_maps_are_recomputed_by_default_and_equal_the_plain_path(wide):
    image = images(wide, 1)[0] / 2
    found, plain = (deconv.occlusion_maps(wide, image, exact=exact, **SETTINGS) for exact in (True, "full"))
    network = compilation._CACHED[wide][1]["occlusion", "'conv3'", "None"]
    assert "recomputation" in vars(network) and network._rectangles[1].share < 0.5
    np.testing.assert_allclose(found.probability, plain.probability, rtol=0, atol=1e-5 * plain.probability.max())
    np.testing.assert_allclose(found.activation, plain.activation, rtol=1e-5)
    np.testing.assert_array_equal(found.predicted, plain.predicted)
    assert found.activation.dtype == plain.activation.dtype and found.unoccluded == plain.unoccluded
    assert np.ptp(found.probability) > 1e-3


@pytest.mark.parametrize("fill_kind", ["number", "one per channel", "image"])
def test_preprocessing_of_single_pixels_is_recomputed_too(wide, fill_kind):
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (96, 90, 3)).astype("uint8")
    value = {"number": 128, "one per channel": [9, 90, 200], "image": random.integers(0, 256, (96, 90, 3))}[fill_kind]
    mean = random.standard_normal((96, 90, 3))

    def preprocess(batch):
        return (batch[..., ::-1] / 128 - mean).astype("float32")

    how = {**SETTINGS, "fill": value, "preprocess": preprocess}
    found, plain = (deconv.occlusion_maps(wide, image, exact=exact, **how) for exact in (True, "full"))
    np.testing.assert_allclose(found.probability, plain.probability, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.activation, plain.activation, rtol=1e-5)


def test_preprocessing_that_mixes_pixels_goes_the_plain_way(wide):
    image = np.random.default_rng(0).integers(0, 256, (96, 90, 3)).astype("uint8")

    def preprocess(batch):
        batch = batch.astype("float32")
        return (batch - batch.mean(axis=(1, 2, 3), keepdims=True)) / 128

    how = {**SETTINGS, "preprocess": preprocess}
    found, plain = (deconv.occlusion_maps(wide, image, exact=exact, **how) for exact in (True, "full"))
    np.testing.assert_array_equal(found.probability, plain.probability)


def test_the_batch_size_does_not_matter(wide):
    image = images(wide, 1)[0]
    found = [deconv.occlusion_maps(wide, image, batch_size=size, **SETTINGS) for size in (1, 7, 200)]
    for other in found[1:]:
        np.testing.assert_allclose(other.probability, found[0].probability, rtol=0, atol=1e-6)


def test_capped_growth_is_an_approximation_that_says_how_wrong_it_is(wide):
    image = images(wide, 1)[0]
    how = {**SETTINGS, "stride": 6}
    plain = deconv.occlusion_maps(wide, image, 2, exact="full", **how)
    errors = []
    for growth in (1.0, 0.6, 0.2):
        found = deconv.occlusion_maps(wide, image, 2, growth=growth, batch_size=200, **how)
        off = np.abs(found.probability - plain.probability)
        assert np.quantile(off, 0.9) * 0.99 - 1e-6 < found.error < off.max() * 1.01 + 1e-6
        assert found.activation_error < np.abs(found.activation - plain.activation).max() * 1.01 + 1e-3
        errors.append(off.max())
    assert errors[0] < 1e-6 < errors[2] and errors[1] <= errors[2]
    assert plain.error is None and deconv.occlusion_maps(wide, image, **SETTINGS).error is None


def test_windows_capped_keep_their_middle_by_hand():
    # Rows 30 to 45 are seen by conv1 (7x7, stride 2) from ceil((30 - 6) / 2) = 12 to 45 // 2 = 22: 11 rows of 45.
    # A fifth of them is 9: rows 13 to 21.
    image = keras.Input((96, 90, 1))
    model_graph = graph.walk(keras.Model(image, kl.Conv2D(1, 7, strides=2)(image)))
    whole, capped = (Rectangles(model_graph, np.array([[30, 0, 46, 16]]), growth) for growth in (None, 0.2))
    edge = model_graph.steps[0].output
    assert (whole.corners[edge][0, 0], whole.sizes[edge][0, 0]) == (12, 11)
    assert (capped.corners[edge][0, 0], capped.sizes[edge][0, 0]) == (13, 9)


@pytest.mark.slow
def test_each_pass_is_traced_once_over_a_hundred_images():
    calls = []

    class Counted(kl.Layer):
        mirrored_as = kl.Identity

        def call(self, maps):
            calls.append(self.name)
            return tf.identity(maps)

    image = keras.Input((40, 36, 1))
    maps = Counted(name="counted")(kl.Conv2D(32, 5, activation="relu", name="conv1")(image))
    maps = kl.Flatten()(kl.MaxPooling2D(4)(kl.Conv2D(32, 5, activation="relu", name="conv2")(maps)))
    model = fill(keras.Model(image, kl.Dense(3, "softmax")(maps)), seed=1)
    calls.clear()
    deconv.occlusion_maps(model, images(model, 1)[0], size=8, stride=8)
    before = len(calls)
    assert before == 3  # the plain pass, the unoccluded maps, the recomputation
    for number, picture in enumerate(images(model, 100)):
        deconv.occlusion_maps(model, picture, size=8 - number % 3, stride=6, batch_size=20)
    assert len(calls) == before


def test_what_is_compiled_follows_training_and_goes_with_its_model():
    model = SPECIMENS["lenet"](seed=77)  # held by no other test
    (image,) = images(model, 1)
    first = deconv.occlusion_maps(model, image, 1, size=14, stride=14).probability
    fill(model, seed=9)
    again = deconv.occlusion_maps(model, image, 1, size=14, stride=14).probability
    fresh = deconv.occlusion_maps(fill(SPECIMENS["lenet"](seed=78), seed=9), image, 1, size=14, stride=14).probability
    np.testing.assert_allclose(again, fresh, rtol=1e-6)
    assert np.abs(first - again).max() > 1e-3
    gone = weakref.ref(model)
    assert model in compilation._CACHED
    del model
    BUILT.clear()
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exact": False}, "exact must be True or 'full', which recomputes everything; received False."),
        ({"exact": "fast"}, "received 'fast'"),
        ({"growth": 0}, "growth must be a share above 0 and at most 1, or None; received 0."),
        ({"growth": True}, "received True"),
        ({"growth": 1.5}, "received 1.5"),
        ({"growth": 0.5, "exact": "full"}, "exact='full' recomputes everything, growth=0.5 only a part"),
    ],
)
def test_ways_that_there_are_not_are_refused(settings, message):
    model = SPECIMENS["lenet"]()
    with pytest.raises(ValueError, match=re.escape(message)):
        deconv.occlusion_maps(model, images(model, 1)[0], **settings)


@pytest.mark.parametrize(("steps", "expected"), [(MOST_STEPS, True), (MOST_STEPS + 1, False)])
def test_a_network_that_would_compile_for_a_minute_runs_full_passes(steps, expected):
    maps = image = keras.Input((64, 64, 4))
    for _ in range(steps // 2):
        maps = kl.ReLU()(kl.Conv2D(8, 5, padding="same")(maps))
    maps = kl.Conv2D(8, 5, padding="same")(maps) if steps % 2 else maps
    walked = graph.walk(keras.Model(image, kl.Dense(2)(kl.Flatten()(maps))))
    assert len(windowed_steps(walked)) == steps
    assert may_save_work(walked) is expected
