"""Packed runs: those in the package are what their records say, and packing and reading them is a round trip."""

import hashlib
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from commands import run_here

import models
from deconv import datasets
from deconv.figures import read_run, read_runs
from deconv.figures.fig4 import evolution_data
from deconv.figures.figure_dependencies import runs_of
from deconv.figures.subject import Subject
from models.training.variants import variants
from scripts import pack_runs

STORED = Path(models.__file__).parent / "weights" / "lenet5_runs"


def records():
    return sorted(STORED.glob("*/*/training.json"))


@pytest.fixture(scope="module")
def digits():
    images, labels, _ = datasets.arrays(datasets.load("mnist-5k", "test"))
    return models.lenet5.preprocess_input(images), labels


def test_the_package_contains_every_variant_of_lenet5_in_less_than_four_megabytes():
    for group in ("evolution", "regularisation", "ablation"):
        runs, expected = read_runs(STORED / group), variants("lenet5", group)
        assert [run.record["variant"] for run in runs] == [one.record for one in expected]
        for run, one in zip(runs, expected, strict=True):
            assert run.record["arguments"].items() >= one.options.items()
    (evolution,) = read_runs(STORED / "evolution")
    assert list(evolution.checkpoints) == [1, 2, 5, 10, 20, 30, 40, 64]
    assert sum(file.stat().st_size for file in STORED.rglob("*") if file.is_file()) < 4_000_000


def test_the_files_are_those_of_the_records_and_nothing_else():
    named = {STORED / "transfer.json"}
    for file in records():
        record = json.loads(file.read_text(encoding="utf-8"))
        digests = record["packed"]["sha256"]
        assert digests[record["packed"]["model"]] == record["results"]["weights_sha256"]
        assert {name: hashlib.sha256((file.parent / name).read_bytes()).hexdigest() for name in digests} == digests
        assert len(record["history"]["epoch"]) == record["arguments"]["epochs"] and "/work" not in file.read_text()
        named |= {file, *(file.parent / name for name in digests)}
    assert named == {file for file in STORED.rglob("*") if file.is_file()}


@pytest.mark.parametrize("file", records(), ids=lambda file: f"{file.parent.parent.name}-{file.parent.name}")
def test_a_network_of_the_package_has_the_accuracy_of_its_record(file, digits):
    run = read_run(file.parent)
    model, (images, labels), results = run.model(), digits, run.record["results"]
    assert model.count_params() == results["parameters"]
    right = (model.predict_on_batch(images).argmax(axis=1) == labels).mean()
    assert right == pytest.approx(results["test_accuracy_float16"], abs=0.001)
    assert results["test_accuracy"] == pytest.approx(results["test_accuracy_float16"], abs=pack_runs.TOLERANCE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run with two checkpoints, as a training script leaves it."""
    folder = tmp_path_factory.mktemp("runs") / "evolution" / "small"
    (folder / "checkpoints").mkdir(parents=True)
    model = models.LeNet5(weights="mnist", dropout=0.5)
    model.save(folder / "lenet5.keras")
    model.save(folder / "checkpoints" / "epoch_002.keras")
    model.get_layer("conv1").set_weights([weight / 3 for weight in model.get_layer("conv1").get_weights()])
    model.save(folder / "checkpoints" / "epoch_001.keras")
    results = {"test_accuracy": 0.5, "test_accuracy_float16": 0.5}
    record = {"arguments": {"epochs": 2}, "places": {"out": "here"}, "results": results}
    (folder / "training.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "history.csv").write_text("epoch,loss\n1,0.123456789\n2,0.1\n", encoding="utf-8")
    return folder


@pytest.fixture
def packed(folder, tmp_path):
    result = run_here(pack_runs.app, folder.parent.parent, "--out", tmp_path / "packed")
    assert result.exit_code == 0, result.output
    return tmp_path / "packed" / "evolution" / "small"


def test_packing_and_reading_is_a_round_trip_up_to_float16(folder, packed):
    before, after = read_run(folder), read_run(packed)
    assert {file.name for file in packed.iterdir()} == {"training.json", "lenet5.npz", "epoch_001.npz"}
    assert after.checkpoints == {1: packed / "epoch_001.npz", 2: packed / "lenet5.npz"}  # the last one is the network
    assert (after.name, after.model_file.stem) == (before.name, before.model_file.stem)
    assert after.record["history"] == {"epoch": [1, 2], "loss": [0.123457, 0.1]} and "places" not in after.record
    for epoch in (None, 1, 2):
        one, other = before.model(epoch), after.model(epoch)
        assert [layer.get_config() for layer in other.layers] == [layer.get_config() for layer in one.layers]
        for weight, read in zip(one.get_weights(), other.get_weights(), strict=True):
            assert (read == weight.astype(np.float16)).all() and read.dtype == np.float32
    again = run_here(pack_runs.app, packed.parent.parent, "--out", packed.parent / "again")
    assert again.exit_code == 2 and "is packed already. Pass a folder of scripts/train_variants.py." in again.stderr


@pytest.mark.slow
def test_fig_4_reads_packed_checkpoints_and_the_provenance_names_the_dtype(packed):
    data = datasets.load("mnist-5k", "test").shard(50, 0)
    model, prepare = models.LeNet5(weights="mnist"), models.lenet5.preprocess_input
    subject = Subject(model, "mnist", data, prepare, runs=packed.parent.parent)
    found = evolution_data(subject)
    first, last = found.evolutions["conv1"].filters[0]
    np.testing.assert_allclose(first, last / 3, rtol=2e-3, atol=1e-6)
    provenance, files = runs_of(subject, "fig4")
    assert provenance["evolution/small"]["packed"] == "float16" and len(files) == 3


@pytest.mark.parametrize("change", ["cut", "other", "missing", "architecture"])
def test_a_file_that_is_not_that_of_the_record_is_one_line_that_names_it(packed, change):
    file, record_file = packed / "lenet5.npz", packed / "training.json"
    if change == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    elif change == "other":
        shutil.copy(packed / "epoch_001.npz", file)
    elif change == "missing":
        file.unlink()
    else:
        record = json.loads(record_file.read_text(encoding="utf-8"))
        record["packed"]["architecture"] = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).to_json()
        record_file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"^The network '.*lenet5\.npz' cannot be read \(.*Install the package"
    ) as raised:
        read_run(packed).model()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "../lenet5.npz", "sha256": {"../lenet5.npz": "a"}}, "a .npz file beside the record"),
        ({"model": 3}, "'model'"),
        ({"checkpoints": {"first": "lenet5.npz"}}, "expected epochs"),
        ({"sha256": {}}, "'lenet5.npz'"),
        ({"architecture": None}, "'architecture'"),
    ],
)
def test_a_packed_record_of_another_form_is_refused(packed, change, message):
    record = json.loads((packed / "training.json").read_text(encoding="utf-8"))
    record["packed"] |= change
    (packed / "training.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ValueError, match="is not a valid record of a training run") as raised:
        read_run(packed)
    assert message in str(raised.value)


def test_a_run_that_float16_makes_worse_and_a_folder_without_runs_are_refused(folder, tmp_path):
    runs = tmp_path / "runs" / "evolution" / "worse"
    shutil.copytree(folder, runs)
    record = json.loads((runs / "training.json").read_text(encoding="utf-8"))
    record["results"]["test_accuracy_float16"] = 0.498
    (runs / "training.json").write_text(json.dumps(record), encoding="utf-8")
    for given, message in ((tmp_path / "runs", "cannot be packed in float16"), (folder, "no finished runs")):
        result = run_here(pack_runs.app, given, "--out", tmp_path / "out")
        assert result.exit_code == 2 and message in result.stderr
        assert not (tmp_path / "out").exists()
