"""The health of networks whose dead, repeated and rarely active channels are known, and slow twins of every number."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl
from specimens import SPECIMENS, images

import deconv
from deconv.diagnostics.activation_statistics import Tally
from deconv.diagnostics.filter_statistics import examine_filters
from deconv.diagnostics.layer_health import health
from deconv.imaging.frequencies import aliased, bands, grid_excess, mean_frequency


def copies(weights, height=3, width=2, activation="relu"):
    """A network of 1x1 filters: channel `c` is the image's only channel times `weights[c]`, rectified."""
    image = keras.Input((height, width, 1), dtype="float64")
    maps = kl.Conv2D(len(weights), 1, activation=activation, use_bias=False, name="conv", dtype="float64")(image)
    model = keras.Model(image, maps)
    model.set_weights([np.reshape(np.float64(weights), (1, 1, 1, -1))])
    return model


def constant(levels, height=3, width=2):
    """One image for each level, the same everywhere."""
    return np.broadcast_to(np.float64(levels)[:, None, None, None], (len(levels), height, width, 1))


# ------------------------------------------------------------------------------------------------ slow twins


def slow_activity(maps):
    """Every number of `Activity` from all activations `(n, ..., channels)` at once, pair by pair."""
    maps = maps.reshape(len(maps), -1, maps.shape[-1]).astype(np.float64)
    above, means = maps > 0, maps.mean(axis=1)
    varying = [channel for channel in range(means.shape[1]) if np.ptp(means[:, channel]) > 0]
    pairs = [
        abs(np.corrcoef(means[:, one], means[:, other])[0, 1]) for one in varying for other in varying if one < other
    ]
    eigenvalues = np.linalg.eigvalsh(np.cov(means.T, bias=True).reshape(means.shape[1], -1))
    return {
        "images": len(maps),
        "active": above.any(axis=1).mean(axis=0),
        "covered": above.mean(axis=(0, 1)),
        "mean": maps.mean(axis=(0, 1)),
        "rms": np.sqrt((maps**2).mean(axis=(0, 1))),
        "deviation": means.std(axis=0),
        "correlation": np.mean(pairs),
        "independent": eigenvalues.sum() ** 2 / (eigenvalues**2).sum(),
    }


def slow_spectrum(filters, size=512):
    """`(frequencies down, frequencies right, power (filters, size, size))` from the definition of the transform."""
    along = np.arange(size) / size - 0.5
    down, right = (np.exp(-2j * np.pi * np.outer(along, np.arange(cells))) for cells in filters.shape[1:3])
    power = np.abs(np.einsum("ur,frkc,vk->fuvc", down, filters, right)) ** 2
    return np.abs(along)[:, None], np.abs(along)[None], power.sum(axis=-1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["overlapping", "branching", "lenet", "grouped", "nested"])
def test_activity_is_that_of_all_activations_at_once(name):
    model = SPECIMENS[name]("float64")
    seen, unseen = images(model, 11), images(model, 7, seed=1)
    found = health(model, seen, unseen=unseen, batch_size=4)
    assert len(found) > 2
    for layer, one in found.items():
        for activity, pixels in ((one.activity, seen), (one.unseen, unseen)):
            maps = deconv.activations(model, pixels, layer)[layer]
            for number, expected in slow_activity(maps).items():
                np.testing.assert_allclose(getattr(activity, number), expected, rtol=1e-9, atol=1e-9, err_msg=number)


def test_the_batch_size_does_not_change_what_is_found():
    model, pixels = SPECIMENS["overlapping"]("float64"), images(SPECIMENS["overlapping"](), 10).astype("float64")
    one, other = (health(model, pixels, "conv2", batch_size=size)["conv2"] for size in (10, 3))
    for first, second in zip(one.activity, other.activity, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-10, atol=1e-12)


def test_a_mean_far_above_its_spread_does_not_cancel_the_correlation():
    noise = np.random.default_rng(0).standard_normal((400, 2))
    means = 1e6 + np.stack([noise[:, 0], -noise[:, 0], noise[:, 1]], axis=1)
    tally = Tally(3)
    for part in np.split(means, 8):
        tally.add(part, part > 0, part**2)
    across = abs(np.corrcoef(noise.T)[0, 1])
    np.testing.assert_allclose(tally.activity().correlation, (1 + 2 * across) / 3, rtol=1e-6)


# ------------------------------------------------------------------------------------------------ by hand


def test_dead_rare_and_opposite_channels_by_hand():
    # Levels 1 2 3 and once -6. Channel 0 follows, channel 1 answers the -6 alone, channel 2 is zero: dead.
    found = health(copies([1, -1, 0]), constant([1, 2, 3, -6]), rare=0.3)["conv"]
    assert found.dead.tolist() == [False, False, True] and found.rare.tolist() == [False, True, False]
    assert found.activity.active.tolist() == [0.75, 0.25, 0] == found.activity.covered.tolist()
    assert found.activity.mean.tolist() == [1.5, 1.5, 0] and found.unseen is None and found.gap is None
    np.testing.assert_allclose(found.activity.rms, [np.sqrt(14 / 4), 3, 0], rtol=1e-12)
    # Means 1 2 3 0 and 0 0 0 6: covariance -1.5 * 1.5, variances 5 / 4 and 27 / 4.
    np.testing.assert_allclose(found.activity.correlation, 2.25 / np.sqrt(5 / 4 * 27 / 4), rtol=1e-12)
    np.testing.assert_allclose(found.activity.independent, 8**2 / (1.25**2 + 6.75**2 + 2 * 2.25**2), rtol=1e-12)
    assert not health(copies([1, -1, 0]), constant([1, 2, 3, -6]), rare=0.25)["conv"].rare.any()


def test_a_channel_that_is_active_in_one_place_is_not_dead():
    pixels = np.full((2, 3, 2, 1), -1.0)
    pixels[1, 2, 0] = 4
    found = health(copies([1]), pixels)["conv"]
    assert found.activity.active.tolist() == [0.5] and found.activity.covered.tolist() == [1 / 12]
    np.testing.assert_allclose(found.activity.mean, [4 / 12], rtol=1e-12)
    assert np.isnan(found.activity.correlation)  # there is no pair


def test_channels_that_do_the_same_are_one_and_those_that_have_nothing_in_common_are_as_many_as_they_are():
    same = health(copies([1, 2, 3, 4]), constant([1, 2, 5]))["conv"].activity
    np.testing.assert_allclose([same.correlation, same.independent], [1, 1], rtol=1e-12)
    image = keras.Input((1, 1, 4), dtype="float64")
    model = keras.Model(image, kl.ReLU(name="relu", dtype="float64")(image))
    apart = np.stack(np.meshgrid(*[[0.0, 1.0]] * 4), axis=-1).reshape(16, 1, 1, 4)  # all 16 corners
    found = health(model, apart)["relu"].activity
    np.testing.assert_allclose([found.correlation, found.independent], [0, 4], rtol=0, atol=1e-12)


def test_the_gap_by_hand_and_none_between_a_data_set_and_itself():
    seen, unseen = constant([1, 3]), constant([4, 8])  # means 2 and 6, variances 1 and 4
    found = health(copies([1, -1]), seen, unseen=unseen)["conv"]
    np.testing.assert_allclose(found.gap.mean, [-4 / np.sqrt(2.5), 0], rtol=1e-12)
    assert found.gap.active.tolist() == [0, 0]
    np.testing.assert_allclose([found.gap.size, found.gap.chance], [2 / np.sqrt(2.5), np.sqrt(2 / np.pi)], rtol=1e-12)
    same = health(copies([1, -1]), seen, unseen=seen)["conv"].gap
    assert same.mean.tolist() == same.active.tolist() == [0, 0] and same.size == 0
    # Active in half of the images and in three quarters: variances 1 / 4 and 3 / 16.
    rates = health(copies([1]), constant([1, -1, 1, -1]), unseen=constant([1, 1, 1, -1]))["conv"].gap.active
    np.testing.assert_allclose(rates, [-0.25 / np.sqrt(7 / 32)], rtol=1e-12)
    apart = health(copies([1]), constant([1, 1]), unseen=constant([-1, -1]))["conv"].gap
    assert apart.mean.tolist() == [np.inf]


def test_repeated_filters_are_listed_with_their_cosines_and_those_of_other_groups_are_no_pair():
    layer = kl.Conv2D(4, (1, 2), use_bias=False)
    layer.build((None, 5, 5, 1))
    layer.set_weights([np.array([[3.0, 4.0], [6.0, 8.0], [-3.0, -4.0], [4.0, -3.0]]).T.reshape(1, 2, 1, 4)])
    found = examine_filters(layer)
    assert found.duplicates.tolist() == [[0, 1], [0, 2], [1, 2]]
    np.testing.assert_allclose(found.cosines, [1, -1, -1], rtol=1e-6)
    np.testing.assert_allclose(found.rms, np.sqrt([12.5, 50, 12.5, 12.5]), rtol=1e-6)
    np.testing.assert_allclose(found.spread, 2, rtol=1e-6)
    np.testing.assert_allclose(found.variation, np.sqrt(3) / 5, rtol=1e-6)  # 1 2 1 1: mean 5 / 4, deviation root 3 / 4
    grouped = kl.Conv2D(4, (1, 2), groups=2, use_bias=False)
    grouped.build((None, 5, 5, 2))
    grouped.set_weights(layer.get_weights())
    assert examine_filters(grouped).duplicates.tolist() == [[0, 1]]
    depthwise = kl.DepthwiseConv2D((1, 2), depth_multiplier=2, use_bias=False)
    depthwise.build((None, 5, 5, 2))
    depthwise.set_weights([layer.get_weights()[0].reshape(1, 2, 2, 2)])
    assert examine_filters(depthwise).duplicates.tolist() == [[0, 1]]


def test_a_dense_layers_filters_are_its_units_and_a_filter_of_zeros_is_like_no_other():
    layer = kl.Dense(3)
    layer.build((None, 2))
    layer.set_weights([np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), np.ones(3)])
    found = examine_filters(layer)
    assert found.rms.tolist() == [1, 0, 0] and found.duplicates.tolist() == [] and np.isnan(found.spread)
    assert found.aliasing is None and found.frequency is None
    assert examine_filters(kl.MaxPooling2D()) is None


# ------------------------------------------------------------------------------------------------ frequencies


def test_aliased_energy_of_one_and_two_taps_by_hand():
    # One tap passes every frequency: of stride 4 by 2, 1 / 8 of them are held. Two equal taps have the spectrum
    # 1 + cos(2 pi f), of which 1 / 2 + 1 / pi lies below 1 / 4; two opposite ones 1 / 2 - 1 / pi.
    assert aliased(np.ones((1, 1, 1, 3)), (4, 2)).tolist() == [7 / 8]
    pairs = np.array([[1.0, 1.0], [1.0, -1.0]]).reshape(2, 2, 1, 1)
    np.testing.assert_allclose(aliased(pairs, (2, 1)), [0.5 - 1 / np.pi, 0.5 + 1 / np.pi], rtol=1e-12)
    np.testing.assert_allclose(aliased(pairs, (1, 1)), [0, 0], rtol=0, atol=1e-12)
    assert np.isnan(aliased(np.zeros((1, 3, 3, 1)), (2, 2))).all()


def grating(period, size=48, across=False):
    wave = np.hanning(size) * np.cos(2 * np.pi * np.arange(size) / period)
    picture = np.hanning(size)[:, None] * wave
    return (picture if across else picture.T)[None, :, :, None]


@pytest.mark.parametrize(("period", "stride", "share"), [(16, 4, 0), (5, 4, 1), (16, 2, 0), (6, 2, 0), (3, 2, 1)])
def test_a_grating_is_aliased_where_its_period_is_below_two_strides_and_only_along_its_direction(period, stride, share):
    np.testing.assert_allclose(aliased(grating(period), (stride, 1)), share, rtol=0, atol=0.01)
    np.testing.assert_allclose(aliased(grating(period, across=True), (stride, 1)), 0, rtol=0, atol=0.01)
    np.testing.assert_allclose(aliased(grating(period, across=True), (1, stride)), share, rtol=0, atol=0.01)
    np.testing.assert_allclose(mean_frequency(grating(period)), 1 / period, rtol=0.1)


def test_aliasing_and_centroids_are_those_of_a_slow_transform():
    filters = np.random.default_rng(0).standard_normal((3, 5, 4, 2))
    filters[0] = np.cumsum(filters[0], axis=0)
    down, right, power = slow_spectrum(filters)
    outside = (down > 1 / 6) | (right > 1 / 4)
    expected = (power * outside).sum(axis=(1, 2)) / power.sum(axis=(1, 2))
    np.testing.assert_allclose(aliased(filters, (3, 2)), expected, rtol=0, atol=0.004)  # its grid is 1 / 512 wide
    centroid = (power * np.hypot(down, right)).sum(axis=(1, 2)) / power.sum(axis=(1, 2))
    np.testing.assert_allclose(mean_frequency(filters), centroid, rtol=1e-3)


def test_bands_by_hand():
    assert bands([0.1, 0.125, 0.2, 0.25, 0.6, np.nan]).tolist() == [0.2, 0.4, 0.4]
    assert np.isnan(bands([np.nan])).all()


@pytest.mark.slow
def test_noise_has_no_grid_in_excess_and_noise_that_is_laid_out_on_one_has():
    random = np.random.default_rng(0)
    noise = random.standard_normal((200, 60, 52, 3))
    for strides in ((4, 4), (2, 2), (4, 1)):
        assert 0.9 < np.median(grid_excess(noise, strides)) < 1.1
    comb = np.zeros((60, 52))
    comb[::4, ::4] = 1
    model_graph = noise + 3 * comb[..., None]
    assert np.median(grid_excess(model_graph, (4, 4))) > 3 and 0.5 < np.median(grid_excess(model_graph, (3, 3))) < 1.5
    stripes = noise + np.cos(np.pi * np.arange(52))[:, None]  # period 2, along the columns alone
    assert np.median(grid_excess(stripes, (1, 2))) > 5 and 0.9 < np.median(grid_excess(stripes, (2, 1))) < 1.1


def test_there_is_no_grid_without_a_stride_in_nothing_and_in_what_is_too_small():
    noise = np.random.default_rng(0).standard_normal((2, 40, 40, 1))
    assert np.isnan(grid_excess(noise, (1, 1))).all()
    assert np.isnan(grid_excess(noise * [[[[1]]], [[[0]]]], (4, 4))).tolist() == [False, True]
    assert np.isnan(grid_excess(noise[:, :6, :6], (4, 4))).all()


# ------------------------------------------------------------------------------------------------ at the door


def test_any_kind_of_data_set_and_preprocessing_will_do():
    model, pixels = copies([1, -1]), np.random.default_rng(0).integers(0, 256, (9, 3, 2, 1)).astype(np.uint8)

    def preprocess(some):
        return some.astype(np.float64) / 255 - 0.5

    plain = health(model, preprocess(pixels))["conv"].activity
    labelled = tf.data.Dataset.from_tensor_slices((pixels, np.zeros(9, np.int64)))
    for dataset in (pixels, labelled, labelled.batch(2), (pixels, np.zeros(9, int))):
        found = health(model, dataset, 1, preprocess=preprocess, batch_size=4)[1].activity
        for one, other in zip(plain, found, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": "conf"}, "has no layer 'conf'. Did you mean 'conv'?"),
        ({"dataset": np.zeros((0, 3, 2, 1))}, "health needs a data set of at least one image; received none."),
        ({"dataset": np.full((1, 3, 2, 1), np.nan)}, "images must be finite"),
        ({"unseen": np.zeros((2, 4, 4, 1))}, "images must have shape (n, 3, 2, 1)"),
        ({"rare": 2}, "rare must be a share between 0 and 1; received 2."),
        ({"alike": True}, "alike must be a share between 0 and 1; received True."),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1; received 0."),
        ({"model": copies([np.inf, 1])}, "The output of layer 'conv' contains NaN or infinity."),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(changes, message):
    arguments = {"model": copies([1, -1]), "dataset": constant([1, 2]), **changes}
    with pytest.raises(ValueError, match=re.escape(message)):
        health(**arguments)


def test_a_network_without_filters_is_asked_for_its_layers():
    image = keras.Input((4, 4, 1))
    model = keras.Model(image, kl.MaxPooling2D(name="pool")(image), name="plain")
    with pytest.raises(ValueError, match="Model 'plain' has neither filters nor rectifications; name the layers"):
        health(model, np.ones((2, 4, 4, 1), np.float32))
    assert health(model, np.ones((2, 4, 4, 1), np.float32), "pool")["pool"].filters is None
