"""One streaming pass finds what sorting everything finds, in the time of the network, and goes on if it was killed."""

import functools
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from bits import assert_same_bits
from keras import layers as kl
from specimens import LAYERS, SPECIMENS, images

import deconv
from deconv import datasets
from deconv.imaging import image_files
from deconv.topk.state import TopK


def sorted_fully(model, pixels, layer, ids, k):
    """Values, ids, rows and columns by sorting the activations of all images at once."""
    maps = deconv.activations(model, pixels, layer)[layer]
    maps = maps.reshape(len(maps), *(maps.shape[1:-1] or (1, 1)), maps.shape[-1])
    return reference.top_activations(maps, ids, k)


def assert_is_sorted_fully(found, model, pixels, layer, ids, k):
    values, winners, rows, columns = sorted_fully(model, pixels, layer, ids, k)
    np.testing.assert_array_equal(found.ids, winners)
    np.testing.assert_array_equal(found.positions, np.stack([rows, columns], axis=-1))
    np.testing.assert_allclose(found.values, values, rtol=1e-5, atol=1e-6)


def shuffled(model, n, batch_size, seed=0):
    """Images, their ids and a stream of `(image, label, id)` in another order; labels are ids modulo 7."""
    pixels, ids = images(model, n), np.random.default_rng(seed).permutation(10 * n)[:n]
    order = np.random.default_rng(seed + 1).permutation(n)
    stream = tf.data.Dataset.from_tensor_slices((pixels[order], ids[order] % 7, ids[order]))
    return pixels, ids, stream.batch(batch_size) if batch_size else stream


@pytest.mark.parametrize(
    ("name", "batch_size"), [*((name, None) for name in SPECIMENS), *((name, 7) for name in ("same", "branching"))]
)
def test_one_pass_over_a_shuffled_stream_equals_a_full_sort(name, batch_size):
    model = SPECIMENS[name]()
    pixels, ids, stream = shuffled(model, 23, batch_size)
    wanted = [LAYERS[name], 1, "conv1" if name != "nested" else "base/conv1"]
    found = deconv.top_activations(model, stream, wanted, k=5, batch_size=4)
    assert list(found) == wanted
    for layer in wanted:
        path = model.layers[1].name if layer == 1 else layer
        assert_is_sorted_fully(found[layer], model, pixels, path, ids, 5)
        np.testing.assert_array_equal(found[layer].labels, found[layer].ids % 7)
        windows = deconv.receptive_windows(model, layer, found[layer].positions)
        np.testing.assert_array_equal(found[layer].windows, windows)


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_arrays_and_streams_without_ids_are_numbered_in_the_order_in_which_they_come(batch_size):
    model = SPECIMENS["overlapping"]()
    pixels = images(model, 17)
    sources = {
        "array": pixels,
        "images": tf.data.Dataset.from_tensor_slices(pixels),
        "batches": tf.data.Dataset.from_tensor_slices(pixels).batch(6),
        "pairs": tf.data.Dataset.from_tensor_slices((pixels, np.arange(17) + 100)).batch(3),
        "holder": type("Holder", (), {"dataset": tf.data.Dataset.from_tensor_slices((pixels, np.full(17, -1)))}),
    }
    for name, source in sources.items():
        found = deconv.top_activations(model, source, "conv3", k=4, batch_size=batch_size)["conv3"]
        assert_is_sorted_fully(found, model, pixels, "conv3", range(17), 4)
        assert (found.labels == (found.ids + 100 if name == "pairs" else -1)).all()


def test_with_fewer_images_than_k_all_are_ranked():
    model = SPECIMENS["same"]()
    pixels = images(model, 3)
    found = deconv.top_activations(model, pixels, "conv2", k=9)["conv2"]
    huge = deconv.top_activations(model, pixels, "conv2", k=10**12)["conv2"]
    assert_same({"conv2": huge}, {"conv2": found})
    assert found.values.shape == found.ids.shape == found.labels.shape == (6, 3)
    assert found.positions.shape == (6, 3, 2) and found.windows.shape == (6, 3, 4)
    assert_is_sorted_fully(found, model, pixels, "conv2", range(3), 9)


def test_equal_activations_are_ranked_by_id_whatever_the_order_of_the_stream():
    model = SPECIMENS["valid_stride2"]()
    pixels = np.repeat(images(model, 1), 6, axis=0)
    ids = np.array([50, 3, 41, 7, 22, 6])
    stream = tf.data.Dataset.from_tensor_slices((pixels, ids, ids)).batch(2)
    found = deconv.top_activations(model, stream, "conv3", k=4)["conv3"]
    assert (found.ids == [3, 6, 7, 22]).all() and (found.labels == found.ids).all()


@pytest.mark.parametrize("batch_size", [1, 4, 30])
def test_an_image_that_comes_several_times_even_in_one_batch_is_listed_once(batch_size):
    model = SPECIMENS["overlapping"]()
    pixels, ids, _ = shuffled(model, 10, None)
    again = np.random.default_rng(2).permutation(np.repeat(np.arange(10), 3))
    found = deconv.top_activations(
        model, (pixels[again], ids[again] % 7, ids[again]), "conv3", 6, batch_size=batch_size
    )
    assert_is_sorted_fully(found["conv3"], model, pixels, "conv3", ids, 6)


def test_a_dense_layer_is_a_map_of_one_position_that_sees_everything():
    model = SPECIMENS["lenet"]()
    found = deconv.top_activations(model, images(model, 12), "dense2", k=3)["dense2"]
    assert not found.positions.any() and (found.windows == [0, 0, 28, 28]).all()
    assert_is_sorted_fully(found, model, images(model, 12), "dense2", range(12), 3)


def test_preprocess_sees_every_image_once_and_changes_what_the_model_sees():
    model = SPECIMENS["average"]()
    pixels = np.random.default_rng(0).integers(0, 256, (10, *model.input_shape[1:]), dtype=np.uint8)
    seen = []

    def preprocess(batch):
        seen.extend(batch)
        return batch.astype("float32") / 255 - 0.5

    found = deconv.top_activations(model, pixels, "conv3", k=3, preprocess=preprocess, batch_size=4)["conv3"]
    assert_is_sorted_fully(found, model, pixels.astype("float32") / 255 - 0.5, "conv3", range(10), 3)
    np.testing.assert_array_equal(seen, pixels)


# ---------------------------------------------------------------------------------------------- kinds of numbers


@pytest.mark.parametrize("dtype", ["float64", "mixed_bfloat16", "mixed_float16"])
def test_activations_of_every_precision_are_kept_and_ranked_as_they_are(dtype):
    model = SPECIMENS["lenet"](dtype)
    pixels = images(model, 12, dtype="float64" if dtype == "float64" else "float32")
    for layer in ("pool1", "conv2", "dense1"):
        found = deconv.top_activations(model, pixels, layer, k=5, batch_size=12)[layer]
        assert found.values.dtype == ("float64" if dtype == "float64" else "float32")
        maps = deconv.activations(model, pixels, layer, batch_size=12)[layer].astype("float64")
        maps = maps.reshape(12, *(maps.shape[1:-1] or (1, 1)), maps.shape[-1])
        values, ids, rows, columns = reference.top_activations(maps, range(12), 5)
        np.testing.assert_array_equal(found.values, values)
        np.testing.assert_array_equal(found.ids, ids)  # halves have many ties
        np.testing.assert_array_equal(found.positions, np.stack([rows, columns], axis=-1))


def test_maps_of_whole_numbers_are_ranked_too():
    image = keras.Input((6, 5, 2), dtype="uint8")
    model = keras.Model(image, kl.MaxPooling2D(2, name="pool", dtype="uint8")(image))
    pixels = np.random.default_rng(0).integers(0, 4, (9, 6, 5, 2), dtype=np.uint8)
    found = deconv.top_activations(model, pixels, "pool", k=4, batch_size=4)["pool"]
    pooled = pixels[:, :, :4].reshape(9, 3, 2, 2, 2, 2).max(axis=(2, 4))
    values, ids, rows, columns = reference.top_activations(pooled.astype(int), range(9), 4)
    assert (found.values == values).all() and (found.ids == ids).all()
    assert (found.positions == np.stack([rows, columns], axis=-1)).all()


def test_the_first_of_equal_maxima_is_found_in_every_map():
    image = keras.Input((7, 5, 2))
    model = keras.Model(image, kl.ReLU(name="relu")(image))
    pixels = np.random.default_rng(0).integers(-1, 2, (30, 7, 5, 2)).astype("float32")
    pixels[3:8] = -1  # all zero after the relu
    found = deconv.top_activations(model, pixels, "relu", k=30, batch_size=8)["relu"]
    values, ids, rows, columns = reference.top_activations(np.maximum(pixels, 0), range(30), 30)
    assert (found.values == values).all() and (found.ids == ids).all()
    assert (found.positions == np.stack([rows, columns], axis=-1)).all()


def test_maps_too_large_to_be_searched_at_once_are_searched_piece_by_piece():
    image = keras.Input((700, 1000, 3))  # 0.7 million cells: of 48 maxima six are sought at a time
    model = keras.Model(image, kl.ReLU(name="relu")(image))
    pixels = np.zeros((16, 700, 1000, 3), "float32")
    spots = np.random.default_rng(0).integers(0, (700, 1000), (16, 3, 2))
    number, channel = np.indices((16, 3))
    pixels[number, spots[..., 0], spots[..., 1], channel] = 100 - number
    found = deconv.top_activations(model, pixels, "relu", k=16, batch_size=16)["relu"]
    assert (found.ids == np.arange(16)).all() and (found.positions == spots.transpose(1, 0, 2)).all()


def test_a_layer_with_one_axis_of_space_is_one_row_of_positions():
    image = keras.Input((4, 3, 2))
    model = keras.Model(image, kl.Reshape((-1, 2), name="row")(image))
    pixels = images(model, 5)
    found = deconv.top_activations(model, pixels, "row", k=2)["row"]
    rows = pixels.reshape(5, 12, 2)
    for channel in (0, 1):
        best = found.ids[channel, 0]
        assert found.positions[channel, 0].tolist() == [0, rows[best, :, channel].argmax()]
    projected = deconv.Deconvnet(model).project_units(pixels[found.ids[:, 0]], "row", [0, 1], found.positions[:, 0])
    assert np.array_equal(projected.max(axis=(1, 2, 3)), found.values[:, 0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", [(0, 0, 0), (3, 2, 1), (6, 4, 1)])
def test_one_bad_number_anywhere_in_a_map_is_refused_with_the_name_of_the_layer(place, value):
    image = keras.Input((7, 5, 2))
    model = keras.Model(image, kl.ReLU(name="relu")(kl.Rescaling([1.0, 1.0], name="scaled")(image)))
    pixels = images(model, 8)
    pixels[(5, *place)] = 1e30

    def spoil(maps):
        return tf.where(maps > 1e20, tf.constant(value, maps.dtype), maps)

    model = keras.Model(
        image, kl.Lambda(spoil, output_shape=(7, 5, 2), name="spoilt")(model.get_layer("scaled").output)
    )
    with pytest.raises(ValueError, match="output of layer 'spoilt' contains NaN or infinity"):
        deconv.top_activations(model, pixels, "spoilt", k=2, batch_size=4)


# ---------------------------------------------------------------------------------------------- images


def test_a_tuple_of_arrays_gives_labels_and_ids():
    model = SPECIMENS["overlapping"]()
    pixels, ids, _ = shuffled(model, 9, None)
    found = deconv.top_activations(model, (pixels, ids % 7, ids), "conv3", k=4, batch_size=2)["conv3"]
    assert_is_sorted_fully(found, model, pixels, "conv3", ids, 4)
    assert (found.labels == found.ids % 7).all()
    found = deconv.top_activations(model, (pixels, ids), "conv3", k=4)["conv3"]
    assert_is_sorted_fully(found, model, pixels, "conv3", range(9), 4)
    assert (found.labels == ids[found.ids]).all()
    images_in_a_tuple = deconv.top_activations(model, tuple(pixels), "conv3", k=4)["conv3"]
    assert_is_sorted_fully(images_in_a_tuple, model, pixels, "conv3", range(9), 4)
    with pytest.raises(
        ValueError, match=r"labels of a data set must be one whole number for each image; .* \(8,\) for 9"
    ):
        deconv.top_activations(model, (pixels, ids[:8]), "conv3")


class OnDisk:
    """An array as h5py and zarr have it: what is asked for is read, and nothing else can be done with it."""

    def __init__(self, images):
        self.images, self.shape, self.dtype, self.read = images, images.shape, images.dtype, []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, part):
        self.read.append(len(self.images[part]))
        return self.images[part]

    def __array__(self, *_, **__):
        raise MemoryError("the whole data set")


def test_an_array_on_disk_is_read_batch_by_batch(tmp_path):
    model = SPECIMENS["overlapping"]()
    pixels = images(model, 17)
    on_disk = OnDisk(pixels)
    found = deconv.top_activations(model, on_disk, "conv3", k=4, batch_size=5)["conv3"]
    assert_is_sorted_fully(found, model, pixels, "conv3", range(17), 4)
    assert on_disk.read == [5, 5, 5, 2]
    deconv.top_activations(model, (on_disk, np.arange(17)), "conv3", batch_size=5, checkpoint=tmp_path / "top.npz")
    assert sorted(on_disk.read[4:]) == [0, 2, 5, 5, 5, 17]  # for its fingerprint all of so small a set, in one piece


@pytest.mark.slow
def test_the_next_batch_is_preprocessed_while_the_network_computes_the_present_one_and_no_more():
    begun, computed, leads = [threading.Event() for _ in range(6)], [], []

    def preprocess(batch):
        number = int(batch[0, 0, 0, 0])
        begun[number].set()
        leads.append(number - len(computed))
        return batch

    def wait(maps):
        number = int(maps[0, 0, 0, 0])
        if begun[0].is_set():  # not while the receptive field is computed, which calls the layer as well
            assert number == 5 or begun[number + 1].wait(30), "the next batch is not preprocessed meanwhile"
        time.sleep(0.05)  # time enough for one more, if it were allowed
        computed.append(number)
        return maps

    image = keras.Input((3, 4, 1))
    slow = kl.Lambda(lambda maps: tf.ensure_shape(tf.numpy_function(wait, [maps], tf.float32), maps.shape), name="slow")
    model = keras.Model(image, slow(image))
    pixels = np.repeat(np.arange(6, dtype="float32"), 4).reshape(24, 1, 1, 1) * np.ones((1, 3, 4, 1), "float32")
    deconv.receptive_windows(model, "slow", [0, 0])  # finds out what the layer sees by calling it
    computed.clear()
    found = deconv.top_activations(model, pixels, "slow", k=2, batch_size=4, preprocess=preprocess)["slow"]
    assert computed[:6] == [*range(6)] and found.ids.tolist() == [[20, 21]]
    assert max(leads) <= 2 and max(leads[1:]) >= 1  # the batch computed, the one made, and the one in the making


def input_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("deconv-images")]


class Stop(BaseException):
    """What Ctrl-C is: no Exception."""


@pytest.mark.parametrize("error", [ValueError("odd picture"), KeyboardInterrupt(), Stop(), StopIteration()])
def test_an_error_of_the_preprocessing_comes_through_and_the_thread_ends(error):
    model = SPECIMENS["same"]()

    def preprocess(batch):
        if len(calls) == 2:
            raise error
        calls.append(len(batch))
        return batch

    calls = []
    with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)):
        deconv.top_activations(model, images(model, 20), "conv1", k=2, batch_size=4, preprocess=preprocess)
    assert calls == [4, 4] and not input_threads()


def test_the_thread_ends_with_the_scan_and_if_the_network_fails():
    model = SPECIMENS["same"]()
    deconv.top_activations(model, images(model, 9), "conv1", batch_size=2)
    assert not input_threads()
    image = keras.Input((3, 4, 1))
    broken = keras.Model(image, kl.Conv2D(1, 1, name="conv")(image))
    broken.set_weights([np.full((1, 1, 1, 1), np.inf), np.zeros(1)])
    with pytest.raises(ValueError, match="'conv' contains NaN or infinity"):
        deconv.top_activations(broken, np.ones((90, 3, 4, 1), "float32"), "conv", batch_size=2)
    assert not input_threads()


def test_numpys_error_state_reaches_the_preprocessing():
    model = SPECIMENS["same"]()
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        deconv.top_activations(
            model, images(model, 4), "conv1", preprocess=lambda batch: batch + np.exp(np.float32(99))
        )


# ---------------------------------------------------------------------------------------------- time and memory


@keras.saving.register_keras_serializable(package="tests")
class Counted(keras.layers.Layer):
    """Does nothing, and counts how often Python comes through."""

    calls = 0

    def call(self, maps):
        self.calls += 1
        return maps


def test_a_scan_of_100_images_is_traced_once_whatever_is_left_for_the_last_batch():
    image = keras.Input((6, 5, 2))
    counted = Counted(name="counted")
    model = keras.Model(image, kl.Conv2D(3, 2, name="conv")(counted(image)))
    deconv.receptive_windows(model, "conv", [0, 0])  # finds out what the layer sees by calling it
    for batch_size in (64, 33, 1, 100, 7):
        before = counted.calls
        deconv.top_activations(model, images(model, 100), ["counted", "conv"], batch_size=batch_size)
        assert counted.calls == before + 1


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data_set(tmp_path):
    image = keras.Input((16, 15, 1))
    model = keras.Model(image, kl.Conv2D(8, 3, name="conv")(image))

    def stream(count):
        def draw(number):
            return tf.random.stateless_uniform((16, 15, 1), [0, number]), number, number

        return tf.data.Dataset.range(count).map(draw).batch(32)

    def on_disk(count):
        file = np.lib.format.open_memmap(tmp_path / f"{count}.npy", "w+", "float32", (count, 16, 15, 1))
        file[-1] = 1
        return file, np.arange(count), np.arange(count)

    def peak(source):
        tracemalloc.start()
        try:
            found = deconv.top_activations(model, source, "conv", k=3, batch_size=32)["conv"]
            return found, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    for source in (stream, on_disk):
        peak(source(64))
        (_, small), (found, large) = peak(source(320)), peak(source(3200))
        # The images alone take 16 * 15 * 4 bytes each, the winners of one batch 8 * (3 + 32) entries.
        assert large - small < 0.05 * (3200 - 320) * 16 * 15 * 4
        assert found.ids.shape == (8, 3) and found.ids.max() > 320 - 320 * (source is on_disk)
        assert (found.labels == found.ids).all()


@pytest.mark.slow
def test_the_peak_of_the_whole_process_is_the_same_for_1000_and_for_8000_images():
    code = """
import resource, sys
import keras, tensorflow as tf
import deconv
def draw(number):
    image = tf.random.stateless_uniform((64, 48, 3), [0, number], maxval=256, dtype=tf.int32)
    return tf.cast(image, tf.uint8), number, number
image = keras.Input((64, 48, 3))
model = keras.Model(image, keras.layers.Conv2D(16, 5, 4, activation="relu", name="conv")(image))
for count in (1000, 8000):
    stream = tf.data.Dataset.range(count).map(draw, num_parallel_calls=tf.data.AUTOTUNE)
    tops = deconv.top_activations(model, stream, "conv", preprocess=lambda batch: batch.astype("float32") / 255)["conv"]
    assert tops.ids.max() > 0.5 * count
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    pytest.importorskip("resource")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    small, large = map(int, result.stdout.split())
    assert large <= 1.05 * small  # 8,000 images are 74 MB as bytes, 295 MB as the network takes them


# ---------------------------------------------------------------------------------------------- checkpoints


def assert_same(one, other):
    assert list(one) == list(other)
    for layer, tops in one.items():
        for array, twin in zip(tops, other[layer], strict=True):
            assert_same_bits(array, twin)


def halved(batch):
    return batch / 2


class Interrupted(BaseException):
    pass


def stopped_at(place):
    """A preprocessing by the name of `halved` that is interrupted at its batch number `place`."""
    calls = []

    def preprocess(batch):
        calls.append(len(batch))
        if len(calls) > place:
            raise Interrupted
        return halved(batch)

    preprocess.__module__, preprocess.__qualname__ = halved.__module__, halved.__qualname__
    return preprocess


def save_pictures(folder, count):
    random = np.random.default_rng(0)
    for name, some in (("a", range(count // 2)), ("b", range(count // 2, count))):
        (folder / name).mkdir(parents=True)
        for number in some:
            keras.utils.save_img(folder / name / f"{number:02d}.png", random.integers(0, 256, (23, 19, 3)), scale=False)
    return folder


SOURCES = {
    "array": lambda pixels, folder: pixels,
    "arrays": lambda pixels, folder: (pixels, np.arange(22) % 7, np.arange(22)[::-1].copy()),
    "stream": lambda pixels, folder: tf.data.Dataset.from_tensor_slices((pixels, np.arange(22) % 7)),
    "batches": lambda pixels, folder: tf.data.Dataset.from_tensor_slices((pixels, np.arange(22) % 7)).batch(5),
    "image set": lambda pixels, folder: datasets.load(folder, "all"),
    "shard": lambda pixels, folder: datasets.load(folder, "all").shard(2, 1),
}


@pytest.mark.parametrize(("kind", "place"), [*((kind, 2) for kind in SOURCES), ("stream", 1)])
def test_a_scan_that_was_interrupted_goes_on_to_the_same_result_bit_for_bit(tmp_path, kind, place):
    model, checkpoint = SPECIMENS["overlapping"](), tmp_path / "top.npz"
    source = functools.partial(SOURCES[kind], images(model, 22), save_pictures(tmp_path / "pictures", 22))
    scan = functools.partial(deconv.top_activations, model, k=3, batch_size=3)
    whole = scan(source(), ["conv1", "conv3"], preprocess=halved)
    with pytest.raises(Interrupted):
        scan(source(), ["conv1", "conv3"], preprocess=stopped_at(place), checkpoint=checkpoint)
    state = TopK.load(checkpoint)
    assert (state.images, state.complete) == (place * (5 if kind == "batches" else 3), False)
    with pytest.raises(Interrupted):  # and once more; the layers may come in another order
        scan(source(), ["conv3", "conv1"], preprocess=stopped_at(1), checkpoint=checkpoint)
    assert TopK.load(checkpoint).images == (place + 1) * (5 if kind == "batches" else 3)
    resumed = scan(source(), ["conv1", "conv3"], preprocess=halved, checkpoint=checkpoint)
    assert_same(resumed, whole)
    assert_same(scan(source(), ["conv1", "conv3"], preprocess=stopped_at(0), checkpoint=checkpoint), whole)
    state = TopK.load(checkpoint)
    assert state.complete and state.images == (11 if kind == "shard" else 22)
    assert_same(state.tops(model), whole)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["top.npz"]


@pytest.mark.parametrize("kind", ["array", "stream", "image set"])
def test_a_scan_may_go_on_with_batches_of_another_size(tmp_path, kind):
    model, checkpoint = SPECIMENS["overlapping"](), tmp_path / "top.npz"
    source = SOURCES[kind](images(model, 22), save_pictures(tmp_path / "pictures", 22))
    with pytest.raises(Interrupted):
        deconv.top_activations(
            model, source, "conv3", k=3, batch_size=3, preprocess=stopped_at(3), checkpoint=checkpoint
        )
    sizes = []

    def preprocess(batch):
        sizes.append(len(batch))
        return halved(batch)

    preprocess.__qualname__ = halved.__qualname__
    resumed = deconv.top_activations(
        model, source, "conv3", 3, batch_size=8, preprocess=preprocess, checkpoint=checkpoint
    )
    whole = deconv.top_activations(model, source, "conv3", k=3, batch_size=22, preprocess=halved)
    assert sum(sizes) == 13
    np.testing.assert_array_equal(resumed["conv3"].ids, whole["conv3"].ids)
    np.testing.assert_allclose(resumed["conv3"].values, whole["conv3"].values, rtol=1e-5)


SLOW = """
import sys, time
sys.path[:0] = [sys.argv[1]]
import test_scan
test_scan.scan_slowly(sys.argv[2])
"""


def slow_scan(checkpoint, pause):
    """A scan of 300 images in batches of 4, each of which takes a moment."""
    model = SPECIMENS["same"]()
    pixels = images(model, 300)

    def draw():
        for number, image in enumerate(pixels):
            time.sleep(pause)
            yield image, number % 7, 1000 - number

    signature = (tf.TensorSpec(pixels.shape[1:]), *[tf.TensorSpec((), tf.int64)] * 2)
    stream = tf.data.Dataset.from_generator(draw, output_signature=signature)
    return deconv.top_activations(
        model, stream, ["conv1", "conv3"], 5, batch_size=4, checkpoint=checkpoint, save_every=0.1
    )


def scan_slowly(checkpoint):
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # as in the tests' own process
    slow_scan(checkpoint, pause=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_a_scan_whose_process_was_killed_goes_on_to_the_same_result_bit_for_bit(tmp_path, name):
    checkpoint = tmp_path / "top.npz"
    worker = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(Path(__file__).parent), str(checkpoint)], stderr=subprocess.PIPE, text=True
    )
    try:
        while not checkpoint.exists() or TopK.load(checkpoint).images < 20:
            assert worker.poll() is None, worker.stderr.read()
            time.sleep(0.05)
        os.kill(worker.pid, getattr(signal, name))
        told = worker.communicate(timeout=60)[1]
    finally:
        worker.kill()
    assert worker.returncode == -getattr(signal, name), told
    state = TopK.load(checkpoint)
    assert 20 <= state.images < 300 and state.images % 4 == 0 and not state.complete
    assert_same(slow_scan(checkpoint, pause=0), slow_scan(None, pause=0))
    assert TopK.load(checkpoint).complete


def test_a_finished_scan_is_not_repeated(tmp_path):
    model, read = SPECIMENS["same"](), []
    pixels = images(model, 30)

    def draw():
        for image in pixels:
            read.append(1)
            yield image

    stream = tf.data.Dataset.from_generator(draw, output_signature=tf.TensorSpec(pixels.shape[1:]))
    first = deconv.top_activations(model, stream, "conv1", checkpoint=tmp_path / "top.npz")
    written = (tmp_path / "top.npz").stat().st_mtime_ns
    assert len(read) == 30
    assert_same(deconv.top_activations(model, stream, "conv1", checkpoint=tmp_path / "top.npz"), first)
    assert len(read) <= 33  # the first image, to see that it is the same stream
    assert (tmp_path / "top.npz").stat().st_mtime_ns == written


def test_what_was_seen_before_an_error_is_saved(tmp_path):
    model = SPECIMENS["same"]()
    pixels = images(model, 12)
    spoilt = pixels.copy()
    spoilt[9] = np.nan
    stream = tf.data.Dataset.from_tensor_slices
    with pytest.raises(ValueError, match="image 1 holds NaN"):
        deconv.top_activations(model, stream(spoilt), "conv3", k=3, batch_size=4, checkpoint=tmp_path / "top.npz")
    assert TopK.load(tmp_path / "top.npz").images == 8
    mended = deconv.top_activations(model, stream(pixels), "conv3", k=3, batch_size=4, checkpoint=tmp_path / "top.npz")
    assert_same(mended, deconv.top_activations(model, pixels, "conv3", k=3, batch_size=4))


def test_a_scan_that_saw_nothing_leaves_no_checkpoint(tmp_path):
    model = SPECIMENS["same"]()
    for pixels in (images(model, 3) * np.nan, images(model, 0)):
        with pytest.raises(ValueError):
            deconv.top_activations(model, pixels, "conv3", checkpoint=tmp_path / "top.npz")
    assert not any(tmp_path.iterdir())


def test_pictures_already_seen_are_not_decoded_again(tmp_path, monkeypatch):
    model, checkpoint = SPECIMENS["overlapping"](), tmp_path / "top.npz"
    folder = save_pictures(tmp_path / "pictures", 12)
    digits = datasets.load(folder, "all")
    whole = deconv.top_activations(model, digits, "conv3", 3, batch_size=4, preprocess=halved)
    with pytest.raises(Interrupted):
        deconv.top_activations(model, digits, "conv3", 3, batch_size=4, preprocess=stopped_at(2), checkpoint=checkpoint)
    decoded, read = [], image_files.read
    monkeypatch.setattr(image_files, "read", lambda file, *grey: decoded.append(Path(file).name) or read(file, *grey))
    resumed = deconv.top_activations(model, digits, "conv3", 3, batch_size=4, preprocess=halved, checkpoint=checkpoint)
    assert_same(resumed, whole)
    assert sorted(decoded) == ["08.png", "09.png", "10.png", "11.png"]


def test_shards_of_a_data_set_merge_to_the_result_of_the_whole(tmp_path):
    model = SPECIMENS["overlapping"]()
    pictures = datasets.load(save_pictures(tmp_path / "pictures", 22), "all")
    parts = []
    for index in (2, 0, 1):
        deconv.top_activations(
            model, pictures.shard(3, index), "conv3", 4, preprocess=halved, checkpoint=tmp_path / f"{index}"
        )
        parts.append(TopK.load(tmp_path / f"{index}"))
    merged = parts[0].merge(parts[1].merge(parts[2]))
    assert merged.images == 22 and merged.complete
    found, whole = (
        merged.tops(model)["conv3"],
        deconv.top_activations(model, pictures, "conv3", 4, preprocess=halved)["conv3"],
    )
    np.testing.assert_allclose(found.values, whole.values, rtol=1e-5)
    for name in ("ids", "labels", "positions", "windows"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


# ---------------------------------------------------------------------------------------------- refused


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder with a checkpoint of the test images of a folder of pictures, and what it is of."""
    folder = tmp_path_factory.mktemp("begun")
    save_pictures(folder / "pictures", 22)
    arguments = {
        "model": SPECIMENS["overlapping"](),
        "dataset": datasets.load(folder / "pictures", "train"),
        "layers": "conv3",
    }
    arguments |= {"k": 3, "preprocess": halved, "checkpoint": folder / "top.npz"}
    deconv.top_activations(**arguments)
    return folder, arguments


CHANGES = {
    "seed": (lambda folder: {"model": SPECIMENS["overlapping"](seed=1)}, "differs in weights."),
    "model": (lambda folder: {"model": SPECIMENS["same"]()}, "differs in architecture."),
    "layers": (lambda folder: {"layers": ["conv3", "pool1"]}, "layers (conv3 there, conv3, pool1 here)."),
    "k": (lambda folder: {"k": 4}, "differs in k (3 there, 4 here)."),
    "preprocess": (lambda folder: {"preprocess": np.sqrt}, "preprocess (test_scan.halved there, numpy.sqrt here)."),
    "none": (lambda folder: {"preprocess": None}, "preprocess (test_scan.halved there, none here)."),
    "split": (
        lambda folder: {"dataset": datasets.load(folder / "pictures", "all")},
        "data set: split (train there, all here); data set: size (18 there, 22 here); data set: source (18 of the 22 ",
    ),
    "shard": (
        lambda folder: {"dataset": datasets.load(folder / "pictures", "train").shard(2, 0)},
        "differs in data set: size (18 there, 9 here); data set: source (18 of ",
    ),
    "array": (
        lambda folder: {"dataset": np.zeros((18, 23, 19, 3), "float32")},
        "differs in data set: kind (ImageSet there, arrays here).",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_of_something_else_is_refused_with_what_differs_and_stays_as_it_is(begun, change):
    folder, arguments = begun
    before = (folder / "top.npz").read_bytes()
    changed, message = CHANGES[change]
    with pytest.raises(ValueError) as refusal:
        deconv.top_activations(**arguments | changed(folder))
    told = str(refusal.value)
    assert told.startswith(f"The state in '{folder / 'top.npz'}' does not fit; it differs in ") and message in told, (
        told
    )
    assert told.endswith(" Give another path, or delete the file to start again.")
    assert (folder / "top.npz").read_bytes() == before


def test_a_scan_does_not_go_on_from_what_was_merged_of_two_data_sets(begun, tmp_path):
    folder, arguments = begun
    other = datasets.load(folder / "pictures", "test")
    deconv.top_activations(**arguments | {"dataset": other, "checkpoint": tmp_path / "other.npz"})
    merged = TopK.load(folder / "top.npz").merge(TopK.load(tmp_path / "other.npz"))
    merged.save(tmp_path / "merged.npz")
    with pytest.raises(ValueError, match=r"differs in data set \(2 there, 1 here\)"):
        deconv.top_activations(**arguments | {"checkpoint": tmp_path / "merged.npz"})


def test_arrays_of_another_content_are_refused(tmp_path):
    model = SPECIMENS["same"]()
    pixels, labels = images(model, 6), np.arange(6)
    scan = functools.partial(deconv.top_activations, model, layers="conv1", checkpoint=tmp_path / "top.npz")
    scan((pixels, labels))
    scan((pixels.copy(), labels.tolist()), batch_size=2)
    other = pixels.copy()
    other[4, 3, 2, 1] += 1
    for source, difference in (
        ((other, labels), "data set: images"),
        ((pixels, labels + 1), "data set: labels"),
        (
            (pixels[:5], labels[:5]),
            r"data set: shape \(\[6, 21, 17, 2\] there, \[5, 21, 17, 2\] here\); data set: images",
        ),
        ((pixels, labels, labels), r"data set: numbered \(False there, True here\)"),
    ):
        with pytest.raises(ValueError, match=f"differs in {difference}"):
            scan(source)


def test_a_stream_that_begins_with_another_image_is_refused(tmp_path):
    model = SPECIMENS["same"]()
    pixels = images(model, 30)
    stream = tf.data.Dataset.from_tensor_slices(pixels)
    passes = itertools.count()
    signature = tf.TensorSpec(pixels.shape[1:], pixels.dtype)
    turned = tf.data.Dataset.from_generator(lambda: np.roll(pixels, next(passes), 0), output_signature=signature)
    turned = turned.apply(tf.data.experimental.assert_cardinality(30))  # another first image at every pass
    for finished in (False, True):
        checkpoint = tmp_path / f"{finished}.npz"
        scan = functools.partial(
            deconv.top_activations, model, layers="conv1", k=2, batch_size=4, checkpoint=checkpoint
        )
        if finished:
            scan(turned, preprocess=halved)
        else:
            with pytest.raises(Interrupted):
                scan(turned, preprocess=stopped_at(2))
        for source in (turned, stream.skip(1).concatenate(stream.take(1))):
            before = checkpoint.read_bytes()
            with pytest.raises(
                ValueError,
                match=r"first image of the data set differs from that of the previous pass or .*: .* new checkpoint",
            ):
                scan(source, preprocess=halved)
            assert checkpoint.read_bytes() == before
        with pytest.raises(ValueError, match=r"data set: cardinality \(30 there, 15 here\)"):
            scan(stream.shard(2, 0), preprocess=halved)


def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_scan(tmp_path):
    model = SPECIMENS["same"]()
    (tmp_path / "file").write_text("mine")
    for path, message in (
        (tmp_path, f"The checkpoint '{tmp_path}' is a folder; give the path of a file"),
        (tmp_path / "no" / "top.npz", "The folder of the checkpoint '.*' does not exist. Make it first"),
        (tmp_path / "file", "'.*file' holds no state that can be read: it is damaged, or not a checkpoint"),
    ):
        with pytest.raises(ValueError, match=message):
            deconv.top_activations(model, images(model, 2), "conv1", checkpoint=path, preprocess=stopped_at(0))
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("save_every", [-1, "often", None, True, float("nan")])
def test_the_time_between_savings_is_a_number_of_seconds(save_every):
    model = SPECIMENS["same"]()
    with pytest.raises(
        ValueError, match=f"save_every must be a number of seconds, at least 0; received {save_every!r}."
    ):
        deconv.top_activations(model, images(model, 2), "conv1", save_every=save_every)
