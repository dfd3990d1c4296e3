"""Published weights over the network: fetched once, whole or gone on with, and nothing broken left behind.

A real server on this machine, with its own ways to fail, stands in for those that publish the files.
"""

import errno
import hashlib
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from models import convert
from models.alexnet import AlexNet
from models.convert.tables import NETWORKS
from models.loading import resumable_download, weight_files
from models.loading.exclusive import exclusive
from models.loading.imagenet_weights import SOURCES, Source, imagenet_weights
from models.loading.index_weights import INDEX_SOURCES
from models.zfnet import ZFNet
from tests.test_imgclsmob import write_file

FILE = "bvlcalexnet-12.onnx"
CACHED = "deconvnet_alexnet_imagenet.npz"
BODY = np.random.default_rng(0).bytes(3_000_000)


class Handler(http.server.BaseHTTPRequestHandler):
    """GET of `server.files`, with ranges, and with what `server` is told to do wrong."""

    def do_GET(self):
        server = self.server
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        server.asked.append(int(asked[1]) if asked else 0)
        if server.statuses and (status := server.statuses.pop(0)) != 200:
            self.send_error(status)
            return
        if self.path in server.answers:
            status, headers, content = server.answers[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", f"/{FILE}")
            self.end_headers()
            return
        body = server.files[self.path]
        if asked and server.ranges and int(asked[1]) >= len(body):
            self.send_error(416)
            return
        begin = int(asked[1]) if asked and server.ranges else 0
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin + server.shift}-{len(body) - 1}/{len(body)}")
        if server.says_length:
            self.send_header("Content-Length", str(len(body) - begin))
        self.end_headers()
        end = begin + server.cuts.pop(0) if server.cuts else len(body)
        for start in range(begin, end, server.step):
            try:
                self.wfile.write(body[start : min(start + server.step, end)])
            except ConnectionError:  # who asked has gone
                return
            time.sleep(server.delay)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.files, server.asked = {f"/{FILE}": BODY}, []
    server.statuses, server.cuts, server.ranges, server.shift = [], [], True, 0
    server.says_length, server.delay, server.step, server.answers = True, 0, 100_000, {}
    server.url = f"http://127.0.0.1:{server.server_port}/{FILE}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def published():
    """A small AlexNet as it might be published: bytes of an ONNX file."""
    onnx = pytest.importorskip("onnx", reason='needs onnx: pip install ".[test]"')
    random, sizes = np.random.default_rng(0), {"fc6 units": 5, "fc7 units": 4, "classes": 3}
    tensors = []
    for name, shape in NETWORKS["alexnet"].kernels.values():
        shape = [sizes.get(size, size) for size in shape]
        for suffix, shape_ in (("w_0", shape), ("b_0", shape[:1])):
            values = random.standard_normal(shape_).astype(np.float32)
            tensors.append(onnx.numpy_helper.from_array(values, f"{name}_{suffix}"))
    nodes = [onnx.helper.make_node(kind, ["x"], ["x"]) for kind in NETWORKS["alexnet"].order]
    dense = [onnx.helper.make_node("Gemm", ["x", f"{name}_w_0"], ["x"], transB=1) for name in ("fc6", "fc7", "fc8")]
    return onnx.helper.make_model(onnx.helper.make_graph(nodes + dense, "net", [], [], tensors)).SerializeToString()


def source_of(content, *urls):
    return Source(FILE, urls, len(content), hashlib.sha256(content).hexdigest())


def fetch(server, path, content=BODY, urls=None, **options):
    sha256 = hashlib.sha256(content).hexdigest()
    resumable_download.fetch(urls or [server.url], path, len(content), sha256, progress=False, pause=0, **options)


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------------------------------------- the transfer


def test_a_file_comes_whole(server, tmp_path):
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY and server.asked == [0]


def test_an_interrupted_download_goes_on_from_what_is_there(server, tmp_path):
    (tmp_path / "file").write_bytes(BODY[:1_234_567])
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY and server.asked == [1_234_567]


def test_a_connection_that_breaks_twice_is_gone_on_with(server, tmp_path):
    server.cuts = [700_000, 900_000]
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY and server.asked == [0, 700_000, 1_600_000]


def test_a_connection_that_always_breaks_keeps_what_came_and_says_how_much(server, tmp_path):
    server.cuts = [100_000] * 9
    with pytest.raises(ConnectionError, match=r"lost.*300,000 of 3,000,000 bytes are downloaded; the next call"):
        fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY[:300_000] and len(server.asked) == resumable_download.TRIES


def test_a_server_that_cannot_go_on_sends_everything_again(server, tmp_path):
    server.ranges = False
    (tmp_path / "file").write_bytes(b"x" * 1000)
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY and server.asked == [1000]


def test_a_server_that_does_not_say_how_long_the_file_is_will_do(server, tmp_path):
    server.says_length = False
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_nothing_beyond_the_size_is_stored(server, tmp_path):
    server.says_length = False
    fetch(server, tmp_path / "file", BODY[:1_000_000])
    assert (tmp_path / "file").read_bytes() == BODY[:1_000_000]


def test_a_file_of_another_size_is_not_begun(server, tmp_path):
    server.files[f"/{FILE}"] = b"version https://git-lfs.github.com/spec/v1"
    with pytest.raises(ConnectionError, match="file has 42 bytes, expected 3,000,000"):
        fetch(server, tmp_path / "file")
    assert listing(tmp_path) == [] and server.asked == [0]


def test_another_part_than_the_missing_one_is_not_put_in_its_place(server, tmp_path):
    server.shift = 5
    (tmp_path / "file").write_bytes(BODY[:1000])
    with pytest.raises(ConnectionError, match="another part than bytes 1,000 to 3,000,000"):
        fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY[:1000]


def test_other_bytes_are_removed_so_that_the_next_try_starts_anew(server, tmp_path):
    (tmp_path / "file").write_bytes(b"another beginning")
    with pytest.raises(ValueError, match=r"expected SHA-256 \w{64}, received \w{64}\. The file was removed"):
        fetch(server, tmp_path / "file")
    assert listing(tmp_path) == []
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_more_than_the_whole_file_is_no_beginning_of_it(server, tmp_path):
    (tmp_path / "file").write_bytes(BODY + b"more")
    fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY and server.asked == [0]


def test_a_whole_file_is_not_fetched_again(server, tmp_path):
    (tmp_path / "file").write_bytes(BODY)
    fetch(server, tmp_path / "file")
    assert server.asked == []


def test_a_server_in_trouble_is_asked_again_and_one_that_refuses_is_not(server, tmp_path):
    server.statuses = [503, 429, 200]
    fetch(server, tmp_path / "file")
    assert server.asked == [0, 0, 0] and (tmp_path / "file").read_bytes() == BODY
    server.statuses = [403]
    with pytest.raises(ConnectionError, match=f"{re.escape(server.url)}: the server answered with status 403"):
        fetch(server, tmp_path / "other")
    assert len(server.asked) == 4


def test_the_next_address_is_asked_where_one_fails_and_goes_on_from_there(server, tmp_path):
    server.files["/mirror"] = BODY
    server.cuts = [100_000] * resumable_download.TRIES
    fetch(server, tmp_path / "file", urls=[server.url, server.url.replace(FILE, "mirror")])
    assert (tmp_path / "file").read_bytes() == BODY and server.asked == [0, 100_000, 200_000, 300_000]


def test_a_redirection_is_followed_without_forgetting_what_is_there(server, tmp_path):
    (tmp_path / "file").write_bytes(BODY[:1000])
    fetch(server, tmp_path / "file", urls=[server.url.replace(FILE, "moved")])
    assert (tmp_path / "file").read_bytes() == BODY and server.asked == [1000, 1000]


def test_what_came_before_a_line_broke_is_kept_to_the_last_byte(server, tmp_path):
    server.cuts = [123, 4567, 89]
    with pytest.raises(ConnectionError, match="4,779 of 3,000,000 bytes are downloaded"):
        fetch(server, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY[: 123 + 4567 + 89] and server.asked == [0, 123, 123 + 4567]


def test_a_process_that_is_killed_within_the_first_megabyte_keeps_what_came(server, tmp_path, monkeypatch):
    written = resumable_download._write

    def killed(file, piece):
        written(file, piece)
        raise KeyboardInterrupt

    monkeypatch.setattr(resumable_download, "_write", killed)
    server.step, server.delay = 1000, 0.1
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path / "file")
    have = (tmp_path / "file").read_bytes()
    assert 0 < len(have) <= 10_000 and BODY.startswith(have)


LOGIN = b"  <!DOCTYPE html><title>Log in</title>"


@pytest.mark.parametrize(
    ("status", "headers", "content", "message"),
    [
        (
            200,
            {"Content-Type": "text/html; charset=utf-8"},
            LOGIN,
            "the server sent 'text/html' instead of the file",
        ),
        (200, {}, LOGIN, "the server sent a web page instead of the file"),
        (
            200,
            {"Content-Type": "application/json"},
            b'{"error": "log in"}',
            "the connection was lost after 19 of 3,000,000",
        ),
        (200, {"Content-Encoding": "gzip"}, b"x" * 3_000_000, "the server sent 'gzip' instead of the file"),
        (204, {}, b"", "the server answered with status 204 No Content"),
        (203, {}, BODY, "the server answered with status 203 Non-Authoritative Information"),
        (
            206,
            {"Content-Range": "bytes 1000-2999999/many"},
            BODY[1000:],
            "the server sent another part than bytes 1,000",
        ),
        (206, {"Content-Range": f"bytes {'1' * 5000}-2/3"}, b"", "the server sent another part than bytes 1,000"),
        (206, {}, BODY[1000:], "the server sent another part than bytes 1,000"),
        (200, {"Content-Length": "many"}, BODY, "the server declares 'many' as the size"),
        (200, {"Content-Length": "9" * 5000}, b"", "the server declares '999999"),
        (200, {"Content-Length": "-1"}, b"", "the server declares '-1' as the size"),
        (416, {"Content-Range": "bytes */3"}, b"", "the server answered with status 416 "),
        (302, {"Location": "file:///etc/passwd"}, b"", "Redirection to url 'file:///etc/passwd' is not allowed"),
        (302, {"Location": "ftp://127.0.0.1/file"}, b"", "redirects to 'ftp://127.0.0.1/file', which is not a"),
        (302, {"Location": "data:,file"}, b"", "Redirection to url 'data:,file' is not allowed"),
        (302, {"Location": "http://[bad/file"}, b"", "answer is invalid"),
        (302, {"Location": "/login"}, b"", "the server answered with status 302"),
        (200, {"Transfer-Encoding": "chunked"}, b"many\r\nxyz", "the connection was lost"),
    ],
)
def test_an_answer_that_is_not_the_file_leaves_what_is_there_and_the_next_address_is_asked(
    server, tmp_path, status, headers, content, message
):
    server.answers["/login"] = status, headers, content
    login, path = server.url.replace(FILE, "login"), tmp_path / "file"
    path.write_bytes(BODY[:1000])
    with pytest.raises(ConnectionError) as raised:
        fetch(server, path, urls=[login])
    assert message in str(raised.value) and "1,000 of 3,000,000 bytes are downloaded" in str(raised.value)
    assert path.read_bytes() == BODY[:1000] and listing(tmp_path) == ["file"]
    server.asked.clear()
    fetch(server, path, urls=[login, server.url])
    assert path.read_bytes() == BODY and server.asked[-1] == 1000


def test_other_bytes_of_the_right_length_leave_what_is_there(server, tmp_path):
    server.answers["/other"] = 200, {"Content-Length": "3000000"}, BODY[::-1]
    (tmp_path / "file").write_bytes(BODY[:1000])
    other = server.url.replace(FILE, "other")
    with pytest.raises(ValueError, match="is not the published one: expected SHA-256"):
        fetch(server, tmp_path / "file", urls=[other])
    assert (tmp_path / "file").read_bytes() == BODY[:1000] and listing(tmp_path) == ["file"]
    fetch(server, tmp_path / "file", urls=[other, server.url])
    assert (tmp_path / "file").read_bytes() == BODY and server.asked == [1000] * 3


def test_a_whole_file_of_other_bytes_is_removed_and_the_next_address_is_asked_from_the_beginning(server, tmp_path):
    (tmp_path / "file").write_bytes(BODY[::-1])
    fetch(server, tmp_path / "file", urls=[server.url, server.url])
    assert (tmp_path / "file").read_bytes() == BODY and server.asked == [0]


def test_what_a_killed_download_left_beside_the_file_is_removed_by_the_next(server, tmp_path):
    (tmp_path / "file.again").write_bytes(b"left")
    fetch(server, tmp_path / "file")
    assert listing(tmp_path) == ["file"]


def test_a_line_that_is_too_slow_is_left_for_the_next_address_with_what_it_brought(server, tmp_path):
    server.files["/fast"] = BODY
    server.step, server.delay = 100, 0.05
    with pytest.raises(ConnectionError, match=r"too slow, [\d,]+ bytes in 0\.3 seconds\. [\d,]+ of 3,000,000 bytes"):
        fetch(server, tmp_path / "file", slowest=10**6, patience=0.3)
    have = (tmp_path / "file").read_bytes()
    assert have and BODY.startswith(have) and server.asked == [0]
    server.step, server.delay = 100_000, 0.01
    fetch(server, tmp_path / "file", slowest=10**6, patience=0.3)
    assert (tmp_path / "file").read_bytes() == BODY and server.asked == [0, len(have)]


def test_a_full_disk_names_the_file(server, tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full, a disk that is always full")
    (tmp_path / "file").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*file'") as raised:
        fetch(server, tmp_path / "file")
    assert raised.value.errno == errno.ENOSPC


def test_without_a_network_the_answer_comes_at_once(server, tmp_path):
    begun = time.monotonic()
    with pytest.raises(ConnectionError, match=r"no connection \(.*refused"):
        resumable_download.fetch(["http://127.0.0.1:9/file"], tmp_path / "file", 10, "", progress=False)
    assert time.monotonic() - begun < 1 and listing(tmp_path) == []


# ---------------------------------------------------------------------------------------------------- the cache


def test_the_table_names_the_published_files():
    assert {*SOURCES, *INDEX_SOURCES} == {*NETWORKS}
    for source in SOURCES.values():
        assert source.urls and all(url.startswith("https://") for url in source.urls)
        if source.sha1:
            assert re.fullmatch("[0-9a-f]{40}", source.sha1) and source.sha1[:8] in source.file
            continue
        assert source.size > 200_000_000 and re.fullmatch("[0-9a-f]{64}", source.sha256)
        assert all(url.startswith("https://") and url.endswith(f"/{source.file}") for url in source.urls)


def test_weights_are_fetched_once_and_then_used_without_network_or_converter(server, cache, published, monkeypatch):
    server.files[f"/{FILE}"] = published
    source = source_of(published, server.url)
    path = imagenet_weights("alexnet", source, progress=False)
    assert path == cache / CACHED and listing(cache) == [CACHED]
    model = AlexNet(weights=None, units=(5, 4), classes=3)
    weight_files.load(model, path)
    (cache / "same.onnx").write_bytes(published)
    expected = convert.convert(cache / "same.onnx").arrays
    for weight, array in zip(model.get_weights(), expected.values(), strict=True):
        np.testing.assert_array_equal(weight, array)
    server.asked.clear()
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert imagenet_weights("alexnet", source, progress=False) == path and server.asked == []


@pytest.fixture
def archive(server, tmp_path):
    """A published archive of which only the SHA-1 of its content is known, and its content's name."""
    write_file(tmp_path / "net.tf2.h5")
    with zipfile.ZipFile(tmp_path / "net.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.write(tmp_path / "net.tf2.h5", "net.tf2.h5")
    content = (tmp_path / "net.zip").read_bytes()
    server.files["/net.zip"] = content
    sha1 = hashlib.sha1((tmp_path / "net.tf2.h5").read_bytes()).hexdigest()
    return Source("net.zip", (server.url.replace(FILE, "net.zip"),), None, None, sha1)


def test_an_archive_of_unknown_size_is_fetched_checked_by_its_content_and_converted(server, cache, archive):
    path = imagenet_weights("zfnet_imgclsmob", archive, progress=False)
    assert listing(cache) == ["deconvnet_zfnet_imgclsmob_imagenet.npz"]
    assert ZFNet(geometry="imgclsmob", weights=path).output.shape == (None, 3)
    count = len(server.asked)
    assert imagenet_weights("zfnet_imgclsmob", archive, progress=False) == path and len(server.asked) == count


def test_an_archive_of_other_content_leaves_nothing_behind(server, cache, archive):
    with pytest.raises(ValueError, match=r"SHA-1 of its weights is .*, expected 0{40}.*Alternatively download net.zip"):
        imagenet_weights("zfnet_imgclsmob", archive._replace(sha1="0" * 40), progress=False)
    assert listing(cache) == []
    server.files["/net.zip"] = b"PK" + BODY
    with pytest.raises(ValueError, match="not a complete zip archive"):
        imagenet_weights("zfnet_imgclsmob", archive, progress=False)
    assert listing(cache) == []


def test_an_interrupted_download_is_gone_on_with_by_the_next_call(server, cache, published):
    server.files[f"/{FILE}"] = published
    cache.mkdir()
    (cache / f"{FILE}.partial").write_bytes(published[:5_000_000])
    imagenet_weights("alexnet", source_of(published, server.url), progress=False)
    assert server.asked == [5_000_000] and listing(cache) == [CACHED]


@pytest.mark.parametrize("damage", ["truncated", "changed", "of another source"])
def test_a_damaged_or_outdated_cache_is_made_again(server, cache, published, damage):
    server.files[f"/{FILE}"] = published
    source = source_of(published, server.url)
    path = imagenet_weights("alexnet", source, progress=False)
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[:-1000])
    elif damage == "changed":
        path.write_bytes(whole[:5_000_000] + b"\0\1\2\3" + whole[5_000_004:])
    else:
        path.write_bytes(whole.replace(source.sha256.encode(), b"0" * 64))
    assert imagenet_weights("alexnet", source, progress=False).read_bytes()[:100] == whole[:100]
    assert len(server.asked) == 2 and listing(cache) == [CACHED]
    weight_files.load(AlexNet(weights=None, units=(5, 4), classes=3), path)


def test_a_failed_download_says_what_to_do_by_hand_and_that_works(server, cache, published, tmp_path):
    server.statuses = [404]
    source = source_of(published, server.url)
    with pytest.raises(ConnectionError, match=r"404.*python scripts/convert_weights.py bvlcalexnet-12.onnx '.*npz'"):
        imagenet_weights("alexnet", source, progress=False)
    assert listing(cache) == []
    (tmp_path / FILE).write_bytes(published)
    convert.save(convert.convert(tmp_path / FILE), cache / CACHED)
    assert imagenet_weights("alexnet", source, progress=False) == cache / CACHED and len(server.asked) == 1


def test_a_file_that_is_not_the_published_one_leaves_nothing_behind(server, cache, published):
    source = source_of(published, server.url)._replace(sha256="0" * 64)
    server.files[f"/{FILE}"] = published
    with pytest.raises(ValueError, match=r"expected SHA-256 0{64}.*convert_weights.py"):
        imagenet_weights("alexnet", source, progress=False)
    assert listing(cache) == []


def test_a_missing_reader_is_named_before_anything_is_fetched(server, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"package onnx.*pip install"):
        imagenet_weights("alexnet", SOURCES["alexnet"]._replace(urls=[server.url]), progress=False)
    assert server.asked == [] and not cache.exists()


def test_an_unknown_network_is_named():
    with pytest.raises(ValueError, match=r"no ImageNet weights for 'vgg'.*alexnet, alexnet_owt, zfnet512"):
        imagenet_weights("vgg")


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"cannot be written to '.*models': Not a directory.*KERAS_HOME"):
        imagenet_weights("alexnet", source_of(BODY, server.url), progress=False)
    assert server.asked == []


def test_a_disk_without_enough_space_is_named_before_anything_is_fetched(server, cache):
    with pytest.raises(OSError, match=r"the disk is too full: [\d,]+ MiB are needed, [\d,]+ MiB are free.*KERAS_HOME"):
        imagenet_weights("alexnet", source_of(BODY, server.url)._replace(size=10**16), progress=False)
    assert server.asked == [] and listing(cache) == []


needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, a disk that is always full")


@needs_full
def test_a_disk_that_fills_during_the_download_leaves_no_broken_cache(server, cache, published):
    server.files[f"/{FILE}"] = published
    cache.mkdir()
    (cache / f"{FILE}.partial").symlink_to("/dev/full")
    source = source_of(published, server.url)
    with pytest.raises(OSError, match=r"cannot be written to .*No space left on device.*Free disk space"):
        imagenet_weights("alexnet", source, progress=False)
    assert listing(cache) == [f"{FILE}.partial"]
    (cache / f"{FILE}.partial").unlink()
    imagenet_weights("alexnet", source, progress=False)
    assert listing(cache) == [CACHED]


def test_a_disk_that_fills_during_the_conversion_keeps_the_download(server, cache, published, monkeypatch):
    def full(file, **arrays):
        file.write(b"the beginning")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    server.files[f"/{FILE}"] = published
    source = source_of(published, server.url)
    with (
        monkeypatch.context() as patched,
        pytest.raises(OSError, match=r"No space left on device.*Free disk space") as raised,
    ):
        patched.setattr(weight_files.np, "savez", full)
        imagenet_weights("alexnet", source, progress=False)
    assert str(cache) in str(raised.value)
    assert listing(cache) == [f"{FILE}.partial"] and len(server.asked) == 1
    imagenet_weights("alexnet", source, progress=False)
    assert listing(cache) == [CACHED] and len(server.asked) == 1


# -------------------------------------------------------------------------------------------- several processes

ASK = """
import sys
from models.loading.imagenet_weights import Source, imagenet_weights
print("ready", flush=True)
imagenet_weights("alexnet", Source(sys.argv[1], (sys.argv[2],), int(sys.argv[3]), sys.argv[4]))
"""


def asking(source):
    """Another process that asks for these weights."""
    arguments = [source.file, source.urls[0], str(source.size), source.sha256]
    root = Path(__file__).resolve().parent.parent
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", ASK, *arguments], cwd=root, **pipes)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_after_ctrl_c_only_the_beginning_of_the_download_is_there(server, cache, published):
    server.files[f"/{FILE}"], server.delay = published, 0.3
    source, partial = source_of(published, server.url), cache / f"{FILE}.partial"
    process = asking(source)
    while not partial.exists() or not partial.stat().st_size:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=30)[1]
    assert process.returncode != 0 and "KeyboardInterrupt" in errors and f"{FILE}:" in errors  # and its bar was seen
    assert listing(cache) == [partial.name]
    server.delay, have = 0, partial.stat().st_size
    imagenet_weights("alexnet", source, progress=False)
    assert server.asked == [0, have] and listing(cache) == [CACHED]


@pytest.mark.slow
def test_of_two_processes_one_downloads_and_the_other_waits(server, cache, published, capsys):
    server.files[f"/{FILE}"], server.delay = published, 0.02
    source = source_of(published, server.url)
    process = asking(source)
    path = imagenet_weights("alexnet", source, progress=False)
    errors = process.communicate(timeout=60)[1] + capsys.readouterr().err
    assert process.returncode == 0 and path == cache / CACHED
    assert server.asked == [0] and listing(cache) == [CACHED]
    assert errors.count(f"Another process is downloading {FILE}; waiting for it.") == 1


def test_a_file_system_without_locks_is_told_and_used_all_the_same(tmp_path, monkeypatch):
    def none(*arguments, **options):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("filelock.FileLock.acquire", none)
    with pytest.warns(UserWarning, match="does not support locks"), exclusive(tmp_path / "lock", ""):
        pass


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    inside, most = [], []

    def enter():
        for _ in range(20):
            with exclusive(tmp_path / "lock", ""):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80 and listing(tmp_path) == []
