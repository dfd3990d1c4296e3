"""The stream of training batches, a function of the seed and the first epoch."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

CACHE_BYTES = 512 * 1024**2
"""Decoded examples up to this size are cached in memory; this is also the size of the shuffle buffer."""


def training_batches(
    examples: tf.data.Dataset,
    size: int,
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    preprocess: Callable[[tf.Tensor], tf.Tensor],
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    first_epoch: int = 0,
    shuffle_buffer: int | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> tf.data.Dataset:
    """Shuffled, augmented, preprocessed batches of the epochs `first_epoch` to `epochs - 1`, in sequence.

    The order of an epoch depends on `(seed, epoch)` and the augmentation of a batch on `(seed, step)`, so the stream
    that starts at epoch 5 is the tail of the one that starts at 0; therefore a resumed run equals an uninterrupted one.
    Every example occurs once per epoch; the last batch of an epoch may be smaller.

    Args:
        examples: Finite `tf.data.Dataset` of `(image, label, ...)`; further elements are ignored.
        size: Number of examples.
        batch_size: Examples per batch.
        epochs: Number of epochs of the whole run.
        seed: Integer from 0.
        preprocess: Function from pixels `(n, h, w, c)` to inputs of the model.
        augment: Function from `(pixels, seed)` to pixels, with an int64 seed of shape `(2,)`; `None` for none.
        first_epoch: Epoch to start from, counted from 0.
        shuffle_buffer: Number of examples in the shuffle buffer; by default as many as `cache_bytes` hold, or all.
        cache_bytes: The decoded examples are cached in memory if they take no more than this.

    Returns:
        `tf.data.Dataset` of `(images, labels)`.
    """
    steps = steps_per_epoch(size, batch_size)
    examples, buffer = _cached(examples.map(lambda image, label, *_: (image, label)), size, cache_bytes)

    def epoch_batches(epoch: int) -> tf.data.Dataset:
        order_seed = seed * 1_000_003 + epoch
        return examples.shuffle(shuffle_buffer or buffer, order_seed, reshuffle_each_iteration=False).batch(batch_size)

    def finish(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = batch
        if augment is not None:
            images = augment(images, tf.stack([tf.constant(seed, tf.int64), step]))
        return preprocess(images), labels

    stream = epoch_batches(first_epoch)
    for epoch in range(first_epoch + 1, epochs):
        stream = stream.concatenate(epoch_batches(epoch))
    stream = stream.enumerate(first_epoch * steps)
    return stream.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def test_batches(
    examples: tf.data.Dataset,
    size: int,
    *,
    batch_size: int,
    preprocess: Callable[[tf.Tensor], tf.Tensor],
    cache_bytes: int = CACHE_BYTES,
) -> tf.data.Dataset:
    """Preprocessed batches in the order of the dataset, cached in memory if they are small.

    Args:
        examples: Finite `tf.data.Dataset` of `(image, label, ...)`.
        size: Number of examples.
        batch_size: Examples per batch.
        preprocess: Function from pixels `(n, h, w, c)` to inputs of the model.
        cache_bytes: See `training_batches`.

    Returns:
        `tf.data.Dataset` of `(images, labels)`.
    """
    examples, _ = _cached(examples.map(lambda image, label, *_: (image, label)), size, cache_bytes)
    batches = examples.batch(batch_size)
    return batches.map(lambda images, labels: (preprocess(images), labels)).prefetch(tf.data.AUTOTUNE)


test_batches.__test__ = False  # type: ignore[attr-defined]  # keeps pytest from collecting it as a test


def steps_per_epoch(size: int, batch_size: int) -> int:
    """Number of batches per epoch; the last one may be smaller than `batch_size`."""
    return -(-size // batch_size)


def _cached(examples: tf.data.Dataset, size: int, cache_bytes: int) -> tuple[tf.data.Dataset, int]:
    """The examples, cached in memory if they are known to be small enough; and the number of cached examples."""
    shape, dtype = examples.element_spec[0].shape, examples.element_spec[0].dtype
    if not shape.is_fully_defined():
        return examples, min(size, 1024)
    fitting = cache_bytes // max(1, shape.num_elements() * dtype.size)
    return (examples.cache(), size) if fitting >= size else (examples, max(1, fitting))
