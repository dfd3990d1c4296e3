"""Sheets of inversions, dreams and styles show what they are given; their benchmark clocks what it says."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import synthesis
from deconv.features.style import StyleTransfer
from deconv.plotting.inversion_dream_style import dream_sheet, inversion_sheet, style_sheet


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def shown(fig):
    """All pictures of a figure, row by row."""
    return [np.asarray(drawn.get_array()) for ax in fig.axes for drawn in ax.get_images()]


@pytest.mark.parametrize("channels", [1, 3])
def test_an_inversion_sheet_shows_every_picture_and_charts_likeness_and_distance(channels):
    images = np.random.default_rng(0).uniform(size=(2, 5, 4, channels))
    flat = np.full_like(images, 0.5)
    fig = inversion_sheet(
        images, {"conv$1": (images, [0.0004, 0.0016]), "fc": (1 - images, [1, 4]), "even": (flat, [1, 1])}, "t"
    )
    pictures = shown(fig)
    assert len(pictures) == 8
    np.testing.assert_allclose(pictures[5].reshape(images[0].shape), 1 - images[1])
    likeness, distance = fig.axes[-2:]
    np.testing.assert_allclose(likeness.get_lines()[-1].get_ydata(), [1, -1, 0], atol=1e-12)
    np.testing.assert_allclose(distance.get_lines()[2].get_ydata(), [0.03, 1.5, 1])
    assert [tick.get_text() for tick in distance.get_xticklabels()] == ["conv$1", "fc", "even"]


def test_a_dream_sheet_has_a_column_for_the_images_and_one_for_each_layer():
    images = np.random.default_rng(0).uniform(size=(2, 6, 9, 3))
    fig = dream_sheet(images, {"conv1": images / 2, "conv2": images / 4}, "dreams")
    assert [ax.get_title() for ax in fig.axes] == ["image", "conv1", "conv2", "", "", ""]
    np.testing.assert_allclose(shown(fig)[5], images[1] / 4)


def test_a_style_sheet_shows_three_pictures_and_every_loss():
    content, style = np.zeros((6, 9, 3)), np.ones((4, 4, 3))
    transfer = StyleTransfer(
        np.full((6, 9, 3), 51.0), {"conv2": 0.5}, {"conv1": 0.25, "conv2": 0.125}, np.array([3.0, 2])
    )
    fig = style_sheet(content, style, transfer, "painted")
    assert [picture.mean() for picture in shown(fig)] == pytest.approx([0, 1, 0.2])
    progress, losses = fig.axes[-2:]
    assert progress.get_lines()[0].get_ydata().tolist() == [3, 2]
    assert [bar.get_width() for bar in losses.patches] == [0.5, 0.25, 0.125]
    names = [tick.get_text() for tick in losses.get_yticklabels()]
    assert names == ["conv2, content", "conv1, style", "conv2, style"]


@pytest.mark.slow
def test_a_quick_run_of_the_benchmark_clocks_all_three(tmp_path):
    out = tmp_path / "found.json"
    result = CliRunner().invoke(synthesis.app, ["--quick", "--repeats", "1", "--out", str(out)])
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text(encoding="utf-8"))
    assert set(found["times"]) == set(found["reached"]) == {"dream", "style", "inversion"}
    assert all(clock["low"] > 0 for clock in found["times"].values())
    assert found["reached"]["dream"] > 1 > found["reached"]["inversion"] > 0
    assert found["within_two_minutes"] == (max(found["times"][row]["median"] for row in ("dream", "style")) < 120)
