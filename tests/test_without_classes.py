"""Networks without class outputs: what needs no class equals that of the whole network, the rest is omitted."""

import keras
import matplotlib
import numpy as np
import pytest
from keras import layers as kl

matplotlib.use("Agg")

import deconv
import models
from deconv import datasets, figures, graph
from deconv.diagnostics.invariance import invariance
from deconv.diagnostics.layer_choice import hidden_layers
from deconv.figures import picture

CLASSES = ("fig5-output", "fig5-rotation", "fig5-symmetry", "fig7-object", "fig7-other-class")
"""Claims about the class outputs."""


@pytest.fixture(scope="module")
def whole():
    return models.LeNet5(weights="mnist")


@pytest.fixture(scope="module")
def cut(whole):
    return keras.Model(whole.input, whole.get_layer("pool2").output, name="lenet5_features")


@pytest.fixture(scope="module")
def digits():
    return datasets.load("mnist-5k", "test").shard(40, 0)._replace(name="digits")


@pytest.fixture(scope="module")
def subject(cut, digits):
    square = {"square": 8, "stride": 5}
    return figures.Subject(cut, "mnist", digits, models.lenet5.preprocess_input, classes=(), **square)


@pytest.fixture(scope="module")
def image(digits):
    return digits.pick(digits.listing()[1][:1])[0]


def test_the_activations_under_the_patch_are_those_of_the_whole_network(whole, cut, image):
    options = {"layer": "conv2", "size": 8, "stride": 5, "preprocess": models.lenet5.preprocess_input, "fill": 0}
    expected, found = (deconv.occlusion_maps(model, image, **options) for model in (whole, cut))
    np.testing.assert_allclose(found.activation, expected.activation, rtol=1e-5)
    assert found.channel == expected.channel and found.unoccluded[2] == pytest.approx(expected.unoccluded[2])
    assert found.probability is found.predicted is found.target is found.error is None
    assert found.unoccluded[:2] == (None, None)


def test_limited_growth_estimates_the_error_of_the_activation_alone(cut, image):
    options = {"layer": "conv2", "size": 8, "stride": 5, "preprocess": models.lenet5.preprocess_input, "fill": 0}
    exact, found = (deconv.occlusion_maps(cut, image, growth=growth, **options) for growth in (None, 0.4))
    difference = np.abs(exact.activation - found.activation).max()
    assert found.error is None and found.activation_error == pytest.approx(difference, rel=1e-4, abs=1e-4)


def test_the_distances_are_those_of_the_whole_network(whole, cut, digits):
    images = digits.pick(digits.listing()[1][:2])
    options = {"layers": ["conv1", "pool2"], "preprocess": models.lenet5.preprocess_input}
    expected, found = (invariance(model, images, None, "rotation", [40, 180], **options) for model in (whole, cut))
    for layer in ("conv1", "pool2"):
        np.testing.assert_allclose(found.distances[layer], expected.distances[layer], rtol=1e-5)
    assert found.targets is found.probability is found.predicted is found.untransformed is None
    assert len(found.plot(images).axes) == 3


@pytest.mark.parametrize("function", [deconv.occlusion_maps, invariance])
def test_a_class_of_a_network_without_classes_is_an_error(function, cut, image):
    images, options = (image, {"layer": "conv2"}) if function is deconv.occlusion_maps else (image[None], {})
    options["preprocess"] = models.lenet5.preprocess_input
    with pytest.raises(ValueError, match=r"must be \(n, classes\).*received \(None, 5, 5, 16\)"):
        function(cut, images, [2] if function is invariance else 2, **options)


def test_without_classes_and_without_a_layer_there_is_nothing_to_occlude(cut, image):
    with pytest.raises(ValueError, match=r"must be \(n, classes\).*received \(None, 5, 5, 16\)"):
        deconv.occlusion_maps(cut, image)


def test_the_last_layer_of_features_takes_the_place_of_the_last_hidden_layer(cut):
    assert [step.name for step in hidden_layers(graph.walk(cut))] == ["pool1", "pool2"]


@pytest.mark.slow
def test_every_recipe_draws_what_needs_no_classes(subject, tmp_path, monkeypatch):
    monkeypatch.setattr(picture.save, "__defaults__", (40,))  # small images are drawn quickly
    drawn = figures.draw(subject, tmp_path)
    assert [recipe for recipe, names in drawn.items() if names] == [
        *("fig1", "fig2", "fig3", "fig5", "fig6", "fig7", "pooling", "filters", "activations", "health")
    ]
    verdicts = {finding.claim: finding for _, finding, _ in figures.verdicts(figures.read_pictures(tmp_path))}
    for claim in CLASSES:
        assert verdicts[claim].verdict == "cannot be tested"
        assert verdicts[claim].measured == "the network has no class outputs", claim
    for claim in ("fig2-grouping", "fig5-first-layer", "fig5-last-layer", "fig7-structure"):
        assert verdicts[claim].seen is not None, claim
    numbers = {about["name"]: about["numbers"] for about in figures.read_pictures(tmp_path)}
    assert numbers["fig7_occlusion"]["score"] is None and numbers["fig5_invariance"]["half_turn"] is None
    assert "NaN" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def chain(count, *, normalised=False):
    """A network of `count` convolutions, whose maps are halved after every third."""
    x = image = keras.Input((32, 32, 3))
    for number in range(count):
        x = kl.Conv2D(2, 3, padding="same", name=f"conv{number}")(x)
        x = kl.BatchNormalization(name=f"norm{number}")(x) if normalised else x
        x = kl.MaxPooling2D(name=f"pool{number}")(x) if number % 3 == 2 else x
    return keras.Model(image, x)


def test_maps_whose_activations_are_summed_are_those_after_the_activation_function(subject):
    image = keras.Input((8, 8, 3))
    x = kl.ReLU(6, name="relu")(kl.BatchNormalization(name="norm")(kl.Conv2D(2, 3, name="conv")(image)))
    model = keras.Model(image, kl.Conv2D(2, 3, activation="relu", name="last")(x))
    assert subject._replace(model=model).active_filters() == ["relu", "last"]
    assert subject._replace(model=model).drawn_filters() == ["norm", "last"]


def test_of_a_deep_network_the_first_convolution_and_the_last_of_each_size_are_drawn(subject):
    assert subject._replace(model=chain(8)).drawn_filters() == [f"conv{number}" for number in range(8)]
    assert subject._replace(model=chain(10)).drawn_filters() == ["conv0", "conv2", "conv5", "conv8", "conv9"]
    normalised = subject._replace(model=chain(10, normalised=True))
    assert normalised.drawn_filters() == ["norm0", "norm2", "norm5", "norm8", "norm9"]
