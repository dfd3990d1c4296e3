"""The most memory that a piece of work takes, of this process."""

import gc
import resource
import sys
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_of(work):
    """Do something and see how much memory it took.

    Args:
        work: Function of nothing.

    Returns:
        `(above, whole)` in MiB: resident memory at its highest less what there was before, and at its highest. Where
        the system does not let one start the count anew (it is not Linux), what went before counts too.
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
