"""What depends on the device: the formulation that a GPU can run, and the precision of float32 on it.

TensorFlow computes float32 products on newer NVIDIA GPUs in TF32 by default, with 10 bits of mantissa instead of 23.
The error of 1e-3 is enough to move a maximum to another unit, and a projection with it. Everything that this package
promises "up to rounding" is meant for float32, so that TF32 is off while one of its functions computes, and what the
user has set comes back afterwards (`full_float32`). On a CPU the setting has no effect. The setting holds for the whole
process: another thread that computes at the same time computes without TF32 too. What users call themselves, such as
`net.mirror(layer).predict`, computes as they have set it: `tf.config.experimental.enable_tensor_float_32_execution`.
"""

import contextlib
import threading

import tensorflow as tf

_pretended = False


def on_gpu():
    """Whether TensorFlow has a GPU, so that what is traced or computed now may run there."""
    return _pretended or bool(tf.config.list_logical_devices("GPU"))


@contextlib.contextmanager
def as_on_gpu():
    """`with as_on_gpu():` what is traced inside is formulated as for a GPU, wherever it runs. For tests."""
    global _pretended
    before, _pretended = _pretended, True
    try:
        yield
    finally:
        _pretended = before


class _FullFloat32(contextlib.ContextDecorator):
    """Turns TF32 off while at least one call, of any thread, is inside, and restores the setting after the last."""

    def __init__(self):
        self._lock, self._inside, self._was_on = threading.Lock(), 0, False

    def __enter__(self):
        with self._lock:
            if not self._inside:
                self._was_on = uses_tf32()
                if self._was_on:
                    tf.config.experimental.enable_tensor_float_32_execution(False)
            self._inside += 1

    def __exit__(self, *error):
        with self._lock:
            self._inside -= 1
            if not self._inside and self._was_on:
                tf.config.experimental.enable_tensor_float_32_execution(True)


full_float32 = _FullFloat32()
"""`with full_float32:` or `@full_float32`: TF32 is off inside. Calls may be nested and run in several threads."""


def uses_tf32():
    """Whether float32 products may be computed in TF32 now; without effect where no GPU has it."""
    return tf.config.experimental.tensor_float_32_execution_enabled()
