"""Write files atomically, and lock folders so that only one process at a time writes into them.

`deconv` and `models` must not import each other, so both contain an identical copy of this module.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import re
import secrets
import shutil
import socket
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = ".partial-"
"""Prefix of the names of unfinished files."""
_UNFINISHED = re.compile(re.escape(PREFIX) + r"([0-9a-f]{8})\.(\d+)\.(\d+)\.[0-9a-f]{8}-(.*)", re.DOTALL)
_AGE = 24 * 3600
"""Seconds after which an unfinished file is considered abandoned if its process cannot be checked."""
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
_HELD_BY = "held by process"


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Write a file atomically: `with replacing(path) as partial:` writes to `partial`, which then replaces `path`.

    A reader sees either the old file or the complete new one, even if this process is killed or the power fails. The
    temporary file is in the same folder, has the same suffix and a name unique to this call, so that threads and
    processes may write the same file. Unfinished files of the same name that killed processes left are removed.

    Args:
        path: The file to write.

    Yields:
        A `Path` at which there is no file yet.

    Raises:
        OSError: If the file cannot be written; the message is one line that names it.
    """
    path = Path(path)
    partial = path.with_name(_unfinished_name(path.name))
    try:
        remove_leftovers(path.parent, path.name)
        yield partial
        with open(partial, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.filename not in (None, str(partial), partial):
            raise  # the error names another file
        raise _named(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def unfinished_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Create a temporary folder inside another: `with unfinished_folder(folder) as new:`; it is removed at the end.

    Such folders that killed processes left are removed.

    Args:
        folder: The folder in which it is created.

    Yields:
        Its `Path`.

    Raises:
        OSError: If it cannot be created; the message is one line that names `folder`.
    """
    folder = Path(folder)
    remove_leftovers(folder, "unfinished")
    new = folder / _unfinished_name("unfinished")
    try:
        new.mkdir()
    except OSError as error:
        raise _named(error, folder) from error
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def remove_leftovers(folder: str | os.PathLike, name: str | None = None) -> None:
    """Remove the unfinished files of processes that no longer run.

    Those of other machines, whose processes cannot be checked, are removed a day after the last write to them.

    Args:
        folder: The folder that holds them.
        name: Name of the file that they were to replace; None for any.
    """
    end = None if name is None else _short(name)
    with contextlib.suppress(OSError), os.scandir(os.fspath(folder)) as entries:
        for entry in entries:
            match = _UNFINISHED.fullmatch(entry.name)
            if match is None or end not in (None, match[4]) or _may_live(entry, *match.groups()[:3]):
                continue
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


@contextlib.contextmanager
def locked(place: str | os.PathLike) -> Iterator[None]:
    """Lock a folder or file: `with locked(place):` excludes other processes and threads from blocks with that place.

    A second caller does not wait but fails. The lock belongs to the operating system and is released when the process
    ends in any way; the file `.lock` only names it and is removed at the end. Unfinished files of killed processes in
    the folder are removed.

    Args:
        place: An existing folder, or a file in one.

    Raises:
        ValueError: If the place is in use; the message names it and the process.
        OSError: If the lock's file cannot be written; the message is one line that names the place.
    """
    lock = Lock(place)
    try:
        if Path(place).is_dir():
            remove_leftovers(place)
        yield
    finally:
        lock.close()


class Lock:
    """The lock of `locked`, for an object that holds it as long as it lives.

    Args:
        place: An existing folder, or a file in one.
        name: Name of the lock; locks of different names are independent.
        shared: Whether several objects of the same process may hold it.

    Raises:
        ValueError, OSError: As `locked`.
    """

    def __init__(self, place: str | os.PathLike, name: str = "lock", shared: bool = False) -> None:
        place = Path(place)
        self.file = place / f".{name}" if place.is_dir() else place.with_name(f".{_short(place.name)}.{name}")
        lock = FileLock(self.file, timeout=0.2, thread_local=False, is_singleton=shared)
        owner = self._owner()
        self._lock = None
        try:
            lock.acquire()
        except Timeout:
            by = owner if owner.startswith(_HELD_BY) else f"{_HELD_BY} unknown"
            raise ValueError(
                f"'{place}' is in use: it is {by}. Wait until that process has ended, or choose another place."
            ) from None
        except NotImplementedError:
            self._go_without(place)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise _named(error, place) from error
            self._go_without(place)
        else:
            self._lock = lock
            self._sign()

    def close(self) -> None:
        """Release the lock. Further calls have no effect."""
        lock, self._lock = self._lock, None
        if lock is None:
            return
        if lock.lock_counter == 1 and self._owner().startswith(_HELD_BY):
            with contextlib.suppress(OSError):  # Windows cannot delete an open file
                self.file.unlink()
        with contextlib.suppress(OSError):
            lock.release()

    def __del__(self):
        if getattr(self, "_lock", None) is not None:
            self.close()

    def _go_without(self, place):
        warnings.warn(
            f"The file system of '{place}' has no locks. Make sure that no other process writes there.", stacklevel=4
        )

    def _owner(self):
        try:
            return self.file.read_text(encoding="utf-8", errors="replace")[:200]
        except OSError:
            return ""

    def _sign(self):
        """Write the owner to the lock's file, unless it holds text of `filelock` itself."""
        owner = self._owner()
        if not owner or owner.startswith(_HELD_BY):
            with contextlib.suppress(OSError):
                self.file.write_text(f"{_HELD_BY} {os.getpid()} on {socket.gethostname()}", encoding="utf-8")


def _unfinished_name(name):
    process = f"{_host()}.{os.getpid()}.{_started(os.getpid()) or 0}"
    return f"{PREFIX}{process}.{secrets.token_hex(4)}-{_short(name)}"


def _short(name):
    """A name with room for a prefix within the limits of file systems: long ones are hashed, except for the suffix."""
    if len(os.fsencode(name)) <= 120:
        return name
    ending = re.search(r"(\.[A-Za-z0-9]{1,12}){0,2}\Z", name)[0]
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:24] + ending


def _may_live(entry, host, pid, started):
    """Whether the process that began an unfinished file may still be writing it."""
    try:
        young = time.time() - entry.stat(follow_symlinks=False).st_mtime < _AGE
    except OSError:
        return False
    if host != _host() or os.name != "posix":
        return young
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # the process belongs to another user
        pass
    now = _started(int(pid))
    return young if now is None or started == "0" else str(now) == started


@functools.cache
def _host():
    """Eight hex digits that identify the machine since its start, and the namespace of its process ids."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def _started(pid):
    """Start time of a process in ticks since the start of the machine; 0 if it is dead, None if unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _named(error, path):
    """The same error with a one-line message that names the file."""
    reason = " ".join((error.strerror or str(error) or type(error).__name__).split())
    kind = OSError if error.errno is None else type(OSError(error.errno, ""))
    named = kind(f"'{path}' cannot be written: {reason}. Free space, change the permissions, or choose another place.")
    named.errno = error.errno
    return named
