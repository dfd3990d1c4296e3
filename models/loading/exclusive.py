"""One process at a time, the others wait."""

import contextlib
import errno
import sys
import warnings
from pathlib import Path

from filelock import FileLock, Timeout

_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


@contextlib.contextmanager
def exclusive(path, notice):
    """Wait until no other process, or thread, is in such a block with this path.

    Who is killed in the block leaves it too: the lock is the operating system's, the file only its name. On a file
    system without locks a warning says so, and nobody waits.

    Args:
        path: A file to lock; made, and removed at the end.
        notice: What to tell the user, on standard error, who has to wait.

    Raises:
        OSError: If the file cannot be made.
    """
    lock = FileLock(path, thread_local=False)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if notice:
                print(notice, file=sys.stderr)
            lock.acquire(poll_interval=0.2)
    except (OSError, NotImplementedError) as error:  # filelock has the second for some file systems without locks
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        warnings.warn(f"The file system of '{path}' has no locks: let one process at a time write there.", stacklevel=3)
    try:
        yield
    finally:
        if lock.is_locked:
            with contextlib.suppress(OSError):  # Windows keeps a file that is open
                Path(path).unlink()
            lock.release()
