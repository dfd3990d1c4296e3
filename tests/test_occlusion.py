"""Occlusion against a naive double loop, and the squares themselves pixel by pixel."""

import io
import sys
import time

import keras
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers as kl
from specimens import SPECIMENS, fill, images

import deconv
from deconv.imaging.fills import default_fill
from deconv.occlusion import sensitivity
from deconv.occlusion.sliding_window import default_square, square_of


def asker(model, layer, preprocess=lambda images: images):
    """What `reference.occlusion` asks: class outputs and maps of a layer, for one image at a time."""
    both = keras.Model(model.inputs[0], [model.outputs[0], model.get_layer(layer).output])

    def predict(batch):
        outputs, maps = (np.asarray(part) for part in both(preprocess(batch)))
        return outputs, maps.reshape(len(maps), *(maps.shape[1:-1] or (1, 1)), maps.shape[-1])

    return predict


def assert_equals_the_loop(found, loop, target, channel):
    tops, lefts, outputs, sums = loop
    np.testing.assert_array_equal(found.tops, tops)
    np.testing.assert_array_equal(found.lefts, lefts)
    assert found.target == target and found.channel == channel
    np.testing.assert_allclose(found.probability, outputs[..., target], rtol=0, atol=1e-10)
    np.testing.assert_array_equal(found.predicted, outputs.argmax(axis=-1))
    np.testing.assert_allclose(found.activation, sums[..., channel], rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layer", "size", "stride"),
    [
        ("average", "conv1", 4, 3),  # 15x12: neither 15 - 4 nor 12 - 4 is a multiple of 3
        ("average", "conv3", 5, 5),
        ("global_max", "conv2", 3, 2),
        ("global_max", "logits", 7, 4),
        ("nested", "stem", 6, 5),
        ("sequential", "conv2", 4, 4),
        ("sequential", "pool1", 1, 1),
        ("padded", "conv2", 9, 3),
    ],
)
def test_every_number_equals_the_naive_double_loop(name, layer, size, stride):
    model = SPECIMENS[name]("float64")
    if name == "padded":  # a dense layer on maps: give it classes
        head = kl.Dense(3, "softmax", name="head", dtype="float64")(kl.Flatten(dtype="float64")(model.output))
        model = fill(keras.Model(model.inputs[0], head), seed=1)
    (image,) = images(model, 1, seed=4)
    loop = reference.occlusion(asker(model, layer), image, size, stride, fill=0.3)
    for target, channel in ((2, 1), (0, 2)):
        found = deconv.occlusion_maps(model, image, target, layer, size, stride, 0.3, channel=channel, batch_size=7)
        assert_equals_the_loop(found, loop, target, channel)


def test_target_and_channel_are_by_default_the_strongest_of_the_image_as_it_is():
    model = SPECIMENS["sequential"]("float64")
    (image,) = images(model, 1, seed=3)
    outputs, maps = asker(model, "conv2")(image[None])
    target, channel = outputs[0].argmax(), maps[0].max(axis=(0, 1)).argmax()
    assert channel != maps[0].sum(axis=(0, 1)).argmax()  # the strongest unit is not in the strongest map
    found = deconv.occlusion_maps(model, image, layer="conv2", size=5, stride=3, fill=0)
    assert_equals_the_loop(found, reference.occlusion(asker(model, "conv2"), image, 5, 3), target, channel)
    as_it_is = (outputs[0, target], target, maps[0, ..., channel].sum())
    np.testing.assert_allclose(found.unoccluded, as_it_is, rtol=1e-10)


def test_of_channels_that_saturate_the_one_with_the_largest_total_is_followed():
    image = keras.Input((8, 8, 1))
    kernel = np.array([[[[100.0, 100.0, 1.0]]]])
    maps = keras.layers.Conv2D(3, 1, activation="relu6", name="conv")(image)
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(maps)))
    model.get_layer("conv").set_weights([kernel, np.array([-50.0, 0.0, 0.0])])
    pixels = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8, 1)
    found = deconv.occlusion_maps(model, pixels, layer="conv", size=3, stride=2)
    assert found.channel == 1  # channels 0 and 1 both reach 6, the latter in more places


@pytest.mark.parametrize("kind", ["number", "one per channel", "mean image"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_fill_is_in_pixel_units_before_preprocessing(kind, dtype):
    model = SPECIMENS["average"]("float64")
    image = np.random.default_rng(0).integers(0, 256, (15, 12, 3)).astype(dtype)
    value = {"number": 128, "one per channel": [10, 200, 90], "mean image": np.arange(540).reshape(15, 12, 3) % 256}[
        kind
    ]

    def preprocess(batch):
        return batch.astype("float64") / 255 - 0.5

    patches = np.broadcast_to(np.asarray(value, float), image.shape)
    found = deconv.occlusion_maps(model, image, 1, "conv2", 5, 4, value, channel=0, preprocess=preprocess)
    predict = asker(model, "conv2", preprocess)
    for row, top in enumerate(found.tops):
        for column, left in enumerate(found.lefts):
            covered = image.astype(float)
            covered[top : top + 5, left : left + 5] = patches[top : top + 5, left : left + 5]
            outputs, maps = predict(covered[None])
            assert abs(found.probability[row, column] - outputs[0, 1]) < 1e-10
            assert abs(found.activation[row, column] - maps[0, ..., 0].sum()) < 1e-10


@pytest.mark.parametrize("fill", [103.939, -20.5, [123.68, 116.779, 103.939]])
def test_a_fill_that_the_dtype_of_the_image_cannot_hold_is_not_bent_into_it(fill):
    model = SPECIMENS["average"]("float64")
    image = np.random.default_rng(0).integers(0, 256, (15, 12, 3), dtype=np.uint8)
    how = {"target": 1, "size": 5, "stride": 5, "fill": fill, "preprocess": lambda batch: batch / 255.0}
    found = deconv.occlusion_maps(model, image, **how)
    expected = deconv.occlusion_maps(model, image.astype("float64"), **how)
    np.testing.assert_allclose(found.probability, expected.probability, rtol=0, atol=1e-10)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.tuples(st.integers(4, 11), st.integers(4, 11)), st.data())
def test_every_pixel_is_covered_by_squares_inside_the_image_and_few_images_exist_at_once(shape, data):
    size = tuple(data.draw(st.integers(1, cells), label="size") for cells in shape)
    stride = tuple(data.draw(st.integers(1, cells), label="stride") for cells in size)
    batch_size = data.draw(st.integers(1, 9), label="batch_size")
    batches = []

    def look(batch):
        batches.append(np.array(batch))
        return batch

    found = deconv.occlusion_maps(
        total(*shape),
        np.ones((*shape, 1), "float32"),
        0,
        None,
        size,
        stride,
        0.0,
        preprocess=look,
        batch_size=batch_size,
    )
    assert max(len(batch) for batch in batches) <= batch_size
    covered = np.concatenate(batches[1:])[..., 0] == 0
    assert len(batches[0]) == 1 and (batches[0] == 1).all()  # the image as it is comes first
    assert len(covered) == found.probability.size == len(found.tops) * len(found.lefts)
    assert (covered.sum(axis=(1, 2)) == size[0] * size[1]).all() and covered.any(axis=0).all()
    assert (np.diff(found.tops)[:-1] == stride[0]).all() and (np.diff(found.lefts)[:-1] == stride[1]).all()
    # The model adds up the image: what is missing is what was covered.
    np.testing.assert_array_equal(found.probability, shape[0] * shape[1] - size[0] * size[1])


def total(height, width):
    """A model whose one class is the sum of the image."""
    model = TOTALS.get((height, width))
    if model is None:
        image = keras.Input((height, width, 1))
        model = keras.Model(image, kl.Dense(1, kernel_initializer="ones")(kl.Flatten()(image)))
        TOTALS[height, width] = model
    return model


TOTALS = {}


def test_pixel_map_is_the_mean_over_the_squares_that_cover_a_pixel():
    # Width 5, squares of 2 at 0, 2 and 3 with values 1, 3, 5: pixels 0 1 have 1; 2 has 3; 3 has (3 + 5) / 2; 4 has 5.
    # Height 3, squares of 2 at 0 and 1, the second row of values 10 more: row 1 is covered by both.
    maps = deconv.occlusion_maps(total(3, 5), np.ones((3, 5, 1), "float32"), 0, size=2, stride=(1, 2))
    assert maps.tops.tolist() == [0, 1] and maps.lefts.tolist() == [0, 2, 3]
    spread = deconv.pixel_map(np.array([[1.0, 3, 5], [11, 13, 15]]), maps, (3, 5))
    row = np.array([1, 1, 3, 4, 5])
    assert spread.tolist() == [row.tolist(), (row + 5).tolist(), (row + 10).tolist()]


def test_without_a_layer_no_activation_is_given():
    model = SPECIMENS["sequential"]()
    found = deconv.occlusion_maps(model, images(model, 1)[0], 2, size=6, stride=4)
    assert found.activation is None and found.channel is None and found.unoccluded[2] is None
    np.testing.assert_allclose(found.unoccluded[0], model(images(model, 1))[0, 2], rtol=1e-5)


def test_the_classes_are_those_of_the_output_of_the_model_whatever_other_heads_lie_inside():
    inner = keras.Input((8, 7, 2))
    vector = kl.Flatten()(kl.Conv2D(3, 3, activation="relu")(inner))
    base = keras.Model(inner, [kl.Dense(3, "softmax", name="classes")(vector), kl.Dense(5, name="other")(vector)])
    image = keras.Input((8, 7, 2))
    model = fill(keras.Model(image, base(image)[0]), seed=2)
    (picture,) = images(model, 1)
    found = deconv.occlusion_maps(model, picture, 2, size=4, stride=3)
    np.testing.assert_allclose(found.unoccluded[0], model(picture[None])[0, 2], rtol=1e-5)


def test_sums_of_a_half_precision_model_do_not_overflow():
    layer = kl.Conv2D(1, 1, kernel_initializer="ones", name="conv", dtype="mixed_float16")
    image = keras.Input((64, 64, 1))
    model = keras.Model(image, kl.Dense(2, "softmax")(kl.GlobalMaxPooling2D()(layer(image))))
    found = deconv.occlusion_maps(model, np.full((64, 64, 1), 60, "float32"), 0, "conv", 32, 32, fill=0)
    assert found.activation.tolist() == [[60 * 64 * 48.0] * 2] * 2  # above 65,504, the largest float16


@pytest.mark.parametrize(
    ("side", "square", "stride"),
    [((227, 227), 57, 10), ((28, 28), 7, 1), ((60, 44), 11, 2), ((5, 9), 2, 1), ((1, 4), 1, 1), ((224, 640), 56, 10)],
)
def test_by_default_the_square_is_a_quarter_of_the_shorter_side_and_moves_by_a_twentieth(side, square, stride):
    assert default_square(side) == default_square((*side, 3)) == (square, stride)
    assert square_of(side) == ((square, square), (stride, stride))


def test_defaults_are_those_and_what_is_given_stays():
    model = total(45, 50)
    found = deconv.occlusion_maps(model, np.ones((45, 50, 1), "float32"), 0)
    assert found.size == (11, 11) and np.diff(found.tops)[:-1].tolist() == [2] * 16
    given = deconv.occlusion_maps(model, np.ones((45, 50, 1), "float32"), 0, size=(1, 6))
    assert given.size == (1, 6) and np.diff(given.tops)[0] == 1 and np.diff(given.lefts)[0] == 2  # as the size allows
    given = deconv.occlusion_maps(model, np.ones((45, 50, 1), "float32"), 0, stride=5)
    assert given.size == (11, 11) and np.diff(given.tops)[0] == 5


def test_what_covers_by_default_is_mean_grey():
    model = total(6, 8)  # its output is the sum of the pixels
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 1)).astype("uint8")
    how = {"target": 0, "size": (6, 8)}
    found = deconv.occlusion_maps(model, pixels, preprocess=lambda batch: np.float32(batch / 255), **how)
    assert found.probability.item() == pytest.approx(48 * 128 / 255, rel=1e-5)  # pixel units: the middle grey
    inputs = np.float32(pixels / 255 - 0.3)
    found = deconv.occlusion_maps(model, inputs, **how)
    assert found.probability.item() == pytest.approx(inputs.sum(), rel=1e-4)  # else this image's own mean
    assert default_fill(np.arange(12, dtype="uint8").reshape(2, 2, 3), in_pixels=False).tolist() == [
        4,
        6,
        6,
    ]  # 4.5, 5.5, 6.5


def test_two_channels_are_each_covered_by_their_own_mean():
    image = keras.Input((4, 4, 2))
    kernel = np.zeros((32, 2), "float32")
    kernel[0::2, 0] = kernel[1::2, 1] = 1  # one output for the sum of each channel
    model = keras.Model(image, kl.Dense(2, use_bias=False)(kl.Flatten()(image)))
    model.set_weights([kernel])
    pixels = np.random.default_rng(1).random((4, 4, 2)).astype("float32")
    for channel in (0, 1):
        found = deconv.occlusion_maps(model, pixels, channel, size=4)
        assert found.probability.item() == pytest.approx(pixels[..., channel].sum(), rel=1e-5)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_long_run_shows_its_progress_in_a_terminal_and_nowhere_else(terminal, monkeypatch):
    written = io.StringIO()
    written.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr(sensitivity, "_PROGRESS_DELAY", 0.001)

    def slow(batch):
        time.sleep(0.01)  # a bar is drawn anew every tenth of a second
        return batch

    how = {"target": 0, "size": 3, "batch_size": 1, "preprocess": slow, "exact": "full"}
    deconv.occlusion_maps(total(9, 9), np.ones((9, 9, 1), "float32"), **how)
    assert ("batches" in written.getvalue()) == terminal
    monkeypatch.setattr(sensitivity, "_PROGRESS_DELAY", 60)
    written.truncate(0)
    deconv.occlusion_maps(total(9, 9), np.ones((9, 9, 1), "float32"), **how)
    assert "batches" not in written.getvalue()
