"""TensorFlow's threads do not survive a fork: what would hang in the new process is refused there."""

import os
import sys

_forked = False


def check():
    """Refuse to compute in a process that was forked after TensorFlow had been used, where it would wait for ever.

    Raises:
        RuntimeError: With the way out.
    """
    if _forked:
        raise RuntimeError(
            f"Process {os.getpid()} was forked from one that had used TensorFlow, whose threads a fork does not copy: "
            "computing here would hang. Use the start method 'spawn' for worker processes: "
            "multiprocessing.get_context('spawn'), or ProcessPoolExecutor(mp_context=...)."
        )


def _note():
    """Runs in every new process that Python forks."""
    global _forked
    eager = sys.modules.get("tensorflow.python.eager.context")
    context = getattr(eager, "_context", None)
    _forked = _forked or (context is not None and bool(getattr(context, "_initialized", True)))


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_note)
