"""Every notebook runs from top to bottom, and the one in the repository is what such a run gives."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_still_says_what_its_stored_outputs_say(path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(path.parent.parent))
    stored = nbformat.read(path, as_version=4)
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    for before, after in zip(stored.cells, notebook.cells, strict=True):
        assert _pictures(before) == _pictures(after)
        if "verify(" not in before.source:  # its residuals are rounding errors, which vary with the machine
            assert _text(before) == _text(after)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_executed_and_without_errors(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(_pictures(cell) for cell in cells) >= 5
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]


def _pictures(cell):
    kinds = {"image/png", "image/jpeg"}
    return sum(bool(kinds & set(output.get("data", {}))) for output in cell.get("outputs", []))


def _text(cell):
    return "".join(output.text for output in cell.get("outputs", []) if output.get("name") == "stdout")
