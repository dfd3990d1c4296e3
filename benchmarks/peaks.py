"""Peak memory of a computation in this process."""

import gc
import resource
import sys
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_of(work):
    """Run a function and measure its peak memory.

    Args:
        work: Function without arguments.

    Returns:
        `(above, whole)` in MiB: peak resident memory minus the resident memory before, and the peak itself. Where the
        system cannot reset the peak (other than Linux), earlier peaks are included.
    """
    gc.collect()
    before = _resident()
    if _RESET.exists():
        _RESET.write_text("5", encoding="ascii")
    work()
    whole = _highest()
    return whole - before, whole


def _resident():
    return _line("VmRSS") if _STATUS.exists() else _highest()


def _highest():
    if _STATUS.exists():
        return _line("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _line(name):
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 2**10
