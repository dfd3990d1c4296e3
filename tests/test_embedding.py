"""Embeddings, unit clusters and neighbours: networks whose answer is known by construction, slow twins, laws."""

import sys

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import layers as kl
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from specimens import SPECIMENS, images

import deconv
import models
from deconv import datasets
from deconv.datasets.picking import images_by_id
from deconv.datasets.sampling import draw
from deconv.embedding.class_separation import predict_by_neighbours, separation
from deconv.embedding.cluster_tops import cluster_tops
from deconv.embedding.clustering import clustered
from deconv.embedding.image_embedding import embed
from deconv.embedding.layout import coordinates, layout
from deconv.embedding.unit_embedding import embed_units, responses
from deconv.plotting.embedding import embedding_row, embedding_sheet, unit_sheet
from deconv.plotting.thumbnails import thumbnails
from deconv.probing.feature_vectors import average, vectors
from models.lenet5 import preprocess_input


def trustworthiness(points, plane, neighbours):
    """The slow twin, from Venna & Kaski 2001: who enters a neighbourhood is charged with its rank outside of it."""
    count, charge = len(points), 0
    for i in range(count):
        ranks = {j: rank for rank, j in enumerate(by_distance(points, i), start=1)}
        charge += sum(max(0, ranks[j] - neighbours) for j in by_distance(plane, i)[:neighbours])
    return 1 - charge * 2 / (count * neighbours * (2 * count - 3 * neighbours - 1))


def by_distance(points, i):
    """The other points, the nearest to point i first."""
    away = [np.sqrt(sum((a - b) ** 2 for a, b in zip(points[i], other, strict=True))) for other in points]
    return sorted((j for j in range(len(points)) if j != i), key=lambda j: away[j])


def colour_detectors(height=5, width=4):
    """Units 0 to 8: three that respond to red, three to green, two to blue, and one to nothing.

    The filters differ by size only, so that those of a colour respond alike.
    """
    image = keras.Input((height, width, 3))
    maps = kl.Conv2D(9, 1, activation="relu", use_bias=False, name="conv")(image)
    model = keras.Model(image, kl.Dense(3, name="mean")(kl.GlobalAveragePooling2D(name="pool")(maps)), name="colours")
    kernel = np.zeros((1, 1, 3, 9))
    for unit, colour in enumerate([0, 1, 2, 1, 0, 0, 2, 1]):
        kernel[0, 0, colour, unit] = unit + 1
    model.get_layer("conv").set_weights([kernel])
    return model


def coloured(count, seed=0, noise=0.2):
    """Images `(3 count, 5, 4, 3)` of three classes, red, green and blue by turns."""
    labels = np.tile([0, 1, 2], count)
    pictures = np.random.default_rng(seed).uniform(0, noise, (len(labels), 5, 4, 3))
    pictures[np.arange(len(labels)), :, :, labels] += 1
    return pictures.astype("float32"), labels


@pytest.mark.parametrize(("count", "values"), [(12, 5), (7, 7), (9, 40), (5, 9000)])
def test_coordinates_keep_all_distances_and_their_axes_are_principal(count, values):
    points = np.random.default_rng(0).normal(3, 1, (count, values)).astype("float32")
    turned = coordinates(points)
    assert turned.shape == (count, min(count, values))
    for i in range(count):
        expected = np.linalg.norm(points.astype(float) - points[i], axis=1)
        np.testing.assert_allclose(np.linalg.norm(turned - turned[i], axis=1), expected, rtol=1e-6, atol=1e-6)
    products = turned.T @ turned
    energy = np.linalg.svd(points - points.mean(axis=0, dtype=float), compute_uv=False) ** 2
    np.testing.assert_allclose(np.diag(products), energy, rtol=1e-6, atol=1e-6 * energy[0])
    assert np.abs(products - np.diag(np.diag(products))).max() < 1e-6 * energy[0]
    assert (turned.max(axis=0) >= -turned.min(axis=0) - 1e-9).all()


def test_principal_components_by_hand():
    # On a line along (3, 4): distances from the mean are -10, 0 and 10, and nothing is left for a second axis.
    turned = coordinates(np.array([[1.0, 2.0], [7.0, 10.0], [13.0, 18.0]]))
    np.testing.assert_allclose(np.abs(turned), [[10, 0], [0, 0], [10, 0]], atol=1e-7)
    model_graph = layout(coordinates(np.array([[0.0, 0, 3], [0, 0, -3], [1, 0, 0], [-1, 0, 0]])), "pca")
    np.testing.assert_allclose(np.sort(model_graph.points.ravel()), [-3, -1, 0, 0, 0, 0, 1, 3], atol=1e-6)
    assert model_graph.kept == pytest.approx(1) and model_graph.kl is None and model_graph.perplexity is None


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_trustworthiness_is_that_of_the_slow_twin(method):
    points = np.random.default_rng(1).normal(size=(30, 6))
    model_graph = layout(coordinates(points), method, neighbours=4)
    assert model_graph.trustworthiness == pytest.approx(trustworthiness(points, model_graph.points, 4), abs=1e-9)
    assert 0.5 < model_graph.trustworthiness < 1
    assert model_graph.perplexity == (None if method == "pca" else 29 / 3)


def test_images_of_one_colour_lie_together_and_the_layout_repeats():
    model, (pictures, labels) = colour_detectors(), coloured(20)
    found = embed(model, (pictures, labels), "pool", images=60)
    assert found.ids.tolist() == list(range(60)) and found.labels.tolist() == labels.tolist()
    assert found.values == 9 and found.perplexity == 59 / 3 and found.layer == "pool"
    for i, label in enumerate(labels):
        assert (labels[by_distance(found.points, i)[:10]] == label).all()
    again = embed(model, (pictures, labels), "pool", images=60)
    np.testing.assert_array_equal(again.points, found.points)


def test_the_images_themselves_are_laid_out_as_the_model_takes_them():
    model, (pictures, labels) = colour_detectors(), coloured(8)
    found = embed(model, (pictures, labels), None, "pca", preprocess=lambda batch: 2 * batch)
    assert found.layer == "pixels" and found.values == 60
    centred = 2 * (pictures.reshape(24, -1) - pictures.reshape(24, -1).mean(axis=0, dtype=float))
    energy = np.linalg.svd(centred, compute_uv=False) ** 2
    np.testing.assert_allclose(np.square(found.points).sum(axis=0), energy[:2], rtol=1e-5)
    assert found.kept == pytest.approx(energy[:2].sum() / energy.sum())


@pytest.mark.slow
def test_trustworthiness_on_digits_is_above_nine_tenths():
    model, digits = models.LeNet5(weights="mnist"), datasets.load("mnist-5k", "test")
    for layer in (None, "pool2", "fc3", "fc4"):
        found = embed(model, digits, layer, images=200, preprocess=preprocess_input)
        assert found.trustworthiness > 0.9, (layer, found.trustworthiness)


@pytest.mark.parametrize(("name", "layer"), [("overlapping", "conv2"), ("nested", "base/conv2"), ("lenet", "dense2")])
def test_vectors_are_the_activations_flattened_or_averaged(name, layer):
    model = SPECIMENS[name]()
    pixels = images(model, 5)
    maps = deconv.activations(model, pixels, layer)[layer]
    own, itself = vectors(model, pixels, [layer, None], batch_size=2)
    np.testing.assert_allclose(own, maps.reshape(5, -1), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(itself, pixels.reshape(5, -1))
    if maps.ndim == 4:
        (means,) = vectors(model, pixels, [layer], pooled=1)
        np.testing.assert_allclose(means, maps.mean(axis=(1, 2)), rtol=0, atol=1e-5)
        (grid,) = vectors(model, pixels, [layer], pooled=(2, 1), batch_size=3)
        np.testing.assert_allclose(grid, average(maps, (2, 1)).reshape(5, -1), rtol=0, atol=1e-5)


def test_what_is_drawn_keeps_its_order_and_an_even_draw_has_as_many_of_each_class():
    labels = np.array([0] * 30 + [1] * 20 + [5] * 3 + [-1] * 7)
    pictures = np.arange(60, dtype="float32")[:, None, None, None] * np.ones((1, 2, 2, 1), "float32")
    ids = 1000 - np.arange(60)
    found = draw((pictures, labels, ids), 15, seed=3, even=True)
    assert np.unique(found.labels, return_counts=True)[1].tolist() == [5, 5, 3]
    places = found.images[:, 0, 0, 0].astype(int)
    assert (np.diff(places) > 0).all() and (found.ids == 1000 - places).all() and (labels[places] == found.labels).all()
    assert draw((pictures, labels, ids), 15, seed=4, even=True).ids.tolist() != found.ids.tolist()
    assert len(draw(pictures, 99).ids) == 60 and (draw(pictures, 5).labels == -1).all()
    np.testing.assert_array_equal(images_by_id((pictures, labels, ids), [1000, 941, 1000])[:, 0, 0, 0], [0, 59, 0])


def test_neighbours_vote_as_in_scikit_learn():
    random = np.random.default_rng(2)
    points, labels = random.normal(size=(40, 7)).astype("float32"), random.integers(0, 4, 40)
    points += labels[:, None] * 0.4
    for neighbours in (1, 4):
        judge = KNeighborsClassifier(neighbours, algorithm="brute")
        expected = cross_val_predict(judge, points, labels, cv=LeaveOneOut())
        found = predict_by_neighbours(points, labels, neighbours)
        assert (found == expected).all() and 0.2 < (found == labels).mean() < 1


def test_separation_by_hand():
    # Grey levels 0, 1, 2, 10 of class 7 and 3, 11, 12 of class 9. The nearest: of 0 it is 1, of 1 it is 0 or 2, of 2 it
    # is 1 or 3, of 10 it is 11 (wrong); of 3 it is 2 (wrong), of 11 it is 10 or 12, of 12 it is 11. A little is added
    # so that there are no ties: 1 goes to 0, 2 goes to 1, 11 goes to 12.
    levels = np.array([0, 1, 2.1, 10, 3.3, 11.2, 12.1], "float32")
    labels = np.array([7, 7, 7, 7, 9, 9, 9])
    model = keras.Sequential([keras.Input((3, 2, 1)), kl.GlobalMaxPooling2D(name="max")], name="levels")
    pictures = levels[:, None, None, None] * np.ones((1, 3, 2, 1), "float32")
    found = separation(model, (pictures, labels), "max", neighbours=1)
    assert found.layers == ("pixels", "max") and found.values.tolist() == [6, 1]
    assert found.classes.tolist() == [7, 9] and found.images.tolist() == [4, 3] and found.chance == 1 / 2
    np.testing.assert_allclose(found.per_class, [[3 / 4, 2 / 3]] * 2)
    np.testing.assert_allclose(found.accuracy, [17 / 24] * 2)
    np.testing.assert_allclose(found.deviation, [np.sqrt(3 / 16 / 4 + 2 / 9 / 3) / 2] * 2)


def test_classes_apart_by_construction_come_apart_with_depth_and_labels_at_random_are_guessed():
    # The classes differ by the mean of a channel alone, which the pixels drown in noise and the second layer uncovers.
    random, labels = np.random.default_rng(5), np.tile([0, 1, 2], 40)
    model = keras.Sequential([keras.Input((5, 4, 3)), kl.ReLU(negative_slope=1.0, name="same")], name="means")
    model.add(kl.GlobalAveragePooling2D(name="mean"))
    pictures = random.normal(0, 1, (120, 5, 4, 3)).astype("float32")
    pictures -= pictures.mean(axis=(1, 2), keepdims=True)
    pictures[np.arange(120), :, :, labels] += 0.3
    found = separation(model, (pictures, labels), ["same", "mean"])
    assert found.accuracy[0] == found.accuracy[1] < 0.6 and found.accuracy[2] == 1 and found.deviation[2] == 0
    guessed = separation(model, (pictures, random.permutation(labels)), ["mean"])
    # 120 answers, of which each is right with 1 / 3: four standard deviations are 0.17.
    assert (np.abs(guessed.accuracy - 1 / 3) < 0.17).all()


@pytest.mark.parametrize("response", ["max", "mean"])
@pytest.mark.parametrize(("name", "layer"), [("overlapping", "conv3"), ("lenet", "dense1"), ("same", "pool2")])
def test_responses_are_the_maximum_or_the_mean_of_each_map(name, layer, response):
    model = SPECIMENS[name]()
    pixels = images(model, 5)
    maps = deconv.activations(model, pixels, layer)[layer].reshape(5, -1, model.get_layer(layer).output.shape[-1])
    found = responses(model, pixels, layer, response, batch_size=2)
    np.testing.assert_allclose(found, getattr(maps, response)(axis=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_units_of_one_colour_are_one_cluster_and_the_dead_one_is_left_out(method):
    model, (pictures, labels) = colour_detectors(), coloured(15)
    found = embed_units(model, (pictures, labels), "conv", method)
    assert found.units.tolist() == [0, 1, 2, 3, 4, 5, 6, 7] and found.dead.tolist() == [8]
    # Red: 0, 4, 5. Green: 1, 3, 7. Blue: 2, 6. Red and green are as large; red has the first unit.
    assert found.clusters.tolist() == [0, 1, 2, 1, 0, 0, 2, 1] and found.count == 3
    assert found.silhouette > 0.95 and found.silhouette == max(found.silhouettes.values())
    np.testing.assert_allclose(found.centrality, 1, atol=1e-6)
    assert found.preference.argmax(axis=1).tolist() == [0, 1, 2] and found.classes.tolist() == [0, 1, 2]
    # A third of the responses are about 1 above the others: (1 - 1/3) / sqrt(1/3 * 2/3) deviations above their mean.
    np.testing.assert_allclose(found.preference.max(axis=1), np.sqrt(2), atol=0.02)
    two = embed_units(model, (pictures, labels), "conv", method, clusters=2)
    assert two.count == 2 and list(two.silhouettes) == [2] and two.silhouette < found.silhouette


def test_the_strongest_projections_of_a_cluster_are_those_of_its_units():
    model, (pictures, labels) = colour_detectors(), coloured(15)
    ids = 100 + np.arange(45)
    found = embed_units(model, (pictures, labels, ids), "conv")
    tops = cluster_tops(model, (pictures, labels, ids), found, units=2)
    assert tops.clusters.tolist() == [0, 0, 1, 1, 2, 2]
    assert [
        set(tops.units[tops.clusters == cluster]) <= set(found.units[found.clusters == cluster]) for cluster in range(3)
    ]
    for place, (unit, colour) in enumerate(zip(tops.units, [0, 0, 1, 1, 2, 2], strict=True)):
        number, row, column = np.unravel_index(pictures[..., colour].argmax(), (45, 5, 4))
        assert (tops.ids[place], *tops.positions[place]) == (100 + number, row, column)
        np.testing.assert_array_equal(tops.images[place], pictures[number])
        expected = np.zeros((5, 4, 3))  # one filter of one cell: the activation times the weight, there
        expected[row, column, colour] = pictures[number, row, column, colour] * (unit + 1.0) ** 2
        np.testing.assert_allclose(tops.projections[place], expected, rtol=1e-5)
        assert tops.windows[place].tolist() == [row, column, row + 1, column + 1]


def test_clusters_are_counted_by_the_silhouette_and_the_largest_comes_first():
    corners = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    places = np.array([3, 0, 0, 1, 2, 2, 2, 3, 1, 0, 0])
    points = corners[places] + np.random.default_rng(0).normal(0, 0.1, (11, 2))
    clusters, silhouettes = clustered(points)
    assert max(silhouettes, key=silhouettes.get) == 4 and list(silhouettes) == list(range(2, 11))
    # Sizes: corner 0 four, corner 2 three, corners 3 and 1 two each, of which 3 has the first point.
    assert clusters.tolist() == [{0: 0, 2: 1, 3: 2, 1: 3}[place] for place in places]
    assert clustered(points, 1)[0].tolist() == [0] * 11


def test_thumbnails_lie_on_free_places_next_to_their_points():
    points = np.array([[0.0, 0], [0, 0], [1, 0], [0, 1], *[[1, 1]] * 30])
    shades = np.arange(34.0) + 100
    pictures = shades[:, None, None, None] * np.ones((1, 6, 3, 1))
    picture, (left, right, bottom, top), shown = thumbnails(points, pictures, np.zeros((34, 3)), side=20, size=400)
    assert {0, 1, 2, 3, 4} <= set(shown) and len(shown) < 34  # there is no room for thirty near one point
    for number in shown:
        rows, columns = np.nonzero(np.isclose(picture[..., 0], shades[number] / 255))
        assert len(rows) == 20 * 10  # whole, none over another
        x = left + (columns.mean() + 0.5) / picture.shape[1] * (right - left)
        y = top - (rows.mean() + 0.5) / picture.shape[0] * (top - bottom)
        box = np.array([15, 25]) * (right - left) / picture.shape[1]
        assert (np.abs([x, y] - points[number]) / box).max() < 2


def test_the_charts_say_what_they_show_and_colour_classes_alike():
    model, (pictures, labels) = colour_detectors(), coloured(6)
    labels = np.where(np.arange(18) < 3, -1, labels)
    found = embed(model, (pictures, labels), "pool", "pca", seed=4)
    sheet = embedding_sheet(found, 200 * pictures, ["red", "green$", "blue"])
    assert "PCA of 18 images, seed 4, trustworthiness" in sheet.get_suptitle()
    assert [text.get_text() for text in sheet.legends[0].get_texts()] == ["red", "green$", "blue", "no class"]
    dots = sheet.axes[0].collections[0]
    np.testing.assert_array_equal(dots.get_offsets(), found.points)
    colours = dots.get_facecolors()
    assert all(len(np.unique(colours[labels == label], axis=0)) == 1 for label in (-1, 0, 1, 2))
    assert len(np.unique(colours, axis=0)) == 4
    many = embedding_row([found._replace(labels=np.arange(18) + 4)] * 5, "five")
    assert len(many.legends[0].get_texts()) == 18 and sum(ax.axison for ax in many.axes) == 5
    crowd = np.arange(30)
    assert not embedding_sheet(
        found._replace(labels=crowd, points=np.random.default_rng(0).random((30, 2)), ids=crowd)
    ).legends
    plt.close("all")


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_the_sheet_of_units_has_a_row_of_pictures_for_each_cluster(method):
    model, data = colour_detectors(), coloured(15)
    found = embed_units(model, data, "conv", method)
    tops = cluster_tops(model, (200 * data[0], data[1]), found, units=3)
    sheet = unit_sheet(found, tops, ["red", "green", "blue"], "colours")
    assert "8 units of conv; 1 with the same response to all images omitted" in sheet.get_suptitle()
    pictures = [ax for ax in sheet.axes if any(text.get_text().startswith("unit ") for text in ax.texts)]
    named = [[int(text.get_text()[5:]) for text in ax.texts] for ax in pictures]
    assert named == [tops.units[tops.clusters == cluster].tolist() for cluster in range(3)]
    # A unit sees one pixel: its projection in its colour, the others at grey, and beside it the image's own pixel.
    first = np.asarray(pictures[0].images[0].get_array())
    np.testing.assert_allclose(first[0, :2], [[1, 0.5, 0.5], tops.images[0][tuple(tops.positions[0])] / 255], atol=1e-6)
    responses = np.asarray(sheet.axes[1].images[0].get_array())
    np.testing.assert_allclose(responses, found.preference)
    assert unit_sheet(found._replace(classes=found.classes[:0]), None, title="$").get_suptitle().startswith("$")
    plt.close("all")


def test_bad_inputs_say_what_is_wrong():
    model, data = colour_detectors(), coloured(5)
    for call, message in (
        (lambda: embed(model, data, "pol"), "Did you mean 'pool'"),
        (lambda: embed(model, data, "pool", "umap"), "method must be 'tsne' or 'pca'; received 'umap'"),
        (lambda: embed(model, data, "pool", perplexity=15), "less than the number of points, 15; received 15"),
        (lambda: embed(model, data, "pool", perplexity=0.5), "perplexity must be a number of at least 1"),
        (lambda: embed(model, data, "pool", images=3), "at least 4 points; received 3"),
        (lambda: embed(model, data, "pool", images=0), "images must be a whole number of at least 1"),
        (lambda: embed(model, 0 * data[0], "pool"), "All vectors are the same"),
        (lambda: embed(model, data, "pool", seed=-1), "seed must be a whole number"),
        (lambda: separation(model, data[0], "pool"), "ImageSet, or arrays"),
        (
            lambda: separation(model, (data[0], 0 * data[1]), "pool"),
            "at least two classes of at least two images each; received 1 class\\.",
        ),
        (lambda: separation(model, data, "pool", images=3), "the smallest of 1"),
        (lambda: separation(model, data, "pool", neighbours=15), "fewer than the images, 15; received 15"),
        (lambda: embed_units(model, data, "conv", response="sum"), "response must be 'max' or 'mean'"),
        (lambda: embed_units(model, data, "mean"), "at least 4 units of layer 'mean' .*, those of 3 of its 3 units do"),
        (lambda: embed_units(model, data, "conv", clusters=9), "clusters must be at most"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    model, data = colour_detectors(), coloured(5)
    for call in (embed, embed_units, separation):
        with pytest.raises(ImportError, match=r"pip install \"deconvnet\[probes\]\""):
            call(model, data, "conv")
