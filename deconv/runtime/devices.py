"""Device-dependent choices: implementations that run on a GPU, and the precision of float32.

On newer NVIDIA GPUs, TensorFlow by default computes float32 products in TF32, with 10 bits of mantissa instead of 23.
The error of 1e-3 is enough to move a maximum to another unit and so to change a projection. Whatever this package
guarantees "up to rounding" refers to float32. TF32 is therefore off while its functions compute, and the user's setting
is restored afterwards (`full_float32`). On a CPU the setting has no effect. The setting is global to the process: other
threads that compute at the same time do so without TF32 too. Models that users call themselves, such as
`net.mirror(layer).predict`, use the user's setting: `tf.config.experimental.enable_tensor_float_32_execution`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import tensorflow as tf

_pretended = False


def on_gpu() -> bool:
    """Return whether TensorFlow has a GPU, so that operations traced or computed now may run on it."""
    return _pretended or bool(tf.config.list_logical_devices("GPU"))


@contextlib.contextmanager
def as_on_gpu() -> Iterator[None]:
    """Trace everything in a `with` block as for a GPU, whatever device it runs on. For tests."""
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


def uses_tf32() -> bool:
    """Return whether float32 products may currently be computed in TF32; without effect on devices that lack it."""
    return tf.config.experimental.tensor_float_32_execution_enabled()
