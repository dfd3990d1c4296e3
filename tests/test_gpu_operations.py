"""Nothing that this package computes asks a GPU for what TensorFlow refuses there under determinism.

Everything runs on a CPU, formulated as for a GPU, and every operation is looked up by its name.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from gpu_operations import recorded
from keras import layers as kl
from specimens import LAYERS, SPECIMENS, fill, images

import deconv
import models
from deconv import attribution
from deconv.runtime import devices
from models.layers import CeilMaxPooling2D, GroupedConv2D, LocalResponseNormalization
from models.training import augmentation, crops


def tiny():
    """Of everything a little: overlapping pools of all three paddings, groups, normalisation, branches, a softmax."""
    image = keras.Input((15, 14, 3))
    maps = kl.Conv2D(4, 3, activation="relu", name="conv1")(image)
    maps = CeilMaxPooling2D(3, 2, name="pool1")(LocalResponseNormalization(name="norm1")(maps))
    maps = GroupedConv2D(6, 3, padding="same", groups=2, activation="relu", name="conv2")(maps)
    maps = kl.MaxPooling2D(3, 2, padding="same", name="pool2")(kl.BatchNormalization(name="norm2")(maps))
    maps = kl.Add(name="add")([maps, kl.Conv2D(6, 1, activation="relu", name="conv3")(maps)])
    vector = kl.Dense(4, "relu", name="dense")(kl.Flatten(name="flatten")(maps))
    return fill(keras.Model(image, kl.Dense(3, "softmax", name="predictions")(vector), name="tiny"), seed=0)


def pixels(count=3):
    return np.random.default_rng(0).uniform(0, 1, (count, 15, 14, 3)).astype("float32")


def labelled():
    return pixels(12), np.arange(12) % 3


def project(model):
    whole, net = deconv.Deconvnet(model, windowed=False), deconv.Deconvnet(model)
    for way in (whole, net):
        way.project(pixels(), "conv2", [0, 1])
    net.project_units(pixels(), "conv1", [0, 1, 2], [[0, 0], [3, 4], [5, 2]], patches=True)
    net.mirror("predictions").predict([np.ones((1, 3), "float32"), *_switches(net, "predictions")], verbose=0)


def _switches(net, layer):
    return list(net.record(pixels(1), layer).switches.values())


def collide(model):
    for policy in ("last", "max"):
        deconv.Deconvnet(model, collisions=policy).project(pixels(), "conv2")


def scan(model):
    deconv.top_activations(model, pixels(), ["conv1", "predictions"], 2, batch_size=2)


def occlude(model):
    for layer in ("predictions", "conv2"):
        deconv.occlusion_maps(model, pixels(1)[0], 1 if layer == "predictions" else None, layer, size=5, stride=5)


def attribute(model):
    for method in attribution.METHODS.values():
        method(model, pixels(2), 1)
    attribution.relevances(model, pixels(1), 1)


def see(model):
    deconv.visualize(model, "conv2", [0], steps=2)
    deconv.visualize(model, "predictions", [0, 1], steps=2)


def invert(model):
    deconv.invert(model, pixels(1) * 255, "conv2", steps=2)


def dream(model):
    deconv.dream(model, pixels(1)[0] * 255, "conv2", octaves=2, steps=2)


def style(model):
    content, other = pixels(2) * 255
    deconv.transfer_style(model, content, other, content_layers=["conv2"], style_layers=["conv1"], size=None, steps=2)


def vary(model):
    for kind, values in (("translation", [0, 2]), ("rotation", [0, 90]), ("scale", [1, 1.5])):
        deconv.invariance(model, pixels(2), None, kind, values, ["conv1", "predictions"])


def be_healthy(model):
    deconv.health(model, labelled(), ["conv1", "conv2"])


def probe(model):
    deconv.probe(model, labelled(), ["conv2"], (2,), test_per_class=1, folds=1)


def control(model):
    deconv.controls(model, pixels(), "conv2")


def judge(model):
    deconv.explain(
        model, pixels(1)[0], 1, methods=["gradient", "occlusion"], steps=4, square=5, stride=5, random_orders=2
    )


def stages(model):
    deconv.feature_maps(model, pixels())
    deconv.activations(model, pixels(), ["conv1", "predictions"])
    deconv.compare_pooling(model, pixels(), "pool2", [0], shifts=(1,))


def verify(model):
    deconv.verify(model, "conv3", pixels(2), show=False)


def embed(model):
    deconv.embed_units(model, labelled(), "conv2", "pca")


def train(model):
    network = models.LeNet5(weights=None)
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    digits = np.random.default_rng(0).uniform(0, 255, (4, 28, 28, 1)).astype("float32")
    moved = augmentation.random_affine(digits, tf.constant([0, 1]))
    network.fit(moved, np.arange(4), batch_size=2, verbose=0)
    network.evaluate(digits, np.arange(4), verbose=0)


def train_scratch(model):
    from deconv import graph
    from deconv.probing.training_from_scratch import Trainer

    model_graph = graph.walk(model)
    trainer = Trainer(graph.subgraph(model_graph, graph.find(model_graph, "conv3")), 3, 1e-3)
    trainer.train(*labelled(), np.random.default_rng(0), 2, 0.1, 4)


QUICK = (project, collide, scan, occlude, see, style, dream, vary, be_healthy, verify)
LONG = (attribute, invert, probe, control, judge, stages, embed, train, train_scratch)
JOBS = [*QUICK, *(pytest.param(job, marks=pytest.mark.slow) for job in LONG)]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return tiny()


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS, ids=[job.__name__ for job in (*QUICK, *LONG)])
def test_nothing_is_asked_for_that_a_gpu_refuses_under_determinism(job, model):
    keras.utils.set_random_seed(0)
    with devices.as_on_gpu(), recorded() as record:
        job(model)
    assert sum(record.operations.values()) > 20
    assert not record.refused


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grouped", "dilated", "average", "global_max"])
def test_nor_for_any_kind_of_filter_or_pool(name):
    model = SPECIMENS[name]()
    with devices.as_on_gpu(), recorded() as record:
        deconv.verify(model, LAYERS[name], images(model, 2), show=False)
    assert record.operations and not record.refused


def test_the_record_sees_what_a_cpu_would_be_asked_for():
    model = SPECIMENS["overlapping"]()
    with recorded() as record:
        deconv.Deconvnet(model, windowed=False).project(images(model, 1), "conv3")
    assert "MaxPoolGradWithArgmax" in record.operations and record.refused


def test_the_record_sees_nested_functions_gradients_and_eager_calls():
    @tf.function
    def inside(maps):
        return tf.image.resize(maps, (4, 4), "nearest")

    @tf.function
    def outside(maps):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            total = tf.while_loop(lambda k, t: k < 2, lambda k, t: (k + 1, t + tf.reduce_sum(inside(maps))), (0, 0.0))[
                1
            ]
        return tape.gradient(total, maps)

    with recorded() as record:
        outside(tf.ones((1, 2, 2, 1)))
        tf.math.bincount(tf.constant([1, 1]))
    found = {name.split(",")[0] for name in record.refused}
    assert "ResizeNearestNeighborGrad" in found and found & {"DenseBincount", "Bincount"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["overlapping", "same", "global_max", "alexnet", "nested"])
def test_projections_as_a_gpu_computes_them_are_those_of_a_cpu(name):
    model, layer = SPECIMENS[name]("float64"), LAYERS[name]
    given = images(model, 2)
    expected = deconv.Deconvnet(model).project(given, layer)
    with devices.as_on_gpu():
        found = deconv.Deconvnet(model).project(given, layer)
        whole = deconv.Deconvnet(model, windowed=False).project(given, layer)
    assert np.any(expected)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


def test_crops_need_no_gradient_of_themselves():
    with recorded() as record:
        crops.centre_crops(tf.zeros((2, 20, 20, 3)), 8)
    assert not record.refused
