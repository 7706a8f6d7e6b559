"""What shows that something is done where it takes more than a second."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console

DELAY = 1.0
"""Seconds before anything is shown: what is quicker would only flicker."""


@contextmanager
def waiting(what: str) -> Generator[None]:
    """A spinner on standard error while the body runs, from its first second on; no spinner in a file."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    status = console.status(what)
    timer = threading.Timer(DELAY, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
