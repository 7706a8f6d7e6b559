"""Settings of a test run."""

import os
import sys
from collections.abc import Iterator

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes that share the cores must not each start a thread for every core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def whole_floats() -> Iterator[None]:
    """Agents have the processor flush denormal numbers, each in a process of its own; tests share one."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
