"""`--model own.keras` with files that anybody may have written: one line, exit code 2, and no code of theirs."""

import io
import json
import random
import zipfile

import h5py
import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from deconv.cli import app, model_option


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """What a good file holds."""
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(2, 3, activation="relu", name="conv")(image)
    path = tmp_path_factory.mktemp("net") / "net.keras"
    keras.Model(image, keras.layers.Dense(3, name="dense")(keras.layers.Flatten(name="flatten")(x))).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def packed(members, tmp_path):
    def make(**changed):
        with zipfile.ZipFile(tmp_path / "bad.keras", "w") as archive:
            for name, content in (members | changed).items():
                archive.writestr(name, content)
        return tmp_path / "bad.keras"

    return make


def refusal(path):
    with pytest.raises(ValueError) as raised:
        model_option.check_model(str(path))
        model_option.model_of(str(path))
    said = str(raised.value)
    assert said.startswith(f"--model: '{path}' ") and "\n" not in said
    return said


def layer(number, **config):
    def change(described):
        described["config"]["layers"][number]["config"].update(config)

    return change


def of_class(number, **names):
    def change(described):
        described["config"]["layers"][number].update(names)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_class(1, class_name="Conv9D"), "its layer class 'Conv9D' is unknown"),
        (of_class(1, class_name="Own", module="mine", registered_name="mine>Own"), "its layer class 'Own' is unknown"),
        (of_class(1, class_name="system", module="os"), "its layer class 'system' is unknown"),
        (layer(1, filters="many"), "'<=' not supported between instances of 'str' and 'int'"),
        (layer(1, of_the_future=3), "Unrecognized keyword arguments passed to Conv2D: {'of_the_future': 3}"),
        (layer(3, units=5), r"variable.shape=(72, 5), Received: value.shape=(72, 3)"),
        (layer(0, batch_shape=[None, 8, 8, 3]), "expected axis -1 of input shape to have value 1"),
        (lambda described: described["config"].update(layers=3), "'int' object is not iterable"),
        (lambda described: described["config"]["layers"].pop(1), "Unknown layer: conv"),
    ],
)
def test_a_configuration_that_keras_cannot_build_is_refused_with_its_reason(packed, members, change, message):
    described = json.loads(members["config.json"])
    change(described)
    said = refusal(packed(**{"config.json": json.dumps(described)}))
    assert message in said and said.endswith("give --model module:function.")


def test_a_file_of_a_newer_keras_is_told_so_where_it_cannot_be_read(packed, members):
    described, newer = json.loads(members["config.json"]), json.dumps({"keras_version": "99.1.0"})
    assert model_option.model_of(str(packed(**{"metadata.json": newer})))[0].count_params() == 20 + 219
    layer(1, of_the_future=3)(described)
    said = refusal(packed(**{"metadata.json": newer, "config.json": json.dumps(described)}))
    assert said.endswith(f" It was saved by Keras 99.1.0, newer than the installed {keras.__version__}.")


def test_a_layer_that_is_only_named_lambda_is_not_taken_for_one(packed, members):
    text = members["config.json"].replace(b'"conv"', b'"lambda_conv"').replace(b'"filters": 2', b'"filters": -2')
    assert "Lambda layer" not in refusal(packed(**{"config.json": text})) and b"lambda_conv" in text


def linked(content):
    inside = io.BytesIO(content)
    with h5py.File(inside, "a") as file:
        del file["layers/dense/vars/1"]
        file["layers/dense/vars/1"] = h5py.ExternalLink("/etc/passwd", "secret")
    return inside.getvalue()


def huge(content):
    inside = io.BytesIO(content)
    with h5py.File(inside, "a") as file:
        file["layers"].create_dataset("dense/vars/2", (10**5, 10**5), np.float32, chunks=(10, 10), compression="gzip")
    return inside.getvalue()


def test_a_layer_wider_than_all_weights_is_refused_before_it_is_made(packed, members):
    for number, width in ((1, "filters"), (3, "units")):
        described = json.loads(members["config.json"])
        layer(number, **{width: 10**9})(described)
        said = refusal(packed(**{"config.json": json.dumps(described)}))
        assert f"has 1,000,000,000 {width}, but its weights are 239 numbers in total" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: b"nothing", "its member 'model.weights.h5' is not a complete HDF5 file"),
        (lambda content: content[:5000], "its member 'model.weights.h5' is not a complete HDF5 file"),
        (linked, "is a link to the file '/etc/passwd'. Other files are never read"),
        (huge, "'layers/dense/vars/2' would take 38,147 MiB and is stored in 0.00 MiB"),
    ],
)
def test_weights_inside_that_are_damaged_or_hostile_are_refused(packed, members, change, message):
    assert message in refusal(packed(**{"model.weights.h5": change(members["model.weights.h5"])}))


def test_the_command_ends_with_one_line_and_code_2(packed, tmp_path, members, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "bomb", a=np.zeros(3))
    Image.new("L", (8, 8)).save(tmp_path / "picture.png")
    for name, content in (
        ("deep.keras", packed(**{"config.json": b'{"a":' * 10**5}).read_bytes()),
        ("old.keras", members["model.weights.h5"]),
        ("arrays.keras", (tmp_path / "bomb.npz").read_bytes()),
        ("empty.keras", b""),
    ):
        (tmp_path / name).write_bytes(content)
        result = CliRunner().invoke(app, ["verify", "--model", name, "--images", "picture.png"])
        assert result.exit_code == 2 and isinstance(result.exception, SystemExit), (name, result.exception)
        assert result.stderr.startswith(f"Error: --model: '{name}' ") and result.stderr.count("\n") == 1


def test_changed_configurations_are_built_or_refused_in_one_line(packed, members):
    choice, refused = random.Random(0), 0
    for _ in range(40):
        described, places = json.loads(members["config.json"]), []
        todo = [described]
        for value in todo:
            keys = list(value) if isinstance(value, dict) else range(len(value))
            places += [(value, key) for key in keys]
            todo += [value[key] for key in keys if isinstance(value[key], dict | list)]
        value, key = choice.choice(places)
        value[key] = choice.choice([None, -1, 0, 7, 1.5, "x", [], {}, [1, 2], True])
        path = str(packed(**{"config.json": json.dumps(described)}))
        try:
            model_option.model_of(path)
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error) and "--model" in str(error)
    assert refused > 10
