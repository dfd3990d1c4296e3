"""Modules of the user's behind --model and --preprocess: whatever they do, the command ends with one line."""

import sys

import pytest
from typer.testing import CliRunner

from deconv.cli import app, model_option

CODE = {
    "exits": "import sys\nsys.exit(0)",
    "exits_with_a_text": "raise SystemExit('no licence')",
    "own_kind": "class Stop(BaseException): pass\nraise Stop('mine')",
    "system": "import os\nos.stat('/no/such/file')",
    "syntax": "def f(:\n    pass",
    "imports": "import no_such_module",
    "attribute": "def __getattr__(name):\n    raise SystemExit(3)",
    "deep": "def f():\n    return f()\nf()",
}
SAYS = {
    "exits": r"SystemExit: it calls sys\.exit\(0\)",
    "exits_with_a_text": r"SystemExit: it calls sys\.exit\('no licence'\)",
    "own_kind": "Stop: mine",
    "system": r"FileNotFoundError: .*/no/such/file",
    "syntax": "SyntaxError: invalid syntax",
    "imports": "ModuleNotFoundError: No module named 'no_such_module'",
    "attribute": r"SystemExit: it calls sys\.exit\(3\)",
    "deep": "RecursionError: maximum recursion depth exceeded",
}


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []

    def write(name, code):
        (tmp_path / f"{name}.py").write_text(code)
        made.append(name)
        return name

    yield write
    for name in made:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("option", ["--model", "--preprocess"])
def test_a_module_that_fails_while_it_is_imported_is_told_in_one_line(module, name, option):
    module(f"users_{name}", CODE[name])
    path = list(sys.path)
    with pytest.raises(ValueError, match=f"^{option}: the module 'users_{name}' cannot be imported: {SAYS[name]}"):
        model_option.function_of(option, f"users_{name}:f")
    assert sys.path == path


@pytest.mark.parametrize("code", ["import sys; sys.exit(0)", "raise BaseException('b')"])
def test_a_function_that_ends_the_program_is_told_in_one_line(module, code):
    module("users_ends", f"def f(*_):\n    {code}")
    with pytest.raises(ValueError, match=r"^--model: users_ends:f failed: (SystemExit|BaseException): "):
        model_option.model_of("users_ends:f")
    run = model_option.preprocessing("users_ends:f", "users_ends:f")
    with pytest.raises(ValueError, match=r"^--preprocess: users_ends:f failed: (SystemExit|BaseException): "):
        run([1])


def test_ctrl_c_in_a_module_of_the_users_ends_the_command_as_everywhere(module):
    module("users_waits", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        model_option.function_of("--model", "users_waits:f")


def test_a_module_that_prints_and_changes_the_path_is_imported(module, capsys):
    module("users_prints", "import sys\nprint('hello')\nsys.path.insert(0, '/nowhere')\nsys.path.pop(1)\nf = len")
    assert model_option.function_of("--model", "users_prints:f") is len
    assert capsys.readouterr().out == "hello\n"
    sys.path.remove("/nowhere")


def test_a_command_whose_module_exits_ends_with_2_and_one_line(module, tmp_path):
    module("users_exits", CODE["exits"])
    result = CliRunner().invoke(app, ["project", "--model", "users_exits:f", "--images", "mnist-5k", "--out", "out"])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert result.stderr.startswith("Error: --model: the module 'users_exits' cannot be imported: SystemExit")
    assert not (tmp_path / "out").exists()
