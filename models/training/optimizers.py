"""Stochastic gradient descent as in Caffe, with learning rates and weight decay per variable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="models")
class CaffeSGD(keras.optimizers.SGD):
    """`keras.optimizers.SGD` with a rate and a weight decay per variable (Caffe's `lr_mult`, `decay_mult`).

    A variable `w` is updated with the gradient `rate * (gradient + decay * w)`. The decay is part of the momentum, as
    in Krizhevsky et al. 2012, section 5; Keras's own `weight_decay` is not.

    A first layer whose inputs are `s` times larger than usual, with weights `s` times smaller, learns as one with usual
    inputs if its rate is `1 / s ** 2` and its decay `s ** 2` times that of the others. In this way networks are trained
    on pixels in [-128, 128] without dividing them.

    Args:
        rates: `{path of a variable: factor}`, e.g. `{"conv1/kernel": 1 / 64**2}`; 1 for all others.
        decays: `{path of a variable: weight decay}`; 0 for all others.
        **kwargs: As for `keras.optimizers.SGD`.
    """

    def __init__(
        self,
        *args: Any,
        rates: Mapping[str, float] | None = None,
        decays: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.rates, self.decays = dict(rates or {}), dict(decays or {})

    def apply(
        self, grads: Sequence[tf.Tensor | None], trainable_variables: Sequence[keras.Variable] | None = None
    ) -> None:
        """Update variables with their gradients; called by Keras."""
        variables = self._trainable_variables if trainable_variables is None else list(trainable_variables)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync  # Keras adds the gradients of all replicas

        def scaled(grad: tf.Tensor | None, variable: keras.Variable) -> tf.Tensor | None:
            rate, decay = self.rates.get(variable.path, 1.0), self.decays.get(variable.path, 0.0)
            if decay and grad is not None:
                grad = grad + decay / replicas * variable
            return grad if grad is None or rate == 1.0 else rate * grad

        return super().apply(list(map(scaled, grads, variables)), trainable_variables)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments, for serialization."""
        return {**super().get_config(), "rates": self.rates, "decays": self.decays}
