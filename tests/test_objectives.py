"""What images are asked to maximise: every objective by hand, and the algebra of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from deconv.features import (
    Objective,
    Target,
    channel,
    class_logit,
    deepdream,
    direction,
    diversity,
    layer,
    neuron,
    optimize,
)

MAPS = np.random.default_rng(0).standard_normal((3, 5, 4, 6)).astype(np.float32)
VECTORS = np.random.default_rng(1).standard_normal((3, 6)).astype(np.float32)


def score(objective, maps=MAPS, numbers=None):
    """The scores of some images, whose maps every layer of the objective puts out."""
    numbers = np.arange(len(objective.labels)) if numbers is None else np.asarray(numbers)
    values = {target: tf.constant(maps[: len(numbers)]) for target in objective.layers}
    return objective.score(values, tf.constant(numbers, tf.int32)).numpy()


def test_a_neuron_is_one_number_of_each_map_by_default_in_the_middle():
    found = score(neuron("a", [4, 0, 5]))
    assert found.tolist() == [MAPS[0, 2, 2, 4], MAPS[1, 2, 2, 0], MAPS[2, 2, 2, 5]]
    assert score(neuron("a", -1, (4, 3))).tolist() == [MAPS[0, 4, 3, 5]]
    found = score(neuron("a", [1, 1, 2], [(0, 1), (4, 2), (3, 3)]))
    assert found.tolist() == [MAPS[0, 0, 1, 1], MAPS[1, 4, 2, 1], MAPS[2, 3, 3, 2]]
    assert score(neuron("a", [4, 0, 5]), VECTORS).tolist() == [VECTORS[0, 4], VECTORS[1, 0], VECTORS[2, 5]]


def test_which_images_these_are_is_data():
    assert score(neuron("a", [4, 0, 5]), numbers=[2, 0]).tolist() == [MAPS[0, 2, 2, 5], MAPS[1, 2, 2, 4]]
    found = score(direction("a", VECTORS), numbers=[2])
    np.testing.assert_allclose(found, (MAPS[0] * VECTORS[2]).sum(-1).mean(), rtol=1e-5)


def test_channel_layer_and_dream_are_means():
    np.testing.assert_allclose(
        score(channel("a", [1, 2, 3])), [MAPS[i, ..., i + 1].mean() for i in range(3)], rtol=1e-5
    )
    np.testing.assert_allclose(score(layer("a")), [MAPS[0].mean()], rtol=1e-5)
    np.testing.assert_allclose(score(deepdream("a")), [np.square(MAPS[0]).mean()], rtol=1e-5)


@pytest.mark.parametrize("power", [0, 1, 2.5])
def test_a_direction_is_the_mean_product_times_a_power_of_the_cosine(power):
    expected = []
    for maps, vector in zip(MAPS, VECTORS, strict=True):
        cells = []
        for cell in maps.reshape(-1, 6):
            cosine = cell @ vector / np.linalg.norm(cell) / np.linalg.norm(vector)
            cells.append(cell @ vector * max(0.1, cosine) ** power)
        expected.append(np.mean(cells))
    np.testing.assert_allclose(score(direction("a", VECTORS, power)), expected, rtol=1e-4)


def test_a_direction_along_one_channel_is_that_channel():
    np.testing.assert_allclose(score(direction("a", np.eye(6)[3])), score(channel("a", 3)), rtol=1e-6)


def test_diversity_by_hand():
    # Two cells and two channels. Gram of the first: [[1, 0], [0, 1]] / sqrt(2); of the second: [[2, 0], [0, 0]] / 2.
    # Their product: 1 / sqrt(2), of which each image loses half, for two copies.
    maps = np.array([[[[1, 0], [0, 1]]], [[[1, 0], [1, 0]]]], np.float32)
    np.testing.assert_allclose(score(diversity("a", 2), maps), [-0.5 / np.sqrt(2)] * 2, rtol=1e-5)
    np.testing.assert_allclose(score(diversity("a", 2), maps[[0, 0]]), [-0.5, -0.5], rtol=1e-5)  # the same: cosine 1


def test_diversity_of_three_images_is_a_slow_sum():
    grams = []
    for maps in MAPS:
        gram = sum(np.outer(cell, cell) for cell in maps.reshape(-1, 6))
        grams.append(gram / np.sqrt(np.square(gram).sum()))
    expected = [-sum((grams[a] * grams[b]).sum() for b in range(3) if b != a) / 3 for a in range(3)]
    np.testing.assert_allclose(score(diversity("a", 3)), expected, rtol=1e-4)


def test_the_algebra_is_that_of_the_numbers():
    a, b = neuron("a", [0, 1, 2]), channel("b", [3, 4, 5])
    one, two = score(a), score(b)
    for objective, expected in (
        (a + b, one + two),
        (a - b, one - two),
        (a * b, one * two),
        (-a, -one),
        (3 * a - b / 2 + 1, 3 * one - two / 2 + 1),
        (1 - a, 1 - one),
        (sum([a, b, a]), 2 * one + two),
        (a - (b - a), 2 * one - two),
    ):
        np.testing.assert_allclose(score(objective), expected, rtol=1e-5, err_msg=str(objective.labels))


def test_one_image_counts_for_all_of_the_other_and_layers_are_counted_once():
    a = neuron("a", [0, 1, 2])
    both = a - 0.5 * neuron("a", 4)
    np.testing.assert_allclose(
        score(both), MAPS[[0, 1, 2], 2, 2, [0, 1, 2]] - 0.5 * MAPS[[0, 1, 2], 2, 2, 4], rtol=1e-5
    )
    assert both.layers == (Target("a", True),)
    assert (a + neuron("a", 0, before=False) + layer("b")).layers == (
        Target("a", True),
        Target("a", False),
        Target("b", True),
    )
    assert not both.together and (both + diversity("a", 3)).together


def test_labels_say_what_is_computed():
    a, b = neuron("a", 1), channel("b", 2)
    assert (a - 0.5 * (b + a)).labels == ("a, 1 - 0.5 × (mean of b, 2 + a, 1)",)
    assert (a - (b - a)).labels == ("a, 1 - (mean of b, 2 - a, 1)",)
    assert class_logit([3, 7]).labels == ("class 3", "class 7")
    assert (neuron("a", [1, 2]) + b).labels == ("a, 1 + mean of b, 2", "a, 2 + mean of b, 2")


def linear_model():
    """The three pixels of an image are its three channels; a rectifier; a softmax of weights 1, 2, 3 and 0, 1, 0."""
    image = keras.Input((1, 1, 3))
    maps = keras.layers.Conv2D(3, 1, activation="relu", name="maps")(image)
    vector = keras.layers.Dense(2, activation="softmax", name="classes")(keras.layers.Flatten()(maps))
    model = keras.Model(image, vector)
    model.get_layer("maps").set_weights([np.diag([1.0, -1, 1])[None, None], np.array([-10.0, 0, 0])])
    model.get_layer("classes").set_weights([np.array([[1.0, 0], [2, 1], [3, 0]]), np.array([0.5, 0])])
    return model


def test_targets_are_what_layers_put_out_before_or_after_their_activation():
    model, start = linear_model(), np.array([[[4.0, 5, 6]]])
    objectives = {
        neuron("maps", [0, 1, 2]): [-6, -5, 6],
        neuron("maps", [0, 1, 2], before=False): [0, 0, 6],
        class_logit([0, 1]): [18.5, 0],
        neuron(None, 0, before=False): [1 / (1 + np.exp(-18.5))],
    }
    for objective, expected in objectives.items():
        found = optimize(model, objective, steps=1, parametrization="pixels", start=start, learning_rate=1e-6)
        np.testing.assert_allclose(found.history[:, 0], expected, rtol=1e-5)


def test_an_objective_of_one_s_own_needs_only_a_score():
    def score(values, numbers):
        return tf.reduce_sum(values[Target("maps")], [1, 2, 3]) + tf.cast(numbers, tf.float32)

    own = Objective(("first", "second"), (Target("maps"),), score)
    found = optimize(linear_model(), own, steps=1, parametrization="pixels", start=np.zeros((1, 1, 3)))
    np.testing.assert_allclose(found.history[:, 0], [-10, -9])
    assert found.labels == own.labels


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: neuron("a", 1.5), r"channel must be a whole number or a sequence of them; received 1.5"),
        (lambda: neuron("a", []), r"channel must be a whole number or a sequence"),
        (lambda: neuron("a", [1, 2]) + neuron("a", [1, 2, 3]), r"Objectives for 2 and for 3 images cannot be combined"),
        (lambda: neuron("a", 1) + "b", r"can only be combined with an objective or a finite number; received 'b'"),
        (lambda: neuron("a", 1) / 0, "divided by a number other than 0; received 0"),
        (lambda: diversity("a", 1), r"copies must be at least 2"),
        (lambda: direction("a", [1, np.nan]), r"vector must be finite numbers"),
        (lambda: direction("a", [1, 2], -1), r"cosine_power must be a number of at least 0; received -1"),
    ],
)
def test_a_mistake_is_told_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "objective, message",
    [
        (neuron("mapz", 0), r"no layer 'mapz'. Did you mean 'maps'"),
        (neuron("maps", [0, 3]), r"Layer 'maps' has channels 0 to 2; received channel 3"),
        (class_logit(2), r"has channels 0 to 1; received channel 2"),
        (neuron("maps", 0, (1, 0)), r"rows 0 to 0 and columns 0 to 0; received position \(1, 0\)"),
        (direction("maps", [1, 2]), r"a number for each channel of layer 'maps', 3 in all; received 2"),
        ([], r"at least one Objective"),
        ("maps", r"must be an Objective, for example neuron\('conv1', 0\); received 'maps'"),
        ([neuron("maps", 0), 3], r"must be an Objective"),
    ],
)
def test_what_does_not_fit_the_model_is_told_before_anything_is_computed(objective, message):
    with pytest.raises(ValueError, match=message):
        optimize(linear_model(), objective, steps=1)


def test_numbers_of_numpy_multiply_an_objective_from_either_side():
    values = {Target("conv", True): tf.constant([[1.0, 2.0], [3.0, 5.0]])}
    for number in (np.float64(0.5), np.float32(0.5), 0.5):
        for one in (number * neuron("conv", [0, 1]), neuron("conv", [0, 1]) * number):
            assert one.score(values, tf.constant([0, 1])).numpy().tolist() == [0.5, 2.5]
