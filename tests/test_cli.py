"""The command line, from its options to what lies in the folder: small networks and pictures, one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

matplotlib.use("Agg")

import deconv
from deconv import datasets
from deconv.cli import app, images_option, layer_option, model_option, options, output
from deconv.embedding.class_separation import separation
from deconv.embedding.image_embedding import embed
from models.layers import CeilMaxPooling2D, GroupedConv2D, LocalResponseNormalization

ROOT = Path(__file__).resolve().parent.parent
SIDES = 20, 18
COMMANDS = ("project", "top", "occlude", "visualize", "explain", "controls")
COMMANDS += ("embed", "evaluate", "explore", "health", "verify", "figures")

OWN = """
import keras
import numpy as np

def build():
    return keras.models.load_model("own.keras")

def nothing():
    return 3

def fails():
    return np.zeros(2) @ np.zeros(3)

class Own(keras.Model):
    def call(self, images):
        return images

def interrupted():
    raise KeyboardInterrupt

def sized_by_whom_it_may_concern():
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, keras.layers.Conv2D(2, 3, name="conv")(image), name="any_size")

def diverged():
    model = keras.models.load_model("own.keras")
    model.layers[1].kernel.assign(np.nan * model.layers[1].kernel)
    return model

def two_heads():
    model = keras.models.load_model("own.keras")
    return keras.Model(model.input, [model.output, keras.layers.Dense(2)(model.get_layer("fc3").output)])

def missing(pixels):
    return {}["nothing"]

def darkened(pixels):
    return pixels / 1000

def breaks(pixels):
    if len(pixels) != 1:
        raise ValueError("Only one picture at a time.")
    return pixels / 1000
"""


def network(seed=0):
    """Like AlexNet in small: layers of `models.layers`, three channels, four classes."""
    layers, image = keras.layers, keras.Input((*SIDES, 3), name="image")
    maps = layers.Conv2D(4, 3, activation="relu", name="conv1")(image)
    maps = CeilMaxPooling2D(3, 2, name="pool1")(LocalResponseNormalization(name="norm1")(maps))
    maps = GroupedConv2D(6, 3, groups=2, activation="relu", name="conv2")(maps)
    vector = layers.Dense(8, "relu", name="fc3")(layers.Flatten(name="flatten")(maps))
    model = keras.Model(image, layers.Dense(4, "softmax", name="predictions")(vector), name="own")
    random = np.random.default_rng(seed)
    model.set_weights([0.2 * random.standard_normal(weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A current folder with a model, functions, pictures of two classes, and files that are none of these."""
    place = tmp_path_factory.mktemp("place")
    random = np.random.default_rng(1)
    for name in ("moss", "ruby"):
        (place / "pictures" / name).mkdir(parents=True)
        for number in range(5):
            pixels = random.integers(0, 256, (*SIDES, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(place / "pictures" / name / f"{number}.png")
    network().save(place / "own.keras")
    network().save(place / "own.h5")
    layers = keras.layers
    keras.Sequential([keras.Input((*SIDES, 3)), layers.Lambda(lambda maps: maps + 1)]).save(place / "lambda.keras")
    keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 3, name="conv")]).save(place / "open.keras")
    keras.Sequential([keras.Input((9,)), layers.Dense(2)]).save(place / "vectors.keras")
    (place / "own_functions.py").write_text(OWN)
    (place / "broken.keras").write_bytes(b"PK\x03\x04 and then nothing")
    (place / "broken.png").write_bytes((place / "pictures" / "moss" / "0.png").read_bytes()[:200])
    (place / "notes.txt").write_text("mine")
    return place


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


def asked(command, *more, model="own.keras", shown="pictures", preprocess="unit", out="out"):
    return CliRunner().invoke(
        app, [command, "--model", model, "--images", shown, "--preprocess", preprocess, "--out", str(out), *more]
    )


def written(out, name):
    about = json.loads((Path(out) / f"{name}.json").read_text(encoding="utf-8"))
    with Image.open(Path(out) / f"{name}.png") as picture:
        picture.load()
        assert min(picture.size) > 200 and np.asarray(picture.convert("L")).std() > 5  # something is drawn
    return about


# ------------------------------------------------------------------------------------------------ what is written


@pytest.mark.slow
def test_projections_are_those_of_the_model_in_the_file_for_the_images_that_the_record_names(here, tmp_path):
    result = asked("project", "--layer", "conv2", "--channel", "4,0-1", "--count", "3", out=tmp_path)
    assert result.exit_code == 0, result.stderr
    about = written(tmp_path, "project_conv2")
    numbers = about["numbers"]
    pixels = datasets.load("pictures", "all").pick(numbers["image_ids"])
    found = deconv.activations(network(), np.float32(pixels / 255), "conv2")["conv2"].max(axis=(1, 2))
    assert numbers["channels"] == [4, 0, 1]
    np.testing.assert_allclose(numbers["activations"], found[:, [4, 0, 1]], rtol=1e-4, atol=1e-6)
    projected = deconv.Deconvnet(network()).project(np.float32(pixels / 255), "conv2", [4, 0, 1])
    largest = np.abs(projected).max(axis=(2, 3, 4))
    np.testing.assert_allclose(numbers["largest_magnitudes"], largest, rtol=1e-4, atol=1e-6)
    told = about["provenance"]
    assert told["weights"] == told["arguments"]["model"] == "own.keras" and told["images"] == 10
    assert told["arguments"]["command"] == "project" and told["arguments"]["channel"] == ["4,0-1"]


@pytest.mark.slow
def test_the_same_seed_writes_the_same_numbers_and_another_seed_draws_other_images(here, tmp_path):
    found = []
    for seed in (3, 4):
        more = ["--layer", "conv1", "--count", "2", "--channel", "0", "--seed", str(seed)]
        result = asked("project", *more, out=tmp_path)  # the second replaces the first
        assert result.exit_code == 0, result.stderr
        found.append(written(tmp_path, "project_conv1")["numbers"])
        subject = deconv.figures.Subject(None, "", datasets.load("pictures", "all"), None, seed=seed)
        assert found[-1]["image_ids"] == images_option.draw_images(subject, 2)[-1].tolist()
    one, other = found
    assert one["image_ids"] != other["image_ids"] and one["labels"] == other["labels"] == [0, 1]


@pytest.mark.slow
def test_the_strongest_units_are_those_of_a_scan_and_a_function_of_the_users_is_a_model_too(here, tmp_path):
    more = ["--layer", "conv1", "--layer", "fc3", "--channel", "0-2", "--k", "2"]
    result = asked("top", *more, model="own_functions:build", preprocess="own_functions:darkened", out=tmp_path)
    assert result.exit_code == 0, result.stderr
    tops = deconv.top_activations(
        network(),
        datasets.load("pictures", "all"),
        ["conv1", "fc3"],
        2,
        preprocess=lambda pixels: np.float32(pixels / 1000),
    )
    for layer, found in tops.items():
        numbers = written(tmp_path, f"top_{layer}")["numbers"]
        np.testing.assert_allclose(numbers["values"], found.values[:3], rtol=1e-4, atol=1e-6)
        assert numbers["ids"] == found.ids[:3].tolist() and numbers["windows"] == found.windows[:3].tolist()


def occluded(out, model="own.keras"):
    """What is written of one picture, for the third of four classes."""
    more = ["--target", "2", "--size", "6", "--stride", "6", "--fill", "10"]
    result = asked("occlude", *more, model=model, shown="pictures/ruby/3.png", out=out)
    assert result.exit_code == 0, result.stderr
    return written(out, "occlude")["numbers"]


@pytest.mark.slow
def test_occlusion_asks_for_the_class_that_is_named_in_the_picture_that_is_given_whatever_other_outputs_there_are(
    here, tmp_path
):
    numbers = occluded(tmp_path)
    image = np.asarray(Image.open("pictures/ruby/3.png"))
    expected = deconv.occlusion_maps(
        network(), image, 2, "conv2", 6, 6, 10, preprocess=lambda pixels: np.float32(pixels / 255)
    )
    np.testing.assert_allclose(numbers["images"][0]["probability"], expected.probability, rtol=1e-4)
    assert numbers["images"][0]["tops"] == expected.tops.tolist() == [0, 6, 12, 14]
    # Of several outputs the first tells the classes: the second one of this model has two.
    assert occluded(tmp_path / "heads", "own_functions:two_heads") == numbers


@pytest.mark.slow
def test_an_explanation_is_of_the_class_that_the_model_finds_and_its_curves_begin_with_its_probability(here, tmp_path):
    more = ["--method", "gradient", "--method", "deconvnet", "--steps", "4"]
    result = asked("explain", *more, shown="pictures/moss/2.png", out=tmp_path)
    assert result.exit_code == 0, result.stderr
    numbers = written(tmp_path, "explain_0")["numbers"]
    probabilities = network()(np.float32(np.asarray(Image.open("pictures/moss/2.png"))[None] / 255)).numpy()[0]
    assert numbers["target"] == probabilities.argmax() and numbers["methods"] == ["gradient", "deconvnet"]
    for method in ("gradient", "deconvnet", "edges"):
        assert numbers["deletion"][method][0] == pytest.approx(probabilities.max(), rel=1e-4)
        assert numbers["insertion"][method][-1] == pytest.approx(probabilities.max(), rel=1e-4)


@pytest.mark.slow
def test_an_embedding_is_that_of_the_layer_and_comes_with_how_classes_part(here, tmp_path):
    result = asked("embed", "--layer", "fc3", "--method", "pca", "--count", "8", "--seed", "2", out=tmp_path)
    assert result.exit_code == 0, result.stderr
    pictures, unit = datasets.load("pictures", "all"), {"preprocess": lambda pixels: np.float32(pixels / 255)}
    expected = embed(network(), pictures, "fc3", "pca", images=8, seed=2, **unit)
    numbers = written(tmp_path, "embed_fc3")["numbers"]
    np.testing.assert_allclose(numbers["points"], expected.points, rtol=1e-3, atol=1e-5)
    assert numbers["ids"] == expected.ids.tolist()
    apart = written(tmp_path, "embed_separation")["numbers"]
    assert apart["layers"] == ["pixels", "conv1", "pool1", "conv2", "fc3", "predictions"]
    own = separation(network(), pictures, apart["layers"][1:], images=8, seed=2, **unit)
    np.testing.assert_allclose(apart["accuracy"], own.accuracy, rtol=1e-4)


def test_an_embedding_without_scikit_learn_names_the_extra(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    result = asked("embed", "--count", "8")
    assert result.exit_code == 2 and "deconvnet[probes]" in result.stderr and result.stderr.count("\n") == 1
    assert not (here / "out").exists()


@pytest.mark.slow
def test_images_made_for_a_channel_are_told_with_the_strongest_of_the_data(here, tmp_path):
    result = asked(
        "visualize", "--layer", "conv2", "--channel", "1,3", "--steps", "3", "--preset", "erhan", out=tmp_path
    )
    assert result.exit_code == 0, result.stderr
    numbers = written(tmp_path, "visualize_conv2")["numbers"]
    unit = model_option.preprocessing("unit", "own.keras")
    made = deconv.visualize(network(), "conv2", [1, 3], "erhan", preprocess=unit, steps=3)
    np.testing.assert_allclose(numbers["scores"], made.scores, rtol=1e-3, atol=1e-4)
    pixels, *_ = datasets.arrays(datasets.load("pictures", "all"))
    strongest = deconv.activations(network(), unit(pixels), "conv2")["conv2"].max(axis=(0, 1, 2))[[1, 3]]
    np.testing.assert_allclose(numbers["strongest_in_data"], strongest, rtol=1e-4)


@pytest.mark.slow
def test_a_deconvnet_that_holds_is_told_so_with_its_residuals(here, tmp_path):
    result = asked("verify", "--layer", "predictions", "--count", "1", out=tmp_path)
    assert result.exit_code == 0 and "deconvnet of layer 'predictions'" in result.stdout, result.stderr
    checked = written(tmp_path, "verify")["numbers"]["layers"]
    assert [one["layer"] for one in checked] == ["predictions"]
    assert all(max(one["adjoint_residual"], one["gradient_difference"]) < 1e-5 for one in checked)


@pytest.mark.slow
def test_the_controls_are_those_of_the_experiment_and_come_as_a_table(here, tmp_path):
    result = asked("controls", "--layer", "conv2", "--count", "4", out=tmp_path)
    assert result.exit_code == 0, result.stderr
    told = written(tmp_path, "likeness_conv2")
    shown = datasets.load("pictures", "all").pick(told["numbers"]["image_ids"])
    expected = deconv.controls(network(), np.float32(shown / 255), "conv2", randomise=False).table()
    assert len(expected) == 8 and expected["guided backprop"][2] == 4
    for name, (mean, deviation, count) in expected.items():
        assert told["numbers"]["means"]["pearson"][name][2] == count
        row = next(row for row in told["tables"][0]["rows"] if row[0] == name)
        assert row[2] == f"{mean:.2f} ({deviation:.2f})"
    assert written(tmp_path, "cascade_conv2")["numbers"]["layers"] == ["conv2", "conv1"]


@pytest.mark.slow
def test_health_looks_for_the_gap_between_the_two_parts_of_a_folder(here, tmp_path):
    result = asked("health", out=tmp_path)
    assert result.exit_code == 0, result.stderr
    found = written(tmp_path, "health")["numbers"]["layers"]
    assert list(found) == ["conv1", "conv2", "fc3", "predictions"]
    assert found["conv1"]["images"] == 8 and found["conv1"]["gap"]["unseen_images"] == 2  # every fifth is for testing


@pytest.mark.slow
def test_figures_of_a_model_of_ones_own_come_with_their_page(here, tmp_path):
    result = asked("figures", "--only", "activations", "--only", "fig3", out=tmp_path)
    assert result.exit_code == 0, result.stderr
    assert "fig3_architecture.png" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert written(tmp_path, "activations_conv1")["numbers"]["labels"] == [0, 1]


def test_a_functional_model_that_leaves_its_size_open_takes_the_one_that_is_asked_for(here):
    sized, _ = model_option.model_of("own_functions:sized_by_whom_it_may_concern", (11, 14))
    assert sized.input_shape == (None, 11, 14, 3)


def test_a_model_that_leaves_its_size_open_takes_the_one_that_is_asked_for(here, tmp_path):
    result = asked("project", "--image-size", "11x14", "--count", "1", model="open.keras", out=tmp_path)
    assert result.exit_code == 0, result.stderr
    sized, _ = model_option.model_of("open.keras", (11, 14))
    given = keras.models.load_model("open.keras")
    assert sized.input_shape == (None, 11, 14, 3) and given.input_shape == (None, None, None, 3)
    image = np.random.default_rng(0).random((1, 11, 14, 3)).astype(np.float32)
    np.testing.assert_array_equal(sized(image), given(image))


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--model", "lenet6"], "received 'lenet6'. Did you mean 'lenet5'?"),
        (["--model", "nowhere.keras"], "--model: there is no file 'nowhere.keras'"),
        (["--model", "notes.txt"], "'notes.txt' is not a .keras file"),
        (["--model", "own.h5"], "'own.h5' is not a .keras file, the only format that Keras reads in its safe mode"),
        (["--model", "broken.keras"], "'broken.keras' is damaged, or not a .keras file"),
        (["--model", "lambda.keras"], "contains a Lambda layer, which is Python code"),
        (
            ["--model", "vectors.keras"],
            "with 1 or 3 channels in the last axis; its input has shape (None, 9)",
        ),
        (["--model", "own_functions:Own"], "must be a functional or Sequential model of one image"),
        (["--model", "open.keras"], "does not define its input size: (None, None, 3). Give --image-size"),
        (["--model", "nowhere_at_all:build"], "the module 'nowhere_at_all' cannot be imported"),
        (["--model", "own_functions:builds"], "has no function 'builds'"),
        (["--model", "own_functions:nothing"], "must return a keras.Model; it returns int"),
        (["--model", "own_functions:fails"], "own_functions:fails failed: ValueError"),
        (["--images", "broken.png"], "the image 'broken.png' cannot be read"),
        (["--images", "pictures/moss/0.png", "--split", "test"], "one image file has no part 'test'; omit --split"),
        (["--images", "notes.txt"], "'notes.txt' is not an image file"),
        (["--images", "no/where"], "there is no folder or image file 'no/where'"),
        (["--images", "mnist-6k"], "Unknown data set 'mnist-6k'. Did you mean 'mnist-5k'?"),
        (["--layer", "conv3"], "has no layer 'conv3'. Did you mean 'conv2'?"),
        (["--channel", "6"], "Layer 'conv2' has channels 0 to 5; received channel 6"),
        (["--channel", "2-"], "--channel must be whole numbers and ranges, for example 7, 0-5 or 0-5,9; received '2-'"),
        (["--preprocess", "units"], "--preprocess must be none, unit, lenet5"),
        (["--image-size", "20x"], "--image-size must be a side, for example 224, or HEIGHTxWIDTH"),
        (["--image-size", "30"], "takes images of 20x18 only"),
        (["--split", "half"], "--split must be train, test or all; received half"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--model", "own_functions:diverged"], "'conv1/kernel' of model 'own' contains NaN or infinity"),
        (["--model", " "], "--model must be a network, a file or module:function; received ' '"),
        (["--images", ""], "--images must be a data set, a folder or an image file; received ''"),
        (["--preprocess", "own_functions:missing"], "own_functions:missing failed: KeyError: 'nothing'"),
        (["--channel", "0-99999999999"], "whole numbers and ranges"),
        (["--count", "0"], "--count must be at least 1; received 0"),
        (["--out", "notes.txt/out"], "--out: the folder 'notes.txt/out' cannot be created or written: Not a directory"),
    ],
)
def test_a_mistake_gets_one_line_and_leaves_nothing_behind(given, message, here):
    before = sorted(here.rglob("*"))
    result = asked("project", *given)
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit), result.exception
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1 and message in result.stderr
    assert result.stdout == "" and [path for path in sorted(here.rglob("*")) if "__pycache__" not in path.parts] == [
        path for path in before if "__pycache__" not in path.parts
    ]


@pytest.mark.parametrize(
    ("command", "given", "message"),
    [
        ("occlude", ["--target", "4"], "--target must be a class, by number (0 to 3) or by name; received '4'"),
        ("occlude", ["--size", "40"], "40"),
        ("top", ["--k", "0"], "--k must be at least 1"),
        ("explain", ["--method", "gradients"], "gradient"),
        ("explain", ["--layer", "conv2", "--target", "moss"], "--target must be the number of a channel of conv2"),
        ("embed", ["--method", "umap"], "--method must be tsne or pca; received 'umap'"),
        ("visualize", ["--preset", "cubism"], "cubism"),
        ("figures", ["--only", "fig10"], "There is no recipe 'fig10'"),
        ("figures", ["--images", "pictures/moss"], "have no classes; put them into one sub-folder per class"),
        ("figures", ["--runs", "nowhere"], "--runs must be an existing folder; received nowhere"),
    ],
)
def test_every_command_refuses_what_only_it_takes(command, given, message, here):
    result = asked(command, *given)
    assert result.exit_code == 2 and isinstance(result.exception, SystemExit), result.exception
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1 and message in result.stderr
    assert not (here / "out").exists()


@pytest.mark.slow
def test_a_command_that_fails_between_two_pictures_leaves_neither(here, tmp_path):
    (tmp_path / "top_conv1.png").write_text("of an earlier run")
    result = asked("top", "--layer", "conv1", preprocess="own_functions:breaks", out=tmp_path)
    assert result.exit_code == 2 and "Only one picture at a time." in result.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("top_conv1.png", "of an earlier run")]

    def pictures():
        yield deconv.figures.Picture("first", "", "", matplotlib.pyplot.figure(), {})
        raise ValueError("The second cannot be drawn.")

    subject = deconv.figures.Subject(network(), "own", datasets.load("pictures", "all"), None)
    with pytest.raises(ValueError, match="second"):
        output.write(subject, pictures(), tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["top_conv1.png"]


def test_ctrl_c_ends_with_130_and_leaves_nothing_behind(here):
    result = asked("project", model="own_functions:interrupted", out="new/folder")
    assert result.exit_code == 130 and result.stderr == "Error: interrupted; unfinished files have been removed.\n"
    assert not (here / "new").exists()


def test_a_model_of_ones_own_is_shown_nothing_that_was_not_asked_for(here):
    result = CliRunner().invoke(app, ["project", "--model", "own.keras"])
    assert result.exit_code == 2 and "--images is required for --model 'own.keras'" in result.stderr
    assert not (here / "pictures" / "project_conv2.png").exists()


# ------------------------------------------------------------------------------------------------ by hand


def test_numbers_and_ranges_are_read_in_their_order_and_none_twice():
    assert options.numbers("--channel", ["7", "0-2,9", "1"]) == [7, 0, 1, 2, 9]
    assert options.numbers("--channel", None) is options.numbers("--channel", []) is None
    for text in ("2-1", "-3", "a", "1,,2", "1-2-3", ""):
        with pytest.raises(ValueError, match="--channel must be whole numbers"):
            options.numbers("--channel", [text])
    assert options.sides("224") == (224, 224) and options.sides("20X30") == (20, 30) and options.sides(None) is None


def test_a_few_images_are_of_as_many_classes_as_there_are_then_a_second_of_each(here):
    subject = deconv.figures.Subject(None, "", datasets.load("pictures", "all"), None)
    for count, expected in ((1, 1), (2, 2), (3, 2), (9, 2)):
        shown, names, labels, ids = images_option.draw_images(subject, count)
        assert len(set(labels)) == expected and len(set(ids)) == len(shown) == count
        assert np.bincount(labels, minlength=2).max() == -(-count // 2) and labels.tolist() == sorted(labels)
        assert names == [("moss", "ruby")[label] for label in labels]
        assert (shown == subject.data.pick(ids)).all()
    assert len(images_option.draw_images(subject, 99)[0]) == 10


def test_classes_are_asked_for_by_number_or_name_and_a_wrong_name_gets_the_nearest(here):
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    subject = deconv.figures.Subject(model, "", datasets.load("pictures", "all"), None)
    assert [layer_option.class_of(subject, text) for text in ("ruby", "0", None)] == [1, 0, None]
    with pytest.raises(ValueError, match=r"received 'rubi'.*Did you mean 'ruby'"):
        layer_option.class_of(subject, "rubi")


def test_preprocessing_by_name_is_the_same_for_arrays_and_tensors():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3)).astype(np.uint8)
    for name, expected in (("none", pixels), ("unit", pixels / 255), (None, pixels)):
        function = model_option.preprocessing(name, "own.keras")
        for given in (pixels, keras.ops.convert_to_tensor(pixels)):
            np.testing.assert_allclose(function(given), expected, rtol=1e-6)
            assert keras.backend.standardize_dtype(function(given).dtype) == "float32"
    assert model_option.preprocessing(None, "zfnet").__module__ == "models.zfnet"


# ------------------------------------------------------------------------------------------------ help


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples_in_its_help(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0 and f"python -m deconv {command}" in result.stdout
    for option in ("--model", "--images", "--out", "--seed"):
        assert option in result.stdout


@pytest.mark.slow
def test_help_and_mistakes_are_answered_without_tensorflow_and_then_in_one_line_too(here):
    code = (
        "import runpy, sys\n"
        "for words in (['--help'], ['explain', '--help'], ['top', '--model', 'lenet6'], ['top', '--layer', 'conv9']):\n"
        "    sys.argv = ['deconv', *words, *([] if '--help' in words else ['--images', 'pictures', '--out', 'out'])]\n"
        "    try:\n"
        "        runpy.run_module('deconv', run_name='__main__', alter_sys=True)\n"
        "    except SystemExit as end:\n"
        "        print('ended', end.code, *[name for name in ('tensorflow', 'numpy') if name in sys.modules])\n"
    )
    way = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=way)
    ends = [line for line in result.stdout.splitlines() if line.startswith("ended")]
    assert ends == ["ended 0", "ended 0", "ended 2", "ended 2 tensorflow numpy"], result.stderr
    assert [line[:40] for line in result.stderr.splitlines()] == [
        "Error: --model must be lenet5, alexnet, ",
        "Error: Model 'lenet5' has no layer 'conv",
    ]
    assert not (here / "out").exists()
