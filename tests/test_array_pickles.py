"""Pickles of NumPy arrays that anybody may have written: read as NumPy reads them, or refused in one line."""

import os
import pickle
import random
import struct
import tracemalloc

import numpy as np
import pytest

from models import convert
from models.convert import array_pickle
from models.convert.tables import NETWORKS


def arrays():
    numbers = np.random.default_rng(0)
    return {
        "Conv_0": {"kernel": numbers.standard_normal((3, 2, 4, 5)).astype(np.float32), "bias": np.arange(5.0)},
        "Dense_0": {"kernel": np.asfortranarray(numbers.standard_normal((4, 6)).astype(">f4"))},
    }


class Call:
    """What is called while a hostile pickle is read."""

    def __init__(self, function, *arguments):
        self.what = function, arguments

    def __reduce__(self):
        return self.what


def refusal(tmp_path, content):
    path = tmp_path / "net.ckpt"
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"is not a file of NumPy arrays: .*Download it again\.$") as raised:
        array_pickle.read(path)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_are_read_as_numpy_reads_them(tmp_path, protocol):
    (tmp_path / "net.ckpt").write_bytes(pickle.dumps(arrays(), protocol))
    found, order = array_pickle.read(tmp_path / "net.ckpt")
    assert order is None and list(found) == ["Conv_0/kernel", "Conv_0/bias", "Dense_0/kernel"]
    kernel = arrays()["Conv_0"]["kernel"]
    assert found["Conv_0/kernel"].shape == (5, 4, 3, 2)
    np.testing.assert_array_equal(found["Conv_0/kernel"].read(), kernel.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(found["Conv_0/bias"].read(), np.arange(5.0))
    np.testing.assert_array_equal(found["Dense_0/kernel"].read(), arrays()["Dense_0"]["kernel"])


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_the_names_of_both_numpys_are_known(tmp_path, module):
    content = pickle.dumps(arrays(), 3)
    for name in (b"cnumpy.core.multiarray", b"cnumpy._core.multiarray"):
        content = content.replace(name, b"c" + module.encode())
    (tmp_path / "net.ckpt").write_bytes(content)
    assert len(array_pickle.read(tmp_path / "net.ckpt")[0]) == 3


def nested(depth):
    content = np.zeros(1)
    for _ in range(depth):
        content = {"a": content}
    return content


def laughing():
    """Eight dicts of a hundred names each: 10^16 names in all."""
    content = {"a": np.zeros(1)}
    for _ in range(8):
        content = {str(number): content for number in range(100)}
    return content


def itself():
    content = {}
    content["a"] = content
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": np.array([print], object)}, "not of plain numbers"),
        ({"a": np.array(["text"])}, "not of plain numbers"),
        ({"a": np.zeros(2, complex)}, "not of plain numbers"),
        ({"a": np.zeros(2, [("x", "f4")])}, "not of plain numbers"),
        ({"a": Call(os.system, "touch executed")}, "system, which is never loaded"),
        ({"a": Call(eval, "1")}, "eval, which is never loaded"),
        ({"a": np.float32(1)}, "scalar, which is never loaded"),
        ({"a": 3}, "expected dicts of arrays, received int"),
        (np.zeros(2), "expected dicts of arrays, received Array"),
        ({3: np.zeros(2)}, "expected names as keys, received int"),
        (nested(20), "nested too deeply"),
        (laughing(), "occurs twice"),
        (itself(), "occurs twice"),
    ],
)
def test_anything_but_dicts_of_plain_arrays_is_refused_and_nothing_is_executed(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    assert message in refusal(tmp_path, pickle.dumps(content, 3))
    assert not (tmp_path / "executed").exists()


DTYPE, MAKE = b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n"
HUGE = struct.pack("<Q", 2**36)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (MAKE + b"}X\x01\x00\x00\x00aK\x01sb.", "it changes a value of the type function"),
        (DTYPE + b"}b.", "it changes a value of the type type"),
        (b"}}X\x01\x00\x00\x00aK\x01sb.", "it changes a value of the type dict"),
        (DTYPE + b")\x81.", "damaged"),
        (DTYPE + b"X\x03\x00\x00\x00f4\n\x85R.", "not of plain numbers"),
        (DTYPE + b")R.", "not of plain numbers"),
        (b"\x82\x01.", "damaged"),
        (b"P1\n.", "damaged"),
        (b"\x96" + HUGE + b".", "damaged"),
        (b"\x8e" + HUGE + b".", "damaged"),
        (b"\x95" + HUGE + b".", "damaged"),
        (b"(" * 100 + b".", "damaged"),
        (b"}.trailing", "data follow"),
        (b"", "damaged"),
    ],
)
def test_operations_that_no_array_needs_are_refused(tmp_path, content, message):
    assert message in refusal(tmp_path, b"\x80\x04" + content)
    assert not vars(array_pickle._reconstruct)


@pytest.mark.parametrize("shape", [(2**40,), (-3,), (2, 2), ("3",), None])
def test_an_array_of_another_size_than_its_data_is_refused(tmp_path, shape):
    class Array:
        def __reduce__(self):
            make = np.zeros(1).__reduce__()[0]
            return make, (np.ndarray, (0,), b"b"), (1, shape, np.dtype("f4"), False, b"\0" * 12)

    assert "its array 'a' " in refusal(tmp_path, pickle.dumps({"a": Array()}, 3))


def test_changed_bytes_are_read_or_refused_in_one_line(tmp_path):
    whole, choice, refused = pickle.dumps(arrays(), 3), random.Random(0), 0
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(choice.choice([1, 2, 5])):
            content[choice.randrange(len(content))] = choice.randrange(256)
        (tmp_path / "net.ckpt").write_bytes(content[: choice.choice([len(content), choice.randrange(len(content))])])
        try:
            for stored in array_pickle.read(tmp_path / "net.ckpt")[0].values():
                stored.read()
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 100


def test_a_network_is_recognised_by_the_first_kernel_and_kernels_keep_their_layout(tmp_path):
    numbers = np.random.default_rng(0)
    kernels = {
        in_file: numbers.standard_normal((*shape[2:], *shape[1::-1])).astype(np.float32)
        for in_file, shape in NETWORKS["alexnet_features"].kernels.values()
    }
    content = {name: {"kernel": kernel, "bias": kernel[0, 0, 0]} for name, kernel in kernels.items()}
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps({"AlexNet_0": content, "NetLinLayer_0": nested(2)}, 3))
    converted = convert.convert(tmp_path / "alexnet.ckpt")
    assert converted.network == "alexnet_features" and len(converted.arrays) == 10
    for number, kernel in enumerate(kernels.values(), start=1):
        np.testing.assert_array_equal(converted.arrays[f"conv{number}/kernel"], kernel)
        np.testing.assert_array_equal(converted.arrays[f"conv{number}/bias"], kernel[0, 0, 0])
