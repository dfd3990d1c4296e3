"""The training loop: Keras's `fit`, with a state to resume from after every epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.training.batches import CACHE_BYTES, steps_per_epoch, training_batches
from models.training.run_folder import RunFolder
from models.training.state import load_state, save_state

FIG4_EPOCHS = (1, 2, 5, 10, 20, 30, 40, 64)
"""The epochs at which Zeiler & Fergus (arXiv:1311.2901, Fig. 4) show how features evolve."""


class DivergedError(ValueError):
    """The loss or a weight is not finite; the message contains the step and the remedy."""


def make_repeatable(seed: int) -> None:
    """Seed all random generators of this process, and make every operation deterministic.

    This affects the whole process, so scripts should call it before they build a model, and libraries should not.

    Args:
        seed: Integer from 0, below 2**32.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def train(
    model: keras.Model,
    examples: tf.data.Dataset,
    size: int,
    test: tf.data.Dataset | Callable[[int], tf.data.Dataset],
    folder: RunFolder,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    preprocess: Callable[[tf.Tensor], tf.Tensor],
    augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    learning_rate: Callable[[list[dict[str, float]]], float] | None = None,
    kept: Callable[[keras.Model], keras.Model] | None = None,
    cache_bytes: int = CACHE_BYTES,
    bar: bool = False,
    say: Callable[[str], object] = print,
) -> tuple[list[dict[str, float]], float]:
    """Train a compiled model, or resume an interrupted run from `folder`.

    After every epoch the state is written, preceded by a checkpoint at the epochs of the paper's Fig. 4. A run that is
    killed and resumed ends with the same weights and history, bit for bit, as an uninterrupted one (given
    `make_repeatable`, the same machine and the same versions).

    Args:
        model: A compiled `keras.Model` with `metrics=["accuracy"]`.
        examples: Training `tf.data.Dataset` of `(image, label, ...)`, not batched.
        size: Number of training examples.
        test: Batched, preprocessed dataset that is evaluated after every epoch, or a function from an epoch, counted
            from 0, to this dataset. It affects the training only through `learning_rate`.
        folder: A started `RunFolder`.
        epochs: Number of epochs of the whole run.
        batch_size: Examples per step.
        seed: Seed of order and augmentation.
        preprocess: See `training_batches`.
        augment: See `training_batches`.
        learning_rate: Function from the history to the learning rate of the next epoch; None leaves it to the
            optimizer, where it may depend on the step only.
        kept: Function from the model to the one that is saved as a checkpoint; by default the model itself.
        cache_bytes: See `training_batches`.
        bar: Whether to show Keras's progress bar; otherwise `say` is called with one line per epoch.
        say: Function for such a line.

    Returns:
        The history, a list of one dict per epoch (`epoch, loss, accuracy, test_loss, test_accuracy,
        learning_rate`), and the seconds that the epochs took. Training loss and accuracy are means over the epoch
        while the weights change, on augmented images, including dropout.

    Raises:
        DivergedError: As soon as the loss is not finite, or at the end of an epoch if a weight or the test loss is not.
            Nothing is written for that epoch; the state of the previous one is kept.
    """
    history, seconds = load_state(folder.state_file, model) if folder.state_file.exists() else ([], 0.0)
    if history:
        folder.write_history(history)
        say(f"Resuming after epoch {len(history)} of {epochs}.")
    if len(history) < epochs:
        recorder = _Recorder(
            folder,
            history,
            seconds,
            epochs,
            test=test if callable(test) else lambda epoch: test,
            learning_rate=learning_rate,
            to_save=kept or (lambda model: model),
            say=None if bar else say,
        )
        model.fit(
            training_batches(
                examples,
                size,
                batch_size=batch_size,
                epochs=epochs,
                seed=seed,
                preprocess=preprocess,
                augment=augment,
                first_epoch=len(history),
                cache_bytes=cache_bytes,
            ),
            initial_epoch=len(history),
            epochs=epochs,
            steps_per_epoch=steps_per_epoch(size, batch_size),
            callbacks=[recorder],
            shuffle=False,
            verbose=1 if bar else 0,
        )
        seconds = recorder.seconds
    return history, seconds


def evaluate(model: keras.Model, test: tf.data.Dataset) -> dict[str, float]:
    """Loss and accuracy of the model, and of its weights rounded to float16, the type in which they are published.

    Args:
        model: A compiled `keras.Model` with `metrics=["accuracy"]`. Its weights are restored.
        test: Batched, preprocessed dataset.

    Returns:
        Dict of floats: `test_loss`, `test_accuracy`, `test_loss_float16`, `test_accuracy_float16`.
    """
    weights = model.get_weights()
    loss, accuracy = model.evaluate(test, verbose=0)
    try:
        model.set_weights([array.astype(np.float16).astype(array.dtype) for array in weights])
        loss16, accuracy16 = model.evaluate(test, verbose=0)
    finally:
        model.set_weights(weights)
    values = {"loss": loss, "accuracy": accuracy, "loss_float16": loss16, "accuracy_float16": accuracy16}
    return {f"test_{name}": round(float(value), 6) for name, value in values.items()}


def _measured(model: keras.Model, test: tf.data.Dataset) -> dict[str, float]:
    """Loss and accuracy over batches, equal to `model.evaluate`, which would keep another copy of them each time."""
    sums, count = {"loss": 0.0, "accuracy": 0.0}, 0
    for images, labels in test:
        model.reset_metrics()
        measured = model.test_on_batch(images, labels, return_dict=True)
        sums = {name: sums[name] + len(labels) * float(measured[name]) for name in sums}
        count += len(labels)
    return {name: total / count for name, total in sums.items()}


class _Recorder(keras.callbacks.Callback):
    """After every epoch: evaluate, write history, checkpoint and state, and report. Stops a run that has diverged."""

    def __init__(
        self,
        folder: RunFolder,
        history: list[dict[str, float]],
        seconds: float,
        epochs: int,
        *,
        test: Callable[[int], tf.data.Dataset],
        learning_rate: Callable[[list[dict[str, float]]], float] | None,
        to_save: Callable[[keras.Model], keras.Model],
        say: Callable[[str], object] | None,
    ) -> None:
        super().__init__()
        self.folder, self.history, self.seconds, self.epochs = folder, history, seconds, epochs
        self.test, self.learning_rate, self.to_save, self.say = test, learning_rate, to_save, say

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.epoch, self.started = epoch, time.monotonic()
        if self.learning_rate is not None:
            self.model.optimizer.learning_rate = self.learning_rate(self.history)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._check_finite("loss", logs["loss"], f"after {batch + 1} steps of epoch {self.epoch + 1}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        measured = _measured(self.model, self.test(epoch))
        logs.update({f"test_{name}": measured[name] for name in ("loss", "accuracy")})  # for Keras's progress bar
        duration = time.monotonic() - self.started
        self.seconds += duration
        row = {
            "epoch": epoch + 1,
            "loss": float(logs["loss"]),
            "accuracy": float(logs["accuracy"]),
            "test_loss": float(measured["loss"]),
            "test_accuracy": float(measured["accuracy"]),
            "learning_rate": float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
        }
        self._check_finite("test loss", row["test_loss"], f"after epoch {epoch + 1}")
        self._check_finite("sum of the weights", sum(map(np.sum, self.model.get_weights())), f"after epoch {epoch + 1}")
        self.history.append(row)
        if epoch + 1 in FIG4_EPOCHS:
            self.folder.save_checkpoint(self.to_save(self.model), epoch + 1)
        save_state(self.folder.state_file, self.model, self.history, self.seconds)
        self.folder.write_history(self.history)
        if self.say is not None:
            self.say(
                f"epoch {epoch + 1:3d}/{self.epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:7.2%}  "
                f"test loss {row['test_loss']:.4f}  test accuracy {row['test_accuracy']:7.2%}  {duration:.1f} s"
            )

    def _check_finite(self, name: str, value: Any, when: str) -> None:
        if not np.isfinite(value):
            raise DivergedError(
                f"Training has diverged: the {name} is {value} {when}. Lower the learning rate (--learning-rate)."
            )
