"""One process at a time."""

import contextlib
import os
import sys
import time
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    import msvcrt

    fcntl = None


@contextlib.contextmanager
def exclusive(path, notice):
    """Wait until no other process, or thread, is in such a block with this path.

    Who is killed in the block leaves it too: the lock is the operating system's, the file only its name.

    Args:
        path: A file to lock; made, and removed at the end.
        notice: What to tell the user, on standard error, who has to wait.

    Raises:
        OSError: If the file cannot be made, or its file system has no locks.
    """
    path = Path(path)
    while True:
        file = open(path, "a")  # noqa: SIM115 - closed where the block ends
        try:
            while not _locked(file):
                if notice:
                    print(notice, file=sys.stderr)
                notice = None
                time.sleep(0.2)
            if _is_at(path, file):
                break
            file.close()  # removed by who had it before us: this lock keeps nobody out
        except BaseException:
            file.close()
            raise
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows keeps a file that is open
            path.unlink()
        file.close()


def _is_at(path, file):
    """Whether this open file is the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _locked(file):
    """Whether this file could be locked now."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    return True
