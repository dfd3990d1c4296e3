"""Fig. 2 in one call: the same units, projections and patches as the steps one by one, from any data set."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from specimens import SPECIMENS

import deconv
from deconv.imaging.pixel_space import to_pixel_space
from deconv.plotting import crop, pixels, signed
from deconv.plotting.display import intensities
from deconv.topk import sheet


def halved(batch):
    return np.asarray(batch, np.float32) / 2


@pytest.fixture(autouse=True)
def closed():
    plt.close("all")


@pytest.fixture
def model():
    return SPECIMENS["same"]()  # images of two channels, drawn as their mean


@pytest.fixture
def data(model):
    size = model.input_shape[1:]
    return np.random.default_rng(3).integers(0, 256, (12, *size), np.uint8)


def sheet_of(monkeypatch, *args, **settings):
    """The `TopSheet` that `top_sheet` draws."""
    drawn = []
    plot = sheet.TopSheet.plot
    monkeypatch.setattr(
        sheet.TopSheet, "plot", lambda self, *rest, **more: drawn.append(self) or plot(self, *rest, **more)
    )
    figure = deconv.top_sheet(*args, **settings)
    assert isinstance(figure, plt.Figure) and figure.axes
    plt.close(figure)
    return drawn[0]


def test_it_shows_what_the_steps_one_by_one_show(monkeypatch, model, data):
    found = sheet_of(monkeypatch, model, data, "conv1", [2, 0], k=3, preprocess=halved)
    tops = deconv.top_activations(model, data, "conv1", 3, preprocess=halved)["conv1"]
    net = deconv.Deconvnet(model)
    assert found.channels.tolist() == [2, 0] and np.array_equal(found.tops.ids, tops.ids)
    for place, channel in enumerate([2, 0]):
        picked, windows = data[tops.ids[channel]], tops.windows[channel]
        projections = net.project_units(halved(picked), "conv1", [channel] * 3, tops.positions[channel])
        shown = to_pixel_space(projections, halved, data.shape[-1])
        assert np.allclose(
            found.projections[place],
            signed(crop(shown, windows).mean(-1, keepdims=True), percentile=99.5),
            atol=1e-6,
            equal_nan=True,
        )
        assert np.array_equal(
            found.patches[place], crop(pixels(picked), windows).mean(-1, keepdims=True), equal_nan=True
        )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["labelled arrays", "stream", "batched stream with ids", "sequence"])
def test_every_kind_of_data_set_gives_the_same_sheet(monkeypatch, model, data, kind):
    labels, ids = np.arange(12) % 3, np.arange(12)
    source = {
        "labelled arrays": (data, labels),
        "stream": tf.data.Dataset.from_tensor_slices((data, labels)),
        "batched stream with ids": tf.data.Dataset.from_tensor_slices((data, labels, ids)).batch(5),
        "sequence": [(image, label) for image, label in zip(data, labels, strict=True)],
    }[kind]
    if kind == "sequence":

        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return 4

            def __getitem__(self, number):
                return data[number * 3 : number * 3 + 3], labels[number * 3 : number * 3 + 3]

        source = Batches()
    want = sheet_of(monkeypatch, model, data, "conv1", k=2, preprocess=halved)
    found = sheet_of(monkeypatch, model, source, "conv1", k=2, preprocess=halved)
    assert np.array_equal(found.tops.ids, want.tops.ids)
    assert np.allclose(found.projections, want.projections, atol=1e-6, equal_nan=True)
    assert np.array_equal(found.patches, want.patches, equal_nan=True)


def test_a_data_set_that_gives_other_images_the_second_time_is_refused(model, data):
    passes = []

    def turned():
        passes.append(0)
        yield from np.roll(data, len(passes), 0)

    stream = tf.data.Dataset.from_generator(turned, output_signature=tf.TensorSpec(data.shape[1:], tf.uint8))
    with pytest.raises(
        ValueError, match=r"other images when it was read a second time.*reshuffle_each_iteration=False"
    ):
        deconv.top_sheet(model, stream, "conv1", k=2, preprocess=halved)


def test_a_layer_without_a_deconvnet_shows_its_patches_alone(monkeypatch):
    model = keras.Sequential(
        [keras.Input((9, 8, 1)), keras.layers.Conv2D(3, 3, activation="gelu", name="conv"), keras.layers.Flatten()]
    )
    found = sheet_of(monkeypatch, model, np.random.default_rng(0).random((5, 9, 8, 1)), "conv", k=2)
    assert found.projections is None and "gelu" in found.reason and found.patches.shape == (3, 2, 3, 3, 1)


def test_a_dense_layer_shows_whole_images(monkeypatch):
    layers = [keras.layers.Conv2D(2, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(4, name="dense")]
    model = keras.Sequential([keras.Input((7, 5, 3)), *layers])
    found = sheet_of(monkeypatch, model, np.random.default_rng(0).random((6, 7, 5, 3)), "dense", k=2)
    assert found.patches.shape == found.projections.shape == (4, 2, 7, 5, 3)


@pytest.mark.slow
def test_sixteen_channels_of_many_are_drawn_with_the_seed(monkeypatch):
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(20, 3, name="conv")])
    data = np.random.default_rng(0).random((3, 6, 6, 1))
    first, again, other = (
        sheet_of(monkeypatch, model, data, "conv", k=1, seed=seed).channels.tolist() for seed in (0, 0, 1)
    )
    assert first == again == sorted(set(first)) and len(first) == 16 and first != other


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": "conv9"}, "conv9"),
        ({"channels": [99]}, "channel 99"),
        ({"k": 0}, "k must be"),
        ({"seed": -1}, "seed must be"),
        ({"preprocess": 3}, "preprocess must be"),
        ({"percentile": 101}, "percentile must be above 0 and at most 100; received 101"),
        ({"title": ["a", "b"]}, "title must be text"),
        ({"percentile": 0}, "percentile must be above 0"),
        ({"batch_size": 0}, "batch_size must be"),
    ],
)
def test_bad_input_is_refused(model, data, settings, message):
    settings = {"layer": "conv1", "preprocess": halved} | settings
    with pytest.raises(ValueError, match=message):
        deconv.top_sheet(model, data, **settings)
    assert not plt.get_fignums()


def test_intensities_keep_scales_apart():
    whole = np.array([[0, 255]], np.uint8)
    assert np.array_equal(intensities(whole), [[0, 1]])
    assert np.array_equal(intensities(whole.astype(np.float32)), [[0, 1]])
    assert np.array_equal(intensities(np.array([0.25, 1.0])), [0.25, 1])
    assert np.array_equal(intensities(np.array([-2.0, 0.0, 2.0])), [0, 0.5, 1])
