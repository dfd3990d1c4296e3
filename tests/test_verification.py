"""The self-check: quiet where all is well, loud where a rule is wrong."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl
from specimens import LAYERS, SPECIMENS, fill, images

import deconv
from deconv.deconvnet import layers
from models.layers import GroupedConv2D, LocalResponseNormalization


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECIMENS)
def test_a_good_mirror_passes(name):
    model = SPECIMENS[name]()
    found = deconv.verify(model, LAYERS[name], show=False)
    assert found.adjoint_residual < 1e-6 and found.gradient_difference < 1e-5
    assert all(value == 0 for value in found.switch_replay.values())
    pools = [
        layer.name for layer in model._flatten_layers() if isinstance(layer, kl.MaxPooling2D | kl.GlobalMaxPooling2D)
    ]
    assert sorted(name.rsplit("/")[-1] for name in found.switch_replay) == sorted(pools)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet", "overlapping", "branching", "nested", "alexnet"])
def test_the_residual_is_near_the_rounding_error_of_the_dtype(name):
    model = SPECIMENS[name]("float64")
    found = deconv.verify(model, LAYERS[name], images(model, 3), show=False)
    assert found.adjoint_residual < 1e-13 and found.gradient_difference < 1e-12


def unflipped(step):
    """A wrong rule: the filters are transposed without being flipped."""
    conv, kernel = step.layer, tf.convert_to_tensor(step.layer.kernel)[::-1, ::-1]
    geometry = (step.inputs[0].shape, kernel.shape, conv.strides, conv.padding, conv.dilation_rate)
    return [layers.Rectify(), layers.TransposeConv(*geometry, tied={"kernel": kernel})]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "rules", "adjoint"),
    [
        ("lenet", {"conv1": unflipped}, False),
        ("overlapping", {kl.Conv2D: unflipped}, False),
        ("branching", {"norm2": deconv.identity}, False),
        ("average", {"pool1": lambda step: [kl.UpSampling2D(2), kl.Cropping2D(((0, 1), (0, 0)))]}, False),
        ("padded", {"relu1": deconv.identity}, True),  # still the transpose, but one rectification short
    ],
)
def test_a_wrong_rule_is_seen(name, rules, adjoint):
    found = deconv.verify(SPECIMENS[name](), LAYERS[name], rules=rules, show=False)
    assert found.gradient_difference > 0.01 and (
        found.adjoint_residual < 1e-6 if adjoint else found.adjoint_residual > 1e-3
    )


@pytest.mark.parametrize("collisions", ["last", "max"])
def test_only_the_sum_is_the_transpose_where_windows_overlap(collisions):
    found = deconv.verify(SPECIMENS["overlapping"](), "conv3", collisions=collisions, show=False)
    assert found.adjoint_residual > 1e-3 and found.collisions == collisions
    assert min(found.collision_rate.values()) > 0.1
    apart = deconv.verify(SPECIMENS["lenet"](), "conv2", collisions=collisions, show=False)
    assert apart.adjoint_residual < 1e-6 and set(apart.collision_rate.values()) == {0}


def test_collision_rate_by_hand():
    # 2x2 units. First image: two of four share cell 7. Second: all four share cell 12. Second channel: none share,
    # though its cells are those of the first channel.
    switches = np.array([[[7, 3], [7, 4]], [[12, 12], [12, 12]]])[..., None]
    alone = np.array([[[7, 3], [12, 4]], [[7, 3], [12, 4]]])[..., None]
    assert deconv.collision_rate(switches) == 6 / 8
    assert deconv.collision_rate(np.concatenate([switches, alone], axis=-1)) == 6 / 16
    assert deconv.collision_rate(np.array([[5, 5], [5, 5]])) == 0  # global pooling: one unit for each map


@pytest.mark.parametrize(
    "relu",
    [keras.ops.relu, keras.activations.relu, kl.ReLU(), kl.ReLU(max_value=1.0), kl.Activation("relu6")],
    ids=["operation", "function", "layer", "layer that saturates", "relu6"],
)
def test_every_relu_that_has_a_rule_is_checked_against_its_own_values(relu):
    image = keras.Input((13, 11, 3))
    maps = kl.MaxPooling2D(3, 2, name="pool")(relu(kl.Conv2D(5, 3, name="conv1")(image)))
    model = fill(keras.Model(image, kl.Conv2D(4, 2, activation="relu", name="top")(maps)), seed=1)
    found = deconv.verify(model, "top", 4 * images(model), show=False)
    assert found.switch_replay == {"pool": 0}
    assert found.adjoint_residual < 1e-6 and found.gradient_difference < 1e-5


class Gain(kl.Layer):
    """A normalisation with a weight, for whose gradient TensorFlow asks."""

    mirrored_as = kl.Identity

    def build(self, input_shape):
        self.gamma = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="gamma")

    def call(self, maps):
        return maps * self.gamma / (1 + keras.ops.mean(keras.ops.square(maps), axis=-1, keepdims=True))


def normalised(layer):
    image = keras.Input((13, 11, 4))
    maps = layer(kl.Conv2D(6, 3, activation="relu", name="conv1")(image))
    maps = kl.MaxPooling2D(3, 2, name="pool")(maps)
    return fill(keras.Model(image, GroupedConv2D(4, 2, groups=2, activation="relu", name="top")(maps)), seed=1)


@pytest.mark.parametrize("layer", [Gain, lambda: LocalResponseNormalization(k=0.5, alpha=1.0)], ids=["own", "theirs"])
def test_contrast_normalisation_is_passed_over_whether_it_has_weights_or_not(layer):
    model = normalised(layer())
    found = deconv.verify(model, "top", 4 * images(model), show=False)
    assert found.switch_replay == {"pool": 0}
    assert found.adjoint_residual < 1e-6 and found.gradient_difference < 1e-5


def test_a_normalisation_that_computes_in_another_type_than_its_maps_is_passed_over():
    image = keras.Input((9, 8, 3))
    half = LocalResponseNormalization(dtype="mixed_float16", name="norm")(image)
    model = fill(keras.Model(image, kl.Conv2D(4, 3, activation="relu", name="top")(half)), seed=1)
    found = deconv.verify(model, "top", show=False)
    assert found.adjoint_residual < 1e-3 and found.gradient_difference < 1e-3


def test_overlapping_pools_share_maxima_and_the_rate_says_how_many():
    model = SPECIMENS["alexnet"]()
    pixels = images(model, 2, seed=5)
    found = deconv.verify(model, "fc", pixels, show=False)
    switches = deconv.Deconvnet(model).record(pixels, "fc").switches
    for name, seen in switches.items():
        maps = [seen[number, ..., channel].ravel().tolist() for number in range(2) for channel in range(seen.shape[-1])]
        shared = [places.count(place) > 1 for places in maps for place in places]
        assert found.collision_rate[name] == pytest.approx(np.mean(shared)) and 0 < np.mean(shared) < 1


def test_the_result_is_printed_as_a_table_unless_it_shall_not_be(capsys):
    found = deconv.verify(SPECIMENS["overlapping"](), "conv3")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "deconvnet of layer 'conv3'" and len(lines) == 9
    assert f"{found.adjoint_residual:.1e}" in lines[1] and f"{found.collision_rate['pool1']:.1%}" in "".join(lines)
    assert len({line.rindex("  ") for line in lines[1:]}) == 1  # the values stand in one column
    deconv.verify(SPECIMENS["overlapping"](), "conv3", show=False)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers():
    model = SPECIMENS["same"]()
    one, again, other = (deconv.verify(model, "conv3", seed=seed, show=False) for seed in (3, 3, 4))
    assert one == again and one.collision_rate != other.collision_rate


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "size", "layer"),
    [
        ("VGG16", 32, -1),
        ("MobileNetV2", 32, "block_4_add"),
        ("ResNet50", 32, "conv3_block2_out"),
        ("ResNet50V2", 32, "conv3_block2_out"),
        ("DenseNet121", 32, "conv3_block2_concat"),
        ("InceptionV3", 75, "mixed4"),
        ("Xception", 71, "block6_sepconv3_bn"),
    ],
)
def test_the_networks_of_keras_applications_have_exact_mirrors(network, size, layer, monkeypatch):
    """One of them whole, and of each of the others as much as it takes to have every kind of its blocks."""
    module, largest = importlib.import_module("deconv.deconvnet.verification"), []
    difference = module._relative_difference

    def noted(ours, theirs):
        largest.append(np.abs(theirs).max())
        return difference(ours, theirs)

    monkeypatch.setattr(module, "CHANNELS", 1)
    monkeypatch.setattr(module, "_relative_difference", noted)
    keras.utils.set_random_seed(0)
    build, narrow = getattr(keras.applications, network), {"alpha": 0.35} if network == "MobileNetV2" else {}
    model = build(weights=None, include_top=False, pooling="avg", input_shape=(size, size, 3), **narrow)
    pixels = np.random.default_rng(0).standard_normal((2, size, size, 3)).astype("float32")
    found = deconv.verify(model, layer, pixels, show=False)
    assert 0 < found.adjoint_residual < 1e-5 and found.gradient_difference < 1e-5
    assert min(largest) > 0  # no picture that was compared is empty


def test_a_softmax_of_float32_on_layers_of_half_precision_is_measured_by_their_rounding_error():
    half = keras.DTypePolicy("mixed_float16")
    net = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(3, 3, activation="relu", dtype=half, name="conv"),
            keras.layers.Flatten(dtype=half),
            keras.layers.Dense(2, dtype=half, name="scores"),
            keras.layers.Activation("softmax", dtype="float32", name="head"),
        ]
    )
    found = deconv.verify(net, "head", show=False)
    assert (found.dtype, found.limit) == ("float16", 1e-2)
    assert found.holds  # its residuals are of the size of float16, about 1e-4
