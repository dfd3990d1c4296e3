"""What the README shows is executed here, but for its two commands, the first of which `test_figures` runs."""

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import matplotlib
import pytest

import models

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.as_users
def test_the_python_snippets_run_one_after_the_other_and_give_what_they_say(tmp_path, monkeypatch):
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    names = {}
    for snippet in re.findall(r"```python\n(.+?)```", README, re.DOTALL):
        exec(snippet, names)
    assert names["picture"].shape == (100, 28, 28, 1) and names["picture"].any()
    assert names["pictures"].shape == (100, 16, 28, 28, 1)
    largest = abs(names["picture"]).max()
    assert abs(names["pictures"][:, 7] - names["picture"]).max() <= 1e-5 * largest
    assert names["units"].pictures.shape == (3, 14, 14, 1) and names["units"].pictures.any()
    assert (names["state"].tops(names["model"])["conv2"].ids == names["tops"]["conv2"].ids).all()
    assert names["maps"].probability.shape == (21, 21)
    assert names["turned"].relative["fc4"].shape == names["turned"].probability.shape == (10, 36)
    assert names["found"]["fc3"].dead.shape == (120,) and 0 < names["alike"].distances["pool2"]["corner"].mean < 1
    assert names["probes"].mean.shape == (3, 2, 1) and (names["probes"].mean > 0.5).all()
    assert names["best"].images.shape == (2, 28, 28, 1) and names["best"].scores.min() > 0
    assert names["made"].images.shape == (1, 28, 28, 1) and (names["kept"].errors < 0.5).all()
    assert names["saliency"].shape == names["shared"].input.shape == (4, 28, 28, 1)
    assert set(names["every"].maps) == {*names["attribution"].METHODS, "occlusion"}
    assert 0 < names["honest"].table()["another channel"][0] < 1
    assert names["layout"].points.shape == (200, 2) and names["depth"].accuracy[-1] > 0.9
    assert (names["stages"].after == names["stages"].before.clip(0)).all()
    assert names["three"].shape == (100, 28, 28, 1) and names["three"].any()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "channel7.png",
        "half0.npz",
        "half1.npz",
        "occlusion.png",
        "top.png",
    ]


@pytest.mark.slow
def test_the_shell_commands_run_and_leave_what_they_say(tmp_path, monkeypatch, as_before):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"(<!-- the \w+ command -->\n)?```bash\n(.+?)\n```", README, re.DOTALL)
    commands = [command for marked, block in blocks if not marked for command in block.splitlines()]
    assert commands
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == ".venv/bin/python"
        is_module = arguments[0] == "-m"
        shorter = ["--epochs", "6"] if "scripts/train_lenet5.py" in arguments else []  # than a reader's 40
        monkeypatch.setattr(sys, "argv", arguments[is_module:] + shorter)
        with pytest.raises(SystemExit) as end:
            if is_module:
                runpy.run_module(arguments[1], run_name="__main__")
            else:
                runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
        assert not end.value.code, command
    run = tmp_path / "runs" / "lenet5"  # the training script's usual arguments
    record = json.loads((run / "training.json").read_text(encoding="utf-8"))
    assert record["arguments"]["dataset"] == "mnist-5k" and record["data"]["test_size"] == 1000
    assert record["results"]["test_accuracy_float16"] >= 0.9
    assert models.LeNet5(weights=run / "weights.npz").count_params() == 61706
    assert (run / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert {path.stem for path in (tmp_path / "pictures").glob("*.png")} == {"verify", "visualize_conv2"}


def test_every_picture_and_file_that_the_readme_links_to_is_there():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links and [link for link in links if not (ROOT / link).exists()] == []
