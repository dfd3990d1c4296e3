"""The way down through a preprocessing: its exact transpose, for what has one, and a refusal for what has none."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import deconv
import models

MEAN = np.random.default_rng(7).uniform(90, 160, (9, 6, 3))
GAINS = np.random.default_rng(8).uniform(-2, 2, (9, 6, 3))
MIX = np.array([[0.2, -0.5, 0.1], [0.7, 0.3, 0.0], [0.4, 1.0, -0.6]])

PREPROCESSINGS = {
    "caffe's order and means": models.alexnet.preprocess_input,
    "torch's scale": models.alexnet_owt.preprocess_input,
    "a mean pixel": models.zfnet.preprocess_input,
    "a division": models.lenet5.preprocess_input,
    "a mean image": lambda images: images.astype("float32") - MEAN,
    "a scale per pixel": lambda images: images * GAINS + 5,
    "colours mixed": lambda images: images @ MIX / 255 - 0.5,
    "a TensorFlow function": lambda images: tf.cast(images, tf.float32)[..., ::-1] / 127.5 - 1,
    "a scale that goes by the dtype": lambda images: tf.image.convert_image_dtype(images, tf.float32) - 0.5,
    "half precision": lambda images: images.astype("float16") / 255,
    "Keras's, which writes into float arrays": keras.applications.vgg16.preprocess_input,
    "the identity": lambda images: images,
}


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def twin(pictures, preprocess, channels):
    """Bring pictures down by finite differences: pixel by pixel and channel by channel, one step up from black."""
    count, height, width, _ = pictures.shape
    down = np.zeros((count, height, width, channels))
    black = np.zeros((1, height, width, channels), np.uint8)
    for row, column, channel in np.ndindex(height, width, channels):
        stepped = black.copy()
        stepped[0, row, column, channel] = 200
        change = np.asarray(preprocess(stepped), float)[0] - np.asarray(preprocess(black), float)[0]
        for number in range(count):
            down[number, row, column, channel] = (change / 200 * pictures[number]).sum()
    return down


@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_pixel_space_is_reached_by_the_transpose_of_the_linear_part(name):
    preprocess, pictures = PREPROCESSINGS[name], noise(2, 9, 6, 3)
    found = deconv.to_pixel_space(pictures, preprocess)
    assert found.dtype == "float32" and found.shape == pictures.shape
    # float16 has eleven bits; all else is exact but for rounding.
    near = 2e-3 if name == "half precision" else 1e-5
    expected = twin(pictures, preprocess, 3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=near * np.abs(expected).max())
    # <A x, y> = <x, A' y>, for the change from one image to another.
    one, other = np.random.default_rng(1).integers(0, 256, (2, 2, 9, 6, 3)).astype("uint8")
    up = np.asarray(preprocess(one), float) - np.asarray(preprocess(other), float)
    changed = one.astype(float) - other
    residual = np.vdot(up, pictures) - np.vdot(changed, found)
    assert abs(residual) <= near * np.linalg.norm(up) * np.linalg.norm(pictures)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_function_that_casts_is_taken_as_it_is(dtype):
    pictures = noise(3, 5, 8, 1)
    found = deconv.to_pixel_space(pictures, lambda images: images.astype(dtype))
    np.testing.assert_array_equal(found, pictures)


def test_a_function_that_takes_uint8_alone_is_given_uint8():
    def preprocess(images):
        assert images.dtype == np.uint8
        return images[..., ::-1] / np.float32(4)

    pictures = noise(2, 4, 7, 3)
    np.testing.assert_allclose(deconv.to_pixel_space(pictures, preprocess), pictures[..., ::-1] / 4, rtol=1e-6)


def test_blue_first_ends_red_first_by_hand():
    # What a network that takes (blue, green, red) answers with (1, 2, 3) is (3, 2, 1) in red, green, blue.
    found = deconv.to_pixel_space(np.float32([[[[1, 2, 3]]]]), models.alexnet.preprocess_input)
    assert found.ravel().tolist() == [3, 2, 1]


def test_torchs_scale_divides_and_lenets_too_by_hand():
    found = deconv.to_pixel_space(np.ones((1, 1, 2, 3)), models.alexnet_owt.preprocess_input)
    expected = np.tile([1 / 0.229, 1 / 0.224, 1 / 0.225], 2) / 255
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-5)
    digits = deconv.to_pixel_space(np.full((2, 3, 4, 1), 510.0), models.lenet5.preprocess_input)
    np.testing.assert_allclose(digits, np.full((2, 3, 4, 1), 2), rtol=1e-6)


def test_grey_that_is_repeated_for_a_colour_network_gets_the_sum_of_the_colours():
    pictures = noise(2, 4, 5, 3)
    found = deconv.to_pixel_space(pictures, lambda images: np.repeat(images, 3, axis=-1) / 2, channels=1)
    np.testing.assert_allclose(found, pictures.sum(axis=-1, keepdims=True) / 2, rtol=1e-5, atol=1e-6)
    grey = np.float32([0.299, 0.587, 0.114])  # and the other way
    luma = deconv.to_pixel_space(pictures[..., :1], lambda images: images @ grey[:, None], channels=3)
    np.testing.assert_allclose(luma, pictures[..., :1] * grey, rtol=1e-5, atol=1e-6)


def test_neither_the_pictures_nor_what_they_show_twice_is_changed():
    pictures = noise(2, 9, 6, 3)
    before = pictures.copy()
    first = deconv.to_pixel_space(pictures, models.alexnet.preprocess_input)
    np.testing.assert_array_equal(pictures, before)
    np.testing.assert_array_equal(deconv.to_pixel_space(pictures, models.alexnet.preprocess_input), first)


def test_a_preprocessing_that_forgets_the_image_leads_to_nothing():
    assert not deconv.to_pixel_space(noise(1, 3, 3, 1), lambda images: 0.0 * images).any()


def standardized(images):
    images = images.astype("float64")
    with np.errstate(invalid="ignore"):
        return (images - images.mean(axis=(1, 2, 3), keepdims=True)) / images.std(axis=(1, 2, 3), keepdims=True)


@pytest.mark.parametrize(
    "preprocess",
    [
        lambda images: (images / 255.0) ** 2.2,
        lambda images: (images / 25500.0) ** 2,  # small numbers are no excuse
        lambda images: np.minimum(images, 100),
        lambda images: images[:, ::-1],
        lambda images: images - images.mean(axis=(1, 2), keepdims=True),
        standardized,
        tf.image.per_image_standardization,
        lambda images: np.roll(images, 1, axis=2),
    ],
    ids=["gamma", "small squares", "clipped", "upside down", "its own mean", "NaN for one colour", "by TF", "shifted"],
)
def test_what_is_not_affine_in_each_pixel_is_refused(preprocess):
    with pytest.raises(ValueError, match=r"^preprocess must be affine in each pixel \(a matrix and a constant\)"):
        deconv.to_pixel_space(noise(1, 8, 9, 3), preprocess)


@pytest.mark.parametrize(
    ("preprocess", "shape"),
    [
        (lambda images: tf.image.resize(images, (4, 4)), r"\(5, 4, 4, 3\)"),
        (lambda images: images[:, 1:-1, 1:-1], r"\(5, 6, 7, 3\)"),
        (lambda images: images.mean(axis=-1, keepdims=True), r"\(5, 8, 9, 1\)"),
    ],
    ids=["resized", "cropped", "made grey"],
)
def test_what_changes_the_shape_is_refused_with_both_shapes(preprocess, shape):
    with pytest.raises(
        ValueError, match=rf"^preprocess must map .*\(5, 8, 9, 3\) to \(n, 8, 9, 3\).* returned {shape}"
    ):
        deconv.to_pixel_space(noise(1, 8, 9, 3), preprocess)


def test_one_picture_without_its_batch_is_refused():
    with pytest.raises(
        ValueError, match=r"pictures must have shape \(n, height, width, channels\); received \(8, 9, 3"
    ):
        deconv.to_pixel_space(noise(8, 9, 3), models.alexnet.preprocess_input)
