"""Training on photographs: the size of the crops in every epoch, the crops, and networks for different input sizes."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf

from models.ablation import altered
from models.training.batches import test_batches
from models.training.crops import centre_crops, random_colours, random_crops, random_resized_crops

SIDES = {"alexnet": 227, "alexnet_owt": 224, "zfnet": 224, "zfnet512": 224}
"""Side of the usual input of each network."""
_OPEN = {"alexnet": range(211, 243), "zfnet": range(208, 240, 2)}
"""Networks whose last map is resampled to a fixed grid while the side grows, and the final sides that need no
resampling."""
_SOURCE_SIDE = 256  # of the squares from which the paper takes its crops (section 3)
_PART = re.compile(r"([1-9][0-9]*)(?::([1-9][0-9]*))?")


class LabelledImages(Protocol):
    """The test images that `Plan.tests` takes, such as a `deconv.datasets.ImageSet`.

    Attributes:
        dataset: `tf.data.Dataset` of `(image, label, ...)`.
        size: Number of images.
    """

    @property
    def dataset(self) -> tf.data.Dataset: ...

    @property
    def size(self) -> int: ...


class Plan(NamedTuple):
    """The side of the crops in every epoch.

    Attributes:
        sides: One side per epoch; the last one is that of the network.
        source_side: Side of the squares from which the crops are cut: 256 for a network at its usual side, in
            proportion for another.
    """

    sides: tuple[int, ...]
    source_side: int

    @classmethod
    def of(cls, model: str, text: str | None, epochs: int) -> Plan:
        """Parse the value of the option `--image-size`.

        Args:
            model: Name of the network, a key of `SIDES`.
            text: `"227"`, or `"128:28,176:12,227"`: 28 epochs at 128 pixels, 12 at 176, the others at 227; None for the
                network's usual side.
            epochs: Number of epochs of the whole run.

        Returns:
            `Plan`.

        Raises:
            ValueError: If it has another form, or another number of epochs than the run; or if the network cannot be
                trained with growing sides, or not up to this side.
        """
        parts = (str(SIDES[model]) if text is None else text).split(",")
        matches = [match for part in parts if (match := _PART.fullmatch(part))]
        if len(matches) < len(parts) or not all(match[2] for match in matches[:-1]):
            raise ValueError(
                f"--image-size must be a side in pixels or side:epochs,..., as 128:28,176:12,227; received {text!r}."
            )
        sides, counts = [int(match[1]) for match in matches], [int(match[2]) for match in matches if match[2]]
        if len(counts) < len(sides):
            counts.append(max(1, epochs - sum(counts)))
        if sum(counts) != epochs:
            raise ValueError(f"--image-size {text} needs {sum(counts)} epochs, but --epochs is {epochs}.")
        if len(set(sides)) > 1 and model not in _OPEN:
            raise ValueError(
                f"--image-size {text}: only {', '.join(_OPEN)} can be trained with growing sides. Give one side for "
                f"{model}."
            )
        if len(set(sides)) > 1 and sides[-1] not in (final_sides := _OPEN[model]):
            raise ValueError(
                f"--image-size {text}: the last side of {model} must be {final_sides[0]} to {final_sides[-1]} pixels, "
                f"received {sides[-1]}."
            )
        each = (side for side, count in zip(sides, counts, strict=True) for _ in range(count))
        return cls(tuple(each), round(sides[-1] * _SOURCE_SIDE / SIDES[model]))

    @property
    def side(self) -> int:
        """The side in the last epoch."""
        return self.sides[-1]

    @property
    def grows(self) -> bool:
        """Whether the side changes during training."""
        return len(set(self.sides)) > 1

    def augmentation(
        self, recipe: Literal["paper", "modern"], steps: int
    ) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        """Function of `(images, (seed, step))` that crops a batch for its epoch.

        `"paper"` takes crops of the final side at random positions and mirrors half of them; `"modern"` takes random
        crops of any aspect ratio and also changes their colours. Both are resampled to the epoch's side.

        Args:
            recipe: `"paper"` or `"modern"`.
            steps: Number of steps per epoch.

        Returns:
            Function from uint8 or float images and an int64 `(seed, step)` to float32 crops, both in pixel units.
        """
        sides = tf.constant(self.sides)

        def crop(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
            side = tf.gather(sides, tf.cast(seed[1] // steps, tf.int32))
            if recipe == "paper":
                return random_crops(images, seed, side, of=self.side)
            return random_colours(random_resized_crops(images, seed, side), seed)

        return crop

    def tests(
        self, test_set: LabelledImages, preprocess: Callable[[tf.Tensor], tf.Tensor], cache_bytes: int
    ) -> Callable[[int], tf.data.Dataset]:
        """Function from an epoch to the test dataset, central crops at the epoch's side.

        Args:
            test_set: The test images, in squares of `source_side`.
            preprocess: Function from pixels to inputs of the model.
            cache_bytes: See `models.training.batches.training_batches`.

        Returns:
            Function from an epoch, counted from 0, to a batched, preprocessed `tf.data.Dataset`.
        """

        @functools.lru_cache(maxsize=1)  # sides do not recur, and each caches images in memory
        def at(side: int) -> tf.data.Dataset:
            return test_batches(
                test_set.dataset,
                test_set.size,
                batch_size=64,
                preprocess=lambda images: preprocess(centre_crops(images, side, of=self.side)),
                cache_bytes=cache_bytes,
            )

        return lambda epoch: at(self.sides[epoch])


def network(
    build: Callable[..., keras.Model],
    side: int | None,
    dtype: str,
    *,
    without: Sequence[str] | None = None,
    resize: dict[str, int] | None = None,
    **arguments: Any,
) -> keras.Model:
    """Build a new network that computes in `dtype`.

    Args:
        build: Function of the network, such as `models.AlexNet`.
        side: Side of the inputs; None for any side.
        dtype: Name of a Keras dtype policy.
        without: Layers to leave out, see `models.ablation.altered`.
        resize: Layers with another size, see `models.ablation.altered`.
        **arguments: Further arguments of `build`.

    Returns:
        A `keras.Model` with random weights, not compiled.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        model = build(weights=None, input_shape=(side, side, 3), **arguments)
        return altered(model, without or (), resize) if without or resize else model
    finally:
        keras.config.set_dtype_policy(before)


def check_growth(growing: keras.Model, final: keras.Model) -> None:
    """Check that a network for any side has weights of the same shapes as the one for the last side.

    Args:
        growing: The network for any side.
        final: The network for the last side.

    Raises:
        ValueError: If a layer that was left out was followed by pooling, so that the maps no longer have the size of
            the grid to which they are resampled while the side grows.
    """
    for open_weight, weight in zip(growing.weights, final.weights, strict=True):
        if tuple(open_weight.shape) != tuple(weight.shape):
            raise ValueError(
                f"--image-size: without these layers '{final.name}' cannot be trained with growing sides: its weights "
                f"{weight.path} would have the shape {tuple(open_weight.shape)} in training and {tuple(weight.shape)} "
                "at the end. Give one side."
            )


def filled(model: keras.Model, other: keras.Model, dtype: str | None = None) -> keras.Model:
    """Copy the weights of another model with the same layers.

    Args:
        model: The model to change, in place.
        other: The model whose weights are copied.
        dtype: Dtype to which they are rounded, such as `"float16"`; None for no rounding.

    Returns:
        `model`.
    """
    arrays = other.get_weights()
    model.set_weights(arrays if dtype is None else [array.astype(dtype).astype(np.float32) for array in arrays])
    return model


def devices(names: Sequence[str] | None = None) -> contextlib.AbstractContextManager:
    """The scope in which to build a network so that every batch is distributed over several devices, if available.

    Args:
        names: Names of the devices, by default those of all GPUs.

    Returns:
        The scope of a `tf.distribute.MirroredStrategy`; for fewer than two devices a scope without effect.
    """
    names = [gpu.name for gpu in tf.config.list_logical_devices("GPU")] if names is None else names
    return tf.distribute.MirroredStrategy(names).scope() if len(names) > 1 else contextlib.nullcontext()
