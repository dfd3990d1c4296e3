"""Every notebook runs from top to bottom, and the one in the repository is what such a run gives."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import models

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))

SMALLER = {
    "02_alexnet_deconv": [("images[:4])", "images[:1])"), ("stride=16", "stride=50")],
    "03_paper_figures": [("EPOCHS = 64", "EPOCHS = 2")],
    "04_training_and_health": [("EPOCHS, EPOCHS_OF_VARIANTS = 21, 25", "EPOCHS, EPOCHS_OF_VARIANTS = 3, 1")],
    "05_feature_visualization": [
        ("STEPS, STEPS_OF_ALEXNET = 128, 40", "STEPS, STEPS_OF_ALEXNET = 16, 3"),
        ('"regularizers": ()}', '"regularizers": (), "steps": 8}'),
        ("preset=name, **seen", "preset=name, steps=8, **seen"),
        ("steps=200", "steps=20"),
    ],
    "06_attribution_and_controls": [
        ("steps=16,\n    random_orders=3", "steps=4,\n    random_orders=1"),
        (
            '{"samples": 10}, "integrated_gradients": {"steps": 16',
            '{"samples": 2}, "integrated_gradients": {"steps": 4',
        ),
    ],
}
"""Lines of a notebook, and what they are replaced by in a test, for less work than a reader's."""


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_still_says_what_its_stored_outputs_say(path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)  # a user who opens it has set none
    stored = nbformat.read(path, as_version=4)
    notebook = nbformat.read(path, as_version=4)
    for usual, smaller in SMALLER.get(path.stem, ()):
        (cell,) = (cell for cell in notebook.cells if cell.cell_type == "code" and usual in cell.source)
        cell.source = cell.source.replace(usual, smaller)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    for before, after in zip(stored.cells, notebook.cells, strict=True):
        assert _pictures(before) == _pictures(after)
        if "verify(" not in before.source:  # its residuals are rounding errors, which vary with the machine
            assert _text(before) == _text(after)
        assert list(map(_form, _markdown(before))) == list(map(_form, _markdown(after)))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_executed_and_without_errors(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(_pictures(cell) for cell in cells) >= 5
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]


IMPORT = """
import json, os, sys
import deconv, models
root = os.path.dirname(os.getcwd())  # an installation may lead there; for a user only the packages are installed
found, path = [], [folder for folder in sys.path if os.path.realpath(folder) != os.path.realpath(root)]
for name, lines in json.load(sys.stdin).items():
    sys.path[:] = path
    for module in [module for module in sys.modules if module.partition(".")[0] == "scripts"]:
        del sys.modules[module]
    exec(lines, {})
    found.append(name)
print(*found)
"""
"""Each notebook's imports in turn, none with the path of another."""


@pytest.mark.slow
def test_what_a_notebook_imports_is_found_from_its_own_folder_with_nothing_set():
    lines = {path.stem: _imports(path) for path in NOTEBOOKS}
    assert "from scripts import train_variants" in lines["03_paper_figures"]
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # -c puts the current folder on the path, as a kernel does.
    result = subprocess.run(
        [sys.executable, "-c", IMPORT],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        cwd=NOTEBOOKS[0].parent,
        env=usual,
    )
    assert result.stdout.split() == list(lines), result.stderr[-2000:]


def _imports(path):
    """The lines of a notebook that import, or say where to import from."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    tree = ast.parse("\n".join(line for cell in cells for line in cell.splitlines() if not line.startswith("%")))
    wanted = [
        node
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom) or ast.unparse(node).startswith("sys.path")
    ]
    return "\n".join(map(ast.unparse, wanted))


def _pictures(cell):
    kinds = {"image/png", "image/jpeg"}
    return sum(bool(kinds & set(output.get("data", {}))) for output in cell.get("outputs", []))


def _markdown(cell):
    return [
        output.data["text/markdown"] for output in cell.get("outputs", []) if "text/markdown" in output.get("data", {})
    ]


def _form(text):
    """What no size changes: the heads and the names of a table, or the claim that is judged."""
    if text.startswith("|"):
        heads, _, *rows = text.splitlines()
        assert "dead" not in heads or all(
            float(number) >= 0 for row in rows for number in re.findall(r"(?<=\| )-?[\d.]+(?= \|)", row)
        )
        return heads, [row.split("|")[1] for row in rows]
    return text.split("** ")[0].rsplit(" **", 1)[0]


def _text(cell):
    text = "".join(output.text for output in cell.get("outputs", []) if output.get("name") == "stdout")
    # TensorFlow remarks there on functions that are traced more often than they are called, as in short trainings.
    return "".join(line for line in text.splitlines(True) if not line.startswith("WARNING:tensorflow:"))


@pytest.fixture(autouse=True)
def fetched_weights(request):
    """Fetch the weights of a notebook, or skip where they are not cached and the package index cannot be reached."""
    if request.function is not test_a_notebook_runs_and_still_says_what_its_stored_outputs_say:
        return
    cells = nbformat.read(request.getfixturevalue("path"), as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    for network, weights in sorted(set(re.findall(r'models\.(\w+)\(weights="(imagenet|imagenet-features)"', code))):
        try:
            getattr(models, network)(weights=weights, include_top=weights == "imagenet")
        except ConnectionError as error:
            pytest.skip(f"the weights of {network} cannot be downloaded: {error}")
