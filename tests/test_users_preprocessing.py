"""A preprocessing of the user's may change arrays in place: nothing else notices."""

import ast
import inspect
import tempfile
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
from keras import layers as kl

import deconv
from deconv.imaging.pixel_space import to_pixel_space

KEEP = {"a": np.array([[1, 1, 4, 4]] * 3), "b": np.array([[3, 2, 6, 5]] * 3)}


def in_place(images):
    """As `keras.applications.mobilenet_v2.preprocess_input`: an array of floats is changed where it lies."""
    images = images.astype("float32", copy=False)
    images /= 127.5
    images -= 1
    return images


def pure(images):
    return np.asarray(images, "float32") / np.float32(127.5) - np.float32(1)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    chain = [
        kl.Conv2D(6, 3, activation="relu", name="conv"),
        kl.MaxPooling2D(name="pool"),
        kl.Flatten(),
        kl.Dense(8, activation="relu", name="hidden"),
        kl.Dense(3, activation="softmax", name="top"),
    ]
    return keras.Sequential([keras.Input((8, 7, 2)), *chain])


@pytest.fixture(scope="module")
def photographs():
    return np.random.default_rng(0).uniform(0, 255, (24, 8, 7, 2)).astype("float32")


LABELS = np.arange(24) % 3
DRAWN = {"scaling": "common", "folds": 2, "test_per_class": 2}
CALLS = {
    "occlusion_maps": lambda m, x, p: deconv.occlusion_maps(m, x[0], 1, "conv", 3, 2, fill=[9, 200], preprocess=p),
    "perturbation_curves": lambda m, x, p: deconv.perturbation_curves(
        m, x[0], {"up": x[0, ..., 0]}, 1, steps=4, preprocess=p, batch_size=3
    ),
    "explain": lambda m, x, p: deconv.explain(
        m, x[0], 1, methods=["gradient", "occlusion"], steps=3, random_orders=2, runs=1, preprocess=p
    )[:4],
    "explain a unit": lambda m, x, p: deconv.explain(
        m, x[0], 1, "conv", ["occlusion"], steps=3, random_orders=2, runs=1, preprocess=p
    )[:4],
    "explore": lambda m, x, p: _data_of_a_site(m, x, p),
    "correspondence": lambda m, x, p: deconv.correspondence(m, x[:3], KEEP, ["conv"], fill=128, preprocess=p),
    "health": lambda m, x, p: deconv.health(m, x, ["conv", "hidden"], unseen=x[:9], preprocess=p),
    "invariance": lambda m, x, p: deconv.invariance(m, x[:3], 1, values=[1, 2], layers=["conv"], preprocess=p),
    "top_sheet": lambda m, x, p: _drawn(deconv.top_sheet(m, x, "conv", k=3, preprocess=p)),
    "top_activations": lambda m, x, p: deconv.top_activations(m, x, ["conv", "hidden"], 3, preprocess=p),
    "embed": lambda m, x, p: deconv.embed(m, (x, LABELS), "hidden", "pca", preprocess=p),
    "embed_units": lambda m, x, p: deconv.embed_units(m, x, "hidden", "pca", clusters=2, preprocess=p),
    "cluster_tops": lambda m, x, p: deconv.cluster_tops(
        m, x, deconv.embed_units(m, x, "hidden", "pca", clusters=2, preprocess=p), 2, preprocess=p
    ),
    "probe": lambda m, x, p: deconv.probe(m, (x, LABELS), ["conv"], 4, classifiers=["svm"], **DRAWN, preprocess=p),
    "separation": lambda m, x, p: deconv.separation(m, (x, LABELS), ["conv"], neighbours=3, preprocess=p),
    "transfer": lambda m, x, p: deconv.transfer(m, (x, LABELS), "hidden", [2], scratch=False, **DRAWN, preprocess=p),
    "to_pixel_space": lambda m, x, p: to_pixel_space(x - 128, p),
}


def _drawn(figure):
    """What the axes of a figure show, as arrays; the figure is closed."""
    plt.close(figure)
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


def _data_of_a_site(model, images, preprocess):
    """The content of the data files of an explorer."""
    with tempfile.TemporaryDirectory() as folder:
        deconv.explore(model, images, folder, "conv", k=3, image_count=2, preprocess=preprocess)
        return [np.frombuffer(file.read_bytes(), np.uint8) for file in sorted(Path(folder, "data").glob("*.js"))]


TENSORS = {"dream", "invert", "optimize", "transfer_style", "visualize"}
"""Whose images are TensorFlow's tensors, which cannot be changed in place."""

SCANNED = {"FeatureEvolution"}
"""Which read their data set with what reads it for `top_activations`."""


@pytest.mark.parametrize("name", CALLS)
def test_a_preprocessing_in_place_gives_what_a_pure_one_gives_and_spoils_no_array(model, photographs, name):
    if name in ("probe", "separation", "transfer", "embed_units", "cluster_tops", "embed"):
        pytest.importorskip("sklearn")
    given = photographs.copy()
    found = keras.tree.flatten(CALLS[name](model, given, in_place))
    np.testing.assert_array_equal(given, photographs)
    expected = keras.tree.flatten(CALLS[name](model, photographs.copy(), pure))
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_public_function_that_takes_a_preprocessing_is_tried_above():
    known = {name.split()[0] for name in CALLS} | TENSORS | SCANNED
    modules = deconv, deconv.features, deconv.attribution
    for module, name in ((where, name) for where in modules for name in where.__all__):
        value = getattr(module, name)
        if callable(value) and "preprocess" in inspect.signature(value).parameters:
            assert name in known, name


def test_one_place_alone_calls_a_preprocessing():
    calls, package = [], Path(deconv.__file__).parent
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if called.strip("_") in ("preprocess", "preprocess_input"):
                    calls.append(str(path.relative_to(package)))
    assert calls == ["validation.py"]


def test_a_method_of_ones_own_may_change_its_images(model, photographs):
    def greedy(model, images, target, layer, **settings):
        images *= 0
        return images + 1

    given = photographs[0].copy() / 255
    methods = {"greedy": greedy, "gradient": deconv.attribution.gradient}
    settings = {"steps": 3, "random_orders": 2, "runs": 2}
    found = deconv.explain(model, given, 1, methods=methods, **settings)
    np.testing.assert_array_equal(given, photographs[0] / 255)
    alone = deconv.attribution.gradient(model, given[None], 1)[0]
    np.testing.assert_array_equal(found.maps["gradient"], alone)
