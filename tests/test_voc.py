"""Images of several classes: how they are loaded, who refuses them, and Table 6."""

import io
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl
from PIL import Image
from sklearn.linear_model import LogisticRegression

import deconv
from deconv import datasets
from deconv.datasets.labels import labels_of
from deconv.datasets.sampling import listing
from deconv.figures import published
from deconv.figures.subject import Subject
from deconv.figures.table4 import _sizes, transfer_pictures
from deconv.figures.table6 import Precision, _finding, _others, precision
from deconv.probing.linear_classifiers import average_precisions
from deconv.probing.linear_probes import probe

VOC = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
LIT = 200


def lit(place=None, value=LIT):
    """A picture of 4x5 blocks of 8x8 pixels, which a JPEG keeps: all black but one."""
    blocks = np.zeros(20, np.uint8)
    if place is not None:
        blocks[place] = value
    return np.kron(blocks.reshape(4, 5), np.ones((8, 8), np.uint8))


def annotation(objects):
    """The XML of VOC for `[(class, whether it is difficult)]`."""
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    said = "".join(
        f"<object><name>{name}</name><pose>Left</pose><truncated>0</truncated>"
        f"<difficult>{int(hard)}</difficult>{box}</object>"
        for name, hard in objects
    )
    return f"<annotation><size><width>40</width><height>32</height></size>{said}</annotation>"


# Every class once, lit alike: a softmax of these knows no class from another but by its block.
TRAIN = [(lit(place), [(name, False)]) for place, name in enumerate(VOC)] + [(lit(3, 90), [("sofa", True)])]
HELD_OUT = [
    *((lit(place), [(name, False), (name, True)]) for place, name in enumerate(VOC[:18])),
    (lit(18, 100), [("train", False)]),
    (lit(18, 255), [("train", True), ("tvmonitor", False)]),
    (lit(), [("person", True)]),
]


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    """TFDS's own `voc/2012` of made-up pictures: its folders, its XML, and test images without any."""
    tfds = pytest.importorskip("tensorflow_datasets")
    root = tmp_path_factory.mktemp("voc")
    folder = root / "extracted" / "VOCdevkit" / "VOC2012"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for part, pictures in (("train", TRAIN), ("val", HELD_OUT), ("test", [(lit(5), []), (lit(6), [])])):
        names = [f"{part}_{order:02d}" for order in range(len(pictures))]
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text("\n".join(names) + "\n")
        for name, (pixels, objects) in zip(names, pictures, strict=True):
            Image.fromarray(pixels).convert("RGB").save(folder / "JPEGImages" / f"{name}.jpg", quality=95)
            if part != "test":
                (folder / "Annotations" / f"{name}.xml").write_text(annotation(objects))
    builder = tfds.builder("voc/2012", data_dir=root)
    parts = {"test": "test", "train": "train", "validation": "val"}
    builder._split_generators = lambda _: {  # as its own, without the download
        split: builder._generate_examples(str(root / "extracted"), part) for split, part in parts.items()
    }
    builder.download_and_prepare()
    return root


def block_network():
    """A network whose last hidden layer is the mean of each block, behind a dropout; its classes are others."""
    image = keras.Input((32, 40, 3))
    blocks = kl.AveragePooling2D(8, name="blocks")(image)
    grey = kl.Conv2D(1, 1, use_bias=False, kernel_initializer="ones", activation="relu", name="grey")(blocks)
    hidden = kl.Dense(20, "relu", kernel_initializer="identity", name="hidden")(kl.Flatten(name="flat")(grey))
    head = kl.Dense(2, "softmax", name="top")(kl.Dropout(0.5, name="drop")(hidden))
    return keras.Model(image, head, name="blocks")


def preprocess(batch):
    return np.asarray(batch, "float32") / 255


def labels_by_brightest(image_set):
    """`{(brightest block, its value): {class: label that is not 0}}`."""
    images, labels, _ = datasets.arrays(image_set)
    blocks = images[:, 4::8, 4::8, 0].reshape(len(images), 20)
    return {
        (int(block.argmax()), round(int(block.max()), -1)): {
            image_set.class_names[place]: int(row[place]) for place in np.flatnonzero(row)
        }
        for block, row in zip(blocks, labels, strict=True)
    }


@pytest.mark.slow
def test_voc_2012_teaches_with_train_and_tests_with_validation_for_its_test_images_have_no_labels(voc):
    train, test, everything = (
        datasets.load("tfds:voc/2012", split, data_dir=voc, image_size=(32, 40)) for split in ("train", "test", "all")
    )
    assert (train.size, test.size, everything.size) == (21, 21, 42)
    assert (train.train_size, test.train_size, everything.train_size) == (21, 0, 21)
    assert train.class_names == VOC and everything.name == "tfds:voc/2012" and everything.several
    assert "split 'train' and 'validation'" in everything.source and "voc/2012/" in everything.source
    labels, ids = everything.listing()
    assert labels.dtype == np.int8 and ids.tolist() == list(range(42))
    np.testing.assert_array_equal(labels, np.concatenate([train.listing()[0], test.listing()[0]]))
    np.testing.assert_array_equal(labels, datasets.arrays(everything)[1])


def test_a_label_is_1_of_a_class_minus_1_where_it_is_only_hard_to_see_and_0_elsewhere(voc):
    train = labels_by_brightest(datasets.load("tfds:voc/2012", "train", data_dir=voc))
    assert train.pop((3, 90)) == {"sofa": -1}
    assert train == {(place, LIT): {name: 1} for place, name in enumerate(VOC)}
    test = labels_by_brightest(datasets.load("tfds:voc/2012", "test", data_dir=voc))
    assert test[0, LIT] == {"aeroplane": 1}  # one of two is hard: the image is of the class
    assert test[18, 260] == {"train": -1, "tvmonitor": 1} and test[0, 0] == {"person": -1}


def test_a_list_of_classes_alone_makes_zeros_and_ones_and_an_empty_one_zeros():
    tfds = pytest.importorskip("tensorflow_datasets")
    listed = tfds.features.Sequence(tfds.features.ClassLabel(names=["x", "y", "z"]))
    found = labels_of(tfds, {"labels": listed})
    assert found.features == ("labels",) and found.class_names == ("x", "y", "z")
    for given, row in (([2, 0, 2], [1, 0, 1]), ([], [0, 0, 0])):
        label = found.read({"labels": tf.constant(given, tf.int64)})
        assert label.dtype == tf.int8 and label.numpy().tolist() == row
    assert labels_of(tfds, {"labels": tfds.features.Sequence(tf.int64)}) is None


@pytest.mark.slow
def test_parts_of_a_set_with_several_labels_keep_their_labels_and_know_their_training_images(voc):
    everything = datasets.load("tfds:voc/2012", "all", data_dir=voc)
    labels, _ = everything.listing()
    for index, (count, taught) in enumerate([(11, 6), (11, 5), (10, 5), (10, 5)]):
        part = everything.shard(4, index)
        np.testing.assert_array_equal(part.listing()[0], labels[index::4])
        assert (part.size, part.train_size) == (count, taught)
    empty = everything._replace(dataset=everything.dataset.take(0), size=0)
    assert empty.listing()[0].shape == (0, 20) and datasets.arrays(empty)[1].shape == (0, 20)


@pytest.mark.slow
def test_who_needs_one_label_says_so_in_one_line(voc):
    data = datasets.load("tfds:voc/2012", "all", data_dir=voc)
    message = r"^An image of 'tfds:voc/2012' may belong to several classes, but one label .*see .*average_precisions\.$"
    subject = Subject(block_network(), "none", data, preprocess)
    for refused in (
        lambda: listing(data, needs_labels=True),
        lambda: subject.examples(),
        lambda: probe(block_network(), data, "hidden", 1, preprocess=preprocess),
    ):
        with pytest.raises(ValueError, match=message):
            refused()
    with pytest.raises(
        ValueError, match=r"labels of a data set must be one whole number for each image; received int8"
    ):
        deconv.top_activations(block_network(), data, "grey", preprocess=preprocess)


def test_table_6_by_hand_through_the_whole_recipe(voc):
    data = datasets.load("tfds:voc/2012", "all", data_dir=voc, image_size=(32, 40))
    subject = Subject(block_network(), "none", None, preprocess, classes=("other", "another"), transfer=data)
    (picture,) = transfer_pictures(subject)
    # Each of the first 18 is ahead of all. Of "train" the picture lit half as bright is the only one; the brighter one,
    # hard to recognise, does not count. That one is of "tvmonitor", as which no other picture looks less likely.
    expected = np.ones(20)
    expected[19] = 1 / 21
    np.testing.assert_allclose(picture.numbers["average_precision"], expected)
    assert picture.numbers["ranked"].tolist() == [20 if name in ("person", "train") else 21 for name in VOC]
    assert picture.numbers["taught"].tolist() == [1] * 20
    assert picture.numbers["tested"].tolist() == [1] * 20
    (finding,) = picture.findings
    assert finding.claim == "table6-voc" and finding.seen
    assert finding.measured.startswith("mean 95.2 % against 74.3 and 82.2 %; ahead of both on 19 of 20: aeroplane, ")
    ours, paper = picture.tables
    assert ours.rows[19] == ["tvmonitor", "4.8", 1, 1] and ours.rows[20] == ["mean", "95.2", 21, 21]
    assert paper == published("table6")
    assert "was trained on other classes" in picture.caption
    for said in ("whose labels are not public; here the validation images are ranked", "hard to recognise"):
        assert said in picture.caption
    bars = [bar.get_width() for bar in picture.figure.axes[0].patches]
    np.testing.assert_allclose(bars, 100 * expected)
    plt.close(picture.figure)


def own(labels, train_size, colours):
    """An `ImageSet` of 6x5 pictures of one colour each, with labels `(n, classes)`."""
    pixels = np.broadcast_to(np.asarray(colours, np.uint8)[:, None, None], (len(labels), 6, 5, 3))
    listed = tf.data.Dataset.from_tensor_slices((pixels, np.array(labels, np.int8), np.arange(len(labels))))
    names = tuple("abc"[: len(labels[0])])
    return datasets.ImageSet("own", "all", listed, names, len(labels), (6, 5, 3), "of this test", train_size=train_size)


def colour_network():
    image = keras.Input((6, 5, 3))
    mean = kl.GlobalAveragePooling2D(name="mean")(image)
    hidden = kl.Dense(3, kernel_initializer="identity", name="hidden")(mean)
    return keras.Model(image, kl.Dense(2, "softmax", name="top")(hidden), name="colours")


COLOURS = [[200, 0, 0], [0, 200, 0], [90, 90, 90], *([value, 0, 0] for value in (250, 180, 110, 40))]


@pytest.mark.parametrize("batch_size", [2, 64])
def test_average_precision_of_images_in_order_of_their_redness(batch_size):
    # Two classes, a red and a green training picture and one of no class. The redder, the likelier a, the less b.
    labels = [[1, 0], [0, 1], [0, 0], [1, 0], [0, 1], [1, -1], [0, 1]]
    found = precision(colour_network(), own(labels, 3, COLOURS), preprocess=preprocess, batch_size=batch_size)
    # a in order: hit, miss, hit, miss. b from the other end: hit, (does not count), hit, miss.
    np.testing.assert_allclose(found.average_precision, [(1 + 2 / 3) / 2, 1])
    assert found.layer == "hidden" and (found.train_size, found.test_size) == (3, 4)
    assert found.taught.tolist() == [1, 1] and found.tested.tolist() == [2, 2] and found.ranked.tolist() == [4, 3]


def test_a_class_without_images_has_no_average_precision_and_the_others_have_theirs():
    labels = [[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]]
    data = own(labels, 3, COLOURS)  # c has no training image, b no test image
    (picture,) = transfer_pictures(Subject(colour_network(), "none", data, preprocess, transfer=data))
    np.testing.assert_allclose(picture.numbers["average_precision"], [(1 + 2 / 3) / 2, np.nan, np.nan])
    assert [row[1] for row in picture.tables[0].rows] == ["83.3", None, None, "83.3"]
    assert picture.findings[0].seen is None and "--transfer tfds:voc/2012" in picture.findings[0].measured
    assert "VOC 2012" not in picture.caption and "hard to recognise" not in picture.caption
    plt.close(picture.figure)


@pytest.mark.parametrize(("train_size", "labels"), [(None, 1), (0, 1), (7, 1), (3, 0)])
def test_nothing_is_drawn_without_two_classes_to_learn_and_images_to_rank(train_size, labels):
    data = own([[labels, 0], [0, labels], *[[1, 1]] * 5], train_size, COLOURS)
    if not labels:
        data = own([[1, 0], [1, 0], [0, 0], *[[1, 1]] * 4], train_size, COLOURS)
    assert not [*transfer_pictures(Subject(colour_network(), "none", data, preprocess, transfer=data))]


def slow_average_precision(scores, labels):
    """The area under the best precision at each recall or above, image by image."""
    ranked = sorted((place for place in range(len(labels)) if labels[place] >= 0), key=lambda place: -scores[place])
    hits, precisions = 0, []
    for count, place in enumerate(ranked, 1):
        if labels[place] == 1:
            hits += 1
            precisions.append(hits / count)
    return np.mean([max(precisions[order:]) for order in range(len(precisions))])


def test_average_precisions_are_those_of_a_slow_twin_that_shows_an_image_once_as_each_of_its_classes():
    random = np.random.default_rng(0)
    labels = random.choice([-1, 0, 1], (70, 4), p=[0.15, 0.5, 0.35])
    features = labels @ random.normal(size=(4, 7)) + random.normal(0, 2, (70, 7))
    train, test = features[:40], features[40:]
    shown, classes, weights = [], [], []
    for row, some in zip(train, labels[:40], strict=True):
        for number in range(4):
            if some[number] == 1:
                shown.append(row)
                classes.append(number)
                weights.append(1 / (some == 1).sum())
    softmax = LogisticRegression(C=10.0, max_iter=10000, tol=1e-9).fit(np.array(shown), classes, sample_weight=weights)
    expected = [
        slow_average_precision(*pair) for pair in zip(softmax.predict_proba(test).T, labels[40:].T, strict=True)
    ]
    found = average_precisions(train, labels[:40], test, labels[40:], scaling="none")
    np.testing.assert_allclose(found, expected, atol=0.01)
    with pytest.raises(ValueError, match=r"1 \(of the class\), 0 \(not of it\) or -1 \(neither\); received .*2"):
        average_precisions(train, labels[:40] * 2, test, labels[40:])


def voc_set():
    return own([[1]], 1, [[0, 0, 0]])._replace(name="tfds:voc/2012", class_names=VOC)


def said_of(average_precision, data=None):
    return _finding(Precision("hidden", np.array(average_precision), *[None] * 5), data or voc_set())


def test_the_papers_own_numbers_would_be_seen_and_those_of_its_rivals_would_not():
    sande, yan, paper = _others().values()
    said = said_of(paper)
    assert said.seen and "mean 79.0 % against" in said.measured
    assert said.measured.endswith("ahead of both on 5 of 20: bird, boat, cat, dog, sheep")
    assert said_of(sande).seen is False and said_of(paper - 0.01).seen is False
    assert said_of(yan).seen is False and "ahead of both on 0 of 20" in said_of(yan).measured
    assert said_of([*paper[:19], np.nan]).seen is None
    assert said_of(paper, voc_set()._replace(name="tfds:voc/2007")).seen is None


@pytest.fixture(scope="module")
def caltech(tmp_path_factory):
    """TFDS's own `caltech101` of two classes of 31 and 32 pictures in several sizes."""
    tfds = pytest.importorskip("tensorflow_datasets")
    root = tmp_path_factory.mktemp("caltech")
    for name, count, value in (("accordion", 31, 60), ("Faces", 32, 180)):
        folder = root / "extracted" / "101_ObjectCategories" / name
        folder.mkdir(parents=True)
        for order in range(count):
            written = io.BytesIO()
            Image.fromarray(np.full((16, 16 + order % 3, 3), value, np.uint8)).save(written, "JPEG")
            (folder / f"image_{order:04d}.jpg").write_bytes(written.getvalue())
    builder = tfds.builder("caltech101", data_dir=root)
    builder._split_generators = lambda _: {
        "train": builder._generate_examples(Path(root / "extracted"), is_train_split=True),
        "test": builder._generate_examples(Path(root / "extracted"), is_train_split=False),
    }
    builder.download_and_prepare()
    return root


@pytest.mark.slow
def test_caltech_101_has_thirty_training_images_of_each_class_and_the_others_to_test(caltech):
    train, test, everything = (
        datasets.load("tfds:caltech101", split, data_dir=caltech, image_size=(9, 7))
        for split in ("train", "test", "all")
    )
    assert (train.size, test.size, everything.size, everything.train_size) == (60, 3, 63, 60)
    assert not everything.several and len(test.class_names) == 102
    images, labels, _ = datasets.arrays(everything)
    names = [everything.class_names[label] for label in labels]
    assert images.shape == (63, 9, 7, 3) and names.count("accordion") == 31 and names.count("faces") == 32
    bright = np.array([name == "faces" for name in names])
    assert np.abs(images - np.where(bright, 180, 60)[:, None, None, None]).max() <= 2  # JPEG


def test_half_of_the_smallest_class_teaches_and_thirty_of_caltechs_thirty_one():
    assert _sizes(31).tolist() == [1, 2, 3, 6, 10, 15, 30]
    assert _sizes(30).tolist() == [1, 2, 3, 6, 10, 15] and _sizes(8).tolist() == [1, 2, 3]
    assert _sizes(1).tolist() == [] and _sizes(174).tolist() == [1, 2, 3, 6, 10, 15, 30, 45, 60]
