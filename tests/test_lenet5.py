"""LeNet-5: its architecture, its weights, and what goes in and comes out."""

import hashlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import models
from deconv import datasets
from models.lenet5 import decode_predictions, preprocess_input, to_pixels
from models.loading import weight_files

SHIPPED = Path(models.__file__).parent / "weights" / "lenet5_mnist.npz"


@pytest.fixture(scope="module")
def trained():
    return models.LeNet5()


def correct(model, pixels, labels):
    """Share of images whose most probable class is the right one."""
    return np.mean(model.predict(preprocess_input(pixels), batch_size=500, verbose=0).argmax(axis=1) == labels)


# ---------------------------------------------------------------------------------------------- architecture


def test_lenet5_has_the_layers_shapes_and_parameters_of_its_table():
    model = models.LeNet5(weights=None)
    table = [(layer.name, tuple(layer.output.shape[1:]), layer.count_params()) for layer in model.layers]
    assert table == [
        ("image", (28, 28, 1), 0),
        ("conv1", (28, 28, 6), 6 * (5 * 5 * 1 + 1)),
        ("pool1", (14, 14, 6), 0),
        ("conv2", (10, 10, 16), 16 * (5 * 5 * 6 + 1)),
        ("pool2", (5, 5, 16), 0),
        ("flatten", (400,), 0),
        ("fc3", (120,), 120 * 401),
        ("fc4", (84,), 84 * 121),
        ("predictions", (10,), 10 * 85),
    ]
    assert model.count_params() == 61706


def test_padding_28_pixels_by_same_is_the_32_pixel_input_of_1998(trained):
    images = preprocess_input(datasets.arrays(datasets.load("mnist-5k"), limit=2)[0])
    conv1 = trained.get_layer("conv1")
    padded = keras.ops.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    by_hand = keras.ops.relu(keras.ops.conv(padded, conv1.kernel, padding="valid") + conv1.bias)
    np.testing.assert_allclose(conv1(images), by_hand, atol=1e-5)


@pytest.mark.parametrize(("dropout", "names"), [(0.0, []), (0.5, ["dropout3", "dropout4"])])
def test_dropout_layers_are_there_only_if_something_is_dropped(dropout, names):
    model = models.LeNet5(weights=None, dropout=dropout)
    assert [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == names
    assert model.count_params() == 61706


def test_shipped_weights_fit_with_dropout_and_predict_the_same(trained):
    images = np.random.default_rng(0).random((3, 28, 28, 1), np.float32)
    np.testing.assert_array_equal(
        trained.predict(images, verbose=0), models.LeNet5(dropout=0.5).predict(images, verbose=0)
    )


def test_without_its_top_lenet5_ends_at_pool2_with_the_same_convolutions(trained):
    base = models.LeNet5(include_top=False, input_shape=(40, 30, 1))
    assert base.output_shape == (None, 8, 5, 16)  # ((40 / 2) - 4) / 2 and ((30 / 2) - 4) / 2, rounded down
    for layer in ("conv1", "conv2"):
        np.testing.assert_array_equal(base.get_layer(layer).kernel, trained.get_layer(layer).kernel)


def test_the_last_activation_can_be_left_out(trained):
    images = np.random.default_rng(1).random((4, 28, 28, 1), np.float32)
    logits = models.LeNet5(classifier_activation=None).predict(images, verbose=0)
    np.testing.assert_allclose(keras.ops.softmax(logits), trained.predict(images, verbose=0), atol=1e-6)


def test_lenet5_survives_saving_and_loading(trained, tmp_path):
    trained.save(tmp_path / "lenet5.keras")
    images = np.random.default_rng(2).random((2, 28, 28, 1), np.float32)
    loaded = keras.models.load_model(tmp_path / "lenet5.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), trained.predict(images, verbose=0))


# ---------------------------------------------------------------------------------------------- shipped weights


def test_the_shipped_weights_are_those_whose_making_is_recorded():
    record = json.loads(SHIPPED.with_suffix(".json").read_text())
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() == record["results"]["weights_sha256"]
    assert record["arguments"]["dataset"] == "mnist" and record["data"]["train_size"] == 60000
    assert record["data"]["test_size"] == 10000 and record["results"]["test_accuracy_float16"] >= 0.992


def test_the_shipped_file_is_half_precision_and_holds_nothing_but_numbers():
    with np.load(SHIPPED, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    assert list(arrays) == [
        f"{layer}/{weight}"
        for layer in ("conv1", "conv2", "fc3", "fc4", "predictions")
        for weight in ("kernel", "bias")
    ]
    assert {array.dtype.name for array in arrays.values()} == {"float16"}
    assert sum(array.size for array in arrays.values()) == 61706


def test_the_shipped_network_reads_the_digits_of_mnist_5k(trained):
    # It has been trained on these, so this says that weights and preprocessing belong together, no more.
    pixels, labels, _ = datasets.arrays(datasets.load("mnist-5k", "all"))
    assert correct(trained, pixels, labels) >= 0.99


def test_the_shipped_network_reads_digits_it_has_never_seen(trained):
    try:
        test = datasets.load("mnist", "test")
    except (ValueError, ImportError) as error:
        pytest.skip(f"all of MNIST is not here: {error}")
    pixels, labels, _ = datasets.arrays(test)
    assert correct(trained, pixels, labels) >= 0.992


# ---------------------------------------------------------------------------------------------- weights files


@pytest.mark.parametrize("suffix", [".npz", ".keras", ".weights.h5"])
def test_weights_go_to_a_file_and_back(trained, tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    if suffix == ".npz":
        weight_files.save(trained, path, dtype="float32")
    elif suffix == ".keras":
        trained.save(path)
    else:
        trained.save_weights(path)
    for given in (path, str(path)):
        loaded = models.LeNet5(weights=given)
        for mine, theirs in zip(loaded.get_weights(), trained.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("policy", ["float64", "mixed_float16", "mixed_bfloat16"])
def test_the_shipped_weights_are_the_same_numbers_under_every_policy(trained, policy):
    before, floatx = keras.config.dtype_policy(), keras.config.floatx()
    digits = np.random.default_rng(0).random((2, 28, 28, 1))
    try:
        if policy == "float64":
            keras.config.set_floatx(policy)
        keras.config.set_dtype_policy(policy)
        other = models.LeNet5()
        found = other(digits)
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(before)
    for weight, array in zip(other.get_weights(), np.load(SHIPPED).values(), strict=True):
        assert weight.dtype == ("float64" if policy == "float64" else "float32")
        np.testing.assert_array_equal(weight, array.astype(weight.dtype))  # float16 in the file
    found = np.asarray(keras.ops.cast(found, "float64"))
    np.testing.assert_allclose(found, trained(digits), atol=1e-6 if policy == "float64" else 0.1)


@pytest.mark.parametrize("suffix", [".npz", ".keras", ".weights.h5"])
def test_weights_of_another_shape_name_the_layer_and_both_shapes(tmp_path, suffix):
    other, path = models.LeNet5(weights=None, classes=7), tmp_path / f"seven{suffix}"
    if suffix == ".npz":
        weight_files.save(other, path)
    elif suffix == ".keras":
        other.save(path)
    else:
        other.save_weights(path)
    with pytest.raises(ValueError, match=r"layer 'predictions'.*expected shapes \(84, 10\).*received \(84, 7\)"):
        models.LeNet5(weights=path)


@pytest.mark.parametrize("suffix", [".npz", ".keras", ".weights.h5"])
@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_weights_file_is_named(tmp_path, suffix, content):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"'.*broken{suffix}' cannot be read") as raised:
        models.LeNet5(weights=path)
    if suffix != ".weights.h5":
        assert f"it is not a complete zip archive, as a {suffix} file must be" in str(raised.value)


@pytest.mark.parametrize("suffix", [".npz", ".keras", ".weights.h5"])
def test_a_weights_file_that_is_not_there_is_named(tmp_path, suffix):
    with pytest.raises(ValueError, match=rf"There is no weights file '.*missing{suffix}'"):
        models.LeNet5(weights=tmp_path / f"missing{suffix}")


def test_a_shipped_file_cut_in_half_is_refused(tmp_path):
    whole = SHIPPED.read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.npz' cannot be read"):
        models.LeNet5(weights=tmp_path / "half.npz")


def test_missing_and_surplus_layers_are_named(trained, tmp_path):
    arrays = {name: array for name, array in np.load(SHIPPED).items() if not name.startswith("fc3")}
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(ValueError, match="has no weights for fc3"):
        models.LeNet5(weights=tmp_path / "less.npz")
    np.savez(tmp_path / "more.npz", **np.load(SHIPPED), **{"fc5/kernel": np.zeros((2, 2))})
    with pytest.raises(ValueError, match="has weights for fc5 too"):
        models.LeNet5(weights=tmp_path / "more.npz")


def test_a_weight_that_is_no_number_is_refused(tmp_path):
    arrays = dict(np.load(SHIPPED))
    arrays["conv2/bias"] = np.full_like(arrays["conv2/bias"], np.nan)
    np.savez(tmp_path / "nan.npz", **arrays)
    with pytest.raises(ValueError, match=r"layer 'conv2' that is not a finite number"):
        models.LeNet5(weights=tmp_path / "nan.npz")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "object.npz", **{"conv1/kernel": np.array([print], dtype=object)})
    with pytest.raises(
        ValueError, match=r"cannot be read: its array 'conv1/kernel' .* objects, which are never loaded"
    ):
        models.LeNet5(weights=tmp_path / "object.npz")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array(["0.5"] * 16), "no real numbers in layer 'conv2': expected a type like float32, received <U3"),
        (np.ones(16) * 1j, "no real numbers in layer 'conv2': expected a type like float32, received complex128"),
        (np.ones(16, bool), "no real numbers in layer 'conv2': expected a type like float32, received bool"),
        (np.full(16, 1e39), "a value in layer 'conv2' that is not a finite number in float32"),
        (np.full(16, -np.inf, np.float16), "a value in layer 'conv2' that is not a finite number in float32"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_weights_that_are_no_finite_real_numbers_are_refused(tmp_path, values, message):
    np.savez(tmp_path / "odd.npz", **{**np.load(SHIPPED), "conv2/bias": values})
    with pytest.raises(ValueError, match=message):
        models.LeNet5(weights=tmp_path / "odd.npz")


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_weights_that_half_precision_cannot_hold_are_not_written(tmp_path):
    model = models.LeNet5(weights=None)
    model.get_layer("fc4").bias.assign(np.full(84, 1e5))  # the largest float16 is 65504
    with pytest.raises(ValueError, match="weights 'fc4/bias' of 'lenet5' are not all finite numbers in float16"):
        weight_files.save(model, tmp_path / "large.npz")
    assert not list(tmp_path.iterdir())
    weight_files.save(model, tmp_path / "large.npz", dtype="float32")
    assert (models.LeNet5(weights=tmp_path / "large.npz").get_layer("fc4").bias.numpy() == 1e5).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "mnits"}, r"no weights 'mnits'. Did you mean 'mnist'\?"),
        ({"weights": "imagenet"}, r"no weights 'imagenet'. Expected 'mnist', None, or the path"),
        ({"weights": ""}, "no weights ''. Expected 'mnist', None, or the path"),
        ({"weights": 3}, "must be 'mnist', None, or a path, received 3"),
        ({"weights": __file__}, "is not a weights file: expected a name that ends in"),
        ({"classes": 5}, "are for 10 classes, received classes=5. Pass weights=None"),
        ({"input_shape": (32, 32, 1)}, r"are for input_shape=\(28, 28, 1\), received \(32, 32, 1\)"),
        ({"input_shape": (28, 28, 3), "include_top": False}, "are for images of 1 channel"),
        ({"input_shape": (28, 11, 1), "weights": None}, "at least 12"),
        ({"input_shape": (28, 28), "weights": None}, "must be .height, width, channels."),
        ({"input_shape": 28, "weights": None}, "must be .height, width, channels."),
        ({"classes": 0}, "`classes` must be a positive whole number, received 0"),
        ({"classes": 2.5}, "`classes` must be a positive whole number, received 2.5"),
        ({"dropout": 1.0}, r"`dropout` must be a number in \[0, 1\), received 1.0"),
        ({"dropout": "half"}, r"`dropout` must be a number in \[0, 1\), received 'half'"),
    ],
)
def test_a_wrong_argument_is_named_with_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.LeNet5(**arguments)


# ---------------------------------------------------------------------------------------------- in and out


def test_preprocessing_maps_0_to_255_onto_0_to_1_and_back():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    images = preprocess_input(pixels)
    assert images.dtype == np.float32 and images[0, 0, 0, 0] == 0 and images[0, 15, 15, 0] == 1
    assert images[0, 3, 3, 0] == np.float32(51) / np.float32(255)  # 0.2
    np.testing.assert_array_equal(to_pixels(images), pixels)


def test_to_pixels_rounds_and_clips():
    assert to_pixels(np.array([-0.5, 0.0, 0.5, 1.0, 7.0])).tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(
    ("shape", "result"),
    [
        ((28, 20), (28, 20, 1)),
        ((5, 28, 20), (5, 28, 20, 1)),
        ((28, 20, 1), (28, 20, 1)),
        ((28, 20, 3), (28, 20, 3)),
        ((5, 28, 20, 1), (5, 28, 20, 1)),
    ],
)
def test_preprocessing_adds_the_channel_axis_where_there_is_none(shape, result):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    kept = pixels.copy()
    for given in (pixels, keras.ops.convert_to_tensor(pixels)):
        images = preprocess_input(given)
        assert tuple(images.shape) == result and keras.ops.is_tensor(images) == keras.ops.is_tensor(given)
        np.testing.assert_allclose(np.asarray(images).ravel(), kept.ravel() / 255.0, rtol=1e-6)
    np.testing.assert_array_equal(pixels, kept)


@pytest.mark.parametrize(
    ("images", "message"),
    [(np.zeros(28), r"received shape \(28,\)"), (np.zeros((1, 1, 2, 2, 1)), "received shape"), (["a"], "dtype <U1")],
)
def test_preprocessing_refuses_what_is_no_image(images, message):
    with pytest.raises(ValueError, match=message):
        preprocess_input(images)


def test_predictions_are_decoded_from_the_most_probable_down():
    scores = np.full((2, 10), 0.01)
    scores[0, [7, 1]], scores[1, 3] = (0.9, 0.02), 0.91
    decoded = decode_predictions(scores, top=2)
    assert decoded[0] == [("7", "seven", 0.9), ("1", "one", 0.02)]
    assert decoded[1][0] == ("3", "three", 0.91)


@pytest.mark.parametrize(("shape", "top"), [((10,), 5), ((2, 9), 5), ((2, 10), 0), ((2, 10), 11)])
def test_predictions_of_another_shape_are_not_decoded(shape, top):
    with pytest.raises(ValueError, match="decode_predictions"):
        decode_predictions(np.zeros(shape), top=top)
