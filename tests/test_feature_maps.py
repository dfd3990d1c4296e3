"""Feature maps at three stages: the laws between them, and numbers worked out by hand."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import reference
from keras import layers as kl
from specimens import SPECIMENS, images

import deconv
from deconv.diagnostics.feature_maps import feature_maps
from deconv.plotting.feature_maps import feature_map_sheet, network_sheet, some_channels


def signs_of_the_image(*behind, height=4, width=6):
    """A filter whose channels are the image and its negative, with a bias of 1 on both, and layers behind it."""
    model = keras.Sequential([keras.Input((height, width, 1)), kl.Conv2D(2, 1, name="filter"), *behind], name="signs")
    model.layers[0].set_weights([np.reshape([1.0, -1.0], (1, 1, 1, 2)), np.ones(2)])
    return model


@pytest.mark.parametrize(
    ("name", "layer", "pool"),
    [
        ("lenet", "conv1", "pool1"),
        ("lenet", "conv2", "pool2"),
        ("overlapping", "conv2", "pool2"),
        ("same", "conv1", "pool1"),
        ("valid_stride2", "conv1", "pool1"),
        ("nested", "base/block/conv", "base/block/pool"),
        ("grouped", "depthwise1", "pool1"),
        ("sequential", "conv2", "pool2"),
    ],
)
def test_after_is_before_rectified_and_pooled_is_the_maximum_of_after(name, layer, pool):
    model = SPECIMENS[name]("float64")
    pixels = images(model, 3)
    found = feature_maps(model, pixels, layer, batch_size=2)[layer]
    assert found.layers == (layer, layer, pool) and not found.between
    assert (found.before < 0).any() and (found.before > 0).any()
    np.testing.assert_array_equal(found.after, reference.rectify(found.before))
    outputs = reference.forward(model, pixels)
    np.testing.assert_allclose(found.after, outputs[layer], rtol=0, atol=1e-12)
    settings = next(call for path, call, _ in reference.calls_of(model) if path == pool)
    pooled, _ = reference.max_pool(found.after, settings.pool_size, settings.strides, settings.padding)
    np.testing.assert_array_equal(found.pooled, pooled)


def test_before_is_the_filter_and_its_bias_and_nothing_else():
    model = SPECIMENS["overlapping"]("float64")
    pixels = images(model, 2)
    before = feature_maps(model, pixels, "conv1")["conv1"].before
    np.testing.assert_allclose(before, reference.conv2d(pixels, *model.get_layer("conv1").get_weights()), atol=1e-12)


def test_a_rectifier_and_a_normalisation_of_their_own_by_hand():
    # The filter makes 1 + x and 1 - x of x = -2 .. 21; the normalisation takes 3 off the first and doubles the second.
    norm = kl.BatchNormalization(epsilon=0.0, name="norm")
    model = signs_of_the_image(norm, kl.Dropout(0.5), kl.ReLU(name="relu"), kl.AveragePooling2D(2, name="pool"))
    norm.set_weights([np.array([1.0, 2.0]), np.zeros(2), np.array([3.0, 0.0]), np.ones(2)])
    pixels = np.arange(-2, 22.0).reshape(1, 4, 6, 1)
    found = feature_maps(model, pixels)
    assert list(found) == ["filter"] and found["filter"].layers == ("filter", "relu", "pool")
    before = np.concatenate([pixels - 2, 2 - 2 * pixels], axis=-1)
    np.testing.assert_allclose(found["filter"].before, before, atol=1e-5)
    np.testing.assert_allclose(found["filter"].after, np.maximum(before, 0), atol=1e-5)
    # The first window holds -2, -1, 4 and 5: of the first channel 0, 0, 2 and 3, of the second 6, 4, 0 and 0.
    np.testing.assert_allclose(found["filter"].pooled[0, 0, 0], [5 / 4, 10 / 4], atol=1e-5)
    of_the_rectifier = feature_maps(model, pixels, "relu")["relu"]
    for one, other in zip(of_the_rectifier[:3], found["filter"][:3], strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_stands_between_rectifier_and_pool_is_named_and_the_pool_sees_it():
    model = SPECIMENS["alexnet"]("float64")
    pixels = images(model, 2)
    found = feature_maps(model, pixels, "conv1")["conv1"]
    assert found.layers == ("conv1", "conv1", "pool1") and found.between == ("norm1",)
    norm, pool = model.get_layer("norm1"), model.get_layer("pool1")
    normal = norm(found.after).numpy()
    np.testing.assert_allclose(found.pooled, pool(normal).numpy(), rtol=0, atol=1e-12)
    assert np.abs(found.pooled - pool(found.after).numpy()).max() > 0.01


def test_scores_have_no_stage_behind_them_and_a_softmax_is_an_activation():
    model = SPECIMENS["average"]("float64")
    pixels = images(model, 2)
    scores = feature_maps(model, pixels, "logits")["logits"]
    assert scores.after is None and scores.pooled is None and scores.layers == ("logits", None, None)
    np.testing.assert_allclose(scores.before, reference.forward(model, pixels)["logits"], atol=1e-12)
    lenet = SPECIMENS["lenet"]("float64")
    found = feature_maps(lenet, images(lenet, 2), "predictions")["predictions"]
    np.testing.assert_allclose(found.after, reference.softmax(found.before), rtol=0, atol=1e-12)


def test_a_sum_of_branches_is_no_layers_own():
    # conv4 goes into a sum with something else, which is then pooled: neither is of conv4 alone.
    model = SPECIMENS["branching"]("float64")
    found = feature_maps(model, images(model, 2), ["conv1", "conv4"])
    assert found["conv1"].layers == ("conv1", "relu1", None)
    assert found["conv4"].layers == ("conv4", None, None)


def test_all_layers_at_once_are_each_alone_and_do_not_depend_on_the_batches():
    model = SPECIMENS["nested"]("float64")
    pixels = images(model, 5)
    together = feature_maps(model, pixels, batch_size=2)
    assert list(together) == ["stem", "base/conv1", "base/block/conv", "base/conv2", "head", "logits"]
    for layer, found in together.items():
        for one, other in zip(found[:3], feature_maps(model, pixels, layer)[layer][:3], strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    pooled = together["head"].pooled
    np.testing.assert_allclose(pooled, together["head"].after.mean(axis=(1, 2)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        together["base/conv1"].after, deconv.activations(model, pixels, "base/conv1")["base/conv1"], atol=1e-12
    )


def test_a_sheet_shows_the_channels_drawn_each_stage_on_one_scale_with_zero_in_its_place():
    model = SPECIMENS["overlapping"]()
    pixels = images(model, 2)
    found = feature_maps(model, pixels, "conv2")["conv2"]
    figure = feature_map_sheet(np.full((23, 19, 3), 0.5), found, "conv2", number=1, most=5, seed=3, columns=4)
    channels = some_channels(8, 5, seed=3)
    assert len(set(channels)) == 5 and channels.tolist() == sorted(channels)
    panels = [ax for ax in figure.axes if "conv2," in ax.get_title(loc="left") or "pool2," in ax.get_title(loc="left")]
    top = found.after[1][..., channels].max()
    for ax, maps, (low, high) in zip(panels, found[:3], [(None, None), (0, top), (0, top)], strict=True):
        shown = ax.images[0]
        height, width = maps.shape[1:3]
        drawn = np.ma.filled(shown.get_array(), np.nan)
        np.testing.assert_allclose(drawn[:height, :width], maps[1, ..., channels[0]])
        np.testing.assert_allclose(drawn[-height:, :width], maps[1, ..., channels[4]])
        assert [text.get_text() for text in ax.texts] == [str(channel) for channel in channels]
        largest = np.abs(maps[1][..., channels]).max()
        assert shown.get_clim() == pytest.approx((-largest, largest) if low is None else (low, high))
    assert "5 of 8 channels" in figure.get_suptitle()
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet", "nested", "average", "branching"])
def test_a_sheet_of_the_network_has_a_picture_for_every_stage_of_every_layer(name):
    model = SPECIMENS[name]()
    pixels = images(model, 1)
    maps = feature_maps(model, pixels)
    figure = network_sheet(np.full((*model.input_shape[1:3], 1), 0.5), maps, name)
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.images and ax.get_title(loc="left")]
    stages = ("before the activation", "after the activation", "after pooling")
    assert titles == [
        f"{layer}, {stage}"
        for found in maps.values()
        for layer, stage in zip(found.layers, stages, strict=True)
        if layer
    ]
    plt.close("all")


def test_bad_inputs_say_what_is_wrong():
    model = signs_of_the_image()
    pixels = np.zeros((1, 4, 6, 1), "float32")
    with pytest.raises(ValueError, match="Did you mean 'filter'"):
        feature_maps(model, pixels, "filters")
    with pytest.raises(ValueError, match="batch_size must be a whole number"):
        feature_maps(model, pixels, batch_size=0)
    with pytest.raises(ValueError, match=r"images must be a batch of shape \(n, 4, 6, 1\)"):
        feature_maps(model, pixels[0])
    poolings = keras.Sequential([keras.Input((4, 6, 1)), kl.MaxPooling2D(2)], name="poolings")
    with pytest.raises(ValueError, match="'poolings' has neither convolutions nor dense layers; name the layers"):
        feature_maps(poolings, pixels)
    model.get_layer("filter").set_weights([np.full((1, 1, 1, 2), np.nan), np.zeros(2)])
    with pytest.raises(ValueError, match="output of layer 'filter' contains NaN"):
        feature_maps(model, pixels)
