"""What a checkpoint knows of the folder and the function that it was made with."""

import functools
import json
import os

import keras
import numpy as np
import pytest
from PIL import Image

import deconv
from deconv import TopK, datasets
from deconv.graph import fingerprint


@pytest.fixture(scope="module")
def model():
    layers = [keras.Input((6, 8, 1)), keras.layers.Conv2D(2, 3, name="conv")]
    return keras.Sequential(layers)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures").mkdir()
    for value in range(4):
        Image.new("L", (8, 6), 40 * value).save(tmp_path / "pictures" / f"{value}.png")
    return tmp_path / "pictures"


def unit(images):
    return images / np.float32(255)


def test_a_checkpoint_of_other_pictures_in_the_same_folder_is_refused(model, folder, tmp_path):
    file = tmp_path / "top.npz"
    scan = functools.partial(deconv.top_activations, model, layers="conv", k=2, preprocess=unit, checkpoint=file)
    first = scan(dataset=datasets.load(folder, "all"))["conv"]
    for path in folder.iterdir():
        os.utime(path, (1, 1))  # copied, or fetched anew
    again = scan(dataset=datasets.load(folder, "all"))["conv"]
    assert again.ids.tolist() == first.ids.tolist()
    before = file.read_bytes()
    Image.new("L", (8, 6), 255).save(folder / "0.png")
    with pytest.raises(ValueError, match=r"does not fit; it differs in data set: content\. Give another path"):
        scan(dataset=datasets.load(folder, "all"))
    assert file.read_bytes() == before


def test_a_checkpoint_that_says_nothing_of_the_content_is_taken_as_before(model, folder, tmp_path):
    file = tmp_path / "top.npz"
    scan = functools.partial(deconv.top_activations, model, layers="conv", k=2, preprocess=unit, checkpoint=file)
    first = scan(dataset=datasets.load(folder, "all"))["conv"]
    with np.load(file) as saved:
        arrays = dict(saved)
    about = json.loads(str(arrays["about"]))
    assert len(about["sources"][0][0].pop("content")) == 64
    np.savez(file, **arrays | {"about": np.array(json.dumps(about))})
    assert scan(dataset=datasets.load(folder, "all"))["conv"].values.tolist() == first.values.tolist()


def test_parts_of_a_folder_know_the_files_of_their_own_pictures(folder):
    whole = datasets.load(folder, "all")
    parts = [whole.shard(2, index) for index in (0, 1)]
    assert [[file.name for file in part.files] for part in parts] == [["0.png", "2.png"], ["1.png", "3.png"]]
    before = [part.identity["content"] for part in (whole, *parts)]
    Image.new("L", (8, 6), 255).save(folder / "1.png")
    after = [part.identity["content"] for part in (whole, *parts)]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, False]


@pytest.mark.parametrize("small", [True, False])
def test_files_are_known_by_names_sizes_and_content_wherever_they_lie(tmp_path, monkeypatch, small):
    if not small:
        monkeypatch.setattr(fingerprint, "WHOLE", 1)
    made = {}
    for name, content in (("a", b"x" * 20_000), ("b", b"x" * 20_000), ("c", b"x" * 19_999 + b"y"), ("d", b"x" * 9)):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_bytes(content)
        (tmp_path / name / "other").write_bytes(b"z")
        made[name] = fingerprint.of_files([tmp_path / name / "other", tmp_path / name / "deep" / "file"])
    assert made["a"] == made["b"] and len(set(made.values())) == 3
    (tmp_path / "a" / "other").rename(tmp_path / "a" / "others")
    assert fingerprint.of_files([tmp_path / "a" / "others", tmp_path / "a" / "deep" / "file"]) != made["a"]


def scaled(images, by):
    return images * by


def test_arguments_of_a_partial_and_the_code_of_a_lambda_tell_preprocessings_of_one_name_apart(model):
    def made(by):
        return lambda images: images * by

    pairs = [
        (functools.partial(scaled, by=2), functools.partial(scaled, by=2), functools.partial(scaled, by=3)),
        (lambda images: images / 2, lambda images: images / 2, lambda images: images / 3),
        (made(2), made(2), made(3)),
        (made(np.arange(3)), made(np.arange(3)), made(np.arange(3) + 1)),
    ]
    for same, again, other in pairs:
        told = [fingerprint.of_arguments(one) for one in (same, again, other)]
        assert told[0] == told[1] != told[2] and told[0]
        assert fingerprint.of_function(same) == fingerprint.of_function(other)
        states = [TopK.of(model, "conv", preprocess=one) for one in (same, again, other)]
        states[0].merge(states[1])
        with pytest.raises(ValueError, match="differ in preprocess"):
            states[0].merge(states[2])
    assert fingerprint.of_arguments(scaled) == fingerprint.of_arguments(None) == {}
