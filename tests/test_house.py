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


@pytest.mark.parametrize("package", ["deconv", "models", "deconv.datasets"])
def test_importing_a_package_loads_nothing_that_keras_does_not_load_itself(package):
    heavy = ("matplotlib.pyplot", "sklearn.svm", "tensorflow_datasets", "mlxtend", "jinja2", "typer")
    code = (
        f"import sys, keras, tensorflow; before = set(sys.modules); import {package}; "
        f"print(*[name for name in {heavy} if name in set(sys.modules) - before])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


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
