"""Refuse to use TensorFlow in forked processes, where it would hang because its threads do not survive a fork."""

from __future__ import annotations

import os
import sys

_forked = False


def check() -> None:
    """Fail in a process that was forked after TensorFlow had been used; computing there would block forever.

    Raises:
        RuntimeError: In such a process; the message says how to start processes instead.
    """
    if _forked:
        raise RuntimeError(
            f"Process {os.getpid()} was forked from one that had used TensorFlow, whose threads a fork does not copy: "
            "computing here would hang. Use the start method 'spawn' for worker processes: "
            "multiprocessing.get_context('spawn'), or ProcessPoolExecutor(mp_context=...)."
        )


def _note():
    """Record whether TensorFlow had been used; runs in every process that Python forks."""
    global _forked
    eager = sys.modules.get("tensorflow.python.eager.context")
    context = getattr(eager, "_context", None)
    _forked = _forked or (context is not None and bool(getattr(context, "_initialized", True)))


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_note)
