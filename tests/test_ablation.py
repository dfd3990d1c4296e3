"""Networks with layers left out or resized: parameters counted by hand, the same function otherwise, refusals."""

import re

import keras
import numpy as np
import pytest
from keras import layers

import models
from models.ablation import altered, left_out
from models.layers import GroupedConv2D


def parameters(model):
    return {layer.name: layer.count_params() for layer in model.layers if layer.weights}


LENET = {"conv1": 156, "conv2": 2416, "fc3": 48120, "fc4": 10164, "predictions": 850}


@pytest.mark.parametrize(
    ("without", "sizes", "changed"),
    [
        ((), {}, {}),
        ("conv2", {}, {"conv2": None, "fc3": (14 * 14 * 6 + 1) * 120}),
        (["fc4"], {}, {"fc4": None, "predictions": (120 + 1) * 10}),
        (["fc3", "fc4"], {}, {"fc3": None, "fc4": None, "predictions": (400 + 1) * 10}),
        (
            ("conv2", "fc3", "fc4"),
            {},
            {"conv2": None, "fc3": None, "fc4": None, "predictions": (14 * 14 * 6 + 1) * 10},
        ),
        ((), {"fc3": 60}, {"fc3": (400 + 1) * 60, "fc4": (60 + 1) * 84}),
        (
            (),
            {"conv1": 12, "conv2": 32},
            {"conv1": 26 * 12, "conv2": (25 * 12 + 1) * 32, "fc3": (5 * 5 * 32 + 1) * 120},
        ),
        (["fc3"], {"conv2": 7}, {"conv2": (25 * 6 + 1) * 7, "fc3": None, "fc4": (5 * 5 * 7 + 1) * 84}),
    ],
)
def test_lenet5_altered_has_the_parameters_counted_by_hand(without, sizes, changed):
    expected = {name: count for name, count in {**LENET, **changed}.items() if count is not None}
    assert parameters(altered(models.LeNet5(weights=None), without, sizes)) == expected


@pytest.mark.parametrize(
    ("without", "sizes", "changed"),
    [
        (["conv3", "conv4"], {}, {"conv3": None, "conv4": None, "conv5": (9 * 128 + 1) * 256}),
        (["fc7"], {}, {"fc7": None, "predictions": (9 + 1) * 3}),
        (["fc6", "fc7"], {}, {"fc6": None, "fc7": None, "predictions": (256 + 1) * 3}),
        ((), {"conv3": 10, "fc6": 2}, {"conv3": 2305 * 10, "conv4": 46 * 384, "fc6": 257 * 2, "fc7": 3 * 9}),
    ],
)
def test_alexnet_altered_has_the_parameters_counted_by_hand(without, sizes, changed):
    whole = {"conv1": 34_944, "conv2": 307_456, "conv3": 885_120, "conv4": 663_936, "conv5": 442_624}
    whole |= {"fc6": 257 * 9, "fc7": 10 * 9, "predictions": 10 * 3}  # 67 pixels leave one cell of 256 channels
    expected = {name: count for name, count in {**whole, **changed}.items() if count is not None}
    model = altered(models.AlexNet(input_shape=(67, 67, 3), units=9, classes=3), without, sizes)
    assert parameters(model) == expected


def test_the_wide_zfnet_is_zfnet_with_three_layers_resized():
    settings = {"input_shape": (64, 80, 3), "units": 5, "classes": 4}
    wide = altered(models.ZFNet(**settings), sizes={"conv3": 512, "conv4": 1024, "conv5": 512})
    assert parameters(wide) == parameters(models.ZFNet(wide=True, **settings))
    assert [layer.name for layer in wide.layers] == [layer.name for layer in models.ZFNet(**settings).layers]


@pytest.mark.parametrize(
    ("model", "without", "gone"),
    [
        (models.LeNet5(weights=None, dropout=0.5), "conv2", ("conv2", "pool2")),
        (models.LeNet5(weights=None, dropout=0.5), ["fc4", "fc3"], ("fc3", "dropout3", "fc4", "dropout4")),
        (models.LeNet5(weights=None), ["fc4"], ("fc4",)),
        (models.AlexNet(input_shape=(67, 67, 3), units=4, classes=3), ["fc7"], ("fc7", "dropout7")),
        (models.AlexNet(input_shape=(67, 67, 3), units=4, classes=3), ["conv2"], ("conv2", "norm2", "pool2")),
        (models.AlexNet(input_shape=(67, 67, 3), units=4, classes=3), ["conv5"], ("conv5", "pool5")),
        (models.ZFNet(input_shape=(64, 64, 3), units=4, classes=3), ["conv3", "conv4"], ("conv3", "conv4")),
        (models.AlexNet(input_shape=(None, None, 3), units=4, classes=3), ["conv5"], ("conv5", "pool5")),  # not grid
    ],
)
def test_what_only_serves_a_layer_goes_with_it(model, without, gone):
    assert left_out(model, without) == gone
    kept = [layer.name for layer in model.layers if layer.name not in gone]
    assert [layer.name for layer in altered(model, without).layers] == kept


def filled(model, seed=0):
    random = np.random.default_rng(seed)
    model.set_weights([random.normal(0, 0.3, weight.shape) for weight in model.get_weights()])
    return model


def test_the_layers_that_stay_do_what_they_did():
    # conv2 taken out by hand: of six maps of 9 x 7 cells the dense layers see all, in the order of rows
    whole = filled(models.LeNet5(weights=None, input_shape=(18, 14, 3), classes=4))
    model = altered(whole, ["conv2", "fc3"], {"fc4": 5})
    first, dense, last = (model.get_layer(name) for name in ("conv1", "fc4", "predictions"))
    first.set_weights(whole.get_layer("conv1").get_weights())
    images = np.random.default_rng(1).normal(size=(3, 18, 14, 3)).astype(np.float32)
    maps = keras.Model(whole.input, whole.get_layer("pool1").output)(images).numpy().reshape(3, -1)
    hidden = np.maximum(maps @ dense.get_weights()[0] + dense.get_weights()[1], 0)
    scores = hidden @ last.get_weights()[0] + last.get_weights()[1]
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert dense.kernel.shape == (9 * 7 * 6, 5) and model.name == "lenet5" and model.input_shape == whole.input_shape
    np.testing.assert_allclose(model(images), expected, atol=1e-5)


def test_an_unaltered_copy_has_all_settings_and_weights_of_its_own():
    model = models.AlexNet(input_shape=(67, 83, 3), units=6, classes=3)
    before = model.get_weights()
    copy = altered(model)
    assert [layer.get_config() for layer in copy.layers] == [layer.get_config() for layer in model.layers]
    copy.set_weights([weight + 1 for weight in copy.get_weights()])
    for weight, was in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, was)
    images = np.random.default_rng(0).normal(0, 60, (2, 67, 83, 3)).astype(np.float32)
    copy.set_weights(before)
    np.testing.assert_array_equal(copy(images), model(images))


@pytest.mark.slow
def test_new_weights_are_drawn_as_the_old_ones_and_depend_on_the_seed():
    drawn = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(seed)
        drawn.append(altered(models.AlexNet(input_shape=(67, 67, 3), units=512, classes=3), ["fc6"]).get_weights())
    kernels = {weight.shape: weight for weight in drawn[0] if weight.ndim > 1}
    assert kernels[256, 512].std() == pytest.approx(0.005, rel=0.02)  # fc7, BVLC's
    assert kernels[3, 3, 256, 384].std() == pytest.approx(0.01, rel=0.02)
    assert all((one == other).all() for one, other in zip(drawn[0], drawn[1], strict=True))
    assert not np.allclose(drawn[0][0], drawn[2][0])


def test_an_altered_network_computes_in_the_type_of_the_network():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = models.AlexNet(input_shape=(67, 67, 3), units=4, classes=3)
    finally:
        keras.config.set_dtype_policy(before)
    model = altered(mixed, ["fc7"], {"conv3": 6})
    assert model.get_layer("conv3").compute_dtype == "bfloat16" and model.output.dtype == "float32"


def test_an_altered_network_is_saved_and_read_back(tmp_path):
    model = filled(altered(models.LeNet5(weights=None, dropout=0.5), ["fc4"], {"conv2": 5}))
    model.save(tmp_path / "model.keras")
    images = np.random.default_rng(0).random((2, 28, 28, 1), np.float32)
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(images), model(images))


def test_a_sequential_network_can_be_altered_too():
    steps = [layers.Conv2D(4, 3, name="one"), layers.ReLU(name="relu"), layers.Conv2D(5, 3, name="two")]
    model = keras.Sequential([keras.Input((9, 8, 2)), *steps, layers.GlobalMaxPooling2D(name="top")])
    model.add(layers.Dense(3, name="last"))
    assert parameters(altered(model, sizes={"two": 7})) == {"one": 76, "two": 37 * 7, "last": 8 * 3}
    assert left_out(model, "two") == ("two", "top")


def grouped():
    image = keras.Input((9, 9, 3))
    x = layers.Conv2D(6, 3, name="below")(image)
    x = GroupedConv2D(9, 3, groups=3, name="grouped")(x)
    return keras.Model(image, layers.Dense(2, name="last")(layers.Flatten(name="flat")(x)), name="own")


LENET_LAYERS = "conv1, pool1, conv2, pool2, flatten, fc3, fc4, predictions"


@pytest.mark.parametrize(
    ("model", "without", "sizes", "message"),
    [
        (models.LeNet5, "conv_2", {}, f"has no layer 'conv_2'. Did you mean 'conv2'? Its layers are: {LENET_LAYERS}."),
        (models.LeNet5, (), {"fc9": 3}, "has no layer 'fc9'. Did you mean"),
        (
            models.LeNet5,
            "conv1",
            {},
            "'conv1' of 'lenet5' cannot be left out: it is the first with a size.",
        ),
        (models.LeNet5, ["predictions"], {}, "it is the last with a size. Layers that can: conv2, fc3, fc4."),
        (
            models.LeNet5,
            (),
            {"predictions": 3},
            "cannot be resized: it is the last with a size. Layers that can: c",
        ),
        (models.LeNet5, "pool2", {}, "'pool2' of 'lenet5' cannot be left out: it has no size of its own."),
        (models.LeNet5, (), {"flatten": 3}, "'flatten' of 'lenet5' cannot be resized: it has no size of its own."),
        (models.LeNet5, (), {"fc3": 0}, "The size of 'fc3' of 'lenet5' must be a positive whole number, received 0."),
        (models.LeNet5, (), {"fc3": True}, "must be a positive whole number, received True."),
        (models.LeNet5, (), {"fc3": 2.5}, "must be a positive whole number, received 2.5."),
        (models.LeNet5, "fc3", {"fc3": 5}, "'fc3' of 'lenet5' can be left out or resized, not both."),
        (grouped, (), {"grouped": 8}, "'grouped' has 3 groups, into which its 8 filters cannot be divided. Take a"),
        (grouped, (), {"below": 7}, "'grouped' has 3 groups, into which its 7 input channels cannot be divided."),
    ],
)
def test_what_cannot_be_altered_is_named_with_what_can(model, without, sizes, message):
    model = model(weights=None) if model is models.LeNet5 else model()
    with pytest.raises(ValueError, match=re.escape(message)):
        altered(model, without, sizes)


def branching():
    image = keras.Input((9, 9, 3))
    one = layers.Conv2D(3, 3, padding="same", name="one")(image)
    return keras.Model(image, layers.Add(name="sum")([image, one]), name="own")


def shared():
    image, dense = keras.Input((4,)), layers.Dense(4, name="twice")
    return keras.Model(image, dense(dense(image)), name="own")


def nested():
    image = keras.Input((28, 28, 1))
    return keras.Model(image, models.LeNet5(weights=None, include_top=False, name="base")(image), name="own")


def forked():
    image = keras.Input((4,))
    return keras.Model(image, [layers.Dense(2)(image), layers.Dense(3)(image)], name="own")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (branching, "in 'own' the layer 'sum' has 2 inputs"),
        (shared, "in 'own' the layer 'twice' is used more than once"),
        (nested, "in 'own' the layer 'base' is a nested model"),
        (forked, "'own' has 1 and 2"),
    ],
)
def test_what_is_no_chain_is_refused(model, message):
    with pytest.raises(ValueError, match=message):
        altered(model())
