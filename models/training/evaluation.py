"""Top-1 and top-5 accuracy with one crop and with ten."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import keras
import numpy as np
import tensorflow as tf

from models.training.crops import CENTRE, centre_crops, ten_crops


def accuracies(
    model: keras.Model,
    examples: tf.data.Dataset,
    size: int,
    side: int,
    preprocess: Callable[[tf.Tensor], tf.Tensor],
    *,
    ten: bool = True,
    batch_size: int = 32,
    progress: Callable[[Iterable], Iterable] = lambda batches: batches,
) -> dict[str, float]:
    """Top-1 and top-5 accuracy on the central crop, and on the mean probabilities of ten crops.

    Of classes with equal probabilities the first is taken, as by argmax.

    Args:
        model: A network with probabilities as output and input `(n, side, side, 3)`.
        examples: Finite `tf.data.Dataset` of `(image, label, ...)`, uint8 images of one size, at least `side`.
        size: Number of examples.
        side: Side of a crop.
        preprocess: Function from pixels to inputs of the model.
        ten: Whether to compute the ten crops too.
        batch_size: Number of crops per forward pass, but at least those of one image.
        progress: Function that wraps the iterator over batches, for a progress bar.

    Returns:
        Dict of floats in [0, 1]: `top1`, `top5`, and with `ten` also `ten_crop_top1`, `ten_crop_top5`.
    """
    count, centre = (10, CENTRE) if ten else (1, 0)
    images_each = max(1, batch_size // count)

    @tf.function(reduce_retracing=True)
    def probabilities(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        crops = ten_crops(images, side) if ten else centre_crops(images, side)
        outputs = model(preprocess(tf.reshape(crops, (-1, side, side, images.shape[3]))), training=False)
        outputs = tf.reshape(outputs, (-1, count, outputs.shape[-1]))
        return outputs[:, centre], tf.reduce_mean(outputs, axis=1)

    names = ("top1", "top5", "ten_crop_top1", "ten_crop_top5")[: 4 if ten else 2]
    correct = dict.fromkeys(names, 0)
    batches = examples.map(lambda image, label, *_: (image, label)).batch(images_each).prefetch(2)
    for images, labels in progress(batches):
        for place, scores in enumerate(probabilities(images)[: len(names) // 2]):
            best = np.argsort(-scores.numpy(), axis=1, kind="stable")[:, :5]
            hits = best == labels.numpy()[:, None]
            correct[names[2 * place]] += int(hits[:, 0].sum())
            correct[names[2 * place + 1]] += int(hits.sum())
    return {name: count / size for name, count in correct.items()}
