"""On the command line: models that take whole numbers as they are, and how many images are computed at a time."""

import json

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from deconv.cli import app
from deconv.cli.explain import _usual_size

FUNCTIONS = """
import keras
L = keras.layers

def network(dtype):
    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 3), dtype=dtype)
    maps = L.Conv2D(3, 3, activation="relu", name="conv")(L.Rescaling(1 / 255, name="scale")(image))
    vector = L.Flatten(name="flat")(L.MaxPooling2D(2, name="pool")(maps))
    return keras.Model(image, L.Dense(2, "softmax", name="top")(vector), name="small")

def whole():
    return network("uint8")

def real():
    return network("float32")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    random = np.random.default_rng(1)
    for name in ("moss", "ruby"):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(4):
            pixels = random.integers(0, 256, (12, 12, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{number}.png")
    (folder / "small_networks.py").write_text(FUNCTIONS)
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def asked(command, *more, model="small_networks:whole", shown="pictures", out="out"):
    given = [command, "--model", model, "--images", shown, "--out", str(out), *more]
    return CliRunner().invoke(app, given)


def numbers_of(out, name):
    (record,) = out.glob(f"{name}*.json")
    return json.loads(record.read_text(encoding="utf-8"))["numbers"]


COMMANDS = {
    "project": ("project_conv", ["--layer", "conv", "--count", "2"]),
    "occlude": ("occlude", ["--layer", "conv", "--count", "1", "--fill", "200"]),
    "explain": ("explain_", ["--steps", "3", "--method", "gradient", "--method", "occlusion"]),
    "verify": (None, ["--layer", "top"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_model_of_whole_numbers_takes_pixels_as_they_are_and_gives_what_one_of_floats_gives(command, here, tmp_path):
    name, more = COMMANDS[command]
    for model in ("whole", "real") if name else ("whole",):
        result = asked(command, *more, model=f"small_networks:{model}", out=tmp_path / model)
        assert result.exit_code == 0, result.stderr
    if name:
        found, expected = (keras.tree.flatten(numbers_of(tmp_path / model, name)) for model in ("whole", "real"))
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            is_number = isinstance(other, int | float) and not isinstance(other, bool)
            assert one == (pytest.approx(other, rel=2e-2, abs=1e-4, nan_ok=True) if is_number else other)


def test_a_preprocessing_that_makes_fractions_for_a_model_of_whole_numbers_is_refused_with_the_way_out(here):
    result = asked("project", "--preprocess", "unit", "--layer", "conv")
    assert result.exit_code == 2 and "images must be whole numbers from 0 to 255" in result.stderr
    assert "Round them" in result.stderr and len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "command", ["explain", "occlude", "top", "embed", "project", "controls", "health", "visualize"]
)
def test_what_computes_images_takes_a_batch_size_and_refuses_none(command, here):
    result = asked(command, "--batch-size", "0")
    assert result.exit_code == 2 and result.stderr.strip() == "Error: --batch-size must be at least 1; received 0."


@pytest.mark.slow
def test_a_batch_size_reaches_what_computes_and_changes_no_number(here, tmp_path):
    more = ["--method", "occlusion", "--method", "smooth_grad", "--steps", "3"]
    for name, batch in (("few", ["--batch-size", "2"]), ("usual", [])):
        result = asked("explain", *more, *batch, shown="pictures/moss/2.png", out=tmp_path / name)
        assert result.exit_code == 0, result.stderr
    few, usual = (numbers_of(tmp_path / name, "explain_0") for name in ("few", "usual"))
    for way in ("deletion", "insertion"):
        for method, curve in usual[way].items():
            np.testing.assert_allclose(few[way][method], curve, rtol=1e-4, atol=1e-6)


def test_of_larger_pictures_fewer_are_explained_at_a_time():
    sizes = {(28, 28): 32, (224, 224): 32, (227, 227): 31, (512, 512): 6, (4000, 4000): 1}
    assert {shape: _usual_size(*shape) for shape in sizes} == sizes
