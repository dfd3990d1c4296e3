"""Training on photographs: the size of the crops in every epoch, the crops, and the network at one size and another."""

import contextlib
import functools
import re
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from models.ablation import altered
from models.training.batches import test_batches
from models.training.crops import centre_crops, random_colours, random_crops, random_resized_crops

SIDES = {"alexnet": 227, "alexnet_owt": 224, "zfnet": 224, "zfnet512": 224}
"""Side of the input that each network was made for."""
_OPEN = {"alexnet": range(211, 243), "zfnet": range(208, 240, 2)}
"""Networks whose last map is resampled to one grid while they grow, and the final sides that need no resampling."""
_SOURCE_SIDE = 256  # of the squares that the paper cuts its crops out of (section 3)
_PART = re.compile(r"([1-9][0-9]*)(?::([1-9][0-9]*))?")


class Plan(NamedTuple):
    """Which side the crops have in which epoch.

    Attributes:
        sides: One side per epoch; the last one is the network's.
        source_side: Side of the squares that the crops are cut from: 256 for a network at its own side, in proportion
            for another.
    """

    sides: tuple
    source_side: int

    @classmethod
    def of(cls, model, text, epochs):
        """Read a plan.

        Args:
            model: Name of the network, a key of `SIDES`.
            text: `"227"`, or `"128:28,176:12,227"`: 28 epochs at 128 pixels, 12 at 176, the others at 227; None for the
                network's own side.
            epochs: Epochs of the whole run.

        Raises:
            ValueError: If it is something else, has not as many epochs as the run, or grows a network that cannot, or
                cannot grow to this side.
        """
        parts = (str(SIDES[model]) if text is None else text).split(",")
        found = [_PART.fullmatch(part) for part in parts]
        if not all(found) or not all(part[2] for part in found[:-1]):
            raise ValueError(
                f"--image-size must be a side in pixels or side:epochs,..., as 128:28,176:12,227; got {text!r}."
            )
        sides, counts = [int(part[1]) for part in found], [int(part[2]) for part in found if part[2]]
        if len(counts) < len(sides):
            counts.append(max(1, epochs - sum(counts)))
        if sum(counts) != epochs:
            raise ValueError(f"--image-size {text} takes {sum(counts)} epochs, and --epochs is {epochs}.")
        if len(set(sides)) > 1 and model not in _OPEN:
            raise ValueError(
                f"--image-size {text}: only {', '.join(_OPEN)} can grow in training; give {model} one side."
            )
        if len(set(sides)) > 1 and sides[-1] not in (ends := _OPEN[model]):
            raise ValueError(
                f"--image-size {text}: {model} can grow to {ends[0]} to {ends[-1]} pixels, got {sides[-1]} at the end."
            )
        each = (side for side, count in zip(sides, counts, strict=True) for _ in range(count))
        return cls(tuple(each), round(sides[-1] * _SOURCE_SIDE / SIDES[model]))

    @property
    def side(self):
        """The side at the end."""
        return self.sides[-1]

    @property
    def grows(self):
        return len(set(self.sides)) > 1

    def augmentation(self, recipe, steps):
        """The function of `(images, (seed, step))` that crops a batch for the epoch it belongs to.

        `"paper"` takes crops of the final side at random places and mirrors half of them; `"modern"` takes random parts
        of any shape and changes their colours too. Either is resampled to the epoch's side.

        Args:
            recipe: `"paper"` or `"modern"`.
            steps: Steps per epoch.
        """
        sides = tf.constant(self.sides)

        def crop(images, seed):
            side = tf.gather(sides, tf.cast(seed[1] // steps, tf.int32))
            if recipe == "paper":
                return random_crops(images, seed, side, of=self.side)
            return random_colours(random_resized_crops(images, seed, side), seed)

        return crop

    def tests(self, test_set, preprocess, cache_bytes):
        """The function of an epoch that gives the test images, their central crops at the epoch's side."""

        @functools.lru_cache(maxsize=1)  # a side does not come back, and each holds images in memory
        def at(side):
            return test_batches(
                test_set.dataset,
                test_set.size,
                batch_size=64,
                preprocess=lambda images: preprocess(centre_crops(images, side, of=self.side)),
                cache_bytes=cache_bytes,
            )

        return lambda epoch: at(self.sides[epoch])


def network(build, side, dtype, *, without=None, resize=None, **arguments):
    """A fresh network for one side, or for any if `side` is None, that computes in `dtype`.

    Layers `without` are left out of it and those in `resize` have another size, see `models.ablation.altered`.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        model = build(weights=None, input_shape=(side, side, 3), **arguments)
        return altered(model, without or (), resize) if without or resize else model
    finally:
        keras.config.set_dtype_policy(before)


def check_growth(growing, final):
    """See that a network for open sides has the weights of the one for its last side.

    Raises:
        ValueError: If a layer that was left out pooled the maps, so that they no longer have the size of the grid that
            they are resampled to while the network grows.
    """
    for open_weight, weight in zip(growing.weights, final.weights, strict=True):
        if tuple(open_weight.shape) != tuple(weight.shape):
            raise ValueError(
                f"--image-size: without these layers '{final.name}' cannot grow: its weights {weight.path} would be "
                f"{tuple(open_weight.shape)} in training and {tuple(weight.shape)} at the end. Give it one side."
            )


def filled(model, other, dtype=None):
    """`model` with the weights of another of the same layers, rounded to `dtype` on the way if one is given."""
    arrays = other.get_weights()
    model.set_weights(arrays if dtype is None else [array.astype(dtype).astype(np.float32) for array in arrays])
    return model


def devices(names=None):
    """The scope to build a network in, which spreads every batch over several devices where there are several.

    Args:
        names: Names of the devices, by default those of all GPUs.

    Returns:
        The scope of a `tf.distribute.MirroredStrategy`, or for less than two devices one that does nothing.
    """
    names = [gpu.name for gpu in tf.config.list_logical_devices("GPU")] if names is None else names
    return tf.distribute.MirroredStrategy(names).scope() if len(names) > 1 else contextlib.nullcontext()
