"""Crops: copies where nothing is resampled, the definition where something is, and chance that is even."""

import numpy as np
import pytest
import tensorflow as tf

from models.training.crops import CENTRE, centre_crops, random_colours, random_crops, random_resized_crops, ten_crops

SIZES = [(9, 12), (16, 17), (33, 20), (64, 65), (31, 31)]


def places(count, height, width):
    """Images whose pixels say where they are: channel 0 the row, 1 the column, 2 the image."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([np.stack([rows, columns, np.full_like(rows, image)], -1) for image in range(count)]).astype(
        "int32"
    )


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def resampled(image, top, left, rows, columns, mirrored, side):
    """A part of an image by the definition: samples from its first to its last pixel, each between four neighbours."""
    result = np.zeros((side, side, image.shape[2]))
    for row in range(side):
        for column in range(side):
            y = top + row * (rows - 1) / (side - 1)
            x = left + (side - 1 - column if mirrored else column) * (columns - 1) / (side - 1)
            for near_y in {int(np.floor(y)), int(np.ceil(y))}:
                for near_x in {int(np.floor(x)), int(np.ceil(x))}:
                    share = (1 - abs(y - near_y)) * (1 - abs(x - near_x))
                    result[row, column] += share * image[near_y, near_x]
    return result


def drawn(seed, count, images):
    """The numbers in [0, 1) that the crops of a seed are made of."""
    return tf.random.stateless_uniform((count, images), seed).numpy().astype(float)


# ---------------------------------------------------------------------------------------------- copies


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_crop_that_is_not_resampled_is_a_copy_wherever_it_lies(height, width, channels):
    where, images = places(8, height, width), noise(8, height, width, channels)
    side, seen = min(height, width) - 2, set()
    for step in range(30):
        crops, sources = random_crops(images, (1, step), side).numpy(), random_crops(where, (1, step), side).numpy()
        assert crops.dtype == np.float32 and crops.shape == (8, side, side, channels)
        for image, (crop, source) in enumerate(zip(crops, sources, strict=True)):
            mirrored = source[0, 0, 1] > source[0, -1, 1]
            top, left = int(source[0, 0, 0]), int(source[0, -1 if mirrored else 0, 1])
            part = images[image, top : top + side, left : left + side]
            np.testing.assert_array_equal(crop, part[:, ::-1] if mirrored else part)
            assert (source[..., 2] == image).all()
            seen.add((top, left, mirrored))
    for border in (0, height - side):
        assert any(top == border for top, _, _ in seen)
    for border in (0, width - side):
        assert {mirrored for _, left, mirrored in seen if left == border} == {False, True}


def test_an_image_that_is_its_own_crop_is_copied_or_mirrored():
    images = noise(40, 11, 11, 3)
    crops = random_crops(images, (0, 0), 11).numpy()
    mirrored = [np.array_equal(crop, image[:, ::-1]) for crop, image in zip(crops, images, strict=True)]
    copied = [np.array_equal(crop, image) for crop, image in zip(crops, images, strict=True)]
    assert np.not_equal(mirrored, copied).all() and 8 < sum(mirrored) < 32


def test_every_place_and_both_directions_are_equally_likely():
    where, counts = places(100, 7, 5), {}
    for step in range(40):
        for crop in random_crops(where, (0, step), 4).numpy():
            key = (crop[0, 0, 0], crop[0, :, 1].min(), crop[0, 0, 1] > crop[0, 1, 1])
            counts[key] = counts.get(key, 0) + 1
    assert set(counts) == {(top, left, flip) for top in range(4) for left in range(2) for flip in (False, True)}
    assert all(abs(count - 250) < 5 * np.sqrt(250) for count in counts.values())  # 4000 crops, 16 kinds


@pytest.mark.parametrize(("height", "width"), [*SIZES, (8, 8)])
def test_the_central_crop_is_in_the_middle_and_half_a_pixel_up_and_left_where_there_is_none(height, width):
    images = noise(3, height, width, 3)
    top, left = (height - 8) // 2, (width - 8) // 2
    np.testing.assert_array_equal(centre_crops(images, 8), images[:, top : top + 8, left : left + 8])


def test_the_ten_crops_are_the_corners_the_centre_and_their_mirror_images():
    where = places(2, 9, 13)
    crops = ten_crops(where, 6).numpy()
    assert crops.shape == (2, 10, 6, 6, 3) and crops.dtype == np.float32
    corners = [(0, 0), (0, 7), (3, 0), (3, 7), (1, 3)]
    assert [tuple(crop[0, 0, :2]) for crop in crops[1, :5]] == corners
    assert [tuple(crop[-1, -1, :2]) for crop in crops[1, :5]] == [(top + 5, left + 5) for top, left in corners]
    np.testing.assert_array_equal(crops[:, 5:], crops[:, :5, :, ::-1])
    np.testing.assert_array_equal(crops[:, CENTRE], centre_crops(where, 6))
    assert (crops[0, ..., 2] == 0).all() and (crops[1, ..., 2] == 1).all()


# ---------------------------------------------------------------------------------------------- resampling


@pytest.mark.parametrize(("side", "of"), [(5, 9), (12, 9), (9, 7)])
def test_a_random_crop_of_another_size_is_resampled_by_the_definition(side, of):
    images = noise(6, 11, 14, 3)
    down, right, flip = drawn((3, 4), 3, 6)
    crops = random_crops(images, (3, 4), side, of=of).numpy()
    for image in range(6):
        top, left = int(down[image] * (11 - of + 1)), int(right[image] * (14 - of + 1))
        expected = resampled(images[image], top, left, of, of, flip[image] < 0.5, side)
        np.testing.assert_allclose(crops[image], expected, atol=1e-3)


def test_a_central_crop_of_another_size_is_resampled_by_the_definition():
    images = noise(2, 10, 15, 1)
    crops = centre_crops(images, 6, of=9).numpy()
    for image in range(2):
        np.testing.assert_allclose(crops[image], resampled(images[image], 0, 3, 9, 9, False, 6), atol=1e-3)


def resized_parts(seed, count, height, width, area=(0.3, 1.0), ratio=(3 / 4, 4 / 3)):
    """`(top, left, rows, columns, mirrored)` of every image, as the docstring has it."""
    for much, shape, down, right, flip in drawn(seed, 5, count).T:
        covered = (area[0] + much * (area[1] - area[0])) * height * width
        aspect = ratio[0] * (ratio[1] / ratio[0]) ** shape
        rows, columns = min(height, round((covered / aspect) ** 0.5)), min(width, round((covered * aspect) ** 0.5))
        yield int(down * (height - rows + 1)), int(right * (width - columns + 1)), rows, columns, flip < 0.5


@pytest.mark.parametrize("channels", [1, 3])
def test_a_random_part_is_resampled_by_the_definition(channels):
    images = noise(12, 17, 23, channels)
    crops = random_resized_crops(images, (5, 6), 10).numpy()
    for image, part in enumerate(resized_parts((5, 6), 12, 17, 23)):
        np.testing.assert_allclose(crops[image], resampled(images[image], *part, 10), atol=2e-3)


@pytest.mark.slow
def test_random_parts_have_the_areas_and_shapes_that_were_asked_for():
    corners = np.concatenate([random_resized_crops(places(100, 90, 90), (0, step), 2).numpy() for step in range(10)])
    rows = corners[:, 1, 0, 0] - corners[:, 0, 0, 0] + 1
    columns = abs(corners[:, 0, 1, 1] - corners[:, 0, 0, 1]) + 1
    share = rows * columns / 8100
    assert 0.29 < share.min() < 0.31 and 0.95 < share.max() <= 1.0
    assert 0.6 < share.mean() < 0.66  # uniform in [0.3, 1], and parts that stick out are cut
    aspect = np.log(columns / rows)
    assert abs(aspect).max() < np.log(4 / 3) + 0.03 and abs(aspect.mean()) < 0.02
    assert (corners >= 0).all() and corners[..., :2].max() == 89


@pytest.mark.slow
@pytest.mark.parametrize("side", [60, 89, 113])
def test_no_crop_reaches_beyond_its_image(side):
    white = np.full((200, 129, 128, 1), 200, np.uint8)  # what lies beyond would be black
    for step in range(5):
        for crops in (random_resized_crops(white, (0, step), side), random_crops(white, (0, step), side, of=128)):
            np.testing.assert_allclose(crops, 200.0, atol=1e-3)
    np.testing.assert_allclose(centre_crops(white, side, of=128), 200.0, atol=1e-3)


# ---------------------------------------------------------------------------------------------- seeds


def coloured(images, seed, _):
    return random_colours(tf.cast(images, tf.float32), seed)


@pytest.mark.parametrize("change", [random_crops, random_resized_crops, coloured])
def test_chance_depends_on_the_seed_alone(change):
    images = np.repeat(noise(1, 20, 22, 3), 6, axis=0)
    first, again, other = (change(images, seed, 12).numpy() for seed in ((0, 1), (0, 1), (0, 2)))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])  # every image has its own


@pytest.mark.parametrize("change", [random_crops, random_resized_crops, coloured])
def test_what_becomes_of_an_image_does_not_depend_on_the_others(change):
    one, other = noise(4, 20, 22, 3), noise(4, 20, 22, 3, seed=1)
    other[2] = one[2]
    first, second = (change(images, (7, 8), 12).numpy() for images in (one, other))
    np.testing.assert_array_equal(first[2], second[2])
    assert not np.array_equal(first[1], second[1])


@pytest.mark.slow
def test_a_side_may_change_within_a_dataset():
    images = noise(6, 20, 22, 3)

    def change(step, batch):
        side = tf.gather([9, 12, 15], tf.cast(step, tf.int32))
        seed = tf.stack([tf.constant(0, tf.int64), step])
        return random_resized_crops(batch, seed, side), random_crops(batch, seed, side), centre_crops(batch, side)

    batches = tf.data.Dataset.from_tensor_slices(images).batch(2).enumerate().map(change, num_parallel_calls=2)
    for step, crops in enumerate(batches.as_numpy_iterator()):
        batch, side = images[2 * step : 2 * step + 2], 9 + 3 * step
        np.testing.assert_array_equal(crops[0], random_resized_crops(batch, (0, step), side))
        np.testing.assert_array_equal(crops[1], random_crops(batch, (0, step), side))
        np.testing.assert_array_equal(crops[2], centre_crops(batch, side))


# ---------------------------------------------------------------------------------------------- colours


def test_no_change_of_colours_changes_nothing():
    images = noise(3, 8, 9, 3).astype(np.float32)
    same = random_colours(images, (1, 2), brightness=0.0, contrast=0.0, saturation=0.0)
    np.testing.assert_allclose(same, images, atol=1e-3)


def test_colours_change_by_the_definition():
    images = noise(5, 8, 9, 3).astype(np.float32)
    light, contrast, colour = 1 + 0.4 * (2 * drawn((2, 3), 3, 5) - 1)  # a seed of its own: each number one more
    expected = np.zeros(images.shape)
    for image in range(5):
        grey = images[image].mean(axis=2, keepdims=True)
        pixels = grey + colour[image] * (images[image] - grey)  # away from grey
        pixels = grey.mean() + contrast[image] * (pixels - grey.mean())  # away from the mean
        expected[image] = pixels + (light[image] - 1) * grey.mean()  # the mean becomes `light` times as high
    changed = random_colours(images, (1, 2), 0.4, 0.4, 0.4)
    np.testing.assert_allclose(changed, np.clip(expected, 0, 255), atol=1e-2)


def test_brightness_is_the_mean_and_stays_in_range():
    dim = np.full((200, 4, 4, 3), 100, np.float32)
    means = random_colours(dim, (0, 0), brightness=0.3, contrast=0.0, saturation=0.0).numpy().mean(axis=(1, 2, 3))
    assert 70 <= means.min() < 72 and 128 < means.max() <= 130
    bright = random_colours(np.full((50, 4, 4, 3), 250, np.float32), (0, 0)).numpy()
    assert bright.max() == 255.0 and bright.min() >= 0.0
