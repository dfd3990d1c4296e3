"""Every notebook runs from top to bottom, and the one in the repository is what such a run gives."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient

import models

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))

SMALLER = {
    "02_alexnet_deconv": [("images[:4])", "images[:1])"), ("stride=16", "stride=50")],
    "03_paper_figures": [("EPOCHS = 64", "EPOCHS = 2")],
    "04_training_and_health": [
        ("EPOCHS, EPOCHS_OF_VARIANTS = 21, 25", "EPOCHS, EPOCHS_OF_VARIANTS = 3, 1"),
        ("epochs=5", "epochs=2"),
    ],
    "05_feature_visualization": [
        ("STEPS_OF_STYLE = 64, 40, 60", "STEPS_OF_STYLE = 4, 1, 2"),
        ("SIDE = 128", "SIDE = 64"),
        ('"regularizers": ()}', '"regularizers": (), "steps": 4}'),
        ("preset=name, **to_lenet", "preset=name, steps=4, **to_lenet"),
        ('{"conv2": 72, "conv3": 112, "conv4": 144, "conv5": 176}', '{"conv5": 64}'),
        ('{"conv3": 88, "conv5": 128}', '{"conv5": 64}'),
        ('("photographs", "yosinski-1", "erhan")', '("photographs", "erhan")'),
        ("size=(128, 128), steps=40", "size=(64, 64), steps=1"),
        ('{"block3_conv3": 48, "block4_conv3": 72, "block5_conv3": 104}', '{"block3_conv3": 32}'),
        ("steps=200", "steps=4"),
    ],
    "06_attribution_and_controls": [
        (
            "steps=16,\n    random_orders=3",
            'steps=4,\n    random_orders=1, runs=1, methods=["smooth_grad", "integrated_gradients", "deconvnet"]',
        ),
        (
            '{"samples": 10}, "integrated_gradients": {"steps": 16',
            '{"samples": 2}, "integrated_gradients": {"steps": 4',
        ),
    ],
    "07_embeddings_and_diagnosis": [
        ("layer, images=600", "layer, images=100"),
        ("deep, images=600", "deep, images=100"),
        ("epochs=60", "epochs=4"),
        ("np.arange(1, 61)", "np.arange(1, 5)"),
        ('"images": 300', '"images": 100'),
        ('embed(parrot, (taught, told), "fc4", images=300', 'embed(parrot, (taught, told), "fc4", images=100'),
        ('embed(parrot, digits, "fc4", images=300', 'embed(parrot, digits, "fc4", images=100'),
    ],
}
"""Lines of a notebook, and what they are replaced by in a test, for less work than a reader's."""

ALL_DIGITS = ["01_lenet5_deconv", "03_paper_figures"]
"""Notebooks whose stored outputs depend on all digits; to the others `mnist-5k` is every fifth of them."""

FRESH = """
%reset -f
import functools
import matplotlib.layout_engine, matplotlib.pyplot
import tensorflow
from tensorflow.python.framework import config
from deconv import datasets
matplotlib.pyplot.close("all")
matplotlib.layout_engine.ConstrainedLayoutEngine.execute = lambda self, figure: None
config.disable_op_determinism()
tensorflow.config.optimizer.set_experimental_options({{"disable_meta_optimizer": True}})

def fewer(load):
    @functools.wraps(load)
    def fifth(name, *given, **settings):
        return load(name, *given, **settings).shard(5, 0) if name == "mnist-5k" else load(name, *given, **settings)
    return fifth

datasets.load = getattr(datasets.load, "__wrapped__", datasets.load)
datasets.load = datasets.load if {all_digits} else fewer(datasets.load)
%reset -f
"""
"""Run before a notebook in the kernel that all share: without the names, figures and settings of the one before."""


@pytest.fixture(scope="module")
def kernel():
    """The manager of a kernel that runs in the folder of the notebooks; TensorFlow is imported once for all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONPATH", raising=False)  # a user who opens a notebook has set none
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(cwd=str(NOTEBOOKS[0].parent))
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_still_says_what_its_stored_outputs_say(path, kernel):
    stored = nbformat.read(path, as_version=4)
    notebook = nbformat.read(path, as_version=4)
    for usual, smaller in SMALLER.get(path.stem, ()):
        (cell,) = (cell for cell in notebook.cells if cell.cell_type == "code" and usual in cell.source)
        cell.source = cell.source.replace(usual, smaller)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FRESH.format(all_digits=path.stem in ALL_DIGITS)))
    NotebookClient(notebook, km=kernel, timeout=300).execute()
    del notebook.cells[0]
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
import os, sys
root = os.path.dirname(os.getcwd())  # an installation may lead there; for a user only the packages are installed
found, path = [], [folder for folder in sys.path if os.path.realpath(folder) != os.path.realpath(root)]
for name, lines in {lines}.items():
    sys.path[:] = path
    for module in [module for module in sys.modules if module.partition(".")[0] == "scripts"]:
        del sys.modules[module]
    exec(lines, {{}})
    found.append(name)
print(*found)
"""
"""Each notebook's imports in turn, none with the path of another."""


@pytest.mark.slow
def test_what_a_notebook_imports_is_found_from_its_own_folder_with_nothing_set(kernel):
    lines = {path.stem: _imports(path) for path in NOTEBOOKS}
    assert "from scripts import train_variants" in lines["03_paper_figures"]
    cell = nbformat.v4.new_code_cell("import deconv, models\n" + IMPORT.format(lines=lines))
    NotebookClient(nbformat.v4.new_notebook(cells=[cell]), km=kernel, timeout=300).execute()
    assert cell.outputs[-1].text.split() == list(lines)


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
