"""A process for each family of contestants, which does what it is told over a pipe.

TensorFlow and torch bring two thread pools, two oneDNN and two allocators. Tried in one process, torch took up to a
tenth longer beside TensorFlow, on a busy machine; besides, a peak of memory then belongs to nobody, and xplique, which
wants an older TensorFlow, cannot be there at all. So every family has a process of its own, with an interpreter of its
own if need be; all keep what they have loaded, and only one of them works at any time, while the others sleep on their
pipes.

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
    """One way to answer the question of a script.

    Args:
        subject: The `subjects.Subject` that all contestants look at.

    Attributes:
        needs: Packages without which there is no such row.
        settings: Ways to run it, from which the fastest is taken: batch sizes, memory formats.
    """

    needs = ()
    settings = (None,)

    def __init__(self, subject):
        self.subject = subject
        self.best = {}

    def compute(self, case, setting):
        """Answer one case; what it returns is whatever the package gives."""
        raise NotImplementedError

    def result(self, case, found):
        """What `compute` gave, as an array that can be compared with the others'."""
        return np.asarray(found)

    def once(self, case, setting):
        """Seconds of what a larger case of the same images would not do again: it is not scaled with the rest."""
        return 0.0

    def tune(self, case, key):
        """Try every setting twice on a case, keep the fastest for all cases of this key; `{setting: seconds}`."""
        seconds = {}
        for setting in self.settings:
            self.compute(case, setting)
            seconds[setting] = self._clock(case, setting)
        self.best[key] = min(seconds, key=seconds.get)
        return {str(setting): taken for setting, taken in seconds.items()}

    def run(self, case, key):
        """Seconds for one case, with the setting that was best for its key.

        A short one is run once more and counts then: before it, another process had the caches.
        """
        seconds = self._clock(case, self.chosen(key))
        return seconds if seconds > 0.5 else self._clock(case, self.chosen(key))

    def chosen(self, key):
        """The setting that was best for a key; the first where none was tried."""
        return self.best.get(key, self.settings[0])

    def _clock(self, case, setting):
        start = time.perf_counter()
        self.compute(case, setting)
        return time.perf_counter() - start


class Worker:
    """A process with a family of contestants.

    Args:
        family: Name of the module in this folder.
        threads: Threads of everything in it.
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
        """Let it call a method of `Server` and return what that does.

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
    """The same without a process, for a quick run, in which times mean nothing."""

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
    """What a worker can be asked for. Arguments and results are what JSON can hold; arrays go through files."""

    def __init__(self, family):
        self.module = importlib.import_module(f"benchmarks.{family}")
        self.contestants = self.module.CONTESTANTS
        self.as_batches = {}

    def names(self, question):
        """The rows of a question, without its name."""
        rows = (row.partition(": ") for row in self.contestants)
        return [row for asked, _, row in rows if asked == question]

    def missing(self):
        """`{row without its question: why it cannot be}`, of the rows whose packages cannot be imported."""
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
        """`{package: version}` of what is installed here."""
        found = {}
        for package in VERSIONS:
            try:
                found[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        return found

    def open(self, row, path):
        """Make a contestant for the subject in a file; returns seconds."""
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
        """Save what a contestant finds as `.npy`; returns the seconds of finding it."""
        contestant = self.as_batches[row, path]
        start = time.perf_counter()
        found = contestant.compute(case, contestant.chosen(key))
        seconds = time.perf_counter() - start
        np.save(out, contestant.result(case, found))
        return seconds

    def peak(self, row, path, warm, case):
        """Compute two cases, the first to warm up: `peaks.peak_of` the second."""
        from benchmarks import peaks

        contestant = self.as_batches[row, path]
        setting = contestant.settings[0]
        contestant.compute(warm, setting)
        return peaks.peak_of(lambda: contestant.compute(case, setting))

    def call(self, function, **arguments):
        """Call a function of the family's module."""
        return getattr(self.module, function)(**arguments)


def serve(family):
    """Answer questions from the standard input on the standard output, until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a package prints does not get into an answer
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
    """The environment in which everything uses so many threads, and TensorFlow is quiet."""
    number = str(threads)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    return {**os.environ, **dict.fromkeys(names, number), "TF_NUM_INTEROP_THREADS": number, **quiet}


if __name__ == "__main__":
    serve(sys.argv[1])
