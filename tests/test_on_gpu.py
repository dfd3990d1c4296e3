"""What only a GPU can show: figures under determinism, with the numbers of a CPU. What runs everywhere is in
`test_gpu_operations`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from bits import has_gpu
from specimens import LAYERS, SPECIMENS, images

import deconv

pytestmark = pytest.mark.skipif(not has_gpu(), reason="TensorFlow finds no GPU here")
ROOT = Path(__file__).parent.parent


def differences(one, other, path=""):
    """Paths at which two JSONs differ by more than 1e-4 of the largest value of their list."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), path
        return [found for key in one for found in differences(one[key], other[key], f"{path}/{key}")]
    try:
        left, right = np.asarray(one, float), np.asarray(other, float)
    except (TypeError, ValueError):
        return [] if one == other else [path]
    near = left.shape == right.shape and np.allclose(
        left, right, rtol=1e-4, atol=1e-4 * np.abs(left[np.isfinite(left)]).max(initial=0), equal_nan=True
    )
    return [] if near else [path]


def drawn(out, devices):
    """Numbers of figures of LeNet-5, drawn under determinism by a process that sees some GPUs, or none."""
    command = [sys.executable, "scripts/make_figures.py", "--out", str(out), "--only", "fig1", "--only", "fig2"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": devices}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return {file.name: json.loads(file.read_text())["numbers"] for file in sorted(Path(out).glob("*.json"))}


def test_figures_under_determinism_have_the_numbers_of_a_cpu(tmp_path):
    on_gpu = drawn(tmp_path / "gpu", os.environ.get("CUDA_VISIBLE_DEVICES", "0"))
    on_cpu = drawn(tmp_path / "cpu", "-1")
    assert on_gpu and differences(on_gpu, on_cpu) == []


@pytest.mark.parametrize("name", SPECIMENS)
def test_projections_of_a_gpu_are_those_of_a_cpu(name):
    model, layer = SPECIMENS[name](), LAYERS[name]
    given = images(model, 3)
    found = deconv.Deconvnet(model).project(given, layer)
    with tf.device("CPU:0"):
        expected = deconv.Deconvnet(model).project(given, layer)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
