"""Pixels into a network's units and back, and probabilities into names."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import models
from models import imagenet, preprocessing

MODULES = {
    "caffe": models.alexnet,
    "torch": models.alexnet_owt,
    "zfnet": models.zfnet,
    "zfnet512": models.zfnet512,
}
PIXEL = np.array([255, 100, 0], np.uint8)  # red, green, blue


@pytest.mark.parametrize(
    ("convention", "expected"),
    [
        ("caffe", (0 - 104.00699, 100 - 116.66877, 255 - 122.67891)),  # blue first
        ("torch", ((1 - 0.485) / 0.229, (100 / 255 - 0.456) / 0.224, (0 - 0.406) / 0.225)),
        ("zfnet", (255 - 122.67891, 100 - 116.66877, 0 - 104.00699)),
        ("zfnet512", (0 - 103.939, 100 - 116.779, 255 - 123.68)),
    ],
)
def test_a_pixel_becomes_what_is_worked_out_by_hand(convention, expected):
    for pixel in (PIXEL, PIXEL.astype(np.float64), PIXEL.astype(np.int64), PIXEL.tolist()):
        given = MODULES[convention].preprocess_input(pixel)
        assert given.dtype == np.float32
        np.testing.assert_allclose(given, expected, rtol=1e-5)


@pytest.mark.parametrize("convention", MODULES)
@pytest.mark.parametrize("shape", [(256, 3), (4, 64, 3), (2, 8, 16, 3), (2, 2, 4, 16, 3)])
def test_pixels_come_back_exactly_and_are_not_changed(convention, shape):
    pixels = np.stack([np.arange(256), np.arange(256)[::-1], np.roll(np.arange(256), 99)], axis=-1)
    pixels = pixels.astype(np.uint8).reshape(shape)
    kept = pixels.copy()
    images = MODULES[convention].preprocess_input(pixels)
    back = MODULES[convention].to_pixels(images)
    assert images.shape == shape and back.dtype == np.uint8
    np.testing.assert_array_equal(back, kept)
    np.testing.assert_array_equal(pixels, kept)
    images[:] = 0  # nor is the result the input itself
    np.testing.assert_array_equal(pixels, kept)


def test_floats_are_not_changed_either():
    pixels = np.full((2, 3, 3), 7, np.float32)
    preprocessing.preprocess(pixels, "zfnet")[:] = 0
    assert (pixels == 7).all()


@pytest.mark.parametrize("convention", MODULES)
def test_tensors_give_what_arrays_give(convention):
    import tensorflow as tf

    preprocess_input = MODULES[convention].preprocess_input
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), np.uint8)
    expected = preprocess_input(pixels)
    dataset = tf.data.Dataset.from_tensor_slices(pixels).batch(3).map(preprocess_input)
    image = keras.Input((5, 4, 3), dtype="uint8")
    model = keras.Model(image, preprocess_input(image))
    for given in (preprocess_input(keras.ops.convert_to_tensor(pixels)), next(iter(dataset)), model(pixels)):
        assert keras.ops.is_tensor(given) and given.dtype == tf.float32
        np.testing.assert_allclose(np.asarray(given), expected, atol=1e-6)
    np.testing.assert_array_equal(MODULES[convention].to_pixels(next(iter(dataset))), pixels)


def test_half_precision_is_widened_before_anything_is_subtracted():
    pixels = np.full((2, 2, 3), 101.5, np.float16)
    expected = preprocessing.preprocess(pixels.astype(np.float32), "caffe")
    for given in (pixels, keras.ops.convert_to_tensor(pixels)):
        np.testing.assert_array_equal(np.asarray(preprocessing.preprocess(given, "caffe")), expected)


def test_under_jax_tensorflows_tensors_and_its_own_are_both_taken():
    pytest.importorskip("jax", reason="needs jax: pip install jax")
    code = """
import keras, numpy as np, tensorflow as tf, models
pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
for module in (models.alexnet, models.alexnet_owt, models.zfnet, models.zfnet512):
    mapped = next(iter(tf.data.Dataset.from_tensor_slices(pixels).batch(2).map(module.preprocess_input)))
    own = module.preprocess_input(keras.ops.convert_to_tensor(pixels))
    assert tf.is_tensor(mapped) and keras.ops.is_tensor(own) and own.dtype == "float32"
    for given in (mapped, own):
        np.testing.assert_allclose(np.asarray(given), module.preprocess_input(pixels), atol=1e-6)
        np.testing.assert_array_equal(module.to_pixels(given), pixels)
"""
    root = Path(models.__file__).parent.parent
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def test_to_pixels_rounds_and_clips():
    mean = np.array(preprocessing.CONVENTIONS["zfnet"].mean, np.float32)
    images = np.array([[-300, 5, 300], [8.49, 8.51, 8]]) - mean
    assert preprocessing.to_pixels(images, "zfnet").tolist() == [[0, 5, 255], [8, 9, 8]]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 8, 8, 1)), r"received shape \(2, 8, 8, 1\).*Repeat the .*np.repeat\(images, 3, axis=-1\)"),
        (np.zeros((8, 9)), r"received shape \(8, 9\). .*grey.* np.repeat\(images\[\.\.\., None\], 3, axis=-1\)"),
        (np.zeros((2, 8, 8, 4)), r"expects RGB images, .* received shape \(2, 8, 8, 4\)"),
        (np.float32(3), r"received shape \(\)"),
        (np.array([["red"] * 3]), "expects pixel values in .0, 255., received dtype <U3"),
        (np.zeros((2, 8, 3), bool), "expects pixel values in .0, 255., received dtype bool"),
    ],
)
def test_what_is_no_colour_image_is_refused_with_the_way_out(images, message):
    with pytest.raises(ValueError, match=message):
        models.alexnet.preprocess_input(images)


@pytest.mark.parametrize("shape", [(8, 9), (2, 8, 8, 1), ()])
def test_to_pixels_refuses_what_is_no_colour_image(shape):
    with pytest.raises(ValueError, match="to_pixels expects shape"):
        models.alexnet.to_pixels(np.zeros(shape))


# -------------------------------------------------------------------------------------------------- class names


def test_the_thousand_classes_are_sorted_by_wnid_and_hold_imagenettes_ten():
    classes = imagenet.imagenet_classes()
    wnids = [wnid for wnid, _ in classes]
    assert len(classes) == 1000 and wnids == sorted(set(wnids))
    assert all(len(wnid) == 9 and wnid.startswith("n") and wnid[1:].isdigit() for wnid in wnids)
    assert all(name and "_" not in name for _, name in classes)
    assert classes[0] == ("n01440764", "tench") and classes[566][0] == "n03394916"  # French horn
    names = dict(classes)
    assert {names[wnid].lower() for wnid, _ in imagenet.IMAGENETTE} >= {"tench", "church", "french horn", "parachute"}


def test_predictions_are_decoded_from_the_most_probable_down():
    scores = np.full((2, 1000), 1e-4)
    scores[0, [566, 0]], scores[1, 0] = (0.7, 0.2), 0.9
    decoded = models.zfnet.decode_predictions(scores, top=2)
    assert [(wnid, score) for wnid, _, score in decoded[0]] == [("n03394916", 0.7), ("n01440764", 0.2)]
    assert decoded[1][0] == ("n01440764", "tench", 0.9)
    assert all(len(row) == 5 for row in models.alexnet.decode_predictions(keras.ops.convert_to_tensor(scores)))


def test_ten_predictions_are_those_of_imagenette():
    scores = np.array([[0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]])
    decoded = models.alexnet.decode_predictions(scores, top=3)
    assert decoded == [
        [("n03888257", "parachute", 0.9), ("n03445777", "golf ball", 0.8), ("n03425413", "gas pump", 0.7)]
    ]


@pytest.mark.parametrize(
    ("shape", "top", "message"),
    [
        ((2, 9), 5, r"expected shape \(n, 1000\) or \(n, 10\), received \(2, 9\)"),
        ((1000,), 5, r"received \(1000,\)"),
        ((2, 1000), 1001, "`top` must be 1 to 1000, received 1001"),
        ((2, 10), 11, "`top` must be 1 to 10, received 11"),
        ((2, 10), 0, "`top` must be a positive whole number, received 0"),
        ((2, 10), 2.5, "`top` must be a positive whole number, received 2.5"),
    ],
)
def test_predictions_that_cannot_be_decoded_are_refused(shape, top, message):
    with pytest.raises(ValueError, match=message):
        imagenet.decode_predictions(np.zeros(shape), top=top)
