"""`python -m deconv explore`: its site, its options, and its errors of one line."""

import keras
import numpy as np
import pytest
from commands import run_here
from PIL import Image
from test_explorer_site import check_site, classifier

from deconv.cli import app


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A model and a folder of photographs in two classes, in the current folder."""
    monkeypatch.chdir(tmp_path)
    classifier(3, classes=2).save("own.keras")
    for number in range(6):
        folder = tmp_path / "photos" / ("cats & dogs" if number % 2 else "<others>")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (14, 15, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    keras.utils.clear_session()
    return tmp_path


@pytest.mark.slow
def test_a_model_and_a_folder_of_photographs_become_a_site(own):
    result = run_here(
        app, "explore", "--model", "own.keras", "--images", "photos", "--k", 2, "--count", 3, "--out", "site"
    )
    assert result.exit_code == 0, result.output
    assert "Written: site/index.html" in result.output
    data = check_site(own / "site")
    assert data["site"]["labels"] == ["<others>", "cats & dogs"] and len(data["images"]) == 3
    assert [layer["layer"] for layer in data["site"]["layers"]] == ["one", "two"]


@pytest.mark.parametrize(
    ("options", "message"),
    (
        (("--k", 0), "--k must be at least 1; received 0."),
        (("--count", 0), "--count must be at least 1; received 0."),
        (("--layer", "nine"), "has no layer 'nine'"),
        (("--attribution", "magic"), "attribution must be one of gradient"),
    ),
)
def test_an_error_is_one_line_and_leaves_nothing(own, options, message):
    result = run_here(app, "explore", "--model", "own.keras", "--images", "photos", "--out", "site", *options)
    assert result.exit_code == 2 and message in result.output, result.output
    assert result.output.count("\n") == 1 and not (own / "site").exists()
