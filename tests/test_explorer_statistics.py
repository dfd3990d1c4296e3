"""Sketches and statistics of the explorer: equal to slow NumPy twins, and independent of order and batches."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deconv
from deconv.explorer.activation_sketch import bins_of, edges_of, empty_sketch, sketch_of
from deconv.explorer.channel_statistics import ChannelStatistics, empty_statistics, similarity_order
from deconv.explorer.survey import Survey, survey
from deconv.topk.state import TopK

RANDOM = np.random.default_rng(0)


def activations(count, channels=3, seed=0):
    """Maxima with zeros, negative values and many orders of magnitude."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(count, channels)) * 10.0 ** random.integers(-6, 6, (count, channels))
    values[random.random((count, channels)) < 0.3] = 0
    return values.astype(np.float32)


def state_of(values, ids, labels, size):
    """Statistics after batches of a size."""
    state = empty_statistics(values.shape[1])
    positions = np.abs(values).astype(np.int64) % 7
    for first in range(0, len(values), size):
        part = slice(first, first + size)
        state = state.update(values[part], positions[part], values[part] / 2, values[part] > 0, ids[part], labels[part])
    return state


def assert_same(one, other):
    for name, value in one._asdict().items():
        if name == "sketch":
            for part, same in zip(value, other.sketch, strict=True):
                np.testing.assert_array_equal(part, same)
        elif np.asarray(value).dtype.kind == "f":
            scale = np.abs(value[np.isfinite(value)]).max(initial=1)
            np.testing.assert_allclose(value, getattr(other, name), rtol=1e-9, atol=1e-9 * scale)
        else:
            np.testing.assert_array_equal(value, getattr(other, name))


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
@settings(deadline=None)
def test_every_value_is_between_the_edges_of_its_bin_and_bins_are_in_the_order_of_values(values):
    values = np.sort(np.array(values))
    bins = bins_of(values)
    low, high = edges_of(bins)
    assert (np.diff(bins) >= 0).all()
    normal = np.abs(values) >= np.finfo(np.float64).tiny
    positive, negative = normal & (values > 0), normal & (values < 0)
    assert ((low <= values) & (values < high))[positive].all()
    assert ((low < values) & (values <= high))[negative].all()
    assert (bins[values == 0] == 0).all()


def test_edges_of_neighbouring_bins_touch_and_differ_by_a_sixteenth_of_an_octave():
    bins = bins_of(np.geomspace(1e-30, 1e30, 500))
    low, high = edges_of(bins)
    np.testing.assert_array_equal(high, edges_of(bins + 1)[0])
    np.testing.assert_allclose(high / low, 2 ** (1 / 16))


def test_counts_above_an_edge_are_exact_and_quantiles_are_in_their_bin():
    values = activations(500, 2)
    sketch = sketch_of(values, np.zeros(values.shape, int), np.arange(500), np.zeros(500, int))
    for channel in range(2):
        own, numbers = sketch.channel(channel), np.sort(values[:, channel].astype(np.float64))
        low, high = edges_of(own.bins)
        for row in np.flatnonzero(own.bins > 0):
            assert own.counts[row:].sum() == (numbers >= low[row]).sum()
        for quantile in (0, 0.05, 0.31, 0.5, 0.95, 1):
            (row,) = own.quantile_rows([quantile])
            exact = numbers[max(1, int(np.ceil(quantile * 500))) - 1]
            assert low[row] <= exact <= high[row]
            middle = np.sqrt(low[row] * high[row]) if low[row] > 0 else 0
            if low[row] > 0:
                assert abs(middle / exact - 1) <= 0.0220  # the error that the docstring states


def test_the_example_of_a_bin_is_an_image_of_that_bin():
    values = activations(200)
    sketch = sketch_of(values, np.zeros(values.shape, int), np.arange(200) + 7, np.arange(200))
    np.testing.assert_array_equal(sketch.values, values[sketch.ids - 7, sketch.channels])
    np.testing.assert_array_equal(sketch.labels, sketch.ids - 7)
    assert len(empty_sketch().quantile_rows([0.5])) == 0


@pytest.mark.parametrize("size", (1, 7, 64, 300))
def test_statistics_do_not_depend_on_batches_or_order(size):
    values, ids, labels = activations(300), np.arange(300), RANDOM.integers(-1, 4, 300)
    whole = state_of(values, ids, labels, 300)
    assert_same(state_of(values, ids, labels, size), whole)
    order = RANDOM.permutation(300)
    assert_same(state_of(values[order], ids[order], labels[order], size), whole)


def test_merging_is_a_single_pass_in_any_order_and_nothing_changes_nothing():
    values, ids, labels = activations(90), np.arange(90), RANDOM.integers(-1, 4, 90)
    parts = [
        state_of(values[part], ids[part], labels[part], 8) for part in (slice(0, 20), slice(20, 21), slice(21, 90))
    ]
    whole = state_of(values, ids, labels, 90)
    one, two, three = parts
    assert_same(one.merge(two).merge(three), whole)
    assert_same(three.merge(two.merge(one)), whole)
    assert_same(one.merge(empty_statistics(3)), one)
    assert_same(empty_statistics(3).merge(one), one)
    with pytest.raises(ValueError, match="Statistics of 3 and of 4 channels cannot be merged"):
        one.merge(empty_statistics(4))


def test_the_measures_are_those_of_a_slow_twin():
    values, labels = activations(80, 4).astype(np.float64), RANDOM.integers(0, 3, 80)
    values[:, 3] = -1  # never active
    state = state_of(values, np.arange(80), labels, 9)
    rectified = np.maximum(values, 0)
    for channel in range(4):
        own = rectified[:, channel]
        assert state.inactive[channel] == np.mean(values[:, channel] <= 0)
        assert state.highest[channel] == values[:, channel].max()
        energy = np.mean(own**2)
        sparsity = (1 - own.mean() ** 2 / energy) / (1 - 1 / 80) if energy else 1
        np.testing.assert_allclose(state.sparsity[channel], sparsity)
        means = np.array([own[labels == label].mean() for label in range(3)])
        largest = means.max()
        others = np.delete(means, means.argmax()).mean()
        index, preferred = (part[channel] for part in state.selectivity)
        np.testing.assert_allclose(index, (largest - others) / (largest + others) if largest else 0)
        assert preferred == (means.argmax() if largest else -1)
    np.testing.assert_allclose(state.correlations()[:3, :3], np.corrcoef(values[:, :3].T), atol=1e-6)
    assert not state.correlations()[3].any()


@pytest.mark.parametrize("value", (0.0, 2.0, -1.0))
def test_one_image_has_no_measure_that_is_nan(value):
    state = empty_statistics(1).update(*np.full((4, 1, 1), value), np.array([5]), np.array([-1]))
    measures = state.inactive, state.sparsity, state.selectivity[0], state.correlations()
    assert all(np.isfinite(measure).all() for measure in measures)


def test_similar_channels_are_side_by_side():
    correlations = np.eye(4)
    correlations[0, 2] = correlations[2, 0] = correlations[1, 3] = correlations[3, 1] = 0.9
    order = similarity_order(correlations, 0).tolist()
    assert order in ([0, 2, 1, 3], [0, 2, 3, 1])


def small_model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(3, 3, activation="relu", name="first"),
            keras.layers.Conv2D(2, 3, name="second"),
        ]
    )


def small_images(count=11):
    return np.random.default_rng(1).normal(size=(count, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return small_model()


def test_a_survey_finds_the_strongest_units_of_a_scan_and_the_statistics_of_the_maps(model):
    images, labels = small_images(), np.arange(11) % 3
    found = survey(model, (images, labels), ["first", "second"], 4, batch_size=4)
    tops = deconv.top_activations(model, (images, labels), ["first", "second"], 4, batch_size=4)
    maps = deconv.activations(model, images, ["first", "second"])
    for layer, own in found.top.tops(model).items():
        for part, expected in zip(own, tops[layer], strict=True):
            np.testing.assert_array_equal(part, expected)
        cells = maps[layer].reshape(11, -1, maps[layer].shape[-1])
        state = found.statistics[layer]
        np.testing.assert_allclose(state.highest, cells.max(axis=(0, 1)), rtol=1e-5)
        np.testing.assert_allclose(state.centre, cells.max(axis=1).mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(state.means, cells.mean(axis=1).sum(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state.covered, (cells > 0).mean(axis=1).sum(axis=0), rtol=1e-5)
        places = state.sketch.ids, state.sketch.positions, state.sketch.channels
        np.testing.assert_allclose(cells[places], state.sketch.values, rtol=1e-5, atol=1e-6)
    by_hand = Survey(TopK.of(model, ["first", "second"], 4))
    for part in (slice(0, 6), slice(6, 11)):
        by_hand.update({layer: one[part] for layer, one in maps.items()}, np.arange(11)[part], labels[part])
    np.testing.assert_allclose(by_hand.statistics["first"].scatter, found.statistics["first"].scatter, rtol=1e-4)
    assert by_hand.images == 11


class Interrupted(Exception):
    pass


def test_an_interrupted_survey_goes_on_and_counts_every_image_once(model, tmp_path):
    images = small_images(12)

    def broken(batch, state={"calls": 0}):  # noqa: B006
        state["calls"] += 1
        if state["calls"] == 3:
            raise Interrupted
        return batch

    whole = survey(model, images, "first", 3, batch_size=3)
    with pytest.raises(Interrupted):
        survey(model, images, "first", 3, batch_size=3, preprocess=broken, folder=tmp_path)
    assert Survey.load(tmp_path).images == 6
    rest = survey(model, images, "first", 3, batch_size=3, preprocess=broken, folder=tmp_path)
    assert_same(rest.statistics["first"], whole.statistics["first"])
    again = survey(model, images, "first", 3, batch_size=3, preprocess=broken, folder=tmp_path)
    assert again.images == 12 and again.top.complete
    assert_same(again.statistics["first"], whole.statistics["first"])


def test_damaged_or_foreign_statistics_are_refused(model, tmp_path):
    survey(model, small_images(), "first", 3, folder=tmp_path)
    file = tmp_path / "statistics.npz"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"statistics\.npz' holds no state that can be read"):
        Survey.load(tmp_path)
    file.write_bytes(content)
    with pytest.raises(ValueError, match="does not fit; it differs in k"):
        survey(model, small_images(), "first", 4, folder=tmp_path)


def test_arrays_that_are_missing_or_of_another_shape_are_named():
    arrays = state_of(activations(5), np.arange(5), np.zeros(5, int), 5).to_arrays()
    assert_same(ChannelStatistics.from_arrays(arrays, 3), state_of(activations(5), np.arange(5), np.zeros(5, int), 5))
    for name, wrong in {
        "active": np.zeros(4, np.int64),
        "sketch.bins": np.zeros(3),
        "scatter": np.zeros((2, 2)),
    }.items():
        with pytest.raises(ValueError, match=name):
            ChannelStatistics.from_arrays(arrays | {name: wrong}, 3)
    with pytest.raises(ValueError, match="has not counted every channel of every image once"):
        ChannelStatistics.from_arrays(arrays | {"images": np.asarray(6)}, 3)


def test_an_empty_data_set_is_an_error(model):
    with pytest.raises(ValueError, match="needs a data set of at least one image"):
        survey(model, small_images(0), "first")
