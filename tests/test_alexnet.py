"""AlexNet, BVLC's and torchvision's: what is computed, which weights fit, and what is refused."""

import json
from pathlib import Path

import keras
import networks
import numpy as np
import pytest
from specimens import fill

import deconv
import models
from models import convert
from models.imagenet import IMAGENETTE
from models.loading import imagenet_weights, weight_files

SHIPPED = Path(models.__file__).parent / "weights" / "alexnet_imagenette.npz"
shipped = pytest.mark.skipif(not SHIPPED.exists(), reason="the weights of Imagenette are not in this copy")
SMALL = {"units": (7, 5), "classes": 4}


@pytest.fixture(scope="module")
def alexnet():
    """At full size, once."""
    return models.AlexNet()


def photographs(*shape, seed=0):
    return np.random.default_rng(seed).normal(0, 60, shape).astype(np.float32)


# ------------------------------------------------------------------------------------------------- architecture


@pytest.mark.slow
def test_alexnet_is_what_its_table_says(alexnet):
    table = [{key: row[key] for key in row if key != "operation"} for row in networks.table_of(models.AlexNet)]
    measured = networks.table_measured(alexnet, lambda *unit: deconv.receptive_windows(alexnet, *unit))
    assert table == measured
    assert alexnet.count_params() == 60_965_224 and "60,965,224 parameters" in models.AlexNet.__doc__


def test_torchvisions_alexnet_is_what_its_table_says():
    model = models.AlexNetOWT()
    table = [{key: row[key] for key in row if key != "operation"} for row in networks.table_of(models.AlexNetOWT)]
    measured = networks.table_measured(model, lambda *unit: deconv.receptive_windows(model, *unit))
    assert table == measured
    assert model.count_params() == 61_100_840 and "61,100,840 parameters" in models.AlexNetOWT.__doc__


def test_alexnet_computes_what_its_paper_writes():
    model = fill(models.AlexNet(input_shape=(67, 83, 3), **SMALL), seed=1)
    images = photographs(3, 67, 83, 3)
    expected = networks.alexnet(networks.weights_of(model), images)
    assert expected.std(axis=0).max() > 1e-2  # images are told apart
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(95, 130, 3), (223, 254, 3)])
def test_torchvisions_alexnet_computes_what_torchvision_writes(shape):
    if shape[0] < 200 and not hasattr(keras.layers, "AdaptiveAveragePooling2D"):
        pytest.skip("Keras has adaptive pooling since 3.13")
    model = fill(models.AlexNetOWT(input_shape=shape, **SMALL), seed=1)
    images = photographs(2, *shape) / 60
    assert ("grid" in [layer.name for layer in model.layers]) == (shape[0] < 200)
    expected = networks.alexnet_owt(networks.weights_of(model), images)
    assert expected.std(axis=0).max() > 1e-2
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)


@pytest.mark.skipif(hasattr(keras.layers, "AdaptiveAveragePooling2D"), reason="this Keras has adaptive pooling")
def test_a_keras_without_adaptive_pooling_is_named():
    with pytest.raises(ValueError, match=r"input_shape=\(95, 130, 3\) needs Keras 3\.13 or newer"):
        models.AlexNetOWT(input_shape=(95, 130, 3))


def test_alexnet_is_the_light_graph_of_bvlc_alexnet():
    light = networks.LightGraph("bvlc_alexnet")
    operations = networks.operations_of(models.AlexNet(input_shape=(224, 224, 3), units=8, classes=1000))
    assert operations[:-3] == light.operations[:-3]
    assert [operation[1] for operation in light.operations[-3:]] == [(4096, 9216), (4096, 4096), (1000, 4096)]


def test_alexnet_gives_the_output_of_the_light_graph():
    # All its classes have the same weights, and so the same probability: a weak test, which the one above makes up for.
    # The dense layers may be small for the same reason; at full size it is done in test_convert.
    light = networks.LightGraph("bvlc_alexnet")
    model = models.AlexNet(input_shape=(224, 224, 3), units=64)
    model.set_weights([np.full(weight.shape, light.WEIGHT, np.float32) for weight in model.weights])
    given = model.predict(np.ones((1, 224, 224, 3), np.float32), verbose=0)
    np.testing.assert_allclose(given, light.expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("build", "smallest"), [(models.AlexNet, 51), (models.AlexNetOWT, 63), (models.ZFNet, 48), (models.ZFNet512, 59)]
)
def test_the_smallest_image_leaves_one_cell_and_a_smaller_one_is_refused(build, smallest):
    model = build(input_shape=(smallest, smallest + 1, 3), include_top=False)
    assert model.output_shape[1:3] == (1, 1)
    assert np.isfinite(model.predict(photographs(1, smallest, smallest + 1, 3), verbose=0)).all()
    with pytest.raises(ValueError, match=f"`input_shape` must be .* at least {smallest}"):
        build(input_shape=(smallest + 1, smallest - 1, 3), include_top=False)


@pytest.mark.parametrize(
    ("build", "low", "high"),
    [(models.AlexNet, 211, 242), (models.AlexNetOWT, 223, 254), (models.ZFNet512, 219, 250)],
)
def test_the_sides_that_are_said_to_fit_are_those_of_which_pool5_makes_six(build, low, high):
    for side, six in ((low - 1, False), (low, True), (high, True), (high + 1, False)):
        assert (build(input_shape=(side, low, 3), include_top=False).output_shape[1] == 6) == six


@pytest.mark.slow
def test_with_open_sides_alexnet_is_the_same_and_takes_any_image():
    fixed, open_ = models.AlexNet(**SMALL), models.AlexNet(input_shape=(None, None, 3), **SMALL)
    open_.set_weights(fixed.get_weights())
    images = photographs(2, 227, 227, 3)
    np.testing.assert_allclose(open_.predict(images, verbose=0), fixed.predict(images, verbose=0), atol=1e-6)
    assert open_.predict(photographs(2, 128, 96, 3), verbose=0).shape == (2, 4)


def test_alexnet_starts_from_the_values_that_bvlc_gives_it():
    model = models.AlexNet(units=(64, 512), classes=1000)
    spreads = {layer.name: np.std(layer.kernel) for layer in model.layers if layer.weights}
    biases = {layer.name: set(np.asarray(layer.bias).tolist()) for layer in model.layers if layer.weights}
    zero, tenth = {0.0}, {float(np.float32(0.1))}
    expected = {
        "conv1": (0.01, zero),
        "conv2": (0.01, tenth),
        "conv3": (0.01, zero),
        "conv4": (0.01, tenth),
        "conv5": (0.01, tenth),
        "fc6": (0.005, tenth),
        "fc7": (0.005, tenth),
        "predictions": (0.01, zero),
    }
    assert biases == {layer: bias for layer, (_, bias) in expected.items()}
    np.testing.assert_allclose(list(spreads.values()), [spread for spread, _ in expected.values()], rtol=0.02)
    assert np.ravel(model.get_layer("conv4").kernel)[0] != np.ravel(model.get_layer("conv5").kernel)[0]


# ------------------------------------------------------------------------------------------------------ weights


@pytest.mark.slow
def test_imagenet_weights_are_taken_from_the_cache_in_which_they_once_were_put(tmp_path, monkeypatch):
    source = models.AlexNet(include_top=False)
    arrays = {f"{layer.name}/{w.name}": np.asarray(w) for layer in source.layers for w in layer.weights}
    (tmp_path / "models").mkdir()
    note = convert.note_of("alexnet", imagenet_weights.SOURCES["alexnet"].sha256)
    weight_files.write(arrays, tmp_path / "models" / "deconvnet_alexnet_imagenet.npz", "float32", note=note)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    for shape in ((227, 227, 3), (100, 60, 3), (None, None, 3)):
        model = models.AlexNet(weights="imagenet", include_top=False, input_shape=shape)
        for mine, theirs in zip(model.get_weights(), source.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
@shipped
def test_the_shipped_network_has_ten_classes_and_a_small_head():
    model = models.AlexNet(weights="imagenette")
    assert model.output_shape == (None, 10)
    assert [model.get_layer(layer).units for layer in ("fc6", "fc7")] == [512, 512]
    open_ = models.AlexNet(weights="imagenette", input_shape=(None, None, 3), units=512, classes=10)
    images = photographs(1, 227, 227, 3)
    np.testing.assert_allclose(open_.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-5)


@shipped
def test_the_shipped_file_is_half_precision_and_at_most_16_megabytes():
    with np.load(SHIPPED, allow_pickle=False) as archive:
        assert {archive[name].dtype.name for name in archive.files} == {"float16"}
    assert SHIPPED.stat().st_size <= 16e6


@shipped
def test_the_shipped_weights_are_those_whose_making_is_recorded():
    import hashlib

    record = json.loads(SHIPPED.with_suffix(".json").read_text())
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() == record["results"]["weights_sha256"]
    assert record["results"]["top1_float16"] >= 0.8


@pytest.mark.slow
@shipped
def test_the_shipped_network_names_photographs_by_their_classes():
    model = models.AlexNet(weights="imagenette")
    decoded = models.alexnet.decode_predictions(model.predict(photographs(1, 227, 227, 3), verbose=0), top=10)
    assert sorted(wnid for wnid, _, _ in decoded[0]) == [wnid for wnid, _ in IMAGENETTE]


# ---------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "imagenetta"}, r"AlexNet has no weights 'imagenetta'. Did you mean 'imagenette'\?"),
        ({"weights": ""}, "AlexNet has no weights ''. Expected 'imagenet', 'imagenette', None, or the path"),
        ({"weights": 3}, "`weights` must be 'imagenet', 'imagenette', None, or a path, received 3"),
        ({"weights": "imagenet", "classes": 10}, "are for 1000 classes, received classes=10. Pass weights=None"),
        ({"weights": "imagenette", "classes": 1000}, "'imagenette' are for 10 classes, received classes=1000"),
        ({"weights": "imagenet", "units": 512}, r"have units=\(4096, 4096\), received units=\(512, 512\). Omit"),
        ({"weights": "imagenette", "units": (512, 1024)}, r"units=\(512, 512\), received units=\(512, 1024\)"),
        ({"weights": "imagenet", "input_shape": (256, 227, 3)}, r"\(256, 227, 3\) \(any .* 211 to 242 fit\)"),
        (
            {"weights": "imagenette", "input_shape": (128, 128, 3)},
            r"for input_shape=\(227, 227, 3\), received \(128",
        ),
        (
            {"weights": "imagenet", "input_shape": (227, 227, 1)},
            "are for images of 3 channels, received .*Repeat the",
        ),
        ({"weights": "imagenette", "input_shape": (None, None, 4), "include_top": False}, "are for images of 3 chan"),
        ({"input_shape": (227, 227)}, r"`input_shape` must be .*, or both None, received \(227, 227\)"),
        ({"input_shape": (None, 227, 3)}, r"or both None, received \(None, 227, 3\)"),
        ({"classes": 0}, "`classes` must be a positive whole number, received 0"),
        ({"units": (4096,)}, r"`units` must be one or two positive whole numbers \(fc6, fc7\), received \(4096,\)"),
        ({"units": "many"}, "`units` must be one or two positive whole numbers .*, received 'many'"),
        ({"dropout": 1}, r"`dropout` must be a number in \[0, 1\), received 1"),
    ],
)
def test_a_wrong_argument_is_named_with_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.AlexNet(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "imagenette"}, r"AlexNetOWT has no weights 'imagenette'. Did you mean 'imagenet'\?"),
        ({"weights": "imagenet", "classes": 10}, "are for 1000 classes, received classes=10"),
        ({"weights": "imagenet", "units": 9}, r"have units=\(4096, 4096\), received units=\(9, 9\)"),
        ({"weights": "imagenet", "input_shape": (224, 224, 1)}, "are for images of 3 channels"),
        ({"input_shape": (94, 224, 3)}, "at least 95, received"),
        ({"input_shape": (None, None, 3)}, r"at least 95, received \(None, None, 3\)"),
    ],
)
def test_a_wrong_argument_of_torchvisions_alexnet_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.AlexNetOWT(**arguments)


def test_numbers_may_come_from_numpy():
    model = models.AlexNet(
        input_shape=[np.int64(67), 70, 3], classes=np.int32(3), units=np.int64(4), dropout=np.float32(0.2)
    )
    assert model.output_shape == (None, 3)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npz", ".weights.h5", ".keras"])
def test_a_file_says_how_many_classes_and_units_it_is_for(tmp_path, suffix):
    small = models.AlexNet(input_shape=(67, 51, 3), classes=3, units=(6, 5))
    path = tmp_path / f"small{suffix}"
    {".npz": weight_files.save, ".keras": keras.Model.save, ".weights.h5": keras.Model.save_weights}[suffix](
        small, path
    )
    found = models.AlexNet(weights=path, input_shape=(67, 51, 3))
    assert [found.get_layer(name).units for name in ("fc6", "fc7", "predictions")] == [6, 5, 3]
    with pytest.raises(ValueError, match="does not fit layer 'predictions'"):
        models.AlexNet(weights=path, input_shape=(67, 51, 3), classes=4)


def test_without_a_top_nothing_is_asked_of_the_dense_layers(tmp_path):
    path = tmp_path / "convolutions.npz"
    weight_files.save(models.AlexNet(include_top=False, input_shape=(51, 51, 3)), path)
    assert models.AlexNet(weights=path, include_top=False).output_shape == (None, 6, 6, 256)
