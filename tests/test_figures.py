"""The figures, end to end: from shipped weights and embedded digits to PNG, JSON and one page."""

import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import deconv
import models
from deconv import datasets, figures
from deconv.figures.fig1 import unpooling_data
from deconv.figures.fig2 import top_data
from deconv.figures.record import provenance, replacing, weights_hash

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = [sys.executable, ROOT / "scripts" / "make_figures.py"]


@pytest.fixture(scope="module")
def subject():
    digits = datasets.load("mnist-5k", "test")
    return figures.Subject(models.LeNet5(weights="mnist"), "mnist", digits, models.lenet5.preprocess_input)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("figures") / "new" / "folder"
    result = subprocess.run([*SCRIPT, "--out", out, "--split", "test"], capture_output=True, text=True, cwd=out.anchor)
    assert result.returncode == 0, result.stderr
    assert "index.html" in result.stdout
    return out


def test_one_command_writes_every_picture_its_numbers_and_a_page_that_shows_them(folder):
    names = {path.stem for path in folder.glob("*.png")}
    assert names == {path.stem for path in folder.glob("*.json")}
    assert {"fig1_scheme", "fig1_unpooling", "fig2_conv1", "fig2_conv2", "fig7_occlusion"} <= names
    assert {f"activations_{layer}" for layer in ("conv1", "pool1", "conv2", "pool2", "fc3", "fc4")} <= names
    assert {"pooling_pool1", "pooling_pool2", "activations_predictions"} <= names
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    page = (folder / "index.html").read_text(encoding="utf-8")
    linked = set(re.findall(r'(?:src|href)="([^"#]+)"', page))
    assert linked == {f"{name}{ending}" for name in names for ending in (".png", ".json")}


def test_every_picture_says_what_it_was_made_of(folder, subject):
    for path in folder.glob("*.json"):
        about = json.loads(path.read_text(encoding="utf-8"))
        assert about["title"] and about["caption"] and about["numbers"]
        assert about["provenance"] == provenance(subject)


def test_the_occlusion_numbers_are_those_of_the_experiment(folder, subject):
    numbers = json.loads((folder / "fig7_occlusion.json").read_text(encoding="utf-8"))["numbers"]
    image = subject.pick([numbers["image_ids"][4]])[0]
    again = deconv.occlusion_maps(subject.model, image, 4, "conv2", preprocess=subject.preprocess)
    np.testing.assert_allclose(numbers["images"][4]["probability"], again.probability, rtol=1e-3, atol=1e-6)
    assert numbers["images"][4]["predicted"] == again.predicted.tolist()


def test_the_winners_of_fig_2_are_those_of_a_full_sort_and_their_patches_are_cut_where_they_say(subject):
    pixels, _, ids = datasets.arrays(subject.data)
    activations = deconv.activations(subject.model, subject.preprocess(pixels), "conv2")["conv2"]
    (sheet,) = top_data(subject, ["conv2"], k=3)
    order = np.argsort(-activations.max(axis=(1, 2)), axis=0, kind="stable")[:3].T
    assert (sheet.tops.ids == ids[order]).all()
    for channel, place in np.ndindex(16, 3):
        top, left, bottom, right = sheet.tops.windows[channel, place]
        patch, seen = sheet.patches[channel, place], pixels[order[channel, place], top:bottom, left:right]
        assert patch[~np.isnan(patch)].tolist() == seen.ravel().tolist()


def test_the_unpooling_panel_holds_the_maxima_at_the_places_of_the_switches(subject):
    images, _, _ = subject.examples()
    (maps, switches, pooled, unpooled, zones), _ = unpooling_data(
        subject.model, subject.preprocess(images[3:4])[0], "pool1"
    )
    zone_maxima = [maps[top:bottom, left:right].max() for top, left, bottom, right in zones]
    assert zone_maxima == pooled.ravel().tolist()
    assert maps.ravel()[switches.ravel()].tolist() == unpooled.ravel()[switches.ravel()].tolist() == zone_maxima
    assert np.count_nonzero(unpooled) == np.count_nonzero(pooled)


def test_examples_are_one_of_each_class_and_the_same_for_the_same_seed(subject):
    images, labels, ids = subject.examples()
    pixels, all_labels, all_ids = datasets.arrays(subject.data)
    rows = [int(np.flatnonzero(all_ids == number)[0]) for number in ids]
    assert labels.tolist() == all_labels[rows].tolist() == list(range(10))
    assert (images == pixels[rows]).all()
    assert (subject.examples()[2] == ids).all() and (subject._replace(seed=1).examples()[2] != ids).any()


def test_the_weights_hash_changes_with_a_single_weight():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="dense")])
    before = weights_hash(model)
    assert weights_hash(model) == before
    kernel, bias = model.get_weights()
    kernel[0, 0] = np.nextafter(kernel[0, 0], 9, dtype=kernel.dtype)
    model.set_weights([kernel, bias])
    assert weights_hash(model) != before


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "vgg"], "--model must be lenet5; received 'vgg'"),
        (["--only", "fig9"], "--only takes fig1, fig2, activations, pooling, fig7; received fig9"),
        (["--weights", "nowhere.npz"], "nowhere.npz"),
        (["--dataset", "mnist-6k"], "Did you mean 'mnist-5k'?"),
    ],
)
def test_bad_arguments_get_one_line_and_leave_nothing_behind(arguments, message, tmp_path):
    result = subprocess.run([*SCRIPT, "--out", "out", *arguments], capture_output=True, text=True, cwd=tmp_path)
    said = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert len(said) == 1 and message in said[0]
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_is_a_file_is_refused_at_once(tmp_path):
    (tmp_path / "taken").write_text("mine")
    result = subprocess.run([*SCRIPT, "--out", "taken/figures"], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 2 and "cannot write into --out taken/figures" in result.stderr
    assert "is not a folder. Choose another folder." in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]
