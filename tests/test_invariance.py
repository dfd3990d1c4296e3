"""Transformed images: warps against a slow twin, and networks whose distances are known beforehand."""

import keras
import matplotlib
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers as kl
from specimens import SPECIMENS, images

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import models
from deconv import datasets, graph
from deconv.diagnostics.invariance import Invariance, default_values, invariance
from deconv.diagnostics.invariance_measures import linearity, quickness, stability
from deconv.diagnostics.layer_choice import hidden_layers
from deconv.figures.fig5 import invariance_findings, invariance_pictures, measures
from deconv.figures.fig5_symmetry import HalfTurn, correlation, half_turn_data, symmetry_finding
from deconv.figures.subject import Subject
from deconv.imaging.affine_transforms import move, transform


def slow_transform(image, kind, value, fill, interpolation):
    """Every pixel asks all pixels of the image how near they are to the place that it comes from."""
    height, width = image.shape[:2]
    middle = complex((width - 1) / 2, -(height - 1) / 2)  # right and up, as in school
    result = np.zeros(image.shape)
    for row in range(height):
        for column in range(width):
            here = complex(column, -row)
            if kind == "translation":
                origin = here + 1j * value  # what moves down comes from above
            elif kind == "scale":
                origin = middle + (here - middle) / value
            else:
                origin = middle + (here - middle) * np.exp(-1j * np.pi * value / 180)
            y, x = -origin.imag, origin.real
            if isinstance(fill, str):
                y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
            known = 0.0
            for i in range(height):
                for j in range(width):
                    if interpolation == "nearest":
                        weight = float(abs(y - i) < 0.5 and abs(x - j) < 0.5)
                    else:
                        weight = max(0, 1 - abs(y - i)) * max(0, 1 - abs(x - j))
                    result[row, column] += weight * image[i, j]
                    known += weight
            if not isinstance(fill, str):
                result[row, column] += (1 - known) * np.broadcast_to(fill, image.shape)[row, column]
    return result


KINDS_AND_VALUES = [("translation", [1.3, -2.2, 9.1]), ("scale", [1.31, 0.63, 2.7]), ("rotation", [17.0, 151.0, 283.0])]


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("fill", ["edge", 128, "channel", "image"])
@pytest.mark.parametrize(("kind", "values"), KINDS_AND_VALUES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_is_that_of_the_slow_twin(kind, values, fill, interpolation, channels):
    pictures = np.random.default_rng(0).normal(size=(3, 5, 4, channels))
    fill = {"channel": [7.0, -3.0, 0.5][:channels], "image": np.arange(20.0 * channels).reshape(5, 4, -1)}.get(
        fill, fill
    )
    found = transform(pictures, kind, values, fill=fill, interpolation=interpolation)
    expected = [slow_transform(*pair, fill, interpolation) for pair in zip(pictures, [kind] * 3, values, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)
    assert np.abs(found - pictures).max() > 0.1


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("fill", ["edge", -5.0])
@pytest.mark.parametrize(("kind", "value"), [("translation", 0), ("scale", 1), ("rotation", 0), ("rotation", -360)])
def test_a_transform_by_nothing_returns_the_image_bit_for_bit(kind, value, fill, interpolation):
    pictures = np.random.default_rng(0).normal(size=(2, 9, 6, 3)).astype(np.float32)
    found = transform(pictures, kind, value, fill=fill, interpolation=interpolation)
    assert found.dtype == np.float32 and found.tobytes() == pictures.tobytes()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(-8, 8), st.sampled_from(["bilinear", "nearest"]))
def test_whole_pixels_are_shifted_exactly_and_edge_repeats_the_border(down, interpolation):
    pictures = np.random.default_rng(1).normal(size=(2, 7, 4, 2))
    found = transform(pictures, "translation", down, fill=[3.0, -1.0], interpolation=interpolation)
    assert (found == move(pictures, down, 0, [3.0, -1.0])).all()
    repeated = transform(pictures, "translation", down, interpolation=interpolation)
    assert (repeated == pictures[:, np.clip(np.arange(7) - down, 0, 6)]).all()


@pytest.mark.parametrize("side", [5, 6])
@pytest.mark.parametrize("fill", ["edge", 9])
def test_quarter_turns_of_a_square_image_are_exact_and_against_the_clock(side, fill):
    pictures = np.random.default_rng(2).normal(size=(1, side, side, 3))
    for turns in (1, 2, 3):
        found = transform(pictures, "rotation", 90 * turns, fill=fill)
        assert (found == np.rot90(pictures, turns, axes=(1, 2))).all()


def test_a_half_turn_of_an_oblong_image_is_exact():
    pictures = np.random.default_rng(2).normal(size=(2, 5, 8, 1))
    assert (transform(pictures, "rotation", [180, -180], fill=0) == pictures[:, ::-1, ::-1]).all()


def test_scaling_by_hand():
    # Three columns 0, 6, 12 about the middle one: at twice the size the neighbours come from half a column away.
    line = np.array([0.0, 6.0, 12.0]).reshape(1, 1, 3, 1)
    assert transform(line, "scale", 2)[0, 0, :, 0].tolist() == [3, 6, 9]
    assert transform(line, "scale", 0.5, fill=-1)[0, 0, :, 0].tolist() == [-1, 6, -1]
    assert transform(line, "scale", 0.5)[0, 0, :, 0].tolist() == [0, 6, 12]
    assert transform(line, "translation", 0.25, fill=100)[0, 0, :, 0].tolist() == [25, 29.5, 34]


def test_pixels_as_whole_numbers_come_out_as_float32_and_are_not_rounded():
    found = transform(np.array([0, 255], np.uint8).reshape(1, 2, 1, 1), "translation", 0.5)
    assert found.dtype == np.float32 and found.ravel().tolist() == [0, 127.5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shear", 1), "kind must be one of translation, scale, rotation; received 'shear'"),
        (("scale", [1, 0]), "A scale must be above zero, 1 for no change; received 0"),
        (("rotation", [np.nan]), "values must be finite numbers, at least one; received"),
        (("rotation", []), "values must be finite numbers, at least one; received"),
        (("rotation", ["90"]), "values must be finite numbers, at least one; received"),
        (("rotation", [1, 2, 3]), "values must be one for each of the 2 images, or one for all; received 3"),
    ],
)
def test_a_transform_that_makes_no_sense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        transform(np.zeros((2, 4, 4, 1)), *arguments)


def test_fills_and_interpolations_that_do_not_exist_are_refused():
    pictures = np.zeros((2, 4, 4, 1))
    with pytest.raises(ValueError, match="fill must be 'edge', a number, one per channel or an image; received 'mean'"):
        transform(pictures, "rotation", 5, fill="mean")
    with pytest.raises(ValueError, match="fill must be a finite number, one number per channel"):
        transform(pictures, "rotation", 5, fill=[1, 2])
    with pytest.raises(ValueError, match="interpolation must be one of bilinear, nearest; received 'cubic'"):
        transform(pictures, "rotation", 5, interpolation="cubic")
    with pytest.raises(ValueError, match=r"images must have shape .n, height, width, channels.; received .4, 4, 1."):
        transform(pictures[0], "rotation", 5)


# Networks whose answers are known


def row_reader(height=9, width=3, row=4, weight=0.5):
    """Its hidden unit is `weight` times one pixel of `row`; the classes get that and its negative."""
    image = keras.Input((height, width, 1), dtype="float64")
    hidden = kl.Dense(1, use_bias=False, name="hidden", dtype="float64")(kl.Flatten(dtype="float64")(image))
    classes = kl.Dense(2, "softmax", use_bias=False, name="classes", dtype="float64")(hidden)
    model = keras.Model(image, classes, name="reader")
    kernel = np.zeros((height * width, 1))
    kernel[row * width + 1] = weight
    model.set_weights([kernel, np.array([[1.0, -1.0]])])
    return model


def counter(channels=3):
    """A 1x1 convolution and the mean over the image: no place matters."""
    image = keras.Input((13, 10, channels), dtype="float64")
    maps = kl.Conv2D(4, 1, activation="relu", name="conv", dtype="float64")(image)
    vector = kl.GlobalAveragePooling2D(name="mean", dtype="float64")(maps)
    model = keras.Model(image, kl.Dense(3, "softmax", name="classes", dtype="float64")(vector), name="counter")
    random = np.random.default_rng(5)
    model.set_weights([random.normal(size=weight.shape) for weight in model.get_weights()])
    return model


def test_a_network_that_reads_one_row_of_a_ramp_moves_in_proportion_and_its_probability_is_known():
    # The image is its row number; moved down by k, row 4 shows 4 - k. So f = (4 - k) / 2, |f' - f| = |k| / 2.
    ramp = np.tile(np.arange(9.0).reshape(1, 9, 1, 1), (2, 1, 3, 1)) * [[[[1]]], [[[-1]]]]
    values = np.array([-4, -2.5, -1, 0, 0.5, 1, 3, 4])
    found = invariance(row_reader(), ramp, [0, 1], "translation", values, "hidden", batch_size=3)
    np.testing.assert_allclose(found.distances["hidden"], np.tile(np.abs(values) / 2, (2, 1)), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.norms["hidden"], [2, 2], rtol=1e-12)
    np.testing.assert_allclose(found.relative["hidden"][0], np.abs(values) / 4, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.probability, np.tile(1 / (1 + np.exp(-4.0 + values)), (2, 1)), rtol=1e-9)
    np.testing.assert_allclose(linearity(found.offsets, found.distances["hidden"]), 1, rtol=1e-12)
    np.testing.assert_allclose(quickness(found.offsets, found.distances["hidden"]), 0.5 / 4, rtol=1e-12)
    assert found.targets.tolist() == [0, 1] and found.untransformed[1].tolist() == [0, 1]


def test_a_network_that_sums_over_the_image_does_not_feel_a_move_inside_a_plain_background():
    pictures = np.full((2, 13, 10, 3), 0.3)
    pictures[:, 4:9, 3:7] = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    found = invariance(counter(), pictures, None, "translation", [-4, -1, 0, 2, 4], fill=0.3)
    assert list(found.distances) == ["conv", "mean"]
    assert found.distances["mean"].max() < 1e-12 < 0.1 < found.distances["conv"][:, [0, 1, 3, 4]].min()
    assert np.ptp(found.probability, axis=1).max() < 1e-12 and stability(found) == pytest.approx((1, 1), abs=1e-9)
    gone = invariance(counter(), pictures, None, "translation", [-5, 13], fill=0.3)
    assert gone.distances["mean"].min() > 1e-3  # the first row of the object leaves the image


def test_a_bright_pixel_by_hand():
    # Its map moves by sqrt(2) times its size while it stays in the image, and by its size when it has left.
    model = counter(1)
    model.set_weights([np.reshape([2.0, 0, 0, 0], (1, 1, 1, 4)), np.zeros(4), *model.get_weights()[2:]])
    picture = np.zeros((1, 13, 10, 1))
    picture[0, 2, 5] = 3
    found = invariance(model, picture, 0, "translation", [-3, -2, 0, 10, 11], ["conv"], fill=0)
    np.testing.assert_allclose(found.distances["conv"][0], [6, 6 * 2**0.5, 0, 6 * 2**0.5, 6], rtol=1e-12)
    assert found.norms["conv"].tolist() == [6]


def test_an_image_that_is_its_own_half_turn_is_the_same_after_it():
    random = np.random.default_rng(0).normal(size=(1, 28, 28, 1))
    both = np.concatenate([random + random[:, ::-1, ::-1], random])
    found = invariance(SPECIMENS["lenet"]("float64"), both, None, "rotation", [0, 90, 180], "conv1")
    assert found.distances["conv1"][0, 2] < 1e-9 < 1 < found.distances["conv1"][1, 2]
    np.testing.assert_allclose(correlation(both, both[:, ::-1, ::-1])[0], 1, rtol=1e-12)
    assert abs(correlation(both, both[:, ::-1, ::-1])[1]) < 0.5


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_all_numbers_are_those_of_one_image_at_a_time_whatever_the_batch(batch_size):
    model = SPECIMENS["lenet"]("float64")
    pictures, values = images(model, 2), [-20.0, 33.0, 180.0]
    found = invariance(model, pictures, [3, None], "rotation", values, fill=0.5, batch_size=batch_size)
    still = reference.forward(model, pictures)
    believed = still["predictions"].argmax(axis=1)
    targets = [3, believed[1]]
    assert found.targets.tolist() == targets and found.untransformed[1].tolist() == believed.tolist()
    np.testing.assert_allclose(found.untransformed[0], still["predictions"][[0, 1], targets], rtol=1e-9)
    for number, place in np.ndindex(2, 3):
        turned = transform(pictures[number : number + 1], "rotation", values[place], fill=0.5)
        moved = reference.forward(model, turned)
        for layer in ("pool1", "dense2"):
            expected = np.sqrt(((moved[layer][0] - still[layer][number]) ** 2).sum())
            assert found.distances[layer][number, place] == pytest.approx(expected, rel=1e-9)
        assert found.probability[number, place] == pytest.approx(moved["predictions"][0, targets[number]], rel=1e-9)
        assert found.predicted[number, place] == moved["predictions"][0].argmax()


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_fill_is_in_pixel_units_before_preprocessing(dtype):
    model = counter()
    pictures = np.random.default_rng(0).integers(0, 256, (2, 13, 10, 3)).astype(dtype)

    def preprocess(batch):
        return np.asarray(batch, "float64") / 255 - 0.5

    gone = invariance(model, pictures, None, "translation", [13], "conv", fill=[10, 128, 90.5], preprocess=preprocess)
    plain = np.broadcast_to(np.array([10, 128, 90.5]), pictures.shape)
    before, after = (reference.forward(model, preprocess(side))["conv"] for side in (pictures, plain))
    expected = np.sqrt(np.square(after - before).sum(axis=(1, 2, 3)))
    np.testing.assert_allclose(gone.distances["conv"][:, 0], expected, rtol=1e-6)


def test_no_batch_is_larger_than_asked_for_and_the_network_is_traced_once():
    seen, traces = [], []

    class Noted(kl.Layer):
        def call(self, maps):
            traces.append(len(traces))
            return maps

    inner = counter()
    model = keras.Sequential([keras.Input((13, 10, 3), dtype="float64"), Noted(dtype="float64"), *inner.layers[1:]])
    before = len(traces)

    def preprocess(batch):
        seen.append(len(batch))
        return batch

    pictures = np.random.default_rng(0).normal(size=(5, 13, 10, 3))
    invariance(model, pictures, None, "scale", [1.1, 1.2, 1.3], preprocess=preprocess, batch_size=4)
    assert seen == [4, 4, 4, 4, 1, 3] and len(traces) - before == 1  # four images and their twelve, one and its three


def test_the_default_ranges_are_those_of_the_paper_in_proportion():
    assert default_values("translation", 224).tolist() == list(range(-60, 61, 5))
    assert default_values("translation", 28).tolist() == list(range(-8, 9))
    assert default_values("translation", 5).tolist() == [-1, 0, 1]
    assert default_values("scale", 28).tolist() == [1 + step / 20 for step in range(17)]
    assert default_values("rotation", 28).tolist() == list(range(0, 360, 10))


def test_offsets_are_how_far_a_value_is_from_the_image_as_it_is():
    nothing = (None,) * 6

    def offsets(kind, values):
        return Invariance(kind, np.array(values, float), *nothing).offsets.tolist()

    assert offsets("translation", [-3, 0, 2]) == [-3, 0, 2]
    assert offsets("scale", [1, 1.5]) == [0, 0.5]
    assert offsets("rotation", [0, 10, 180, 350, -90, 720]) == [0, 10, -180, -10, -90, 0]


# Which layers are the first and the last hidden one


def chosen(model):
    return tuple(step.name for step in hidden_layers(graph.walk(model)))


def test_the_first_layer_includes_its_pooling_and_normalisation_and_the_last_is_what_the_classifier_takes():
    assert chosen(SPECIMENS["lenet"]()) == ("pool1", "dense2")
    assert chosen(models.LeNet5(weights=None, dropout=0.5)) == ("pool1", "fc4")
    assert chosen(models.AlexNet(units=4, classes=3)) == ("pool1", "fc7")
    assert chosen(models.ZFNet(units=4, classes=3)) == ("norm1", "fc7")


def test_layers_of_separate_parts_dropout_padding_forks_and_convolutional_classifiers():
    image = keras.Input((16, 12, 3))
    maps = kl.Conv2D(3, 3, use_bias=False, name="conv")(kl.Rescaling(1 / 255)(image))
    maps = kl.ReLU(name="relu")(kl.BatchNormalization(name="norm")(maps))
    padded = kl.ZeroPadding2D(name="padding")(kl.MaxPooling2D(name="pool")(maps))
    maps = kl.Dropout(0.5)(kl.ReLU(name="relu2")(kl.Conv2D(4, 3, name="conv2")(padded)))
    classes = kl.Softmax()(kl.GlobalAveragePooling2D()(kl.Conv2D(2, 1, name="classes")(maps)))
    assert chosen(keras.Model(image, classes)) == ("pool", "relu2")
    forked = kl.Add()([kl.Conv2D(3, 3, name="one", padding="same")(image), image])
    deep = kl.Dense(4, name="hidden")(kl.Flatten()(forked))
    assert chosen(keras.Model(image, kl.Activation("softmax")(kl.Dense(2)(kl.Dropout(0.1)(deep))))) == ("one", "hidden")


@pytest.mark.parametrize("count", [0, 1])
def test_a_network_without_two_hidden_layers_is_refused_and_drawn_by_no_one(count):
    image = keras.Input((28, 28, 1))
    vector = kl.Flatten()(image)
    for _ in range(count):
        vector = kl.Dense(5)(vector)
    model = keras.Model(image, kl.Dense(10, "softmax", name="classes")(vector), name="flat")
    with pytest.raises(
        ValueError, match=r"Model 'flat' has no two hidden layers .* Name the layers to look at: layers="
    ):
        invariance(model, np.zeros((1, 28, 28, 1), "float32"))
    assert list(invariance_pictures(Subject(model, "random", None, None))) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": [0]}, "targets must be one class for each of the 2 images; received 1"),
        ({"targets": 7}, "target must be one of the classes 0 to 2; received 7"),
        ({"layers": "cnov"}, "has no layer 'cnov'. Did you mean 'conv'"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1; received 0"),
        ({"fill": "mean"}, "fill must be 'edge'"),
        ({"kind": "shear"}, "kind must be one of"),
        ({"images": np.zeros((2, 13, 10, 3), np.uint8)}, "images must be floating point, preprocessed"),
        ({"images": np.zeros((2, 13, 9, 3))}, "images must have shape .n, 13, 10, 3."),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(options, message):
    with pytest.raises(ValueError, match=message):
        invariance(counter(), **{"images": np.zeros((2, 13, 10, 3)), "values": [1], "kind": "rotation", **options})


# Measures


def test_quickness_by_hand():
    offsets = np.array([-2.0, -1, 0, 1, 2])
    distances = np.array([[4, 3, 0, 1, 2], [0, 0, 0, 0, 0]], float)
    found = quickness(offsets, distances)
    assert found[0] == (3 + 1) / 2 / 4 and np.isnan(found[1])
    assert np.isnan(quickness(np.zeros(1), distances[:, 2:3])).all()


def test_linearity_by_hand():
    # Up: 1, 2, 3 is a line. Down, sizes 1, 2: distances 2, 2 have no spread. So the second image, 3 and 5 down:
    # slope (3 + 10) / 5 = 2.6, left 0.4^2 + 0.2^2 = 0.2, spread 2, R^2 = 0.9.
    offsets = np.array([-2.0, -1, 0, 1, 2, 3])
    found = linearity(offsets, np.array([[2, 2, 0, 1, 2, 3], [5, 3, 0, 2, 4, 6]], float))
    assert np.isnan(found[0]) and found[1] == pytest.approx((0.9 + 1) / 2)
    plateau = linearity(np.arange(5.0), np.array([[0, 3, 4, 4, 4]], float))
    assert plateau[0] < 0
    assert np.isnan(linearity(np.array([0, 1.0]), np.ones((1, 2)))).all()  # one offset makes no line


def test_stability_by_hand_leaves_the_image_itself_out():
    probability = np.array([[0.8, 0.4, 0.2], [0.4, 0.4, 0.2]])
    predicted = np.array([[1, 1, 2], [0, 2, 2]])
    untransformed = np.array([0.8, 0.4]), np.array([1, 0])
    found = Invariance("rotation", np.array([0.0, 90, 180]), None, None, None, probability, predicted, untransformed)
    assert stability(found) == pytest.approx((0.3 / 0.6, 1 / 4))


# The picture


def of(first, last, kept=0.9, unchanged=0.9):
    parts = [dict(zip(("quickness", "moved", "linearity"), layer, strict=True)) for layer in (first, last)]
    layers = dict(zip(("one", "two"), parts, strict=True))
    return {"step": 1.0, "in_proportion": 0.1, "kept": kept, "unchanged": unchanged, "layers": layers}


@pytest.mark.parametrize(
    ("still", "rotation", "expected"),
    [
        (of((0.5, 0.4, 0), (0.2, 0.1, 0.95)), of((0.4, 1, 0), (0.2, 1, 0), 0.5), (True, True, True, True)),
        (of((0.5, 0.4, 0), (0.2, 0.5, 0.95)), of((0.2, 1, 0), (0.2, 1, 0)), (False, False, True, False)),
        (of((0.5, 0.4, 0), (0.2, 0.1, 0.8), 0.7), of((0.4, 1, 0), (0.2, 1, 0), 1, 0.7), (True, False, False, True)),
        (of((np.nan, 0.4, 0), (0.2, 0.1, 0.95)), of((0.4, 1, 0), (0, 1, 0), 0.5), (None, True, True, True)),
    ],
)
def test_the_claims_follow_from_the_measures(still, rotation, expected):
    found = invariance_findings({"translation": still, "scale": still, "rotation": rotation}, ("one", "two"))
    claims = ("fig5-first-layer", "fig5-last-layer", "fig5-output", "fig5-rotation")
    assert tuple((finding.claim, finding.seen) for finding in found) == tuple(zip(claims, expected, strict=True))


def test_the_claim_about_symmetry_sets_symmetric_images_against_the_others():
    def seen(likeness, unchanged):
        count = len(likeness)
        turned = HalfTurn(np.arange(count), np.zeros(count, int), np.array(likeness), None, np.array(unchanged, bool))
        return symmetry_finding(turned, ["zero"])

    likeness = [0.9, 0.8, 0.76, 0.1, 0.2, 0.3, np.nan]
    assert seen(likeness, [1, 1, 1, 1, 0, 0, 1]).seen is True
    assert seen(likeness, [1, 1, 0, 0, 0, 0, 0]).seen is False
    assert seen(likeness, [1, 1, 1, 1, 1, 1, 1]).seen is False  # then it is not symmetry that helps
    few = seen(likeness[1:], [1, 1, 1, 0, 0, 0])
    assert few.seen is None and "2 of 6 images are symmetric; the largest correlation is 0.80" in few.measured
    assert "100% of 3 symmetric images (of class zero 3)" in seen(likeness, [1] * 7).measured


def test_correlation_by_hand():
    first = np.array([[0, 1, 2], [1, 2, 1], [5, 5, 5]], float).reshape(3, 1, 3, 1)
    np.testing.assert_allclose(correlation(first, first[:, :, ::-1])[:2], [-1, 1], rtol=1e-12)
    assert np.isnan(correlation(first, first)[2])


@pytest.fixture(scope="module")
def subject():
    digits = datasets.load("mnist-5k", "test")
    return Subject(models.LeNet5(weights="mnist"), "mnist", digits, models.lenet5.preprocess_input)


@pytest.fixture(scope="module")
def picture(subject):
    (found,) = invariance_pictures(subject)
    yield found
    plt.close(found.figure)


@pytest.mark.slow
def test_the_numbers_of_the_picture_are_those_of_the_experiment_and_the_same_again(subject, picture):
    numbers = picture.numbers
    pictures = subject.pick(numbers["image_ids"])
    again = invariance(subject.model, pictures, numbers["labels"], "scale", fill=0, preprocess=subject.preprocess)
    np.testing.assert_allclose(numbers["scale"]["distances"]["fc4"], again.distances["fc4"], rtol=1e-3, atol=1e-3)
    for layer, expected in measures(again, ["pool1", "fc4"])["layers"].items():
        told = numbers["measures"]["scale"]["layers"][layer]
        assert told.pop("half_turn") is expected.pop("half_turn") is None  # of a scale there is none
        assert told == pytest.approx(expected, rel=1e-3)
    assert (numbers["scale"]["targets"] == numbers["labels"]).all() and len(numbers["drawn"]) == 5
    assert [finding.claim for finding in picture.findings] == [
        f"fig5-{name}" for name in ("first-layer", "last-layer", "output", "rotation", "symmetry")
    ]
    turned = half_turn_data(subject, "fc4")
    assert (numbers["half_turn"]["ids"] == turned.ids).all() and len(set(turned.ids)) == 500
    assert (numbers["half_turn"]["unchanged"] == turned.unchanged).all()


def test_each_image_has_one_curve_in_each_chart_and_a_name(picture, subject):
    charts = [ax for ax in picture.figure.axes if ax.get_lines()]
    assert len(charts) == 9 and {len(ax.get_lines()) for ax in charts} == {5}
    number = picture.numbers["drawn"][2]
    drawn = charts[4].get_lines()[2].get_ydata()  # second row: scale; second chart: the last hidden layer
    assert (drawn == picture.numbers["scale"]["distances"]["fc4"][number]).all()
    (legend,) = picture.figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == [
        str(subject.data.class_names[label]) for label in picture.numbers["labels"][picture.numbers["drawn"]]
    ]


@pytest.mark.slow
def test_where_the_network_does_not_know_the_classes_it_is_followed_in_what_it_believes(subject):
    strange = subject._replace(classes=tuple("abcdefghij"))
    (found,) = invariance_pictures(strange)
    believed = found.numbers["translation"]["untransformed"][1]
    assert (found.numbers["translation"]["targets"] == believed).all()
    assert "10 of them are of a class that the network does not have" in found.caption
    (legend,) = found.figure.legends
    first = found.numbers["drawn"][0]
    says = f"{found.numbers['labels'][first]}, predicted: {'abcdefghij'[believed[first]]}"
    assert legend.get_texts()[0].get_text() == says
    plt.close(found.figure)
