"""The memory of an explanation is bounded by `batch_size`, which changes no number."""

import tracemalloc

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl

import deconv

SIDE = 24


SIZES = []


class Watched(kl.Layer):
    """Lets maps pass, and notes how many come at a time, whenever it runs."""

    mirrored_as = kl.Identity

    def call(self, maps):
        def note(size):
            SIZES.append(int(size))
            return np.int32(0)

        with tf.control_dependencies([tf.numpy_function(note, [tf.shape(maps)[0]], tf.int32)]):
            return tf.identity(maps)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    chain = [Watched(), kl.Conv2D(2, 5, 4, activation="relu", name="conv"), kl.Flatten(), kl.Dense(3, name="top")]
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), *chain])


OPTIONS = {"smooth_grad": {"samples": 40}, "integrated_gradients": {"steps": 40, "tolerance": None}}


def explained(model, batch_size, layer=None, methods=None):
    """`(explanation, largest batch that the model, and that the preprocessing, was given)`."""
    image = np.random.default_rng(0).uniform(0, 255, (SIDE, SIDE, 3)).astype("float32")
    SIZES.clear()
    prepared = []

    def preprocess(images):
        prepared.append(len(images))
        return images / 255

    found = deconv.explain(
        model,
        image,
        1,
        layer,
        methods,
        preprocess=preprocess,
        steps=40,
        options={name: OPTIONS[name] for name in OPTIONS if methods is None or name in methods},
        batch_size=batch_size,
        runs=1,
    )
    return found, max(SIZES), max(prepared)


@pytest.fixture(scope="module")
def at_once(model):
    return explained(model, 600)[0]


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 6, 32])
def test_no_step_of_an_explanation_computes_more_images_at_a_time_and_none_gives_other_numbers(
    model, at_once, batch_size
):
    found, largest, prepared = explained(model, batch_size)
    assert largest == batch_size
    assert prepared <= max(batch_size, 5)  # of five squares occlusion learns whether pixels are treated alone
    assert list(found.maps) == list(at_once.maps) and {"lrp", "occlusion", "grad_cam"} < set(found.maps)
    for name, maps in at_once.maps.items():
        np.testing.assert_allclose(found.maps[name], maps, rtol=1e-4, atol=1e-6, err_msg=name)
    for way in ("deletion", "insertion"):
        for name, curve in getattr(at_once, way).items():
            np.testing.assert_allclose(getattr(found, way)[name], curve, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_hidden_unit_is_explained_in_batches_too(model):
    found, largest, _ = explained(model, 3, "conv", ["smooth_grad", "occlusion"])
    assert largest == 3
    expected, _, _ = explained(model, 50, "conv", ["smooth_grad", "occlusion"])
    for name, maps in expected.maps.items():
        np.testing.assert_allclose(found.maps[name], maps, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_arrays_are_as_large_as_the_batch_makes_them(model):
    peaks = {}
    for batch_size in (2, 128):
        explained(model, batch_size, None, ["smooth_grad"])  # compiled
        tracemalloc.start()
        explained(model, batch_size, None, ["smooth_grad"])
        peaks[batch_size] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    image = SIDE * SIDE * 3 * 4
    assert peaks[128] > 128 * image  # else nothing is measured
    orders = 12 * SIDE * SIDE * 8  # the control has ten, the edges one
    assert peaks[2] < 16 * image + 4 * orders
