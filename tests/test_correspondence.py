"""Correspondence: networks whose answer is known, a slow twin, the random control, and the files of parts."""

import itertools
import re

import keras
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import layers as kl
from specimens import SPECIMENS, images

from deconv import datasets
from deconv.datasets.parts import DIGITS, read_parts
from deconv.figures.table1 import compared_layers, correspondence_pictures
from deconv.imaging.rectangles import hide
from deconv.occlusion.correspondence import Distances, correspondence, sign_distances
from deconv.occlusion.part_masks import random_masks

QUADRANTS = {"top left": (0, 0, 2, 2), "top right": (0, 2, 2, 4), "all": (0, 0, 4, 4)}


def quadrant_sums(scale=1.0, height=4, width=4):
    """A linear network: every entry of its map is the sum of a 2x2 square of the image, times `scale`."""
    image = keras.Input((height, width, 1), dtype="float64")
    model = keras.Model(image, kl.Conv2D(1, 2, 2, use_bias=False, name="sums", dtype="float64")(image))
    model.set_weights([np.full((2, 2, 1, 1), scale)])
    return model


def of_quadrants(*signs):
    """Images of 4x4 pixels, each quadrant filled with one number."""
    return np.kron(np.reshape(signs, (-1, 2, 2)), np.ones((2, 2)))[..., None]


def everywhere(rectangle, count):
    return np.tile(rectangle, (count, 1))


def hidden(images, masks, **options):
    return correspondence(quadrant_sums(), images, masks, "sums", **({"fill": 0.0} | options)).distances["sums"]


# By construction


def test_hiding_the_same_quadrant_of_like_images_changes_the_same_signs():
    found = hidden(of_quadrants([1, 2, 3, 4], [5, 1, 1, 1]), {"it": everywhere(QUADRANTS["top left"], 2)})["it"]
    assert found.of_all.tolist() == [[0]] and found.of_changed.tolist() == [[0]] and found.still.tolist() == [[3 / 4]]
    assert (found.mean, found.deviation) == (0, 0)


def test_hiding_all_of_an_image_and_of_its_negative_changes_no_sign_alike():
    found = hidden(of_quadrants([1, 2, 3, 4], [-1, -2, -3, -4]), {"it": everywhere(QUADRANTS["all"], 2)})["it"]
    assert found.of_all.tolist() == [[1]] and found.of_changed.tolist() == [[1]] and found.still.tolist() == [[0]]


def test_one_quadrant_of_four_that_disagrees_is_a_distance_of_a_quarter():
    found = hidden(of_quadrants([1, 2, 3, 4], [1, 2, 3, -4]), {"it": everywhere(QUADRANTS["all"], 2)})["it"]
    assert found.of_all.tolist() == [[1 / 4]] and found.of_changed.tolist() == [[1 / 4]]


def test_other_quadrants_hidden_disagree_in_two_entries_of_four_and_in_all_that_changed():
    masks = {"it": [QUADRANTS["top left"], QUADRANTS["top right"]]}
    found = hidden(of_quadrants([1, 2, 3, 4], [1, 2, 3, 4]), masks)["it"]
    assert (
        found.of_all.tolist() == [[2 / 4]] and found.of_changed.tolist() == [[1]] and found.still.tolist() == [[2 / 4]]
    )


def test_mean_and_deviation_over_the_three_pairs_of_three_images():
    # Signs of all that changes: ++++, +++-, ++--. Pairs (0, 1), (0, 2), (1, 2) differ in 1, 2 and 1 of 4 entries.
    pictures = of_quadrants([1, 1, 1, 1], [1, 1, 1, -1], [1, 1, -1, -1])
    found = correspondence(quadrant_sums(), pictures, {"it": everywhere(QUADRANTS["all"], 3)}, ["sums"], batch_size=2)
    assert found.pairs.tolist() == [[0, 1], [0, 2], [1, 2]]
    distances = found.distances["sums"]["it"]
    assert distances.of_all.tolist() == [[1 / 4, 2 / 4, 1 / 4]]
    assert distances.mean == pytest.approx(1 / 3) and distances.deviation == pytest.approx(np.sqrt(2) / 12)


def test_where_hiding_changes_nothing_all_agrees_and_of_what_changed_nothing_is_known():
    found = hidden(of_quadrants([0, 2, 3, 4], [0, 1, 1, 1]), {"it": everywhere(QUADRANTS["top left"], 2)})["it"]
    assert found.of_all.tolist() == [[0]] and found.still.tolist() == [[1]] and np.isnan(found.of_changed).all()


def test_the_fill_decides_which_way_a_quadrant_changes():
    # By 2 a quadrant of 1 rises and one of 3 falls; by 0 both fall.
    pictures, masks = of_quadrants([1, 0, 0, 0], [3, 0, 0, 0]), {"it": everywhere(QUADRANTS["top left"], 2)}
    assert hidden(pictures, masks, fill=2)["it"].of_all.tolist() == [[1 / 4]]
    assert hidden(pictures, masks)["it"].of_all.tolist() == [[0]]


def test_what_hides_where_nothing_is_said_is_mean_grey():
    pictures, masks = of_quadrants([1, 5, 0, 0], [7, 3, 0, 0]), {"it": everywhere(QUADRANTS["top left"], 2)}
    given = [hidden(pictures, masks, fill=fill, **options)["it"] for fill, options in (
        (None, {}), (pictures.mean(), {}), (None, {"preprocess": lambda pixels: pixels - 126.0})
    )]  # fmt: skip
    assert pictures.mean() not in (0, 128) and given[0].of_all.tolist() == given[1].of_all.tolist()
    assert given[0].of_all.tolist() == [[1 / 4]]  # one quadrant rises to the mean, the other falls
    assert given[2].of_all.tolist() == [[0]]  # both rise to 128


def test_pixels_are_hidden_before_they_are_preprocessed():
    # Pixels of 10 and 30, made -10 and 10 by the preprocessing, are hidden by 20, which it makes 0.
    pictures = of_quadrants([10, 20, 20, 20], [30, 20, 20, 20]).astype(np.uint8)
    masks = {"it": everywhere(QUADRANTS["top left"], 2)}
    found = hidden(pictures, masks, fill=20.0, preprocess=lambda pixels: pixels - 20.0)["it"]
    assert found.of_all.tolist() == [[1 / 4]] and found.of_changed.tolist() == [[1]]


def test_changes_up_to_the_threshold_count_as_none():
    # All features are 4, and so is their root mean square; without one pixel of 1 one of them loses 1, a quarter.
    pictures, masks = np.ones((2, 4, 4, 1)), {"it": [[0, 0, 1, 1], [2, 2, 3, 3]]}
    assert hidden(pictures, masks, threshold=0.24)["it"].of_all.tolist() == [[2 / 4]]
    assert hidden(pictures, masks, threshold=0.25)["it"].of_all.tolist() == [[0]]
    assert correspondence(quadrant_sums(), pictures, masks, "sums", fill=0.0, threshold=0.25).thresholds == {
        "sums": 1.0
    }


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_scale_of_features_does_not_matter(scale):
    random = np.random.default_rng(0)
    pictures, masks = random.standard_normal((4, 6, 8, 1)), {"it": everywhere((1, 1, 6, 6), 4)}
    found = [correspondence(quadrant_sums(by, 6, 8), pictures, masks, "sums", threshold=0.5) for by in (1.0, scale)]
    one, other = (of.distances["sums"]["it"] for of in found)
    assert 0 < one.still.mean() < 1
    np.testing.assert_array_equal(one, other)


# Against a slow twin


def slow_hide(picture, rectangle, fill):
    covered = picture.copy()
    for row in range(rectangle[0], rectangle[2]):
        for column in range(rectangle[1], rectangle[3]):
            covered[row, column] = fill
    return covered


def slow_sign(change, small):
    return 0 if abs(change) <= small else 1 if change > 0 else -1


def slow_distance(one, other):
    differ = sum(a != b for a, b in zip(one, other, strict=True))
    changed = sum(a != 0 or b != 0 for a, b in zip(one, other, strict=True))
    return differ / len(one), differ / changed if changed else np.nan, 1 - changed / len(one)


@pytest.mark.parametrize(
    ("name", "layers"), [("overlapping", ["pool2", "conv1"]), ("same", ["pool1"]), ("branching", ["add"])]
)
def test_distances_are_those_of_a_slow_twin_that_loops_over_pairs_and_entries(name, layers):
    model = SPECIMENS[name]("float64")
    pictures, random = images(model, 3), np.random.default_rng(1)
    height, width, channels = pictures.shape[1:]
    corners = random.integers(0, [height - 3, width - 2], (2, 3, 2))
    draws = np.concatenate([corners, np.add(corners, [3, 2])], axis=2)
    fill, threshold = random.standard_normal(channels), 0.05
    masks = {"one": draws[0], "two": draws}
    found = correspondence(model, pictures, masks, layers, fill=fill, threshold=threshold, batch_size=2)
    whole = reference.forward(model, pictures)
    for draw in range(2):
        covered = [slow_hide(*each, fill) for each in zip(pictures, draws[draw], strict=True)]
        after = reference.forward(model, np.stack(covered))
        for layer in layers:
            small = threshold * np.sqrt((whole[layer] ** 2).mean())
            change = (whole[layer] - after[layer]).reshape(3, -1)
            signs = [[slow_sign(entry, small) for entry in entries] for entries in change]
            expected = [slow_distance(signs[i], signs[j]) for i, j in itertools.combinations(range(3), 2)]
            assert 0 < np.mean(expected, axis=0)[0] < 1
            got = found.distances[layer]["two"]
            np.testing.assert_allclose([part[draw] for part in got], np.transpose(expected), atol=1e-12)
            if draw == 0:
                np.testing.assert_array_equal(np.stack(found.distances[layer]["one"])[:, 0], np.stack(got)[:, 0])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    hnp.arrays(np.int8, st.tuples(st.integers(1, 2), st.integers(2, 4), st.integers(1, 9)), elements=st.integers(-1, 1))
)
def test_sign_distances_are_those_of_the_slow_twin(signs):
    expected = [[slow_distance(*pair) for pair in itertools.combinations(draw, 2)] for draw in signs.tolist()]
    np.testing.assert_allclose(np.stack(sign_distances(signs), axis=-1), expected, atol=1e-12)


def test_the_order_of_the_images_does_not_matter():
    model, order = SPECIMENS["overlapping"]("float64"), [2, 0, 3, 1]
    pictures = images(model, 4)
    masks = random_masks({"it": everywhere((1, 2, 5, 5), 4)}, pictures.shape[1:], 3)
    one = correspondence(model, pictures, {"it": masks}, "pool2", batch_size=5)
    other = correspondence(model, pictures[order], {"it": masks[:, order]}, "pool2")
    place = {frozenset(pair): number for number, pair in enumerate(one.pairs.tolist())}
    same = [place[frozenset((order[i], order[j]))] for i, j in other.pairs]
    of_one, of_other = one.distances["pool2"]["it"], other.distances["pool2"]["it"]
    assert len(np.unique(of_one.of_all)) > 6
    np.testing.assert_array_equal(of_one.of_all[:, same], of_other.of_all)


def test_the_number_of_images_that_are_computed_at_a_time_does_not_matter():
    model = SPECIMENS["overlapping"]()
    pictures = images(model, 4)
    masks = {"it": random_masks({"it": everywhere((1, 2, 5, 5), 4)}, pictures.shape[1:], 7)}
    found = [
        correspondence(model, pictures, masks, ["conv1", "pool2"], batch_size=size).distances for size in (1, 3, 9, 64)
    ]
    for layer in ("conv1", "pool2"):
        for other in found[1:]:
            np.testing.assert_array_equal(np.stack(found[0][layer]["it"]), np.stack(other[layer]["it"]))


def test_hide_covers_the_rectangle_of_each_image_and_nothing_else():
    pictures = np.random.default_rng(0).standard_normal((3, 5, 7, 3))
    rectangles, fill = np.array([[0, 0, 5, 7], [1, 2, 2, 3], [3, 1, 5, 7]]), [7.0, 8.0, 9.0]
    expected = [slow_hide(*each, fill) for each in zip(pictures, rectangles, strict=True)]
    np.testing.assert_array_equal(hide(pictures, rectangles, fill), expected)


def test_chance_counts_the_draws_that_are_as_consistent_and_the_part_itself():
    # Means of the draws: 0.1, 0.3, 0.5, 0.7, of which two are at most 0.3: (1 + 2) / (1 + 4).
    draws = np.array([[0.0, 0.2], [0.25, 0.35], [0.5, 0.5], [0.9, 0.5]])
    part = np.array([[0.25, 0.375]])
    nothing = np.zeros((4, 2))
    assert Distances(part, part, part).chance(Distances(draws, nothing, nothing)) == 3 / 5


def test_chance_of_what_changed_leaves_out_what_did_not_change():
    # Known means of the draws: 0.1, 0.6, none, 0.2; of the part, 0.2 in one pair: (1 + 2) / (1 + 3).
    draws = np.array([[0.1, np.nan], [0.7, 0.5], [np.nan, np.nan], [0.2, 0.2]])
    part, nothing = np.array([[np.nan, 0.2]]), np.zeros((4, 2))
    found = Distances(nothing[:1], part, nothing[:1])
    assert found.chance(Distances(nothing, draws, nothing), "of_changed") == 3 / 4 and found.mean_of_changed == 0.2
    unchanged = Distances(nothing[:1], part * np.nan, nothing[:1])
    assert np.isnan(unchanged.chance(found, "of_changed")) and np.isnan(unchanged.mean_of_changed)


# The random control


def test_random_rectangles_lie_inside_and_have_the_sizes_of_the_parts_in_turn():
    masks = {"small": [[0, 0, 2, 3], [4, 4, 7, 5]], "large": [[0, 0, 5, 9], [1, 0, 4, 8]]}
    drawn = random_masks(masks, (7, 9, 3), 40, seed=3)
    sizes = drawn[..., 2:] - drawn[..., :2]
    assert (sizes[::2] == [[2, 3], [3, 1]]).all() and (sizes[1::2] == [[5, 9], [3, 8]]).all()
    assert drawn.min() == 0 and (drawn[..., 2:] <= (7, 9)).all()
    assert (drawn == random_masks(masks, (7, 9), 40, seed=3)).all()
    assert (drawn != random_masks(masks, (7, 9), 40, seed=4)).any()


def test_every_place_comes_about_equally_often():
    drawn = random_masks({"it": [[0, 0, 2, 2]]}, (4, 3), 3000)
    places, times = np.unique(drawn[:, 0, :2], axis=0, return_counts=True)
    assert places.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]
    assert abs(times - 500).max() < 5 * np.sqrt(500)


def test_a_place_must_change_as_much_of_the_picture_as_asked():
    # A pixel of 8 and one of 3 on a ground of 1, which is what hides: the part hides a difference of 7. Of the 2x2
    # squares on 5x6 pixels four do, and four others hide the 3, a difference of 2.
    picture = np.ones((1, 5, 6, 1))
    picture[0, 1, 1], picture[0, 3, 4] = 8, 3
    masks, options = {"it": [[1, 1, 3, 3]]}, {"images": picture, "fill": 1}
    around_8 = [[0, 0], [0, 1], [1, 0], [1, 1]]
    for least, expected in ((1, around_8), (0.5, around_8), (2 / 7, [*around_8, [2, 3], [2, 4], [3, 3], [3, 4]])):
        drawn = random_masks(masks, (5, 6), 200, least=least, **options)
        assert np.unique(drawn[:, 0, :2], axis=0).tolist() == expected
    assert len(np.unique(random_masks(masks, (5, 6), 2000, least=0, **options), axis=0)) == 4 * 5


def test_an_aligned_draw_has_one_place_in_all_images_that_changes_enough_of_them_together():
    # Parts on a pixel of 4 each, at columns 0 and 3; 1x2 squares: no column holds both, half of the sum is one of them.
    pictures = np.zeros((2, 1, 5, 1))
    pictures[0, 0, 0], pictures[1, 0, 3] = 4, 4
    masks, options = {"it": [[0, 0, 1, 2], [0, 3, 1, 5]]}, {"aligned": True, "images": pictures}
    drawn = random_masks(masks, (1, 5), 100, **options)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert np.unique(drawn[:, 0, 1]).tolist() == [0, 2, 3]
    assert np.unique(random_masks(masks, (1, 5), 100, least=1, **options)[..., 1]).tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.ones((1, 4, 4, 1))}, "two or more, .* received (1, 4, 4, 1)"),
        ({"images": np.ones((4, 4, 1))}, "two or more"),
        ({"images": np.full((2, 4, 4, 1), np.nan)}, "image 0 holds NaN"),
        ({"masks": {}}, "at least one part; received {}"),
        ({"masks": {"nose": [[0, 0, 2, 2]]}}, "masks['nose'] must be ints (2, 4), .* received int64 (1, 4)"),
        ({"masks": {"nose": np.ones((2, 4))}}, "received float64 (2, 4)"),
        ({"masks": {"nose": np.ones((0, 2, 4), int)}}, "received int64 (0, 2, 4)"),
        ({"masks": {"nose": [[0, 0, 2, 2], [0, 3, 2, 5]]}}, "(0, 3, 2, 5) of image 1 must have .* right <= 4"),
        ({"masks": {"nose": [[2, 0, 2, 2], [0, 0, 1, 1]]}}, "(2, 0, 2, 2) of image 0 must have 0 <= top < bottom"),
        ({"layers": "sum"}, "Did you mean 'sums'?"),
        ({"threshold": -1}, "threshold must be a share .* received -1"),
        ({"batch_size": 0}, "batch_size must be .* received 0"),
        ({"fill": [1, 2]}, "fill must be"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(change, message):
    given = {"images": np.ones((2, 4, 4, 1)), "masks": {"it": everywhere((0, 0, 2, 2), 2)}, "layers": "sums"} | change
    pattern = ".*".join(map(re.escape, message.split(" .* ")))
    with pytest.raises(ValueError, match=pattern):
        correspondence(quadrant_sums(), **given)


def test_a_control_is_refused_if_its_images_are_not_those_of_the_masks():
    expected = "images must be finite, of shape (2, 4, 4, channels) as masks and image_shape require"
    with pytest.raises(ValueError, match=re.escape(expected)):
        random_masks({"it": everywhere((0, 0, 2, 2), 2)}, (4, 4), 3, images=np.ones((3, 4, 4, 1)))
    with pytest.raises(ValueError, match="least must be a share from 0 to 1; received 2"):
        random_masks({"it": everywhere((0, 0, 2, 2), 2)}, (4, 4), 3, least=2)
    with pytest.raises(ValueError, match="count must be"):
        random_masks({"it": everywhere((0, 0, 2, 2), 2)}, (4, 4), 0)


# Files of parts


@pytest.fixture(scope="module")
def digits():
    return datasets.load("mnist-5k", "test")


def test_the_parts_of_digits_are_of_one_size_and_hold_ink_in_five_sevens_and_five_fours(digits):
    labels, ids = digits.listing()
    found = read_parts(DIGITS, digits)
    assert [parts.object for parts in found] == ["seven", "four"]
    for parts, digit in zip(found, (7, 4), strict=True):
        assert len(parts.masks) == 3 and len(parts.ids) == 5
        assert (labels[np.searchsorted(ids, parts.ids)] == digit).all()
        pictures = digits.pick(parts.ids).astype(float)
        for rectangles in parts.masks.values():
            assert (rectangles[:, 2:] - rectangles[:, :2] == 7).all()
            ink = (pictures - hide(pictures, rectangles)).sum(axis=(1, 2, 3)) / pictures.sum(axis=(1, 2, 3))
            assert ((ink > 0.08) & (ink < 0.4)).all()


@pytest.fixture
def written(tmp_path):
    def write(*lines, names="image,part,top,left,bottom,right"):
        path = tmp_path / "parts.csv"
        path.write_text("\n".join([names, *lines]) + "\n", encoding="utf-8")
        return path

    return write


def test_a_file_without_objects_is_one_object_in_the_order_of_its_lines(digits, written):
    path = written("3901, foot,1,2,3,4", "3900, foot, 5,6,7,8", "3900,bar,0,0,28,28", "3901,bar,0,0,1,1")
    (parts,) = read_parts(path, digits)
    assert parts.object == "" and parts.ids.tolist() == [3901, 3900]
    assert {part: rectangles.tolist() for part, rectangles in parts.masks.items()} == {
        "foot": [[1, 2, 3, 4], [5, 6, 7, 8]],
        "bar": [[0, 0, 1, 1], [0, 0, 28, 28]],
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["3900,foot,1,2,3,4", "3,foot,1,2,3,4"], "line 3: image '3' is not among the 1,000 images of mnist-5k"),
        (["3900,foot,1,2,3,29"], "line 2: the rectangle (1, 2, 3, 29) must have 0 <= top < bottom <= 28"),
        (["3900,foot,3,2,3,9"], "line 2: the rectangle (3, 2, 3, 9)"),
        (["3900,foot,1,x,3,4"], "line 2: top, left, bottom, right must be whole numbers; received 1, x, 3, 4"),
        (["3900,foot,1,2,3"], "line 2 has no right"),
        (["3900,,1,2,3,4"], "line 2 has no part"),
        (["3900,foot,1,2,3,4,5"], "line 2 has more fields than there are columns"),
        (["3900,foot,1,2,3,4", "3900,foot,1,2,3,4"], "line 3: part 'foot' of image '3900' is given a second time"),
        (["3900,foot,1,2,3,4", "3900,bar,1,2,3,4", "3901,bar,1,2,3,4"], "part 'foot' is missing in image 3901"),
        (["3900,foot,1,2,3,4"], "there must be at least two images to compare"),
        ([], "has no line below its column names"),
    ],
)
def test_a_wrong_line_of_a_file_of_parts_is_named(digits, written, lines, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        read_parts(written(*lines), digits)


def test_a_file_of_parts_without_a_column_or_that_is_not_there_is_refused(digits, written, tmp_path):
    with pytest.raises(ValueError, match=re.escape("line 1, must name the columns image, part, top")):
        read_parts(written("3900,foot,1,2,3", names="image,part,top,left,bottom"), digits)
    with pytest.raises(ValueError, match=r"nothing\.csv' cannot be read"):
        read_parts(tmp_path / "nothing.csv", digits)


def test_pictures_of_a_folder_are_found_by_the_end_of_their_path(written, tmp_path):
    for name in ("cats/1.png", "cats/a.png", "dogs/1.png"):
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        keras.utils.save_img(tmp_path / "own" / name, np.zeros((6, 8, 3)), scale=False)
    data = datasets.load(tmp_path / "own", "all")
    (parts,) = read_parts(written("a.png,eye,0,0,2,2", "dogs/1.png,eye,1,1,6,8"), data)
    assert parts.ids.tolist() == [1, 2] and parts.masks["eye"].tolist() == [[0, 0, 2, 2], [1, 1, 6, 8]]
    with pytest.raises(ValueError, match=re.escape("line 2: 2 images are called '1.png'; give more of the path")):
        read_parts(written("1.png,eye,0,0,2,2", "a.png,eye,0,0,2,2"), data)
    with pytest.raises(ValueError, match=re.escape("image 'b.png' is not among the 3 images")):
        read_parts(written("b.png,eye,0,0,2,2"), data)


# The figure


def test_layers_5_and_7_are_the_last_pooling_and_what_the_last_dense_layer_sees():
    image = keras.Input((28, 28, 1))
    maps = kl.Conv2D(4, 3, activation="relu", name="conv")(image)
    pooled = kl.MaxPooling2D(2, name="pool")(maps)
    hidden_units = kl.Dropout(0.5)(kl.Dense(8, activation="relu", name="hidden")(kl.Flatten()(pooled)))
    ends = {
        ("pool", "hidden"): kl.Dense(3, "softmax")(hidden_units),
        ("pool", None): kl.Dense(3, "softmax")(kl.Flatten()(pooled)),
        ("conv", "mean"): kl.Softmax()(kl.Dense(3)(kl.GlobalAveragePooling2D(name="mean")(maps))),
        ("conv", None): kl.GlobalAveragePooling2D()(maps),
        (None, None): kl.Dense(3)(kl.Dense(4)(kl.Flatten()(image))),
    }
    for expected, end in ends.items():
        assert compared_layers(keras.Model(image, end)) == expected


@pytest.mark.slow
def test_the_figure_of_digits_says_what_its_own_numbers_say(digits):
    import models
    from deconv.figures import Subject

    subject = Subject(models.LeNet5(weights="mnist"), "mnist", digits, models.lenet5.preprocess_input)
    *sheets, table = correspondence_pictures(subject)
    assert [sheet.name for sheet in sheets] == ["fig8_seven", "fig8_four"]
    assert table.numbers["layers"] == ["pool2", "fc4"]
    chances, gaps = [], {"pool2": [], "fc4": []}
    for sheet, numbers in zip(sheets, table.numbers["objects"].values(), strict=True):
        pictures = digits.pick(numbers["image_ids"])
        masks = sheet.numbers["masks"] | {"random": sheet.numbers["random"]}
        again = correspondence(
            subject.model, pictures, masks, ["pool2", "fc4"], fill=subject.fill, preprocess=subject.preprocess
        ).distances
        for layer in gaps:
            random = again[layer]["random"].of_all.mean()
            means = [again[layer][part].of_all.mean() for part in sheet.numbers["masks"]]
            gaps[layer].append(1 - np.mean(means) / random)
            for part, mean in zip(sheet.numbers["masks"], means, strict=True):
                assert numbers[layer][part]["mean"] == pytest.approx(mean)
        chances += [again["pool2"][part].chance(again["pool2"]["random"]) for part in sheet.numbers["masks"]]
    below, above = np.mean(gaps["pool2"]), np.mean(gaps["fc4"])
    assert [finding.seen for finding in table.findings] == [max(chances) <= 0.05, bool(0 <= abs(above) < below)]
    assert len(table.tables[0].rows) == 2 * 5 and table.tables[1].rows[-1][0] == "random"


def test_where_no_parts_are_known_or_there_is_no_convolution_there_is_no_figure(digits):
    from deconv.figures import Subject

    flat = keras.Sequential([keras.Input((28, 28, 1)), kl.Flatten(), kl.Dense(10, "softmax")])
    conv = keras.Sequential([keras.Input((28, 28, 1)), kl.Conv2D(2, 3), kl.Flatten(), kl.Dense(10, "softmax")])
    subject = Subject(flat, "none", digits, lambda pixels: np.asarray(pixels, np.float32))
    assert not list(correspondence_pictures(subject))
    assert not list(correspondence_pictures(subject._replace(model=conv, data=digits._replace(name="others"))))
