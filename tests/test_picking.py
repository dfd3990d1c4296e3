"""Images by their ids, from every kind of data set."""

import numpy as np
import pytest
import tensorflow as tf

from deconv import datasets
from deconv.datasets.picking import images_by_id

DATA = np.random.default_rng(0).integers(0, 256, (11, 4, 3, 2), np.uint8)
IDS = np.arange(11) * 7 % 11 + 100


@pytest.mark.parametrize("wanted", [[3], [10, 0, 3, 3], [4, 5, 6]])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_images_are_numbered_in_the_order_of_reading_without_ids(wanted, batch_size):
    stream = tf.data.Dataset.from_tensor_slices(DATA)
    for source in (DATA, (DATA, np.arange(11)), stream, stream.batch(3)):
        assert np.array_equal(images_by_id(source, wanted, batch_size), DATA[wanted])


@pytest.mark.parametrize("batched", [False, True])
def test_ids_are_those_of_the_data_set(batched):
    stream = tf.data.Dataset.from_tensor_slices((DATA, np.zeros(11, np.int64), IDS))
    wanted = IDS[[5, 2, 2]]
    assert np.array_equal(images_by_id(stream.batch(4) if batched else stream, wanted), DATA[[5, 2, 2]])
    assert np.array_equal(images_by_id((DATA, np.zeros(11, np.int64), IDS), wanted), DATA[[5, 2, 2]])


def test_an_image_set_decodes_only_these():
    digits = datasets.load("digits-8x8")
    _, ids = digits.listing()
    assert np.array_equal(images_by_id(digits, ids[[4, 1]]), digits.pick(ids[[4, 1]]))


def test_an_id_that_does_not_exist_is_named():
    for source in (DATA, tf.data.Dataset.from_tensor_slices(DATA)):
        with pytest.raises(ValueError, match="no image with the id 11"):
            images_by_id(source, [0, 11])


def test_of_arrays_only_these_images_are_read():
    class Recorded:
        """An array on disk that notes which images are read."""

        shape, dtype, read = DATA.shape, DATA.dtype, []

        def __len__(self):
            return len(DATA)

        def __getitem__(self, places):
            self.read += np.ravel(places).tolist()
            return DATA[places]

    assert np.array_equal(images_by_id((Recorded(), np.arange(11)), [9, 2, 9]), DATA[[9, 2, 9]])
    assert Recorded.read == [2, 9]
