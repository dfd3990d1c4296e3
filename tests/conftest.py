"""How the tests share the processors."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each process of pytest has a core to itself: with a pool of threads in each they stand in each other's way.
    for pool in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(pool, "1")
