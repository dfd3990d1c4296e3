"""One streaming pass finds what sorting everything finds."""

import tracemalloc

import keras
import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers as kl
from specimens import LAYERS, SPECIMENS, images

import deconv
from deconv.topk import strongest_of


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


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 8), st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 999))
def test_keeping_the_strongest_part_by_part_equals_keeping_the_strongest_of_all(k, parts, seed):
    rng = np.random.default_rng(seed)
    total = sum(parts)
    values, ids = rng.integers(0, 4, (3, total)).astype(float), np.tile(rng.permutation(total), (3, 1))
    kept = tuple(array[:, :0] for array in (values, ids))
    for stop, size in zip(np.cumsum(parts), parts, strict=True):
        new = (values[:, stop - size : stop], ids[:, stop - size : stop])
        kept = strongest_of(tuple(np.concatenate(pair, axis=1) for pair in zip(kept, new, strict=True)), k)
    for channel in range(3):
        expected = sorted(zip(-values[channel], ids[channel], strict=True))[:k]
        assert list(zip(-kept[0][channel], kept[1][channel], strict=True)) == expected


def test_memory_does_not_grow_with_the_data_set():
    image = keras.Input((16, 15, 1))
    model = keras.Model(image, kl.Conv2D(8, 3, name="conv")(image))

    def peak(count):
        def draw(number):
            return tf.random.stateless_uniform((16, 15, 1), [0, number]), number, number

        stream = tf.data.Dataset.range(count).map(draw).batch(32)
        tracemalloc.start()
        try:
            found = deconv.top_activations(model, stream, "conv", k=3)["conv"]
            return found, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(64)
    (_, small), (found, large) = peak(320), peak(3200)
    # The images alone take 16 * 15 * 4 bytes each, the winners of one batch 8 * (3 + 32) entries.
    assert large - small < 0.1 * (3200 - 320) * 16 * 15 * 4
    assert found.ids.shape == (8, 3) and found.ids.max() > 320 and (found.labels == found.ids).all()
