"""Layers of the photograph networks against slow twins, and each network through a file and back."""

import itertools

import keras
import networks
import numpy as np
import pytest
import tensorflow as tf

import models
from models.classifier_head import dense_layers
from models.layers import CeilMaxPooling2D, FilterRMS, GroupedConv2D, LocalResponseNormalization


def noise(*shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


# ---------------------------------------------------------------------------------------- convolution in groups


@pytest.mark.parametrize(
    ("groups", "strides", "padding", "dilation"),
    [*itertools.product((1, 2, 3), (1, 2), ("valid", "same"), (1,)), (2, 1, "same", 2), (3, 1, "valid", (2, 1))],
)
def test_a_grouped_convolution_is_keras_own(groups, strides, padding, dilation):
    settings = {"groups": groups, "strides": strides, "padding": padding, "dilation_rate": dilation}
    ours, theirs = (kind(6, (3, 2), activation="relu", **settings) for kind in (GroupedConv2D, keras.layers.Conv2D))
    images = noise(2, 9, 7, 12)
    theirs(images), ours(images)
    ours.set_weights(theirs.get_weights())
    assert tuple(ours.kernel.shape) == (3, 2, 12 // groups, 6)
    np.testing.assert_allclose(ours(images), theirs(images), atol=1e-5)


def test_a_grouped_filter_sees_the_channels_of_its_group_alone():
    layer, images = GroupedConv2D(4, 3, groups=2), noise(1, 5, 6, 6)
    before, changed = np.asarray(layer(images)), images.copy()
    changed[..., 3:] += 1
    after = np.asarray(layer(changed))
    np.testing.assert_array_equal(after[..., :2], before[..., :2])
    assert (abs(after[..., 2:] - before[..., 2:]) > 1e-4).all()


@pytest.mark.parametrize("without_onednn", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_grouped_convolution_is_differentiated_where_tensorflow_cannot(dtype, without_onednn, monkeypatch):
    if without_onednn:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    results = []
    for kind in (GroupedConv2D, keras.layers.Conv2D):
        layer = kind(6, 3, groups=3, padding="same", dtype=dtype)
        images = tf.Variable(np.tile(noise(2, 5, 4, 6), 1).astype(dtype))
        layer.build(images.shape)
        layer.kernel.assign(noise(3, 3, 2, 6, seed=1))
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(layer(images) ** 2)
        results.append([np.asarray(part) for part in tape.gradient(value, [images, layer.kernel.value])])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_grouped_convolution_learns_as_keras_own_does():
    images, outputs = noise(3, 7, 6, 4), []
    for kind in (GroupedConv2D, keras.layers.Conv2D):
        layer = kind(6, 3, groups=2, strides=2)
        model = keras.Sequential([keras.Input((7, 6, 4)), layer])
        layer.set_weights([noise(3, 3, 2, 6, seed=1), noise(6, seed=2)])
        model.compile(keras.optimizers.SGD(0.1), loss="mse")
        model.train_on_batch(images, noise(3, 3, 2, 6, seed=3))
        outputs.append(layer.get_weights())
    for ours, theirs in zip(*outputs, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_channels_first_is_left_to_keras():
    layer = GroupedConv2D(4, 3, groups=2, data_format="channels_first")
    assert tuple(layer.compute_output_shape((2, 6, 5, 7))) == (2, 4, 3, 5)


# ------------------------------------------------------------------------------------- contrast normalisation


@pytest.mark.parametrize("convention", ["paper", "caffe"])
@pytest.mark.parametrize("beta", [0.75, 0.5, 1.0, 0.0])
@pytest.mark.parametrize(("channels", "size"), [(7, 5), (2, 5), (1, 3), (8, 1), (96, 5)])
def test_contrast_normalisation_is_its_formula(convention, beta, channels, size):
    maps = noise(2, 3, 4, channels, scale=30)
    layer = LocalResponseNormalization(size, k=1.5, alpha=2e-3, beta=beta, convention=convention)
    expected = networks.normalize(maps, size, 1.5, 2e-3, beta, divided=convention == "caffe")
    np.testing.assert_allclose(layer(maps), expected, rtol=1e-5, atol=1e-6)


def test_contrast_normalisation_by_hand():
    maps = np.array([[[[1.0, 2, 3, 4]]]], np.float32)  # sums of squares over three: 5, 14, 29, 25
    layer = LocalResponseNormalization(3, k=1, alpha=3, beta=1)
    np.testing.assert_allclose(np.ravel(layer(maps)), [1 / 16, 2 / 43, 3 / 88, 4 / 76], rtol=1e-6)
    layer = LocalResponseNormalization(3, k=1, alpha=3, beta=1, convention="caffe")
    np.testing.assert_allclose(np.ravel(layer(maps)), [1 / 6, 2 / 15, 3 / 30, 4 / 26], rtol=1e-6)


@pytest.mark.parametrize("convention", ["paper", "caffe"])
def test_contrast_normalisation_is_tensorflows(convention):
    tf = pytest.importorskip("tensorflow")
    maps = noise(2, 3, 4, 16, scale=100)
    expected = tf.nn.local_response_normalization(maps, 2, 2.0, 1e-4 / (5 if convention == "caffe" else 1), 0.75)
    np.testing.assert_allclose(LocalResponseNormalization(convention=convention)(maps), expected, rtol=2e-5)


def test_contrast_normalisation_in_half_precision_does_not_overflow():
    maps = noise(2, 3, 4, 8, scale=300)
    expected = np.asarray(LocalResponseNormalization()(maps))
    half = LocalResponseNormalization(dtype="float16")(maps)
    assert keras.backend.standardize_dtype(half.dtype) == "float16"
    np.testing.assert_allclose(np.asarray(half), expected, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 4}, "size must be a positive odd number, received 4"),
        ({"size": 0}, "size must be a positive odd number, received 0"),
        ({"size": 2.5}, "size must be a positive odd number, received 2.5"),
        ({"convention": "cafe"}, "convention must be 'paper' or 'caffe', received 'cafe'"),
        ({"k": 0}, "k must be a positive number, alpha and beta numbers of at least 0, received k=0"),
        (
            {"alpha": -1e-4},
            "k must be a positive number, alpha and beta numbers of at least 0, received k=2.0, alpha=-0.0001",
        ),
        ({"beta": float("nan")}, "beta=nan"),
    ],
)
def test_contrast_normalisation_refuses_constants_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        LocalResponseNormalization(**arguments)


# ------------------------------------------------------------------------------------- pooling that rounds up


@pytest.mark.parametrize(("pool_size", "strides"), [(3, 2), (2, 2), (3, 3), (3, 1), (4, 3), (5, 2), ((3, 2), (2, 1))])
def test_pooling_that_rounds_up_is_its_loop(pool_size, strides):
    pools, steps = (value if isinstance(value, tuple) else (value, value) for value in (pool_size, strides))
    layer = CeilMaxPooling2D(pool_size, strides)
    for height in range(max(pools[0], 3), 21):
        width = 23 - height if 23 - height >= pools[1] else pools[1]
        maps = noise(2, height, width, 3, seed=height) - 3  # nearly all negative: zeros beyond the edge would win
        expected = networks.ceil_max_pool(maps, pools, steps)
        assert expected.shape[1:3] == tuple(
            -(-(n - size) // step) + 1 for n, size, step in zip((height, width), pools, steps, strict=True)
        )
        np.testing.assert_array_equal(np.asarray(layer(maps)), expected.astype(np.float32))
        assert layer.compute_output_shape((None, height, width, 3)) == (None, *expected.shape[1:])


def test_pooling_that_rounds_up_takes_maps_a_little_smaller_than_its_window():
    maps = noise(2, 2, 1, 3)
    np.testing.assert_array_equal(CeilMaxPooling2D(3, 3)(maps), maps.max(axis=(1, 2), keepdims=True))


def test_pooling_that_rounds_up_leaves_open_sides_open():
    image = keras.Input((None, None, 2))
    model = keras.Model(image, CeilMaxPooling2D(3, 2)(image))
    assert model.output_shape == (None, None, None, 2)
    assert model.predict(noise(1, 8, 13, 2), verbose=0).shape == (1, 4, 6, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pool_size": 2, "strides": 3}, r"strides must not exceed pool_size, received strides=\(3, 3\)"),
        ({"pool_size": (3, 2), "strides": (2, 3)}, r"strides must not exceed pool_size, received strides=\(2, 3\)"),
        ({"data_format": "channels_first"}, "data_format must be 'channels_last', received 'channels_first'"),
    ],
)
def test_pooling_that_rounds_up_refuses_windows_that_could_miss_the_map(arguments, message):
    with pytest.raises(ValueError, match=message):
        CeilMaxPooling2D(**arguments)


# ----------------------------------------------------------------------------------------- the filter constraint


def rms(kernel):
    """Of each filter by itself."""
    return np.sqrt(np.mean(np.square(np.asarray(kernel, np.float64)), axis=tuple(range(np.ndim(kernel) - 1))))


@pytest.mark.parametrize("shape", [(7, 7, 3, 20), (5, 5, 48, 8), (30, 10)])
def test_the_filter_constraint_rescales_to_the_radius_what_exceeds_it_and_nothing_else(shape):
    scales = np.linspace(0.02, 0.3, shape[-1], dtype=np.float32)
    kernel = noise(*shape) * scales
    held = np.asarray(FilterRMS(0.1)(kernel))
    large = rms(kernel) > 0.1
    assert large.any() and not large.all()
    np.testing.assert_allclose(rms(held)[large], 0.1, rtol=1e-6)
    np.testing.assert_array_equal(held[..., ~large], kernel[..., ~large])
    np.testing.assert_allclose(held / kernel, np.broadcast_to(rms(held) / rms(kernel), shape), rtol=1e-5)
    np.testing.assert_allclose(FilterRMS(0.1)(held), held, rtol=1e-6)
    assert (rms(held) <= rms(kernel) * (1 + 1e-6)).all()


def test_the_filter_constraint_leaves_a_filter_of_zeros_alone():
    np.testing.assert_array_equal(FilterRMS(0.1)(np.zeros((3, 3, 2, 4), np.float32)), np.zeros((3, 3, 2, 4)))


def test_the_filter_constraint_holds_in_training():
    layer = keras.layers.Conv2D(4, 3, kernel_constraint=FilterRMS(0.1))
    model = keras.Sequential([keras.Input((6, 5, 2)), layer])
    model.compile(keras.optimizers.SGD(10.0), loss="mse")
    model.train_on_batch(noise(4, 6, 5, 2), noise(4, 4, 3, 4, seed=1, scale=10))
    np.testing.assert_allclose(rms(layer.kernel), 0.1, rtol=1e-5)


@pytest.mark.parametrize("radius", [0, -0.1, float("nan"), float("inf")])
def test_the_filter_constraint_refuses_a_radius_that_is_none(radius):
    with pytest.raises(ValueError, match="radius must be a positive number"):
        FilterRMS(radius)


# -------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    "layer",
    [
        GroupedConv2D(4, 3, groups=2, kernel_constraint=FilterRMS(0.07)),
        LocalResponseNormalization(3, k=1.0, alpha=1e-3, beta=0.5, convention="caffe"),
        CeilMaxPooling2D((3, 2), (2, 1)),
    ],
)
def test_each_layer_comes_back_from_its_configuration(layer):
    maps = noise(2, 7, 6, 4)
    expected = np.asarray(layer(maps))
    back = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(back) is type(layer) and back.get_config() == layer.get_config()
    back(maps)
    back.set_weights(layer.get_weights())
    np.testing.assert_array_equal(np.asarray(back(maps)), expected)


NETWORKS = {
    models.AlexNet: (67, 83, 3),
    models.AlexNetOWT: (223, 230, 3),
    models.ZFNet: (49, 60, 3),
    models.ZFNet512: (59, 70, 3),
}


@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_a_network_comes_back_from_a_keras_file(build, tmp_path):
    model = build(input_shape=NETWORKS[build], units=5, classes=4)
    model.save(tmp_path / "network.keras")
    images = noise(2, *NETWORKS[build], scale=60)
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))


@pytest.mark.slow
@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_a_network_comes_back_from_an_npz_file_with_and_without_its_top(build, tmp_path):
    sizes = {"input_shape": NETWORKS[build], "units": 5, "classes": 4}
    model = build(**sizes)
    models.loading.weight_files.save(model, tmp_path / "network.npz", dtype="float32")
    loaded = build(weights=tmp_path / "network.npz", **sizes)
    for mine, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    base = build(weights=tmp_path / "network.npz", input_shape=NETWORKS[build], include_top=False)
    assert base.layers[-1].name == "pool5"
    np.testing.assert_array_equal(base.get_layer("conv5").kernel, model.get_layer("conv5").kernel)
    with pytest.raises(ValueError, match=r"does not fit layer 'fc6'.*expected shapes \(\d+, 6\).*received \(\d+, 5\)"):
        build(weights=tmp_path / "network.npz", **{**sizes, "units": (6, 5)})


@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_in_mixed_precision_the_probabilities_are_float32(build):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(input_shape=NETWORKS[build], units=5, classes=4)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("conv2").compute_dtype == "bfloat16"
    probabilities = model.predict(noise(2, *NETWORKS[build], scale=60), verbose=0)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)
def test_dropout_layers_are_there_only_if_something_is_dropped(build):
    small = {"input_shape": NETWORKS[build], "units": 5, "classes": 4}
    dropped = [layer.rate for layer in build(**small, dropout=0.3).layers if isinstance(layer, keras.layers.Dropout)]
    assert dropped == [0.3, 0.3]
    assert not [layer for layer in build(**small, dropout=0).layers if isinstance(layer, keras.layers.Dropout)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CeilMaxPooling2D(3, 2, padding="same"), "padding must be 'ceil', received 'same'"),
        (lambda: CeilMaxPooling2D(3, 2)(np.zeros((1, 1, 5, 2), "float32")), "too small for a window"),
        (lambda: FilterRMS("x"), "radius must be a positive number, received 'x'"),
        (lambda: FilterRMS(True), "radius must be a positive number, received True"),
        (lambda: LocalResponseNormalization(k="2"), "k must be a positive number.*received k='2'"),
        (lambda: LocalResponseNormalization(k=float("inf")), "k must be a positive number"),
        (lambda: LocalResponseNormalization()(keras.Input((4, 4, None))), "needs a fixed number of channels"),
    ],
)
def test_what_a_layer_cannot_do_is_refused_in_words(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("policy", "dtype"), [("float64", "float64"), ("float32", "float32"), ("mixed_bfloat16", "float32")]
)
def test_the_last_layer_has_the_precision_of_the_others_and_at_least_float32(policy, dtype):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        settings = {"units": (3, 2), "classes": 2, "dropout": 0, "activation": None, "settings": {}}
        assert dense_layers(keras.Input((2, 3, 4)), **settings).dtype == dtype
    finally:
        keras.config.set_dtype_policy(before)
