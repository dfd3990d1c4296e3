"""The figures, end to end: from shipped weights and embedded digits to PNG, JSON and one page."""

import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from commands import run_here
from typer.testing import CliRunner

matplotlib.use("Agg")

import deconv
import models
from deconv import datasets, figures
from deconv.cli import app as commands
from deconv.figures import picture as picture_module
from deconv.figures.fig1 import unpooling_data
from deconv.figures.fig2 import top_data
from deconv.figures.picture import provenance, weights_hash
from deconv.probing import training_from_scratch
from deconv.runtime.atomic_files import replacing
from models.layers import CeilMaxPooling2D, GroupedConv2D, LocalResponseNormalization
from models.loading import weight_files
from scripts import train_variants
from scripts.make_figures import app

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = [sys.executable, ROOT / "scripts" / "make_figures.py"]


@pytest.fixture(scope="module")
def subject():
    digits = datasets.load("mnist-5k", "test")
    return figures.Subject(models.LeNet5(weights="mnist"), "mnist", digits, models.lenet5.preprocess_input)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What LeNet-5 can be asked, from one command, with the runs of the package: nothing is trained."""
    out = tmp_path_factory.mktemp("figures") / "new" / "folder"

    def refuse(*given, **options):
        raise AssertionError("a network was trained")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picture_module.save, "__defaults__", (40,))  # small images are drawn quickly
        patch.setattr(train_variants, "train", refuse)
        patch.setattr(training_from_scratch.Trainer, "train", refuse)
        result = run_here(app, "--out", out, "--split", "test")
    assert result.exit_code == 0, result.output
    assert "index.html" in result.stdout and "No figures" not in result.stdout
    assert "Runs: those of the package, with float16 weights (ablation, evolution, regularisation)." in result.stdout
    return out


@pytest.mark.slow
def test_a_missing_run_is_trained_if_asked(tmp_path, monkeypatch):
    load = datasets.load
    monkeypatch.setattr(datasets, "load", lambda *given, **options: load(*given, **options).shard(40, 0))
    monkeypatch.chdir(tmp_path)
    result = run_here(app, "--train", "--only", "fig4", "--out", "out")
    assert result.exit_code == 0 and "evolution, 1 of 1: as it is\n" in result.stdout, result.output
    about = json.loads((tmp_path / "out" / "fig4_conv1.json").read_text(encoding="utf-8"))
    assert about["numbers"]["epochs"] == [1, 2, 5, 10, 20, 30, 40, 64]
    assert "packed" not in about["provenance"]["runs"]["evolution/as-it-is"]


def test_the_command_does_not_train_runs_and_says_what_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_here(commands, "figures", "--train", "--only", "table3", "--out", "out")
    assert result.exit_code == 2 and "--train cannot train the runs of Figs. 4, 6, Tables 2, 3" in result.stderr
    assert "scripts/make_figures.py --train, or pass --only transfer" in result.stderr and not [*tmp_path.iterdir()]


def pictures_in(folder):
    return sorted(path for path in folder.glob("*.json") if path.name != "finished.json")


@pytest.mark.slow
def test_one_command_writes_every_picture_its_numbers_and_a_page_that_shows_them(folder):
    names = {path.stem for path in folder.glob("*.png")}
    assert names == {path.stem for path in pictures_in(folder)} == {path.stem for path in folder.glob("*.pdf")}
    assert {"fig1_scheme", "fig1_unpooling", "fig2_conv1", "fig2_conv2", "fig7_occlusion"} <= names
    assert {"fig3_architecture", "fig4_conv2", "fig4_settling", "fig5_invariance"} <= names
    assert {"fig8_seven", "table1_correspondence", "table7_layers"} <= names
    assert {f"activations_{layer}" for layer in ("conv1", "pool1", "conv2", "pool2", "fc3", "fc4")} <= names
    assert {"pooling_pool1", "pooling_pool2", "activations_predictions", "filters"} <= names
    assert {"table2_errors", "table3_errors", "fig9_transfer", "health_regularisation"} <= names
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    page = (folder / "index.html").read_text(encoding="utf-8")
    linked = set(re.findall(r'(?:src|href)="([^"#]+)"', page))
    assert linked == {f"{name}{ending}" for name in names for ending in (".png", ".json", ".pdf")}
    judged = re.findall(r'<td class="verdict ([\w-]+)">', page)
    assert len(judged) == len(figures.CLAIMS) and judged.count("untested") < 20


@pytest.mark.slow
def test_every_picture_says_what_it_was_made_of(folder, subject):
    for path in pictures_in(folder):
        about = json.loads(path.read_text(encoding="utf-8"))
        assert about["title"] and about["caption"] and about["numbers"]
        runs = about["provenance"].pop("runs", {})
        assert about["provenance"] == provenance(subject)
        assert bool(runs) == path.stem.startswith(("fig4", "fig6", "health", "table2", "table3"))
        assert all(run["arguments"] and run["data"]["train_size"] and run["weights_sha256"] for run in runs.values())
        assert all(run["packed"] == "float16" for run in runs.values())


@pytest.mark.slow
def test_fig_9_is_drawn_from_the_results_of_the_package(folder):
    about = json.loads((folder / "fig9_transfer.json").read_text(encoding="utf-8"))
    stored = Path(models.__file__).parent / "weights" / "lenet5_runs" / "transfer.json"
    results = json.loads(stored.read_text(encoding="utf-8"))["results"]
    np.testing.assert_allclose(about["numbers"]["scratch"], results["scratch"], rtol=1e-4)
    assert about["numbers"]["updates"] == results["updates"] and "of an earlier training; --train" in about["caption"]


@pytest.mark.slow
def test_the_occlusion_numbers_are_those_of_the_experiment(folder, subject):
    numbers = json.loads((folder / "fig7_occlusion.json").read_text(encoding="utf-8"))["numbers"]
    image = subject.pick([numbers["image_ids"][4]])[0]
    again = deconv.occlusion_maps(subject.model, image, 4, "conv2", 8, 1, 0, preprocess=subject.preprocess)
    np.testing.assert_allclose(numbers["images"][4]["probability"], again.probability, rtol=1e-3, atol=1e-6)
    assert numbers["images"][4]["predicted"] == again.predicted.tolist()


@pytest.mark.slow
def test_the_winners_of_fig_2_are_those_of_a_full_sort_and_their_patches_are_cut_where_they_say(subject):
    pixels, _, ids = datasets.arrays(subject.data)
    activations = deconv.activations(subject.model, subject.preprocess(pixels), "conv2")["conv2"]
    (sheet,) = top_data(subject, ["conv2"], k=3)
    order = np.argsort(-activations.max(axis=(1, 2)), axis=0, kind="stable")[:3].T
    assert (sheet.tops.ids == ids[order]).all()
    for channel, place in np.ndindex(16, 3):
        top, left, bottom, right = sheet.tops.windows[channel, place]
        patch, seen = sheet.patches[channel, place], pixels[order[channel, place], top:bottom, left:right]
        assert patch[~np.isnan(patch)].tolist() == (seen / 255).ravel().tolist()


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


@pytest.mark.slow
def test_a_later_run_for_one_recipe_keeps_the_others_on_the_page(tmp_path, subject):
    for recipe in ("activations", "fig1"):
        for picture in figures.RECIPES[recipe](subject):
            figures.save(picture, tmp_path, provenance(subject))
        figures.write_index(tmp_path, "Pictures")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert {f"{path.stem}.png" for path in tmp_path.glob("*.png")} == set(re.findall(r'src="([^"]+)"', page))
    assert "fig1_scheme.png" in page and "activations_conv1.png" in page


@pytest.mark.slow
def test_a_silent_channel_is_named_and_shows_no_patch(subject):
    model = models.LeNet5(weights="mnist")
    kernel, bias = model.get_layer("conv2").get_weights()
    bias[5] = -1000
    model.get_layer("conv2").set_weights([kernel, bias])
    (sheet,) = [
        picture for picture in figures.RECIPES["fig2"](subject._replace(model=model)) if "conv2" in picture.name
    ]
    titles = {ax.get_title(): ax for ax in sheet.figure.axes}
    shown = np.asarray(titles["channel 5, inactive"].images[0].get_array())
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 2  # the colour of the gaps, and the white margin


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_network_trained_on_pictures_of_ones_own_is_drawn_with_its_own_classes(tmp_path, monkeypatch):
    images, labels, _ = datasets.arrays(datasets.load("mnist-5k", "test"))
    for name, digit in (("one", 1), ("seven", 7)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number, image in enumerate(images[labels == digit][:5]):
            keras.utils.save_img(tmp_path / "own" / name / f"{number}.png", image, scale=False)
    models.LeNet5(weights=None, classes=2).save_weights(tmp_path / "own.weights.h5")
    monkeypatch.chdir(tmp_path)
    result = run_here(app, "--dataset", "own", "--weights", "own.weights.h5", "--only", "fig7", "--out", "out")
    assert result.exit_code == 0, result.output
    numbers = json.loads((tmp_path / "out" / "fig7_occlusion.json").read_text(encoding="utf-8"))["numbers"]
    assert {maps["target"] for maps in numbers["images"]} == {0, 1}


def test_the_script_and_the_command_are_one_and_have_the_same_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(picture_module.save, "__defaults__", (40,))
    for out, result in {
        "figures/lenet5": run_here(app, "--dataset", "mnist-5k", "--split", "test", "--only", "fig3"),
        "other": run_here(
            commands, "figures", "--images", "mnist-5k", "--split", "test", "--only", "fig3", "--out", "other"
        ),
        "third": run_here(
            commands, "figures", "--split", "test", "--weights", "mnist", "--only", "fig3", "--out", "third"
        ),
    }.items():
        assert result.exit_code == 0 and f"Written: 1 figure and {out}/index.html" in result.stdout, result.output
    files = [tmp_path / out / "fig3_architecture.json" for out in ("figures/lenet5", "other", "third")]
    assert len({path.read_text(encoding="utf-8") for path in files}) == 1
    described = [
        CliRunner().invoke(one, words).stdout for one, words in ((app, ["--help"]), (commands, ["figures", "--help"]))
    ]
    script, command = (set(re.findall(r"--[a-z][a-z-]+", text)) for text in described)
    assert script == command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "vgg"], "zfnet512, a .keras file, or module:function; received 'vgg'"),
        (["--model", "alexnet", "--split", "train"], "'imagenet-20' has no training part"),
        (["--model", "alexnet", "--weights", "imagnet"], "Did you mean 'imagenet'?"),
        (["--seed", "-1"], "--seed must be at least 0 and below 2**32 - 2; received -1"),
        (["--only", "fig1", "fig10"], "There is no recipe 'fig10'; there are fig1, fig2, fig3"),
        (["fig1"], "Unexpected argument 'fig1'. To choose recipes pass --only fig1."),
        (["--runs", "nowhere"], "--runs must be an existing folder; received nowhere."),
        (["--only", "table7", "--transfer", "mnist-6k"], "Did you mean 'mnist-5k'?"),
        (["--weights", "nowhere.npz"], "nowhere.npz"),
        (["--dataset", "mnist-6k"], "Did you mean 'mnist-5k'?"),
    ],
)
def test_bad_arguments_get_one_line_and_leave_nothing_behind(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["--out", "out", *arguments])
    said = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit)
    assert len(said) == 1 and message in said[0]
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_is_a_file_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("mine")
    result = CliRunner().invoke(app, ["--out", "taken/figures"])
    assert result.exit_code == 2 and "--out: the folder 'taken/figures' cannot be created or written" in result.stderr
    assert "Not a directory. Choose another." in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


@pytest.mark.slow
def test_photographs_whose_package_is_missing_are_refused_in_one_line(tmp_path):
    code = (
        "import importlib.util as u, runpy, sys; found = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'foolbox' else found(name, *more)\n"
        f"sys.argv = ['make_figures.py', '--model', 'alexnet', '--out', 'out']; runpy.run_path({str(SCRIPT[1])!r}, "
        "run_name='__main__')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    said = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.returncode == 2 and "Traceback" not in result.stderr and len(said) == 1
    assert "are in the package foolbox, which is not installed" in said[0] and "deconvnet[samples]" in said[0]
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------- colours


CLASSES = ("moss", "ruby", "$ea", "sand")


def image_set(images, labels, class_names=CLASSES, ids=None):
    """An `ImageSet` of arrays."""
    ids = np.arange(len(images)) if ids is None else ids
    listed = tf.data.Dataset.from_tensor_slices((images, np.int32(labels), np.int64(ids)))
    return datasets.ImageSet("dots", "all", listed, class_names, len(images), images.shape[1:], "noise of this test")


def colour_network(seed=0):
    """AlexNet in small: 20 and 24 filters, groups, normalisation, pools that overlap and round up; blue comes first."""
    layers, image = keras.layers, keras.Input((24, 19, 3), name="image")
    maps = layers.Conv2D(20, 5, strides=2, activation="relu", name="conv1")(image)
    maps = CeilMaxPooling2D(3, 2, name="pool1")(LocalResponseNormalization(name="norm1")(maps))
    maps = GroupedConv2D(24, 3, padding="same", groups=2, activation="relu", name="conv2")(maps)
    vector = layers.Flatten()(CeilMaxPooling2D(2, 2, name="pool2")(maps))
    model = keras.Model(image, layers.Dense(4, "softmax", name="predictions")(vector), name="small")
    random = np.random.default_rng(seed)
    model.set_weights([0.1 * random.standard_normal(weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture
def colourful():
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (14, 24, 19, 3)).astype(np.uint8)
    data = image_set(images, [0, 1, 2, 3, 3, 2, 1, 0, 1, 1, 2, 2, 3, 0], ids=np.arange(14) * 10 + 5)
    yield figures.Subject(
        colour_network(), "noise", data, models.alexnet.preprocess_input, fill=128, square=6, stride=4, classes=CLASSES
    )
    plt.close("all")


def pictures_of(subject, recipe):
    return {picture.name: picture for picture in figures.RECIPES[recipe](subject)}


def named(subject, data=None, classes=None):
    """The subject with other names of the data's and of the network's classes."""
    data = subject.data if data is None else subject.data._replace(class_names=data)
    return subject._replace(data=data, classes=classes)


def towers(depth, width=40):
    image = maps = keras.Input((9, 8, 1))
    for number in range(depth):
        maps = keras.layers.Conv2D(width, 3, padding="same", name=f"conv{number + 1}")(maps)
    return keras.Model(image, keras.layers.MaxPooling2D(name="pool")(maps))


def test_as_many_channels_are_drawn_as_the_paper_shows_in_order_and_none_twice():
    subject = figures.Subject(towers(6), "none", None, None)
    shown = {layer: subject.channels(layer, 40).tolist() for layer in [f"conv{n}" for n in range(1, 7)] + ["pool"]}
    assert [len(channels) for channels in shown.values()] == [9, 16, 12, 10, 10, 10, 10]
    for channels in shown.values():
        assert channels == sorted(set(channels)) and set(channels) <= set(range(40))
    assert shown["conv4"] != shown["conv5"]  # each layer draws for itself
    again, other = (subject._replace(seed=seed) for seed in (0, 1))
    assert all(again.channels(layer, 40).tolist() == channels for layer, channels in shown.items())
    assert all(other.channels(layer, 40).tolist() != channels for layer, channels in shown.items())


def test_all_channels_are_shown_where_they_are_not_more_than_the_limit():
    subject = figures.Subject(towers(2), "none", None, None)
    assert subject.channels("conv1", 9).tolist() == list(range(9))
    assert subject.channels("conv2", 5).tolist() == list(range(5))
    assert subject.channels("conv2", 40, limit=64).tolist() == list(range(40))
    assert len(subject.channels("conv2", 40, limit=3)) == 3


@pytest.mark.slow
def test_examples_of_many_classes_are_a_seeded_part_of_them(colourful):
    images, labels, ids = colourful.examples(limit=3)
    all_images, all_labels, all_ids = datasets.arrays(colourful.data)
    rows = [all_ids.tolist().index(number) for number in ids]
    assert len(set(labels.tolist())) == 3 and labels.tolist() == sorted(labels.tolist()) == all_labels[rows].tolist()
    assert (images == all_images[rows]).all()
    assert (colourful.examples(limit=3)[2] == ids).all()
    drawn = [tuple(colourful._replace(seed=seed).examples(limit=3)[1].tolist()) for seed in range(12)]
    assert len(set(drawn)) > 1
    every = colourful.examples()
    assert every[1].tolist() == [0, 1, 2, 3] and set(ids) <= set(every[2])  # the same images, some classes less


def test_images_are_picked_by_their_ids_as_often_as_they_are_asked_for(colourful):
    images, *_ = datasets.arrays(colourful.data)
    wanted = np.array([[135, 5], [25, 135]])
    assert (colourful.pick(wanted) == images[[13, 0, 2, 13]]).all()
    with pytest.raises(KeyError):
        colourful.pick(np.array([7]))


def test_targets_are_the_networks_classes_of_the_same_names(colourful):
    assert named(colourful).targets(np.arange(4)) == [0, 1, 2, 3]
    assert named(colourful, classes=("sand", "moss", "ruby", "fog")).targets([0, 1, 2, 3, 0]) == [1, 2, None, 0, 1]
    twice = ("crane", "ruby", "crane", "sand")  # two classes of one name, in data and network alike
    assert named(colourful, twice, twice).targets([0, 2]) == [0, 2]


def test_what_covers_is_seen_by_the_network_in_its_own_channel_order(colourful):
    seen = colourful._replace(fill=100).background()
    assert seen.shape == (24, 19, 3)
    np.testing.assert_allclose(seen[7, 5], [100 - 104.00699, 100 - 116.66877, 100 - 122.67891], rtol=1e-5)
    mean = np.random.default_rng(0).uniform(90, 160, (24, 19, 3))
    with_image = colourful._replace(fill=100, preprocess=lambda images: images - mean)
    np.testing.assert_allclose(with_image.background(), 100 - mean)


@pytest.mark.slow
def test_the_first_layer_projects_to_its_filters_in_the_colours_of_the_images(colourful):
    sheet, _ = top_data(colourful, ["conv1", "conv2"], k=4)
    kernel = colourful.model.get_layer("conv1").kernel.numpy()
    assert sheet.projections.shape == (9, 4, 5, 5, 3)
    for projections, values, channel in zip(
        sheet.projections, sheet.tops.values[sheet.channels], sheet.channels, strict=True
    ):
        ours = kernel[..., ::-1, channel]  # red first
        assert (values > 0).all()
        for projection in projections:
            np.testing.assert_allclose(projection, 0.5 + 0.5 * ours / np.abs(ours).max(), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_projections_of_a_colour_network_are_led_to_the_colours_of_the_images_pixel_by_pixel(colourful):
    _, sheet = top_data(colourful, ["conv1", "conv2"], k=3)
    images, _, ids = datasets.arrays(colourful.data)
    net = deconv.Deconvnet(colourful.model)
    for place, rank in np.ndindex(len(sheet.channels), 3):
        channel = sheet.channels[place]
        if sheet.tops.values[channel, rank] <= 0:
            continue
        row = ids.tolist().index(sheet.tops.ids[channel, rank])
        inputs = colourful.preprocess(images[row : row + 1])
        bgr = net.project(inputs, "conv2", int(channel), tuple(sheet.tops.positions[channel, rank]))[0]
        top, left, bottom, right = sheet.tops.windows[channel, rank]
        expected = 0.5 + 0.5 * bgr[top:bottom, left:right, ::-1] / np.abs(bgr).max()
        found = sheet.projections[place, rank]
        np.testing.assert_allclose(found[~np.isnan(found)], expected.ravel(), rtol=0, atol=1e-5)
        patch = sheet.patches[place, rank]
        assert patch[~np.isnan(patch)].tolist() == (images[row, top:bottom, left:right] / 255).ravel().tolist()


@pytest.mark.slow
def test_the_numbers_of_fig_2_are_those_of_the_channels_shown_and_count_all_silent_ones(colourful):
    conv1 = colourful.model.get_layer("conv1")
    shown = colourful.channels("conv1", 20)
    hidden = np.setdiff1d(np.arange(20), shown)
    kernel, bias = conv1.get_weights()
    bias[[shown[2], hidden[0], hidden[5]]] = -1e6
    conv1.set_weights([kernel, bias])
    picture = pictures_of(colourful, "fig2")["fig2_conv1"]
    images, _, ids = datasets.arrays(colourful.data)
    maxima = deconv.activations(colourful.model, colourful.preprocess(images), "conv1")["conv1"].max(axis=(1, 2))
    order = np.argsort(-maxima, axis=0, kind="stable")[:9].T[shown]
    assert picture.numbers["channels"].tolist() == shown.tolist() and len(shown) == 9
    assert picture.numbers["ids"].tolist() == ids[order].tolist()
    np.testing.assert_allclose(picture.numbers["values"], np.take_along_axis(maxima.T[shown], order, 1), rtol=1e-6)
    assert picture.numbers["positions"].shape == (9, 9, 2) and picture.numbers["windows"].shape == (9, 9, 4)
    assert picture.numbers["silent_channels"] == 3 and "3 of the 20 channels are inactive" in picture.caption
    assert "9 channels, drawn at random from 20" in picture.caption and "9 of 20 channels" in picture.title
    titles = [ax.get_title() for ax in picture.figure.axes if ax.get_title()]
    assert [title.split(",")[0] for title in titles] == [f"channel {channel}" for channel in shown]
    assert [title.endswith("inactive") for title in titles] == [place == 2 for place in range(9)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("silent", "words"), [(0, "None of the 20 channels is inactive"), (1, "1 of the 20 channels is")]
)
def test_silent_channels_are_counted_in_words(colourful, silent, words):
    kernel, bias = colourful.model.get_layer("conv1").get_weights()
    bias[:silent] = -1e6
    colourful.model.get_layer("conv1").set_weights([kernel, bias])
    assert words in pictures_of(colourful, "fig2")["fig2_conv1"].caption


def test_a_filter_that_looks_for_red_is_shown_red_though_its_network_takes_blue_first(colourful):
    conv1 = colourful.model.get_layer("conv1")
    kernel, bias = np.zeros((5, 5, 3, 20)), np.zeros(20)
    kernel[..., 2, 0] = 4  # the third channel is red
    kernel[..., 0, 1] = -2  # the first is blue
    conv1.set_weights([kernel, bias])
    (picture,) = pictures_of(colourful, "filters").values()
    own, shared = (np.asarray(ax.images[0].get_array()) for ax in picture.figure.axes[:2])
    for shown, strength in ((own, 1), (shared, 0.5)):
        assert (shown[:5, :5] == [1, 0.5, 0.5]).all()
        assert (shown[:5, 6:11] == [0.5, 0.5, 0.5 - 0.5 * strength]).all()
        assert (shown[:5, 12:17] == 0.5).all()  # a dead filter
    rms = np.sqrt(np.mean(kernel**2, axis=(0, 1, 2)))
    np.testing.assert_allclose(picture.numbers["rms"], rms)
    assert picture.numbers["layer"] == "conv1" and "from 0 to 2.31" in picture.caption


def test_filters_are_shown_whatever_size_of_images_the_preprocessing_takes(colourful):
    plain = pictures_of(colourful, "filters")["filters"].figure.axes[0].images[0].get_array()
    mean = np.random.default_rng(0).uniform(90, 160, (24, 19, 3)).astype("float32")  # a mean image, of one size
    subject = colourful._replace(preprocess=lambda images: images[..., ::-1] - mean)
    shown = pictures_of(subject, "filters")["filters"].figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, plain, atol=1e-5)


@pytest.mark.slow
def test_a_colour_network_on_grey_images_is_drawn_in_grey(colourful):
    images, labels, ids = datasets.arrays(colourful.data)
    subject = colourful._replace(
        data=image_set(images[..., :1], labels, ids=ids),
        preprocess=lambda grey: np.repeat(grey, 3, -1) - np.float32(99),
    )
    (sheet,) = top_data(subject, ["conv2"], k=2)
    assert sheet.projections.shape[-1] == sheet.patches.shape[-1] == 1
    (filters,) = pictures_of(subject, "filters").values()
    kernel = subject.model.get_layer("conv1").kernel.numpy()[..., 0].sum(axis=-1)
    tile = np.asarray(filters.figure.axes[0].images[0].get_array())[:5, :5, 0]
    np.testing.assert_allclose(tile, 0.5 + 0.5 * kernel / np.abs(kernel).max(), atol=1e-6)


@pytest.mark.slow
def test_the_collision_rate_beside_a_pool_is_that_of_its_recorded_switches(colourful):
    for name, picture in pictures_of(colourful, "pooling").items():
        pool = name.removeprefix("pooling_")
        inputs = colourful.preprocess(colourful.pick(picture.numbers["image_ids"]))
        switches = deconv.Deconvnet(colourful.model).record(inputs, pool).switches[pool]
        channels = picture.numbers["channels"]
        rate = deconv.collision_rate(switches[..., channels])
        assert (
            picture.numbers["collision_rate"] == rate and f" {rate:.0%} of these pooled units share" in picture.caption
        )
        assert (rate > 0) == (pool == "pool1")  # 3x3 with stride 2 overlap, 2x2 do not
        assert f"16 channels, drawn at random from {switches.shape[-1]}" in picture.caption and len(channels) == 16
        shown = picture.numbers["image_ids"].tolist().index(picture.numbers["shown_image_id"])
        assert (picture.numbers["switches_of_shown_image"] == switches[shown][..., channels]).all()


def test_activations_of_many_channels_are_those_of_the_channels_named(colourful):
    subject = colourful._replace(model=colour_network())
    wide = keras.Model(
        subject.model.inputs, [keras.layers.Conv2D(40, 1, name="wide")(subject.model.get_layer("pool1").output)]
    )
    picture = pictures_of(subject._replace(model=wide), "activations")["activations_wide"]
    inputs = subject.preprocess(subject.pick(picture.numbers["image_ids"]))
    maps = deconv.activations(wide, inputs, "wide")["wide"]
    channels = picture.numbers["channels"]
    assert len(channels) == 32 and "32 channels, drawn at random from 40, maps of 5×4" in picture.caption
    np.testing.assert_array_equal(picture.numbers["activations"], maps[..., channels])
    ticks = [label.get_text() for label in picture.figure.axes[0].get_xticklabels()]
    assert ticks == ["image", *map(str, channels)]


@pytest.mark.slow
def test_of_an_image_whose_class_the_network_does_not_know_the_most_probable_class_is_followed(colourful):
    subject = named(colourful, classes=("sand", "moss", "ruby", "fog"))  # no "$ea"
    (picture,) = pictures_of(subject, "fig7").values()
    inputs = subject.preprocess(subject.pick(picture.numbers["image_ids"]))
    says = subject.model.predict(inputs, verbose=0).argmax(axis=1)
    targets = [maps["target"] for maps in picture.numbers["images"]]
    assert targets == [1, 2, says[2], 0]
    assert "1 of the 4 images belongs to no class of the network" in picture.caption
    texts = [ax.get_ylabel() for ax in picture.figure.axes[0:24:6]]
    assert texts == ["moss", "ruby", f"$ea,{chr(10)}predicted: {subject.classes[says[2]]}", "sand"]
    (known,) = pictures_of(colourful, "fig7").values()
    assert "to no class of the network" not in known.caption
    assert [maps["target"] for maps in known.numbers["images"]] == [0, 1, 2, 3]


@pytest.mark.slow
def test_the_square_moves_by_the_stride_that_is_asked_for(colourful):
    (picture,) = pictures_of(colourful, "fig7").values()
    maps = picture.numbers["images"][0]
    assert maps["tops"].tolist() == [0, 4, 8, 12, 16, 18] and maps["lefts"].tolist() == [0, 4, 8, 12, 13]
    assert maps["size"] == (6, 6) and picture.numbers["fill"] == 128


def test_fig_1_shows_the_image_as_the_mean_of_its_colours_and_normalisation_as_idle_on_the_way_down(colourful):
    picture = pictures_of(colourful, "fig1")["fig1_scheme"]
    stages = picture.numbers["stages_up"]
    assert [stage.splitlines()[0] for stage in stages] == [
        "image",
        "conv1: 20 filters 5×5, rectified",
        "norm1: idle on the way down",
        "pool1: max pooling",
        "conv2: 24 filters 3×3, rectified",
        "pool2: max pooling",
    ]
    assert not [stage for stage in picture.numbers["stages_down"] if "norm1" in stage]


def test_a_network_without_filters_has_no_pictures_of_them(subject):
    image = keras.Input((28, 28, 1))
    vector = keras.layers.Flatten()(keras.layers.MaxPooling2D(2, name="pool")(image))
    plain = subject._replace(model=keras.Model(image, keras.layers.Dense(10, "softmax", name="top")(vector)))
    for recipe in ("fig2", "filters", "fig7"):
        assert pictures_of(plain, recipe) == {}


@pytest.mark.slow
def test_one_flag_draws_alexnet_on_a_folder_of_photographs(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    for name in ("field", "shore"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        coarse = random.integers(0, 256, (12, 15, 3))
        keras.utils.save_img(tmp_path / "photos" / name / "1.png", np.kron(coarse, np.ones((20, 20, 1))), scale=False)
    keras.utils.set_random_seed(0)
    model = models.AlexNet(units=4, classes=2)
    weight_files.save(model, tmp_path / "own.npz")
    options = ["--model", "alexnet", "--dataset", "photos", "--split", "all", "--weights", "own.npz", "--out", "out"]
    options += ["--only", "fig1", "fig2", "fig3", "filters", "activations"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(picture_module.save, "__defaults__", (40,))
    result = run_here(app, *options)
    assert result.exit_code == 0, result.output
    about = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in pictures_in(tmp_path / "out")}
    layers = [f"conv{number}" for number in range(1, 6)]
    assert set(about) == {
        *("fig1_scheme", "fig1_unpooling", "fig3_architecture", "filters"),
        *(f"fig2_{layer}" for layer in layers),
        *(f"activations_{layer}" for layer in [*layers, "pool1", "pool2", "pool5", "fc6", "fc7", "predictions"]),
    }
    assert [len(about[f"fig2_{layer}"]["numbers"]["channels"]) for layer in layers] == [9, 16, 12, 10, 10]
    assert len(about["filters"]["numbers"]["rms"]) == 96
    assert all(picture["provenance"]["weights"] == "own.npz" for picture in about.values())
