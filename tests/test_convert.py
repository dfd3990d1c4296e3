"""Published weights in Keras layout: what is computed stays the same, and what does not fit is refused."""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models import convert
from models.alexnet import AlexNet
from models.alexnet_owt import AlexNetOWT
from models.convert import layout
from models.loading import atomic_files, weight_files
from models.zfnet512 import ZFNet512
from scripts import convert_weights

onnx = pytest.importorskip("onnx", reason='needs onnx: pip install ".[test]"')
from onnx import numpy_helper  # noqa: E402

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
NETWORKS = {"alexnet": ("bvlc_alexnet", AlexNet), "zfnet512": ("zfnet512", ZFNet512)}
SMALL = {"fc6": 5, "fc7": 4, "fc8": 3}  # sizes of the dense layers where what they compute does not matter
MIDDLE = {"fc6": 96, "fc7": 64, "fc8": 20}


def filled(graph_name, values, sizes=None):
    """A light graph of the onnx wheel with weights in place of its constants.

    `values(name, shape)` gives a weight; `sizes` replaces the outputs of dense layers.
    """
    model = onnx.load(LIGHT / f"light_{graph_name}.onnx")
    graph = model.graph
    shapes = {initializer.name: numpy_helper.to_array(initializer) for initializer in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "ConstantOfShape"]:
        name, shape = node.output[0], list(shapes[node.input[0]])
        layer = name.rpartition("/")[-1].partition("_")[0]
        below = {"fc7": "fc6", "fc8": "fc7"}.get(layer)
        shape[0] = (sizes or {}).get(layer, shape[0])
        if len(shape) == 2:
            shape[1] = (sizes or {}).get(below, shape[1])
        graph.initializer.append(numpy_helper.from_array(values(name, shape).astype(np.float32), name))
        graph.node.remove(node)
    del graph.input[1:]
    model.ir_version = 4  # since when an initializer need not be an input as well
    return model


def random_weights(seed):
    """Weights that keep the scale of what passes (He et al. 2015), from images of +-60 to logits of a few units."""
    random = np.random.default_rng(seed)

    def values(name, shape):
        scale = 0.1 if len(shape) == 1 else np.sqrt(2 / np.prod(shape[1:])) / (30 if "fc8" in name else 1)
        return random.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    return values


def weights_of(model):
    return {tensor.name.rpartition("/")[-1]: tensor for tensor in model.graph.initializer}


def loaded(network, source, folder, sizes=None):
    """Our network with the weights of a file, by way of the converter and our own format; the files are removed."""
    convert.save(convert.convert(source), folder / "converted.npz")
    units, classes = tuple((sizes or {}).get(layer, 4096) for layer in ("fc6", "fc7")), (sizes or {}).get("fc8", 1000)
    model = NETWORKS[network][1](weights=None, input_shape=(224, 224, 3), units=units, classes=classes)
    weight_files.load(model, folder / "converted.npz")
    for path in (source, folder / "converted.npz"):  # hundreds of megabytes each
        path.unlink()
    return model


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small AlexNet as an ONNX file."""
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    onnx.save(filled("bvlc_alexnet", random_weights(0), SMALL), path)
    return path


# ------------------------------------------------------------------------------------------------------- layout


def test_a_converted_kernel_convolves_to_the_same_numbers():
    random = np.random.default_rng(0)
    maps, kernel = random.standard_normal((2, 6, 5, 7)), random.standard_normal((4, 3, 3, 2))  # NCHW, OIHW, two groups
    expected = np.zeros((2, 4, 3, 6))
    for image, filter_, row, column in np.ndindex(expected.shape):
        group = slice(0, 3) if filter_ < 2 else slice(3, 6)
        window = maps[image, group, row : row + 3, column : column + 2]
        expected[image, filter_, row, column] = (window * kernel[filter_]).sum()
    ours = layout.convolution_kernel(kernel)
    assert ours.shape == (3, 2, 3, 4)
    images, computed = maps.transpose(0, 2, 3, 1), np.zeros((2, 3, 6, 4))
    for image, row, column, filter_ in np.ndindex(computed.shape):
        group = slice(0, 3) if filter_ < 2 else slice(3, 6)
        window = images[image, row : row + 3, column : column + 2, group]
        computed[image, row, column, filter_] = (window * ours[..., filter_]).sum()
    np.testing.assert_allclose(computed.transpose(0, 3, 1, 2), expected, rtol=1e-12)


def test_a_converted_dense_kernel_gives_the_same_numbers_for_maps_flattened_the_other_way():
    random = np.random.default_rng(0)
    maps, kernel = random.standard_normal((2, 4, 3, 5)), random.standard_normal((7, 4 * 3 * 5))  # NCHW, (out, in)
    ours = layout.dense_kernel_after_flattening(kernel, (4, 3, 5))
    flattened = maps.transpose(0, 2, 3, 1).reshape(2, -1)
    np.testing.assert_allclose(flattened @ ours, maps.reshape(2, -1) @ kernel.T, rtol=1e-12)


# --------------------------------------------------------------------------------------- the same numbers come out


@pytest.mark.slow
@pytest.mark.parametrize(("network", "sizes"), [("alexnet", None), ("zfnet512", {"fc6": 64, "fc7": 32})])
def test_the_light_graphs_give_their_expected_output_after_conversion(network, sizes, tmp_path):
    # One of them as large as it is; the classes are all alike, so that what is between does not show in the other.
    name, _ = NETWORKS[network]
    source = tmp_path / "light.onnx"
    onnx.save(filled(name, lambda _, shape: np.full(shape, 0.02, np.float32), sizes), source)
    model = loaded(network, source, tmp_path, sizes)
    expected = numpy_helper.to_array(onnx.load_tensor(LIGHT / f"light_{name}_output_0.pb"))
    image = np.ones((1, 224, 224, 3), np.float32)
    np.testing.assert_allclose(model.predict(image, verbose=0), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_random_weights_give_what_onnxruntime_gives_after_conversion(network, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason='needs onnxruntime: pip install ".[test]"')
    onnxruntime.set_default_logger_severity(3)
    name, _ = NETWORKS[network]
    source = tmp_path / "random.onnx"
    onnx.save(filled(name, random_weights(1), MIDDLE), source)
    session = onnxruntime.InferenceSession(source)
    patches = np.random.default_rng(2).normal(0, 60, (2, 14, 14, 3)).astype(np.float32)
    images = patches.repeat(16, axis=1).repeat(16, axis=2)
    given = session.get_inputs()[0].name
    expected = np.concatenate([session.run(None, {given: image.transpose(2, 0, 1)[None]})[0] for image in images])
    classes = MIDDLE["fc8"]
    assert expected.max() > 2 / classes and abs(expected[0] - expected[1]).max() > 1e-2  # neither flat nor constant
    computed = loaded(network, source, tmp_path, MIDDLE).predict(images, verbose=0)
    np.testing.assert_allclose(computed, expected, rtol=1e-4, atol=1e-9)


def test_torchvisions_alexnet_gives_what_torch_gives_after_conversion(tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch: pip install torch")
    torch.manual_seed(0)
    twin = torchvision_alexnet(torch.nn)
    torch.save(twin.state_dict(), tmp_path / "twin.pth")
    convert.save(convert.convert(tmp_path / "twin.pth"), tmp_path / "converted.npz")
    units = (MIDDLE["fc6"], MIDDLE["fc7"])
    model = AlexNetOWT(weights=None, units=units, classes=MIDDLE["fc8"], classifier_activation=None)
    weight_files.load(model, tmp_path / "converted.npz")
    images = np.random.default_rng(0).standard_normal((2, 224, 224, 3)).astype(np.float32)
    with torch.inference_mode():
        expected = twin(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    difference = abs(model.predict(images, verbose=0) - expected).max()
    assert difference <= 1e-4 * abs(expected).max()


def torchvision_alexnet(nn):
    """`torchvision.models.alexnet` with smaller dense layers, without its dropout's randomness."""
    features = nn.Sequential(
        nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(64, 192, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(192, 384, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
    )
    classifier = nn.Sequential(
        nn.Dropout(),
        nn.Linear(256 * 6 * 6, MIDDLE["fc6"]),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(MIDDLE["fc6"], MIDDLE["fc7"]),
        nn.ReLU(),
        nn.Linear(MIDDLE["fc7"], MIDDLE["fc8"]),
    )

    twin = nn.Sequential()
    twin.add_module("features", features)
    twin.add_module("avgpool", nn.AdaptiveAvgPool2d((6, 6)))
    twin.add_module("flatten", nn.Flatten())
    twin.add_module("classifier", classifier)
    return twin.eval()


# ------------------------------------------------------------------------------------------ what is in the files


def test_every_weight_is_named_by_our_layer_and_lies_as_keras_wants_it(small):
    converted = convert.convert(small)
    assert converted.network == "alexnet"
    assert {name: array.shape for name, array in converted.arrays.items() if name.endswith("kernel")} == {
        "conv1/kernel": (11, 11, 3, 96),
        "conv2/kernel": (5, 5, 48, 256),
        "conv3/kernel": (3, 3, 256, 384),
        "conv4/kernel": (3, 3, 192, 384),
        "conv5/kernel": (3, 3, 192, 256),
        "fc6/kernel": (9216, 5),
        "fc7/kernel": (5, 4),
        "predictions/kernel": (4, 3),
    }
    assert {array.dtype.name for array in converted.arrays.values()} == {"float32"}


def test_input_channels_keep_their_order(small):
    kernel = numpy_helper.to_array(weights_of(onnx.load(small))["conv1_w_0"])
    converted = convert.convert(small).arrays["conv1/kernel"]
    for channel in range(3):
        np.testing.assert_array_equal(converted[2, 7, channel], kernel[:, channel, 2, 7])


def test_a_gemm_that_does_not_transpose_is_converted_alike(small, tmp_path):
    model = onnx.load(small)
    gemm = [node for node in model.graph.node if node.op_type == "Gemm"][1]
    weights = weights_of(model)[gemm.input[1]]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights).T.copy(), weights.name))
    del gemm.attribute[:]
    onnx.save(model, tmp_path / "other.onnx")
    expected = convert.convert(small).arrays["fc7/kernel"]
    np.testing.assert_array_equal(convert.convert(tmp_path / "other.onnx").arrays["fc7/kernel"], expected)


def test_numbers_stored_as_a_list_are_read_like_raw_bytes(small, tmp_path):
    model = onnx.load(small)
    bias = weights_of(model)["conv1_b_0"]
    values = numpy_helper.to_array(bias)
    bias.ClearField("raw_data")
    bias.float_data.extend(values)
    onnx.save(model, tmp_path / "list.onnx")
    np.testing.assert_array_equal(convert.convert(tmp_path / "list.onnx").arrays["conv1/bias"], values)


def test_half_precision_is_half_the_size(small, tmp_path):
    converted = convert.convert(small)
    for dtype in ("float32", "float16"):
        convert.save(converted, tmp_path / f"{dtype}.npz", dtype)
    with np.load(tmp_path / "float16.npz") as archive:
        assert {archive[name].dtype.name for name in archive.files} == {"float16"}
    assert (tmp_path / "float32.npz").stat().st_size > 1.99 * (tmp_path / "float16.npz").stat().st_size


def test_what_a_killed_conversion_has_left_is_removed_by_the_next_to_the_same_place(small, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    name = atomic_files._unfinished_name("out.npz").replace(f".{os.getpid()}.", f".{ended.pid}.")
    for left in (name, name.replace("out.npz", "other.npz")):
        (tmp_path / left).write_bytes(b"left")
    convert.save(convert.convert(small), tmp_path / "out.npz")
    assert sorted(os.listdir(tmp_path)) == sorted(["out.npz", name.replace("out.npz", "other.npz")])


def test_what_half_precision_cannot_hold_leaves_the_old_file_as_it_is(small, tmp_path):
    converted = convert.convert(small)
    converted.arrays["conv1/bias"][3] = 1e6
    (tmp_path / "out.npz").write_text("old")
    with pytest.raises(ValueError, match=r"conv1/bias.*float16"):
        convert.save(converted, tmp_path / "out.npz", "float16")
    assert [path.name for path in tmp_path.iterdir()] == ["out.npz"] and (tmp_path / "out.npz").read_text() == "old"


# ------------------------------------------------------------------------------------------------ what is refused


def change(name, values):
    def changed(model):
        tensor = weights_of(model)[name]
        tensor.CopyFrom(numpy_helper.from_array(values(numpy_helper.to_array(tensor).copy()), name))

    return changed


def without(name):
    return lambda model: model.graph.initializer.remove(weights_of(model)[name])


def outside(model):
    tensor = weights_of(model)["conv1_w_0"]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def pooled_first(model):
    norm, pool = (next(node for node in model.graph.node if node.op_type == kind) for kind in ("LRN", "MaxPool"))
    norm.op_type, pool.op_type = "MaxPool", "LRN"


def not_a_number(array):
    array.flat[7] = np.nan
    return array


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change("conv2_w_0", lambda array: array[:, :, :3]), r"'conv2_w_0'.* conv2, .*, 48, 5, 5\), received .*3, 5\)"),
        (change("fc6_b_0", lambda array: array[:2]), r"'fc6_b_0'.* fc6, should be of shape \(5\), received \(2,\)"),
        (change("fc8_w_0", lambda array: array[:, :2]), r"'fc8_w_0'.*predictions.*\(classes, 4\), received \(3, 2\)"),
        (change("conv4_b_0", not_a_number), r"'conv4_b_0'.* conv4, has values that are not finite"),
        (change("conv3_w_0", lambda array: array.astype(np.int8)), "conv3_w_0.*is of the type INT8: expected FLOAT"),
        (without("fc7_w_0"), "no tensor 'fc7_w_0', the weights of fc7"),
        (without("conv1_w_0"), r"any of the networks.*'features.0.weight' \(64, 3, 11, 11\)"),
        (outside, "'conv1_w_0'.* in another file"),
        (pooled_first, "not BVLC's AlexNet: .*MaxPool LRN LRN MaxPool MaxPool, expected LRN MaxPool LRN"),
    ],
)
def test_an_onnx_file_that_does_not_fit_is_refused_by_name(small, tmp_path, damage, message):
    model = onnx.load(small)
    damage(model)
    (tmp_path / "damaged.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=message):
        convert.convert(tmp_path / "damaged.onnx")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda small: small[: len(small) // 2], "not an ONNX file, or is damaged"),
        (lambda small: small[:-1], "not an ONNX file, or is damaged"),
        (lambda small: b"<!DOCTYPE html><title>Not found</title>", "not an ONNX file, or is damaged"),
        (lambda small: b"", "any of the networks that can be converted: .*it holds no weights"),
        (lambda small: b"version https://git-lfs.github.com/spec/v1\noid sha256:6b\n", "a Git LFS pointer"),
    ],
    ids=["half", "one byte short", "a web page", "empty", "a pointer"],
)
def test_a_file_that_is_no_whole_onnx_file_is_refused(small, tmp_path, content, message):
    (tmp_path / "file.onnx").write_bytes(content(small.read_bytes()))
    with pytest.raises(ValueError, match=message):
        convert.convert(tmp_path / "file.onnx")


def test_a_file_that_is_not_there_or_a_network_that_does_not_exist_is_named(small, tmp_path):
    with pytest.raises(ValueError, match=r"absent.onnx' cannot be read: No such file"):
        convert.convert(tmp_path / "absent.onnx")
    with pytest.raises(
        ValueError, match=r"no network 'vgg'.*alexnet, alexnet_owt, alexnet_features, vgg16_features, .*zfnet512"
    ):
        convert.convert(small, "vgg")
    with pytest.raises(ValueError, match=r"'conv1_w_0'.*\(96, 3, 7, 7\), received \(96, 3, 11, 11\)"):
        convert.convert(small, "zfnet512")


class Hostile:
    """Unpickled, it makes a folder."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def zipped(pickled):
    """What `torch.save` writes since PyTorch 1.6."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    return content.getvalue()


@pytest.mark.parametrize("packed", [bytes, zipped], ids=["pickle", "zip"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_file_with_code_is_refused_and_the_code_never_runs(tmp_path, packed, protocol):
    hostile = {"features.0.weight": Hostile(tmp_path / "made")}
    (tmp_path / "hostile.pth").write_bytes(packed(pickle.dumps(hostile, protocol)))
    with pytest.raises(ValueError, match=r"holds Python objects, which are never loaded|is not an ONNX file"):
        convert.convert(tmp_path / "hostile.pth")
    assert not (tmp_path / "made").exists()
    pickle.loads(pickle.dumps(hostile, protocol))
    assert (tmp_path / "made").exists()  # it would have been made


def test_torch_says_what_a_hostile_or_wrong_file_should_have_been(tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch: pip install torch")
    path = tmp_path / "file.pth"
    for content in (zipped(pickle.dumps(Hostile(tmp_path / "made"), 2)), zipped(b""), b"PK", b"\x80"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"holds Python objects, which are never loaded.*state_dict"):
            convert.convert(path)
    torch.save(torch.zeros(3), path)
    with pytest.raises(ValueError, match="holds a Tensor: expected a state_dict"):
        convert.convert(path)
    torch.save({"features.0.weight": torch.zeros(64, 3, 11, 11)}, path)
    with pytest.raises(ValueError, match=r"no tensor 'features.0.bias', the weights of conv1"):
        convert.convert(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is damaged"):
        convert.convert(path)


def test_a_missing_reader_is_named_with_how_to_install_it(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"package onnx, which is not installed.*pip install"):
        convert.convert(small)
    with pytest.raises(ImportError, match=r"package onnx"):
        convert.require_reader(small.name)
    convert.require_reader("file.pth")


# ------------------------------------------------------------------------------------------------------ the script


def run(*arguments):
    return CliRunner().invoke(convert_weights.app, [str(argument) for argument in arguments])


def test_the_script_writes_what_the_network_loads_and_says_what_it_was(small, tmp_path):
    out = tmp_path / "alexnet.npz"
    out.write_text("an older one, to be replaced")
    result = run(small, out)
    assert result.exit_code == 0, result.output
    sha256 = convert.convert(small).sha256
    assert f"not the published bvlcalexnet-12.onnx: SHA-256 {sha256}" in result.output
    assert "in 8 layers of BVLC's AlexNet" in result.output
    weight_files.load(AlexNet(weights=None, units=(5, 4), classes=3), out)
    assert [path.name for path in tmp_path.iterdir()] == ["alexnet.npz"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.onnx", "out.npz"], "'absent.onnx' cannot be read: No such file or directory"),
        (["garbage.onnx", "out.npz"], "'garbage.onnx' is not an ONNX file, or is damaged"),
        (["garbage.onnx", "out.onnx"], "OUT must be a name that ends in .npz, received 'out.onnx'"),
        (["garbage.onnx", "folder.npz"], "received the folder 'folder.npz'"),
        (["garbage.onnx", "absent/out.npz"], "the folder 'absent' cannot be written: No such file or directory"),
        (["garbage.onnx", "out.npz", "--network", "vgg"], "no network 'vgg'"),
        (["garbage.onnx", "out.npz", "--dtype", "int8"], "--dtype must be float32 or float16, received 'int8'"),
        ([".", "out.npz"], "'.' cannot be read: Is a directory"),
    ],
)
def test_the_script_says_in_one_line_what_is_wrong(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    (tmp_path / "folder.npz").mkdir()
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.output.startswith("Error: ") and message in result.output and result.output.count("\n") == 1
    assert not (tmp_path / "out.npz").exists()
