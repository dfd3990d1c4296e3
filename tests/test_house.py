"""The house rules: imports go one way, start-up is light, and what the package says of itself is true."""

import ast
import configparser
import importlib
import inspect
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


@pytest.mark.slow
def test_packages_are_loaded_when_they_are_used_and_load_nothing_that_keras_does_not_load_itself():
    heavy = ("matplotlib.pyplot", "sklearn.svm", "sklearn.linear_model", "tensorflow_datasets", "mlxtend", "jinja2")
    code = f"""
import sys, deconv
assert "tensorflow" not in sys.modules
import keras, tensorflow  # Keras itself loads some of scikit-learn where it is installed
before = set(sys.modules)
print(*[getattr(deconv, name).__name__ for name in ("attribution", "datasets", "embedding", "plotting")])
print(deconv.attribution.lrp.__module__)
import models
[getattr(deconv, name) for name in deconv.__all__]
import deconv.probing.transfer_learning, deconv.embedding, deconv.attribution, deconv.features
print(*[name for name in {(*heavy, "typer")} if name in set(sys.modules) - before])
import deconv.figures.table7
print(*[name for name in ("sklearn.svm", "sklearn.linear_model") if name in set(sys.modules) - before])
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    names = ["deconv.attribution", "deconv.datasets", "deconv.embedding", "deconv.plotting"]
    assert result.stdout.split() == [*names, "deconv.attribution.relevance_propagation"], result.stderr
    assert result.returncode == 0, result.stderr


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


def sources():
    """`(module name, syntax tree)` of every module of the two packages."""
    for folder in ("deconv", "models"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def functions(tree, is_public=True, in_class=False):
    """`(function, whether it is public, whether it is a method)` of a module, without nested functions."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from functions(node, is_public and not node.name.startswith("_"), True)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, is_public and (not node.name.startswith("_") or node.name in ("__init__", "__call__")), in_class


def test_no_function_is_longer_than_60_lines_or_nested_deeper_than_4():
    def depth(node, now=0):
        blocks = (ast.For, ast.While, ast.If, ast.With, ast.Try)
        inside = (
            depth(child, now + isinstance(child, blocks))
            for child in ast.iter_child_nodes(node)
            if not isinstance(child, ast.FunctionDef | ast.ClassDef | ast.Lambda)
        )
        return max([now, *inside])

    wrong = []
    for name, tree in sources():
        for function, _, _ in functions(tree):
            lines = function.end_lineno - function.lineno + 1
            if ast.get_docstring(function):
                lines -= function.body[0].end_lineno - function.body[0].lineno + 1
            if lines > 60 or depth(function) > 4:
                wrong.append(f"{name}: {function.name}: {lines} lines, depth {depth(function)}")
    assert wrong == []


@pytest.mark.slow
def test_every_public_function_has_type_hints():
    wrong = []
    for name, tree in sources():
        for function, is_public, is_method in functions(tree):
            decorators = [ast.unparse(one) for one in function.decorator_list]
            if not is_public or "command" in decorators:  # a command returns what its decorator takes
                continue
            arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            arguments = arguments[1:] if is_method and "staticmethod" not in decorators else arguments
            missing = [one.arg for one in arguments if one.annotation is None]
            missing += ["return"] if function.returns is None and function.name != "__init__" else []
            if missing:
                wrong.append(f"{name}: {function.name}: {', '.join(missing)}")
    assert wrong == []


def test_words_that_are_riddles_do_not_come_back():
    words = re.compile(r"\b(laid|told|sleeps|faces_of|challengers)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for folder in ("deconv", "models")
        for path in sorted((ROOT / folder).rglob("*.py*"))
        if path.suffix in (".py", ".pyi")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line)
    ]
    assert found == []


PACKAGES = sorted(
    str(path.parent.relative_to(ROOT)).replace("/", ".")
    for folder in ("deconv", "models")
    for path in (ROOT / folder).rglob("__init__.py")
)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_is_that_of_a_module_beside_it(package):
    offered = importlib.import_module(package)
    beside = {
        path.stem
        for path in Path(offered.__file__).parent.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    names = getattr(offered, "__all__", [name for name in vars(offered) if not name.startswith("_")])
    same = {name for name in names if name in beside}
    assert {name for name in same if not inspect.ismodule(getattr(offered, name))} == set()
