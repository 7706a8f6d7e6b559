"""The browser of the tests that open pages."""

from __future__ import annotations

import pytest

from leaderboard.screenshots import browser_path


def installed_chromium() -> str:
    """Where Chromium is; the test is skipped where it, or what drives it, is not installed."""
    pytest.importorskip("playwright.sync_api", reason="needs playwright")
    try:
        return browser_path()
    except FileNotFoundError as error:
        pytest.skip(str(error))
