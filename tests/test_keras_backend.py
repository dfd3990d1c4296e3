"""Keras on another backend than TensorFlow: one line that says so, whoever imports whom first."""

import os
import subprocess
import sys

import pytest

from deconv.runtime import keras_backend
from models import keras_backend as backend_of_models

WAY_OUT = "Set the environment variable KERAS_BACKEND=tensorflow before keras is imported"


class OnTorch:
    """What stands in `sys.modules` for a Keras that runs on PyTorch."""

    class backend:
        @staticmethod
        def backend():
            return "torch"


@pytest.mark.parametrize("module", [keras_backend, backend_of_models])
def test_another_backend_is_refused_whether_keras_is_loaded_or_only_told_so(module, monkeypatch):
    module.check()  # here it is TensorFlow
    monkeypatch.setitem(sys.modules, "keras", OnTorch)
    with pytest.raises(ImportError, match=f"^Keras runs on 'torch'.*{WAY_OUT}"):
        module.check()
    monkeypatch.delitem(sys.modules, "keras")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(ImportError, match=f"^Keras is set to run on 'jax'.*{WAY_OUT}"):
        module.check()
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    module.check()
    monkeypatch.delenv("KERAS_BACKEND")
    module.check()


CODE = """
import sys, types
tries = {
    "a name of the package": "import deconv; deconv.Deconvnet",
    "a part of the package": "import deconv; deconv.attribution",
    "networks": "import models",
    "networks again": "from models import lenet5",
}
for what, line in tries.items():
    try:
        exec(line, {})
    except ImportError as error:
        print(what, "|", error)
print("loaded:", *[name for name in ("keras", "tensorflow") if name in sys.modules])
"""


def test_nothing_is_loaded_for_a_backend_that_will_not_do_and_commands_answer_in_one_line(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment)
    lines = result.stdout.splitlines()
    assert [line.split(" |")[0] for line in lines[:4]] == [
        "a name of the package",
        "a part of the package",
        "networks",
        "networks again",
    ]
    assert all("'jax'" in line and WAY_OUT in line for line in lines[:4]) and lines[4] == "loaded:", result.stderr
    command = [sys.executable, "-m", "deconv", "project", "--out", str(tmp_path / "out")]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("Error: Keras is set to run on 'jax'") and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    helped = subprocess.run([*command, "--help"], capture_output=True, text=True, env=environment)
    assert helped.returncode == 0


@pytest.mark.slow
def test_a_keras_that_was_imported_before_on_another_backend_is_noticed_by_every_part():
    code = (
        "import sys, types\n"
        "keras = sys.modules['keras'] = types.ModuleType('keras')\n"
        "keras.backend = types.SimpleNamespace(backend=lambda: 'torch')\n"
        "for module in ('deconv.graph', 'deconv.attribution', 'deconv.features', 'deconv.figures', 'models.alexnet'):\n"
        "    try:\n"
        "        __import__(module)\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = result.stdout.splitlines()
    assert len(said) == 5 and all(line.startswith("Keras runs on 'torch'") for line in said), result.stderr
