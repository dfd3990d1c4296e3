"""How long until one can begin: what does `import deconv` add to `import keras`, and when does --help appear?

Every number comes from a new process, in turn with the others. What the import adds is measured twice: as the
difference of the two imports, and by a clock inside the process, which hears less of what else the machine does.
"""

import subprocess
import sys
import time
from pathlib import Path

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from benchmarks import measuring, workers
from scripts import command_line

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

ALONE, BOTH, ADDED = "import keras", "import keras; import deconv", "import deconv, after keras"
CLOCK = "import time, keras; start = time.perf_counter(); import deconv; print(time.perf_counter() - start)"


@app.command(help=__doc__)
def main(
    repeats: measuring.Repeats = 11,
    threads: measuring.Threads = 2,
    out: measuring.Out = None,
    quick: measuring.Quick = False,
):
    measuring.check_options(repeats, threads, out)
    environment = workers.environment(threads)
    imports = {row: lambda row=row: _clocked(["-c", row], environment) for row in (ALONE, BOTH)}
    imports = (imports if not quick else {}) | {ADDED: lambda: float(_output(["-c", CLOCK], environment))}
    helps = {
        path.stem: lambda path=path: _clocked([path, "--help"], environment)
        for path in sorted((workers.ROOT / "scripts").glob("*.py"))
        if "__main__" in path.read_text(encoding="utf-8")
    }
    budget = 0 if quick else float("inf")
    try:
        imports = measuring.rounds(imports, repeats, budget)
        helps = measuring.rounds(helps, repeats, budget)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        command_line.fail(error)
    added = {"by a clock inside": imports[ADDED].median}
    if not quick:
        added["as a difference"] = imports[BOTH].median - imports[ALONE].median
    headers = ["", "seconds", "lowest", "highest"]
    measuring.show("Import", headers, [[row, found.median, found.low, found.high] for row, found in imports.items()])
    measuring.show("What `import deconv` adds", ["", "seconds"], [list(item) for item in added.items()])
    measuring.show("--help", headers, [[row, found.median, found.low, found.high] for row, found in helps.items()])
    content = {
        "question": "startup",
        "quick": quick,
        "machine": measuring.machine(threads),
        "imports": {row: found._asdict() for row, found in imports.items()},
        "added": added,
        "helps": {row: found._asdict() for row, found in helps.items()},
    }
    measuring.write(out, content)


def _output(arguments, environment):
    result = subprocess.run(
        [sys.executable, *arguments], cwd=workers.ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return result.stdout


def _clocked(arguments, environment):
    start = time.perf_counter()
    _output(arguments, environment)
    return time.perf_counter() - start


if __name__ == "__main__":
    app()
