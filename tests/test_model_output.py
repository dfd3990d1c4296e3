"""What the numbers that a model puts out are called: by its last activation, known or tried."""

import keras
import pytest
import tensorflow as tf
from keras import layers as kl

import deconv
from deconv import graph
from deconv.graph.model_output import is_probability, output_kind, output_step


def ending_in(*layers, depth=3, activation=None):
    image = keras.Input((4, 4, 1))
    values = kl.Dense(depth, activation, name="head")(kl.Flatten()(image))
    for layer in layers:
        values = layer(values)
    return graph.walk(keras.Model(image, values))


def tempered(values):
    return tf.nn.softmax(values / 3)


@pytest.mark.parametrize(
    ("model_graph", "kind"),
    [
        (lambda: ending_in(activation="softmax"), "probability"),
        (lambda: ending_in(activation="sigmoid", depth=1), "probability"),
        (lambda: ending_in(activation=tf.nn.softmax), "probability"),
        (lambda: ending_in(activation=tempered), "probability"),
        (lambda: ending_in(activation="hard_sigmoid"), "probability"),
        (lambda: ending_in(kl.Activation("softmax")), "probability"),
        (lambda: ending_in(kl.Softmax()), "probability"),
        (lambda: ending_in(kl.Lambda(tempered)), "probability"),
        (lambda: ending_in(keras.ops.softmax), "probability"),
        (lambda: ending_in(kl.Softmax(), kl.Activation("linear"), kl.Reshape((3,)), kl.Dropout(0.5)), "probability"),
        (lambda: ending_in(), "score (logit)"),
        (lambda: ending_in(activation="linear"), "score (logit)"),
        (lambda: ending_in(kl.Activation("linear", dtype="float32"), kl.Identity()), "score (logit)"),
        (lambda: ending_in(depth=1), "output"),  # a regression
        (lambda: ending_in(activation="relu"), "output"),
        (lambda: ending_in(activation="relu6"), "output"),
        (lambda: ending_in(activation="tanh"), "output"),
        (lambda: ending_in(activation="log_softmax"), "output"),
        (lambda: ending_in(kl.Rescaling(2.0)), "output"),
        (lambda: ending_in(kl.BatchNormalization()), "output"),
    ],
)
def test_the_last_activation_says_what_the_numbers_are(model_graph, kind):
    assert output_kind(model_graph()) == kind and is_probability(model_graph()) == (kind == "probability")


def test_of_several_outputs_the_first_is_named_wherever_it_is_made():
    image = keras.Input((4, 4, 1))
    flat = kl.Flatten()(image)
    one = kl.Dense(3, "softmax", name="one")(flat)
    other = kl.Dense(2, name="other")(kl.Dense(4, name="between")(flat))
    for outputs, name, kind in (([one, other], "one", "probability"), ([other, one], "other", "score (logit)")):
        model_graph = graph.walk(keras.Model(image, outputs))
        assert output_step(model_graph).name == name and output_kind(model_graph) == kind


def test_a_class_that_is_not_there_is_refused_by_the_name_of_the_first_output():
    image = keras.Input((4, 4, 1))
    flat = kl.Flatten()(image)
    model = keras.Model(image, [kl.Dense(3, "softmax", name="one")(flat), kl.Dense(5, name="other")(flat)])
    for channels in ([4], 4, [0, -9]):
        with pytest.raises(ValueError, match=r"^Layer 'one' has channels 0 to 2; received channel (4|-9)\.$"):
            deconv.visualize(model, None, channels, steps=1)
    with pytest.raises(ValueError, match="Layer 'output' has channels 0 to 2; received channel 4"):
        deconv.features.optimize(model, deconv.features.neuron(None, 4), steps=1)
