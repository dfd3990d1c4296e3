"""Evolution of features during training: projections of their strongest units by epoch (section 4.1, Fig. 4)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from deconv import graph
from deconv.datasets.batches import as_batches
from deconv.evolution.convergence import Evolution
from deconv.evolution.strongest_projections import Strongest, StrongestUnits
from deconv.graph import fingerprint
from deconv.graph.keras_model import label
from deconv.runtime.atomic_files import Lock, remove_leftovers, replacing
from deconv.runtime.dtypes import check_shape
from deconv.runtime.error_messages import reason
from deconv.validation import check_positive, check_seed

EPOCHS = (1, 2, 5, 10, 20, 30, 40, 64)
"""The epochs of the paper's Fig. 4."""


class FeatureEvolution(keras.callbacks.Callback):
    """Record the strongest projection of features after selected epochs of a training.

        evolution = deconv.FeatureEvolution(digits, preprocess=models.lenet5.preprocess_input, folder="evolution")
        model.fit(..., epochs=64, callbacks=[evolution])
        evolution.evolutions["conv2"]  # an `Evolution`

    After each selected epoch one pass over the data finds the image and the position at which each feature is most
    active, "across all training examples" as in the paper, and the deconvnet projects that unit. The projection is
    mapped to pixel space if `preprocess` treats every pixel independently (see `to_pixel_space`); else it is in the
    space of the model's input. Functions are compiled once. The training is not affected: no weight, optimizer, random
    generator or compiled function of the model is changed.

    Args:
        dataset: Any data set that `top_activations` takes: an `ImageSet`, arrays, a `tf.data.Dataset`; usually the
            training data without augmentation. A data set without ids must give the same images in the same order at
            every pass.
        layers: One layer or a sequence of them: names, paths or indices. None for all convolutions.
        channels: Number of channels of each layer, which are drawn at random; or a sequence of channel indices, for all
            layers; or `{layer: number or indices}`.
        epochs: Epochs after which projections are recorded, counted from 1 as in the paper. Epochs that the training
            does not reach have no effect.
        preprocess: Preprocessing function, applied to each batch of images.
        folder: Folder for one PNG per layer, which is replaced after each recorded epoch. It is created if necessary,
            and locked for this process during the training. None for no files. It requires Matplotlib, as does
            `tensorboard`.
        tensorboard: Log folder for the same figures as image summaries; None for none. The package tensorboard is
            required to view them, not to write them.
        seed: Seed of the choice of channels.
        batch_size: Number of images computed at a time.
        input_shape: `(height, width, channels)` for a model with an undefined input size.

    Raises:
        ValueError: If an argument is invalid; when training begins, if a layer or a channel does not exist, or another
            process writes evolutions into the folder.
        OSError: If a file cannot be written; the message names it.
    """

    def __init__(
        self,
        dataset: Any,
        layers: str | int | Sequence[str | int] | None = None,
        channels: int | Sequence[int] | Mapping[str, int | Sequence[int]] = 6,
        epochs: int | Sequence[int] = EPOCHS,
        *,
        preprocess: Callable[[np.ndarray], ArrayLike] | None = None,
        folder: str | os.PathLike | None = None,
        tensorboard: str | os.PathLike | None = None,
        seed: int = 0,
        batch_size: int = 64,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.epochs = _check_epochs(epochs)
        self.folder, self.tensorboard = _create_folder(folder), _create_folder(tensorboard)
        self.layers, self.channels, self.preprocess, self.seed = layers, channels, preprocess, check_seed(seed)
        self.batch_size, self.input_shape = check_positive("batch_size", batch_size), input_shape
        if input_shape is not None:
            check_shape(input_shape)
        self._source = as_batches(dataset)
        self._units: StrongestUnits | None = None
        self._checkpoint_model: keras.Model | None = None
        self._writer: Any = None
        self._lock: Lock | None = None
        self._recorded: dict[int, dict[str, Strongest]] = {}

    @classmethod
    def from_checkpoints(
        cls,
        checkpoints: Mapping[int, str | os.PathLike | Callable[[], keras.Model]],
        dataset: Any,
        layers: str | int | Sequence[str | int] | None = None,
        channels: int | Sequence[int] | Mapping[str, int | Sequence[int]] = 6,
        **options: Any,
    ) -> FeatureEvolution:
        """Record the evolution from saved models.

        Args:
            checkpoints: `{epoch: file}`, files that `model.save` has written, such as `scripts/train_lenet5.py` leaves
                them, or functions without arguments that load a model. The packages that define custom layers must
                have been imported.
            dataset, layers, channels, options: As for the callback, without `epochs`.

        Returns:
            `FeatureEvolution` with all epochs recorded.
        """
        evolution = cls(dataset, layers, channels, sorted(checkpoints), **options)
        for epoch in evolution.epochs:
            checkpoint = checkpoints[epoch]
            # `_load` keeps the weights of a loaded model only, so that nothing is compiled anew
            evolution.feed(evolution._load(checkpoint) if callable(checkpoint) else checkpoint, epoch)
        return evolution

    @property
    def evolutions(self) -> dict[str, Evolution]:
        """`{name of the layer: Evolution}` of the epochs recorded so far."""
        if self._units is None or not self._recorded:
            return {}
        epochs = np.array(list(self._recorded), np.int64)
        evolutions = {}
        for layer, channels in self._units.channels.items():
            by_field = zip(*(strongest[layer] for strongest in self._recorded.values()), strict=True)
            fields = [None if values[0] is None else np.stack(values, axis=1) for values in by_field]
            named: dict[str, Any] = dict(zip(Strongest._fields, fields, strict=True))
            evolutions[layer] = Evolution(layer=layer, epochs=epochs, channels=channels, **named)
        return evolutions

    def feed(self, model: keras.Model | str | os.PathLike, epoch: int) -> None:
        """Record the projections of a model after an epoch.

        Args:
            model: A `keras.Model`, or the path of a saved one.
            epoch: The epoch it has finished, counted from 1; later than all recorded ones.

        Raises:
            ValueError: If the epoch is not later, the file cannot be read, the data do not fit, or the architecture of
                the model differs from that at earlier epochs.
        """
        epoch = check_positive("epoch", epoch)
        if self._recorded and epoch <= max(self._recorded):
            raise ValueError(
                f"Epochs must be in ascending order; received epoch {epoch} after epoch {max(self._recorded)}. To "
                "continue a training, call fit(..., initial_epoch=...); for another training create another "
                "FeatureEvolution."
            )
        with nullcontext() if self.folder is None else closing(self._lock_folder()):
            units = self._units_of(model if isinstance(model, keras.Model) else self._load(model))
            if getattr(self._source, "numbered", False):
                self._source.first = None  # images with ids may come in another order
            self._recorded[epoch] = units.strongest(self._source, self.preprocess, self.batch_size)
            self._write_figures(epoch)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check layers and channels and lock the folder, so that errors occur before the training."""
        self._lock = None if self.folder is None else self._lock_folder()
        self._units_of(self.model)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Release the folder."""
        if self._lock is not None:
            self._lock.close()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record a selected epoch. Keras counts epochs from 0, the paper from 1."""
        if epoch + 1 in self.epochs:
            self.feed(self.model, epoch + 1)

    def _lock_folder(self):
        """The lock of the folder, which all callbacks of this process share."""
        lock = Lock(self.folder, "evolution.lock", shared=True)
        remove_leftovers(self.folder)
        return lock

    def _units_of(self, model):
        """The compiled `StrongestUnits` of a model; compiled anew only for another model or a changed graph."""
        if self._units is None or not self._units.fits(model):
            units = StrongestUnits(model, self.layers, self.channels, self.seed, self.input_shape)
            if self._recorded:
                self._check_architecture(units.model_graph, model.name)
            self._units = units
        return self._units

    def _load(self, file):
        """A saved model. Of all but the first only the weights are used, so that nothing is compiled anew."""
        model = file() if callable(file) else _read(file)
        if self._checkpoint_model is None or self._units is None or self._units.net.model is not self._checkpoint_model:
            self._checkpoint_model = model
            return model
        model_graph = graph.walk(model, self.input_shape)
        model_graph = graph.subgraph(model_graph, *(graph.find(model_graph, name) for name in self._units.channels))
        self._check_architecture(model_graph, model.name if callable(file) else file)
        for compiled, loaded in zip(self._units.model_graph.steps, model_graph.steps, strict=True):
            if isinstance(compiled.layer, keras.layers.Layer):
                compiled.layer.set_weights(loaded.layer.get_weights())
        return self._checkpoint_model

    def _check_architecture(self, model_graph, name):
        layers = self._units.channels
        expected = fingerprint.architecture(self._units.model_graph, layers)
        if fingerprint.architecture(model_graph, layers) != expected:
            raise ValueError(
                f"All epochs must be of one network; '{name}' differs from that at epoch {max(self._recorded)} in its "
                f"architecture up to {', '.join(layers)}. Create another FeatureEvolution for it."
            )

    def _write_figures(self, epoch):
        """Write the figures of all layers. Each file is replaced as a whole or not at all."""
        if self.folder is None and self.tensorboard is None:
            return
        from deconv.plotting.evolution import evolution_png  # Matplotlib is imported only if figures are written

        for layer, evolution in self.evolutions.items():
            png, size = evolution_png(evolution)
            if self.folder is not None:
                path = self.folder / f"evolution_{label(layer)}.png"
                with replacing(path) as partial:
                    partial.write_bytes(png)
            if self.tensorboard is not None:
                self._writer = self._writer or tf.summary.create_file_writer(str(self.tensorboard))
                with self._writer.as_default():
                    _write_summary(f"evolution/{layer}", png, size, epoch)
        if self._writer is not None:
            self._writer.flush()


def _read(file):
    """A model from a file that `model.save` has written."""
    try:
        return keras.saving.load_model(file, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"'{file}' cannot be read as a saved model ({reason(error)}). Save it with "
            "model.save('epoch_001.keras'), and import the package that defines its layers."
        ) from error


def _check_epochs(epochs: int | Sequence[int]) -> tuple[int, ...]:
    """Epochs in ascending order, without duplicates."""
    given = np.atleast_1d(np.asarray(epochs, object)).tolist()
    checked = sorted({check_positive("epochs", epoch) for epoch in given})
    if not checked:
        raise ValueError(f"epochs must name at least one epoch, counted from 1; received {epochs!r}.")
    return tuple(checked)


def _create_folder(place: str | os.PathLike | None) -> Path | None:
    """Create a folder unless it exists; None for None."""
    if place is None:
        return None
    folder = Path(place).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"'{folder}' cannot be created as a folder ({error.strerror}). Choose another path.") from None
    return folder


def _write_summary(name, png, size, step):
    """Write an image summary as `tf.summary.image` does, which would require the package tensorboard."""
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "images"
    parts = [str(size[0]).encode(), str(size[1]).encode(), png]
    tf.summary.write(name, tf.constant(parts), step=step, metadata=metadata)
