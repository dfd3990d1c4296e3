"""Full float32: TF32 is off while something of ours computes, and the user's setting comes back."""

import threading

import numpy as np
import pytest
import tensorflow as tf
from specimens import SPECIMENS, images

import deconv
from deconv.graph.compilation import compile_function
from deconv.runtime import devices

SETTING = tf.config.experimental


@pytest.fixture(autouse=True, params=[True, False], ids=["on", "off"])
def before(request):
    """The user's setting, which must be the same after each test."""
    kept = SETTING.tensor_float_32_execution_enabled()
    SETTING.enable_tensor_float_32_execution(request.param)
    yield request.param
    assert SETTING.tensor_float_32_execution_enabled() == request.param
    SETTING.enable_tensor_float_32_execution(kept)


def watched(seen):
    """An operation inside a graph that notes the setting when it runs."""

    def note():
        seen.append(SETTING.tensor_float_32_execution_enabled())
        return True

    def watch(maps):
        with tf.control_dependencies([tf.numpy_function(note, [], tf.bool)]):
            return tf.identity(maps)

    return watch


def test_tf32_is_off_while_a_compiled_function_runs():
    seen = []
    function = compile_function(watched(seen), tf.TensorSpec([2]))
    assert function(tf.ones(2)).numpy().tolist() == [1, 1] and seen == [False]


def test_it_is_restored_after_an_error_inside(before):
    def fail(maps):
        with tf.control_dependencies([tf.debugging.Assert(maps[0] > 9, ["too small"])]):
            return tf.identity(maps)

    function = compile_function(fail, tf.TensorSpec([2]))
    with pytest.raises(tf.errors.InvalidArgumentError):
        function(tf.ones(2))
    assert devices.uses_tf32() == before
    with pytest.raises(KeyboardInterrupt), devices.full_float32:
        raise KeyboardInterrupt
    assert devices.uses_tf32() == before


def test_nested_calls_and_threads_restore_it_after_the_last(before):
    inside, leave, seen = threading.Event(), threading.Event(), []

    def other():
        with devices.full_float32:
            inside.set()
            leave.wait(10)
            seen.append(devices.uses_tf32())

    thread = threading.Thread(target=other)
    with devices.full_float32:
        with devices.full_float32:
            assert not devices.uses_tf32()
        assert not devices.uses_tf32()
        thread.start()
        assert inside.wait(10)
    assert not devices.uses_tf32()  # the other thread still computes
    leave.set()
    thread.join()
    assert seen == [False] and devices.uses_tf32() == before


def test_many_threads_at_once_leave_the_setting_as_it_was(before):
    wrong = []

    def often():
        for _ in range(200):
            with devices.full_float32:
                if devices.uses_tf32():
                    wrong.append(1)

    threads = [threading.Thread(target=often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and devices.uses_tf32() == before


@pytest.mark.slow
def test_a_projection_and_verify_compute_without_tf32(monkeypatch):
    model, seen = SPECIMENS["lenet"](), []
    note, call = watched(seen), type(model.get_layer("conv1")).call
    monkeypatch.setattr(type(model.get_layer("conv1")), "call", lambda self, maps: note(call(self, maps)))
    pixels = images(model, 2)
    assert np.isfinite(deconv.Deconvnet(model).project(pixels, "conv2")).all()
    assert seen and not any(seen)
    del seen[:]
    deconv.verify(model, "conv2", pixels, show=False)
    assert seen and not any(seen)
