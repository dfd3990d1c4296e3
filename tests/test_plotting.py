"""Scaling rules and mosaics by hand, and every sheet drawn from small arrays."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest

from deconv import plotting


def test_zero_is_mid_grey_and_the_largest_magnitude_reaches_the_end():
    pictures = np.array([[[[-2.0], [0.0], [1.0]]], [[[0.0], [0.0], [4.0]]]])
    assert plotting.signed(pictures)[..., 0].tolist() == [[[0.0, 0.5, 0.75]], [[0.5, 0.5, 1.0]]]
    assert plotting.signed(pictures, "shared")[..., 0].tolist() == [[[0.25, 0.5, 0.625]], [[0.5, 0.5, 1.0]]]
    assert plotting.signed(pictures, 8)[..., 0].tolist() == [[[0.375, 0.5, 0.5625]], [[0.5, 0.5, 0.75]]]


def test_a_silent_picture_is_grey_and_not_a_division_by_zero():
    with np.errstate(all="raise"):
        assert (plotting.signed(np.zeros((2, 3, 4, 1))) == 0.5).all()
        assert (plotting.signed(np.zeros((2, 3, 4, 1)), "shared") == 0.5).all()


def test_a_percentile_clips_what_exceeds_it():
    pictures = np.arange(5.0).reshape(1, 1, 5, 1)  # its 50th percentile is 2
    assert plotting.signed(pictures, percentile=50).ravel().tolist() == [0.5, 0.75, 1, 1, 1]


@pytest.mark.parametrize("scale", ["image", 0, -1.0, None])
def test_an_unknown_scale_is_refused_by_name(scale):
    with pytest.raises(ValueError, match=r"scale must be 'tile', 'shared' or a number above zero; received"):
        plotting.signed(np.ones((1, 2, 2, 1)), scale)


def test_a_mosaic_puts_tiles_row_by_row_with_gaps():
    tiles = np.array([1, 2, 3], float).reshape(3, 1, 1, 1) / 10
    assert plotting.mosaic(tiles, 2, gap=1, background=0.9)[..., 0].tolist() == [
        [0.1, 0.9, 0.2],
        [0.9, 0.9, 0.9],
        [0.3, 0.9, 0.9],
    ]


def test_a_mosaic_of_grey_tiles_takes_a_colour_between_them():
    tiles = np.array([[[[0.2]]], [[[np.nan]]]])
    assert plotting.mosaic(tiles, 2, 1, (0, 0.5, 1)).tolist() == [[[0.2] * 3, [0, 0.5, 1], [0, 0.5, 1]]]


def test_a_crop_keeps_what_the_window_sees_and_marks_what_lies_outside():
    picture = np.arange(12.0).reshape(1, 3, 4, 1)
    cuts = plotting.crop(np.repeat(picture, 3, 0), [[0, 1, 2, 3], [2, 3, 3, 4], [0, 0, 1, 2]])
    assert cuts[0, ..., 0].tolist() == [[1, 2], [5, 6]]
    assert cuts[1, 0, 0, 0] == 11 and np.isnan(cuts[1, ..., 0]).sum() == 3  # cut off below and on the right
    assert np.isnan(cuts[2, 0]).all() and cuts[2, 1, :, 0].tolist() == [0, 1]  # cut off above


def test_pixels_reach_from_black_to_white():
    assert plotting.pixels(np.array([0, 51, 255], np.uint8)).tolist() == [0, 0.2, 1]


@pytest.mark.parametrize("colours", [1, 3])
def test_a_top_sheet_names_every_channel_and_its_strongest_activation(colours):
    tiles = np.random.default_rng(0).random((5, 9, 6, 4, colours))
    figure = plotting.top_sheet(tiles, tiles, np.arange(5), "sheet", values=np.full((5, 9), 1.5), columns=3)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == [f"channel {number}, strongest 1.50" for number in range(5)]


def test_an_activation_sheet_shows_each_map_once_on_one_scale():
    maps = np.random.default_rng(0).random((2, 5, 7, 3))
    figure = plotting.activation_sheet(np.ones((2, 5, 7, 3)), maps, ["a", "b"], "sheet")
    shown = figure.axes[0].images[0]
    values = np.ma.filled(shown.get_array(), np.nan)
    assert np.nansum(values) == pytest.approx(maps.sum()) and shown.get_clim() == (0, maps.max())


def test_unit_strips_show_one_row_per_image():
    units = np.arange(6.0).reshape(2, 3)
    figure = plotting.unit_strips(units, ["a", "b"], "strips", ["x", "y", "z"])
    assert figure.axes[0].images[0].get_array().tolist() == units.tolist()
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b"]
