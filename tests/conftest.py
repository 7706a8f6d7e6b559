"""Settings of a test run."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes that share the cores must not each start a thread for every core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
