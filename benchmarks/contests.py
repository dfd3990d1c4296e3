"""All contestants of a question, each in the process of its family, and the requests sent to them."""

import contextlib
import os
import statistics
import tempfile
from typing import NamedTuple

import numpy as np
import typer

from benchmarks import measuring
from benchmarks.workers import Here, Worker

US = "by_deconvnet"
PACKAGES = ("captum", "xplique", "tf-explain")
ROUNDING, FEW, MUCH = 1e-5, 0.05, 0.05


class Contest(contextlib.ExitStack):
    """All rows of a question whose packages are installed; missing ones are reported and left out.

    Args:
        question: The prefix of the rows' names in the families.
        families: `{module in this folder: its interpreter, or None for this one}`; that of this package is always
            included.
        threads: Number of threads of every contestant.
        quick: Whether to run without processes, except for families with an interpreter of their own.

    Attributes:
        us: The worker of this package's family.
        rows: `{row: its worker}`, in the order of the families.
        missing: `{row: reason}`.
        versions: `{family: {package: version}}`.
        folder: Temporary folder for data passed in files.
    """

    def __init__(self, question, families, threads, quick=False):
        super().__init__()
        self.question, self.threads, self.quick = question, threads, quick
        self.rows, self.missing, self.versions, self._homes, self._first = {}, {}, {}, {}, {}
        self.folder = self.enter_context(tempfile.TemporaryDirectory())
        try:
            for family, python in {US: None, **families}.items():
                self._add(family, python)
        except BaseException:
            self.close()
            raise

    def _worker(self, family, python):
        return Here(family) if self.quick and python is None else Worker(family, self.threads, python)

    def _add(self, family, python):
        worker = self.enter_context(self._worker(family, python))
        missing = worker.ask("missing")
        self.versions[family] = worker.ask("versions")
        if family == US:
            self.us = worker
        for row in worker.ask("names", question=self.question):
            if row in missing:
                self.missing[row] = missing[row]
                typer.echo(f"{row}: {missing[row]}")
            else:
                self.rows[row], self._homes[row] = worker, (family, python)

    def make(self, name, **choice):
        """Write a network to a file and open it for every row; returns the path and the units per layer."""
        path = os.path.join(self.folder, f"{name}.npz")
        counts = self.us.ask("call", function="make_subject", name=name, path=path, **choice)
        for row in self.rows:
            self._ask("open", row, path)
        return path, counts

    def tune(self, row, path, case, key):
        """Try all settings of a row on a case; `{setting: seconds}`."""
        return self._ask("tune", row, path, case=case, key=key)

    def found(self, row, path, case, key):
        """The result of a row as an array. `times` uses its duration as that of the first run of the case."""
        out = os.path.join(self.folder, "found.npy")
        self._first[row, path, str(case)] = self._ask("result", row, path, case=case, key=key, out=out)
        return np.load(out)

    def times(self, path, cases, key, repeats, budget=measuring.BUDGET):
        """Measure rows in turn: from `{row: case}` to `{row: measuring.Times}`; once in a quick run."""

        def contestant(row, case):
            return lambda: self._ask("run", row, path, case=case, key=key)

        first = {
            row: self._first[row, path, str(case)]
            for row, case in cases.items()
            if (row, path, str(case)) in self._first
        }
        budget = 0 if self.quick else budget
        return measuring.rounds({row: contestant(row, case) for row, case in cases.items()}, repeats, budget, first)

    def once(self, row, path, case, key):
        """Seconds of a case that do not increase with its size."""
        return self._ask("once", row, path, case=case, key=key)

    def peak(self, row, path, warm, case, repeats):
        """Peak memory of a row for a case, in a process of its own: `(above, whole)` of `peaks.peak_of`.

        The median over `repeats` processes, each of which has computed the case `warm` before.
        """
        family, python = self._homes[row]
        found = []
        for _ in range(repeats):
            with self._worker(family, python) as worker:
                worker.ask("open", row=f"{self.question}: {row}", path=path)
                found.append(worker.ask("peak", row=f"{self.question}: {row}", path=path, warm=warm, case=case))
        return tuple(statistics.median(values) for values in zip(*found, strict=True))

    def about(self):
        """The provenance of the numbers, for the JSON file."""
        return {
            "question": self.question,
            "quick": self.quick,
            "machine": measuring.machine(self.threads),
            "versions": self.versions,
            "missing": self.missing,
            "gigaflops": self.us.ask("call", function="peak", size=512 if self.quick else 4096),
        }

    def _ask(self, method, row, path, **arguments):
        return self.rows[row].ask(method, row=f"{self.question}: {row}", path=path, **arguments)


class Difference(NamedTuple):
    """Difference of two rows: for each projection the largest difference, relative to its largest value.

    Attributes:
        worst: Maximum over all projections.
        beyond: Share of the projections that differ by more than `ROUNDING`.
    """

    worst: float
    beyond: float


def difference(found, expected):
    """The `Difference` of arrays `(n, ...)`."""
    found, expected = (np.asarray(array).reshape(len(array), -1) for array in (found, expected))
    largest = np.maximum(np.abs(expected).max(axis=1), np.finfo(np.float32).tiny)
    each = np.abs(found - expected).max(axis=1) / largest
    return Difference(float(each.max()), float((each > ROUNDING).mean()))


def check_equal(what, row, found, *, few=False):
    """Print a difference and exit if it is more than rounding; with `few`, a few large differences are accepted.

    Two maxima of a pooling window that differ only by rounding may be ordered differently by two packages; then a few
    projections differ.
    """
    beyond = f", {found.beyond:.1%} of the pictures by more than {ROUNDING:.0e}" if found.beyond else ""
    typer.echo(f"{what}: {row} differs by {found.worst:.1e} at most{beyond}")
    if not (found.worst <= ROUNDING or (few and found.beyond <= FEW and found.worst <= MUCH)):
        typer.echo(f"Error: {row} does not compute what we do for {what}; its times would mean nothing.", err=True)
        raise typer.Exit(1)


def best(ratios):
    """The fastest other package: `[row, ratio]`; None without any."""
    others = [[row, ratio] for row, ratio in ratios.items() if row in PACKAGES]
    return min(others, key=lambda other: other[1], default=None)
