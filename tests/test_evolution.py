"""Features over the epochs: networks whose weights are set by hand, so that the epoch of every change is known."""

import json
import random

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import reference
import tensorflow as tf
from keras import layers as kl
from matplotlib.patches import Rectangle
from specimens import SPECIMENS, images

matplotlib.use("Agg")

import deconv
from deconv import datasets
from deconv.evolution.callback import FeatureEvolution
from deconv.evolution.convergence import Evolution, Settling, cosine, crossing, settling
from deconv.figures import Subject
from deconv.figures.fig4 import evolution_pictures, findings, jump_drop
from deconv.plotting.evolution import JUMP, evolution_sheet, settling_chart

RED, GREEN = 0, 1
TURNING = {1: (2, 1, 0), 2: (2, 1.5, 0), 5: (1, 3, 0)}
"""Weights of a filter of one pixel, by epoch: at first it looks for red, at last for green."""


def coloured_dots():
    """Two pictures of 5x4, black but for one pixel: a red one of 5 in row 1, column 2; a green one of 5 at (3, 0)."""
    pictures = np.zeros((2, 5, 4, 3), np.float32)
    pictures[0, 1, 2, RED] = pictures[1, 3, 0, GREEN] = 5
    return pictures


def one_pixel_filters(channels=1):
    image = keras.Input((5, 4, 3))
    maps = kl.Conv2D(channels, 1, activation="relu", use_bias=False, name="conv")(image)
    return keras.Model(image, maps, name="turning")


def turn(model, *filters):
    model.set_weights([np.transpose(np.array(filters, np.float32))[None, None]])


def turned(**options):
    """The evolution of that filter, fed by hand; ids are 7 and 9."""
    evolution = FeatureEvolution((coloured_dots(), [0, 0], [7, 9]), batch_size=1, **options)
    model = one_pixel_filters()
    for epoch, weights in TURNING.items():
        turn(model, weights)
        evolution.feed(model, epoch)
    return evolution


def made_up(pictures, ids, values=None, filters=None, layer="conv", epochs=None):
    """An `Evolution` of pictures `(c, e, height, width, 1)`."""
    ids = np.array(ids)
    count, length = ids.shape
    epochs = np.arange(1, length + 1) if epochs is None else np.array(epochs)
    values = np.ones(ids.shape) if values is None else np.array(values, float)
    places = np.zeros((count, length, 2), int)
    pictures = np.array(pictures, np.float32)
    return Evolution(
        layer, epochs, np.arange(count), pictures, values, ids, places, np.concatenate([places] * 2, -1), filters
    )


def trainable(seed=0):
    """Everything that training moves: weights, batch statistics, a random generator for dropout."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((9, 7, 2))
    maps = kl.BatchNormalization(name="norm")(kl.Conv2D(4, 3, name="conv1")(image))
    maps = kl.MaxPooling2D(2, name="pool1")(kl.ReLU(name="relu1")(maps))
    maps = kl.Dropout(0.4, name="drop")(kl.Conv2D(3, 2, activation="relu", name="conv2")(maps))
    model = keras.Model(image, kl.Dense(3, "softmax", name="out")(kl.Flatten(name="flat")(maps)))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model


def examples(count=24):
    noise = np.random.default_rng(5).standard_normal((count, 9, 7, 2)).astype(np.float32)
    return noise, np.arange(count) % 3


def test_the_jump_is_exactly_at_the_epoch_at_which_another_image_begins_to_win():
    found = turned().evolutions["conv"]
    # Epoch 1: 2*5 red against 1*5 green. Epoch 2: 10 against 7.5. Epoch 5: 5 against 15.
    assert found.epochs.tolist() == [1, 2, 5] and found.channels.tolist() == [0]
    assert found.values.tolist() == [[10, 10, 15]] and found.ids.tolist() == [[7, 7, 9]]
    assert found.positions.tolist() == [[[1, 2], [1, 2], [3, 0]]]
    assert found.windows.tolist() == [[[1, 2, 2, 3], [1, 2, 2, 3], [3, 0, 4, 1]]]
    assert found.jumps.tolist() == [[False, False, True]]
    # Every projection is the activation times the filter, cut to the one pixel that it sees.
    expected = [10 * np.array(TURNING[1]), 10 * np.array(TURNING[2]), 15 * np.array(TURNING[5])]
    np.testing.assert_allclose(found.projections.reshape(3, 3), expected, rtol=1e-6)
    np.testing.assert_allclose(found.filters[0], list(TURNING.values()))
    # (2, 1)(2, 1.5) = 5.5, (2, 1.5)(1, 3) = 6.5, (2, 1)(1, 3) = 5; norms: root 5, 2.5, root 10.
    assert np.isnan(found.similarity[0, 0])
    after = [5.5 / (np.sqrt(5) * 2.5), 6.5 / (2.5 * np.sqrt(10))]
    np.testing.assert_allclose(found.similarity[0, 1:], after, rtol=1e-6)
    np.testing.assert_allclose(found.similarity_to_last, [[np.sqrt(0.5), after[1], 1]], rtol=1e-6)


def test_a_silent_channel_has_a_blank_picture_and_never_jumps():
    evolution, model = FeatureEvolution(coloured_dots(), channels=[0, 1]), one_pixel_filters(3)
    for epoch, (first, second) in enumerate(
        [((1, 0, 0), (-1, -1, 0)), ((0, 1, 0), (0, 1, 0)), ((0, 1, 0), (-1, 0, 0))]
    ):
        turn(model, first, second, (0, 0, 0))
        evolution.feed(model, epoch + 1)
    found = evolution.evolutions["conv"]
    assert found.silent.tolist() == [[False] * 3, [True, False, True]]
    assert found.ids[1].tolist() == [0, 1, 0] and found.jumps.tolist() == [[False, True, False], [False] * 3]
    assert not found.projections[1, [0, 2]].any() and found.projections[1, 1].any()
    assert np.isnan(found.similarity[1]).all()
    settled = settling(found)
    assert settled.channels == 1 and settled.winners.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("name", "layer", "cells", "strides", "before"),
    [
        ("overlapping", "conv2", 9, 2, 0),  # 3 cells; pool of 3: 5, from then on every 2; 3x3: 5 + 2*2
        ("overlapping", "conv3", 21, 4, 4),  # pool of 3: 9 + 2*2, every 4; 3x3 with a border of 1: 13 + 2*4, 4 before
        ("lenet", "dense1", None, None, None),  # sees everything
    ],
)
def test_winners_and_their_pictures_are_those_of_the_slow_twin(name, layer, cells, strides, before):
    model = SPECIMENS[name]("float64")
    pixels, ids = images(model, 7), np.array([50, 41, 32, 23, 14, 5, 60])
    evolution = FeatureEvolution((pixels, ids * 0, ids), layer, 3, batch_size=2)
    evolution.feed(model, 3)
    found = evolution.evolutions[layer]
    maps = reference.forward(model, pixels)[layer]
    for place, channel in enumerate(found.channels):
        best = max(maps[number, ..., channel].max() for number in range(7))
        number = next(number for number in np.argsort(ids) if maps[number, ..., channel].max() == best)
        place_in_map = np.unravel_index(maps[number, ..., channel].argmax(), maps.shape[1:-1])
        position = place_in_map or (0, 0)
        assert (found.ids[place, 0], found.positions[place, 0].tolist()) == (ids[number], [*map(int, position)])
        np.testing.assert_allclose(found.values[place, 0], best, rtol=1e-5)
        signal = np.zeros_like(maps[number : number + 1])
        signal[(0, *place_in_map, channel)] = best
        whole = reference.project(model, pixels[number : number + 1], layer, signal)[0]
        window = [0, 0, *whole.shape[:2]]
        if cells is not None:
            top, left = np.array(position) * strides - before
            window = [top, left, top + cells, left + cells]
        assert found.windows[place, 0].tolist() == window
        border = np.pad(whole, ((25, 25), (25, 25), (0, 0)))
        expected = border[window[0] + 25 : window[2] + 25, window[1] + 25 : window[3] + 25]
        np.testing.assert_allclose(found.projections[place, 0], expected, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_it_finds_what_a_scan_for_the_strongest_finds_in_any_kind_of_data_set():
    model = SPECIMENS["overlapping"]()
    pixels, ids = images(model, 11), np.arange(11) * 3 + 1
    pixels[7] = pixels[2]  # equal activations are the lower id's
    layers = {"conv1": [5, 0], "conv3": [1, 2]}
    expected = deconv.top_activations(model, (pixels, ids, ids), list(layers), 1)
    stream = tf.data.Dataset.from_tensor_slices((pixels, ids, ids))
    for data in ((pixels, ids, ids), stream, stream.shuffle(11, seed=1).batch(4)):
        evolution = FeatureEvolution(data, list(layers), layers, batch_size=3)
        evolution.feed(model, 1)
        evolution.feed(model, 2)
        for layer, found in evolution.evolutions.items():
            tops = expected[layer]
            for name in ("values", "ids", "positions"):
                both = getattr(found, name), getattr(tops, name)[layers[layer]]
                np.testing.assert_allclose(both[0], np.repeat(both[1], 2, axis=1), rtol=1e-5)


@pytest.mark.slow
def test_channels_are_drawn_by_the_seed_and_named_ones_kept():
    model, pixels = SPECIMENS["lenet"](), images(SPECIMENS["lenet"](), 2)

    def drawn(**options):
        evolution = FeatureEvolution(pixels, **options)
        evolution.feed(model, 1)
        return {layer: found.channels.tolist() for layer, found in evolution.evolutions.items()}

    one, other = drawn(), drawn(seed=1)
    assert one == drawn() != other and list(one) == ["conv1", "conv2"]
    assert one["conv1"] == [*range(6)] and len(set(one["conv2"])) == 6 and one["conv2"] == sorted(one["conv2"])
    assert drawn(channels={"conv1": [4, 2], "conv2": 1}, layers=[1, 3])["conv1"] == [4, 2]
    assert drawn(channels=[-1], layers="dense1") == {"dense1": [119]}


def test_pictures_are_in_the_colours_of_the_images_where_the_preprocessing_has_a_transpose():
    pictures = np.clip(coloured_dots() * 50, 0, 255).astype(np.uint8)
    model = one_pixel_filters()
    turn(model, (0.5, 2, 0))

    def seen(preprocess):
        evolution = FeatureEvolution(pictures, preprocess=preprocess)
        evolution.feed(model, 1)
        return evolution.evolutions["conv"].projections.ravel()

    # Green of 250 wins, in a network that takes blue first too: 250 * 2 = 500, sent down as (250, 1000, 0).
    np.testing.assert_allclose(seen(lambda raw: raw[..., ::-1] / np.float32(1)), [0, 1000, 250])
    np.testing.assert_allclose(
        seen(lambda raw: np.sqrt(raw.astype(np.float32))), np.sqrt(250) * 2 * np.array([0.5, 2, 0])
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_training_gives_the_same_weights_with_and_without_the_callback(seed, tmp_path):
    data, labels = examples()
    trained = []
    for callbacks in ([], [FeatureEvolution(data, epochs=(1, 2, 3), batch_size=7, folder=tmp_path)]):
        model = trainable(seed)
        history = model.fit(data, labels, 5, 3, verbose=0, callbacks=callbacks).history
        trained.append((model.get_weights(), [value.numpy() for value in model.optimizer.variables], history))
    for one, other in zip(*trained, strict=True):
        assert str(one) == str(other)
    for one, other in zip(trained[0][0] + trained[0][1], trained[1][0] + trained[1][1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_looking_draws_no_random_number_and_leaves_the_model_as_it_was():
    model, (data, _) = trainable(), examples()
    keras.utils.set_random_seed(3)
    before = random.getstate(), str(np.random.get_state()), [value.numpy().tolist() for value in model.variables]
    function = model.train_function
    evolution = FeatureEvolution(data, layers=["conv1", "norm", "conv2"])
    evolution.feed(model, 1)
    after = random.getstate(), str(np.random.get_state()), [value.numpy().tolist() for value in model.variables]
    assert before == after and model.train_function is function
    drawn = tf.random.uniform([3]).numpy().tolist()
    keras.utils.set_random_seed(3)
    assert drawn == tf.random.uniform([3]).numpy().tolist()


@pytest.mark.slow
def test_the_callback_sees_at_each_epoch_what_the_checkpoint_saved_then_holds(tmp_path):
    data, labels = examples()
    model, live = trainable(), FeatureEvolution(data, channels=2, epochs=[1, 3, 9])
    saved = keras.callbacks.ModelCheckpoint(tmp_path / "epoch_{epoch:03d}.keras")
    model.fit(data, labels, 8, 4, verbose=0, callbacks=[live, saved])
    files = {epoch: tmp_path / f"epoch_{epoch:03d}.keras" for epoch in (3, 1)}
    later = FeatureEvolution.from_checkpoints(files, data, channels=2)
    assert list(live.evolutions) == list(later.evolutions) == ["conv1", "conv2"]
    for layer, one in live.evolutions.items():
        other = later.evolutions[layer]
        assert one.epochs.tolist() == [1, 3]
        for name in Evolution._fields[1:]:
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-6)
        assert np.abs(one.filters[:, 0] - one.filters[:, 1]).max() > 1e-3  # it did train


class Counting(kl.Layer):
    """Does nothing, and counts how often it is called, that is traced."""

    mirrored_as = kl.Identity
    calls = 0

    def call(self, maps):
        Counting.calls += 1
        return maps


def test_a_model_is_traced_once_and_its_new_weights_are_seen_all_the_same():
    image = keras.Input((6, 5, 1))
    maps = kl.Conv2D(2, 3, activation="relu", use_bias=False, name="conv")(Counting(name="counting")(image))
    model, pixels = keras.Model(image, maps), np.random.default_rng(0).standard_normal((5, 6, 5, 1)).astype(np.float32)
    evolution = FeatureEvolution(pixels, batch_size=2)
    evolution.feed(model, 1)
    traces = Counting.calls
    for epoch in (2, 3):
        model.set_weights([weight * 2 for weight in model.get_weights()])
        evolution.feed(model, epoch)
    assert Counting.calls == traces > 0
    values = evolution.evolutions["conv"].values
    np.testing.assert_allclose(values, values[:, :1] * [[1, 2, 4]], rtol=1e-6)


def test_crossing_by_hand():
    assert crossing([1, 2, 4], [0.5, 0.7, 1], 0.85) == pytest.approx(2 * np.sqrt(2))  # half way from 2 to 4
    assert crossing([1, 2, 4], [0.95, 0.9, 1], 0.85) == 1
    assert crossing([1, 2, 4, 8], [1, 0.8, 1, 1], 0.9) == pytest.approx(2 * np.sqrt(2))  # it had fallen once more
    assert crossing([1, 3, 27], [0, 0.25, 1], 0.5) == pytest.approx(3 * 9 ** (1 / 3))
    assert np.isnan(crossing([1, 2], [1, np.nan], 0.5))


def test_a_layer_that_is_frozen_from_epoch_2_on_settles_at_2():
    pictures = np.zeros((2, 4, 1, 2, 1))
    pictures[..., 0] = 4
    pictures[0, 0, 0, 1] = 0  # the cosine of (4, 0) and (4, 4) is root 1/2
    found = made_up(pictures, [[1, 2, 2, 2], [3, 3, 3, 3]], epochs=[1, 2, 4, 9])
    settled = settling(found, level=1)
    assert settled.epoch == pytest.approx(2) and settled.winners.tolist() == [0.5, 1, 1, 1]
    np.testing.assert_allclose(settled.projections, [(np.sqrt(0.5) + 1) / 2, 1, 1, 1])
    assert settling(found, level=0.8).epoch == 1 and settled.filters is None
    share = (0.9 - settled.projections[0]) / (1 - settled.projections[0])
    assert settling(found).epoch == pytest.approx(2**share)


def test_the_scale_of_pictures_and_filters_does_not_matter_and_what_was_silent_before_counts_as_zero():
    pictures = np.ones((3, 3, 2, 2, 1)) * [[[[[1]]]], [[[[2]]]], [[[[5]]]]]
    pictures[1, 0] = 0
    filters = np.array([[[1, 0], [2, 2], [3, 3]], [[1, 1], [2, 2], [1, 1]], [[9, 9], [9, 9], [0, 9]]])
    found = made_up(pictures, np.ones((3, 3), int), [[1, 2, 3], [0, 1, 1], [4, 4, 0]], filters)
    settled = settling(found)  # the third is silent in the end
    np.testing.assert_allclose(settled.projections, [0.5, 1, 1])
    np.testing.assert_allclose(settled.filters, [(np.sqrt(0.5) + 1) / 2, 1, 1])
    assert settled.channels == 2 and settled.winners.tolist() == [0.5, 1, 1]
    silent = settling(found.part([2]))
    assert silent.channels == 0 and np.isnan(silent.epoch) and np.isnan(silent.projections).all()


def test_cosine_is_that_of_the_textbook():
    noise = np.random.default_rng(0).standard_normal((2, 3, 4, 5, 2))
    found = cosine(noise, noise[:, -1:])
    for channel, epoch in np.ndindex(2, 3):
        one, other = noise[channel, epoch].ravel(), noise[channel, -1].ravel()
        expected = (one @ other) / np.sqrt((one @ one) * (other @ other))
        assert found[channel, epoch] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("level", [0, -0.5, 1.2])
def test_a_level_that_is_no_cosine_is_refused(level):
    with pytest.raises(ValueError, match=f"level must be a cosine .* received {level}"):
        settling(turned().evolutions["conv"], level)


@pytest.mark.slow
def test_files_are_whole_and_grow_with_the_epochs(tmp_path):
    folder, as_batches = tmp_path / "new" / "evolution", plt.get_fignums()
    evolution = turned(folder=folder)
    assert [path.name for path in folder.iterdir()] == ["evolution_conv.png"]
    three = tf.io.decode_png((folder / "evolution_conv.png").read_bytes(), 3).numpy()
    orange = np.abs(three / 255 - JUMP).max(axis=-1) < 0.02
    assert orange.any()  # the frame of the jump, and its legend
    columns = np.flatnonzero(orange[: len(three) // 2].any(axis=0))
    assert columns.min() > three.shape[1] / 2  # only the last picture has one
    model = one_pixel_filters()
    turn(model, (1, 3, 0))
    for epoch in range(6, 12):
        evolution.feed(model, epoch)
    many = tf.io.decode_png((folder / "evolution_conv.png").read_bytes(), 3).numpy()
    assert many.shape[1] > three.shape[1] and plt.get_fignums() == as_batches  # its own are closed


def test_image_summaries_are_written_for_each_epoch_without_the_package_tensorboard(tmp_path):
    turned(tensorboard=tmp_path / "logs")
    (file,) = (tmp_path / "logs").iterdir()
    found = {}
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            assert (value.tag, value.metadata.plugin_data.plugin_name) == ("evolution/conv", "images")
            found[event.step] = tf.make_ndarray(value.tensor).tolist()
    assert list(found) == [1, 2, 5]
    for width, height, picture in found.values():
        assert tf.io.decode_png(picture).shape[:2] == (int(height), int(width))


def test_the_sheet_frames_jumps_and_no_others_and_names_epochs_and_channels():
    noise = np.random.default_rng(0).standard_normal((2, 4, 5, 3, 1))
    found = made_up(noise, [[1, 1, 2, 2], [5, 6, 6, 7]], [[1, 1, 1, 1], [0, 1, 1, 1]], epochs=[1, 2, 10, 40])
    figure = evolution_sheet(found)
    ax = figure.axes[0]
    assert len([patch for patch in ax.patches if isinstance(patch, Rectangle)]) == found.jumps.sum() == 2
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "10", "40"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0", "1"]
    assert "inactive: no image activates the channel" in [text.get_text() for text in figure.legends[0].get_texts()]
    frame = ax.patches[0]
    assert ax.get_xticks()[2] == pytest.approx(frame.get_x() + frame.get_width() / 2)
    assert ax.get_yticks()[0] == pytest.approx(frame.get_y() + frame.get_height() / 2)
    plt.close(figure)


def test_layers_without_filters_are_watched_and_charted_too():
    model = SPECIMENS["lenet"]()
    evolution = FeatureEvolution(images(model, 3), ["pool1", "dense2"], 2)
    evolution.feed(model, 1)
    evolution.feed(model, 4)
    found = evolution.evolutions
    assert found["pool1"].filters is None and found["dense2"].filters.shape == (2, 2, 120)
    assert found["pool1"].projections.shape == (2, 2, 6, 6, 1) and found["dense2"].windows[0, 0].tolist() == [
        0,
        0,
        28,
        28,
    ]
    figure = settling_chart({layer: settling(one) for layer, one in found.items()}, "both")
    lines = [[line.get_label() for line in ax.lines if len(line.get_xdata()) == 2] for ax in figure.axes]
    assert lines[1] == ["dense2"] and lines[2] == ["pool1", "dense2"]
    plt.close(figure)


def test_a_jump_costs_likeness_only_against_those_that_stay_at_the_same_epoch():
    # From 1 to 2 the first feature turns by 90 degrees and jumps, the second turns by none: 1 - 0. From 2 to 3 nobody
    # jumps. From 3 to 4 the second jumps and turns by 60 degrees, the first by none: 1 - 1/2.
    turn60 = [[0.5], [np.sqrt(0.75)]]
    pictures = [[[[1], [0]], [[0], [1]], [[0], [1]], [[0], [1]]], [[[1], [0]], [[1], [0]], [[1], [0]], turn60]]
    found = made_up(np.array(pictures)[..., None], [[1, 2, 2, 2], [3, 3, 3, 4]])
    assert jump_drop([found]) == (pytest.approx(0.75), 2)
    assert jump_drop([found.part([0])])[1] == 0 and jump_drop([])[1] == 0


def settled_at(epoch, epochs=(1, 10, 40)):
    known = np.ones(len(epochs))
    return Settling(np.array(epochs), known, known, known, 3, 0.9, epoch)


def test_the_claims_are_answered_by_when_the_first_and_the_last_layer_settle():
    def verdicts(*settled, **options):
        found = {f"conv{number}": settled_at(epoch, **options) for number, epoch in enumerate(settled)}
        return [finding.seen for finding in findings({}, found)]

    assert verdicts(2.5, 30, epochs=(1, 2, 5, 10, 20, 32, 40)) == [True, True, None]
    assert verdicts(2.5, 39, epochs=(1, 2, 5, 10, 20, 32, 40)) == [True, None, None]  # noise, too, is like itself
    early = verdicts(5.1, 22, epochs=(1, 10, 30, 40))
    assert early == [False, False, None]  # 40 / 70 of 40 are 22.9
    assert verdicts(2) == [True, None, None]
    assert verdicts(np.nan, np.nan) == [None, None, None]
    assert verdicts(10, 35, epochs=(10, 40)) == [None, None, None]


@pytest.fixture
def subject(tmp_path):
    """LeNet in small with two checkpoints: between them conv2 turns round, conv1 stays as it is."""
    model = SPECIMENS["lenet"]()
    folder = tmp_path / "runs" / "evolution" / "small"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "training.json").write_text(json.dumps({"results": {"accuracy": 0.5}}))
    final = model.get_weights()
    model.layers[3].set_weights([-model.layers[3].get_weights()[0], model.layers[3].get_weights()[1]])
    model.save(folder / "checkpoints" / "epoch_002.keras")
    model.set_weights(final)
    model.save(folder / "checkpoints" / "epoch_030.keras")
    model.save(folder / "small.keras")
    pictures = np.random.default_rng(2).integers(0, 256, (20, 28, 28, 1)).astype(np.uint8)
    listed = tf.data.Dataset.from_tensor_slices((pictures, np.zeros(20, np.int32), np.arange(20, dtype=np.int64)))
    noise = datasets.ImageSet("noise", "all", listed, ("0",), 20, (28, 28, 1), "noise of this test")
    yield Subject(
        SPECIMENS["lenet"](seed=1), "none", noise, lambda raw: raw / np.float32(255) - 0.5, runs=tmp_path / "runs"
    )
    plt.close("all")


@pytest.mark.slow
def test_the_figure_shows_each_convolution_and_says_when_it_settles(subject):
    pictures = {picture.name: picture for picture in evolution_pictures(subject)}
    assert list(pictures) == ["fig4_conv1", "fig4_conv2", "fig4_settling"]
    first, second, last = pictures.values()
    assert first.numbers["epochs"].tolist() == [2, 30] and not first.numbers["jumps"].any()
    np.testing.assert_allclose(first.numbers["similarity_to_last"], 1, rtol=1e-6)
    assert "has converged by epoch 2." in first.caption and "20 images of noise" in first.caption
    assert len(second.numbers["channels"]) == 16 and len(second.numbers["shown"]) == 6
    assert second.numbers["jumps"].any() and (second.numbers["similarity_to_last"][:, 0] < 0.9).all()
    frames = [patch for patch in second.figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert len(frames) == second.numbers["jumps"][second.numbers["shown"]].sum()
    assert last.numbers["conv1"]["epoch"] == 2 < last.numbers["conv2"]["epoch"] < 30
    assert [(finding.claim, finding.seen) for finding in last.findings][:2] == [
        ("fig4-low-first", True),
        ("fig4-high-late", None),  # between the last two checkpoints
    ]
    again = {picture.name: picture for picture in evolution_pictures(subject)}
    for name, picture in pictures.items():
        assert str(again[name].numbers) == str(picture.numbers)


def test_there_is_no_figure_without_checkpoints_of_this_network(subject, tmp_path):
    assert list(evolution_pictures(subject._replace(runs=None))) == []
    assert list(evolution_pictures(subject._replace(runs=tmp_path / "none"))) == []
    assert list(evolution_pictures(subject._replace(model=SPECIMENS["average"]()))) == []
    assert list(evolution_pictures(subject._replace(model=one_pixel_filters()))) == []
    (subject.runs / "evolution" / "small" / "checkpoints" / "epoch_002.keras").unlink()
    assert list(evolution_pictures(subject)) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": (0, 1)}, "epochs must be a whole number of at least 1; received 0"),
        ({"epochs": (1, 2.5)}, "received 2.5"),
        ({"epochs": ()}, "epochs must name at least one epoch"),
        ({"batch_size": 0}, "batch_size must be"),
    ],
)
def test_bad_arguments_are_refused_when_the_callback_is_made(options, message):
    with pytest.raises(ValueError, match=message):
        FeatureEvolution(coloured_dots(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "conv_1"}, "has no layer 'conv_1'. Did you mean 'conv1'"),
        ({"channels": [9], "layers": "conv1"}, "channels 0 to 3; received channel 9"),
        ({"channels": {"conv1": 2}}, "channels must name every layer; received .'conv1'., without 'conv2'"),
        ({"channels": 0}, "channels must be a whole number of at least 1"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_it_is_trained(options, message):
    data, labels = examples()
    model = trainable()
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.fit(data, labels, verbose=0, callbacks=[FeatureEvolution(data, **options)])
    assert all((one == other).all() for one, other in zip(before, model.get_weights(), strict=True))


def test_what_cannot_be_looked_at_is_refused_with_a_way_out(tmp_path):
    evolution, model = turned(), one_pixel_filters()
    with pytest.raises(ValueError, match=r"received epoch 5 after epoch 5.*initial_epoch"):
        evolution.feed(model, 5)
    with pytest.raises(ValueError, match="'other' differs from that at epoch 5"):
        evolution.feed(keras.Sequential([keras.Input((5, 4, 3)), kl.Conv2D(1, 2, name="conv")], name="other"), 6)
    (tmp_path / "epoch_001.keras").write_text("no model")
    with pytest.raises(ValueError, match=r"epoch_001\.keras' cannot be read as a saved model"):
        evolution.feed(tmp_path / "epoch_001.keras", 6)
    with pytest.raises(ValueError, match="data set must have at least one image"):
        FeatureEvolution(coloured_dots()[:0]).feed(model, 1)
    with pytest.raises(ValueError, match=r"images must have shape \(n, 5, 4, 3\)"):
        FeatureEvolution(np.zeros((2, 5, 5, 3), np.float32)).feed(model, 1)
    with pytest.raises(ValueError, match="has no convolution"):
        FeatureEvolution(coloured_dots()).feed(keras.Sequential([keras.Input((5, 4, 3)), kl.MaxPooling2D()]), 1)
    with pytest.raises(ValueError, match="cannot be created as a folder"):
        FeatureEvolution(coloured_dots(), folder=tmp_path / "epoch_001.keras")
    assert evolution.evolutions["conv"].epochs.tolist() == [1, 2, 5]


def test_nothing_is_told_before_anything_was_seen():
    assert FeatureEvolution(coloured_dots()).evolutions == {}
