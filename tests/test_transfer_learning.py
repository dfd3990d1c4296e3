"""A new softmax on given features against the same network from random weights."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl
from specimens import LAYERS, SPECIMENS, images

import deconv
from deconv import datasets, graph
from deconv.figures.stored_transfer import training_of
from deconv.figures.subject import Subject
from deconv.figures.table4 import _findings, transfer_data, transfer_pictures
from deconv.graph.keras_model import label
from deconv.probing.linear_probes import probe
from deconv.probing.training_from_scratch import _order, fresh
from deconv.probing.transfer_learning import Transfer, transfer


def small(dropout=0.25, seed=0, hidden=8):
    """A network of a convolution and a hidden layer, with dropout below its softmax over two classes."""
    image = keras.Input((5, 4, 3))
    maps = kl.Conv2D(6, 3, activation="relu", name="conv", kernel_initializer="he_normal")(image)
    vector = kl.Dense(hidden, "relu", name="hidden", kernel_initializer="he_normal")(kl.Flatten(name="flat")(maps))
    vector = kl.Dropout(dropout, name="drop")(vector)
    model = keras.Model(image, kl.Dense(2, "softmax", name="top")(vector), name="small")
    for number, weight in enumerate(model.weights):
        weight.assign(np.random.default_rng(seed + number).normal(0, 0.3, weight.shape))
    return model


def coloured(count, noise=0.3):
    """Images `(3 count, 5, 4, 3)` of three classes: that channel is brighter, with some noise."""
    labels = np.repeat([2, 5, 7], count)
    pictures = np.random.default_rng(0).normal(0, noise, (len(labels), 5, 4, 3))
    pictures[np.arange(len(labels)), :, :, np.repeat([0, 1, 2], count)] += 1
    return pictures.astype("float32"), labels


def cut(model, layer):
    """The graph of a model up to a layer."""
    model_graph = graph.walk(model)
    return graph.subgraph(model_graph, graph.find(model_graph, layer))


@pytest.fixture(scope="module")
def known():
    """A network, its data, and what `transfer` says of them."""
    model, data = small(), coloured(20)
    before = model.get_weights(), [len(layer._inbound_nodes) for layer in model.layers]
    found = transfer(model, data, per_class=(1, 8), folds=2, test_per_class=10, learning_rate=0.01, seed=4)
    return model, data, before, found


@pytest.mark.slow
def test_the_model_that_is_given_stays_as_it_is(known):
    model, _, (weights, nodes), _ = known
    assert all((before == after).all() for before, after in zip(weights, model.get_weights(), strict=True))
    assert nodes == [len(layer._inbound_nodes) for layer in model.layers]


@pytest.mark.slow
def test_pretrained_is_the_softmax_of_a_probe_on_the_last_hidden_layer(known):
    model, data, _, found = known
    of_probe = probe(model, data, "hidden", (1, 8), folds=2, test_per_class=10, classifiers="softmax", seed=4)
    assert found.layer == "hidden" and found.classes.tolist() == [2, 5, 7]  # what the dropout passes on
    assert (found.pretrained == of_probe.accuracy[0, 0]).all()


def test_from_random_weights_easy_classes_are_learnt_until_the_loss_says_enough(known):
    found = known[-1]
    assert (found.scratch[1] > 0.9).all() and (found.scratch > 1 / 3).all()
    assert ((found.loss <= 0.01) | (found.updates == 2000)).all() and (found.updates % 20 == 0).all()
    assert (found.loss[1] < 0.05).all() and (found.updates[1] > 20).all()


def test_training_ends_at_the_latest_after_so_many_updates_and_only_where_it_is_asked_for():
    found = transfer(small(), coloured(6), per_class=(1, 3), scratch=(3,), folds=1, most_updates=27, enough=1e-9)
    assert found.updates.tolist() == [[0], [27]]
    assert np.isnan(found.scratch[0]).all() and np.isnan(found.loss[0]).all() and np.isfinite(found.loss[1]).all()
    none = transfer(small(), coloured(6), "conv", (1, 3), scratch=False, folds=1)
    assert np.isnan(none.scratch).all() and not none.updates.any() and none.layer == "conv"


@pytest.mark.slow
def test_the_same_seed_trains_the_same_network(known):
    model, data, _, found = known
    options = {"per_class": 8, "folds": 1, "test_per_class": 10, "learning_rate": 0.01}
    again, other = (transfer(model, data, **options, seed=seed) for seed in (4, 5))
    # The draw of 8 is the first part of the same permutation, and its weights have a seed of their own.
    np.testing.assert_allclose(again.loss[0, 0], found.loss[1, 0], rtol=0.05)
    assert again.scratch[0, 0] == pytest.approx(found.scratch[1, 0], abs=1.01 / 30)
    assert other.loss[0, 0] != again.loss[0, 0]


@pytest.mark.parametrize("name", list(SPECIMENS))
def test_a_fresh_network_has_other_weights_and_with_the_same_weights_computes_the_same(name):
    model = SPECIMENS[name]()
    model_graph = cut(model, LAYERS[name])
    twin = fresh(model_graph, 4, np.random.default_rng(0))
    own = {label(step.name): step.layer for step in model_graph.steps if ":" not in step.name}
    for layer in twin.layers[1:-1]:
        if layer.name not in own:  # the flattening below the new softmax
            continue
        for weight, other in zip(own[layer.name].weights, layer.weights, strict=True):
            assert weight is not other
            assert weight.name != "kernel" or (weight.numpy() != other.numpy()).any()
            other.assign(weight)
    pixels = images(model, 2)
    hidden = keras.Model(twin.input, twin.layers[-1].input)
    expected = deconv.activations(model, pixels, LAYERS[name])[LAYERS[name]].reshape(2, -1)
    np.testing.assert_allclose(np.reshape(hidden(pixels, training=False), (2, -1)), expected, rtol=1e-5, atol=1e-5)
    assert twin.output_shape == (None, 4)


def test_fresh_weights_follow_the_seed_and_the_layers_own_initializers():
    model = small()
    model.get_layer("conv").trainable = False
    model_graph = cut(model, "hidden")
    one, same, other = (fresh(model_graph, 3, np.random.default_rng(seed)).get_weights() for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(one, same, strict=True))
    assert (one[0] != other[0]).all() and (one[2] != other[2]).all()
    assert not one[1].any() and not one[3].any()  # biases begin at zero
    wide = keras.Sequential(
        [keras.Input((8, 8, 1)), kl.Conv2D(200, 5, kernel_initializer=keras.initializers.Constant(3))]
    )
    twin = fresh(cut(wide, -1), 3, np.random.default_rng(0))
    assert (twin.get_weights()[0] == 3).all()
    assert len(fresh(model_graph, 3, np.random.default_rng(0)).trainable_variables) == 6  # what was frozen learns too


def test_layers_of_one_name_in_a_model_and_in_one_inside_it_are_kept_apart():
    inner = keras.Input((6, 5, 2))
    base = keras.Model(inner, kl.Conv2D(3, 3, name="conv")(inner), name="base")
    image = keras.Input((6, 5, 2))
    model = keras.Model(image, kl.Conv2D(4, 2, name="conv")(base(image)))
    twin = fresh(cut(model, "conv"), 2, np.random.default_rng(0))
    assert [layer.name for layer in twin.layers[1:3]] == ["base.conv", "conv"]
    assert [weight.shape for weight in twin.weights[:4:2]] == [(3, 3, 2, 3), (2, 2, 3, 4)]


def test_every_image_comes_once_before_any_comes_again():
    order = _order(10, 7, 5, np.random.default_rng(0))
    assert order.shape == (7, 5)
    rounds = [sorted(order[start : start + 2].ravel()) for start in (0, 2, 4)]
    assert rounds == [list(range(10))] * 3 and (order[:2] != order[2:4]).any()
    assert len(set(_order(7, 2, 3, np.random.default_rng(0)).ravel())) == 6  # the one that is over waits a round


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0}, "learning_rate must be a finite number above 0; received 0"),
        ({"enough": -1}, "enough must be a finite number above 0"),
        ({"most_updates": 0}, "most_updates must be a whole number"),
        ({"scratch": (2,)}, r"scratch must be True, False or numbers of per_class, \[1, 3\]; received \(2,\)"),
        ({"layer": "nowhere"}, "has no layer 'nowhere'"),
        ({"per_class": 60}, "Class 2 has 6 images; 60 for training"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_door(options, message):
    with pytest.raises(ValueError, match=message):
        transfer(small(), coloured(6), **{"per_class": (1, 3)} | options)


def test_a_network_without_a_dense_layer_needs_a_layer_to_be_named():
    with pytest.raises(ValueError, match="'overlapping' has no layer below a dense layer; give the layer"):
        transfer(SPECIMENS["overlapping"](), coloured(6))


def findings_of(pretrained, scratch):
    """The findings of the recipe where the accuracies are these, of two folds that differ by 0.02."""
    sizes, spread = np.array([1, 6, 15, 60]), np.array([0.01, -0.01])
    nothing = np.zeros((4, 2))
    given, rival = (np.array(values)[:, None] + spread * sign for values, sign in ((pretrained, 1), (scratch, -1)))
    found = Transfer("hidden", sizes, np.arange(3), given, rival, nothing.astype(int), nothing)
    return {finding.claim: finding for finding in _findings(found)}


def test_the_papers_own_numbers_would_be_seen_and_a_lead_of_a_few_points_would_not():
    paper = findings_of([0.3, 0.56, 0.657, 0.742], [0.02, 0.05, 0.09, 0.388])
    assert paper["table4-transfer"].seen and paper["fig9-few"].seen and paper["table6-voc"].seen is None
    narrow = findings_of([0.3, 0.4, 0.6, 0.7], [0.2, 0.3, 0.5, 0.65])
    assert narrow["table4-transfer"].seen is False and narrow["fig9-few"].seen is False
    assert "from 60 per class on" in narrow["fig9-few"].measured
    unknown = findings_of([0.3, 0.4, 0.6, 0.7], [np.nan] * 4)
    assert unknown["table4-transfer"].seen is unknown["fig9-few"].seen is None
    assert "1,000,000 parameters" in unknown["fig9-few"].measured


@pytest.mark.slow
def test_the_picture_of_fig_9_and_that_there_is_none_without_other_data():
    pictures, labels = coloured(8)
    pixels = np.clip(60 * pictures + 90, 0, 255).astype(np.uint8)
    stream = tf.data.Dataset.from_tensor_slices((pixels, (labels == 2).astype(np.int32), np.arange(24)))
    data = datasets.ImageSet("colours", "all", stream, ("no", "red"), 24, (5, 4, 3), "made up")
    subject = Subject(small(), "none", data, lambda batch: np.asarray(batch, "float32") / 60 - 1.5)
    assert not [*transfer_pictures(subject)]
    assert not [*transfer_pictures(subject._replace(transfer=data, model=SPECIMENS["overlapping"]()))]
    (picture,) = transfer_pictures(subject._replace(transfer=data))
    assert picture.numbers["per_class"].tolist() == [1, 2, 3]
    lines = [container.lines[0].get_ydata() for container in picture.figure.axes[0].containers]
    for line, name in zip(lines, ("pretrained", "scratch"), strict=True):
        np.testing.assert_allclose(line, 100 * picture.numbers[name].mean(axis=1))
    ours, *papers = picture.tables
    assert [row[0] for row in ours.rows] == ["from scratch", "pre-trained"] and len(papers) == 3
    assert "The network itself was trained on these classes" in picture.caption
    assert "--train" not in picture.caption
    (without,) = transfer_pictures(subject._replace(transfer=data, scratch=False))
    assert np.isnan(without.numbers["scratch"]).all() and "made up" in without.numbers["data_source"]
    assert "were not trained; --train trains them." in without.caption and without.findings[0].seen is None


@pytest.fixture
def stored(tmp_path):
    """A subject and a file with results of networks from random weights that fits it."""
    pixels = np.clip(60 * coloured(8)[0] + 90, 0, 255).astype(np.uint8)
    stream = tf.data.Dataset.from_tensor_slices((pixels, np.repeat(np.int32([0, 1, 2]), 8), np.arange(24)))
    data = datasets.ImageSet("colours", "all", stream, ("r", "g", "b"), 24, (5, 4, 3), "made up")
    prepare = lambda batch: np.asarray(batch, "float32") / 60 - 1.5  # noqa: E731
    subject = Subject(small(), "none", data, prepare, transfer=data, scratch=tmp_path / "transfer.json")
    results = {"scratch": [[0.5] * 5], "updates": [[20] * 5], "loss": [[0.25] * 5]}
    record = {"training": training_of(subject, np.array([1])), "results": results}
    subject.scratch.write_text(json.dumps(record), encoding="utf-8")
    return subject


def test_stored_results_are_used_if_they_are_of_the_same_training(stored):
    found, said = transfer_data(stored, np.array([1]))
    assert (found.scratch == 0.5).all() and (found.updates == 20).all() and (found.loss == 0.25).all()
    assert found.updates.dtype == np.int64 and "are of an earlier training; --train trains them again." in said
    other_weights = stored._replace(model=small(seed=4))
    assert (transfer_data(other_weights, np.array([1]))[0].scratch == 0.5).all()  # they start from random weights
    for other, per_class in (
        (stored._replace(seed=1), 1),
        (stored, 2),
        (stored._replace(preprocess=lambda batch: np.asarray(batch, "float32") / 50), 1),
        (stored._replace(transfer=stored.transfer.shard(2, 0)), 1),
        (stored._replace(model=small(hidden=7)), 1),
    ):
        found, said = transfer_data(other, np.array([per_class]))
        assert np.isnan(found.scratch).all() and "were not trained; --train" in said


@pytest.mark.parametrize("results", [{}, {"scratch": [[1]], "updates": [[1]], "loss": [[1]]}, {"scratch": 1}])
def test_stored_results_of_another_form_are_one_line(stored, results):
    record = json.loads(stored.scratch.read_text(encoding="utf-8")) | {"results": results}
    stored.scratch.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ValueError, match=r"transfer\.json' holds no results of networks from random weights"):
        transfer_data(stored, np.array([1]))
