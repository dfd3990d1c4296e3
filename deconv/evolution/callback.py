"""How features develop in training: the strongest projection of each, epoch after epoch (section 4, Fig. 4)."""

from contextlib import closing, nullcontext
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.datasets.batches import as_batches
from deconv.evolution.convergence import Evolution
from deconv.evolution.strongest_projections import Lens
from deconv.graph import fingerprint
from deconv.graph.keras_model import label
from deconv.runtime.atomic_files import Lock, remove_leftovers, replacing
from deconv.runtime.dtypes import check_shape
from deconv.runtime.error_messages import reason
from deconv.validation import check_positive, check_seed

EPOCHS = (1, 2, 5, 10, 20, 30, 40, 64)
"""Those that the paper's Fig. 4 shows."""


class FeatureEvolution(keras.callbacks.Callback):
    """Look at the training data after some epochs and keep, for each of some features, its strongest projection.

        evolution = deconv.FeatureEvolution(digits, preprocess=models.lenet5.preprocess_input, folder="evolution")
        model.fit(..., epochs=64, callbacks=[evolution])
        evolution.evolutions["conv2"]  # an `Evolution`

    After each of these epochs one pass over the data finds the image and the position at which each feature is most
    active, "across all training examples" as in the paper, and the deconvnet projects that unit down, in the colours of
    the images where `preprocess` treats every pixel alone (see `to_pixel_space`), else as the model takes them. What is
    compiled is compiled once. The training goes on as if nobody had looked: no weight, optimizer, random generator or
    compiled function of the model is touched.

    Args:
        dataset: What `top_activations` takes: an `ImageSet`, arrays, a `tf.data.Dataset`; as a rule the training data,
            not augmented. One that gives no ids must give the same images in the same order at every pass.
        layers: One layer or a sequence of them: names, paths or indices. None for all convolutions.
        channels: How many channels of each layer, drawn with the seed; or a sequence of them, the same for all layers;
            or `{layer: either}`.
        epochs: After which epochs to look, counted from 1 as in the paper. Those that never come are left out.
        preprocess: Function applied to each batch of images before the model sees it.
        folder: Where a PNG for each layer is written, anew after each of the epochs; it is made if need be. None for
            nowhere. Needs Matplotlib, as does the next. While training goes on it belongs to this process.
        tensorboard: A log folder for the same pictures as image summaries; None for none. To look at them needs the
            package tensorboard, to write them does not.
        seed: Of the choice of channels.
        batch_size: How many images are computed at a time.
        input_shape: `(height, width, channels)` for a model that leaves its input size open.

    Raises:
        ValueError: If an argument is none of these; if a layer or a channel does not exist, or another process writes
            evolutions into the folder, when training begins.
        OSError: If a file cannot be written; the message names it.
    """

    def __init__(
        self,
        dataset,
        layers=None,
        channels=6,
        epochs=EPOCHS,
        *,
        preprocess=None,
        folder=None,
        tensorboard=None,
        seed=0,
        batch_size=64,
        input_shape=None,
    ):
        super().__init__()
        self.epochs = _check_epochs(epochs)
        self.folder, self.tensorboard = (_made(place) for place in (folder, tensorboard))
        self.layers, self.channels, self.preprocess, self.seed = layers, channels, preprocess, check_seed(seed)
        self.batch_size, self.input_shape = check_positive("batch_size", batch_size), input_shape
        if input_shape is not None:
            check_shape(input_shape)
        self._source = as_batches(dataset)
        self._lens = self._twin = self._writer = self._lock = None
        self._seen = {}

    @classmethod
    def from_checkpoints(cls, checkpoints, dataset, layers=None, channels=6, **options):
        """The same of saved models: `{epoch: file}`, such as `scripts/train_lenet5.py` leaves them.

        Args:
            checkpoints: Files that `model.save` has written, by epoch. Layer classes that are not Keras's own must have
                been imported.
            dataset, layers, channels, options: As for the callback, without `epochs`.
        """
        found = cls(dataset, layers, channels, sorted(checkpoints), **options)
        for epoch in found.epochs:
            found.feed(checkpoints[epoch], epoch)
        return found

    @property
    def evolutions(self):
        """What has been seen so far: `{name of the layer: Evolution}`."""
        if not self._seen:
            return {}
        epochs = np.array(list(self._seen), np.int64)
        found = {}
        for layer, channels in self._lens.channels.items():
            parts = [
                None if parts[0] is None else np.stack(parts, axis=1)
                for parts in zip(*(seen[layer] for seen in self._seen.values()), strict=True)
            ]
            found[layer] = Evolution(layer, epochs, channels, *parts)
        return found

    def feed(self, model, epoch):
        """Look at a model as it is after an epoch.

        Args:
            model: A `keras.Model`, or the path of a saved one.
            epoch: Which epoch it has finished, counted from 1; later than all before.

        Raises:
            ValueError: If the epoch is not later, the file cannot be read, the data do not fit, or the network is
                another one than at the epochs before.
        """
        epoch = check_positive("epoch", epoch)
        if self._seen and epoch <= max(self._seen):
            raise ValueError(
                f"Epochs must come in order; received epoch {epoch} after epoch {max(self._seen)}. To train on, say "
                "fit(..., initial_epoch=...); for another training make another FeatureEvolution."
            )
        with nullcontext() if self.folder is None else closing(self._held()):
            self._feed(model, epoch)

    def _feed(self, model, epoch):
        lens = self._look_at(model if isinstance(model, keras.Model) else self._loaded(model))
        if getattr(self._source, "numbered", False):
            self._source.first = None  # images that have ids may come in another order
        self._seen[epoch] = lens.see(self._source, self.preprocess, self.batch_size)
        self._draw(epoch)

    def on_train_begin(self, logs=None):
        """See at once whether the model has these layers and channels and the folder is free, not after an epoch."""
        self._lock = None if self.folder is None else self._held()
        self._look_at(self.model)

    def on_train_end(self, logs=None):
        """Give the folder back."""
        if self._lock is not None:
            self._lock.close()

    def on_epoch_end(self, epoch, logs=None):
        """Keras counts epochs from 0, the paper from 1."""
        if epoch + 1 in self.epochs:
            self.feed(self.model, epoch + 1)

    def _held(self):
        """The folder's lock, which is one for all callbacks of this process."""
        lock = Lock(self.folder, "evolution.lock", shared=True)
        remove_leftovers(self.folder)
        return lock

    def _look_at(self, model):
        """The lens for a model; a new one only for a new model, or one whose graph has changed."""
        if self._lens is None or not self._lens.fits(model):
            lens = Lens(model, self.layers, self.channels, self.seed, self.input_shape)
            if self._seen:
                self._check_same(lens.model_graph, model.name)
            self._lens = lens
        return self._lens

    def _loaded(self, file):
        """A saved model; after the first one only its weights are taken, so that nothing is compiled anew."""
        try:
            model = keras.saving.load_model(file, compile=False)
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(
                f"'{file}' is no saved model that can be read ({reason(error)}). Save it with "
                "model.save('epoch_001.keras'), and import the package that its layers come from."
            ) from error
        if self._twin is None or self._lens is None or self._lens.net.model is not self._twin:
            self._twin = model
            return model
        names, model_graph = self._lens.channels, graph.walk(model, self.input_shape)
        model_graph = graph.subgraph(model_graph, *(graph.find(model_graph, name) for name in names))
        self._check_same(model_graph, file)
        for mine, theirs in zip(self._lens.model_graph.steps, model_graph.steps, strict=True):
            if isinstance(mine.layer, keras.layers.Layer):
                mine.layer.set_weights(theirs.layer.get_weights())
        return self._twin

    def _check_same(self, model_graph, name):
        names = self._lens.channels
        if fingerprint.architecture(model_graph, names) != fingerprint.architecture(self._lens.model_graph, names):
            raise ValueError(
                f"An evolution is that of one network; up to its layers {', '.join(names)}, '{name}' is another than "
                f"at epoch {max(self._seen)}. Make another FeatureEvolution for it."
            )

    def _draw(self, epoch):
        """Write what has been seen so far, each file whole or not at all."""
        if self.folder is None and self.tensorboard is None:
            return
        from deconv.plotting.evolution import evolution_png  # Matplotlib is loaded by those only who want pictures

        for layer, evolution in self.evolutions.items():
            picture, size = evolution_png(evolution)
            if self.folder is not None:
                path = self.folder / f"evolution_{label(layer)}.png"
                with replacing(path) as partial:
                    partial.write_bytes(picture)
            if self.tensorboard is not None:
                self._writer = self._writer or tf.summary.create_file_writer(str(self.tensorboard))
                with self._writer.as_default():
                    _write_summary(f"evolution/{layer}", picture, size, epoch)
        if self._writer is not None:
            self._writer.flush()


def _check_epochs(epochs):
    """Whole numbers above zero as a tuple, in order, each once."""
    found = sorted({check_positive("epochs", epoch) for epoch in np.atleast_1d(np.asarray(epochs, object)).tolist()})
    if not found:
        raise ValueError(f"epochs must name at least one epoch, counted from 1; received {epochs!r}.")
    return tuple(found)


def _made(place):
    """A folder that is there, as a `Path`; None for None."""
    if place is None:
        return None
    place = Path(place).expanduser()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"'{place}' cannot be a folder ({error.strerror}). Give another path.") from None
    return place


def _write_summary(name, picture, size, step):
    """What `tf.summary.image` writes, which itself needs the package tensorboard."""
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "images"
    parts = [str(size[0]).encode(), str(size[1]).encode(), picture]
    tf.summary.write(name, tf.constant(parts), step=step, metadata=metadata)
