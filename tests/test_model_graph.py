"""The walk: every layer once for each call, inputs before users, under the name that a user would write."""

import keras
import numpy as np
import pytest
import reference
from keras import layers as kl
from specimens import SPECIMENS, fill, images

import deconv
from deconv import graph
from models.layers import CeilMaxPooling2D, GroupedConv2D, LocalResponseNormalization


def layer_paths(model):
    """Paths of all layers, nested models opened and named too, from the independent walk of the reference."""
    return [path for path, layer, _ in reference.calls_of(model) if not isinstance(layer, kl.InputLayer)]


@pytest.mark.parametrize("name", SPECIMENS)
def test_what_each_layer_puts_out_is_what_the_slow_forward_pass_finds(name):
    model = SPECIMENS[name]("float64")
    pixels = images(model, 3)
    expected = reference.forward(model, pixels)
    found = deconv.activations(model, pixels, layer_paths(model), batch_size=2)
    assert list(found) == layer_paths(model)
    for path, maps in found.items():
        np.testing.assert_allclose(maps, expected[path], rtol=0, atol=1e-12 * np.abs(expected[path]).max())
    top = layer_paths(model)[-1]
    np.testing.assert_allclose(found[top], model(pixels), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SPECIMENS)
def test_steps_come_after_what_they_need_and_carry_the_shapes_of_keras(name):
    model = SPECIMENS[name]()
    model_graph = graph.walk(model)
    made = set(model_graph.inputs)
    for step in model_graph.steps:
        assert set(step.inputs) <= made
        made.update(step.outputs)
        if "/" not in step.name:
            assert (None, *step.output.shape) == model.get_layer(step.name).output.shape
    assert len({step.name for step in model_graph.steps}) == len(model_graph.steps)


@pytest.mark.parametrize("name", SPECIMENS)
def test_an_index_means_the_layer_that_keras_counts(name):
    model = SPECIMENS[name]()
    model_graph = graph.walk(model)
    for index, layer in enumerate(model.layers):
        if not isinstance(layer, kl.InputLayer):
            expected = graph.find(model_graph, layer.name)
            assert (
                graph.find(model_graph, index)
                == graph.find(model_graph, np.int64(index - len(model.layers)))
                == expected
            )


def test_the_name_of_a_nested_model_means_its_output():
    model_graph = graph.walk(SPECIMENS["nested"]())
    for alias, path in {"base": "base/conv2", "base/block": "base/block/pool"}.items():
        assert (
            graph.find(model_graph, alias) == graph.find(model_graph, path)
            and graph.find(model_graph, path).name == path
        )


def test_each_call_of_a_shared_layer_and_of_a_shared_model_has_a_name():
    image = keras.Input((7, 6, 2))
    conv = kl.Conv2D(2, 3, padding="same", name="conv")
    inner = keras.Input((7, 6, 2))
    block = keras.Model(inner, kl.ReLU(name="relu")(conv(inner)), name="block")
    model_graph = graph.walk(keras.Model(image, conv(conv(block(block(image))))))
    names = ["block/conv", "block/relu", "block:2/conv", "block:2/relu", "conv", "conv:2"]
    assert [step.name for step in model_graph.steps] == names
    assert graph.find(model_graph, "block:2").name == "block:2/relu"


def test_each_call_of_a_shared_layer_puts_out_its_own_maps():
    image = keras.Input((7, 6, 2), dtype="float64")
    conv = kl.Conv2D(2, 3, padding="same", name="conv", dtype="float64")
    model = fill(keras.Model(image, conv(conv(image))), seed=1)
    pixels = images(model, 2)
    kernel, bias = conv.get_weights()
    once = reference.conv2d(pixels, kernel, bias, padding="same")
    twice = reference.conv2d(once, kernel, bias, padding="same")
    found = deconv.activations(model, pixels, ["conv:2", "conv"])
    np.testing.assert_allclose(found["conv"], once, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found["conv:2"], twice, rtol=0, atol=1e-12)


def test_below_keeps_only_what_the_layer_depends_on():
    model_graph = graph.walk(SPECIMENS["branching"]())
    below = {
        name: [step.name for step in graph.subgraph(model_graph, graph.find(model_graph, name)).steps]
        for name in ("conv3", "add")
    }
    assert below["conv3"] == ["conv1", "norm1", "relu1", "conv3"]
    assert set(below["add"]) == {*below["conv3"], "conv2", "concatenate", "norm2", "relu2", "conv4", "add"}


def sized(outer, inner):
    """A model with a model inside, each with an input of the given size; None is open."""
    image, maps = keras.Input((*outer, 3)), keras.Input((*inner, 4))
    block = keras.Model(maps, kl.Conv2D(3, (2, 3), strides=2, activation="relu", name="conv")(maps), name="block")
    pooled = kl.MaxPooling2D(3, 2, padding="same", name="pool")(kl.Conv2D(4, 3, name="conv")(image))
    joined = kl.Concatenate(name="joined")([block(pooled), kl.Conv2D(2, (2, 3), strides=2, name="side")(pooled)])
    return fill(keras.Model(image, kl.Dense(3, name="top")(kl.GlobalAveragePooling2D()(joined))), seed=2)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [((None, None), (None, None)), ((None, 18), (6, None)), ((13, 18), (None, None))],
    ids=["all open", "partly open", "open inside only"],
)
def test_a_model_of_open_size_is_walked_like_its_twin_of_fixed_size(outer, inner):
    free, fixed = sized(outer, inner), sized((13, 18), (6, 8))
    size = {"input_shape": (13, 18, 3)} if None in outer else {}
    shapes = [step.output.shape for step in graph.walk(free, **size).steps]
    assert shapes == [(11, 16, 4), (6, 8, 4), (3, 3, 3), (3, 3, 2), (3, 3, 5), (5,), (3,)]
    pixels = images(fixed, 2)
    found, expected = deconv.Deconvnet(free, **size), deconv.Deconvnet(fixed)
    np.testing.assert_array_equal(found.project(pixels, "top", 1), expected.project(pixels, "top", 1))
    windows = deconv.receptive_windows(free, "joined", [[1, 2], [2, 0]], **size)
    np.testing.assert_array_equal(windows, deconv.receptive_windows(fixed, "joined", [[1, 2], [2, 0]]))


def test_a_model_that_is_its_own_two_outputs_has_one_step_for_each_layer():
    image = keras.Input((8, 7, 2))
    maps = kl.Conv2D(3, 3, name="conv")(image)
    model = keras.Model(image, [kl.MaxPooling2D(2, name="pool")(maps), maps])
    assert [step.name for step in graph.walk(model).steps] == ["conv", "pool"]


def test_layers_that_the_graph_tells_to_train_are_run_as_predict_runs_them():
    image = keras.Input((8, 7, 2))
    maps = kl.BatchNormalization(name="norm")(kl.Conv2D(3, 3, name="conv")(image), training=True)
    model = fill(keras.Model(image, kl.Dropout(0.5, name="dropout")(maps, training=True)), seed=1)
    pixels = images(model)
    found = deconv.activations(model, pixels, "dropout")["dropout"]
    np.testing.assert_allclose(found, model.predict(pixels, verbose=0), rtol=0, atol=1e-5)


def test_a_layer_is_of_its_own_kind_or_of_that_which_its_own_class_names():
    named = {GroupedConv2D(2, 3): kl.Conv2D, CeilMaxPooling2D(): kl.MaxPooling2D}
    named |= {LocalResponseNormalization(): kl.Identity, kl.Conv2D(2, 3): kl.Conv2D, kl.ReLU(): kl.ReLU}
    assert {graph.kind(layer): kind for layer, kind in named.items()} == {kind: kind for kind in named.values()}
    heir = type("Heir", (LocalResponseNormalization,), {})
    assert graph.kind(heir()) is heir
    assert graph.kind(type("Own", (heir,), {"mirrored_as": kl.ReLU})()) is kl.ReLU
    odd = kl.Identity()
    odd.mirrored_as = kl.ReLU  # the word of a class, not of an object
    assert graph.kind(odd) is kl.Identity


def test_an_open_size_is_given_with_as_many_numbers_as_the_input_has_axes():
    model = keras.Sequential([keras.Input((None, 6)), kl.Conv1D(2, 3, name="conv")])
    assert graph.walk(model, (9, 6)).steps[-1].output.shape == (7, 2)
    for wrong in (9, (9, 6, 1), (9, 0), (9.0, 6)):
        with pytest.raises(ValueError, match=r"input_shape must be like \(None, 6\), 2 whole numbers; received"):
            graph.walk(model, wrong)
