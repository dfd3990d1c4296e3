"""Top-1 and top-5 accuracy, and the classes of folders that are named by WordNet ids."""

import keras
import numpy as np
import pytest
from commands import run_here
from specimens import fill

from deconv import datasets, figures
from deconv.cli import app
from deconv.datasets import imagenet
from deconv.evaluation.top_accuracy import central_crop, top_accuracy

SIDE = 8
FOLDERS = {"000_n01440764": 0, "n01443537": 1, "toilet_n15075141": 999}


def network(classes=1000):
    """A random network without hidden layers."""
    image = keras.Input((SIDE, SIDE, 3))
    outputs = keras.layers.Dense(classes, activation="softmax", name="classes")(keras.layers.Flatten()(image))
    return fill(keras.Model(image, outputs, name="small"), seed=0)


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for number, name in enumerate(FOLDERS):
        (tmp_path / name).mkdir()
        for image in range(2 + number):
            pixels = random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
            keras.utils.save_img(tmp_path / name / f"{image}.png", pixels, scale=False)
    return tmp_path


def unit(pixels):
    return np.asarray(pixels, np.float32) / 255


def subject(model, data, classes=None):
    return figures.Subject(model=model, weights="random", data=data, preprocess=unit, classes=classes)


def test_accuracies_are_those_of_a_full_sort(folder):
    model, data = network(), datasets.load(str(folder), "all")
    images, labels, _ = datasets.arrays(data)
    targets = np.array(list(FOLDERS.values()))[labels]
    scores = model.predict(unit(images), verbose=0)
    expected = [list(np.argsort(-row)).index(target) for row, target in zip(scores, targets, strict=True)]
    batches = [(images[:4], labels[:4]), (images[4:], labels[4:])]
    about = subject(model, data, imagenet.class_names())
    found = top_accuracy(model, batches, about.targets, unit)
    np.testing.assert_array_equal(found.ranks, expected)
    assert (found.images, found.left_out) == (9, 0)
    assert found.top1 == np.mean(np.array(expected) == 0) and found.top5 == np.mean(np.array(expected) < 5)
    perfect = top_accuracy(model, [(images, scores.argmax(axis=1))], lambda labels: labels, unit)
    assert perfect.top1 == perfect.top5 == 1 and perfect.standard_errors == (0, 0)


def test_images_without_a_class_of_the_model_are_left_out(folder):
    model, data = network(2), datasets.load(str(folder), "all")
    images, labels, _ = datasets.arrays(data)
    found = top_accuracy(model, [(images, labels)], subject(model, data, ("tench", "goldfish")).targets, unit)
    assert (found.images, found.left_out) == (5, 4) and found.top5 == 1
    assert found.standard_errors[0] == pytest.approx(np.sqrt(found.top1 * (1 - found.top1) / 5))
    with pytest.raises(ValueError, match=r"None of the 9 images has a class of model 'small'.*n01440764"):
        top_accuracy(model, [(images, labels)], subject(model, data, ("a", "b")).targets, unit)
    with pytest.raises(ValueError, match=r"None of the 9 images"):
        top_accuracy(model, [(images, np.full(9, -1))], lambda labels: labels, unit)


def test_the_centre_is_cropped_and_small_images_are_refused():
    images = np.arange(2 * 5 * 4).reshape(2, 5, 4, 1)
    np.testing.assert_array_equal(central_crop(images, (2, 3)), images[:, 1:3, :3])
    with pytest.raises(ValueError, match=r"at least \(6, 3\).*received \(5, 4\)"):
        central_crop(images, (6, 3))


def test_a_model_without_class_outputs_is_refused(folder):
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"must be \(n, classes\)"):
        top_accuracy(model, [], lambda labels: labels, unit)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["n01440764", "n01443537"], ("tench", "goldfish")),
        (["000_n01440764", "cat (n02123045)"], ("tench", "tabby")),
        (["n01440764", "n99999999"], ("tench", "n99999999")),
        (["n01440764", "cat"], ("n01440764", "cat")),
        (["n01440764_n01443537"], ("n01440764_n01443537",)),
        (["n014407640", "xn01440764"], ("n014407640", "xn01440764")),
    ],
)
def test_wordnet_ids_in_names_become_readable(labels, names):
    assert imagenet.readable(labels) == names


def test_labels_of_such_folders_and_of_the_embedded_photographs_are_classes_of_the_network(folder):
    pytest.importorskip("foolbox", reason="the photographs of imagenet-20 come with foolbox")
    data = datasets.load(str(folder), "all")
    assert data.class_names == ("tench", "goldfish", "toilet tissue")
    assert subject(network(), data, imagenet.class_names()).targets([0, 1, 2]) == list(FOLDERS.values())
    photographs = datasets.load("imagenet-20", "all")
    labels, _ = photographs.listing()
    assert subject(network(), photographs, imagenet.class_names()).targets(labels) == labels.tolist()


# ---------------------------------------------------------------------------------------------------- the command


def asked(folder, monkeypatch, *more):
    (folder / "networks_of_a_test.py").write_text(
        "import keras\n"
        "def build():\n"
        "    image = keras.Input((8, 8, 3))\n"
        "    outputs = keras.layers.Dense(3, name='classes')(keras.layers.Flatten()(image))\n"
        "    return keras.Model(image, outputs, name='small')\n"
    )
    monkeypatch.chdir(folder)
    options = (
        "--model",
        "networks_of_a_test:build",
        "--images",
        folder,
        "--preprocess",
        "unit",
        "--out",
        folder / "out",
    )
    return run_here(app, "evaluate", *options, *more)


@pytest.mark.parametrize("crop", [[], ["--crop", "1"]])
def test_the_command_prints_accuracies_and_writes_nothing(folder, monkeypatch, crop):
    result = asked(folder, monkeypatch, *crop)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("small on ") and "of 9 images; central crop." in result.stdout
    assert "top-5 100.00% (0.00%)" in result.stdout and not (folder / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--crop", "0"], "--crop must be above 0 and at most 1; received 0.0"),
        (["--batch-size", "0"], "--batch-size must be at least 1; received 0"),
        (["--images", "000_n01440764"], "have no classes; put them into one sub-folder per class"),
    ],
)
def test_a_mistake_is_answered_in_one_line(folder, monkeypatch, more, message):
    result = asked(folder, monkeypatch, *more)
    assert result.exit_code == 2 and message in result.stderr and len(result.stderr.strip().splitlines()) == 1
