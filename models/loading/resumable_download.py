"""Download of one large file, resumed after interruptions."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from models.loading.digests import digest_of

TRIES = 3  # for each address, on temporary errors
TIMEOUT = 30  # seconds without data
SLOWEST = 1024  # bytes per second
PATIENCE = 60  # seconds during which it may be slower
_PIECE = 2**20
_TEMPORARY = (408, 429, 500, 502, 503, 504)  # HTTP status codes of temporary errors
_WEB_PAGE = (b"<!doctype", b"<html", b"<?xml")


class _TemporaryFailure(Exception):
    """A temporary failure, after which another try is made."""


class _PermanentFailure(Exception):
    """A permanent failure of this server."""


class _WrongFile(Exception):
    """The downloaded file is not the expected one."""


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Reject redirections to local files and to other protocols."""

    def redirect_request(
        self, request: urllib.request.Request, response: IO[bytes], code: int, message: str, headers: Any, url: str
    ) -> urllib.request.Request | None:
        if not url.lower().startswith(("http://", "https://")):
            raise _PermanentFailure(f"the server redirects to {url[:100]!r}, which is not a web address")
        return super().redirect_request(request, response, code, message, headers, url)


def fetch(
    urls: Sequence[str],
    path: str | os.PathLike,
    size: int,
    sha256: str | None,
    progress: bool = True,
    pause: float = 1.0,
    slowest: float = SLOWEST,
    patience: float = PATIENCE,
) -> None:
    """Download a file, or the missing rest of it if its beginning is in `path`.

    Args:
        urls: Addresses of the same file, tried in order.
        path: The file to write. Downloaded data are kept after any failure, so that the download can be resumed, unless
            the complete file has another hash.
        size: Size of the whole file, in bytes.
        sha256: SHA-256 of the whole file, in hexadecimal digits; None for a zip archive whose hash is not known.
        progress: Whether to show a progress bar.
        pause: Seconds to wait before the second try, twice as long before the third.
        slowest: Bytes per second. The next address is tried if a download stays below for `patience` seconds.
        patience: Seconds.

    Raises:
        ConnectionError: If no address provided the whole file.
        ValueError: If the downloaded file is not the expected one. It is removed.
        OSError: If it cannot be written, for example because the disk is full; the error names the file.
    """
    path = Path(path)
    failures, mismatches = [], []
    for url in urls:
        for attempt in range(TRIES):
            time.sleep(pause * 2 ** (attempt - 1) if attempt else 0)
            try:
                _download_rest(url, path, size, sha256, progress, _Pace(slowest, patience))
                _verify(path, sha256)
                _whole_file(path).unlink(missing_ok=True)  # left by a killed process
                return
            except _TemporaryFailure as failure:
                reason = str(failure)
            except _PermanentFailure as failure:
                reason = str(failure)
                break
            except _WrongFile as failure:
                reason = str(failure)
                mismatches.append(reason)
                break
            except OSError as error:  # errors of the network were converted to `_TemporaryFailure`
                raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        failures.append(f"{url}: {reason}.")
    if mismatches and len(mismatches) == len(failures):
        raise ValueError(f"{mismatches[-1]}. The file was removed; the next call downloads it from the beginning.")
    present = _length(path)
    rest = f" {present:,} of {size:,} bytes are downloaded; the next call resumes there." if present else ""
    raise ConnectionError(f"The download failed. {' '.join(failures)}{rest}")


def declared_size(urls: Sequence[str]) -> int:
    """Size in bytes of a published file, as the first server that answers declares it.

    Args:
        urls: Addresses of the same file.

    Raises:
        ConnectionError: If no server answers, or none declares a size.
    """
    failures = []
    for url in urls:
        try:
            with _response(url, 0) as response:
                _begin(response, 0, None)
                length = response.headers.get("Content-Length", "")
            if re.fullmatch("[0-9]{1,18}", length):
                return int(length)
            reason = "the server does not declare the size of the file"
        except (_TemporaryFailure, _PermanentFailure) as failure:
            reason = str(failure)
        failures.append(f"{url}: {reason}.")
    raise ConnectionError(f"The download failed. {' '.join(failures)}")


def _download_rest(url: str, path: Path, size: int, sha256: str | None, progress: bool, pace: _Pace) -> None:
    """Request the missing part once."""
    if _length(path) > size:
        path.unlink()
    present = _length(path)
    if present == size:
        return
    with _response(url, present) as response:
        begin = _begin(response, present, size)
        bar = tqdm(
            total=size,
            initial=begin,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            desc=url.rpartition("/")[-1],
            disable=not progress,
        )
        with bar:
            if begin or not present:
                _receive(response, path, begin, size, bar, pace)
                return
            # The server sends the whole file: keep the old data until the new ones are verified (not a login page).
            whole = _whole_file(path)
            try:
                _receive(response, whole, 0, size, bar, pace)
                _verify(whole, sha256)
                os.replace(whole, path)
            finally:
                whole.unlink(missing_ok=True)


def _response(url: str, present: int) -> http.client.HTTPResponse:
    """The response to a request for the data after the first `present` bytes."""
    request = urllib.request.Request(url, headers={"User-Agent": "deconvnet"})
    if present:
        request.add_header("Range", f"bytes={present}-")
    try:
        return urllib.request.build_opener(_WebOnly).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            failure = _TemporaryFailure if error.code in _TEMPORARY else _PermanentFailure
            raise failure(f"the server answered with status {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        failure = _TemporaryFailure if isinstance(error.reason, TimeoutError) else _PermanentFailure
        raise failure(f"no connection ({error.reason})") from error
    except (http.client.HTTPException, OSError) as error:
        raise _TemporaryFailure(f"the connection was lost ({_described(error)})") from error
    except ValueError as error:  # an invalid redirection or header
        raise _PermanentFailure(f"the server's answer is invalid ({_described(error)})") from error


def _begin(response: http.client.HTTPResponse, present: int, size: int | None) -> int:
    """The offset at which this response begins: 0 if the server does not support resuming."""
    headers = response.headers
    if response.status not in (200, 206):
        raise _PermanentFailure(f"the server answered with status {response.status} {response.reason}")
    if headers.get("Content-Encoding", "identity").lower() != "identity" or headers.get_content_type() == "text/html":
        kind = headers.get("Content-Encoding") or headers.get_content_type()
        raise _PermanentFailure(f"the server sent {kind!r:.60} instead of the file")
    if response.status == 206:
        extent = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", headers.get("Content-Range", ""))
        if extent is None or int(extent[1]) != present:
            raise _PermanentFailure(f"the server sent another part than bytes {present:,} to {size:,}")
        declared = extent[2]
    else:
        present, declared = 0, headers.get("Content-Length", "*")
    if declared == "*":
        return present
    if not re.fullmatch("[0-9]{1,18}", declared):
        raise _PermanentFailure(f"the server declares {declared!r:.60} as the size of the file")
    if size is not None and int(declared) != size:
        raise _PermanentFailure(f"the server's file has {int(declared):,} bytes, expected {size:,}")
    return present


def _receive(response: http.client.HTTPResponse, path: Path, begin: int, size: int, bar: tqdm, pace: _Pace) -> None:
    """Write the data that follow the first `begin` bytes; all received data are kept."""
    with contextlib.ExitStack() as stack:
        file: IO[bytes] | None = None
        while piece := _piece(response, size - begin):
            if file is None:
                if not begin and piece.lstrip()[:9].lower().startswith(_WEB_PAGE):
                    raise _PermanentFailure("the server sent a web page instead of the file")
                file = stack.enter_context(open(path, "ab" if begin else "wb", buffering=0))
            _write(file, piece)
            begin += len(piece)
            bar.update(len(piece))
            pace.check(len(piece))
    if begin < size:
        raise _TemporaryFailure(f"the connection was lost after {begin:,} of {size:,} bytes")


class _Pace:
    """Detect downloads that are too slow."""

    def __init__(self, slowest: float, patience: float) -> None:
        self.least, self.patience = slowest * patience, patience
        self.since, self.bytes = time.monotonic(), 0

    def check(self, count: int) -> None:
        """Add a number of received bytes.

        Raises:
            _PermanentFailure: If there were too few during the last `patience` seconds.
        """
        self.bytes += count
        if self.bytes >= self.least:
            self.since, self.bytes = time.monotonic(), 0
        elif time.monotonic() - self.since > self.patience:
            raise _PermanentFailure(f"too slow, {self.bytes:,} bytes in {self.patience:g} seconds")


def _piece(response: http.client.HTTPResponse, missing: int) -> bytes:
    """The next available bytes, empty at the end; data beyond the declared size are not read."""
    try:
        return response.read1(min(_PIECE, missing)) if missing else b""
    except (http.client.HTTPException, OSError, ValueError) as error:  # ValueError: invalid length of a chunk
        raise _TemporaryFailure(f"the connection was lost ({_described(error)})") from error


def _write(file: IO[bytes], piece: bytes) -> None:
    """Write all bytes: an unbuffered file may write fewer, and reports a full disk here, not when it is closed."""
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


def _verify(path: Path, sha256: str | None) -> None:
    """Check the hash of a file, or that it is a complete archive, and remove the file if it is another."""
    if sha256 is None:
        if not zipfile.is_zipfile(path):
            path.unlink()
            raise _WrongFile("The downloaded file is not a complete zip archive")
        return
    received = digest_of(path)
    if received != sha256:
        path.unlink()
        raise _WrongFile(
            f"The downloaded file is not the published one: expected SHA-256 {sha256}, received {received}"
        )


def _whole_file(path: Path) -> Path:
    """Temporary file for a download from the beginning while `path` holds an unfinished one."""
    return path.with_name(f"{path.name}.again")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _described(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
