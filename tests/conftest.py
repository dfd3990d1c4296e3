"""How the tests share the processors, and for which device they are formulated."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each process of pytest has a core to itself: with a pool of threads in each they stand in each other's way.
    for pool in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(pool, "1")


def pytest_configure(config):
    """`DECONV_TESTS_AS_ON_GPU=1 pytest`: everything formulated as for a GPU, on whatever device there is."""
    if os.environ.get("DECONV_TESTS_AS_ON_GPU") == "1":
        from deconv import devices

        devices._pretended = True
