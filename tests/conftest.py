"""How the tests share the processors, for which device they are formulated, and what a script here leaves behind."""

import gc
import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each process of pytest has a core to itself: with a pool of threads in each they stand in each other's way.
    for pool in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(pool, "1")


def pytest_configure(config):
    """`DECONV_TESTS_AS_ON_GPU=1 pytest`: everything formulated as for a GPU, on whatever device there is."""
    if os.environ.get("DECONV_TESTS_AS_ON_GPU") == "1":
        from deconv.runtime import devices

        devices._pretended = True


def pytest_collection_finish():
    """What has been imported is not garbage: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def as_before():
    """A script that trains in this process makes its operations deterministic; that ends with the test."""
    from tensorflow.python.framework import config

    was = config.is_op_determinism_enabled()
    yield
    if not was:
        config.disable_op_determinism()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Without what takes longer than the small networks of the tests compute, except in tests marked `as_users`.

    That is TensorFlow's optimiser of graphs, and the layout of a figure that is saved. Before fixtures of any scope.
    """
    import tensorflow as tf
    from matplotlib.figure import Figure

    SAVE.setdefault("whole", Figure.savefig)
    as_users = item.get_closest_marker("as_users") is not None
    Figure.savefig = SAVE["whole"] if as_users else quickly_saved
    if tf.config.optimizer.get_experimental_options().get("disable_meta_optimizer", False) == as_users:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not as_users})


SAVE = {}
"""Matplotlib's `Figure.savefig`."""


def quickly_saved(figure, *given, **settings):
    figure.set_layout_engine("none")
    return SAVE["whole"](figure, *given, **settings)
