"""Before and after pooling: numbers worked out on maps small enough to count."""

import keras
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers as kl
from specimens import SPECIMENS, images

import deconv
from deconv.imaging.affine_transforms import move


def mirror_of_the_image(height, width, pool=2):
    """A model whose maps are the image itself and its negative, then a pool."""
    image = keras.Input((height, width, 1), dtype="float64")
    maps = kl.Conv2D(2, 1, activation="relu", use_bias=False, name="conv", dtype="float64")(image)
    model = keras.Model(image, kl.MaxPooling2D(pool, name="pool", dtype="float64")(maps))
    model.set_weights([np.reshape([1.0, -1.0], (1, 1, 1, 2))])
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pool", "conv"),
    [("overlapping", "pool2", "conv2"), ("same", "pool1", "conv1"), ("valid_stride2", "pool1", "conv1")],
)
def test_maps_switches_and_projections_are_those_of_the_slow_twins(name, pool, conv):
    model = SPECIMENS[name]("float64")
    pixels, channels = images(model, 3), [3, 0, -1]
    found = deconv.compare_pooling(model, pixels, pool, channels, shifts=(1,), batch_size=2)
    outputs = reference.forward(model, pixels)
    layer = model.get_layer(pool)
    pooled, switches = reference.max_pool(outputs[conv], layer.pool_size, layer.strides, layer.padding)
    assert (found.before_layer, found.after_layer) == (conv, pool)
    kept = found.channels
    assert kept.tolist() == [3, 0, outputs[pool].shape[-1] - 1]
    np.testing.assert_array_equal(found.switches, switches[..., kept])
    np.testing.assert_allclose(found.after, pooled[..., kept], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.before, outputs[conv][..., kept], rtol=0, atol=1e-12)
    for side, path, maps in ((found.before_projection, conv, outputs[conv]), (found.after_projection, pool, pooled)):
        for place, channel in enumerate(kept):
            signal = np.where(np.arange(maps.shape[-1]) == channel, maps, 0)
            expected = reference.project(model, pixels, path, signal)
            np.testing.assert_allclose(side[:, place], expected, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("lenet", "conv2", "pool2"),
        ("overlapping", "conv1", "pool1"),
        ("same", "conv2", "pool2"),
        ("branching", "add", "pool"),
        ("global_max", "conv2", "max"),
    ],
)
def test_the_strongest_unit_projects_to_the_same_picture_from_either_side_of_the_pool(name, before, after):
    model = SPECIMENS[name]("float64")
    net, pixels, channels = deconv.Deconvnet(model), images(model, 3), [0, 1, 2, 3]
    below = net.project(pixels, after, channels)
    assert np.abs(below).max() > 0
    np.testing.assert_allclose(below, net.project(pixels, before, channels), rtol=0, atol=1e-12)


def test_energy_kept_by_hand():
    # First channel: 1 2 / 2 4, of whose squares 1 + 4 + 4 + 16 the switch keeps 16. Second channel: silent.
    before = np.zeros((1, 2, 2, 2))
    before[0, ..., 0] = [[1, 2], [2, 4]]
    kept = deconv.energy_kept(before, np.array([3, 0]).reshape(1, 1, 1, 2))
    assert kept[0, 0] == 16 / 25 and np.isnan(kept[0, 1])


def test_a_maximum_that_several_windows_share_is_counted_once():
    maps = np.zeros((1, 5, 5, 1))
    maps[0, 2, 2], maps[0, 0, 1], maps[0, 4, 4] = 4, 3, 5  # windows 0 and 1 and 2 find the 4, the last the 5
    _, switches = reference.max_pool(maps, (3, 3), (2, 2))
    assert switches.ravel().tolist() == [12, 12, 12, 24]
    assert deconv.energy_kept(maps, switches).tolist() == [[41 / 50]]


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 999), st.integers(1, 3))
def test_without_overlap_energy_kept_is_the_energy_of_the_pooled_maps(seed, pool):
    maps = np.random.default_rng(seed).exponential(size=(2, 7, 6, 3))
    pooled, switches = reference.max_pool(maps, (pool, pool), (pool, pool))
    expected = (pooled**2).sum(axis=(1, 2)) / (maps**2).sum(axis=(1, 2))
    np.testing.assert_allclose(deconv.energy_kept(maps, switches), expected, rtol=1e-12)


def test_move_by_hand():
    picture = np.arange(1, 7.0).reshape(1, 2, 3, 1)  # 1 2 3 / 4 5 6
    moved = {
        (1, 0): [[0, 0, 0], [1, 2, 3]],
        (-1, 0): [[4, 5, 6], [0, 0, 0]],
        (0, 2): [[0, 0, 1], [0, 0, 4]],
        (0, -1): [[2, 3, 0], [5, 6, 0]],
        (1, -2): [[0, 0, 0], [3, 0, 0]],
        (2, 0): [[0, 0, 0], [0, 0, 0]],
        (0, -5): [[0, 0, 0], [0, 0, 0]],
    }
    for (down, right), expected in moved.items():
        assert move(picture, down, right)[0, ..., 0].tolist() == expected
    assert move(np.ones((1, 1, 2, 2)), 0, 1, fill=[7, 8])[0, 0].tolist() == [[7, 8], [1, 1]]


@pytest.mark.slow
def test_how_much_a_single_bright_pixel_changes_when_it_moves():
    # Row 2, column 2 of 8x8, in pooled cell (1, 1). By one pixel: the map always changes, |a' - a| / |a| = sqrt(2);
    # down and right stay inside the cell (0), up and left do not (sqrt 2). By two: all change. By nine: it is gone, 1.
    pixels = np.zeros((1, 8, 8, 1))
    pixels[0, 2, 2] = 5
    found = deconv.compare_pooling(mirror_of_the_image(8, 8), pixels, "pool", shifts=(1, 2, 9))
    root = np.sqrt(2)
    np.testing.assert_allclose(found.change_before[:, 0], [root, root, 1], rtol=1e-12)
    np.testing.assert_allclose(found.change_after[:, 0], [root / 2, root, 1], rtol=1e-12)
    assert np.isnan(found.change_before[:, 1]).all() and np.isnan(found.energy_kept[0, 1])  # the negative is silent
    assert found.energy_kept[0, 0] == 1 and found.shifts.tolist() == [1, 2, 9]


@pytest.mark.slow
def test_how_much_a_constant_map_changes_when_background_moves_in():
    # 8 rows by 6 columns of 3: a move by s blanks s / 8 of the map up or down, s / 6 left or right, so the change is
    # the root of that; pooled by 2, a move by 1 leaves a 3 in every cell, and a move by 2 blanks 1 / 4 and 1 / 3.
    pixels = np.full((2, 8, 6, 1), 3.0)
    found = deconv.compare_pooling(mirror_of_the_image(8, 6), pixels, "pool", [0], shifts=(1, 2))
    before = [(np.sqrt(s / 8) + np.sqrt(s / 6)) / 2 for s in (1, 2)]
    np.testing.assert_allclose(found.change_before[:, 0], before, rtol=1e-12)
    np.testing.assert_allclose(found.change_after[:, 0], [0, before[1]], rtol=1e-12, atol=1e-15)
    same = deconv.compare_pooling(mirror_of_the_image(8, 6), pixels, "pool", [0], shifts=(1, 2), fill=3.0)
    assert not same.change_before.any() and not same.change_after.any()


@pytest.mark.slow
def test_a_silent_map_in_one_image_does_not_spoil_the_mean_over_the_others():
    pixels = np.zeros((3, 8, 8, 1))
    pixels[1, 2, 2] = 5
    found = deconv.compare_pooling(mirror_of_the_image(8, 8), pixels, "pool", [0], shifts=(2,), batch_size=2)
    np.testing.assert_allclose(found.change_before, [[np.sqrt(2)]], rtol=1e-12)
    assert np.isnan(found.energy_kept[[0, 2]]).all() and found.energy_kept[1, 0] == 1
