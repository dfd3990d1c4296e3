"""Archives of arrays that anybody may have written."""

import tracemalloc
import zipfile
from io import BytesIO

import numpy as np
import pytest

from deconv.runtime.npz_files import read_arrays


def _zipped(path, member, content, **options):
    with zipfile.ZipFile(path, "w", options.pop("method", zipfile.ZIP_DEFLATED)) as archive:
        archive.writestr(member, content)
    return path


def _npy(array):
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


def _accept(declared):
    pass


def test_arrays_come_back_as_numpy_reads_them(tmp_path):
    path, random = tmp_path / "a.npz", np.random.default_rng(0)
    given = {
        "conv1/kernel": random.normal(size=(3, 4, 2)).astype(np.float32),
        "turned": np.asfortranarray(random.normal(size=(3, 5))),
        "scalar": np.array(7, np.int64),
        "text": np.array("größe"),
        "none": np.empty((0, 3), np.float16),
    }
    for write in (np.savez, np.savez_compressed):
        write(path, **given)
        seen = {}
        found = read_arrays(path, seen.update)
        assert seen == {name: (array.shape, array.dtype) for name, array in given.items()}
        assert list(found) == list(given)
        for name, array in given.items():
            np.testing.assert_array_equal(found[name], array, strict=True)


def test_a_bomb_is_refused_by_what_it_declares(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(10**7, np.float32))
    assert path.stat().st_size < 10**5

    def small(declared):
        if declared["a"][0] != (2,):
            raise ValueError("too large")

    tracemalloc.start()
    with pytest.raises(ValueError, match="too large"):
        read_arrays(path, small)
    assert tracemalloc.get_traced_memory()[1] < 2 * 10**6
    tracemalloc.stop()


def test_what_declares_less_than_it_holds_is_not_inflated_further(tmp_path):
    path = _zipped(tmp_path / "a.npz", "a.npy", _npy(np.zeros(3)) + bytes(10**6))
    with pytest.raises(ValueError, match="not the size that its shape"):
        read_arrays(path, _accept)


@pytest.mark.parametrize(
    "array", [np.array([{}], object), np.array([(1, {})], [("a", int), ("b", object)]), np.zeros(2, "i4,f4")]
)
def test_objects_and_records_are_never_read(tmp_path, array):
    np.savez(tmp_path / "a.npz", a=array)
    with pytest.raises(ValueError, match=r"'a\.npy' (holds Python objects|is not an array of plain numbers)"):
        read_arrays(tmp_path / "a.npz", _accept)


@pytest.mark.parametrize("name", ["../a.npy", "/a.npy", "x/../../a.npy", "a\\b.npy", "a.txt"])
def test_members_of_other_names_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="is not an array of a"):
        read_arrays(_zipped(tmp_path / "a.npz", name, _npy(np.zeros(3))), _accept)


def test_damaged_encrypted_and_unknown_archives_are_refused(tmp_path):
    whole = _zipped(tmp_path / "a.npz", "a.npy", _npy(np.arange(1000.0)))
    content = whole.read_bytes()
    cut, flipped, encrypted, unknown, text = (tmp_path / f"{name}.npz" for name in "bcdef")
    cut.write_bytes(content[: len(content) // 2])
    flipped.write_bytes(content[:300] + bytes([content[300] ^ 255]) + content[301:])
    entry = content.rindex(b"PK\x01\x02")
    encrypted.write_bytes(content[: entry + 8] + b"\x01" + content[entry + 9 :])
    unknown.write_bytes(content[: entry + 10] + b"\x63" + content[entry + 11 :])
    text.write_text("text")
    for path in (cut, flipped, encrypted, unknown, text):
        with pytest.raises(ValueError):
            read_arrays(path, _accept)
    with pytest.raises(ValueError, match="encrypted"):
        read_arrays(encrypted, _accept)
    with pytest.raises(ValueError, match="compressed in a way"):
        read_arrays(unknown, _accept)
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "nothing.npz", _accept)


def test_a_header_that_is_larger_than_any_is_not_read(tmp_path):
    size = 2 * 10**7
    content = b"\x93NUMPY\x02\x00" + size.to_bytes(4, "little") + b" " * size
    path = _zipped(tmp_path / "a.npz", "a.npy", content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"'a\.npy' is not a NumPy array"):
        read_arrays(path, _accept)
    assert tracemalloc.get_traced_memory()[1] < 2 * 10**6
    tracemalloc.stop()


def test_headers_that_are_no_header_are_refused(tmp_path):
    good = _npy(np.zeros(3))
    for number, content in enumerate([b"", good[:20], good.replace(b"<f8", b"<q9"), good.replace(b"(3,)", b"(-3,)")]):
        with pytest.raises(ValueError, match=r"a\.npy"):
            read_arrays(_zipped(tmp_path / f"{number}.npz", "a.npy", content), _accept)
    huge = good.replace(b"(3,), }          ", b"(10**9, 10**9),}  "[:17])
    with pytest.raises(ValueError, match=r"a\.npy"):
        read_arrays(_zipped(tmp_path / "huge.npz", "a.npy", huge), _accept)
