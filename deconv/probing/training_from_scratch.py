"""Train a network of the same architecture from random weights, as a baseline for pretrained features."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from deconv import graph
from deconv.graph.compilation import compile_function
from deconv.graph.keras_model import label
from deconv.runtime import devices

_UPDATES_PER_EVALUATION = 20
"""Smallest number of updates between evaluations of the training loss."""


def fresh(model_graph: graph.Graph, classes: int, random: np.random.Generator) -> keras.Model:
    """Build the network of a graph with new random weights, and a softmax for other classes on top.

    Args:
        model_graph: A `Graph` with one input, as cut by `graph.subgraph`.
        classes: Number of classes of the softmax.
        random: A `np.random.Generator`, from which the seeds of every initializer and dropout are drawn.

    Returns:
        A functional `keras.Model` that shares nothing with the model of the graph.
    """
    image = keras.Input(model_graph.inputs[0].shape, dtype=model_graph.inputs[0].dtype)
    values, copies = {model_graph.inputs[0]: image}, {}
    for step in model_graph.steps:
        if id(step.layer) not in copies:
            config = _seeded(step.layer.get_config(), random) | {"name": label(step.name)}  # names must be unique
            copies[id(step.layer)] = type(step.layer).from_config(config)
            copies[id(step.layer)].trainable = True  # frozen layers of the model were trained before
        layer = copies[id(step.layer)]
        args, kwargs = keras.tree.map_structure(
            lambda leaf: values[leaf] if isinstance(leaf, graph.Edge) else leaf, (step.args, step.kwargs)
        )
        values.update(zip(step.outputs, keras.tree.flatten(layer(*args, **kwargs)), strict=True))
    top = values[model_graph.steps[-1].output]
    top = keras.layers.Flatten(data_format="channels_last")(top) if len(top.shape) > 2 else top
    start = keras.initializers.GlorotUniform(seed=_seed(random))
    return keras.Model(image, keras.layers.Dense(classes, "softmax", kernel_initializer=start)(top))


class Trainer:
    """A network, compiled once, that is trained several times, each time from new random weights."""

    def __init__(self, model_graph: graph.Graph, classes: int, learning_rate: float) -> None:
        self.model_graph, self.classes = model_graph, classes
        self.network = fresh(model_graph, classes, np.random.default_rng(0))
        self.optimizer = keras.optimizers.Adam(learning_rate)
        self.optimizer.build(self.network.trainable_variables)
        self.initial = [variable.numpy() for variable in self.optimizer.variables]
        image = model_graph.inputs[0]
        images, numbers = tf.TensorSpec((None, *image.shape), image.dtype), tf.TensorSpec((None,), tf.int64)
        self.update = tf.function(
            self._update, input_signature=(images, numbers, tf.TensorSpec((None, None), tf.int64))
        )
        self.predict = compile_function(lambda images: self.network(images, training=False), images)

    def train(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        random: np.random.Generator,
        most_updates: int,
        enough: float,
        examples: int,
    ) -> tuple[int, float]:
        """Train from random weights; returns `(number of updates, last mean training loss)`."""
        start = fresh(self.model_graph, self.classes, random)
        for variables, values in ((self.network.variables, start.variables), (self.optimizer.variables, self.initial)):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels, tf.int64)
        examples, updates, loss = min(examples, len(labels)), 0, np.inf
        while updates < most_updates and not loss <= enough:
            length = min(max(_UPDATES_PER_EVALUATION, len(labels) // examples), most_updates - updates)
            with devices.full_float32:
                loss = float(self.update(images, labels, _order(len(labels), length, examples, random)))
            updates += length
        return updates, loss

    def classify(self, images: np.ndarray, batch_size: int) -> np.ndarray:
        """The most probable class of each image, `(n,)`."""
        starts = range(0, len(images), batch_size)
        return np.concatenate([self.predict(images[start : start + batch_size]).numpy().argmax(1) for start in starts])

    def _update(self, images, labels, order):
        variables, total = self.network.trainable_variables, 0.0
        for rows in order:
            with tf.GradientTape() as tape:
                outputs = self.network(tf.gather(images, rows), training=True)
                loss = keras.losses.sparse_categorical_crossentropy(tf.gather(labels, rows), outputs)
                loss = tf.reduce_mean(tf.cast(loss, tf.float32))
                penalties = [tf.cast(penalty, tf.float32) for penalty in self.network.losses]
                whole = tf.add_n([loss, *penalties])
            self.optimizer.apply(tape.gradient(whole, variables), variables)
            total += loss
        return total / tf.cast(tf.shape(order)[0], tf.float32)


def _order(count, updates, examples, random):
    """Image numbers of each update, `(updates, examples)`: random permutations of all images, one after the other."""
    whole = count // examples
    rounds = -(-updates // whole)
    order = np.concatenate([random.permutation(count)[: whole * examples] for _ in range(rounds)])
    return order.reshape(-1, examples)[:updates]


def _seeded(config, random):
    """The configuration of a layer with new values of every seed."""
    if isinstance(config, dict):
        return {name: _seed(random) if name == "seed" else _seeded(part, random) for name, part in config.items()}
    return [_seeded(part, random) for part in config] if isinstance(config, list) else config


def _seed(random):
    return int(random.integers(2**31))
