"""Mutual exclusion of processes by a file lock; other processes wait."""

import contextlib
import errno
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


@contextlib.contextmanager
def exclusive(path: str | os.PathLike, notice: str) -> Iterator[None]:
    """Context manager that waits until no other process or thread is in such a block with this path.

    The lock belongs to the operating system and is released if the process is killed; the file only names it. On a
    file system without locks a warning is issued, and the block is entered without waiting.

    Args:
        path: The file to lock; it is created, and removed at the end.
        notice: Message on the standard error for a user who has to wait.

    Raises:
        OSError: If the file cannot be created.
    """
    lock = FileLock(path, thread_local=False)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if notice:
                print(notice, file=sys.stderr)
            lock.acquire(poll_interval=0.2)
    except (OSError, NotImplementedError) as error:  # filelock raises the second on some file systems without locks
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"The file system of '{path}' does not support locks. Only one process at a time must write there.",
            stacklevel=3,
        )
    try:
        yield
    finally:
        if lock.is_locked:
            with contextlib.suppress(OSError):  # Windows cannot delete an open file
                Path(path).unlink()
            lock.release()
