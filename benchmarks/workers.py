"""A process for each family of contestants, which executes requests that it receives over a pipe.

TensorFlow and torch have separate thread pools, oneDNN copies and allocators. In a test in one process, torch took up
to a tenth longer next to TensorFlow, on a busy machine. Besides, peak memory could not be attributed, and xplique,
which needs an older TensorFlow, could not be included. So every family has a process of its own, if necessary with an
interpreter of its own. The processes keep what they have loaded. Only one of them computes at a time; the others wait
for input.

A family is a module with `CONTESTANTS = {row of the table: Contestant}`.
"""

import contextlib
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ("numpy", "tensorflow", "keras", "torch", "captum", "xplique", "tf-explain", "deconvnet")


class Contestant:
    """An implementation that is compared in a benchmark.

    Args:
        subject: The `subjects.Subject`, the same for all contestants.

    Attributes:
        needs: Packages that it requires.
        settings: Batch sizes or memory formats, of which the fastest is used.
    """

    needs = ()
    settings = (None,)

    def __init__(self, subject):
        self.subject = subject
        self.best = {}

    def compute(self, case, setting):
        """Compute one case; the form of the result depends on the package."""
        raise NotImplementedError

    def result(self, case, found):
        """The result of `compute` as an array that can be compared between contestants."""
        return np.asarray(found)

    def once(self, case, setting):
        """Seconds that do not increase with the size of a case of the same images, and must not be scaled."""
        return 0.0

    def tune(self, case, key):
        """Run every setting twice on a case and keep the fastest for all cases of `key`; `{setting: seconds}`."""
        seconds = {}
        for setting in self.settings:
            self.compute(case, setting)
            seconds[setting] = self._clock(case, setting)
        self.best[key] = min(seconds, key=seconds.get)
        return {str(setting): taken for setting, taken in seconds.items()}

    def run(self, case, key):
        """Seconds for one case, with the fastest setting for its key.

        A short run is repeated and its repetition counts, because another process used the caches before.
        """
        seconds = self._clock(case, self.chosen(key))
        return seconds if seconds > 0.5 else self._clock(case, self.chosen(key))

    def chosen(self, key):
        """The fastest setting for a key; the first setting without measurements."""
        return self.best.get(key, self.settings[0])

    def _clock(self, case, setting):
        start = time.perf_counter()
        self.compute(case, setting)
        return time.perf_counter() - start


class Worker:
    """A process with a family of contestants.

    Args:
        family: Name of the module in this folder.
        threads: Number of threads of every library in it.
        python: Its interpreter.
    """

    def __init__(self, family, threads=2, python=None):
        self.family = family
        command = [python or sys.executable, "-m", "benchmarks.workers", family]
        pipe = subprocess.PIPE
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  closed with the process
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment(threads), stdin=pipe, stdout=pipe, stderr=self._errors, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def ask(self, method, **arguments):
        """Call a method of `Server` in the process and return its result.

        Raises:
            RuntimeError: If the method raises anything, or the process has ended.
        """
        try:
            self._process.stdin.write(json.dumps([method, arguments]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["no word"])[-1]
            raise RuntimeError(f"The process of {self.family} has ended: {last}")
        answer = json.loads(answer)
        if "error" in answer:
            raise RuntimeError(f"{self.family}, {method}: {answer['error']}")
        return answer["result"]


class Here:
    """A `Worker` without a process, for quick runs, whose times are not meaningful."""

    def __init__(self, family):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        self._server = Server(family)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def ask(self, method, **arguments):
        """As `Worker.ask`."""
        return json.loads(json.dumps(getattr(self._server, method)(**json.loads(json.dumps(arguments)))))


class Server:
    """The methods of a worker. Arguments and results are JSON values; arrays are passed in files."""

    def __init__(self, family):
        self.module = importlib.import_module(f"benchmarks.{family}")
        self.contestants = self.module.CONTESTANTS
        self.as_batches = {}

    def names(self, question):
        """The rows of a question, without the prefix."""
        rows = (row.partition(": ") for row in self.contestants)
        return [row for asked, _, row in rows if asked == question]

    def missing(self):
        """`{row without its question: reason}` of the rows whose packages cannot be imported."""
        found = {}
        for row, contestant in self.contestants.items():
            for package in contestant.needs:
                try:
                    importlib.import_module(package)
                except ImportError as error:
                    absent = isinstance(error, ModuleNotFoundError) and error.name == package.partition(".")[0]
                    reason = "not installed" if absent else f"cannot be imported: {error}".splitlines()[0]
                    found[row.partition(": ")[2]] = reason
        return found

    def versions(self):
        """`{package: version}` of the installed packages in `VERSIONS`."""
        found = {}
        for package in VERSIONS:
            try:
                found[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        return found

    def open(self, row, path):
        """Create a contestant for the subject in a file; returns the seconds taken."""
        from benchmarks import subjects

        start = time.perf_counter()
        self.as_batches[row, path] = self.contestants[row](subjects.load(path))
        return time.perf_counter() - start

    def tune(self, row, path, case, key):
        """See `Contestant.tune`."""
        return self.as_batches[row, path].tune(case, key)

    def run(self, row, path, case, key):
        """See `Contestant.run`."""
        return self.as_batches[row, path].run(case, key)

    def once(self, row, path, case, key):
        """See `Contestant.once`."""
        contestant = self.as_batches[row, path]
        return contestant.once(case, contestant.chosen(key))

    def result(self, row, path, case, key, out):
        """Save the result of a contestant as `.npy`; returns the seconds of computing it."""
        contestant = self.as_batches[row, path]
        start = time.perf_counter()
        found = contestant.compute(case, contestant.chosen(key))
        seconds = time.perf_counter() - start
        np.save(out, contestant.result(case, found))
        return seconds

    def peak(self, row, path, warm, case):
        """`peaks.peak_of` the computation of a case, after that of another as a warm-up."""
        from benchmarks import peaks

        contestant = self.as_batches[row, path]
        setting = contestant.settings[0]
        contestant.compute(warm, setting)
        return peaks.peak_of(lambda: contestant.compute(case, setting))

    def call(self, function, **arguments):
        """Call a function of the family's module."""
        return getattr(self.module, function)(**arguments)


def serve(family):
    """Execute requests from the standard input until it ends; results go to the standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of packages must not mix with the results
    server = Server(family)
    for line in sys.stdin:
        method, arguments = json.loads(line)
        try:
            answer = {"result": getattr(server, method)(**arguments)}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def environment(threads):
    """Environment variables that set the number of threads, hide GPUs and reduce the messages of TensorFlow."""
    number = str(threads)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    return {**os.environ, **dict.fromkeys(names, number), "TF_NUM_INTEROP_THREADS": number, **quiet}


if __name__ == "__main__":
    serve(sys.argv[1])
