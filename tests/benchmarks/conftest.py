"""Fixtures of the runner's tests."""

from tests.results.dummy import calls, dummy

__all__ = ["calls", "dummy"]
