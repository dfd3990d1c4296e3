"""Unpooling as a GPU computes it, traced and run on a CPU: the same numbers as the scatter and the slow twin."""

import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import deconv
from deconv.ops import pooling
from deconv.runtime import devices

law = settings(max_examples=40, deadline=None, derandomize=True)
pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
sizes = st.tuples(st.integers(2, 9), st.integers(2, 9))


def noise(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def on_both(*args, **kwargs):
    """`unpool` as a GPU and as a CPU computes it."""
    with devices.as_on_gpu():
        shifted = pooling.unpool(*args, **kwargs)
    return shifted.numpy(), pooling.unpool(*args, **kwargs).numpy()


@pytest.mark.slow
@law
@given(
    sizes,
    pairs,
    pairs,
    st.sampled_from(["valid", "same", "ceil"]),
    st.sampled_from(pooling.COLLISIONS),
    st.sampled_from(["float32", "float64"]),
    st.integers(0, 99),
)
def test_shifted_additions_equal_the_scatter_to_the_last_bit_and_the_slow_twin(
    size, pool, strides, padding, collisions, dtype, seed
):
    assume(padding == "same" or (pool[0] <= size[0] and pool[1] <= size[1]))
    assume(padding != "ceil" or (strides[0] <= pool[0] and strides[1] <= pool[1]))
    _, switches = pooling.max_pool_with_switches(tf.constant(noise(seed, 2, *size, 3)), pool, strides, padding)
    values = noise(seed + 1, *switches.shape).astype(dtype)
    windows = {"pool_size": pool, "strides": strides, "padding": padding}
    shifted, scattered = on_both(tf.constant(values), switches, (*size, 3), collisions, **windows)
    assert shifted.dtype == scattered.dtype == dtype
    np.testing.assert_array_equal(shifted, scattered)
    expected = reference.unpool(values, switches.numpy(), (*size, 3), collisions)
    np.testing.assert_allclose(shifted, expected, rtol=0, atol=1e-5 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize(
    ("signal", "collisions", "centre"),
    [
        ([5, 1, 4, 2], "sum", 12),
        ([5, 1, 4, 2], "last", 2),
        ([5, 1, 4, 2], "max", 5),
        ([-3, -1, -4, -2], "max", -1),
        ([-3, -1, -4, 0], "last", 0),
    ],
)
def test_four_windows_that_share_a_maximum_by_hand(signal, collisions, centre):
    # 5x5 map, 3x3 windows at stride 2: all four of them hold the centre, cell 2 * 5 + 2 = 12.
    switches = tf.constant(12, tf.int32, (1, 2, 2, 1))
    values = tf.constant(signal, tf.float64, (1, 2, 2, 1))
    shifted, scattered = on_both(values, switches, (5, 5, 1), collisions, pool_size=3, strides=2)
    expected = np.zeros((1, 5, 5, 1))
    expected[0, 2, 2] = centre
    np.testing.assert_array_equal(shifted, expected)
    np.testing.assert_array_equal(scattered, expected)


@pytest.mark.slow
def test_a_pool_as_large_as_the_map_needs_no_operation_for_each_of_its_cells():
    maps = tf.constant(noise(0, 2, 40, 30, 3))
    pooled, switches = pooling.max_pool_with_switches(maps, (40, 30))
    with devices.as_on_gpu():
        function = tf.function(lambda *at: pooling.unpool(*at, (40, 30, 3), pool_size=(40, 30)))
        graph = function.get_concrete_function(pooled, switches).graph
        back = function(pooled, switches).numpy()
    assert len(graph.get_operations()) < 80
    np.testing.assert_array_equal(back, np.where(back == 0, 0, maps))
    assert np.count_nonzero(back) == 6


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_stays_in_its_place(value):
    switches = tf.constant([[[[0], [3]], [[8], [15]]]])
    values = tf.constant([value, 1, 2, 3], tf.float32, (1, 2, 2, 1))
    for collisions in ("sum", "last"):  # for "max" the CPU's segments begin at the lowest finite number
        shifted, scattered = on_both(values, switches, (4, 4, 1), collisions, pool_size=2)
        np.testing.assert_array_equal(shifted, scattered)
        assert np.isfinite(shifted).sum() == 15


def test_a_switch_outside_of_its_window_is_an_error_where_windows_are_used():
    switches = tf.constant([[[[0], [3]], [[8], [5]]]])  # cell 5 is in the first window
    with devices.as_on_gpu(), pytest.raises(tf.errors.InvalidArgumentError, match="in their windows of 2 x 2"):
        pooling.unpool(tf.ones((1, 2, 2, 1)), switches, (4, 4, 1), pool_size=2)


def test_windows_that_are_not_as_many_as_the_values_are_refused_by_name():
    with pytest.raises(ValueError, match=r"Windows of \(2, 2\) .* give \(2, 2\) values for a map of 4 x 4; received"):
        pooling.unpool(tf.ones((1, 1, 1, 1)), tf.zeros((1, 1, 1, 1), tf.int32), (4, 4, 1), pool_size=2)


@pytest.mark.slow
def test_without_windows_a_gpu_leaves_the_scatter_to_the_cpu():
    with devices.as_on_gpu():
        function = tf.function(lambda *at: deconv.unpool(*at, (4, 4, 1), "max"))
        made = function.get_concrete_function(tf.ones((1, 2, 2, 1)), tf.zeros((1, 2, 2, 1), tf.int32))
    scatters = [op for op in made.graph.get_operations() if op.type.startswith("UnsortedSegment")]
    assert scatters and all("CPU:0" in op.device for op in scatters)
