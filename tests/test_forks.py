"""A forked process does not wait for ever: what would hang there is refused."""

import os
import signal
import time

import keras
import numpy as np
import pytest
from keras import layers as kl

import deconv
from deconv.runtime import forks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def in_a_fork(work, seconds=20):
    """What `work()` raises in a forked process, as a text; fails if that takes longer than some seconds."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            work()
            said = "nothing"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    end = time.monotonic() + seconds
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail(f"the forked process still hung after {seconds} s")
        time.sleep(0.05)
    with os.fdopen(read) as end_of_pipe:
        return end_of_pipe.read()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_has_been_compiled_and_what_is_new_are_refused_after_a_fork():
    image = keras.Input((8, 8, 1))
    maps = kl.Conv2D(2, 3, activation="relu", name="conv")(image)
    model = keras.Model(image, kl.Dense(2, "softmax")(kl.Flatten()(maps)))
    picture = np.ones((1, 8, 8, 1), np.float32)
    net = deconv.Deconvnet(model)
    before = net.project(picture, "conv", 0)
    tries = {
        "a compiled projection": lambda: net.project(picture, "conv", 0),
        "another layer": lambda: deconv.activations(model, picture, "conv"),
        "a new deconvnet": lambda: deconv.Deconvnet(model),
        "occlusion": lambda: deconv.occlusion_maps(model, picture[0], size=4),
        "gradients": lambda: deconv.attribution.gradient(model, picture),
    }
    for what, work in tries.items():
        said = in_a_fork(work)
        assert said.startswith("RuntimeError: Process ") and "start method 'spawn'" in said, (what, said)
    np.testing.assert_array_equal(net.project(picture, "conv", 0), before)  # here nothing has changed
    forks.check()
