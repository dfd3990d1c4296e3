"""Controls: similarity against slow twins, and networks in which unit and switches are told apart by hand."""

import keras
import matplotlib
import numpy as np
import pytest
from keras import layers as kl
from reference import cells_of
from specimens import LAYERS, SPECIMENS, fill, images

matplotlib.use("Agg")

import deconv
from deconv import graph
from deconv.attribution import gradient, guided_backprop
from deconv.evaluation.cascading_randomization import cascade, copy_of, shuffle, with_weights
from deconv.evaluation.switch_controls import controls
from deconv.evaluation.switch_exchange import noise_switches
from deconv.imaging.gaussian_blur import blurred
from deconv.imaging.similarity import coarse, edges, pearson, similarity, spearman, ssim
from deconv.plotting.controls import MEASURES, cascade_chart, controls_chart


def pair(n=3, height=11, width=9, channels=3, seed=0):
    """Two batches that are somewhat alike, with equal values among them, and pixels that count."""
    random = np.random.default_rng(seed)
    first = random.normal(size=(n, height, width, channels)).round(1)
    return first, (first + random.normal(size=first.shape)).round(1), random.random((n, height, width)) < 0.6


def slow_ranks(values):
    return np.array([(values < value).sum() + ((values == value).sum() - 1) / 2 for value in values])


def slow_ssim(first, second, inside):
    """Structural similarity pixel by pixel, from the windows themselves."""
    height, width, channels = first.shape
    first, second = first / np.abs(first).max(), second / np.abs(second).max()
    found = []
    for row, column in zip(*np.nonzero(inside), strict=True):
        for channel in range(channels):
            windows = np.zeros((2, 7, 7))
            for down, right in np.ndindex(7, 7):
                y, x = row + down - 3, column + right - 3
                if 0 <= y < height and 0 <= x < width:
                    windows[:, down, right] = first[y, x, channel], second[y, x, channel]
            a, b = windows
            covariance = ((a - a.mean()) * (b - b.mean())).mean()
            one = (2 * a.mean() * b.mean() + 0.0004) * (2 * covariance + 0.0036)
            found.append(one / ((a.mean() ** 2 + b.mean() ** 2 + 0.0004) * (a.var() + b.var() + 0.0036)))
    return np.mean(found)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_measures_are_those_of_slow_twins(channels):
    first, second, inside = pair(channels=channels)
    for mask in (None, inside):
        which = np.ones_like(inside) if mask is None else mask
        found = similarity(first, second, mask)
        for number in range(3):
            a, b = (side[number][which[number]].ravel() for side in (first, second))
            ranks = slow_ranks(np.abs(a)), slow_ranks(np.abs(b))
            assert found["pearson"][number] == pytest.approx(np.corrcoef(a, b)[0, 1], rel=1e-10)
            far = [blurred(side[number], 0.3)[which[number]].ravel() for side in (first, second)]
            assert found["coarse"][number] == pytest.approx(np.corrcoef(*far)[0, 1], rel=1e-10)
            assert found["spearman"][number] == pytest.approx(np.corrcoef(*ranks)[0, 1], rel=1e-10)
            assert found["ssim"][number] == pytest.approx(
                slow_ssim(first[number], second[number], which[number]), rel=1e-9
            )


def test_a_picture_is_like_itself_at_any_contrast_and_its_negative_is_the_opposite():
    first, _, inside = pair()
    for measure in (pearson, coarse, spearman, ssim):
        np.testing.assert_allclose(measure(first, 5 * first, inside), 1, rtol=1e-12)
    np.testing.assert_allclose(pearson(first, -first), -1, rtol=1e-12)
    np.testing.assert_allclose(spearman(np.abs(first), np.abs(-first)), 1, rtol=1e-12)
    assert (ssim(first, -first) < 0.5).all()


def test_an_empty_picture_is_like_nothing():
    first, second, _ = pair()
    second[1] = 0
    first[2] = np.nan
    for values in similarity(first, second).values():
        assert np.isnan(values).tolist() == [False, True, True]
    assert np.isnan(pearson(np.full((1, 3, 3, 1), 0.1), second[:1, :3, :3, :1])).all()  # whose mean is not quite 0.1


def test_correlations_by_hand():
    # 1 2 3 4 against 2 1 4 3: products of deviations .75 .75 .75 .75 = 3 over 5. Ranks are the same numbers; cubed,
    # values change and ranks do not.
    one, other = (np.reshape(values, (1, 2, 2, 1)).astype(float) for values in ([1, 2, 3, 4], [2, 1, 4, 3]))
    assert pearson(one, other)[0] == pytest.approx(0.6) and spearman(one, other**3)[0] == pytest.approx(0.6)
    assert pearson(one, other**3)[0] != pytest.approx(0.6, abs=0.01)


def test_the_edges_of_a_ramp_are_its_slope_and_the_steepest_channel_counts():
    rows, columns = np.mgrid[:6, :8].astype(float)
    image = np.stack([3 * rows + 4 * columns, np.zeros((6, 8)), 2 * columns], axis=-1)[None]
    found = edges(image)[0, ..., 0]
    np.testing.assert_allclose(found[1:-1, 1:-1], 5, rtol=1e-12)
    np.testing.assert_allclose(found[0, 1:-1], np.hypot(4, 1.5), rtol=1e-12)  # its border goes on as it is
    step = np.zeros((1, 5, 6, 1))
    step[:, :, 3:] = 8
    assert edges(step)[0, 2, :, 0].tolist() == [0, 0, 4, 4, 0, 0]


def two_channels():
    """A 4x4 image, twice the same map, pooled by 2, and passed on channel by channel."""
    image = keras.Input((4, 4, 1))
    maps = kl.Conv2D(2, 1, use_bias=False, name="copies")(image)
    maps = kl.MaxPooling2D(2, name="pool")(maps)
    model = keras.Model(image, kl.Conv2D(2, 1, use_bias=False, activation="relu", name="top")(maps))
    model.set_weights([np.ones((1, 1, 1, 2)), np.eye(2).reshape(1, 1, 2, 2)])
    return model


def test_where_the_switches_are_all_of_a_picture_the_controls_say_so():
    # A unit sees 2x2 pixels and projects to the largest; both channels have the same switches. Two pictures of one
    # pixel each, in different places of four, correlate with -1/3.
    pixels = np.zeros((2, 4, 4, 1), np.float32)
    pixels[0, 2, 0] = 5  # the strongest unit is at (1, 0); its pixel is the first of its window in one image
    pixels[1, 3, 1] = 6  # and the last in the other
    found = controls(two_channels(), pixels, "top", 0, randomise=False, seed=4)
    assert found.positions.tolist() == [[1, 0], [1, 0]] and found.windows.tolist() == [[2, 0, 4, 2]] * 2
    assert found.channels.tolist() == [0, 0] and found.others.tolist() == [1, 1]
    assert np.argwhere(found.picture).tolist() == [[0, 2, 0, 0], [1, 3, 1, 0]]
    np.testing.assert_array_equal(found.pictures["another channel"], found.picture)
    np.testing.assert_array_equal(found.pictures["another image's switches"], found.picture[::-1])
    like = {control: values["pearson"] for control, values in found.likeness.items()}
    np.testing.assert_allclose(like["another channel"], 1)
    np.testing.assert_allclose(like["another image's switches"], -1 / 3)
    np.testing.assert_allclose(like["both"], -1 / 3)
    np.testing.assert_allclose(like["guided backprop"], 1)
    for picture, values in zip(found.pictures["shuffled switches"], like["shuffled switches"], strict=True):
        assert (picture[2:, :2] != 0).sum() == 1 == (picture != 0).sum()
        assert values == pytest.approx(1) or values == pytest.approx(-1 / 3)
    shares = found.shares()
    np.testing.assert_allclose(shares["unit"], 0, atol=1e-12)
    np.testing.assert_allclose(shares["switches"], 4 / 3)
    np.testing.assert_allclose(shares["both kept"], 4 / 3)


@pytest.mark.parametrize("pool", [None, 1])
def test_without_a_choice_in_the_pools_switches_make_no_difference(pool):
    image = keras.Input((9, 8, 3))
    maps = kl.Conv2D(5, 3, activation="relu")(image)
    maps = maps if pool is None else kl.MaxPooling2D(pool)(maps)
    model = fill(keras.Model(image, kl.Conv2D(6, 3, activation="relu", name="top")(maps)), 0)
    found = controls(model, images(model, 4), "top", randomise=False)
    for control in ("shuffled switches", "another image's switches"):
        np.testing.assert_array_equal(found.pictures[control], found.picture)
        for values in found.likeness[control].values():
            np.testing.assert_allclose(values, 1, rtol=1e-12)
    np.testing.assert_array_equal(found.pictures["another channel"], found.pictures["both"])
    np.testing.assert_allclose(found.shares()["switches"], 0, atol=1e-12)
    assert (found.likeness["another channel"]["pearson"] < 0.999).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "overlapping", "lenet"])
def test_pictures_of_the_controls_are_what_each_is_said_to_be(name):
    model = SPECIMENS[name]()
    layer = {"alexnet": "conv2", "overlapping": "conv3", "lenet": "dense1"}[name]
    pixels = images(model, 4)
    before = model.get_weights()
    found = controls(model, pixels, layer, seed=3, randomise=False, batch_size=3)
    net = deconv.Deconvnet(model)
    maps = deconv.activations(model, pixels, [layer])[layer]
    maps = maps.reshape(4, *(1,) * (4 - maps.ndim), *maps.shape[1:])
    for number in range(4):
        row, column = found.positions[number]
        assert maps[number].max() == maps[number, row, column, found.channels[number]] > 0
        assert found.others[number] != found.channels[number] and maps[number, row, column, found.others[number]] > 0
    own = net.project_units(pixels, layer, found.channels, found.positions, start="one")
    other = net.project_units(pixels, layer, found.others, found.positions, start="one")
    np.testing.assert_allclose(found.picture, own, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.pictures["another channel"], other, rtol=1e-4, atol=1e-6)
    for control, method in (("guided backprop", guided_backprop), ("gradient", gradient)):
        expected = method(model, pixels, found.channels, layer)  # their strongest units, as these are
        np.testing.assert_allclose(found.pictures[control], expected, rtol=1e-4, atol=1e-6)
    for weights, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, kept)


@pytest.mark.slow
def test_controls_are_those_of_their_seed_whatever_the_batch():
    model = SPECIMENS["overlapping"]()
    pixels = images(model, 5)
    first, again, other = (
        controls(model, pixels, "conv2", seed=seed, batch_size=size, randomise=False).pictures
        for seed, size in ((3, 2), (3, 5), (8, 5))
    )
    for control, pictures in first.items():
        np.testing.assert_allclose(pictures, again[control], rtol=1e-4, atol=1e-6)
    for control in ("shuffled switches", "another image's switches", "another channel", "both"):
        assert np.abs(other[control] - first[control]).max() > 1e-3


def test_where_no_other_channel_is_active_there_is_no_such_control():
    model = two_channels()
    model.set_weights([np.array([1.0, -1]).reshape(1, 1, 1, 2), np.eye(2).reshape(1, 1, 2, 2)])
    pixels = np.ones((2, 4, 4, 1), np.float32)  # the second channel sees the negative of a positive image
    pixels[1, :2] = -1  # and in the other image it is active, but elsewhere
    found = controls(model, pixels, "top", 0, randomise=False)
    assert found.others.tolist() == [-1, -1]
    for control, there in (("another channel", [0, 0]), ("both", [0, 0]), ("another unit", [0, 1])):
        known = ~np.isnan(found.pictures[control]).all(axis=(1, 2, 3))
        assert known.astype(int).tolist() == there
    assert found.table()["another channel"][2] == 0 and np.isnan(found.table()["both"][0])


@pytest.mark.parametrize(("name", "pool"), [("overlapping", "pool1"), ("same", "pool1"), ("alexnet", "pool2")])
def test_switches_of_noise_point_at_any_cell_of_their_window_and_at_no_other(name, pool):
    model = SPECIMENS[name]()
    model_graph = graph.walk(model)
    step = graph.find(model_graph, pool)
    (found,) = noise_switches([step], np.arange(60), 0)
    size, strides, padding = step.layer.pool_size, step.layer.strides, step.layer.padding
    places = np.arange(np.prod(step.inputs[0].shape[:2])).reshape(step.inputs[0].shape[:2])
    for row, column, rows, columns in cells_of(step.inputs[0].shape, size, strides, padding):
        assert set(np.unique(found[:, row, column])) == set(places[rows, columns].ravel())
    alone = noise_switches([step], np.array([7]), 0)[0]
    np.testing.assert_array_equal(alone[0], found[7])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "branching"])
def test_a_cascade_is_that_of_a_twin_that_is_shuffled_by_hand(name):
    model, layer = SPECIMENS[name](), LAYERS[name]
    pixels = images(model, 3)
    shape = graph.find(graph.walk(model), layer).output.shape
    channels, positions = np.array([0, 2, 1]), np.array([[0, 0], [1, 2], [2, 1]]) if len(shape) == 3 else None
    before = model.get_weights()
    found = cascade(model, pixels, layer, channels, positions, seed=5)
    for weights, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, kept)

    copy, random = copy_of(model), np.random.default_rng(5)
    model_graph = graph.walk(copy)
    below = with_weights(graph.subgraph(model_graph, graph.find(model_graph, layer)))
    assert found.layers == tuple(part for part, _ in below)
    assert found.layers[0] == layer

    project = deconv.Deconvnet(copy, windowed=False).project_units
    unit = {} if positions is None else {"unit": positions}

    def paint():
        return {
            "deconvnet": project(pixels, layer, channels, positions, start="one"),
            "gradient": gradient(copy, pixels, channels, layer, **unit),
            "guided_backprop": guided_backprop(copy, pixels, channels, layer, **unit),
        }

    places = np.zeros((3, 2), int) if positions is None else positions
    inside = np.zeros(pixels.shape[:3], bool)
    for mask, (top, left, bottom, right) in zip(inside, deconv.receptive_windows(model, layer, places), strict=True):
        mask[top:bottom, left:right] = True
    first = paint()
    for step in range(len(below) + 1):
        pictures = paint() if step in (0, 1, len(below)) else None
        for method in first if pictures else ():
            for measure, expected in similarity(first[method], pictures[method], inside).items():
                np.testing.assert_allclose(found.likeness[method][measure][:, step], expected, rtol=1e-3, atol=2e-3)
        if step < len(below):
            shuffle(below[step][1], random)
    for values in found.likeness["deconvnet"].values():
        np.testing.assert_allclose(values[:, 0], 1, rtol=1e-9)
        assert (values[:, -1] < 0.99).all()


def test_shuffling_keeps_the_numbers_and_moves_them():
    model = SPECIMENS["padded"]()
    before = model.get_weights()
    shuffle(model.weights, np.random.default_rng(0))
    for weights, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(np.sort(weights.ravel()), np.sort(old.ravel()))
        assert weights.size < 3 or (weights != old).any()


def test_where_shuffling_changes_no_weight_every_picture_stays():
    image = keras.Input((12, 10, 1))
    settings = {"kernel_initializer": keras.initializers.Constant(0.1), "activation": "relu"}
    maps = kl.MaxPooling2D(2)(kl.Conv2D(3, 3, **settings)(image))
    model = keras.Model(image, kl.Conv2D(4, 3, name="top", **settings)(maps))
    found = cascade(model, np.abs(images(model, 2)), "top", 1, np.array([[0, 1], [2, 0]]))
    assert found.layers[0] == "top" and len(found.layers) == 2
    for measures in found.likeness.values():
        for values in measures.values():
            np.testing.assert_allclose(values, np.ones((2, 3)), rtol=1e-9)


def test_a_layer_with_one_channel_has_no_other_to_compare_with():
    image = keras.Input((6, 5, 1))
    model = keras.Model(image, kl.Conv2D(1, 3, name="only")(image))
    with pytest.raises(ValueError, match="'only' has 1 channel"):
        controls(model, images(model, 2), "only")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": np.zeros((1, 4, 4, 1), np.float32)}, "at least 2 images"),
        ({"layer": "conv9"}, "has no layer 'conv9'"),
        ({"channels": 2}, "has channels 0 to 1"),
        ({"seed": -1}, "seed must be"),
        ({"batch_size": 0}, "batch_size must be"),
    ],
)
def test_what_does_not_fit_the_controls_is_refused_with_the_reason(changed, message):
    given = {"images": np.zeros((2, 4, 4, 1), np.float32), "layer": "top", **changed}
    with pytest.raises(ValueError, match=message):
        controls(two_channels(), **given)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"methods": ["lime"]}, "methods must be one or more of deconvnet, gradient, guided_backprop"),
        ({"layer": "pool", "methods": ()}, "methods must be"),
        ({"positions": np.array([[0, 2]] * 2)}, "rows 0 to 1 and columns 0 to 1"),
    ],
)
def test_what_does_not_fit_a_cascade_is_refused_with_the_reason(changed, message):
    given = {"layer": "top", "channels": 0, "positions": np.zeros((2, 2), int), **changed}
    with pytest.raises(ValueError, match=message):
        cascade(two_channels(), np.zeros((2, 4, 4, 1), np.float32), **given)


@pytest.mark.slow
def test_the_charts_show_the_numbers_of_the_tables():
    model = SPECIMENS["overlapping"]()
    found = controls(model, images(model, 3), "conv3")
    fig = controls_chart(found, "title")
    for ax, measure in zip(fig.axes, MEASURES, strict=True):
        expected = [row[0] for row in found.table(measure).values()]
        assert [bar.get_width() for bar in ax.patches] == pytest.approx(expected)
    fig = cascade_chart(found.cascade, "title")
    for ax, measure in zip(fig.axes, MEASURES, strict=True):
        drawn = {line.get_label(): line for line in ax.containers}
        for method, (mean, _) in found.cascade.table(measure).items():
            np.testing.assert_allclose(drawn[method.replace("_", " ")].lines[0].get_ydata(), mean)
