"""The pure operations against hand-worked numbers, their adjoints and their slow twins."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deconv.ops import convolution, pooling

law = settings(max_examples=40, deadline=None, derandomize=True)
pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
sizes = st.tuples(st.integers(3, 9), st.integers(3, 9))
paddings = st.sampled_from(["valid", "same"])
pool_paddings = st.sampled_from(["valid", "same", "ceil"])


def noise(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def assert_adjoint(up, x, down, y):
    """`<Ax, y> == <x, A'y>` to 1e-12, `up` being Ax and `down` A'y."""
    up, down = np.asarray(up), np.asarray(down)
    assert up.shape == y.shape and down.shape == x.shape
    assert abs(np.vdot(up, y) - np.vdot(x, down)) <= 1e-12 * np.linalg.norm(up) * np.linalg.norm(y)


def pooled_at(maps, switches):
    """The values that the switches point at, read one by one."""
    width = maps.shape[2]
    read = [maps[n, switches[n, r, c, f] // width, switches[n, r, c, f] % width, f] for n, r, c, f in every(switches)]
    return np.reshape(read, switches.shape)


def every(array):
    return np.ndindex(array.shape)


def test_rectify_sets_what_is_negative_to_zero_and_keeps_the_rest():
    assert pooling.rectify(tf.constant([-3.0, -0.0, 0.0, 2.5])).numpy().tolist() == [0, 0, 0, 2.5]


@law
@given(sizes, pairs, pairs, pool_paddings, st.sampled_from([-9, 0]), st.integers(0, 99))
def test_pooling_finds_the_maxima_and_places_of_the_slow_twin(size, pool, strides, padding, shift, seed):
    assume(padding == "same" or (pool[0] <= size[0] and pool[1] <= size[1]))
    assume(padding != "ceil" or (strides[0] <= pool[0] and strides[1] <= pool[1]))  # or a window lies outside
    maps = np.random.default_rng(seed).integers(-2, 2, (2, *size, 3)) + float(shift)  # few values: many ties
    pooled, switches = pooling.max_pool_with_switches(tf.constant(maps), pool, strides, padding)
    expected, places = reference.max_pool(maps, pool, strides, padding)
    np.testing.assert_array_equal(pooled, expected)
    np.testing.assert_array_equal(switches, places)
    if padding != "ceil":
        np.testing.assert_array_equal(pooled, tf.nn.max_pool2d(maps, pool, strides, padding.upper()))


def test_of_equal_maxima_the_first_in_row_major_order_wins():
    # One window of 2x3 cells, row by row; the maximum 7 is at cells 2 and 3: row-major order says 2,
    # column-major order would say 3. The dead channel points at cell 0.
    maps = tf.constant([[[[1.0], [0.0], [7.0]], [[7.0], [0.0], [2.0]]]])
    maps = tf.concat([maps, tf.zeros_like(maps)], axis=-1)
    pooled, switches = pooling.max_pool_with_switches(maps, (2, 3))
    assert pooled.numpy().ravel().tolist() == [7, 0] and switches.numpy().ravel().tolist() == [2, 0]


def test_a_padded_cell_never_wins_even_over_negative_maps():
    # 3x3 map, windows 2x2 at stride 2, SAME: the border is below and to the right, so the last window is cell 8 alone.
    maps = tf.reshape(-1.0 - tf.range(9.0), [1, 3, 3, 1])
    pooled, switches = pooling.max_pool_with_switches(maps, 2, padding="same")
    assert pooled.numpy().ravel().tolist() == [-1, -3, -7, -9] and switches.numpy().ravel().tolist() == [0, 2, 6, 8]


def test_arrays_of_any_floating_point_type_are_pooled_as_they_are():
    maps = noise(3, 1, 5, 6, 2)
    for dtype in (np.float16, np.float32, np.float64):
        pooled, switches = pooling.max_pool_with_switches(maps.astype(dtype), (3, 2), (2, 2))
        assert pooled.dtype == dtype
        np.testing.assert_array_equal(pooled, pooled_at(maps.astype(dtype), switches.numpy()))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_pooling_and_unpooling_keep_the_dtype_and_the_values(dtype):
    maps = tf.cast(noise(0, 2, 5, 7, 3), dtype)
    pooled, switches = pooling.max_pool_with_switches(maps, 2)
    back = pooling.unpool(pooled, switches, (5, 7, 3))
    assert pooled.dtype == back.dtype == dtype and switches.dtype == tf.int32
    assert np.array_equal(back, np.where(back == 0, 0, maps)) and np.count_nonzero(back) == 2 * 2 * 3 * 3


@law
@given(sizes, pairs, pairs, pool_paddings, st.integers(0, 99))
def test_unpool_is_the_transpose_of_pooling(size, pool, strides, padding, seed):
    assume(padding == "same" or (pool[0] <= size[0] and pool[1] <= size[1]))
    assume(padding != "ceil" or (strides[0] <= pool[0] and strides[1] <= pool[1]))
    _, switches = pooling.max_pool_with_switches(tf.constant(noise(seed, 2, *size, 3)), pool, strides, padding)
    switches, x = switches.numpy(), noise(seed + 1, 2, *size, 3)
    y = noise(seed + 2, *switches.shape)
    assert_adjoint(pooled_at(x, switches), x, pooling.unpool(tf.constant(y), switches, (*size, 3)), y)


@law
@given(sizes, pairs, pairs, st.sampled_from(pooling.COLLISIONS), st.integers(0, 99))
def test_unpool_puts_values_where_the_slow_twin_does(size, pool, strides, collisions, seed):
    _, switches = reference.max_pool(noise(seed, 2, *size, 3), pool, strides, "same")
    values = noise(seed + 1, *switches.shape)
    found = pooling.unpool(tf.constant(values), tf.constant(switches, tf.int32), (*size, 3), collisions)
    np.testing.assert_allclose(found, reference.unpool(values, switches, (*size, 3), collisions), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("signal", "collisions", "centre"),
    [
        ([1, 1, 1, 1], "sum", 4),
        ([1, 1, 1, 1], "last", 1),
        ([1, 1, 1, 1], "max", 1),
        ([5, 1, 4, 2], "sum", 12),
        ([5, 1, 4, 2], "last", 2),
        ([5, 1, 4, 2], "max", 5),
        ([-3, -1, -4, -2], "max", -1),  # compared with one another, not with the zeros around
    ],
)
def test_one_maximum_shared_by_four_windows_gets_what_the_collision_policy_says(signal, collisions, centre):
    # 5x5 map, 3x3 windows at stride 2: all four of them hold the centre, cell 2 * 5 + 2 = 12.
    maps = np.zeros((1, 5, 5, 1))
    maps[0, 2, 2] = 9
    _, switches = pooling.max_pool_with_switches(tf.constant(maps), 3, 2)
    assert switches.numpy().ravel().tolist() == [12] * 4
    back = pooling.unpool(tf.constant(signal, tf.float64, (1, 2, 2, 1)), switches, (5, 5, 1), collisions)
    expected = np.zeros((1, 5, 5, 1))
    expected[0, 2, 2] = centre
    np.testing.assert_array_equal(back, expected)


def test_transposed_filter_leads_each_value_back_along_its_weights():
    # Up: filter (1, 2, 3) over four cells a b c d gives (a + 2b + 3c, b + 2c + 3d).
    # Down, signal (1, 10): a = 1*1, b = 1*2 + 10*1, c = 1*3 + 10*2, d = 10*3.
    # A filter that slides over the padded signal without being flipped would give (3, 32, 21, 10).
    kernel = tf.constant([1.0, 2.0, 3.0], shape=(1, 3, 1, 1))
    below = convolution.transpose_conv(tf.constant([1.0, 10.0], shape=(1, 1, 2, 1)), kernel, (1, 4, 1))
    assert below.numpy().ravel().tolist() == [1, 12, 23, 30]


@law
@given(sizes, pairs, st.integers(1, 3), pairs, paddings, st.sampled_from([1, 2]), st.integers(0, 99))
def test_transpose_conv_is_the_adjoint_of_convolution_and_equals_its_twin(
    size, kernel, stride, dilation, padding, groups, seed
):
    dilation = dilation if stride == 1 else (1, 1)
    extents = [(cells - 1) * rate + 1 for cells, rate in zip(kernel, dilation, strict=True)]
    assume(padding == "same" or (extents[0] <= size[0] and extents[1] <= size[1]))
    x, kernel = noise(seed, 2, *size, 4), noise(seed + 1, *kernel, 4 // groups, 6)
    together = {"padding": padding, "dilation": dilation, "groups": groups, "strides": (stride, stride)}
    up = reference.conv2d(x, kernel, **together)
    y = noise(seed + 2, *up.shape)
    down = convolution.transpose_conv(tf.constant(y), tf.constant(kernel), (*size, 4), **together)
    assert_adjoint(up, x, down, y)
    expected = reference.transpose_conv(y, kernel, (*size, 4), **together)
    np.testing.assert_allclose(down, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@law
@given(sizes, pairs, pairs, paddings, st.sampled_from([1, 2]), st.integers(0, 99))
def test_transpose_conv_takes_a_stride_for_each_axis(size, kernel, strides, padding, groups, seed):
    assume(padding == "same" or (kernel[0] <= size[0] and kernel[1] <= size[1]))
    x, kernel = noise(seed, 2, *size, 4), noise(seed + 1, *kernel, 4 // groups, 6)
    together = {"padding": padding, "groups": groups, "strides": strides}
    up = reference.conv2d(x, kernel, **together)
    y = noise(seed + 2, *up.shape)
    down = convolution.transpose_conv(tf.constant(y), tf.constant(kernel), (*size, 4), **together)
    assert_adjoint(up, x, down, y)
    expected = reference.transpose_conv(y, kernel, (*size, 4), **together)
    np.testing.assert_allclose(down, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@law
@given(sizes, pairs, st.integers(1, 3), pairs, st.sampled_from([1, 2]), st.integers(0, 99))
def test_filters_without_a_border_equal_the_slow_twins(size, kernel, stride, dilation, groups, seed):
    dilation = dilation if stride == 1 else (1, 1)
    extents = [(cells - 1) * rate + 1 for cells, rate in zip(kernel, dilation, strict=True)]
    assume(extents[0] <= size[0] and extents[1] <= size[1])
    x, strides = noise(seed, 2, *size, 4), (stride, stride)
    full, depthwise = noise(seed + 1, *kernel, 4 // groups, 6), noise(seed + 2, *kernel, 4, 2)
    up = convolution.conv(tf.constant(x), tf.constant(full), strides, dilation, groups)
    expected = reference.conv2d(x, full, strides=strides, dilation=dilation, groups=groups)
    np.testing.assert_allclose(up, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    up = convolution.depthwise_conv(tf.constant(x), tf.constant(depthwise), strides, dilation)
    expected = reference.depthwise_conv2d(x, depthwise, strides=strides, dilation=dilation)
    np.testing.assert_allclose(up, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("place", [-1, 16])
def test_switches_that_point_outside_of_the_map_are_an_error_and_not_a_crash(place):
    switches = tf.constant([[[[0], [3]], [[8], [place]]]])
    with pytest.raises(tf.errors.InvalidArgumentError, match="switches must lie in a map of 4 x 4"):
        pooling.unpool(tf.ones((1, 2, 2, 1)), switches, (4, 4, 1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_unpool_adds_up_what_shares_a_place_in_any_float_type(dtype):
    pooled = tf.constant([1.0, 2.0, 4.0, 8.0], dtype, shape=(1, 2, 2, 1))
    unpooled = pooling.unpool(pooled, tf.reshape(tf.constant([4, 4, 4, 8]), (1, 2, 2, 1)), (3, 3, 1))
    assert unpooled.dtype == dtype and tf.cast(unpooled, "float64").numpy().ravel().tolist() == [0] * 4 + [
        7,
        0,
        0,
        0,
        8,
    ]


def test_transpose_average_pool_shares_a_value_among_the_cells_inside_the_map():
    # 3x3 map, 2x2 windows at stride 2, SAME: the windows hold 4, 2, 2 and 1 cells of the map.
    below = pooling.transpose_average_pool(
        tf.constant([4.0, 6.0, 10.0, 5.0], shape=(1, 2, 2, 1)), (3, 3, 1), 2, 2, "same"
    )
    assert below.numpy().reshape(3, 3).tolist() == [[1, 1, 3], [1, 1, 3], [5, 5, 5]]


def test_unpool_takes_the_int64_switches_that_tensorflow_itself_makes():
    maps = tf.constant(noise(0, 1, 6, 4, 3))
    pooled, switches = pooling.max_pool_with_switches(maps, 2)
    np.testing.assert_array_equal(
        pooling.unpool(pooled, tf.cast(switches, tf.int64), (6, 4, 3)), pooling.unpool(pooled, switches, (6, 4, 3))
    )


def test_unpool_refuses_switches_of_another_shape_and_names_both():
    with pytest.raises(ValueError, match=r"\(1, 2, 2, 3\) and \(1, 2, 1, 3\).*same call of max_pool_with_switches"):
        pooling.unpool(tf.zeros((1, 2, 2, 3)), tf.zeros((1, 2, 1, 3), tf.int32), (4, 4, 3))


def test_pooling_takes_a_padding_in_capitals_as_the_same_padding_or_refuses_it():
    maps = tf.constant(noise(0, 1, 5, 5, 1))
    try:
        pooled, _ = pooling.max_pool_with_switches(maps, 2, padding="VALID")
    except ValueError as refusal:
        assert "VALID" in str(refusal)
    else:
        np.testing.assert_array_equal(pooled, reference.max_pool(maps.numpy(), (2, 2), (2, 2), "valid")[0])
