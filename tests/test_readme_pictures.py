"""The first picture of the README: which channels it shows, and how its tiles are made."""

import json

import matplotlib
import numpy as np
import pytest
from commands import run_here

matplotlib.use("Agg")

import keras

import models
from deconv import datasets, figures
from scripts import readme_pictures
from scripts.readme_pictures import app, central_side, evenly_ranked, tiles_of


def test_channels_are_chosen_at_equal_distances_in_rank_among_the_active_ones():
    strengths = np.array([0.0, 5, 3, -1, 4, 2, 1, 6])  # in order: channels 7, 1, 4, 2, 5, 6
    np.testing.assert_array_equal(evenly_ranked(strengths, 3), [1, 2, 6])
    np.testing.assert_array_equal(evenly_ranked(strengths, 6), [7, 1, 4, 2, 5, 6])
    np.testing.assert_array_equal(evenly_ranked(strengths, 8), [7, 1, 4, 2, 5, 6])
    assert len(evenly_ranked(np.zeros(4), 8)) == 0


def test_the_square_holds_nine_tenths_of_the_squared_magnitudes():
    projections = np.full((2, 3, 9, 9, 3), np.nan)
    projections[:, :, 1:, 1:] = 0
    projections[:, :, 3:6, 3:6] = 1
    assert central_side(projections) == 3
    projections[:, :, 2, 2] = projections[:, :, 6, 6] = 10
    assert central_side(projections) == 5


def test_tiles_are_grey_at_zero_and_unknown_outside_of_the_photograph():
    projections = np.zeros((1, 2, 20, 20, 3))
    projections[:, :, 9:11, 9:11, 0] = 2.0
    projections[:, 1, :, 10:] = np.nan
    tiles = tiles_of(projections)
    assert tiles.shape == (1, 2, 58, 58, 3)
    assert np.isnan(tiles[0, 1, :, 35:]).all() and not np.isnan(tiles[0, 0]).any()
    np.testing.assert_allclose(tiles[..., 1][~np.isnan(tiles[..., 1])], 0.5)


@pytest.mark.slow
def test_the_picture_is_small_and_says_which_channels_it_shows(tmp_path, monkeypatch):
    whole = models.LeNet5(weights="mnist")
    model = keras.Model(whole.input, whole.get_layer("pool2").output)
    digits = datasets.load("mnist-5k", "test").shard(40, 0)
    subject = figures.Subject(model, "mnist", digits, models.lenet5.preprocess_input, classes=())
    colour = subject.in_colour
    monkeypatch.setattr(figures.Subject, "in_colour", lambda self, projections: np.repeat(colour(projections), 3, -1))
    monkeypatch.setattr(readme_pictures, "LAYERS", ("conv1", "conv2"))
    readme_pictures.draw(subject, tmp_path / "picture.jpg")
    assert 1000 < (tmp_path / "picture.jpg").stat().st_size <= 300_000
    layers = json.loads((tmp_path / "picture.json").read_text(encoding="utf-8"))["layers"]
    assert {layer: len(one["channels"]) for layer, one in layers.items()} == {"conv1": 6, "conv2": 8}
    assert np.shape(layers["conv2"]["ids"]) == (8, 9)


@pytest.mark.parametrize("folder", ["none", "file"])
def test_a_folder_that_does_not_exist_is_an_error_of_one_line(folder, tmp_path):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    result = run_here(app, str(tmp_path / folder), "--out", str(tmp_path / "out"))
    assert result.exit_code == 2 and "FOLDER must be an existing folder" in result.output
    assert not (tmp_path / "out").exists()
