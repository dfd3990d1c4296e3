"""Measurement: contestants in turn, medians over rounds, a table of ratios, a JSON file of all results.

The contestants of one cell (a layer, a size of the occluding patch) run one after the other, round by round. Their
order is rotated by one each round, so that other load on the machine affects all of them alike. The first run is a
warm-up and is not counted; its results are compared. Slow contestants are not repeated indefinitely: a contestant that
has spent `budget` seconds on a cell is left out of further rounds, and one whose first run alone takes longer is
represented by that run, of which compilation is then a small part. The environment of the processes fixes the threads
(`workers`).
"""

import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a clone works without being installed
from scripts import command_line

BUDGET = 60.0
"""Maximum number of seconds of one contestant for one cell."""

Repeats = Annotated[int, typer.Option(help="Rounds that are counted, after one that warms up.")]
Out = Annotated[Path | None, typer.Option(help="JSON file to write; one of that name is replaced.")]
Quick = Annotated[bool, typer.Option("--quick", help="A small run that shows that all works; its times mean nothing.")]
Threads = Annotated[int, typer.Option(help="Threads of every contestant.")]
Networks = Annotated[list[str] | None, typer.Option("--model", help="alexnet or lenet5; may be repeated [both].")]
PythonXplique = Annotated[str | None, typer.Option(help="Interpreter of an environment with xplique [this one].")]


class Times(NamedTuple):
    """Seconds of one contestant for one cell.

    Attributes:
        median, low, high: Median, minimum and maximum of the counted rounds.
        rounds: Number of counted rounds.
        first: The first run, which includes compilation and warm-up.
    """

    median: float
    low: float
    high: float
    rounds: int
    first: float


def rounds(contestants, repeats, budget=BUDGET, first=()):
    """Measure contestants in turn.

    Args:
        contestants: `{name: function without arguments that returns its own seconds}`.
        repeats: Number of counted rounds.
        budget: See the module docstring.
        first: `{name: seconds}` of those that have already had their first run.

    Returns:
        `{name: Times}`.
    """
    names, first = list(contestants), dict(first)
    taken = {name: [first[name] if name in first else contestants[name]()] for name in names}
    for number in range(repeats):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            if sum(taken[name]) < budget:
                taken[name].append(contestants[name]())
    return {name: _times(seconds) for name, seconds in taken.items()}


def _times(seconds):
    first, counted = seconds[0], seconds[1:] or seconds
    return Times(statistics.median(counted), min(counted), max(counted), len(counted), first)


def show(title, headers, lines):
    """Print a table with numbers aligned to the right and words to the left."""
    lines = [[_shown(value) for value in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(headers, *lines, strict=True)]
    typer.echo(f"\n{title}\n")
    for first, *rest in [list(headers), ["-" * width for width in widths], *lines]:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))]
        typer.echo("  ".join(cells))


def _shown(value):
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:#.3g}".rstrip(".")


def machine(threads):
    """Description of the machine: processor, threads, system, date."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def check_options(repeats, threads, out, networks=(), known=()):
    """Check the options before anything is loaded, with one-line errors; returns the networks to measure."""
    command_line.check("--repeats", repeats, repeats >= 1, "at least 1")
    command_line.check("--threads", threads, threads >= 1, "at least 1")
    networks = list(dict.fromkeys(networks or known))
    for name in networks:
        command_line.check("--model", name, name in known, " or ".join(known))
    if out is not None:
        folder = out.absolute().parent
        writable = folder.is_dir() and os.access(folder, os.W_OK) and not out.is_dir()
        command_line.check("--out", out, writable, "the name of a file in a folder that can be written")
    return networks


def write(out, content):
    """Write the JSON file, if one is requested."""
    if out is not None:
        out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        typer.echo(f"\nwritten: {out}")
