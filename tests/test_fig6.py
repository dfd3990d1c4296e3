"""Fig. 6 and the sheets of health, on networks whose filters, runs and images are known."""

import json

import keras
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl

matplotlib.use("Agg")

import deconv
from deconv import datasets, figures
from deconv.datasets.image_set import fit_image
from deconv.figures.fig6 import filter_comparison_pictures
from deconv.figures.fig6_first_layers import first_layer, second_layer
from deconv.figures.health import accuracies_of, health_pictures, images_of, resized_to
from deconv.figures.image_subset import part_of
from deconv.figures.picture import provenance
from deconv.figures.training_runs import Run, read_runs


def photographs(count=12, height=44, width=40, split="train", seed=0):
    """Noise of three channels, in two classes."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (count, height, width, 3)).astype(np.uint8)
    listed = tf.data.Dataset.from_tensor_slices(
        (pictures, np.arange(count, dtype=np.int32) % 2, np.arange(count, dtype=np.int64) * 10)
    )
    return datasets.ImageSet("noise", split, listed, ("one", "two"), count, (height, width, 3), f"noise, {split}.")


def preprocess(pictures):
    return np.float32(pictures) / 255 - 0.5


def waves(count, size, period):
    """Filters with waves of one period along the rows, of one phase each, of RMS 1, in all colours alike."""
    phases = np.arange(count)[:, None] * 0.7
    lines = np.cos(2 * np.pi * np.arange(size) / period + phases)
    filters = np.broadcast_to(lines[:, :, None, None], (count, size, size, 3))
    return filters / np.sqrt(np.mean(np.square(filters), axis=(1, 2, 3), keepdims=True))


def network(filters, stride, bias, name, second=5):
    """Two convolutions; the first has these filters, the second passes on what it finds."""
    random = np.random.default_rng(1)
    image = keras.Input((44, 40, 3), name="image")
    maps = kl.Conv2D(len(filters), filters.shape[1], strides=stride, activation="relu", name="conv1")(image)
    maps = kl.Conv2D(5, second, activation="relu", name="conv2")(maps)
    model = keras.Model(image, kl.Dense(2, "softmax", name="predictions")(kl.Flatten(name="flatten")(maps)), name=name)
    weights = [0.1 * random.random(weight.shape) for weight in model.get_weights()]
    model.set_weights([np.moveaxis(filters, 0, -1), np.asarray(bias), *weights[2:]])
    return model


@pytest.fixture(scope="module")
def data():
    return photographs()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs, the first without clipping: one of its filters has ten times the RMS of the others."""
    folder = tmp_path_factory.mktemp("runs")
    for place, (name, radius, factor) in enumerate((("plain", 0, 10), ("clipping", 0.1, 1))):
        filters = waves(6, 5, 5)
        filters[2] *= factor
        run = folder / "regularisation" / name
        run.mkdir(parents=True)
        network(filters, 2, np.zeros(6), name).save(run / "small.keras")
        record = {
            "arguments": {"filter_radius": radius},
            "data": {"train": "noise, train. Of these, part 1 of 2.", "train_size": 6},
            "results": {"train_top1": 1.0, "top1": 0.75 + 0.125 * place},
            "variant": {"group": "regularisation", "place": place, "name": name, "change": name},
        }
        (run / "training.json").write_text(json.dumps(record))
    return folder


def drawn(subject, recipe):
    found = {picture.name: picture for picture in recipe(subject)}
    plt.close("all")
    return found


@pytest.fixture(scope="module")
def coarse(data):
    """Stride 4: filters of one pixel, which leave a grid, and a broad one; two are dead, by bias and by weights."""
    filters, bias = np.zeros((8, 11, 11, 3)), np.ones(8)
    filters[:, 5, 5] = 1
    filters[7] = 0.09
    bias[3], filters[5] = -1e6, 0.001
    return figures.Subject(network(filters, 4, bias, "coarse"), "by hand", data, preprocess, seed=3)


@pytest.fixture(scope="module")
def fine(data):
    """Stride 2: eight filters of the middle."""
    return figures.Subject(
        network(waves(8, 7, 6), 2, np.ones(8), "fine", second=9), "by hand", data, preprocess, seed=3
    )


@pytest.mark.slow
def test_every_claim_of_fig_6_is_decided_by_what_was_built_in(coarse, fine, runs):
    picture = drawn(coarse._replace(others=(fine,), runs=runs), filter_comparison_pictures)["fig6_filters"]
    findings = {finding.claim: finding for finding in picture.findings}
    assert findings["fig6-clipping"].seen and "10.00 times" in findings["fig6-clipping"].measured
    assert "1.00 with (clipping)" in findings["fig6-clipping"].measured
    assert findings["fig6-dead"].seen
    assert findings["fig6-dead"].measured == "stride 4 (coarse): 2 of 8; stride 2 (fine): 0 of 8."
    assert findings["fig6-middle"].seen and "25% low, 0% middle, 75% high" in findings["fig6-middle"].measured
    assert findings["fig6-aliasing"].seen
    assert np.min(picture.numbers["coarse"]["second"]["excess"]) > 3
    assert picture.numbers["coarse"]["dead"].tolist() == [3, 5]
    table = picture.tables[0]
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert rows["fine"]["middle (%)"] == 100 and rows["coarse"]["dead"] == 2
    assert rows["plain, no clipping"]["RMS, largest / median"] == 10
    assert json.dumps(rows, allow_nan=False)


@pytest.mark.slow
def test_with_the_networks_exchanged_the_claims_about_strides_stay_as_they_are(coarse, fine):
    one, other = (
        {finding.claim: finding.seen for finding in drawn(subject, filter_comparison_pictures)["fig6_filters"].findings}
        for subject in (coarse._replace(others=(fine,)), fine._replace(others=(coarse,)))
    )
    assert one == other and one["fig6-clipping"] is None


@pytest.mark.slow
def test_alone_a_network_shows_its_filters_and_leaves_the_claims_open(fine):
    picture = drawn(fine, filter_comparison_pictures)["fig6_filters"]
    assert [finding.seen for finding in picture.findings] == [None] * 4
    assert "There is no other network" in picture.caption and "noise" in picture.caption
    again = drawn(fine, filter_comparison_pictures)["fig6_filters"]
    assert str(picture.numbers) == str(again.numbers) and provenance(fine)["seed"] == 3


def test_a_network_whose_first_convolution_does_not_see_the_image_yields_nothing(fine):
    image = keras.Input((44, 40, 3))
    dense = keras.Model(image, kl.Dense(2)(kl.Flatten()(image)))
    halves = kl.Conv2D(2, 3)(kl.Concatenate()([image, image]))
    for model in (dense, keras.Model(image, kl.GlobalAveragePooling2D()(halves))):
        assert drawn(fine._replace(model=model), filter_comparison_pictures) == {}


def test_the_filters_are_in_the_colours_of_the_images_and_the_projections_in_their_windows(fine):
    first = first_layer(fine)
    assert (first.size, first.strides) == ((7, 7), (2, 2))
    np.testing.assert_allclose(first.tiles, waves(8, 7, 6) / 255, rtol=1e-3, atol=1e-6)
    second = second_layer(fine, fine.data, "conv2", (2, 2))
    assert second.projections.shape == (5, 23, 23, 3) and second.channels.tolist() == list(range(5))


# ------------------------------------------------------------------------------------------------ health


def test_the_sheet_of_one_network_counts_its_dead_filters(coarse, data):
    subject = coarse._replace(training=data, held_out=photographs(8, split="test", seed=1))
    picture = drawn(subject, health_pictures)["health"]
    rows = {row[0]: dict(zip(picture.tables[0].columns, row, strict=True)) for row in picture.tables[0].rows}
    assert rows["conv1"]["dead"] == 1 and picture.numbers["layers"]["conv1"]["dead"].tolist() == [3]
    assert rows["conv1"]["gap"] is not None and "12 images" in picture.caption and "8 of its test" in picture.caption
    alone = drawn(coarse._replace(held_out=data), health_pictures)
    assert set(alone) == {"health"} and "trained" not in alone["health"].caption
    assert "not known" in picture.caption
    for known, words in (("training", "on which the network was trained"), ("both", "has been trained on both parts")):
        assert words in drawn(subject._replace(trained_on=known), health_pictures)["health"].caption
    assert alone["health"].tables[0].rows[0][-2:] == [None, None]


def test_runs_stand_side_by_side_over_the_images_that_each_was_trained_on(coarse, data, runs):
    subject = coarse._replace(training=data, held_out=photographs(8, split="test", seed=1), runs=runs)
    found = drawn(subject, health_pictures)["health_regularisation"]
    assert "6 of its training images and 8 held-out images" in found.caption
    rows = {row[0]: dict(zip(found.tables[0].columns, row, strict=True)) for row in found.tables[0].rows}
    assert list(rows) == ["plain", "clipping"]
    assert [rows[name]["difference (points)"] for name in rows] == [25, 12.5]
    assert rows["plain"]["RMS, largest / median"] == 10
    for run in read_runs(runs / "regularisation"):
        numbers = found.numbers["networks"][run.name]["conv1"]
        seen = datasets.arrays(data)[0][::2]
        maps = deconv.activations(run.model(), preprocess(seen), "conv1")["conv1"]
        np.testing.assert_allclose(numbers["mean"], maps.mean(axis=(0, 1, 2)), rtol=1e-4)
        assert numbers["images"] == 6 and numbers["gap"]["unseen_images"] == 8


def test_the_images_of_a_run_are_the_part_that_its_record_names(data):
    def run(about):
        return Run("any", {"data": about, "results": {}}, None, {})

    second = images_of(run({"train": "noise, train. Of these, part 2 of 3.", "train_size": 4}), data)
    assert second.listing()[1].tolist() == [10, 40, 70, 100]
    assert images_of(run({"train": "another name of it", "train_size": 12}), data) is data
    assert images_of(run({"train": "something else", "train_size": 13}), data) is None
    assert images_of(run({}), data) is data


def test_accuracies_are_read_under_either_name():
    def run(**results):
        return Run("any", {"results": results}, None, {})

    assert accuracies_of(run(train_accuracy=1.0, test_accuracy=0.5)) == (1, 0.5)
    assert accuracies_of(run(train_top1=0.75, top1=0.25, top5=1.0)) == (0.75, 0.25)
    assert accuracies_of(run(top1=0.25)) == (None, 0.25) and accuracies_of(run(loss=1)) == (None, None)


def test_a_network_of_another_size_gets_the_images_at_that_size(data):
    small = resized_to(data, (22, 20, 3))
    images, _, ids = datasets.arrays(small)
    expected = [fit_image(picture, (22, 20), 3).numpy() for picture in datasets.arrays(data)[0]]
    np.testing.assert_array_equal(images, expected)
    assert ids.tolist() == data.listing()[1].tolist() and resized_to(data, (44, 40, 3)) is data


def test_a_part_is_evenly_spaced_and_drawn_with_the_seed(data):
    assert part_of(data, 0, 12) is data
    starts = {int(part_of(data, seed, 5).listing()[1][0]) for seed in range(12)}
    assert starts == {0, 10, 20}
    for seed in (0, 1):
        found = part_of(data, seed, 5).listing()[1]
        assert len(found) == 4 and set(np.diff(found)) == {30}
