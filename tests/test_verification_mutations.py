"""Wrong mirrors of every kind, none of which may pass; what only looks wrong must."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl
from specimens import LAYERS, SPECIMENS, fill, images

import deconv
import models
from deconv.deconvnet import layers
from deconv.deconvnet.verification import LIMITS
from models.layers import LocalResponseNormalization


def wide():
    """The end of a VGG: 512 filters of 512 channels."""
    image = keras.Input((7, 6, 3))
    maps = kl.Conv2D(512, 3, padding="same", activation="relu", name="conv5_2")(image)
    return fill(keras.Model(image, kl.Conv2D(512, 3, padding="same", activation="relu", name="conv5_3")(maps)), seed=0)


def with_kernel(change):
    """A rule that transposes a changed kernel."""

    def rule(step):
        conv = step.layer
        kernel = tf.constant(change(np.array(conv.kernel)))
        geometry = (step.inputs[0].shape, kernel.shape, conv.strides, conv.padding, conv.dilation_rate)
        return [layers.Rectify(), layers.TransposeConv(*geometry, tied={"kernel": kernel})]

    return rule


def turn_every_fourth(kernel):
    turned = kernel.copy()
    turned[..., ::4] = kernel[::-1, ::-1, :, ::4]
    return turned


def shifted(step):
    """The border of the convolution put on the wrong side."""
    return [
        *with_kernel(lambda kernel: kernel)(step),
        kl.ZeroPadding2D(((1, 0), (0, 0))),
        kl.Cropping2D(((0, 1), (0, 0))),
    ]


WRONG_RULES = {
    "unflipped": (with_kernel(lambda kernel: kernel[::-1, ::-1]), 0.3),
    "swapped channels": (with_kernel(lambda kernel: kernel[:, :, ::-1]), 0.3),
    "wrong padding": (shifted, 0.3),
    "every fourth turned": (with_kernel(turn_every_fourth), 0.05),
    "three times": (with_kernel(lambda kernel: 3 * kernel), 0.3),
    "one filter missing": (with_kernel(lambda kernel: kernel * (np.arange(kernel.shape[3]) > 0)), 1e-4),
}


@pytest.fixture(scope="module")
def vgg():
    return wide()


@pytest.mark.parametrize("name", WRONG_RULES)
def test_a_wrong_mirror_scores_near_its_share_of_wrong_filters_however_wide_the_layer(name, vgg):
    rule, least = WRONG_RULES[name]
    found = deconv.verify(vgg, "conv5_3", rules={"conv5_3": rule}, show=False)
    assert found.adjoint_residual > least and not found.holds


def test_the_right_mirror_of_a_wide_layer_passes(vgg):
    found = deconv.verify(vgg, "conv5_3", show=False)
    assert found.holds and found.limit == LIMITS["float32"] == 1e-5 and found.adjoint_residual < 1e-6


def saying(what, compute):
    """A layer class that says what it is mirrored as."""

    class Saying(kl.Layer):
        mirrored_as, activation, max_value = what, staticmethod(keras.activations.relu), 3.0

        def call(self, maps):
            return compute(maps)

    return Saying(name="saying")


def blur(maps):
    return tf.nn.avg_pool2d(maps, 3, 1, "SAME")


FALSE_CLAIMS = {
    "a blur": (kl.Identity, blur),
    "a factor": (kl.Identity, lambda maps: 3 * maps),
    "a factor for each channel": (kl.Identity, lambda maps: maps * tf.constant([1.0, 1, 1, 2])),
    "other positions": (kl.Identity, lambda maps: tf.roll(maps, 1, axis=1)),
    "other channels": (kl.Dropout, lambda maps: maps[..., ::-1]),
    "the other sign": (kl.Identity, lambda maps: -maps / (1 + maps**2)),
    "a shift": (kl.Identity, lambda maps: maps + 1),
    "a rectifier twice as steep": (kl.ReLU, lambda maps: tf.clip_by_value(2 * maps, 0, 3)),
    "a rectifier without its end": (kl.ReLU, tf.nn.relu),
    "a rectifier with a slope": (kl.Activation, lambda maps: tf.nn.leaky_relu(maps, 0.1)),
}
TRUE_CLAIMS = {
    "nothing": (kl.Identity, lambda maps: maps),
    "divisive": (kl.Identity, lambda maps: maps / (1 + blur(maps**2))),
    "of unit length": (kl.Identity, lambda maps: maps * tf.math.rsqrt(tf.reduce_sum(maps**2, -1, True) + 1e-9)),
    "a rectifier": (kl.Activation, lambda maps: tf.maximum(maps, 0)),
    "a rectifier with an end": (kl.ReLU, lambda maps: tf.clip_by_value(maps, 0, 3)),
}


def claiming(what, compute):
    image = keras.Input((9, 8, 3))
    maps = saying(what, compute)(kl.Conv2D(4, 3, activation=None, name="conv1")(image))
    return fill(keras.Model(image, kl.Conv2D(3, 2, activation="relu", name="top")(maps)), seed=1)


@pytest.mark.parametrize("name", FALSE_CLAIMS)
def test_a_layer_that_computes_something_else_than_it_says_is_noticed(name):
    found = deconv.verify(claiming(*FALSE_CLAIMS[name]), "top", show=False)
    assert found.claim_errors["saying"] > 0.01 and not found.holds
    assert "difference from mirrored_as, saying" in str(found)


@pytest.mark.parametrize("name", TRUE_CLAIMS)
def test_a_layer_that_computes_what_it_says_passes(name):
    found = deconv.verify(claiming(*TRUE_CLAIMS[name]), "top", show=False)
    assert found.claim_errors["saying"] < 1e-6


def test_filters_that_are_turned_in_every_fourth_channel_are_noticed_in_a_layer_that_says_otherwise():
    class Turned(kl.Conv2D):
        mirrored_as = kl.Conv2D

        def convolution_op(self, maps, kernel):
            turned = tf.reverse(kernel, [0, 1])
            fourth = tf.range(tf.shape(kernel)[3]) % 4 == 0
            return super().convolution_op(maps, tf.where(fourth, turned, kernel))

    image = keras.Input((9, 8, 3))
    model = fill(keras.Model(image, Turned(8, 3, activation="relu", name="turned")(image)), seed=0)
    found = deconv.verify(model, "turned", show=False)
    assert found.adjoint_residual > 0.05 and not found.holds


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet", "overlapping", "alexnet", "grouped", "branching"])
def test_correct_networks_hold_their_limit(name):
    model = SPECIMENS[name]()
    found = deconv.verify(model, LAYERS[name], show=False)
    assert found.holds, str(found)
    norms = [layer.name for layer in model.layers if isinstance(layer, LocalResponseNormalization)]
    assert list(found.claim_errors) == norms + [step for step in found.claim_errors if step not in norms] and set(
        found.factors
    ) == set(norms)


def test_normalisations_are_named_with_the_factors_by_which_they_scale():
    # b = a / (1 + sum of squares over one channel) ** 0.75: 1 for small values, 2 ** -0.75 where a = 1.
    image = keras.Input((1, 2, 1))
    model = keras.Model(image, LocalResponseNormalization(1, k=1.0, alpha=1.0, name="norm")(image))
    found = deconv.verify(model, "norm", np.float32([[[[1.0], [0.0]]]]), show=False)
    assert found.factors["norm"] == pytest.approx((2**-0.75, 2**-0.75)) and found.claim_errors == {"norm": 0}
    assert "omitted in the mirror, norm" in str(found) and "scales by 0.595 to 0.595" in str(found)


def test_a_difference_in_a_channel_that_is_not_the_strongest_is_seen():
    image = keras.Input((6, 6, 1))
    model = keras.Model(image, kl.Conv2D(2, 2, activation="relu", name="conv", bias_initializer="ones")(image))
    model.get_layer("conv").kernel.assign(tf.constant([9.0, 1, 0, 0, 0, 0, 0, 0], shape=(2, 2, 1, 2)))
    wrong = with_kernel(lambda kernel: kernel * np.float32([1, 2]))
    given = 1 + np.abs(images(model, 3))
    found = deconv.verify(model, "conv", given, rules={"conv": wrong}, show=False)
    assert found.gradient_difference == pytest.approx(1)


def test_the_setting_of_tf32_is_named(vgg):
    found = deconv.verify(vgg, "conv5_2", show=False)
    assert f"outside of deconv {'on' if found.tf32 else 'off'}" in str(found).splitlines()[-1]
    assert found.tf32 == tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.mark.slow
@pytest.mark.parametrize("network", ["AlexNet", "ZFNet"])
def test_the_photograph_networks_hold_with_their_normalisation(network):
    keras.utils.set_random_seed(0)
    model = getattr(models, network)(weights=None, include_top=False, input_shape=(83, 99, 3))
    found = deconv.verify(model, "conv5", show=False)
    assert found.holds and len(found.factors) == 2, str(found)
