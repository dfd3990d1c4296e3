"""VGG16: what is computed, and torchvision's preprocessing."""

import keras
import networks
import numpy as np
import pytest
import reference

import models


@pytest.mark.slow
def test_vgg16_computes_what_its_paper_writes():
    model = models.VGG16(input_shape=(32, 36, 3), include_top=False)
    reference_layers = keras.applications.VGG16(weights=None, input_shape=(32, 36, 3), include_top=False).layers[1:]
    assert [layer.name for layer in model.layers[1:]] == [layer.name for layer in reference_layers]
    x = images = np.random.default_rng(0).standard_normal((1, 32, 36, 3)).astype(np.float32)
    weights = networks.weights_of(model)
    for layer in model.layers[1:]:
        is_pool = layer.name.endswith("pool")
        x = (
            reference.max_pool(x, (2, 2), (2, 2))[0]
            if is_pool
            else networks.conv(x, weights[layer.name], pad=networks.ONE)
        )
    np.testing.assert_allclose(model.predict(images, verbose=0), x, atol=1e-5)


@pytest.mark.parametrize("module", [models.alexnet_owt, models.vgg16])
def test_preprocessing_is_torchvisions_and_is_inverted(module):
    pixels = np.array([[[0, 128, 255]]], np.uint8)
    expected = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(module.preprocess_input(pixels), expected, atol=1e-6)
    np.testing.assert_array_equal(module.to_pixels(module.preprocess_input(pixels)), pixels)
