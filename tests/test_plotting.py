"""Scaling rules and mosaics by hand, and every sheet drawn from small arrays."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

import deconv
from deconv import plotting


@pytest.fixture(autouse=True)
def closed():
    """Close what a test has drawn."""
    yield
    plt.close("all")


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


def occluded(predicted, target=0):
    """`OcclusionMaps` of a 6x8 image, squares of 2 and stride 2, that differ in nothing but the most probable class."""
    predicted = np.reshape(predicted, (3, 4))
    flat = np.linspace(0, 1, 12).reshape(3, 4)
    tops, lefts = np.arange(0, 5, 2), np.arange(0, 7, 2)
    return deconv.OcclusionMaps(flat, predicted, flat + 1, tops, lefts, (2, 2), target, 1, (0.5, target, 1.0))


def class_panels(maps, class_names, names=None):
    """Draw; the map of each row's classes, as what it paints, and the ticks of the bar below them."""
    pictures = np.full((len(maps), 6, 8, 3), 0.5)
    names = names or ["left"] * len(maps)
    figure = plotting.occlusion_sheet(pictures, maps, pictures, names, class_names, "sheet")
    figure.canvas.draw()
    rows = [figure.axes[5 * row : 5 * row + 5] for row in range(len(maps))]
    meshes = [row[4].collections[0] for row in rows]
    bar = figure.axes[-1]
    ticks = dict(zip([label.get_text() for label in bar.get_xticklabels()], bar.get_xticks(), strict=True))
    return meshes, ticks, rows, bar


def test_of_a_thousand_classes_an_occlusion_sheet_shows_those_that_occur_in_their_colours():
    names = [f"name {number}" for number in range(1000)]
    maps = [occluded([999] * 6 + [3] * 6, 3), occluded([700] * 11 + [3], 700)]
    meshes, ticks, _, _ = class_panels(maps, names)
    assert ticks == {"name 3": 0, "name 700": 1, "name 999": 2}
    colour = {name: tuple(meshes[0].to_rgba(place)) for name, place in ticks.items()}
    assert len(set(colour.values())) == 3
    for mesh, found in zip(meshes, maps, strict=True):
        painted = mesh.to_rgba(mesh.get_array()).reshape(12, 4)
        assert [tuple(one) for one in painted] == [colour[names[number]] for number in found.predicted.ravel()]


def test_of_few_classes_all_are_shown_even_those_that_never_occur():
    meshes, ticks, _, bar = class_panels([occluded([2] * 12)], ["a", "b", "c", "d"])
    assert ticks == {"a": 0, "b": 1, "c": 2, "d": 3} and bar.get_xlabel() == "class"
    assert (np.asarray(meshes[0].get_array()) == 2).all() and meshes[0].get_clim() == (-0.5, 3.5)


def test_more_classes_than_colours_leave_the_rarest_grey_and_say_so():
    # 24 classes in two images, four of them once and the others twice or more: 20 keep a colour of their own.
    predicted = [[*range(100, 112)], [*range(100, 104), 112, 113, 114, 115, 116, 117, 118, 119]]
    maps = [occluded(one) for one in predicted]
    maps += [occluded([*range(104, 112), 112, 113, 114, 115]), occluded([*range(116, 120), 1, 2, 3, 4, 5, *[116] * 3])]
    meshes, ticks, _, bar = class_panels(maps, [str(number) for number in range(500)])
    assert list(ticks) == [str(number) for number in range(100, 120)] and "light grey: another" in bar.get_xlabel()
    colours = [tuple(meshes[0].to_rgba(place)) for place in range(20)]
    assert len(set(colours)) == 20
    last = np.ma.filled(meshes[3].get_array().astype(float), np.nan).ravel()
    assert np.isnan(last[4:9]).all() and last[:4].tolist() == [16, 17, 18, 19] and (last[9:] == 16).all()


def test_two_images_of_one_class_and_names_with_dollars_are_drawn_as_they_are():
    maps = [occluded([0] * 12), occluded([1] * 12, 1)]
    names = ["$5 note", "$5 note"]
    _, ticks, rows, _ = class_panels(maps, ["$5 note", "$10 note"], names)
    assert [row[0].get_ylabel() for row in rows] == ["$5 note"] * 2
    assert list(ticks) == ["$5 note", "$10 note"]


def test_the_frame_of_an_occlusion_sheet_is_the_square_that_hurts_most():
    found = occluded([0] * 12)
    lowest = found._replace(probability=np.where(np.arange(12).reshape(3, 4) == 6, -1.0, 0.5))
    _, _, rows, _ = class_panels([lowest], ["a"])
    (frame,) = rows[0][0].patches
    # Place 6 of four columns: row 1, column 2, so the square begins at row 2 and column 4.
    assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((3.5, 1.5), 2, 2)


@pytest.mark.parametrize("colours", [1, 3])
def test_a_filter_sheet_shows_each_filter_once_on_either_scale(colours):
    own, shared = np.random.default_rng(0).random((2, 5, 3, 4, colours))
    figure = plotting.filter_sheet(own, shared, "filters")
    for ax, tiles in zip(figure.axes, (own, shared), strict=False):
        shown = np.asarray(ax.images[0].get_array())
        for number, tile in enumerate(tiles):  # three columns; one pixel between tiles
            top, left = 4 * (number // 3), 5 * (number % 3)
            np.testing.assert_array_equal(shown[top : top + 3, left : left + 4], np.broadcast_to(tile, (3, 4, 3)))
    assert [ax.get_title() for ax in figure.axes[:2]] == ["each on its own scale", "all on one scale"]


def test_an_activation_sheet_counts_channels_or_takes_their_numbers():
    maps = np.ones((1, 2, 2, 3))
    for numbers, expected in ((None, ["0", "1", "2"]), (np.array([4, 17, 95]), ["4", "17", "95"])):
        figure = plotting.activation_sheet(np.ones((1, 2, 2, 1)), maps, ["a"], "sheet", numbers)
        assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["image", *expected]
