"""What a data set may be, which part of it is what, and that it is read batch by batch."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import deconv
from deconv.datasets.batches import as_batches
from deconv.graph.dataset_elements import class_numbers

IMAGES = np.random.default_rng(0).standard_normal((11, 9, 8, 2)).astype("float32")
LABELS = np.arange(11) % 4 + 3
ONE_HOT = np.eye(9, dtype="float32")[LABELS]
IDS = np.arange(11)[::-1] + 100
WEIGHTS = np.linspace(0.5, 2, 11).astype("float32")
FLOWS = keras.src.legacy.preprocessing.image


def stream(*parts):
    return tf.data.Dataset.from_tensor_slices(parts if len(parts) > 1 else parts[0])


def read(dataset, batch_size=4):
    """Images, labels and ids of all batches, and how many images each has."""
    batches = [*as_batches(dataset).batches(batch_size)]
    assert [batch.stop for batch in batches] == np.cumsum([len(batch.images) for batch in batches]).tolist()
    return (*(np.concatenate(part) for part in list(zip(*batches, strict=True))[:3]), [len(b.images) for b in batches])


# Which part is what


@pytest.mark.parametrize("form", ["single", "batched", "arrays"])
@pytest.mark.parametrize(
    ("parts", "labels", "ids"),
    [
        ((IMAGES,), None, None),
        ((IMAGES, LABELS), LABELS, None),
        ((IMAGES, LABELS, IDS), LABELS, IDS),
        ((IMAGES, LABELS, WEIGHTS), LABELS, None),
        ((IMAGES, LABELS, np.ones(11)), LABELS, None),
        ((IMAGES, LABELS, WEIGHTS.astype("float16")), LABELS, None),
        ((IMAGES, ONE_HOT), LABELS, None),
        ((IMAGES, ONE_HOT.astype("uint8"), IDS.astype("int32")), LABELS, IDS),
        ((IMAGES, ONE_HOT, WEIGHTS), LABELS, None),
        ((IMAGES, LABELS[:, None].astype("uint8")), LABELS, None),  # as keras.datasets.cifar10 gives them
        ((IMAGES, LABELS.astype("float32")), LABELS, None),  # as class_mode="binary" gives them
        ((IMAGES, LABELS > 4), LABELS > 4, None),
    ],
)
def test_a_third_part_of_floating_point_is_a_weight_and_whole_numbers_are_ids(form, parts, labels, ids):
    dataset = parts if form == "arrays" else stream(*parts) if form == "single" else stream(*parts).batch(3)
    images, found, numbers, sizes = read(dataset)
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(found, np.full(11, -1) if labels is None else labels)
    np.testing.assert_array_equal(numbers, np.arange(11) if ids is None else ids)
    assert found.dtype == numbers.dtype == np.int64
    assert sizes == ([3, 3, 3, 2] if form == "batched" else [4, 4, 3])


@pytest.mark.parametrize("batched", [False, True])
def test_dicts_are_read_by_their_keys(batched):
    for given, labels, ids in (
        ({"image": IMAGES, "label": LABELS, "id": IDS, "file": LABELS.astype(str)}, LABELS, IDS),
        ({"images": IMAGES, "labels": ONE_HOT}, LABELS, np.arange(11)),
        ({"label": LABELS, "image": IMAGES}, LABELS, np.arange(11)),
    ):
        dataset = tf.data.Dataset.from_tensor_slices(given)
        found = read(dataset.batch(5) if batched else dataset)
        np.testing.assert_array_equal(found[0], IMAGES)
        assert found[1].tolist() == labels.tolist() and found[2].tolist() == ids.tolist()
        assert [part.tolist() for part in read(given)[1:3]] == [labels.tolist(), ids.tolist()]
    with pytest.raises(ValueError, match=r"dicts with the keys x, y; the key image is required"):
        as_batches(tf.data.Dataset.from_tensor_slices({"x": IMAGES, "y": LABELS}))


def test_the_strongest_images_are_the_same_whatever_stands_beside_them():
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), keras.layers.Conv2D(3, 3, name="conv")])
    expected = deconv.top_activations(model, (IMAGES, LABELS), "conv", k=3)["conv"]
    for dataset in (
        stream(IMAGES, ONE_HOT, WEIGHTS),
        stream(IMAGES, LABELS, WEIGHTS).batch(4),
        (IMAGES, LABELS, WEIGHTS),
    ):
        found = deconv.top_activations(model, dataset, "conv", k=3)["conv"]
        assert found.ids.tolist() == expected.ids.tolist() and found.labels.tolist() == expected.labels.tolist()


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (
            stream(IMAGES, LABELS, np.ones(11, int)),
            "the image id, is 1 for all .* convert them to floating point",
        ),
        (stream(IMAGES, ONE_HOT * 0.5), "labels of a data set must be one whole number for each image"),
        (stream(IMAGES, ONE_HOT + ONE_HOT[::-1]), "labels of a data set must be one whole number"),
        (stream(IMAGES, LABELS + 0.5), "labels of a data set must be one whole number"),
        (stream(IMAGES, LABELS, LABELS.astype(str)), "ids of a data set must be one whole number"),
        (stream(IMAGES, LABELS, WEIGHTS, WEIGHTS), r"must yield images, \(image, label\) or .*received 4 parts"),
        ((IMAGES, LABELS[:8]), r"labels of a data set must be one whole number for each image; .* \(8,\) for 11"),
    ],
)
def test_what_is_neither_a_label_nor_an_id_is_refused(dataset, message):
    with pytest.raises(ValueError, match=message):
        read(dataset)


def test_images_of_one_id_are_one_image_and_stay_allowed():
    assert read((IMAGES, LABELS, np.full(11, 7)))[2].tolist() == [7] * 11
    same = np.repeat(IMAGES[:1], 11, axis=0)
    assert read((same, LABELS, np.ones(11, int)))[2].tolist() == [1] * 11


def test_one_hot_rows_of_one_class_are_not_taken_for_a_column():
    assert class_numbers(np.array([[1], [0]]), 2).tolist() == [1, 0]
    assert class_numbers(np.array([[0, 1]]), 1).tolist() == [1]


# What has no end


def generator():
    yield from IMAGES


@pytest.mark.parametrize(
    "dataset",
    [
        stream(IMAGES).repeat(),
        stream(IMAGES).repeat().batch(4),
        stream(IMAGES, LABELS).repeat().filter(lambda image, label: label > 4),
        stream(IMAGES).repeat().filter(lambda image: True).batch(4).prefetch(1),
        stream(IMAGES).batch(2).repeat().flat_map(lambda images: tf.data.Dataset.from_tensor_slices(images)),
        tf.data.Dataset.from_generator(generator, output_signature=tf.TensorSpec((9, 8, 2))).repeat(),
    ],
)
def test_a_stream_without_end_is_refused_also_behind_a_filter(dataset):
    with pytest.raises(ValueError, match=r"never ends; take a part of it with dataset.take\(count\)"):
        as_batches(dataset)


def test_a_part_of_a_stream_without_end_is_read():
    kept = stream(IMAGES, LABELS).repeat().filter(lambda image, label: label > 4)
    assert len(read(kept.take(5))[0]) == 5
    assert len(read(tf.data.Dataset.from_generator(generator, output_signature=tf.TensorSpec((9, 8, 2))))[0]) == 11


class Endless(keras.utils.PyDataset):
    @property
    def num_batches(self):
        return None

    def __getitem__(self, place):
        raise AssertionError("It was read.")


@pytest.mark.parametrize(
    "endless", [generator(), iter(IMAGES), itertools.count(), zip(IMAGES, LABELS, strict=True), Endless()]
)
def test_what_has_no_length_is_refused_by_name_before_anything_is_read(endless):
    with pytest.raises(
        ValueError, match=f"a {type(endless).__name__}, has no length, so that it may never end. Give arr"
    ):
        as_batches(endless)


@pytest.mark.parametrize("nothing", ["mnist", b"mnist", 3, None, object()])
def test_what_is_no_data_set_is_refused(nothing):
    with pytest.raises(ValueError, match=r"A data set is an array of images or a tf\.data\.Dataset; received"):
        as_batches(nothing)


# What has a length


class Counted(keras.utils.PyDataset):
    """Batches of 3, and a list of those that were asked for."""

    def __init__(self, *parts):
        super().__init__()
        self.parts, self.asked = parts, []

    def __len__(self):
        return 4

    def __getitem__(self, place):
        self.asked.append(place)
        return tuple(part[3 * place : 3 * place + 3] for part in self.parts)


@pytest.mark.parametrize("parts", [(IMAGES, LABELS), (IMAGES, ONE_HOT, WEIGHTS), (IMAGES, LABELS, IDS)])
def test_a_py_dataset_is_read_batch_by_batch_and_gives_what_its_arrays_give(parts):
    source = Counted(*parts)
    batches = as_batches(source).batches(100)
    assert source.asked == [] and next(batches).stop == 3 and source.asked == [0]
    next(batches)
    assert source.asked == [0, 1]
    assert [part.tolist() for part in read(source)[1:3]] == [part.tolist() for part in read(parts)[1:3]]
    np.testing.assert_array_equal(read(source)[0], IMAGES)


def test_a_scan_of_a_py_dataset_is_never_more_than_two_batches_ahead():
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), keras.layers.Conv2D(3, 3, name="conv")])
    source, seen = Counted(np.tile(IMAGES, (12, 1, 1, 1))), []
    expected = deconv.top_activations(model, source.parts[0][:12], "conv", k=3)["conv"]

    def preprocess(images):
        seen.append(len(source.asked) - len(seen))
        return images

    found = deconv.top_activations(model, source, "conv", k=3, preprocess=preprocess)["conv"]
    assert max(seen) <= 2 and source.asked == [0, 1, 2, 3]
    assert found.ids.tolist() == expected.ids.tolist()


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("labels", [LABELS, ONE_HOT])
def test_a_flow_of_an_image_data_generator_ends_and_its_ids_are_places_in_its_arrays(labels, shuffle):
    flow = FLOWS.ImageDataGenerator().flow(IMAGES, labels, sample_weight=WEIGHTS, batch_size=4, shuffle=shuffle, seed=1)
    images, found, ids, sizes = read(flow)
    assert sizes == [4, 4, 3] and sorted(ids) == list(range(11)) and (ids == np.arange(11)).all() != shuffle
    np.testing.assert_array_equal(images, IMAGES[ids])
    np.testing.assert_array_equal(found, LABELS[ids])


def test_a_checkpoint_of_a_py_dataset_goes_on_and_refuses_another(tmp_path):
    model = keras.Sequential([keras.Input(IMAGES.shape[1:]), keras.layers.Conv2D(3, 3, name="conv")])
    expected = deconv.top_activations(model, (IMAGES, LABELS), "conv", k=3)["conv"]

    class Stopped(Counted):
        def __getitem__(self, place):
            if place == 2:
                raise KeyboardInterrupt
            return super().__getitem__(place)

    options = {"layers": "conv", "k": 3, "checkpoint": tmp_path / "top.npz", "save_every": 0}
    Stopped.__name__ = "Counted"
    with pytest.raises(KeyboardInterrupt):
        deconv.top_activations(model, Stopped(IMAGES, LABELS), **options)
    with pytest.raises(ValueError, match="The first image of the data set differs"):
        deconv.top_activations(model, Counted(IMAGES[::-1], LABELS), **options)
    with pytest.raises(ValueError, match=r"data set: numbered \(False there, True here\)"):
        deconv.top_activations(model, Counted(IMAGES, LABELS, IDS), **options)
    found = deconv.top_activations(model, Counted(IMAGES, LABELS), **options)["conv"]
    assert found.ids.tolist() == expected.ids.tolist() and found.labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-6)


# PyTorch


class Items:
    """Single images by number, as `torch.utils.data.Dataset` has them."""

    def __init__(self, tensor=np.asarray):
        self.asked, self.tensor = [], tensor

    def __len__(self):
        return 11

    def __getitem__(self, place):
        self.asked.append(place)
        return self.tensor(IMAGES[place]), int(LABELS[place])


def test_single_images_by_number_are_put_together_to_batches():
    items = Items()
    batches = as_batches(items).batches(4)
    assert next(batches).stop == 4 and items.asked == [0, 1, 2, 3]
    images, labels, ids, sizes = read(items)
    np.testing.assert_array_equal(images, IMAGES)
    assert labels.tolist() == LABELS.tolist() and ids.tolist() == list(range(11)) and sizes == [4, 4, 3]


@pytest.mark.slow
def test_the_data_sets_of_pytorch_are_read_batch_by_batch():
    torch = pytest.importorskip("torch")
    data = torch.utils.data
    tensors = data.TensorDataset(*(torch.from_numpy(part) for part in (IMAGES, LABELS, WEIGHTS)))
    items = Items(torch.from_numpy)
    kinds = [
        (tensors, [4, 4, 3]),
        (data.DataLoader(tensors, batch_size=5), [5, 5, 1]),
        (data.DataLoader(items, batch_size=5, drop_last=False), [5, 5, 1]),
        (data.DataLoader(items, batch_size=None), [4, 4, 3]),
        (data.Subset(items, range(11)), [4, 4, 3]),
        (data.ConcatDataset([data.Subset(tensors, range(6)), data.Subset(tensors, range(6, 11))]), [4, 4, 3]),
        (torch.from_numpy(IMAGES), [4, 4, 3]),
    ]
    for dataset, sizes in kinds:
        images, labels, ids, found = read(dataset)
        np.testing.assert_array_equal(images, IMAGES)
        assert found == sizes and ids.tolist() == list(range(11))
        assert labels.tolist() == ([-1] * 11 if dataset is kinds[-1][0] else LABELS.tolist())
    items.asked.clear()
    batches = as_batches(data.DataLoader(items, batch_size=3)).batches(100)
    assert next(batches).stop == 3 and items.asked == [0, 1, 2]


def test_an_iterable_data_set_of_pytorch_without_a_length_is_refused():
    torch = pytest.importorskip("torch")

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            raise AssertionError("It was read.")

    class Long(Stream):
        def __len__(self):
            return 11

        def __iter__(self):
            return zip(IMAGES, LABELS, strict=True)

    assert read(Long())[1].tolist() == LABELS.tolist()
    for endless in (torch.utils.data.DataLoader(Stream()), Stream()):
        with pytest.raises(ValueError, match=f"a {type(endless).__name__}, has no length, so that it may never end"):
            as_batches(endless)
