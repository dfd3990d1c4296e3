"""`benchmarks/visualization.py` counts and clocks what it says."""

import json

import pytest
from typer.testing import CliRunner

from benchmarks import visualization


@pytest.mark.slow
def test_a_quick_run_counts_channels_and_clocks_both_ways(tmp_path):
    out = tmp_path / "found.json"
    result = CliRunner().invoke(visualization.app, ["--quick", "--repeats", "1", "--out", str(out)])
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text(encoding="utf-8"))["networks"]
    digits, photographs = found["lenet5"], found["alexnet"]
    assert digits["channels"] == 22 and digits["share"] == digits["raised"] / 22
    assert digits["raised"] == sum(layer["raised"] for layer in digits["layers"].values())
    assert f"{digits['raised']} of 22" in result.output
    times = photographs["times"]
    assert photographs["ratio"] == times[visualization.ALONE]["median"] / times[visualization.TOGETHER]["median"]
    assert all(clock["low"] > 0 for clock in (digits["times"], *times.values()))


def test_a_network_that_it_does_not_know_is_told_in_one_line():
    result = CliRunner().invoke(visualization.app, ["--model", "resnet"])
    assert result.exit_code == 2 and "--model" in result.output and "resnet" in result.output
