"""Linear classifiers on layers: networks whose classes are apart by construction, numbers worked out by hand."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from specimens import SPECIMENS, images

import deconv.probing.feature_vectors
import models
from deconv import datasets
from deconv.figures.subject import Subject
from deconv.figures.table7 import layers_of, probe_pictures
from deconv.probing.feature_vectors import average
from deconv.probing.linear_classifiers import average_precision, average_precisions, in_span
from deconv.probing.linear_probes import probe
from deconv.probing.splits import class_accuracy, draw_folds


def copy_of_the_image(height=5, width=4, channels=3):
    """A network whose first layer is the image and whose second is what the image and its negative leave."""
    image = keras.Input((height, width, channels))
    same = kl.Conv2D(channels, 1, use_bias=False, name="same")(image)
    maps = kl.Conv2D(2 * channels, 1, use_bias=False, activation="relu", name="signs")(same)
    vector = kl.Dense(4, "relu", name="hidden")(kl.GlobalAveragePooling2D(name="mean")(maps))
    model = keras.Model(image, kl.Dense(2, "softmax", name="top")(vector), name="copy")
    unit = np.eye(channels)
    model.get_layer("same").set_weights([unit[None, None]])
    model.get_layer("signs").set_weights([np.concatenate([unit, -unit], axis=1)[None, None]])
    return model


def coloured(count, seed=0, noise=0.3):
    """Images `(3 count, 5, 4, 3)` of three classes: that channel is brighter, with some noise."""
    labels = np.repeat([0, 1, 2], count)
    pictures = np.random.default_rng(seed).normal(0, noise, (len(labels), 5, 4, 3))
    pictures[np.arange(len(labels)), :, :, labels] += 1
    return pictures.astype("float32"), labels


def scaled(train, test, scaling):
    """The slow twin of the scaling."""
    mean = train.astype(float).mean(axis=0)
    train, test = train - mean, test - mean
    if scaling == "common":
        spread = np.sqrt(np.mean([np.dot(row, row) for row in train]))
    else:
        spread = np.array([np.sqrt(np.mean(column**2)) or 1 for column in train.T])
    return train / spread, test / spread


def test_classes_that_differ_by_colour_are_told_apart_from_every_layer():
    found = probe(copy_of_the_image(), coloured(20), ["same", "signs", "mean"], (3, 10), test_per_class=8, folds=2)
    assert found.accuracy.shape == (3, 2, 2, 2) and (found.accuracy == 1).all()
    assert found.values.tolist() == [60, 120, 6] and found.tested.tolist() == [8, 8, 8]
    assert (found.layers, found.classifiers) == (("same", "signs", "mean"), ("svm", "softmax"))
    assert not found.deviation.any()


def test_labels_at_random_are_guessed():
    random = np.random.default_rng(1)
    pictures, labels = random.normal(size=(320, 5, 4, 3)).astype("float32"), np.tile(np.arange(4), 80)
    found = probe(copy_of_the_image(), (pictures, labels), "same", 30, folds=4)
    # 4 x 200 answers, of which each is right with 1 / 4: five standard deviations are 0.077.
    assert (np.abs(found.mean - 0.25) < 0.077).all() and (found.deviation > 0).all()


@pytest.mark.parametrize("scaling", ["common", "each", "none"])
@pytest.mark.parametrize(("name", "layer"), [("overlapping", "pool1"), ("lenet", "dense2")])
def test_a_probe_is_scikit_learn_on_the_activations(name, layer, scaling):
    model, C = SPECIMENS[name](), 0.003 if scaling == "none" else 0.5  # far from where solvers stop at will
    labels = np.tile([0, 1, 2], 70)
    pictures = images(model, len(labels))
    pictures += labels[:, None, None, None] * 0.15  # a little apart
    found = probe(model, (pictures, labels), layer, 40, test_per_class=25, folds=2, scaling=scaling, C=C, seed=3)
    maps = deconv.activations(model, pictures, layer)[layer].reshape(len(labels), -1)
    assert (maps.shape[1] > 120) == (name == "overlapping")  # more values than training images, and fewer
    for number, fold in enumerate(draw_folds(labels, 40, 25, folds=2, seed=3)):
        rows = fold.train.ravel()
        train, test = maps[rows].astype(float), maps[fold.test].astype(float)
        train, test = (train, test) if scaling == "none" else scaled(train, test, scaling)
        for kind, twin in enumerate((LinearSVC(C=C, dual=False), LogisticRegression(C=C, max_iter=2000))):
            right = twin.fit(train, labels[rows]).predict(test) == labels[fold.test]
            expected = np.mean([right[labels[fold.test] == label].mean() for label in range(3)])
            assert found.accuracy[0, kind, 0, number] == pytest.approx(expected, abs=1.01 / 75)  # one image at a border
            assert expected < 1


@pytest.mark.parametrize("scaling", ["common", "each"])
@pytest.mark.parametrize("shape", [(7, 30), (30, 7), (9, 5000)])
def test_coordinates_in_the_span_keep_every_inner_product_with_a_training_image(shape, scaling):
    random = np.random.default_rng(0)
    train, test = random.exponential(size=shape), random.exponential(size=(4, shape[1]))
    train[:, 2], test[:, 2] = 5, 6  # what is the same in all training images is left as it is, not divided by zero
    expected_train, expected_test = scaled(train, test, scaling)
    found_train, found_test = in_span(train, test, scaling)
    assert found_train.shape[1] <= min(shape)
    np.testing.assert_allclose(found_train @ found_train.T, expected_train @ expected_train.T, atol=1e-8)
    np.testing.assert_allclose(found_test @ found_train.T, expected_test @ expected_train.T, atol=1e-8)


def test_scaling_by_hand():
    # Mean (2, 1); distances from it (-2, 1), (2, -1): root mean square 5, so "common" divides by sqrt(5).
    train, test = np.array([[0.0, 2.0], [4.0, 0.0]]), np.array([[2.0, 6.0]])
    np.testing.assert_allclose(in_span(train, test)[0], np.array([[-2, 1], [2, -1]]) / np.sqrt(5))
    np.testing.assert_allclose(in_span(train, test)[1], np.array([[0, 5]]) / np.sqrt(5))
    np.testing.assert_allclose(in_span(train, test, "each")[1], [[0, 5]])
    np.testing.assert_allclose(in_span(train, test, "none")[1], test)


@pytest.mark.parametrize("values", [3, 50])
def test_what_is_learnt_does_not_depend_on_test_images(values):
    random = np.random.default_rng(0)
    train, test = random.normal(size=(6, values)), random.normal(size=(5, values))
    whole, other = in_span(train, test), in_span(train, np.concatenate([test[:2], 1e6 * test[2:]]))
    assert (whole[0] == other[0]).all()
    np.testing.assert_allclose(whole[1][:2], other[1][:2], rtol=1e-9)


def test_every_class_counts_alike():
    # Class 0: three of four right; class 5: one of one. Of all images 4 of 5, of the classes (3/4 + 1) / 2.
    assert class_accuracy(np.array([0, 0, 0, 0, 5]), np.array([0, 0, 0, 5, 5])) == 7 / 8


def test_folds_are_disjoint_seeded_and_grow_by_adding_images():
    labels = np.array([4] * 9 + [-1] * 3 + [7] * 30 + [4] * 3)
    folds = draw_folds(labels, (2, 10), test_per_class=6, folds=3, seed=5)
    for fold in folds:
        assert fold.train.shape == (2, 10) and (labels[fold.train] == [[4], [7]]).all()
        assert np.bincount(labels[fold.test]).tolist() == [0, 0, 0, 0, 2, 0, 0, 6]  # of class 4 two are left
        assert len({*fold.train.ravel(), *fold.test}) == 28
    again, other = draw_folds(labels, 10, 6, 3, seed=5), draw_folds(labels, 10, 6, 3, seed=6)
    assert all((one.train == two.train).all() for one, two in zip(folds, again, strict=True))
    assert any((one.train != two.train).any() for one, two in zip(folds, other, strict=True))
    assert (folds[0].train != folds[1].train).any()


def test_a_smaller_draw_is_a_part_of_the_larger_one_and_tested_on_the_same_images():
    data, model = coloured(30, noise=3), copy_of_the_image()
    both = probe(model, data, "mean", (4, 12), folds=2, test_per_class=10, classifiers="softmax")
    assert both.mean[0, 0].min() < 1
    taught = [fold.train[:, :4] for fold in draw_folds(data[1], 12, 10, 2)]
    maps = deconv.activations(model, data[0], "mean")["mean"]
    for number, (rows, fold) in enumerate(zip(taught, draw_folds(data[1], 12, 10, 2), strict=True)):
        train, test = scaled(maps[rows.ravel()], maps[fold.test], "common")
        predicted = LogisticRegression(C=10, max_iter=2000).fit(train, data[1][rows.ravel()]).predict(test)
        assert both.accuracy[0, 0, 0, number] == pytest.approx((predicted == data[1][fold.test]).mean(), abs=1.01 / 30)


def test_neither_batches_nor_groups_of_layers_change_the_result(monkeypatch):
    data, model = coloured(12, noise=2), SPECIMENS["overlapping"]()
    data = np.resize(data[0], (36, 23, 19, 3)), data[1]
    whole = probe(model, data, ["conv1", "pool1", "conv3"], 5, folds=2)
    monkeypatch.setattr(deconv.probing.feature_vectors, "_MEMORY", 1)
    apart = probe(model, data, ["conv1", "pool1", "conv3"], 5, folds=2, batch_size=7)
    np.testing.assert_allclose(apart.accuracy, whole.accuracy, atol=1.01 / 21)
    assert [list(group) for group in deconv.probing.feature_vectors.groups([1, 1, 1], 1)] == [[0], [1], [2]]


def test_an_image_set_gives_what_its_arrays_give_and_images_without_a_class_are_left_out():
    pictures, labels = coloured(9)
    pixels = np.clip(60 * pictures + 90, 0, 255).astype(np.uint8)
    labels[4] = -1
    ids = np.arange(len(labels)) * 3 + 100
    stream = tf.data.Dataset.from_tensor_slices((pixels, labels.astype(np.int32), ids.astype(np.int64)))
    data = datasets.ImageSet("own", "all", stream, ("r", "g", "b"), len(ids), (5, 4, 3), "own")
    options = {"per_class": 4, "folds": 2, "preprocess": lambda batch: batch.astype("float32") / 90}
    of_set = probe(copy_of_the_image(), data, "mean", **options)
    of_arrays = probe(copy_of_the_image(), (pixels, labels), "mean", **options)
    assert (of_set.accuracy == of_arrays.accuracy).all() and of_set.classes.tolist() == [0, 1, 2]
    assert of_set.tested.tolist() == [4, 5, 5]


def test_maps_averaged_onto_a_grid_by_hand():
    maps = np.arange(15.0).reshape(1, 3, 5, 1)  # 0..4 / 5..9 / 10..14, onto 2x2: rows 0 | 1, 2 and columns 0, 1 | 2..4
    expected = [[(0 + 1) / 2, (2 + 3 + 4) / 3], [(5 + 6 + 10 + 11) / 4, (7 + 8 + 9 + 12 + 13 + 14) / 6]]
    np.testing.assert_allclose(average(maps, (2, 2))[0, ..., 0], expected)
    assert (average(maps, (3, 5)) == maps).all()


def test_layers_are_flattened_up_to_75000_values_and_averaged_onto_the_finest_grid_above():
    # 27 x 27 x 96 = 69,984 are taken as they are; of 55 x 55 x 96 a grid of 28 would leave 75,264.
    assert deconv.probing.feature_vectors.grid_of((27, 27, 96), None) is None
    assert deconv.probing.feature_vectors.grid_of((55, 55, 96), None) == (27, 27)
    assert deconv.probing.feature_vectors.grid_of((90, 3, 1000), None) == (25, 3)
    assert deconv.probing.feature_vectors.grid_of((55, 40, 96), (6, 50)) == (6, 40)
    assert deconv.probing.feature_vectors.grid_of((80_000,), None) is None
    found = probe(copy_of_the_image(), coloured(9), ["same", "mean"], 4, folds=1, pooled=(2, 3))
    assert found.values.tolist() == [2 * 3 * 3, 6] and (found.accuracy == 1).all()
    assert np.isnan(found.deviation).all()  # of a single fold


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_class": 9}, "Class 0 has 9 images; 9 for training and at least one .* at most per_class=8"),
        ({"per_class": (2, 0)}, "per_class must be a whole number of at least 1; received 0"),
        ({"classifiers": ("svm", "tree")}, "classifiers must be one or more of svm, softmax; received .*'tree'"),
        ({"scaling": "unit"}, "scaling must be one of common, each, none; received 'unit'"),
        ({"C": 0}, "C must be a number above 0; received 0"),
        ({"folds": 0}, "folds must be a whole number"),
        ({"layers": "nowhere"}, "has no layer 'nowhere'"),
        ({"dataset": np.zeros((3, 5, 4, 3))}, r"must be an ImageSet, or arrays \(images, labels\)"),
        ({"dataset": (np.zeros((3, 5, 4, 3)), [1, 1, 1])}, "at least two classes; it has 1"),
        ({"dataset": (np.zeros((3, 5, 4, 3)), [0.5, 1, 1])}, "labels of a data set must be one whole number"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_door(options, message):
    given = {"dataset": coloured(9), "layers": "mean", "per_class": 3} | options
    with pytest.raises(ValueError, match=message):
        probe(copy_of_the_image(), **given)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ImportError, match=r'scikit-learn, which.*pip install "deconvnet\[probes\]"'):
        probe(copy_of_the_image(), coloured(9), "mean", 3)


@pytest.mark.slow
def test_average_precision_by_hand():
    # In the order of the scores: hit, miss, hit, hit, miss. Precision at the hits 1, 2/3, 3/4; the best from there on
    # 1, 3/4, 3/4.
    assert average_precision([0.9, 0.1, 0.8, 0.5, 0.6], [1, 0, 0, 1, 1]) == pytest.approx((1 + 3 / 4 + 3 / 4) / 3)
    assert average_precision([3.0, 2.0, 1.0], [0, 0, 1]) == pytest.approx(1 / 3)
    assert average_precision([1.0, 1.0], [0, 1]) == 1 / 2  # of equal scores the earlier comes first
    for scores, truth in (([1.0, 2.0], [0, 0]), ([1.0, 2.0], [0, 1, 1])):
        with pytest.raises(ValueError, match="at least one image of the class"):
            average_precision(scores, truth)


def test_average_precision_is_the_area_that_voc_counts():
    random = np.random.default_rng(0)
    for _ in range(20):
        scores, truth = random.normal(size=30), random.random(30) < 0.3
        truth[0] = True
        order = sorted(range(30), key=lambda place: -scores[place])
        points = []
        for count in range(1, 31):
            hits = sum(truth[place] for place in order[:count])
            points.append((hits / truth.sum(), hits / count))
        area, before = 0.0, 0.0
        for recall in sorted({recall for recall, _ in points}):
            area += (recall - before) * max(precision for reached, precision in points if reached >= recall)
            before = recall
        assert average_precision(scores, truth) == pytest.approx(area)


def test_images_of_several_classes_are_ranked_for_each_of_them():
    random = np.random.default_rng(0)
    labels = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]] * 8)
    features = labels + random.normal(0, 0.05, labels.shape)
    found = average_precisions(features[:20], labels[:20], features[20:], labels[20:])
    np.testing.assert_allclose(found, 1)
    wrong = average_precisions(features[:20], labels[:20], features[20:23], [[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert (wrong[:2] <= 1 / 2).all() and np.isnan(wrong[2])  # of class 2 there is no test image
    with pytest.raises(ValueError, match="Class 1 has no training image"):
        average_precisions(features[:1], labels[:1], features, labels)
    with pytest.raises(ValueError, match=r"labels \(n, classes\)"):
        average_precisions(features[:4], labels[:3], features, labels)


def test_layers_of_the_paper_are_maps_after_pooling_and_normalisation_and_hidden_vectors():
    assert layers_of(SPECIMENS["lenet"]()) == ["pool1", "pool2", "dense1", "dense2"]
    assert layers_of(models.AlexNet(weights=None, units=4, classes=2)) == [
        *("pool1", "pool2", "conv3", "conv4", "pool5", "fc6", "fc7")
    ]
    assert layers_of(models.ZFNet(weights=None, units=4, classes=2))[:3] == ["norm1", "norm2", "conv3"]
    deep = keras.Sequential([keras.Input((8, 8, 1)), *(kl.Conv2D(1, 1, name=f"c{n}") for n in range(30))])
    assert (
        layers_of(deep)[0] == "c0" and len(layers_of(deep)) == 12 and layers_of(deep)[-1] == "c28"
    )  # c29 is the output


@pytest.fixture
def subject():
    pictures, labels = coloured(24, noise=0.8)
    pixels = np.clip(60 * pictures + 90, 0, 255).astype(np.uint8)
    stream = tf.data.Dataset.from_tensor_slices((pixels, labels.astype(np.int32), np.arange(72)))
    data = datasets.ImageSet("colours", "all", stream, ("r", "g", "b"), 72, (5, 4, 3), "made up")
    preprocess = lambda batch: np.asarray(batch, "float32") / 60 - 1.5  # noqa: E731
    return Subject(copy_of_the_image(), "none", data, preprocess, held_out=data)


@pytest.mark.slow
def test_the_chart_of_table_7_shows_the_means_and_its_table_stands_beside_the_papers(subject):
    (picture,) = probe_pictures(subject)
    assert picture.numbers["layers"] == ("same", "mean", "hidden") and picture.numbers["per_class"].tolist() == [12]
    curve = picture.figure.axes[0].containers[0].lines[0].get_ydata()
    np.testing.assert_allclose(curve, 100 * picture.numbers["accuracy"][:, 0, 0].mean(axis=-1))
    ours, paper = picture.tables
    assert [row[0] for row in ours.rows] == [
        f"{kind} ({layer})" for kind in ("SVM", "Softmax") for layer in layers_of(subject.model)
    ]
    assert paper.rows[0][0] == "SVM (1)"
    assert {finding.claim for finding in picture.findings} == {"table7-depth"}
    again = next(probe_pictures(subject))
    assert (again.numbers["accuracy"] == picture.numbers["accuracy"]).all()


def test_there_is_no_table_7_without_twenty_images_of_each_class(subject):
    assert not [*probe_pictures(subject._replace(held_out=None))]
    few = subject.held_out._replace(dataset=subject.held_out.dataset.take(60), encoded=None, size=60)
    assert not [*probe_pictures(subject._replace(held_out=few))]
