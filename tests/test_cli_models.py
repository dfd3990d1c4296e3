"""Commands on models of a user's own: several outputs, logits, activations without a deconvnet, other shapes."""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers as kl
from PIL import Image
from typer.testing import CliRunner

import deconv
from deconv import datasets
from deconv.cli import app

SIDES = 20, 18
"""Height and width of the pictures."""


def filled(model, seed=0):
    random = np.random.default_rng(seed)
    model.set_weights([0.25 * random.standard_normal(weight.shape) for weight in model.get_weights()])
    return model


def gelu_above():
    """Two classes by their logits; conv1 is rectified, conv2 is not."""
    image = keras.Input((*SIDES, 3))
    maps = kl.MaxPooling2D(2)(kl.Conv2D(4, 3, activation="relu", name="conv1")(image))
    maps = kl.Conv2D(5, 3, activation="gelu", name="conv2")(maps)
    return filled(keras.Model(image, kl.Dense(2, name="head")(kl.Flatten()(maps)), name="own"))


def two_heads():
    """The first output, of three classes, is made before the second, of five."""
    image = keras.Input((*SIDES, 3))
    flat = kl.Flatten(name="flat")(kl.Conv2D(3, 5, strides=3, activation="relu", name="conv1")(image))
    first = kl.Dense(3, "softmax", name="first")(kl.Dense(7, "relu", name="below_first")(flat))
    second = kl.Dense(5, name="second")(kl.Dense(6, "relu", name="below_second")(flat))
    return filled(keras.Model(image, [first, second], name="heads"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    random = np.random.default_rng(1)
    for name in ("moss", "ruby"):
        (place / "pictures" / name).mkdir(parents=True)
        for number in range(2):
            pixels = random.integers(0, 256, (*SIDES, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(place / "pictures" / name / f"{number}.png")
    folder = str(Path(__file__).resolve().parent)
    (place / "zoo.py").write_text(f"import sys\nsys.path.append({folder!r})\nfrom test_cli_models import *\n")
    return place


def run(place, monkeypatch, command, model, *more):
    """`(result, {name of a picture: its JSON})` of a command on a model of this file."""
    monkeypatch.chdir(place)
    sys.modules.pop("zoo", None)
    out = place / "out" / f"{command}-{model}"
    words = [command, "--model", f"zoo:{model}", "--images", "pictures", "--preprocess", "unit", "--out", str(out)]
    result = CliRunner().invoke(app, [*words, *more])
    assert result.exit_code == 0, (result.stderr, result.exception)
    return result, {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in out.glob("*.json")}


def unit(pixels):
    return np.float32(pixels / 255)


def pictures(place, ids):
    return datasets.load(str(place / "pictures"), "all").pick(ids)


@pytest.mark.slow
def test_an_occlusion_map_needs_no_projection_and_has_the_usual_square_and_grey(place, monkeypatch):
    result, told = run(place, monkeypatch, "occlude", "gelu_above", "--count", "1")
    numbers = told["occlude"]["numbers"]
    expected = deconv.occlusion_maps(
        gelu_above(), pictures(place, numbers["image_ids"])[0], None, "conv2", preprocess=unit
    )
    found = numbers["images"][0]
    np.testing.assert_allclose(found["probability"], expected.probability, rtol=1e-4)
    np.testing.assert_allclose(found["activation"], expected.activation, rtol=1e-3, atol=1e-4)
    assert found["tops"] == expected.tops.tolist() and tuple(found["size"]) == expected.size == (4, 4)
    assert numbers["fill"] == 128 and numbers["score"] == "score (logit)"
    assert "'conv2'" in numbers["left_out"]["projection"] and "gelu" in numbers["left_out"]["projection"]
    notes = [line for line in result.stderr.splitlines() if line.startswith("Note: The projection of conv2 is left")]
    assert len(notes) == 1 and "(d) score (logit) of the class" in told["occlude"]["caption"]
    assert "projection of that map" not in told["occlude"]["caption"] and "is left out" in told["occlude"]["caption"]


@pytest.mark.slow
def test_the_strongest_units_of_a_layer_without_a_deconvnet_are_shown_by_their_patches_alone(place, monkeypatch):
    result, told = run(place, monkeypatch, "top", "gelu_above", "--k", "2")
    tops = deconv.top_activations(
        gelu_above(), datasets.load(str(place / "pictures"), "all"), ["conv1", "conv2"], 2, preprocess=unit
    )
    for layer, found in tops.items():
        numbers = told[f"top_{layer}"]["numbers"]
        np.testing.assert_allclose(numbers["values"], found.values, rtol=1e-4, atol=1e-6)
        assert numbers["ids"] == found.ids.tolist()
    assert told["top_conv1"]["numbers"]["left_out"] == {}
    assert "gelu" in told["top_conv2"]["numbers"]["left_out"]["projection"]
    assert result.stderr.count("Note: ") == 1 and "projection of conv2 is left out" in result.stderr
    assert "the projections of" in told["top_conv1"]["caption"] and "is left out" in told["top_conv2"]["caption"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "score"), [("gelu_above", "score (logit) of '{}'"), ("two_heads", "probability of '{}'")]
)
def test_an_explanation_is_of_what_the_first_output_puts_out(model, score, place, monkeypatch):
    more = ["--method", "gradient", "--steps", "2"]
    _, told = run(place, monkeypatch, "explain", model, *more)
    (numbers,) = (one["numbers"] for one in told.values())
    outputs = keras.tree.flatten(globals()[model]()(unit(pictures(place, [numbers["image_id"]]))))[0].numpy()[0]
    names = ["moss", "ruby"] if len(outputs) == 2 else ["0", "1", "2"]
    assert numbers["target"] == outputs.argmax() and numbers["score"] == score.format(names[outputs.argmax()])
    assert numbers["deletion"]["gradient"][0] == pytest.approx(outputs.max(), rel=1e-4)


@pytest.mark.slow
def test_images_are_made_for_the_classes_of_the_first_output_and_a_weak_one_is_told(place, monkeypatch):
    result, told = run(place, monkeypatch, "visualize", "two_heads", "--steps", "1")
    numbers = told["visualize_first"]["numbers"]
    assert list(told) == ["visualize_first"] and "3 of 3 classes" in told["visualize_first"]["title"]
    model = two_heads()
    made = deconv.visualize(model, "first", preprocess=lambda pixels: pixels / 255, steps=1)
    assert numbers["layer"] == "first" and numbers["channels"] == [0, 1, 2]
    np.testing.assert_allclose(numbers["scores"], made.scores, rtol=1e-3, atol=1e-4)
    below = keras.Model(model.input, model.get_layer("below_first").output)(unit(pictures(place, range(4)))).numpy()
    kernel, bias = model.get_layer("first").get_weights()
    strongest = (below @ kernel + bias).max(axis=0)  # the logits, as the images are made for them
    np.testing.assert_allclose(numbers["strongest_in_data"], strongest, rtol=1e-4)
    weak = np.flatnonzero(made.scores < strongest)
    assert numbers["below_strongest"] == weak.tolist() and len(weak)  # one step is too little
    assert f"Note: the optimised images of {len(weak)} of 3 classes have lower activations than" in result.stderr


@pytest.mark.slow
def test_images_are_laid_out_by_the_layer_below_the_first_output(place, monkeypatch):
    _, told = run(place, monkeypatch, "embed", "two_heads", "--method", "pca")
    assert "embed_below_first" in told


def test_an_interrupt_while_the_package_is_being_loaded_ends_with_one_line_too(monkeypatch, capsys):
    from deconv import __main__, cli
    from deconv.cli import output

    def interrupted(**_):
        raise KeyboardInterrupt

    def ended_by_typer(**_):  # what Typer makes of an interrupt while it reads the options
        raise SystemExit(130)

    for app_ in (interrupted, ended_by_typer):
        monkeypatch.setattr(cli, "app", app_)
        monkeypatch.setattr(output, "error_printed", False)
        with pytest.raises(SystemExit) as end:
            __main__.main()
        assert end.value.code == 130
        assert capsys.readouterr().err == "Error: interrupted before anything was written.\n"
    monkeypatch.setattr(output, "error_printed", True)
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == 130 and capsys.readouterr().err == ""  # the command has said so itself
