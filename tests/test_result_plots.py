"""Every result that has a figure draws it: `plot()` on what the public functions return."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

import deconv
from deconv.embedding.image_embedding import Embedding
from deconv.evolution.convergence import Settling


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((12, 10, 1)),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
            keras.layers.MaxPooling2D(2, name="pool"),
            keras.layers.Flatten(),
            keras.layers.Dense(5, activation="relu", name="hidden"),
            keras.layers.Dense(3, activation="softmax", name="predictions"),
        ]
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 12, 10, 1)).astype(np.float32)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def assert_drawn(figure, *texts):
    """A figure with axes, drawn without an error, that holds the texts."""
    assert isinstance(figure, plt.Figure) and figure.axes
    figure.canvas.draw()
    written = " ".join(text.get_text() for text in figure.findobj(plt.Text))
    for text in texts:
        assert text in written, written


def test_verification(model):
    assert_drawn(deconv.verify(model, "conv").plot(), "conv")


@pytest.mark.parametrize("layer", [None, "conv"])
@pytest.mark.parametrize("names", [None, ["ant", "bee", "cat"]])
def test_occlusion_maps(model, images, layer, names):
    maps = deconv.occlusion_maps(model, images[0], 1, layer, size=4, stride=4, fill=0)
    assert_drawn(maps.plot(images[0], names), "1" if names is None else "bee", "class")
    projection = np.linspace(-1, 1, 120).reshape(12, 10, 1)
    assert_drawn(maps.plot(images[0], names, projection=projection, title="a title"), "a title", "(c)")
    assert ("(b)" in str([ax.get_title() for ax in plt.gcf().axes])) == (layer is not None)


def test_pooling_comparison(model, images):
    assert_drawn(deconv.compare_pooling(model, images, "pool", [0, 3]).plot(images[2], 2), "conv before and after pool")


def test_layer_health(model, images):
    assert_drawn(deconv.health(model, images, "conv")["conv"].plot("conv"), "conv", "Health of a layer")


def test_feature_maps(model, images):
    maps = deconv.feature_maps(model, images, "conv")
    assert_drawn(maps["conv"].plot(images[1], 1), "Activation maps of conv")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["translation", "rotation", "scale"])
def test_invariance(model, images, kind):
    values = {"translation": [-1, 0, 1], "rotation": [0, 90, 180], "scale": [1, 1.5]}[kind]
    found = deconv.invariance(model, images[:2], [0, 2], kind, values, ["conv", "hidden"])
    assert_drawn(found.plot(images[:2]), f"Invariance to {kind}", "class 2", "conv", "hidden")


@pytest.mark.slow
def test_explanation(model, images):
    found = deconv.explain(model, images[0], 1, methods=["gradient", "deconvnet"])
    assert_drawn(found.plot(), "gradient", "Explanations of predictions")


@pytest.mark.slow
def test_controls_and_cascade(model, images):
    found = deconv.controls(model, images, "conv")
    assert_drawn(found.plot(images), "Controls of conv")
    assert_drawn(found.cascade.plot(), "Similarity")
    assert_drawn(
        deconv.cascade(model, images[:2], "conv", [0, 1], [(0, 0), (1, 1)], ("deconvnet",)).plot(), "Similarity"
    )


def test_separation(model, images):
    many = np.concatenate([images] * 5) + np.arange(30)[:, None, None, None]
    assert_drawn(
        deconv.separation(model, (many, np.arange(30) % 3), ["conv", "hidden"]).plot(), "nearest neighbours", "conv"
    )


def test_probes(model):
    random = np.random.default_rng(1)
    data = random.random((24, 12, 10, 1)).astype(np.float32), np.arange(24) % 3
    found = deconv.probe(model, data, ["conv", "hidden"], 4, folds=2)
    assert_drawn(found.plot(), "Linear classifiers on 4 images per class", "svm", "hidden")


@pytest.mark.slow
def test_visualization(model):
    assert_drawn(deconv.visualize(model, "conv", [0, 2], steps=2).plot(), "Optimized images")


def test_inversion(model, images):
    assert_drawn(deconv.invert(model, images[:2], "conv", steps=2).plot(images[:2], "conv"), "conv", "Inversion")


@pytest.mark.slow
def test_style_transfer(model):
    coloured = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(3, 3, activation="relu", name="conv")])
    content, style = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.float32)
    found = deconv.transfer_style(coloured, content, style, content_layers="conv", style_layers="conv", steps=2)
    assert_drawn(found.plot(content, style), "content", "style", "Style transfer")


def test_relevances(model, images):
    found = deconv.attribution.relevances(model, images[:2], [0, 1], "predictions")
    assert_drawn(found.plot(images[:2], ["first", "second"]), "first", "Relevance")


@pytest.mark.slow
def test_transfer_and_settling_and_embedding():
    random = np.random.default_rng(0)
    accuracy = random.random((3, 2))
    found = deconv.Transfer(
        layer="fc7",
        per_class=np.array([1, 2, 5]),
        classes=np.arange(4),
        pretrained=accuracy,
        scratch=accuracy / 2,
        updates=np.ones((3, 2)),
        loss=accuracy,
    )
    assert_drawn(found.plot(), "softmax on fc7, pre-trained", "trained from random weights")
    settled = Settling(
        epochs=np.array([1, 2, 4]),
        projections=np.array([0.2, 0.5, 1.0]),
        filters=np.array([0.1, 0.7, 1.0]),
        winners=np.array([0.0, 0.5, 1.0]),
        channels=8,
        level=0.9,
        epoch=2.5,
    )
    assert_drawn(settled.plot("conv2"), "conv2")
    points = Embedding(
        points=random.random((9, 2)),
        labels=np.arange(9) % 3,
        ids=np.arange(9),
        layer="fc3",
        method="pca",
        perplexity=None,
        seed=0,
        trustworthiness=0.9,
        kl=None,
        kept=0.8,
        values=50,
    )
    assert_drawn(points.plot(class_names=["ant", "bee", "cat"]), "bee", "fc3")
