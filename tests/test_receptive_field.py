"""Receptive windows against brute force: light one pixel at a time and see which units notice."""

import keras
import numpy as np
import pytest
import reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import layers as kl
from specimens import SPECIMENS, images

import deconv
from deconv import graph
from models.layers import CeilMaxPooling2D, GroupedConv2D, LocalResponseNormalization


def transparent(model):
    """A copy through which every pixel shows: weights of one, no bias, pools that average."""

    def swap(layer):
        config = layer.get_config()
        kinds = {kl.MaxPooling2D: kl.AveragePooling2D, kl.GlobalMaxPooling2D: kl.GlobalAveragePooling2D}
        return kinds.get(type(layer), type(layer)).from_config(config)

    copy = keras.models.clone_model(model, clone_function=swap, recursive=True)
    for weight in copy.weights:
        weight.assign(np.full(weight.shape, weight.name.endswith(("kernel", "gamma", "moving_variance"))))
    return copy


def brute_windows(model):
    """`{path: (units, 4)}`: the smallest window around the pixels that a unit notices, zeros if it sees none."""
    height, width, channels = model.input_shape[1:]
    pixels = np.eye(height * width).reshape(-1, height, width, 1) * np.ones(channels)
    windows = {}
    for path, maps in reference.forward(transparent(model), pixels).items():
        noticed = maps.reshape(len(maps), -1, maps.shape[-1]).max(axis=-1).T.reshape(-1, height, width) > 0
        windows[path] = np.array([box(seen) for seen in noticed])
    return windows


def assert_seen(windows, brute, gaps):
    """Equal; or, where a filter has gaps which the border may cut, windows that hold all that is seen.

    A unit in the padding sees nothing, and which nothing does not matter.
    """
    sees = brute.any(axis=1)
    windows, brute = windows[sees], brute[sees]
    if gaps:
        assert (windows[:, :2] <= brute[:, :2]).all() and (windows[:, 2:] >= brute[:, 2:]).all()
    else:
        np.testing.assert_array_equal(windows, brute)


def box(seen):
    """`[top, left, bottom, right]` around the True cells."""
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    return [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1] if len(rows) else [0, 0, 0, 0]


def positions_of(shape):
    rows, columns = shape[1:3] if len(shape) == 4 else (1, 1)
    return np.stack(np.mgrid[:rows, :columns], axis=-1).reshape(-1, 2)


AFTER = [("padded", path) for path in ("reshape", "conv2", "relu2", "dense")]
"""Layers after a Reshape, which loses track: their windows are the whole image."""


@pytest.mark.parametrize("name", [name for name in SPECIMENS if name != "lenet"])
def test_a_unit_sees_exactly_the_pixels_in_its_window(name):
    model = SPECIMENS[name]()
    brute, shapes = brute_windows(model), reference.forward(model, images(model, 1))
    for path, layer, _ in reference.calls_of(model):
        if not isinstance(layer, kl.InputLayer) and len(shapes[path].shape) == 4:
            windows = deconv.receptive_windows(model, path, positions_of(shapes[path].shape))
            assert_seen(windows, brute[path], name == "dilated" or (name, path) in AFTER)


def test_windows_of_lenet_by_hand():
    # conv1 is 5x5 SAME (2 cells of border), pool1 2x2, conv2 5x5 VALID, pool2 2x2.
    # conv2 (0, 0) sees pool1 0..4, conv1 0..9, pixels -2..11, of which 0..11 exist.
    # pool2 (2, 4) sees conv2 4..5 by 8..9, pool1 4..9 by 8..13, conv1 8..19 by 16..27, pixels 6..21 by 14..29 -> 27.
    model = SPECIMENS["lenet"]()
    windows = {
        "conv1": ([0, 27], [0, 25, 3, 28]),
        "pool1": ([3, 0], [4, 0, 10, 4]),
        "conv2": ([0, 0], [0, 0, 12, 12]),
        "pool2": ([2, 4], [6, 14, 22, 28]),
        "dense1": ([0, 0], [0, 0, 28, 28]),
    }
    for layer, (position, window) in windows.items():
        assert deconv.receptive_windows(model, layer, position).tolist() == window


LAYER = st.tuples(
    st.sampled_from([kl.Conv2D, kl.DepthwiseConv2D, kl.MaxPooling2D, GroupedConv2D, CeilMaxPooling2D]),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 3),
    st.sampled_from(["valid", "same"]),
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.tuples(st.integers(9, 14), st.integers(9, 14)), st.lists(LAYER, min_size=1, max_size=3))
def test_any_stack_of_filters_and_pools_sees_exactly_its_window(size, stack):
    maps = image = keras.Input((*size, 2))
    for kind, cells, stride, padding in stack:
        padding = "ceil" if kind is CeilMaxPooling2D else padding
        assume(padding == "same" or min(maps.shape[1:3]) >= max(cells))
        assume(padding != "ceil" or stride <= min(cells))
        own = {kl.Conv2D: {"filters": 2, "kernel_size": cells}, kl.DepthwiseConv2D: {"kernel_size": cells}}
        own[GroupedConv2D] = {**own[kl.Conv2D], "groups": 2}
        layer = kind(**own.get(kind, {"pool_size": cells}), strides=stride, padding=padding)
        maps = LocalResponseNormalization(3)(layer(maps))
    windows = deconv.receptive_windows(keras.Model(image, maps), layer.name, positions_of(maps.shape))
    gaps = any(stride > min(cells) for _, cells, stride, _ in stack)
    assert_seen(windows, brute_windows(keras.Model(image, maps))[layer.name], gaps)


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_where_branches_meet_a_unit_sees_what_either_sees(order):
    # Column r sees r - 2 to r in one branch and r to r + 2 in the other; rows r - 1 to r and r to r + 1.
    image = keras.Input((6, 8, 1))
    sides = [((1, 0), (2, 0)), ((0, 1), (0, 2))]
    branches = [kl.Conv2D(1, (2, 3))(kl.ZeroPadding2D(side)(image)) for side in sides]
    model = keras.Model(image, kl.Add(name="meet")(branches[order]))
    windows = deconv.receptive_windows(model, "meet", [[3, 4], [0, 0], [5, 7]])
    assert windows.tolist() == [[2, 2, 5, 7], [0, 0, 2, 3], [4, 5, 6, 8]]


def test_a_filter_with_gaps_sees_from_its_first_tap_to_its_last():
    # Three taps, two cells apart: cells r - 2, r, r + 2 under SAME; then two taps, three columns apart, VALID.
    image = keras.Input((9, 11, 1))
    maps = kl.Conv2D(2, 3, dilation_rate=2, padding="same", name="conv1")(image)
    model = keras.Model(image, kl.Conv2D(1, (1, 2), dilation_rate=(1, 3), name="conv2")(maps))
    assert deconv.receptive_windows(model, "conv1", [[4, 5], [0, 10]]).tolist() == [[2, 3, 7, 8], [0, 8, 3, 11]]
    assert deconv.receptive_windows(model, "conv2", [4, 3]).tolist() == [2, 1, 7, 9]


@pytest.mark.parametrize(
    "layer",
    [
        kl.SeparableConv2D(3, 3, padding="same", name="top"),
        kl.Conv2DTranspose(3, 3, padding="same", name="top"),
        kl.GroupNormalization(1, name="top"),
        kl.Permute((2, 1, 3), name="top"),
        kl.UpSampling2D(2, name="top"),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_no_pixel_outside_the_window_matters_to_a_layer_without_arithmetic_of_its_own(layer):
    image = keras.Input((7, 7, 2))
    model = fill_all(keras.Model(image, layer(image)))
    pixels = images(model, 1)
    for row, column in [(0, 0), (3, 2), (6, 6)]:
        top, left, bottom, right = deconv.receptive_windows(model, "top", [row, column])
        outside = np.ones((1, 7, 7, 1), bool)
        outside[:, top:bottom, left:right] = False
        changed = np.where(outside, pixels + np.random.default_rng(1).standard_normal(pixels.shape), pixels)
        units = [model.predict(given.astype("float32"), verbose=0)[0, row, column] for given in (pixels, changed)]
        np.testing.assert_allclose(*units, atol=1e-5)


def fill_all(model):
    for number, weight in enumerate(model.weights):
        weight.assign(np.random.default_rng(number).standard_normal(weight.shape))
    return model


def test_a_unit_that_sees_only_padding_has_an_empty_window_through_every_layer_below():
    image = keras.Input((6, 6, 1))
    maps = kl.ZeroPadding2D(3, name="padding")(kl.Conv2D(1, 3, padding="same")(image))
    model = keras.Model(image, kl.Conv2D(1, 2, name="top")(maps))
    top, left, bottom, right = deconv.receptive_windows(model, "top", [0, 0])
    assert (bottom - top) * (right - left) == 0
    assert deconv.receptive_windows(model, "top", [2, 2]).tolist() == [0, 0, 2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["overlapping", "same", "dilated", "branching"])
def test_the_projection_of_a_unit_stays_inside_its_window_and_fills_more_than_its_middle(name):
    model, layer = SPECIMENS[name](), "conv6" if name == "branching" else "conv3"
    net, pixels = deconv.Deconvnet(model), images(model, 4)
    maps = net.record(pixels, layer).activations
    for position in (positions := positions_of(maps.shape))[[0, len(positions) // 2, -1]]:
        strongest = int(maps[:, position[0], position[1]].max(axis=0).argmax())
        below = np.abs(net.project(pixels, layer, strongest, tuple(position))).max(axis=(0, 3)) > 0
        top, left, bottom, right = deconv.receptive_windows(model, layer, position)
        inside = below[top:bottom, left:right]
        assert below.sum() == inside.sum() and inside.mean() > 0.1


def test_positions_of_any_shape_give_windows_of_that_shape():
    model = SPECIMENS["nested"]()
    positions = np.array([[[0, 0], [1, 1], [2, 0]], [[0, 1], [1, 0], [2, 1]]])
    windows = deconv.receptive_windows(model, "base/conv2", positions)
    for place in np.ndindex(2, 3):
        assert windows[place].tolist() == deconv.receptive_windows(model, "base", positions[place]).tolist()
    assert len({tuple(window) for window in windows.reshape(-1, 4)}) == 6


def test_windows_that_reach_over_the_edge_see_what_is_there_by_hand():
    # 12 by 9 cells, pools of 3 with stride 2: five whole windows of rows, then 10..11; four of columns, none cut.
    # Two filter taps above them: rows 4..5 see pools 8..10 and 10..11, which is 8..11.
    image = keras.Input((12, 9, 4))
    maps = LocalResponseNormalization(name="norm")(CeilMaxPooling2D(3, 2, name="pool")(image))
    model = keras.Model(image, GroupedConv2D(2, (2, 1), groups=2, name="conv")(maps))
    assert model.get_layer("pool").output.shape == (None, 6, 4, 4)
    for layer in ("pool", "norm"):
        windows = deconv.receptive_windows(model, layer, [[0, 0], [4, 3], [5, 3]])
        assert windows.tolist() == [[0, 0, 3, 3], [8, 6, 11, 9], [10, 6, 12, 9]]
    assert deconv.receptive_windows(model, "conv", [4, 2]).tolist() == [8, 4, 12, 7]


def test_no_unit_of_a_real_alexnet_notices_a_pixel_outside_its_window_and_each_notices_one_inside():
    model = SPECIMENS["alexnet"]("float64")
    pixels = images(model, 1)
    height, width = pixels.shape[1:3]
    changed = np.repeat(pixels, height * width, axis=0)
    changed.reshape(height * width, height * width, -1)[np.eye(height * width, dtype=bool)] += 5
    for layer in ("norm1", "pool1", "pool2", "norm2"):
        before, after = (deconv.activations(model, some, layer)[layer] for some in (pixels, changed))
        notices = (np.abs(after - before) > 1e-12).any(axis=-1)  # (pixels, rows, columns)
        for row, column in positions_of(before.shape):
            top, left, bottom, right = deconv.receptive_windows(model, layer, [row, column])
            seen = notices[:, row, column].reshape(height, width)
            assert seen.any() and seen.sum() == seen[top:bottom, left:right].sum()


def test_a_layer_whose_class_says_nothing_is_taken_to_see_everything():
    heir = type("Heir", (LocalResponseNormalization,), {})
    image = keras.Input((7, 6, 4))
    model = keras.Model(image, heir(name="top")(kl.Conv2D(4, 3, name="conv")(image)))
    assert deconv.receptive_windows(model, "top", [1, 1]).tolist() == [0, 0, 7, 6]


# Upwards


class Renamed(keras.layers.Conv2D):
    """A convolution under another name."""


class Centred(keras.layers.Conv2D):
    """A convolution of maps less their mean over all positions: each of its units sees everything."""

    def call(self, maps):
        return super().call(maps - keras.ops.mean(maps, axis=(1, 2), keepdims=True))


class CentredDense(keras.layers.Dense):
    def call(self, maps):
        return super().call(maps - keras.ops.mean(maps, axis=(1, 2), keepdims=True))


class CentredSum(keras.layers.Add):
    def _merge_function(self, maps):
        total = super()._merge_function(maps)
        return total - keras.ops.mean(total, axis=(1, 2), keepdims=True)


@pytest.mark.parametrize(
    "make, window",
    [
        (lambda x: Renamed(2, 3, name="top")(x), [1, 2, 4, 5]),
        (lambda x: Centred(2, 3, name="top")(x), [0, 0, 7, 9]),
        (lambda x: CentredDense(2, name="top")(x), [0, 0, 7, 9]),
        (lambda x: CentredSum(name="top")([x, x]), [0, 0, 7, 9]),
    ],
)
def test_a_subclass_sees_what_its_class_sees_only_if_it_computes_the_same(make, window):
    inputs = keras.Input((7, 9, 2))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(make(inputs))))
    np.testing.assert_array_equal(deconv.receptive_windows(model, "top", [1, 2]), window)
    image = np.random.default_rng(0).normal(size=(7, 9, 2)).astype("float32")
    maps = [deconv.occlusion_maps(model, image, 1, "top", 3, 2, 0.0, exact=exact) for exact in (True, "full")]
    np.testing.assert_allclose(maps[0].probability, maps[1].probability, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(maps[0].activation, maps[1].activation, rtol=1e-5, atol=1e-5)


def noticed_by_brute_force(model):
    """`{path: (pixels, rows, columns) bools}`: which units notice which pixel."""
    height, width, channels = model.input_shape[1:]
    pixels = np.eye(height * width).reshape(-1, height, width, 1) * np.ones(channels)
    found = reference.forward(transparent(model), pixels)
    return {path: maps.max(axis=-1) > 0 for path, maps in found.items() if maps.ndim == 4}


def rectangles_in(height, width, count=25, seed=0):
    """Random rectangles, and the four corners, the last row and the whole."""
    random = np.random.default_rng(seed)
    rows, columns = (np.sort(random.integers(0, side + 1, (count, 2)), axis=1) for side in (height, width))
    found = np.stack([rows[:, 0], columns[:, 0], rows[:, 1], columns[:, 1]], axis=1)
    found = found[(found[:, 2:] > found[:, :2]).all(axis=1)]
    edges = [[0, 0, 1, 1], [0, width - 1, 1, width], [height - 1, 0, height, 1], [height - 1, 0, height, width]]
    return np.concatenate([found, edges, [[height - 1, width - 1, height, width], [0, 0, height, width]]])


def assert_touches(touched, notices, rectangles, size, gaps):
    """Equal to the smallest window around all units that notice a pixel of the rectangle; with gaps it holds them."""
    pixels = np.zeros((len(rectangles), *size), bool)
    for inside, (top, left, bottom, right) in zip(pixels, rectangles, strict=True):
        inside[top:bottom, left:right] = True
    noticed = np.einsum("rp,phw->rhw", pixels.reshape(len(pixels), -1).astype(int), notices.astype(int)) > 0
    brute = np.array([box(units) for units in noticed])
    sees = brute.any(axis=1)
    if gaps:
        assert (touched[sees, :2] <= brute[sees, :2]).all() and (touched[sees, 2:] >= brute[sees, 2:]).all()
    else:
        np.testing.assert_array_equal(touched, brute)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SPECIMENS if name != "lenet"])
def test_a_rectangle_touches_exactly_the_units_in_its_window(name):
    model = SPECIMENS[name]()
    size = model.input_shape[1:3]
    rectangles = rectangles_in(*size)
    for path, notices in noticed_by_brute_force(model).items():
        if path in [step.name for step in graph.walk(model).steps]:
            touched = deconv.touched_windows(model, path, rectangles)
            gaps = name in ("dilated", "valid_stride2") or (name, path) in AFTER
            assert_touches(touched, notices, rectangles, size, gaps)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.tuples(st.integers(9, 14), st.integers(9, 14)), st.lists(LAYER, min_size=1, max_size=3))
def test_both_directions_say_the_same_of_any_stack(size, stack):
    maps = image = keras.Input((*size, 2))
    for kind, cells, stride, padding in stack:
        padding = "ceil" if kind is CeilMaxPooling2D else padding
        assume(padding == "same" or (maps.shape[1] >= cells[0] and maps.shape[2] >= cells[1]))
        assume(padding != "ceil" or stride <= min(cells))
        own = {kl.Conv2D: {"filters": 2, "kernel_size": cells}, kl.DepthwiseConv2D: {"kernel_size": cells}}
        own[GroupedConv2D] = {**own[kl.Conv2D], "groups": 2}
        layer = kind(**own.get(kind, {"pool_size": cells}), strides=stride, padding=padding)
        maps = layer(maps)
    model, rectangles = keras.Model(image, maps), rectangles_in(*size)
    positions = positions_of(maps.shape)
    seen = deconv.receptive_windows(model, layer.name, positions)
    touched = deconv.touched_windows(model, layer.name, rectangles)
    meets = overlap(seen[None], rectangles[:, None])  # (rectangles, positions)
    inside = overlap(np.concatenate([positions, positions + 1], axis=1)[None], touched[:, None])
    if all(stride <= min(cells) for _, cells, stride, _ in stack):
        np.testing.assert_array_equal(inside, meets)
    else:  # a window reaches over the gaps in what the unit sees
        assert (meets | ~inside).all()


def overlap(one, other):
    """Whether windows share a cell."""
    first, last = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    return (last > first).all(axis=-1)


def test_touched_windows_of_lenet_by_hand():
    # Rows 10..12 by columns 0..0. conv1 is 5x5 SAME: 8..14 by 0..2. pool1 2x2: 4..7 by 0..1. conv2 5x5 VALID, 10 x 10:
    # 0..7 by 0..1. pool2: 0..3 by 0..0. A dense layer is one cell.
    model, rectangle = SPECIMENS["lenet"](), [10, 0, 13, 1]
    expected = {"conv1": [8, 0, 15, 3], "pool1": [4, 0, 8, 2], "conv2": [0, 0, 8, 2], "pool2": [0, 0, 4, 1]}
    for layer, window in {**expected, "dense1": [0, 0, 1, 1], "predictions": [0, 0, 1, 1]}.items():
        assert deconv.touched_windows(model, layer, rectangle).tolist() == window


def test_what_lies_between_windows_touches_nothing():
    # Windows of 2 every 3 cells: cells 2, 5, 8 are in none; cells 1..3 are in the first and the second.
    image = keras.Input((8, 9, 1))
    model = keras.Model(image, kl.MaxPooling2D(2, 3, name="pool")(image))
    rectangles = [[2, 0, 3, 1], [0, 5, 4, 6], [1, 4, 4, 7]]
    expected = [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 2, 3]]
    assert deconv.touched_windows(model, "pool", rectangles).tolist() == expected


@pytest.mark.parametrize("rectangle", [[3, 0, 3, 1], [0, -1, 2, 2], [0, 0, 29, 3], [0.0, 0.0, 1.0, 1.0], [0, 0, 3]])
def test_rectangles_that_are_none_are_refused(rectangle):
    with pytest.raises(ValueError, match=r"rectangles must be \(top, left, bottom, right\) inside the image, 28 by 28"):
        deconv.touched_windows(SPECIMENS["lenet"](), "conv1", rectangle)
