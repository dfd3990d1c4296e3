"""The house rules: imports go one way, start-up is light, and what the package says of itself is true."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

import deconv

ROOT = Path(__file__).resolve().parent.parent


def test_imports_go_one_way():
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout


def test_importing_the_packages_loads_nothing_that_keras_does_not_load_itself():
    heavy = ("matplotlib.pyplot", "sklearn.svm", "sklearn.linear_model", "tensorflow_datasets", "mlxtend", "jinja2")
    code = f"""
import sys, keras, tensorflow  # Keras itself loads some of scikit-learn where it is installed
before = set(sys.modules)
import deconv, models, deconv.datasets
[getattr(deconv, name) for name in deconv.__all__]
import deconv.probing.transfer_learning, deconv.embedding, deconv.attribution, deconv.features
print(*[name for name in {(*heavy, "typer")} if name in set(sys.modules) - before])
import deconv.figures.table7
print(*[name for name in ("sklearn.svm", "sklearn.linear_model") if name in set(sys.modules) - before])
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.split() == [] and result.returncode == 0, result.stdout + result.stderr


def test_a_name_that_the_package_offers_is_its_function_whatever_has_been_loaded_before():
    import deconv.deconvnet.mirror
    import deconv.evaluation.method_comparison
    from deconv.diagnostics.layer_health import LayerHealth

    assert callable(deconv.mirror) and callable(deconv.explain) and callable(deconv.health)
    assert deconv.LayerHealth is LayerHealth
    with pytest.raises(AttributeError, match="module 'deconv' has no attribute 'mirrors'"):
        deconv.mirrors  # noqa: B018


def test_the_version_is_the_same_everywhere():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == deconv.__version__


def test_every_name_that_the_package_offers_exists_and_is_documented():
    for name in deconv.__all__:
        assert getattr(deconv, name) is deconv.RULES or getattr(deconv, name).__doc__, name


def test_no_module_is_longer_than_300_lines():
    long = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for folder in ("deconv", "models", "scripts")
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name: lines for name, lines in long.items() if lines > 300} == {}


def test_the_readme_has_the_two_commands_and_ci_finds_the_second():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"<!-- the (\w+) command -->\n```bash\n(.+?)\n```", readme, re.DOTALL)
    assert [name for name, _ in commands] == ["figures", "test"]
    assert "scripts/make_figures.py" in commands[0][1] and "pytest" in commands[1][1]
    assert "the test command" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_packages_are_loaded_when_they_are_used():
    code = (
        "import sys, deconv\n"
        "assert 'tensorflow' not in sys.modules\n"
        "print(*[getattr(deconv, name).__name__ for name in ('attribution', 'datasets', 'embedding', 'plotting')])\n"
        "print(deconv.attribution.lrp.__module__)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    names = "deconv.attribution deconv.datasets deconv.embedding deconv.plotting"
    assert result.stdout.split("\n")[:2] == [names, "deconv.attribution.relevance_propagation"], result.stderr
