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


def test_a_later_run_for_one_recipe_keeps_the_others_on_the_page(tmp_path, subject):
    for recipe in ("activations", "fig1"):
        for picture in figures.RECIPES[recipe](subject):
            figures.save(picture, tmp_path, provenance(subject))
        figures.write_index(tmp_path, "Pictures")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert {f"{path.stem}.png" for path in tmp_path.glob("*.png")} == set(re.findall(r'src="([^"]+)"', page))
    assert "fig1_scheme.png" in page and "activations_conv1.png" in page


def test_a_silent_channel_is_named_and_shows_no_patch(subject):
    model = models.LeNet5(weights="mnist")
    kernel, bias = model.get_layer("conv2").get_weights()
    bias[5] = -1000
    model.get_layer("conv2").set_weights([kernel, bias])
    (sheet,) = [
        picture for picture in figures.RECIPES["fig2"](subject._replace(model=model)) if "conv2" in picture.name
    ]
    titles = {ax.get_title(): ax for ax in sheet.figure.axes}
    shown = np.asarray(titles["channel 5, silent"].images[0].get_array())
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 2  # the colour of the gaps, and the white margin


def test_figures_of_a_network_with_branches_and_nested_parts(subject):
    layers = keras.layers
    inner = keras.Input((14, 14, 3))
    block = layers.Conv2D(3, 3, padding="same", activation="relu", name="conv")(inner)
    base = keras.Model(inner, layers.MaxPooling2D(2, name="pool")(layers.Add(name="add")([inner, block])), name="base")
    image = keras.Input((28, 28, 1))
    maps = layers.MaxPooling2D(2, name="pool")(layers.Conv2D(3, 3, padding="same", activation="relu")(image))
    vector = layers.Flatten()(base(maps))
    other = subject._replace(model=keras.Model(image, layers.Dense(10, "softmax")(vector), name="own"))
    names = [picture.name for recipe in figures.RECIPES.values() for picture in recipe(other)]
    assert {"fig1_scheme", "fig2_base.conv", "pooling_base.pool", "fig7_occlusion"} <= set(names)


def test_a_network_trained_on_pictures_of_ones_own_is_drawn_with_its_own_classes(tmp_path):
    images, labels, _ = datasets.arrays(datasets.load("mnist-5k", "test"))
    for name, digit in (("one", 1), ("seven", 7)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number, image in enumerate(images[labels == digit][:5]):
            keras.utils.save_img(tmp_path / "own" / name / f"{number}.png", image, scale=False)
    models.LeNet5(weights=None, classes=2).save_weights(tmp_path / "own.weights.h5")
    options = ["--dataset", "own", "--weights", "own.weights.h5", "--only", "fig7", "--out", "out"]
    result = subprocess.run([*SCRIPT, *options], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    numbers = json.loads((tmp_path / "out" / "fig7_occlusion.json").read_text(encoding="utf-8"))["numbers"]
    assert {maps["target"] for maps in numbers["images"]} == {0, 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "vgg"], "--model must be lenet5; received 'vgg'"),
        (["--seed", "-1"], "--seed must be at least 0; received -1"),
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
    assert "Not a directory. Choose a folder that is yours to write." in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]
