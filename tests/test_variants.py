"""The variants that are compared: what they are, and that the script trains each as if it were alone."""

import importlib.util
import json
import signal

import keras
import numpy as np
import pytest
from commands import run_here
from test_training import ROOT, run_and_look_for_tensorflow, script, stop_after_epoch
from typer.testing import CliRunner

import models
from deconv.figures.published_results import published
from models import training
from models.ablation import altered
from models.training.variants import GROUPS, variants
from scripts import train_lenet5

SCRIPT = ROOT / "scripts" / "train_variants.py"


@pytest.fixture(scope="module")
def module():
    spec = importlib.util.spec_from_file_location("train_variants", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------------------------------------- what they are


@pytest.mark.parametrize("model", ["lenet5", "alexnet"])
@pytest.mark.parametrize("group", GROUPS)
def test_the_variants_of_a_group_are_told_apart_and_stand_in_order(model, group):
    found = variants(model, group, units=512)
    for what in ("slug", "name"):
        assert len({getattr(variant, what) for variant in found}) == len(found)
    assert len({json.dumps(variant.options, sort_keys=True) for variant in found}) == len(found)
    assert [variant.place for variant in found] == list(range(1, len(found) + 1))
    rows = {row[0] for row in published("table3").rows}
    for variant in found:
        assert variant.group == group and (variant.row in rows) == (group == "ablation")
        assert json.loads(json.dumps(variant.record)) == {
            **{"group": group, "place": variant.place, "name": variant.name},
            **{"row": variant.row, "change": variant.change},
        }


def test_alexnets_ablation_is_the_papers_table_row_by_row():
    assert [variant.row for variant in variants("alexnet", "ablation")] == [row[0] for row in published("table3").rows]


def built(variant, units):
    """The network of a variant, by hand from its options."""
    options = variant.options
    build = {"alexnet": models.AlexNet, "zfnet": models.ZFNet}[options.get("model", "alexnet")]
    model = build(input_shape=(67, 67, 3), units=options.get("units", units), classes=2)
    return altered(model, options.get("without", ()), options.get("resize"))


@pytest.mark.slow
def test_the_rows_of_the_table_are_the_networks_that_they_name():
    kernels = {
        variant.slug: {
            layer.name: tuple(layer.kernel.shape[-2:]) for layer in built(variant, 6).layers if layer.weights
        }
        for variant in variants("alexnet", "ablation", units=6)
    }
    whole = {"conv1": (3, 96), "conv2": (48, 256), "conv3": (256, 384), "conv4": (192, 384), "conv5": (192, 256)}
    dense = {"fc6": (256, 6), "fc7": (6, 6), "predictions": (6, 2)}
    assert kernels["alexnet"] == whole | dense
    assert list(kernels["without-3-4"]) == ["conv1", "conv2", "conv5", "fc6", "fc7", "predictions"]
    assert list(kernels["without-7"]) == [*whole, "fc6", "predictions"]
    assert kernels["without-6-7"] == whole | {"predictions": (256, 2)}
    assert kernels["without-3-4-6-7"] == {
        **{name: whole[name] for name in ("conv1", "conv2")},
        **{"conv5": (128, 256), "predictions": (256, 2)},
    }
    assert kernels["half"] == whole | {"fc6": (256, 3), "fc7": (3, 3), "predictions": (3, 2)}
    assert kernels["double"] == whole | {"fc6": (256, 12), "fc7": (12, 12), "predictions": (12, 2)}
    ours = {"conv1": (3, 96), "conv2": (96, 256), "conv3": (256, 384), "conv4": (384, 384), "conv5": (384, 256)}
    assert kernels["zfnet"] == ours | dense
    wide = {"conv3": (256, 512), "conv4": (512, 1024), "conv5": (1024, 512)}
    assert kernels["zfnet-wide"] == ours | wide | dense | {"fc6": (512, 6)}
    assert kernels["zfnet-wide-and-double"]["fc6"] == (512, 12)


def test_a_regulariser_is_on_in_its_own_variant_and_where_all_are():
    plain, dropout, decay, clipping, every = (variant.options for variant in variants("alexnet", "regularisation"))
    off = {"dropout": 0.0, "weight_decay": 0.0, "filter_radius": 0.0, "seed": 0}
    assert plain == off and every == {"seed": 0}
    for name, only in (("dropout", dropout), ("weight_decay", decay), ("filter_radius", clipping)):
        assert only == {option: value for option, value in off.items() if option != name}
    digits = {variant.slug: variant.options for variant in variants("lenet5", "regularisation")}
    names = {"dropout": "dropout", "weight-decay": "weight_decay", "augmentation": "augment"}
    assert not any(digits["plain"][name] for name in names.values())
    for slug, own in names.items():
        assert [name for name in names.values() if digits[slug][name]] == [own]
        assert digits["all"][own] == digits[slug][own]
    assert len({options["every"] for options in digits.values()}) == 1  # all on the same digits


def test_further_runs_of_one_network_have_the_next_seeds():
    seeds = {variant.slug: variant.options["seed"] for variant in variants("lenet5", "ablation", seed=7)}
    assert seeds.pop("as-it-is-again") == 8 and seeds.pop("as-it-is-once-more") == 9 and set(seeds.values()) == {7}


@pytest.mark.parametrize(
    ("given", "zfnets"),
    [
        ("227", "224"),
        ("128:28,176:12,227", "128:28,176:12,224"),
        ("128:28,227:5", "128:28,224:5"),
        ("227:3,64", "227:3,64"),
        ("64", "64"),
        ("128:28,224", "128:28,224"),
        ("1227", "1227"),
    ],
)
def test_a_zfnet_grows_to_its_own_side(given, zfnets):
    found = variants("alexnet", "ablation", image_size=given)
    sides = {variant.slug: variant.options["image_size"] for variant in found}
    assert {sides.pop(slug) for slug in list(sides) if slug.startswith("zfnet")} == {zfnets}
    assert set(sides.values()) == {given}


@pytest.mark.parametrize(("model", "group"), [("vgg", "ablation"), ("lenet5", "table3")])
def test_there_are_no_other_variants(model, group):
    with pytest.raises(ValueError, match="variants of lenet5 and alexnet in the groups evolution, regularisation, abl"):
        variants(model, group)


# ---------------------------------------------------------------------------------------------- the script


def test_arguments_are_the_scripts_own_the_variants_and_those_given(module):
    plans = module.planned("alexnet", ("evolution", "ablation"), 3, {"recipe": "modern", "image_size": "128:9,227"})
    (first, evolution), *table = plans
    assert (first.slug, evolution["epochs"], evolution["units"], evolution["seed"]) == ("as-it-is", 64, 512, 3)
    arguments = {variant.slug: arguments for variant, arguments in table}
    assert {plan["epochs"] for plan in arguments.values()} == {50}
    assert [arguments[slug]["units"] for slug in ("half", "double", "zfnet-half")] == [256, 1024, 256]
    assert arguments["zfnet"]["image_size"] == "128:9,224" and arguments["alexnet"]["image_size"] == "128:9,227"
    assert arguments["alexnet"] == {
        **{"dataset": "imagenette", "model": "alexnet", "recipe": "modern", "epochs": 50, "batch_size": 64},
        **{"learning_rate": 0.015, "weight_decay": 0.002, "dropout": 0.5, "units": 512, "filter_radius": 0.1},
        **{"without": None, "resize": None, "image_size": "128:9,227", "mixed_precision": False, "cache": 0.5},
        "seed": 3,
    }
    digits = module.planned("lenet5", ("evolution", "ablation"), 0, {"epochs": 2, "dataset": "mnist"})
    assert {(plan["epochs"], plan["dataset"]) for _, plan in digits} == {(2, "mnist")}


def test_the_script_knows_all_groups(module):
    assert module.GROUPS == GROUPS


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Forty pictures in two classes."""
    folder, random = tmp_path_factory.mktemp("digits"), np.random.default_rng(0)
    for name in ("dark", "light"):
        (folder / name).mkdir()
        for order in range(20):
            pixels = random.integers(0, 200, (28, 28, 1)) + 55 * (name == "light")
            keras.utils.save_img(folder / name / f"{order:02d}.png", pixels, scale=False)
    return folder


@pytest.mark.slow
def test_a_variant_has_the_same_weights_in_a_row_and_alone_and_only_missing_ones_are_trained(digits, module, tmp_path):
    given = ("--group", "regularisation", "--dataset", digits, "--epochs", 2, "--out", tmp_path / "runs")
    process = script(*given, program=SCRIPT)
    _, errors = stop_after_epoch(process, tmp_path / "runs" / "regularisation" / "plain", 1, signal.SIGINT)
    assert process.returncode == 130 and "Traceback" not in errors
    assert errors.splitlines()[-1] == "Interrupted. The same command resumes after the last finished epoch."
    result = run_here(module.app, *given)
    assert "regularisation, 6 of 6: plain, twice as wide" in result.output
    folders = sorted((tmp_path / "runs" / "regularisation").iterdir())
    assert len(folders) == 6
    records = {folder.name: json.loads((folder / "training.json").read_text()) for folder in folders}
    assert records["all"]["variant"] == variants("lenet5", "regularisation")[4].record
    assert records["all"]["data"]["train_size"] == 8  # every fourth of 32
    for record in records.values():
        assert {"train_accuracy", "test_accuracy", "parameters"} <= set(record["results"])
    twice = 26 * 12 + 301 * 32 + 801 * 240 + 241 * 168 + 169 * 2
    assert records["plain-twice-as-wide"]["results"]["parameters"] == twice
    assert records["plain"]["results"]["parameters"] == 156 + 2416 + 48120 + 10164 + 85 * 2

    alone = ("--every", 4, "--batch-size", 32, "--dropout", 0.5, "--weight-decay", 0.1, "--epochs", 2)
    assert run_here(train_lenet5.app, "--dataset", digits, *alone, "--out", tmp_path / "alone").exit_code == 0
    record = json.loads((tmp_path / "alone" / "training.json").read_text())
    assert record["arguments"] == records["all"]["arguments"] and "variant" not in record
    last = tmp_path / "runs" / "regularisation" / "all" / "weights.npz"
    assert (tmp_path / "alone" / "weights.npz").read_bytes() == last.read_bytes()

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    lines = []
    module.train("lenet5", ["regularisation"], tmp_path / "runs", say=lines.append, dataset=str(digits), epochs=2)
    assert "\n".join(lines).count("already finished.") == 6
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()}


def test_a_run_with_other_arguments_is_named_before_anything_is_trained(module, tmp_path):
    taken = training.RunFolder(tmp_path / "runs" / "regularisation" / "all", "lenet5")
    taken.start({"arguments": {"dataset": "mnist-5k", "epochs": 3}})
    given = ["--group", "regularisation", "--out", str(tmp_path / "runs")]
    result = CliRunner().invoke(module.app, given)
    assert result.exit_code == 2 and "made with other arguments: epochs 3 -> 25" in result.stderr
    assert [path.name for path in (tmp_path / "runs" / "regularisation").iterdir()] == ["all"]


@pytest.mark.slow
def test_runs_that_diverge_are_named_at_the_end_and_leave_nothing_behind(digits, tmp_path):
    given = ("--group", "evolution", "--dataset", digits, "--learning-rate", "1e30", "--out", tmp_path / "runs")
    process = script(*given, program=SCRIPT)
    out, errors = process.communicate(timeout=300)
    ours = [line for line in errors.splitlines() if line.startswith("Error: ")]
    assert process.returncode == 2 and "Training has diverged: the" in out and "Traceback" not in errors
    assert len(ours) == 1 and "diverged for evolution/as-it-is; all others are finished." in ours[0]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "zfnet"], "--model must be lenet5 or alexnet, received zfnet."),
        (["--group", "table3"], "--group must be one of evolution, regularisation, ablation, received table3."),
        (["--epochs", "0"], "--epochs must be at least 1, received 0."),
        (["--units", "9"], "--units must be omitted unless --model is alexnet, received 9."),
        (["--mixed-precision"], "--mixed-precision must be omitted unless --model is alexnet, received True."),
        (["--model", "alexnet", "--recipe", "fast"], "--recipe must be paper or modern, received fast."),
        (["--model", "alexnet", "--image-size", "128:2"], "--image-size 128:2 needs 2 epochs, but --epochs is 64."),
        (["--seed", str(2**32 - 2)], "--seed must be at least 0 and below 2**32 - 2"),
        (["--dataset", "mnist5k"], "Unknown data set 'mnist5k'. Did you mean 'mnist-5k'?"),
    ],
)
def test_a_wrong_argument_ends_with_one_line_and_leaves_nothing_behind(
    module, arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(module.app, [*arguments, "--out", "runs"])
    assert result.exit_code == 2 and len(result.stderr.strip().splitlines()) == 1, result.output
    assert result.stderr.startswith("Error: ") and message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_needs_no_tensorflow():
    found = run_and_look_for_tensorflow("--help", program=SCRIPT)
    assert "code 0 False" in found.stdout and "--group" in found.stdout, found.stderr
