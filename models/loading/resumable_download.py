"""Download of one large file, resumed after interruptions."""

import contextlib
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

TRIES = 3  # for each address, on temporary errors
TIMEOUT = 30  # seconds without data
SLOWEST = 1024  # bytes per second
PATIENCE = 60  # seconds during which it may be slower
_PIECE = 2**20
_TROUBLE = (408, 429, 500, 502, 503, 504)  # temporary errors
_WEB_PAGE = (b"<!doctype", b"<html", b"<?xml")


class _Broken(Exception):
    """A temporary failure, after which another try is made."""


class _Refused(Exception):
    """A permanent failure of this server."""


class _Another(Exception):
    """The downloaded file is not the expected one."""


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Reject redirections to local files and to other protocols."""

    def redirect_request(self, request, response, code, message, headers, url):
        if not url.lower().startswith(("http://", "https://")):
            raise _Refused(f"the server sends us to {url[:100]!r}, which is no web address")
        return super().redirect_request(request, response, code, message, headers, url)


def fetch(urls, path, size, sha256, progress=True, pause=1.0, slowest=SLOWEST, patience=PATIENCE):
    """Download the rest of a file whose beginning, if any, is in `path`.

    Args:
        urls: Addresses of the same file, tried in order.
        path: The file to write. Downloaded data are kept after any failure, so that the download can be resumed, unless
            they turn out to be another file.
        size: Size of the whole file, in bytes.
        sha256: SHA-256 of the whole file, in hexadecimal digits.
        progress: Whether to show a progress bar.
        pause: Seconds to wait before the second try, twice as long before the third.
        slowest: Bytes per second. The next address is tried if a download stays below for `patience` seconds.
        patience: Seconds.

    Raises:
        ConnectionError: If no address provided the whole file.
        ValueError: If it is not the expected file. It is removed.
        OSError: If it cannot be written, for example because the disk is full; the error names the file.
    """
    path = Path(path)
    failures, others = [], []
    for url in urls:
        for number in range(TRIES):
            time.sleep(pause * 2 ** (number - 1) if number else 0)
            try:
                _go_on(url, path, size, sha256, progress, _Pace(slowest, patience))
                _verify(path, sha256)
                _beside(path).unlink(missing_ok=True)  # left by a killed process
                return
            except _Broken as broken:
                reason = str(broken)
            except _Refused as refused:
                reason = str(refused)
                break
            except _Another as another:
                reason = str(another)
                others.append(reason)
                break
            except OSError as error:  # errors of the network were converted to `_Broken`
                raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        failures.append(f"{url}: {reason}.")
    if others and len(others) == len(failures):
        raise ValueError(f"{others[-1]}. It was removed; the next try starts anew.")
    have = _length(path)
    kept = f" {have:,} of {size:,} bytes are here; the next try goes on from there." if have else ""
    raise ConnectionError(f"The download failed. {' '.join(failures)}{kept}")


def _go_on(url, path, size, sha256, progress, pace):
    """Request the missing part once."""
    if _length(path) > size:
        path.unlink()
    have = _length(path)
    if have == size:
        return
    with _asked(url, have) as response:
        begin = _begin(response, have, size)
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
            if begin or not have:
                _receive(response, path, begin, size, bar, pace)
                return
            # The server sends the whole file: keep the old data until the new ones are verified (not a login page).
            again = _beside(path)
            try:
                _receive(response, again, 0, size, bar, pace)
                _verify(again, sha256)
                os.replace(again, path)
            finally:
                again.unlink(missing_ok=True)


def _asked(url, have):
    """The response of a server that has data to send."""
    request = urllib.request.Request(url, headers={"User-Agent": "deconvnet"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        return urllib.request.build_opener(_WebOnly).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            failure = _Broken if error.code in _TROUBLE else _Refused
            raise failure(f"the server says {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        failure = _Broken if isinstance(error.reason, TimeoutError) else _Refused
        raise failure(f"no connection ({error.reason})") from error
    except (http.client.HTTPException, OSError) as error:
        raise _Broken(f"the connection broke ({_named(error)})") from error
    except ValueError as error:  # an invalid redirection or header
        raise _Refused(f"the server's answer makes no sense ({_named(error)})") from error


def _begin(response, have, size):
    """The offset at which this response begins: 0 if the server does not support resuming."""
    headers = response.headers
    if response.status not in (200, 206):
        raise _Refused(f"the server says {response.status} {response.reason}")
    if headers.get("Content-Encoding", "identity").lower() != "identity" or headers.get_content_type() == "text/html":
        kind = headers.get("Content-Encoding") or headers.get_content_type()
        raise _Refused(f"the server sent {kind!r:.60}, which the file is not")
    if response.status == 206:
        extent = re.fullmatch(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", headers.get("Content-Range", ""))
        if extent is None or int(extent[1]) != have:
            raise _Refused(f"the server sent another part than bytes {have:,} to {size:,}")
        offered = extent[2]
    else:
        have, offered = 0, headers.get("Content-Length", "*")
    if offered == "*":
        return have
    if not re.fullmatch("[0-9]{1,18}", offered):
        raise _Refused(f"the server says that the file has {offered!r:.60} bytes")
    if int(offered) != size:
        raise _Refused(f"the server has a file of {int(offered):,} bytes there, expected are {size:,}")
    return have


def _receive(response, path, begin, size, bar, pace):
    """Write the data that follow the first `begin` bytes; all received data are kept."""
    with contextlib.ExitStack() as stack:
        file = None
        while piece := _piece(response, size - begin):
            if file is None:
                if not begin and piece.lstrip()[:9].lower().startswith(_WEB_PAGE):
                    raise _Refused("the server sent a web page, which the file is not")
                file = stack.enter_context(open(path, "ab" if begin else "wb", buffering=0))
            _write(file, piece)
            begin += len(piece)
            bar.update(len(piece))
            pace.check(len(piece))
    if begin < size:
        raise _Broken(f"the connection broke after {begin:,} of {size:,} bytes")


class _Pace:
    """Detect downloads that are too slow."""

    def __init__(self, slowest, patience):
        self.least, self.patience = slowest * patience, patience
        self.since, self.bytes = time.monotonic(), 0

    def check(self, more):
        """Count received bytes.

        Raises:
            _Refused: If there were too few of them during the last `patience` seconds.
        """
        self.bytes += more
        if self.bytes >= self.least:
            self.since, self.bytes = time.monotonic(), 0
        elif time.monotonic() - self.since > self.patience:
            raise _Refused(f"too slow, {self.bytes:,} bytes in {self.patience:g} seconds")


def _piece(response, missing):
    """The next available bytes, empty at the end; data beyond the declared size are not read."""
    try:
        return response.read1(min(_PIECE, missing)) if missing else b""
    except (http.client.HTTPException, OSError, ValueError) as error:  # ValueError: invalid length of a chunk
        raise _Broken(f"the connection broke ({_named(error)})") from error


def _write(file, piece):
    """Write all bytes: an unbuffered file may write fewer, and reports a full disk here, not when it is closed."""
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


def _verify(path, sha256):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    if digest.hexdigest() != sha256:
        path.unlink()
        raise _Another(
            f"What was downloaded is not the published file: expected SHA-256 {sha256}, got {digest.hexdigest()}"
        )


def _beside(path):
    return path.with_name(f"{path.name}.again")


def _length(path):
    return path.stat().st_size if path.exists() else 0


def _named(error):
    return " ".join(str(error).split())[:200] or type(error).__name__
