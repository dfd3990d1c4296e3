"""The stream of training batches, a function of the seed and of the epoch it starts from."""

import tensorflow as tf

_CACHE_BYTES = 512 * 1024**2  # decoded examples up to this size are kept in memory


def training_batches(
    examples, size, *, batch_size, epochs, seed, preprocess, augment=None, first_epoch=0, shuffle_buffer=None
):
    """Shuffled, augmented, preprocessed batches of the epochs `first_epoch` to `epochs - 1`, one after the other.

    The order of an epoch depends on `(seed, epoch)` and the augmentation of a batch on `(seed, step)`, so the stream
    that starts at epoch 5 is the tail of the one that starts at 0: that is what makes a resumed run the same run.
    Every example comes once an epoch; the last batch of an epoch may be smaller.

    Args:
        examples: Finite `tf.data.Dataset` of `(image, label, ...)`; what follows the label is dropped.
        size: Number of examples.
        batch_size: Examples per batch.
        epochs: Number of epochs of the whole run.
        seed: Integer from 0.
        preprocess: From pixels `(n, h, w, c)` to what the model takes.
        augment: From `(pixels, seed)` to pixels, with an int64 seed of shape `(2,)`; `None` for none.
        first_epoch: Epoch to start from, counted from 0.
        shuffle_buffer: Examples to shuffle among; all of them by default.

    Returns:
        `tf.data.Dataset` of `(images, labels)`.
    """
    steps = steps_per_epoch(size, batch_size)
    examples = _kept(examples.map(lambda image, label, *_: (image, label)), size)

    def epoch_batches(epoch):
        order_seed = seed * 1_000_003 + epoch
        return examples.shuffle(shuffle_buffer or size, order_seed, reshuffle_each_iteration=False).batch(batch_size)

    def finish(step, batch):
        images, labels = batch
        if augment is not None:
            images = augment(images, tf.stack([tf.constant(seed, tf.int64), step]))
        return preprocess(images), labels

    stream = epoch_batches(first_epoch)
    for epoch in range(first_epoch + 1, epochs):
        stream = stream.concatenate(epoch_batches(epoch))
    stream = stream.enumerate(first_epoch * steps)
    return stream.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def test_batches(examples, size, *, batch_size, preprocess):
    """Preprocessed batches in the order of the dataset, kept in memory where they are small.

    Args:
        examples: Finite `tf.data.Dataset` of `(image, label, ...)`.
        size: Number of examples.
        batch_size: Examples per batch.
        preprocess: From pixels `(n, h, w, c)` to what the model takes.

    Returns:
        `tf.data.Dataset` of `(images, labels)`.
    """
    examples = _kept(examples.map(lambda image, label, *_: (image, label)), size)
    batches = examples.batch(batch_size)
    return batches.map(lambda images, labels: (preprocess(images), labels)).prefetch(tf.data.AUTOTUNE)


test_batches.__test__ = False  # the name is right, and it is no test of pytest's


def steps_per_epoch(size, batch_size):
    """How many batches show every example once."""
    return -(-size // batch_size)


def _kept(examples, size):
    """The examples, cached in memory if their decoded images are known to be small enough."""
    shape = examples.element_spec[0].shape
    bytes_each = shape.num_elements() if shape.is_fully_defined() else None
    small = bytes_each is not None and bytes_each * examples.element_spec[0].dtype.size * size <= _CACHE_BYTES
    return examples.cache() if small else examples
