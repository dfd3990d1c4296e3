"""Read zip archives from untrusted sources: they are checked before they are decompressed."""

import contextlib
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from models.loading.declared_arrays import check_expansion

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # Python decompresses the others in whole blocks
_ENCRYPTED = 0x1


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[zipfile.ZipFile]:
    """Open an archive after a check that every member can be read.

    Raises:
        ValueError: If it is not a zip archive, is damaged, or has a member that is duplicate, encrypted, or compressed
            other than by deflate. The message says what is wrong and does not contain the path.
        OSError: If the file cannot be read.
    """
    with open(path, "rb") as file:
        if file.read(2) != b"PK" or not zipfile.is_zipfile(file):
            raise ValueError(f"it is not a complete zip archive, as a {Path(path).suffix} file must be")
        with zipfile.ZipFile(file) as archive:
            _check_members(archive)
            yield archive


def content(archive: zipfile.ZipFile, name: str) -> bytes:
    """Decompress a member.

    Raises:
        ValueError: If it would be far larger than its compressed data, or is damaged.
    """
    member = archive.getinfo(name)
    check_expansion(f"its member '{name}'", member.file_size, member.compress_size)
    with inflated(archive, member) as file:
        return file.read()


@contextlib.contextmanager
def inflated(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    """Open a member for reading.

    Raises:
        ValueError: If it is damaged; also if this is detected while it is read inside the block.
    """
    try:
        with archive.open(member) as file:
            yield file
    except Exception as error:  # zipfile and zlib raise many types for damaged members
        raise ValueError(f"its member '{member.filename}' is damaged ({error or type(error).__name__})") from error


def _check_members(archive: zipfile.ZipFile) -> None:
    """Check that no member is duplicate, encrypted, or compressed in an unsupported way."""
    for member in archive.infolist():
        if member.flag_bits & _ENCRYPTED:
            raise ValueError(f"its member '{member.filename}' is encrypted. Save the file without a password")
        if member.compress_type not in _COMPRESSIONS:
            kind = getattr(zipfile, "compressor_names", {}).get(
                member.compress_type, f"unknown ({member.compress_type})"
            )
            raise ValueError(
                f"its member '{member.filename}' has the compression {kind}: expected none or deflate. Save it again"
            )
    names = Counter(archive.namelist())
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(f"it holds '{twice[0]}' {names[twice[0]]} times. Save the file again")
