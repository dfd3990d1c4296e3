"""ZFNet, the paper's and the Model Zoo's: sizes, numbers, and what is refused."""

import hashlib
import json
from pathlib import Path

import networks
import numpy as np
import pytest
from specimens import fill

import deconv
import models

SMALL = {"units": (7, 5), "classes": 4}
SHIPPED = Path(models.__file__).parent / "weights" / "zfnet_imagenette.npz"


@pytest.fixture(scope="module")
def zfnet512():
    """At full size, once."""
    return models.ZFNet512()


def photographs(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 60, shape).astype(np.float32)


def test_zfnet_is_what_its_table_says():
    model = models.ZFNet()
    table = [{key: row[key] for key in row if key != "operation"} for row in networks.table_of(models.ZFNet)]
    measured = networks.table_measured(model, lambda *unit: deconv.receptive_windows(model, *unit))
    assert table == measured
    assert model.count_params() == 62_357_608 and "62,357,608 parameters" in models.ZFNet.__doc__


@pytest.mark.slow
def test_zfnet512_is_what_its_table_says(zfnet512):
    table = [{key: row[key] for key in row if key != "operation"} for row in networks.table_of(models.ZFNet512)]
    measured = networks.table_measured(zfnet512, lambda *unit: deconv.receptive_windows(zfnet512, *unit))
    assert table == measured
    assert zfnet512.count_params() == 87_250_536 and "87,250,536 parameters" in models.ZFNet512.__doc__


def test_zfnet_has_the_sizes_of_the_papers_figure():
    model = models.ZFNet(**SMALL)
    layers = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5")
    sizes = [model.get_layer(layer).output.shape[1:3] for layer in layers]
    assert sizes == [(side, side) for side in (110, 55, 26, 13, 13, 13, 13, 6)]
    order = [layer.name for layer in model.layers]
    assert order.index("pool1") + 1 == order.index("norm1") and order.index("pool2") + 1 == order.index("norm2")


def test_the_wide_zfnet_has_the_filters_of_the_papers_second_model():
    model = models.ZFNet(wide=True, **SMALL)
    assert [model.get_layer(f"conv{layer}").filters for layer in (3, 4, 5)] == [512, 1024, 512]
    assert model.get_layer("fc6").kernel.shape == (6 * 6 * 512, 7)


@pytest.mark.parametrize("shape", [(49, 60, 3), (66, 55, 3)])
def test_zfnet_computes_what_the_paper_writes(shape):
    model = fill(models.ZFNet(input_shape=shape, **SMALL), seed=1)
    images = photographs(2, *shape)
    expected = networks.zfnet(networks.weights_of(model), images)
    assert expected.std(axis=0).max() > 1e-2  # images are told apart
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)


@pytest.mark.slow
def test_with_open_sides_zfnet_is_the_same_and_takes_any_image():
    shape = (209, 238, 3)  # odd and even
    fixed = fill(models.ZFNet(input_shape=shape, **SMALL), seed=1)
    open_ = models.ZFNet(input_shape=(None, None, 3), **SMALL)
    open_.set_weights(fixed.get_weights())
    images = photographs(2, *shape)
    expected = fixed.predict(images, verbose=0)
    assert expected.std(axis=0).max() > 1e-2  # images are told apart
    np.testing.assert_allclose(open_.predict(images, verbose=0), expected, atol=1e-5)
    below = open_.predict(photographs(2, 128, 96, 3), verbose=0)  # 3 x 2 cells, resampled to 6 x 6
    np.testing.assert_allclose(below.sum(axis=1), 1, atol=1e-5)
    assert abs(below[0] - below[1]).max() > 1e-3


def test_zfnet512_computes_what_its_graph_says():
    model = fill(models.ZFNet512(input_shape=(59, 75, 3), **SMALL), seed=1)
    images = photographs(2, 59, 75, 3)
    expected = networks.zfnet512(networks.weights_of(model), images)
    assert expected.std(axis=0).max() > 1e-2
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)


@pytest.mark.slow
def test_zfnet512_is_its_light_graph_and_gives_its_output(zfnet512):
    # All classes of the light graph have the same weights and probability; the operations say more than the output.
    light = networks.LightGraph("zfnet512")
    assert networks.operations_of(zfnet512) == light.operations
    zfnet512.set_weights([np.full(weight.shape, light.WEIGHT, np.float32) for weight in zfnet512.weights])
    given = zfnet512.predict(np.ones((1, 224, 224, 3), np.float32), verbose=0)
    np.testing.assert_allclose(given, light.expected, atol=1e-5, rtol=0)


@pytest.mark.slow
def test_the_shipped_zfnet_has_ten_classes_a_small_head_and_filters_within_the_papers_radius():
    model = models.ZFNet(weights="imagenette")
    assert model.output_shape == (None, 10)
    assert [model.get_layer(layer).units for layer in ("fc6", "fc7")] == [256, 256]
    open_ = models.ZFNet(weights="imagenette", input_shape=(None, None, 3))
    images = photographs(2, 224, 224, 3)
    np.testing.assert_allclose(open_.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-5)
    for layer in ("conv1", "conv2", "conv3", "conv4", "conv5"):
        rms = np.sqrt(np.mean(np.square(model.get_layer(layer).kernel), axis=(0, 1, 2)))
        assert rms.max() <= 0.1 * (1 + 1e-3)  # rounded to float16
    with pytest.raises(ValueError, match="there are no weights='imagenette' for wide=True"):
        models.ZFNet(weights="imagenette", wide=True)


def test_the_shipped_file_of_zfnet_is_half_precision_and_the_one_whose_making_is_recorded():
    with np.load(SHIPPED, allow_pickle=False) as archive:
        assert {archive[name].dtype.name for name in archive.files} == {"float16"}
    record = json.loads(SHIPPED.with_suffix(".json").read_text())
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() == record["results"]["weights_sha256"]
    assert SHIPPED.stat().st_size <= 16e6 and record["results"]["top1_float16"] >= 0.8


@pytest.mark.parametrize("build", [models.ZFNet, models.ZFNet512])
def test_zfnet_starts_from_the_values_of_the_paper(build):
    model = build(units=(64, 512), classes=1000)
    for layer in model.layers:
        if layer.weights:
            assert np.std(layer.kernel) == pytest.approx(0.01, rel=0.02)
            assert not np.any(layer.bias)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"weights": "imagenet", "geometry": "paper"},
            r"weights='imagenet' only 'imgclsmob' .* received geometry='paper'",
        ),
        ({"weights": "imagenet"}, "are for 1000 classes, received classes=4"),
        ({"geometry": "bvlc"}, "`geometry` must be 'paper' or 'imgclsmob'.* received geometry='bvlc'"),
        ({"weights": "mnist"}, "ZFNet has no weights 'mnist'. Expected 'imagenette', None, or the path of a"),
        ({"weights": 3}, "`weights` must be 'imagenette', None, or a path, received 3"),
        ({"weights": "missing.npz"}, "There is no weights file 'missing.npz'"),
        ({"input_shape": (47, 224, 3)}, r"at least 48, or both None, received \(47, 224, 3\)"),
        ({"input_shape": (None, 224, 3)}, r"at least 48, or both None, received \(None, 224, 3\)"),
        ({"classes": True}, "`classes` must be a positive whole number, received True"),
        ({"units": (4096, 0)}, r"`units` must be one or two positive whole numbers \(fc6, fc7\), received \(4096, 0\)"),
        ({"dropout": -0.1}, r"`dropout` must be a number in \[0, 1\), received -0.1"),
    ],
)
def test_a_wrong_argument_is_named_with_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.ZFNet(**{**SMALL, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "imagenette"}, r"ZFNet512 has no weights 'imagenette'. Did you mean 'imagenet'\?"),
        ({"weights": "imagenet", "classes": 10}, "are for 1000 classes, received classes=10"),
        ({"weights": "imagenet", "units": 4096}, r"have units=\(4096, 1024\), received units=\(4096, 4096\)"),
        ({"weights": "imagenet", "input_shape": (256, 256, 3)}, r"from 219 to 250 fit"),
        ({"input_shape": (58, 224, 3)}, r"at least 59, received \(58, 224, 3\)"),
    ],
)
def test_a_wrong_argument_of_zfnet512_is_named_with_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.ZFNet512(**arguments)
