"""Models whose own `call` computes more than their graph says are refused; the way out that is named works."""

import keras
import numpy as np
import pytest
from keras import layers as kl

import deconv
from deconv import attribution

PIXELS = np.random.default_rng(0).standard_normal((2, 6, 5, 3)).astype("float32")


@keras.saving.register_keras_serializable("test")
class Scaled(keras.Model):
    def call(self, images, training=None):
        return super().call(images / 255)


@keras.saving.register_keras_serializable("test")
class ScaledSequential(keras.Sequential):
    def call(self, images, training=None):
        return super().call(images * 0.5 - 1)


class Heir(Scaled):
    pass


class OwnCall(keras.Model):
    def __call__(self, images, **kwargs):
        return super().__call__(-images, **kwargs)


class OwnStep(keras.Model):
    def train_step(self, data):
        return {"loss": 0.0}

    def compute_loss(self, *args, **kwargs):
        return 0.0


def layers():
    return [kl.Conv2D(3, 2, activation="relu", name="conv"), kl.Flatten(), kl.Dense(2, name="top")]


def functional(kind):
    maps = image = keras.Input((6, 5, 3))
    for layer in layers():
        maps = layer(maps)
    return kind(image, maps, name="own")


def patched():
    model = functional(keras.Model)
    model.call = lambda images, **kwargs: type(model).call(model, images / 2)
    return model


REFUSED = {
    "functional": lambda: functional(Scaled),
    "sequential": lambda: ScaledSequential([keras.Input((6, 5, 3)), *layers()], name="own"),
    "heir": lambda: functional(Heir),
    "object": patched,
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_of_its_own_is_refused_and_the_graph_that_is_named_has_its_values(name):
    model = REFUSED[name]()
    for ask in (
        lambda: deconv.occlusion_maps(model, PIXELS[0], 1, size=3, stride=3),
        lambda: attribution.gradient(model, PIXELS, 1),
        lambda: deconv.activations(model, PIXELS, "conv"),
        lambda: deconv.Deconvnet(model),
        lambda: deconv.receptive_windows(model, "conv", [0, 0]),
    ):
        with pytest.raises(ValueError, match=r"'own' \(\w+\) overrides call,.*model\.call\(images\)"):
            ask()
    images = keras.Input(model.input_shape[1:])
    as_batches = keras.Model(images, model.call(images))
    found = deconv.activations(as_batches, PIXELS, "top")["top"]
    np.testing.assert_allclose(found, model(PIXELS), rtol=1e-5)
    assert np.abs(found - deconv.activations(functional(keras.Model), PIXELS, "top")["top"]).max() > 1e-3
    down = deconv.Deconvnet(as_batches).project(PIXELS, "top", 1)
    assert down.shape == PIXELS.shape and down.any()


def test_it_is_refused_inside_another_model_and_when_it_comes_from_a_file(tmp_path):
    image = keras.Input((6, 5, 3))
    outer = keras.Model(image, kl.ReLU()(functional(Scaled)(image)))
    with pytest.raises(ValueError, match=r"'own' \(Scaled\) overrides call,"):
        deconv.Deconvnet(outer)
    functional(Scaled).save(tmp_path / "own.keras")
    with pytest.raises(ValueError, match=r"'own' \(Scaled\) overrides call,"):
        deconv.Deconvnet(keras.saving.load_model(tmp_path / "own.keras"))


def test_a_dunder_call_of_its_own_is_refused():
    with pytest.raises(ValueError, match=r"'own' \(OwnCall\) overrides __call__.*Rescaling"):
        attribution.gradient(functional(OwnCall), PIXELS, 1)


def test_a_model_that_only_trains_in_its_own_way_is_walked():
    model = functional(OwnStep)
    found = deconv.activations(model, PIXELS, "top")["top"]
    np.testing.assert_allclose(found, model(PIXELS), rtol=1e-5)
