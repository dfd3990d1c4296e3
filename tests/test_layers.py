"""The faces: a mirror is a keras.Model that shares its model's weights, can be saved, and trains nothing."""

import keras
import numpy as np
import pytest
from keras import layers as kl
from specimens import LAYERS, SPECIMENS, fill, images

import deconv
from deconv.deconvnet import layers

SAVED = ["branching", "nested", "padded", "grouped", "average", "global_max"]


def attach(model, layer, pixels=None):
    """The mirror of a layer and the inputs that lead its activations down."""
    net = deconv.Deconvnet(model)
    record = net.record(images(model) if pixels is None else pixels, layer)
    return net.mirror(layer), [record.activations, *record.switches.values()]


def save_and_load(mirror, folder):
    mirror.save(folder / "mirror.keras")
    return keras.models.load_model(folder / "mirror.keras")


@pytest.mark.slow
@pytest.mark.parametrize("name", SAVED)
def test_a_mirror_runs_under_predict_and_is_the_same_after_saving(name, tmp_path):
    model = SPECIMENS[name]()
    mirror, inputs = attach(model, LAYERS[name])
    below = mirror.predict(inputs, verbose=0, batch_size=2)
    assert np.abs(below).max() > 0
    expected = deconv.Deconvnet(model).project(images(model), LAYERS[name], unit="map")
    np.testing.assert_allclose(below, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    loaded = save_and_load(mirror, tmp_path)
    np.testing.assert_array_equal(loaded.predict(inputs, verbose=0, batch_size=2), below)
    model.set_weights([2 * weight for weight in model.get_weights()])  # the loaded one has its own copy
    np.testing.assert_array_equal(loaded.predict(inputs, verbose=0, batch_size=2), below)


def rearranging():
    """A model with a layer that only moves numbers and an output that nothing uses."""
    image = keras.Input((4, 6, 4))
    used, _ = keras.ops.split(keras.layers.Permute((2, 1, 3))(image), 2, axis=-1)
    return fill(keras.Model(image, keras.layers.Conv2D(3, 2, activation="relu", name="top")(used)), seed=0)


def test_a_mirror_of_layers_that_rearrange_is_the_same_after_saving(tmp_path):
    mirror = deconv.mirror(rearranging(), "top")
    signal = np.random.default_rng(0).standard_normal((2, *mirror.inputs[0].shape[1:])).astype("float32")
    below = mirror.predict(signal, verbose=0)
    assert below.shape == (2, 4, 6, 4) and np.abs(below[..., :2]).max() > 0 and not below[..., 2:].any()
    np.testing.assert_array_equal(save_and_load(mirror, tmp_path).predict(signal, verbose=0), below)


def test_every_face_is_saved_above():
    def kinds(mirror_layer):
        return {mirror_layer, *(below for heir in mirror_layer.__subclasses__() for below in kinds(heir))}

    saved = {
        type(mirror_layer) for name in SAVED for mirror_layer in deconv.mirror(SPECIMENS[name](), LAYERS[name]).layers
    }
    saved |= {type(mirror_layer) for mirror_layer in deconv.mirror(rearranging(), "top").layers}
    assert {kind for kind in kinds(layers.MirrorLayer) if not kind.__subclasses__()} <= saved


def test_a_mirror_of_a_frozen_model_is_the_same_after_saving(tmp_path):
    model = SPECIMENS["branching"]()
    model.trainable = False
    mirror, inputs = attach(model, "conv6")
    loaded = save_and_load(mirror, tmp_path)
    np.testing.assert_array_equal(loaded.predict(inputs, verbose=0), mirror.predict(inputs, verbose=0))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("name", ["branching", "grouped"])
def test_a_mirror_trains_nothing_and_freezing_or_thawing_it_does_not_reach_the_model(name, frozen):
    model = SPECIMENS[name]()
    model.trainable = not frozen
    flags = [weight.trainable for weight in model.weights]
    mirror = deconv.mirror(model, LAYERS[name])
    assert mirror.trainable_weights == []
    for trainable in (False, True):
        mirror.trainable = trainable
        for mirror_layer in mirror.layers:
            mirror_layer.trainable = trainable
            assert mirror_layer.trainable_weights == []
        assert [weight.trainable for weight in model.weights] == flags


def test_a_mirror_holds_the_very_variables_of_its_model():
    model = SPECIMENS["branching"]()
    theirs = {id(weight) for weight in model.weights}
    ours = deconv.mirror(model, "conv6").weights
    assert ours and all(id(weight) in theirs for weight in ours)


@pytest.mark.slow
def test_a_mirror_follows_the_weights_of_its_model():
    model = SPECIMENS["branching"]("float64")
    net, pixels = deconv.Deconvnet(model), images(model)
    before = net.project(pixels, "conv6", 1)
    model.set_weights(SPECIMENS["branching"]("float64", seed=9).get_weights())
    after = net.project(pixels, "conv6", 1)
    np.testing.assert_array_equal(after, deconv.Deconvnet(model).project(pixels, "conv6", 1))
    assert np.abs(after - before).max() > 0.1 * np.abs(before).max()


def test_batch_norm_leads_down_by_its_scale_worked_out_by_hand():
    # gamma / sqrt(variance + epsilon): 6 / sqrt(3 + 1) = 3 and -2 / sqrt(15 + 1) = -0.5; beta and mean drop out.
    norm = kl.BatchNormalization(epsilon=1.0, name="norm")
    model = keras.Sequential([keras.Input((1, 2, 2)), norm])
    norm.set_weights([np.array(values, float) for values in ([6, -2], [7, 7], [9, 9], [3, 15])])
    below = deconv.mirror(model, "norm")([np.reshape([1.0, 1, 10, 100], (1, 1, 2, 2))])
    assert np.ravel(below).tolist() == [3, -0.5, 30, -50]


def test_a_mirror_in_half_precision_agrees_with_full_precision():
    def build(policy):
        image = keras.Input((9, 7, 3))
        maps = kl.Conv2D(6, 3, activation="relu", dtype=policy)(image)
        maps = kl.MaxPooling2D(3, 2, dtype=policy)(kl.BatchNormalization(dtype=policy)(maps))
        maps = kl.DepthwiseConv2D(2, activation="relu", dtype=policy)(maps)
        return fill(keras.Model(image, kl.Dense(5, name="top", dtype=policy)(kl.Flatten()(maps))), seed=1)

    half, full = build("mixed_float16"), build("float32")
    found, expected = (deconv.Deconvnet(model).project(images(full), "top", 2) for model in (half, full))
    assert np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


def test_the_summary_names_the_layers_that_are_reversed_from_the_top_down():
    lines = []
    deconv.mirror(SPECIMENS["sequential"](), "pool2").summary(print_fn=lines.append, line_length=120)
    order = ["pool2_unpool", "conv2_rectify", "conv2_transpose", "pool1_unpool", "conv1_rectify", "conv1_transpose"]
    places = ["\n".join(lines).index(name) for name in order]
    assert places == sorted(places)


def test_a_mirror_can_be_plotted(tmp_path):
    pytest.importorskip("pydot", reason="keras.utils.plot_model needs pydot")
    keras.utils.plot_model(deconv.mirror(SPECIMENS["lenet"](), "conv2"), tmp_path / "mirror.png", show_shapes=True)
    assert (tmp_path / "mirror.png").read_bytes().startswith(b"\x89PNG")
