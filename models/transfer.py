"""One large file from a server, in as many goes as it takes."""

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

TRIES = 3  # for each address, while the connection breaks or the server has trouble
TIMEOUT = 30  # seconds without a byte
_PIECE = 2**20
_TROUBLE = (408, 429, 500, 502, 503, 504)  # may be over in a moment


class _Broken(Exception):
    """This try has failed, the next may not."""


class _Refused(Exception):
    """This server will not give us the file."""


def fetch(urls, path, size, sha256, progress=True, pause=1.0):
    """Fetch the rest of a file of which `path` has the beginning, or nothing.

    Args:
        urls: Addresses of the same file; the next is asked where one fails.
        path: Where the file grows. What has arrived stays there whatever happens, to be gone on from, unless it
            turns out not to be this file.
        size: Of the whole file, in bytes.
        sha256: Of the whole file, in hexadecimal digits.
        progress: Whether to show a progress bar.
        pause: Seconds to wait before the second try, twice as long before the third.

    Raises:
        ConnectionError: If no address gave the whole file.
        ValueError: If it is not the file that was expected. It is removed.
        OSError: If it cannot be written, for example because the disk is full.
    """
    path = Path(path)
    failures = []
    for url in urls:
        for number in range(TRIES):
            time.sleep(pause * 2 ** (number - 1) if number else 0)
            try:
                _go_on(url, path, size, progress)
                _verify(path, sha256)
                return
            except _Broken as broken:
                reason = str(broken)
            except _Refused as refused:
                reason = str(refused)
                break
        failures.append(f"{url}: {reason}.")
    have = _length(path)
    kept = f" {have:,} of {size:,} bytes are here; the next try goes on from there." if have else ""
    raise ConnectionError(f"The download failed. {' '.join(failures)}{kept}")


def _go_on(url, path, size, progress):
    """One request for what is missing."""
    if _length(path) > size:
        path.unlink()
    have = _length(path)
    if have == size:
        return
    request = urllib.request.Request(url, headers={"User-Agent": "deconvnet"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:  # the server's file ends before ours does
                path.unlink(missing_ok=True)
            failure = _Broken if error.code in (*_TROUBLE, 416) else _Refused
            raise failure(f"the server says {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        failure = _Broken if isinstance(error.reason, TimeoutError) else _Refused
        raise failure(f"no connection ({error.reason})") from error
    except (http.client.HTTPException, OSError) as error:
        raise _Broken(f"the connection broke ({_named(error)})") from error
    with response:
        begin = _begin(response, have, size)
        with (
            open(path, "ab" if begin else "wb", buffering=0) as file,
            tqdm(
                total=size,
                initial=begin,
                unit="B",
                unit_scale=True,
                unit_divisor=1024,
                desc=url.rpartition("/")[-1],
                disable=not progress,
            ) as bar,
        ):
            while piece := _piece(response, size - begin):
                _write(file, piece)
                begin += len(piece)
                bar.update(len(piece))
    if begin < size:
        raise _Broken(f"the connection broke after {begin:,} of {size:,} bytes")


def _begin(response, have, size):
    """The byte with which this response begins: 0 where the server does not know how to go on."""
    if response.status == 206:
        extent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if extent is None or int(extent[1]) != have:
            raise _Refused(f"the server sent another part than bytes {have:,} to {size:,}")
        offered = extent[2]
    else:
        have, offered = 0, response.headers.get("Content-Length", "*")
    if offered not in ("*", str(size)):
        raise _Refused(f"the server has a file of {int(offered):,} bytes there, expected are {size:,}")
    return have


def _piece(response, missing):
    """The next bytes, none at the end; what a server sends beyond the size is not read."""
    try:
        return response.read(min(_PIECE, missing)) if missing else b""
    except (http.client.HTTPException, OSError) as error:
        raise _Broken(f"the connection broke ({_named(error)})") from error


def _write(file, piece):
    """All of it: an unbuffered file may take less, and so shows a full disk here and not when it is closed."""
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
        raise ValueError(
            f"What was downloaded is not the published file: expected SHA-256 {sha256}, got {digest.hexdigest()}. "
            "It was removed; the next try starts anew."
        )


def _length(path):
    return path.stat().st_size if path.exists() else 0


def _named(error):
    return str(error) or type(error).__name__
