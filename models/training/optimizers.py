"""Stochastic gradient descent as Caffe has it: rates and weight decay of their own for single weights."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="models")
class CaffeSGD(keras.optimizers.SGD):
    """`keras.optimizers.SGD` with a rate and a weight decay for single variables (Caffe's `lr_mult`, `decay_mult`).

    A variable `w` moves by the gradient `rate * (gradient + decay * w)`. The decay goes through the momentum with the
    gradient, as in Krizhevsky et al. 2012, section 5; Keras's own `weight_decay` does not.

    A first layer whose inputs are `s` times larger than usual, with weights `s` times smaller, learns as one with usual
    inputs if its rate is `1 / s ** 2` and its decay `s ** 2` times that of the others: that is how pixels in
    [-128, 128] are trained on without dividing them.

    Args:
        rates: `{path of a variable: factor}`, e.g. `{"conv1/kernel": 1 / 64**2}`; 1 for what is not named.
        decays: `{path of a variable: weight decay}`; 0 for what is not named.
        **kwargs: As for `keras.optimizers.SGD`.
    """

    def __init__(self, *args, rates=None, decays=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.rates, self.decays = dict(rates or {}), dict(decays or {})

    def apply(self, grads, trainable_variables=None):
        variables = self._trainable_variables if trainable_variables is None else list(trainable_variables)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync  # Keras adds up what comes from all of them

        def moved(grad, variable):
            rate, decay = self.rates.get(variable.path, 1.0), self.decays.get(variable.path, 0.0)
            if decay and grad is not None:
                grad = grad + decay / replicas * variable
            return grad if grad is None or rate == 1.0 else rate * grad

        return super().apply(list(map(moved, grads, variables)), trainable_variables)

    def get_config(self):
        return {**super().get_config(), "rates": self.rates, "decays": self.decays}
