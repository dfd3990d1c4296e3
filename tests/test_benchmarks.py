"""The measuring instruments: what they compare is equal, and times are what a clock said.

A quick run does without processes of its own; one test talks to a process.
"""

import functools
import importlib
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import contests, measuring, memory, occlusion, peaks, projections, scan, startup, workers
from benchmarks.by_deconvnet import Projections

SCRIPTS = {script.__name__.rpartition(".")[2]: script for script in (projections, occlusion, scan, memory, startup)}
NEEDS = {"captum": "captum", "torch, by hand": "torch", "xplique": "xplique", "tf-explain": "tf_explain.core"}


def run(name, *arguments):
    return CliRunner().invoke(SCRIPTS[name].app, [str(argument) for argument in arguments])


@functools.cache
def there(row):
    """Whether the package of a row can be imported."""
    try:
        importlib.import_module(NEEDS[row])
    except ImportError:
        return False
    return True


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """What a script writes in a quick run, once for all tests."""

    @functools.cache
    def written(name):
        out = tmp_path_factory.mktemp(name) / "found.json"
        result = run(name, "--quick", "--out", out)
        assert result.exit_code == 0, result.output
        return json.loads(out.read_text(encoding="utf-8")), result.output

    return written


def check_rows(rows, ours, others):
    """All rows of ours, and those of the others whose packages are there."""
    assert set(rows) == {*ours, *filter(there, others)}


# ---------------------------------------------------------------------------------------------------- the scripts


@pytest.mark.slow
@pytest.mark.parametrize("network", ["alexnet", "lenet5"])
def test_projections_of_all_packages_are_equal_and_every_ratio_is_there(quick, network):
    content, printed = quick("projections")
    ours = [projections.US, "deconvnet, an image for each unit", "deconvnet, whole pictures"]
    found = content["networks"][network]
    for name, layer in found["layers"].items():
        check_rows(layer["differences"], ours, ["captum", "torch, by hand", "xplique"])
        assert all(layer["differences"][row]["worst"] <= 1e-5 for row in ours), name
        assert all(differs["beyond"] <= 0.05 for differs in layer["differences"].values()), name
        assert set(layer["ratios"]) == set(layer["times"]) == {*layer["differences"], projections.PLAIN}
        assert all(0 < ratio < 1e4 for ratio in layer["ratios"].values()), name
    assert found["ratios"][projections.US] == 1 and set(found["ratios"]) == set(layer["ratios"])
    for row in ("captum", "xplique"):
        assert (f"{row}: not installed" in printed) == (not there(row))
    assert f"Times as long as {projections.US}" in printed


@pytest.mark.slow
@pytest.mark.parametrize("network", ["alexnet", "lenet5"])
def test_occlusion_maps_of_all_packages_are_equal_and_every_ratio_is_there(quick, network):
    content, _ = quick("occlusion")
    cells = content["networks"][network]["cells"]
    for cell in cells.values():
        others = ["captum", "torch, by hand", "xplique", *(["tf-explain"] if cell["size"] == cell["stride"] else [])]
        check_rows(cell["ratios"], [occlusion.US, occlusion.PLAIN], others)
        assert all(differs["worst"] <= 1e-5 for differs in cell["differences"].values())
        assert all(0 < ratio < 1e4 for ratio in cell["ratios"].values())


@pytest.mark.slow
@pytest.mark.parametrize("network", ["alexnet", "lenet5"])
def test_a_scan_finds_what_keras_and_a_sort_find(quick, network):
    found = quick("scan")[0]["networks"][network]
    assert set(found["ratios"]) == {"top_activations", "bare forward pass", "model.predict"}
    assert all(differs["worst"] <= 1e-5 for differs in found["differences"].values())
    assert found["ratios"]["bare forward pass"] == 1 and all(ratio > 0 for ratio in found["ratios"].values())


@pytest.mark.slow
def test_memory_is_measured_for_every_row_and_count(quick):
    content, _ = quick("memory")
    rows = content["occlusion"]["lenet5"]
    check_rows(rows, [occlusion.US, occlusion.PLAIN], ["captum", "torch, by hand", "xplique"])
    for row in [*rows.values(), content["images"]["lenet5"]["top_activations"]]:
        assert row["counts"] == sorted(row["counts"]) and len(row["above"]) == len(row["counts"]) == 2
        assert min(row["whole"]) > 100 and row["ratio"] >= 1


@pytest.mark.slow
def test_importing_is_timed_and_every_script_has_its_help(quick):
    content, _ = quick("startup")
    assert 0 < content["added"]["by a clock inside"] < 5
    trains = {"train_alexnet", "train_lenet5", "train_variants"}
    others = {"convert_weights", "make_figures", "pack_runs", "readme_pictures", "write_results"}
    assert set(content["helps"]) == {*others, *trains}
    assert all(0 < found["median"] < 10 for found in content["helps"].values())


@pytest.mark.slow
def test_every_json_says_what_it_was_measured_on(quick):
    for name in SCRIPTS:
        content, _ = quick(name)
        assert content["question"] == name and content["quick"]
        assert content["machine"]["threads"] == 2 and content["machine"]["processor"]
        if name != "startup":
            assert content["versions"]["by_deconvnet"]["tensorflow"] and content["gigaflops"] > 0


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        *((name, ["--repeats", 0], "--repeats must be at least 1, received 0") for name in SCRIPTS),
        ("scan", ["--threads", 0], "--threads must be at least 1, received 0"),
        ("scan", ["--model", "vgg"], "--model must be alexnet or lenet5, received vgg"),
        ("memory", ["--out", "absent/found.json"], "--out must be the name of a file in a folder that can be written"),
        ("projections", ["--out", "."], "--out must be the name of a file in a folder that can be written, received ."),
        ("projections", ["--channels", 0], "--channels must be at least 1, received 0"),
        ("projections", ["--seed", -1], "--seed must be at least 0, received -1"),
        ("occlusion", ["--square", "8"], "--square must be SIZE:STRIDE with 1 <= STRIDE <= SIZE <= 28, received 8"),
        ("occlusion", ["--model", "alexnet", "--square", "8:9"], "1 <= STRIDE <= SIZE <= 227, received 8:9"),
        ("projections", ["--quick", "--python-xplique", "absent"], "No such file or directory: 'absent'"),
    ],
)
def test_a_bad_option_is_answered_in_one_line(tmp_path, monkeypatch, name, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = run(name, *arguments)
    assert result.exit_code == 2
    assert message in result.output.splitlines()[-1] and result.output.splitlines()[-1].startswith("Error: ")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------- what they are made of


def test_contestants_take_turns_and_the_first_round_is_not_counted():
    order, clock = [], {"one": iter([9, 1, 5, 3]), "other": iter([8, 2, 4, 6])}

    def contestant(name):
        return lambda: (order.append(name), next(clock[name]))[1]

    found = measuring.rounds({name: contestant(name) for name in clock}, repeats=3)
    assert order == ["one", "other", "one", "other", "other", "one", "one", "other"]
    assert found["one"] == measuring.Times(median=3, low=1, high=5, rounds=3, first=9)
    assert found["other"] == measuring.Times(median=4, low=2, high=6, rounds=3, first=8)


def test_who_has_spent_the_budget_is_judged_by_what_there_is():
    clock = {"slow": iter([70]), "middling": iter([25, 24, 23]), "fast": iter([2, 1, 1, 1, 1, 1])}
    found = measuring.rounds({name: lambda name=name: next(clock[name]) for name in clock}, repeats=5, budget=60)
    assert found["slow"] == measuring.Times(median=70, low=70, high=70, rounds=1, first=70)
    assert found["middling"].rounds == 2 and found["middling"].median == 23.5
    assert found["fast"].rounds == 5


def test_a_difference_is_relative_to_each_picture_and_counts_those_beyond_rounding():
    expected = np.array([[1.0, -4.0], [100.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    found = expected + np.array([[0.0, 0.5], [1e-6, 0.0], [0.0, 0.0], [0.0, 0.0]])
    assert contests.difference(found, expected) == contests.Difference(worst=0.125, beyond=0.25)
    with pytest.raises(Exception) as ended:
        contests.check_equal("all", "a row", contests.Difference(0.125, 0.25), few=True)
    assert ended.value.exit_code == 1
    contests.check_equal("all", "a row", contests.Difference(0.01, 0.04), few=True)


def test_a_patch_that_reaches_outside_is_cut_where_the_image_ends():
    from deconv import Patches

    contestant = Projections.__new__(Projections)
    contestant.subject = type("Subject", (), {"images": np.zeros((1, 4, 5, 1))})
    patches = Patches(np.arange(1.0, 13).reshape(2, 2, 3, 1), np.array([[-1, 3, 1, 6], [2, 0, 4, 3]]))
    whole = contestant.result(None, patches)[..., 0]
    assert whole[0].tolist() == [[0, 0, 0, 4, 5], *[[0] * 5] * 3]
    assert whole[1].tolist() == [*[[0] * 5] * 2, [7, 8, 9, 0, 0], [10, 11, 12, 0, 0]]


def test_a_peak_is_what_the_work_took():
    above, whole = peaks.peak_of(lambda: np.ones(128 * 2**20 // 8).sum())
    assert 120 < above < 160 and whole > above


def test_a_process_answers_and_says_what_went_wrong():
    with workers.Worker("by_tf_explain") as worker:
        assert worker.ask("names", question="occlusion") == ["tf-explain"]
        assert worker.ask("versions")["numpy"] == np.__version__
        with pytest.raises(RuntimeError, match=r"by_tf_explain, call: AttributeError: .* has no attribute 'nothing'"):
            worker.ask("call", function="nothing")
        assert worker.ask("names", question="projections") == []
        with pytest.raises(RuntimeError, match="by_tf_explain has ended"):
            worker._process.kill()
            worker.ask("names", question="occlusion")


def test_a_process_has_the_threads_it_was_given(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    given = workers.environment(3)
    assert {given[name] for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")} == {"3"}


def test_the_twin_of_contrast_normalisation_keeps_its_band_matrix_where_its_maps_are():
    torch = pytest.importorskip("torch")
    from benchmarks.twins import _straight_through_normalization

    layer = {"name": "norm1", "beta": 0.75, "size": 5, "convention": "paper", "alpha": 1e-4, "k": 2.0}
    norm = _straight_through_normalization(layer)
    norm(torch.ones(1, 3, 2, 2))
    for given in ({"device": "meta"}, {"dtype": torch.float64}):  # meta stands for a GPU: it refuses what is elsewhere
        maps = torch.ones(1, 3, 2, 2, **given)
        assert norm(maps).device == norm.band.device == maps.device and norm.band.dtype == maps.dtype
    assert float(norm(torch.ones(1, 3, 2, 2))[0, 0, 0, 0]) == pytest.approx((2 + 3e-4) ** -0.75)
