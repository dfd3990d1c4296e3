"""Networks in the geometry of imgclsmob: equal to tf2cv's, and their files are read as strictly as all others."""

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

import deconv
from deconv.cli.named_networks import NETWORKS, build_named, preprocessing_of
from models import convert, imgclsmob
from models.alexnet import AlexNet
from models.layers import LocalResponseNormalization
from models.zfnet import ZFNet
from scripts import convert_weights

BUILD = {
    "alexnet": lambda **options: AlexNet(geometry="imgclsmob", **options),
    "zfnet": lambda **options: ZFNet(geometry="imgclsmob", **options),
    "zfnetb": lambda **options: ZFNet(geometry="imgclsmob", wide=True, **options),
}
PARAMETERS = {"alexnet": 62_378_344, "zfnet": 62_357_608, "zfnetb": 107_627_624}
TF2CV = os.environ.get("DECONVNET_TF2CV_PYTHON")


@pytest.mark.slow
@pytest.mark.skipif(not TF2CV, reason="needs DECONVNET_TF2CV_PYTHON, the Python of an environment with tf2cv, tf-keras")
@pytest.mark.parametrize("name", BUILD)
def test_converted_weights_give_the_outputs_of_tf2cv(name, tmp_path):
    script = Path(__file__).with_name("tf2cv_networks.py")
    subprocess.run([TF2CV, script, name, tmp_path], check=True, capture_output=True)
    expected = np.load(tmp_path / f"{name}.npy")
    converted = convert.convert(tmp_path / f"{name}.h5")
    assert converted.network == f"{name}_imgclsmob"
    convert.save(converted, tmp_path / "converted.npz")
    model = BUILD[name](weights=tmp_path / "converted.npz", classifier_activation=None)
    assert model.count_params() == PARAMETERS[name]
    outputs = model(np.load(tmp_path / "inputs.npy")).numpy()
    assert expected.std() > 0.1
    assert abs(outputs - expected).max() <= 1e-5 * abs(expected).max()


@pytest.mark.parametrize("shape", [(1, 2, 3, 7), (2, 1, 1, 40)])
def test_normalisation_is_that_of_tensorflow_and_of_its_definition(shape):
    maps = np.random.default_rng(1).normal(0, 30, shape).astype(np.float32)
    layer = LocalResponseNormalization(size=11, k=2.0, alpha=1e-4, beta=0.75)
    energy = np.empty(shape)
    for channel in range(shape[-1]):
        neighbours = maps[..., max(channel - 5, 0) : channel + 6].astype(float)
        energy[..., channel] = (2 + 1e-4 * (neighbours**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(layer(maps), maps / energy, rtol=1e-5)
    np.testing.assert_allclose(layer(maps), tf.nn.lrn(maps, bias=2, alpha=1e-4, beta=0.75), rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(3, 4), (6, 5), (8, 10), (9, 3)])
def test_pooling_rounds_up_with_a_zero_at_both_ends(height, width):
    maps = np.random.default_rng(2).random((2, height, width, 3)).astype(np.float32)
    image = tf.keras.Input((height, width, 3))
    pooled = tf.keras.Model(image, imgclsmob._pool(image, 1))(maps).numpy()
    top, left = (height - 3) % 2, (width - 3) % 2
    expected = np.zeros((2, -((3 - height) // 2) + 1, -((3 - width) // 2) + 1, 3), np.float32)
    assert pooled.shape == expected.shape
    for row, column in np.ndindex(*expected.shape[1:3]):
        rows, columns = (slice(max(start, 0), start + 3) for start in (2 * row - top, 2 * column - left))
        expected[:, row, column] = maps[:, rows, columns].max((1, 2))
    np.testing.assert_array_equal(pooled, expected)


@pytest.mark.parametrize(("name", "sides"), [("alexnet", (54, 27, 27, 13, 6)), ("zfnet", (110, 55, 26, 13, 6))])
def test_maps_have_the_sizes_of_the_published_networks(name, sides):
    model = BUILD[name](include_top=False)
    shapes = [model.get_layer(layer).output.shape[1] for layer in ("conv1", "pool1", "conv2", "pool2", "pool5")]
    assert tuple(shapes) == sides and model.output.shape[1:] == (6, 6, 256)


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILD)
def test_the_mirror_is_the_exact_transpose(name):
    model = BUILD[name](input_shape=(75, 80, 3), include_top=False)
    images = np.random.default_rng(3).normal(0, 1, (2, 75, 80, 3)).astype(np.float32)
    found = deconv.verify(model, "conv3", images, show=False)
    assert max(found.residuals) < 1e-5, found


def write_file(path, network="zfnet_imgclsmob", seed=0, units=(5, 4), classes=3, skip="", prefix="net/"):
    """A file of Keras 2 with random weights of small dense layers; returns the arrays by our names."""
    random = np.random.default_rng(seed)
    sizes = {"fc6 units": units[0], "fc7 units": units[1], "classes": classes}
    arrays, layers = {}, {"features": [], "output1": []}
    for layer, (in_file, shape) in convert.NETWORKS[network].kernels.items():
        shape = tuple(sizes.get(side, side) for side in shape)
        for kind, size in (("kernel", shape), ("bias", shape[-1:])):
            arrays[f"{layer}/{kind}"] = random.normal(size=size).astype(np.float32)
            top = in_file.partition("/")[0]
            layers[top].append((f"{prefix}{layer}/{kind}:0", arrays[f"{layer}/{kind}"]))
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers if name != skip]
        for name, weights in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [weight.encode() for weight, _ in weights]
            for weight, array in weights:
                group[weight] = array
    return arrays


@pytest.mark.parametrize("network", ["alexnet_imgclsmob", "zfnet_imgclsmob", "zfnetb_imgclsmob"])
@pytest.mark.parametrize("prefix", ["", "features/stage/"])
def test_a_file_is_recognised_and_converted_by_the_order_of_its_weights(network, prefix, tmp_path):
    arrays = write_file(tmp_path / "net.h5", network, prefix=prefix)
    converted = convert.convert(tmp_path / "net.h5")
    assert converted.network == network and list(converted.arrays) == list(arrays)
    channels_first = arrays.pop("fc6/kernel").reshape(-1, 6, 6, 5)
    np.testing.assert_array_equal(converted.arrays["fc6/kernel"], channels_first.transpose(1, 2, 0, 3).reshape(-1, 5))
    assert all((converted.arrays[name] == array).all() for name, array in arrays.items())
    convert.save(converted, tmp_path / "net.npz")
    model = BUILD[network.partition("_")[0]](weights=tmp_path / "net.npz")
    assert model.get_layer("fc6").units == 5 and model.output.shape == (None, 3)


def test_the_script_converts_an_archive_and_names_its_origin(tmp_path):
    write_file(tmp_path / "net.tf2.h5")
    with zipfile.ZipFile(tmp_path / "net.tf2.h5.zip", "w") as archive:
        archive.write(tmp_path / "net.tf2.h5", "net.tf2.h5")
    result = CliRunner().invoke(convert_weights.app, [str(tmp_path / "net.tf2.h5.zip"), str(tmp_path / "net.npz")])
    assert result.exit_code == 0, result.output
    sha1 = hashlib.sha1((tmp_path / "net.tf2.h5").read_bytes()).hexdigest()
    assert f"is not the published zfnet-1717-9500db30.tf2.h5.zip: SHA-1 {sha1}" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.npz", "net.tf2.h5", "net.tf2.h5.zip"]


def test_converted_weights_are_refused_by_the_geometry_of_the_paper(tmp_path):
    write_file(tmp_path / "net.h5")
    convert.save(convert.convert(tmp_path / "net.h5"), tmp_path / "net.npz")
    with pytest.raises(ValueError, match=r"are those of imgclsmob's ZFNet.*Pass geometry='imgclsmob'"):
        ZFNet(weights=tmp_path / "net.npz")


@pytest.mark.parametrize(
    ("name", "side", "filters"),
    [("alexnet-imgclsmob", 11, 384), ("zfnet-imagenet", 7, 384), ("zfnet-wide-imagenet", 7, 1024)],
)
def test_the_named_networks_are_the_published_ones(name, side, filters):
    network = NETWORKS[name]
    assert network.weights == "imagenet" and network.side == 224
    geometry = {"geometry": "imgclsmob"}  # which weights="imagenet" implies
    model = build_named(network._replace(weights=None), **geometry, units=8)
    assert model.input_shape == (None, 224, 224, 3) and "pad_pool1" in [layer.name for layer in model.layers]
    assert model.get_layer("conv1").kernel_size == (side, side) and model.get_layer("conv4").filters == filters
    assert preprocessing_of(network) is imgclsmob.preprocess_input


def external_link(file):
    file["features"]["net"].move("conv1", "moved")
    file["features"]["net"]["conv1"] = h5py.ExternalLink("/etc/passwd", "/")


def too_few(file):
    del file["features"].attrs["weight_names"]


def not_an_array(file):
    del file["features/net/conv1/kernel:0"]
    file["features/net/conv1"].create_group("kernel:0")


def strings(file):
    del file["features/net/conv1/kernel:0"]
    file["features/net/conv1/kernel:0"] = np.full((7, 7, 3, 96), b"a")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (external_link, "is a link to the file '/etc/passwd'"),
        (too_few, "it has no attribute 'weight_names'"),
        (not_an_array, "is not an array"),
        (strings, "could not convert|holds strings|not real"),
        (lambda file: file.attrs.pop("layer_names"), "it has no attribute 'layer_names'"),
        (lambda file: file.attrs.update(layer_names=[b"features", b"features"]), "not a list of different names"),
        (lambda file: file.attrs.update(layer_names=[1, 2]), "not a list of different names"),
        (lambda file: file.attrs.update(layer_names=[b"features"]), "has no tensor 'output1/0/kernel'"),
        (lambda file: file.attrs.update(layer_names=[b"absent"]), "never writes|lacks"),
    ],
)
def test_a_hostile_or_incomplete_file_is_refused_in_one_line(damage, message, tmp_path):
    write_file(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "r+") as file:
        damage(file)
    with pytest.raises(ValueError, match=message) as raised:
        convert.convert(tmp_path / "net.h5", "zfnet_imgclsmob")
    assert "\n" not in str(raised.value)


def test_a_cut_file_and_an_archive_of_other_things_are_refused(tmp_path):
    write_file(tmp_path / "net.h5")
    content = (tmp_path / "net.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cut.h5' is not a file of weights of Keras 2: it is damaged"):
        convert.convert(tmp_path / "cut.h5")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(ValueError, match=r"holds 0 files that end in \.h5, expected one"):
        convert.unzipped(tmp_path / "other.zip", tmp_path)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net.h5", bytes(2**26 + 1))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"its member 'net.h5' would take 64 MiB and is stored in 0"):
        convert.unzipped(tmp_path / "bomb.zip", tmp_path / "empty")
    assert not list((tmp_path / "empty").iterdir())
