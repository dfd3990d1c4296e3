"""A change of what a layer or function is set to is noticed, wherever the setting lies, and nothing is kept alive."""

import functools
import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as kl

from deconv import attribution
from deconv.graph import compilation
from deconv.graph.activation_functions import behaviour
from deconv.graph.settings import same, settings

GLOBAL = 0.0


class Leaky(kl.Layer):
    def __init__(self, slope=0.0):
        super().__init__()
        self.slope = slope

    def call(self, maps):
        return tf.where(maps > 0, maps, self.slope * maps)


class LeakyByGlobal(kl.Layer):
    def call(self, maps):
        return tf.where(maps > 0, maps, GLOBAL * maps)


class Holder:
    def __init__(self):
        self.slope = 0.0

    def __call__(self, maps):
        return tf.where(maps > 0, maps, self.slope * maps)

    def method(self, maps):
        return self(maps)


def by_global(maps):
    return tf.where(maps > 0, maps, GLOBAL * maps)


def through_another(maps):
    return by_global(maps)


def layer():
    made = Leaky()
    return made, lambda slope: setattr(made, "slope", slope)


def keras_layer():
    made = kl.ReLU()
    return made, lambda slope: setattr(made, "negative_slope", slope)


def callable_object():
    made = Holder()
    return made, lambda slope: setattr(made, "slope", slope)


def method():
    made = Holder()
    return made.method, lambda slope: setattr(made, "slope", slope)


def variable_around():
    slopes = {"slope": 0.0}
    return lambda maps: tf.where(maps > 0, maps, slopes["slope"] * maps), lambda slope: slopes.update(slope=slope)


def partial():
    slopes = [0.0]
    made = functools.partial(lambda maps, slopes: tf.where(maps > 0, maps, slopes[0] * maps), slopes=slopes)
    return made, lambda slope: slopes.__setitem__(0, slope)


def set_global(slope):
    global GLOBAL
    GLOBAL = slope


FORMS = {
    "layer": layer,
    "layer of keras": keras_layer,
    "callable object": callable_object,
    "method": method,
    "variable around": variable_around,
    "partial": partial,
    "global": lambda: (by_global, set_global),
    "global of another function": lambda: (through_another, set_global),
    "global of a layer": lambda: (LeakyByGlobal(), set_global),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_activation_that_is_set_otherwise_is_tried_again_and_compiled_anew(form):
    thing, change = FORMS[form]()
    change(0.0)
    model = keras.Sequential([keras.Input((3,)), thing if isinstance(thing, kl.Layer) else kl.Activation(thing)])
    kinds, versions = [], []
    for slope in (0.0, 0.0, 0.25, 0.0):
        change(slope)
        kinds.append(behaviour(thing, (3,)).kind)
        versions.append(compilation.version(model))
    assert kinds == ["rectifier", "rectifier", "other", "rectifier"]
    assert versions[0] == versions[1] < versions[2] < versions[3]


def test_guided_backpropagation_is_that_of_the_activation_as_it_is_now():
    thing, change = layer()
    down, up = kl.Dense(4, use_bias=False), kl.Dense(2, use_bias=False)
    model = keras.Sequential([keras.Input((3,)), down, thing, up])
    pixels = np.random.default_rng(0).standard_normal((5, 3)).astype("float32")
    kernel, above = down.kernel.numpy(), up.kernel.numpy()[:, 1]
    off = pixels @ kernel <= 0
    for slope in (0.0, 0.25):
        change(slope)
        # A rectifier stops what is negative in the signal; an activation with a slope has a derivative of its own.
        signal = np.where(off, slope, 1) * above if slope else np.where(off, 0, np.maximum(above, 0))
        np.testing.assert_allclose(attribution.guided_backprop(model, pixels, 1), signal @ kernel.T, atol=1e-6)


def test_settings_keep_nothing_alive_and_end_in_circles():
    holder = Holder()
    holder.itself, holder.table = [holder], np.ones(3)
    now, gone = settings(holder.method), weakref.ref(holder)
    assert same(now, settings(holder.method))
    holder.table = np.ones(3)  # another array
    assert not same(now, settings(holder.method))
    del holder
    gc.collect()
    assert gone() is None


class Counting(kl.Layer):
    """Counts its calls, in a number and in a list, which changes nothing that it computes."""

    def __init__(self):
        super().__init__()
        self.calls, self.seen, self.slope = 0, [], 1.0

    def call(self, maps):
        self.calls += 1
        self.seen.append(self.calls)
        return self.slope * maps


def test_what_a_layer_notes_down_when_it_is_called_makes_nothing_compile_anew():
    counting = Counting()
    model = keras.Sequential([keras.Input((3,)), counting, kl.Dense(2)])
    pixels = np.random.default_rng(0).standard_normal((5, 3)).astype("float32")
    kernel = model.layers[-1].kernel.numpy()[:, 1]
    attribution.guided_backprop(model, pixels, 1)
    calls = counting.calls
    for _ in range(3):
        np.testing.assert_allclose(attribution.guided_backprop(model, pixels, 1), [kernel] * 5, rtol=1e-6)
    assert counting.calls == calls
    counting.slope = -2.0  # a setting that counts
    np.testing.assert_allclose(attribution.guided_backprop(model, pixels, 1), [-2 * kernel] * 5, rtol=1e-6)
