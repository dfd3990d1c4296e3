"""Layers say their own data format: what Keras takes for the default changes nothing in models or mirrors."""

import keras
import numpy as np
import pytest
from keras import layers as kl
from specimens import fill, images

import deconv
import models
from models.classifier_head import dense_layers


@pytest.fixture
def channels_first():
    before = keras.config.image_data_format()
    yield lambda: keras.config.set_image_data_format("channels_first")
    keras.config.set_image_data_format(before)


NETWORKS = {
    "LeNet5": {},
    "AlexNet": {"input_shape": (95, 95, 3), "include_top": False},
    "AlexNetOWT": {"input_shape": (95, 95, 3), "include_top": False},
    "ZFNet": {"input_shape": (95, 95, 3), "include_top": False},
    "ZFNet512": {"input_shape": (95, 95, 3), "include_top": False},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_built_of_the_same_layers_whatever_the_default(name, channels_first):
    def formats():
        model = getattr(models, name)(**NETWORKS[name], weights=None)
        return [(layer.name, layer.output.shape, getattr(layer, "data_format", None)) for layer in model.layers]

    before = formats()
    channels_first()
    assert formats() == before


def test_mirrors_of_models_with_their_channels_last_are_the_same_whatever_the_default(channels_first):
    last = {"data_format": "channels_last"}
    image = keras.Input((11, 9, 3))
    maps = kl.Cropping2D(((0, 1), (1, 0)), **last)(kl.ZeroPadding2D(((1, 2), (0, 1)), name="pad", **last)(image))
    maps = kl.Conv2D(4, 3, activation="relu", padding="same", name="conv", **last)(maps)
    maps = kl.AveragePooling2D(2, **last)(kl.MaxPooling2D(2, name="pool", **last)(maps))
    vector = kl.Concatenate()([kl.Flatten(**last)(maps), kl.GlobalAveragePooling2D(**last)(maps)])
    model = fill(keras.Model(image, kl.Dense(3, name="top")(vector)), seed=1)
    record = deconv.Deconvnet(model).record(images(model, 2), "top")
    given = [record.activations, *record.switches.values()]
    before = deconv.mirror(model, "top")(given)
    channels_first()
    np.testing.assert_array_equal(deconv.mirror(model, "top")(given), before)
    assert np.abs(before).max() > 0


def test_the_dense_head_takes_maps_in_the_same_order_whatever_the_default(channels_first):
    channels_first()
    image = keras.Input((2, 3, 4))
    settings = {"units": (3, 2), "classes": 2, "dropout": 0, "activation": None, "settings": {}}
    model = keras.Model(image, dense_layers(image, **settings))
    pixels = np.arange(24.0).reshape(1, 2, 3, 4)
    np.testing.assert_array_equal(model.get_layer("flatten")(pixels)[0], np.arange(24))


def test_a_model_with_its_channels_first_is_still_refused_by_name(channels_first):
    channels_first()
    model = keras.Sequential([keras.Input((3, 9, 8)), kl.Conv2D(2, 3, name="conv")])
    with pytest.raises(ValueError, match="Layer 'conv' has its channels first"):
        deconv.mirror(model, "conv")
