"""The estimate of an approximation's error: whom it asks, and that it keeps the quantile that it promises."""

import keras
import numpy as np
import pytest
from keras import layers as kl
from specimens import fill, images

import deconv
from deconv.occlusion.sampled_error import POSITIONS, QUANTILE, largest_error, stratified_positions


@pytest.mark.parametrize("shape", [(16, 16), (40, 7), (3, 200), (1, 90), (21, 22)])
def test_every_position_is_drawn_equally_often_and_draws_spread_over_both_axes(shape):
    count = np.zeros(shape[0] * shape[1])
    for seed in range(1000):
        count[stratified_positions(shape, POSITIONS, seed)] += 1
    expected = 1000 * POSITIONS / count.size
    assert abs(count - expected).max() < 5 * np.sqrt(expected) + 0.05 * expected
    for seed in range(8):
        rows, columns = np.divmod(stratified_positions(shape, POSITIONS, seed), shape[1])
        assert len(rows) <= POSITIONS and len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == len(rows)
        # A corner would leave most of an axis empty; a diagonal, or one row, would tie the axes to each other.
        assert np.ptp(rows) >= 0.7 * (shape[0] - 1) and np.ptp(columns) >= 0.7 * (shape[1] - 1)
        assert min(shape) == 1 or abs(np.corrcoef(rows, columns)[0, 1]) < 0.5


@pytest.mark.parametrize("shape", [(16, 16), (40, 7), (9, 60)])
@pytest.mark.parametrize("where", ["anywhere", "a corner", "the diagonal", "every tenth"])
def test_the_draw_alone_finds_a_tenth_of_the_positions_as_often_as_is_promised(shape, where):
    # Errors are 1 at a tenth of the positions and 0 elsewhere; the promise is 1 - 0.9**32 = 0.966.
    size = shape[0] * shape[1]
    few = int(np.ceil(0.1 * size))
    row, column = np.divmod(np.arange(size), shape[1])
    key = {
        "anywhere": np.random.default_rng(5).random(size),
        "a corner": np.maximum(row / shape[0], column / shape[1]),
        "the diagonal": abs(row / shape[0] - column / shape[1]),
        "every tenth": np.arange(size) % 10,
    }[where]
    bad = np.zeros(size, bool)
    bad[np.argsort(key, kind="stable")[:few]] = True
    found = np.mean([bad[stratified_positions(shape, POSITIONS, seed)].any() for seed in range(600)])
    promised = 1 - QUANTILE**POSITIONS
    assert found > promised - 3 * np.sqrt(promised * (1 - promised) / 600)


def test_neighbours_of_the_worst_lead_to_the_peak_and_no_position_is_measured_twice():
    row, column = np.mgrid[:30, :40]
    hill = np.exp(-((row - 17) ** 2 + (column - 23) ** 2) / 60.0)
    asked = []

    def measure(some):
        asked.extend(some.tolist())
        return hill.ravel()[some]

    assert largest_error(hill.shape, measure) == 1.0
    assert len(asked) == len(set(asked)) <= 2 * POSITIONS
    assert hill.ravel()[asked[:POSITIONS]].max() < 1.0  # the draw alone did not find it


def test_a_small_grid_is_measured_whole_and_several_kinds_of_error_each_have_their_maximum():
    errors = np.random.default_rng(0).random((64, 2))
    assert (largest_error((8, 8), lambda some: errors[some]) == errors.max(axis=0)).all()
    many = np.random.default_rng(0).random((400, 2))
    asked = []

    def measure(some):
        asked.extend(some.tolist())
        return many[some]

    assert (largest_error((20, 20), measure) == many[asked].max(axis=0)).all()


def alexnet_like(height, width, seed):
    """Convolutions of stride 2 and 1 with poolings between, like AlexNet in small, and a softmax that is not sure."""
    image = keras.Input((height, width, 3))
    maps = kl.Conv2D(8, 7, strides=2, activation="relu", name="conv1")(image)
    maps = kl.MaxPooling2D(3, 2, name="pool1")(maps)
    maps = kl.Conv2D(12, 5, padding="same", activation="relu", name="conv2")(maps)
    maps = kl.Conv2D(8, 3, padding="same", activation="relu", name="conv3")(maps)
    vector = kl.Flatten()(kl.MaxPooling2D(3, 2, name="pool3")(maps))
    return fill(keras.Model(image, kl.Dense(4, "softmax", name="classes")(vector)), seed)


def strided(height, width, seed):
    """No pooling at all, and two paths that are added."""
    image = keras.Input((height, width, 3))
    maps = kl.Conv2D(6, 5, strides=2, padding="same", activation="relu", name="conv1")(image)
    both = kl.Add()([maps, kl.Conv2D(6, 5, padding="same", activation="relu", name="conv2")(maps)])
    maps = kl.Conv2D(6, 3, strides=2, activation="relu", name="conv3")(both)
    return fill(keras.Model(image, kl.Dense(3, "softmax", name="classes")(kl.Flatten()(maps))), seed)


@pytest.mark.slow
@pytest.mark.parametrize(("build", "side", "stride"), [(alexnet_like, (48, 90), 7), (strided, (40, 72), 5)])
def test_the_stated_error_reaches_the_promised_quantile_of_the_true_errors(build, side, stride):
    stated, quantiles, largest = [], [], []
    model = build(*side, 1)
    for picture in images(model, 2, seed=5):
        picture = picture / 3  # a softmax that is not sure
        how = {"target": 1, "layer": "conv3", "size": 12, "stride": stride, "fill": 0.5}
        plain = deconv.occlusion_maps(model, picture, exact="full", **how)
        assert plain.probability.size > 2 * POSITIONS and plain.error is None and plain.activation_error is None
        found = deconv.occlusion_maps(model, picture, growth=0.3, batch_size=64, **how)
        for error, true in (
            (found.error, np.abs(found.probability - plain.probability)),
            (found.activation_error, np.abs(found.activation - plain.activation)),
        ):
            stated.append(error)
            quantiles.append(np.quantile(true, QUANTILE))
            largest.append(true.max())
    stated, quantiles, largest = map(np.array, (stated, quantiles, largest))
    assert largest.min() > 1e-6 and (stated <= largest * (1 + 1e-4) + 1e-6).all()
    assert (stated >= quantiles * (1 - 1e-4)).all()
    assert np.median(stated / largest) > 0.8


@pytest.mark.slow
def test_neither_the_approximation_nor_its_stated_error_depends_on_the_batch_size():
    model = alexnet_like(64, 50, 2)
    picture = images(model, 1, seed=3)[0] / 3
    how = {"target": 0, "layer": "conv3", "size": 12, "stride": 5, "fill": 0.5, "growth": 0.3}
    one, some, all_ = (deconv.occlusion_maps(model, picture, batch_size=size, **how) for size in (1, 7, 300))
    plain = deconv.occlusion_maps(model, picture, exact="full", **{**how, "growth": None})
    assert one.error >= np.quantile(np.abs(one.probability - plain.probability), QUANTILE) > 1e-4
    for other in (some, all_):
        np.testing.assert_allclose(other.probability, one.probability, rtol=0, atol=1e-6)
        np.testing.assert_allclose(other.activation, one.activation, rtol=1e-5, atol=1e-4)
        assert other.error == pytest.approx(one.error, rel=1e-3)
        assert other.activation_error == pytest.approx(one.activation_error, rel=1e-3)


def test_where_everything_is_recomputed_all_the_same_the_stated_error_is_none():
    model = alexnet_like(40, 40, 2)

    def mixes(batch):
        return (batch - batch.mean(axis=(1, 2, 3), keepdims=True)).astype("float32")

    how = {"size": 12, "stride": 12, "preprocess": mixes}
    found = deconv.occlusion_maps(model, images(model, 1)[0], growth=0.3, **how)
    np.testing.assert_array_equal(
        found.probability, deconv.occlusion_maps(model, images(model, 1)[0], **how).probability
    )
    assert found.error == 0.0 and found.activation_error is None
