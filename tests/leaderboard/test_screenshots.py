"""The README's pictures of the board and of the game are taken by one command."""

from __future__ import annotations

from pathlib import Path

import pytest

from leaderboard import screenshots
from tests.leaderboard.chromium import installed_chromium


@pytest.mark.slow
def test_the_game_is_seen_as_it_is_typed(tmp_path: Path) -> None:
    screenshots.take_game(tmp_path)
    picture = (tmp_path / "play.svg").read_text(encoding="utf-8").replace("&#160;", " ")
    for line in ("klrl play Keywords", "this movie has", "this movie has great acting,", "pi*"):
        assert line in picture
    assert "\x1b" not in picture


@pytest.mark.browser
def test_the_board_is_seen_at_its_heading(tmp_path: Path) -> None:
    installed_chromium()
    page = tmp_path / "index.html"
    page.write_text("<h2>Other</h2><div style='height: 3000px'></div><h2>Sentiment-v0</h2>")
    screenshots.take_board(page, tmp_path)
    assert (tmp_path / "board.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_browser_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screenshots, "BROWSERS", ("no-such-browser",))
    with pytest.raises(FileNotFoundError, match="apt-get install chromium"):
        screenshots.browser_path()
