"""Training of AlexNet, ZFNet and their variants on photographs, for `train_alexnet.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from scripts import training_data

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from deconv.datasets import ImageSet
    from models.training import RunFolder
    from models.training.photographs import Plan

NETWORKS = {"alexnet": "AlexNet", "alexnet_owt": "AlexNetOWT", "zfnet": "ZFNet", "zfnet512": "ZFNet512"}
"""Function of `models` for each value of the option `--model`."""


class PhotographTraining(NamedTuple):
    """One training run.

    Attributes:
        arguments: Everything on which the results depend, by the names of the options of `train_alexnet.py`.
        plan: Side of the crops in every epoch.
        train_set: Training images.
        test_set: Test images.
    """

    arguments: dict[str, Any]
    plan: Plan
    train_set: ImageSet
    test_set: ImageSet

    @classmethod
    def of(cls, arguments: dict[str, Any], plan: Plan, places: dict[str, Any]) -> PhotographTraining:
        """Load the images of a run; `places` as for `training_data.labelled_images`."""
        return cls(
            arguments=arguments,
            plan=plan,
            train_set=photographs(arguments, places, "train", plan),
            test_set=photographs(arguments, places, "test", plan),
        )

    @property
    def preprocess(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The `preprocess_input` of the network."""
        return preprocess_of(self.arguments["model"])

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches per epoch."""
        return math.ceil(self.train_set.size / self.arguments["batch_size"])

    @property
    def cache_bytes(self) -> int:
        """Memory for decoded images."""
        return int(self.arguments["cache"] * 2**30)

    def report_data(self, say: Callable[[str], object]) -> None:
        """Print the data, and the size of the shuffle buffer if it is smaller than they are."""
        training_data.report_sizes(self.train_set, self.test_set, say)
        buffered = self.cache_bytes // math.prod(self.train_set.image_shape)
        if buffered < self.train_set.size:
            say(f"The shuffle buffer holds {buffered:,} of them, as limited by --cache {self.arguments['cache']:g}.")

    def network(self, side: int | None, dtype: str = "float32") -> keras.Model:
        """A new network for one side, or for any side if `side` is None."""
        from models.training import photographs

        options = {name: self.arguments[name] for name in ("units", "dropout", "without", "resize")}
        build = builder_of(self.arguments["model"])
        return photographs.network(build, side, dtype, classes=len(self.train_set.class_names), **options)

    def prepared_network(self) -> keras.Model:
        """A new network, compiled for training.

        Raises:
            ValueError: If a side or a layer to change is invalid.
        """
        from models import training
        from models.training import photographs, recipes

        arguments, plan = self.arguments, self.plan
        build = builder_of(arguments["model"])
        for side in set(plan.sides):  # rejects sides that are too small
            build(weights=None, input_shape=(side, side, 3), include_top=False)
        training_side = None if plan.grows else plan.side
        if arguments["without"] or arguments["resize"]:  # rejects unknown layers
            photographs.check_growth(self.network(training_side), self.network(plan.side))
        training.make_repeatable(arguments["seed"])
        with photographs.devices():
            model = self.network(training_side, "mixed_bfloat16" if arguments["mixed_precision"] else "float32")
            recipes.prepare(
                model,
                arguments["recipe"],
                steps=self.steps_per_epoch * arguments["epochs"],
                grey_level=recipes.grey_level_of(self.preprocess),
                **{name: arguments[name] for name in ("learning_rate", "weight_decay", "filter_radius", "seed")},
            )
        return model

    def final_network(self, trained: keras.Model, dtype: str | None = None) -> keras.Model:
        """A float32 network for the last side with the weights of a trained one, rounded to `dtype` if given."""
        from models.training import photographs

        return photographs.filled(self.network(self.plan.side), trained, dtype)

    def fit(
        self, model: keras.Model, folder: RunFolder, bar: bool, say: Callable[[str], object]
    ) -> tuple[list[dict[str, float]], float]:
        """Train a prepared network, or resume its run; see `models.training.train`."""
        from models import training
        from models.training import recipes

        arguments = self.arguments
        return training.train(
            model,
            self.train_set.dataset,
            self.train_set.size,
            self.plan.tests(self.test_set, self.preprocess, self.cache_bytes),
            folder,
            epochs=arguments["epochs"],
            batch_size=arguments["batch_size"],
            seed=arguments["seed"],
            preprocess=self.preprocess,
            augment=self.plan.augmentation(arguments["recipe"], self.steps_per_epoch),
            learning_rate=recipes.annealing(arguments["recipe"], arguments["learning_rate"]),
            kept=self.final_network,
            cache_bytes=self.cache_bytes,
            bar=bar,
            say=say,
        )

    def results(self, model: keras.Model) -> dict[str, float]:
        """Accuracies of a final network on test images, also with float16 weights, and on training images."""
        side, preprocess = self.plan.side, self.preprocess
        results = accuracies(model, self.test_set, side, preprocess)
        rounded = self.final_network(model, "float16")
        float16 = accuracies(rounded, self.test_set, side, preprocess, ten=False)
        on_training = accuracies(model, self.train_set, side, preprocess, ten=False)
        results |= {f"{name}_float16": value for name, value in float16.items()}
        return results | {f"train_{name}": value for name, value in on_training.items()}


def builder_of(model: str) -> Callable[..., keras.Model]:
    """The function of `models` for a name in `NETWORKS`."""
    import models

    return getattr(models, NETWORKS[model])


def preprocess_of(model: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The `preprocess_input` for a name in `NETWORKS`."""
    import models

    return getattr(models, model).preprocess_input


def photographs(
    arguments: dict[str, Any], places: dict[str, Any], split: Literal["train", "test"], plan: Plan
) -> ImageSet:
    """One split of the data set as colour images, square and of one size."""
    side = plan.source_side
    return training_data.labelled_images(arguments["dataset"], split, places, image_size=(side, side), channels=3)


def accuracies(
    model: keras.Model,
    images: ImageSet,
    side: int,
    preprocess: Callable[[tf.Tensor], tf.Tensor],
    ten: bool = True,
) -> dict[str, float]:
    """Accuracies of a network, see `models.training.evaluation.accuracies`; with a progress bar on a terminal."""
    from tqdm import tqdm

    from models.training import evaluation

    return evaluation.accuracies(
        model,
        images.dataset,
        images.size,
        side,
        preprocess,
        ten=ten,
        progress=lambda batches: tqdm(batches, "Testing", unit=" batches", leave=False, disable=None),
    )


def accuracy_report(results: dict[str, float], test_set: ImageSet) -> str:
    """Accuracies of `accuracies` in one sentence."""
    return (
        f"Central crop: top-1 {results['top1']:.2%}, top-5 {results['top5']:.2%}; ten crops: top-1 "
        f"{results['ten_crop_top1']:.2%}, top-5 {results['ten_crop_top5']:.2%}; {test_set.size:,} images of "
        f"{test_set.name}."
    )
