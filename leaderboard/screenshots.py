"""The pictures of the board and of the command line that the README shows, taken of what is there now.

    python -m leaderboard.screenshots        # writes leaderboard/pictures; needs Chromium

The board is opened as a browser opens it; the game is played in a terminal of its own, by the lines below,
and drawn by rich as it stood when they were typed.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from leaderboard.folder import FOLDER

OUT = FOLDER / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
HEADING = "Sentiment-v0"
"""What the picture of the board begins at."""
SIZE = {"width": 1000, "height": 840}
GAME = ("klrl", "play", "Keywords", "--seed", "0", "--choices", "3")
TYPED = ("this movie has", "great acting ,", "a good story", "?", "undo")
COLUMNS, LINES = 100, 50
QUIET = 1.0
"""Seconds without output after which a program waits for its user."""
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-HJ-LP-Za-ln-z]")
"""What moves the cursor or clears, and is no colour."""


def browser_path() -> str:
    """A Chromium that is installed.

    Raises:
        FileNotFoundError: none is.
    """
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise FileNotFoundError(
            f"no browser: one of {', '.join(BROWSERS)} is needed (apt-get install chromium)"
        )
    return found


def take_board(page: Path, out: Path) -> None:
    """A picture of the board, from its page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser: Any = running.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        shown = browser.new_page(viewport=SIZE, color_scheme="light")
        shown.goto(page.as_uri())
        heading = shown.get_by_role("heading", name=HEADING, exact=True)
        heading.evaluate("heading => heading.scrollIntoView()")
        shown.screenshot(path=out / "board.png")
        browser.close()


def session(command: Sequence[str], typed: Sequence[str]) -> str:
    """What a terminal shows of a program whose user types some lines, each when the program waits for it."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    settings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
    running = subprocess.Popen(
        command, stdin=child, stdout=child, stderr=subprocess.DEVNULL, env=settings, close_fds=True
    )
    os.close(child)
    shown = until_quiet(parent, patience=120)
    for line in typed:
        os.write(parent, line.encode() + b"\n")
        shown += until_quiet(parent)
    running.terminate()
    running.wait()
    os.close(parent)
    return CONTROL.sub("", shown.decode(errors="replace")).replace("\r", "")


def until_quiet(terminal: int, patience: float = 30) -> bytes:
    """What comes out of a terminal, which may take a while to begin, until nothing more does."""
    found = b""
    while select.select([terminal], [], [], QUIET if found else patience)[0]:
        found += os.read(terminal, 1 << 16)
    return found


def take_game(out: Path) -> None:
    """A picture of the game."""
    command = [str(Path(sys.executable).with_name(GAME[0])), *GAME[1:]]
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {' '.join(GAME)}", style="bold"))
    console.print(Text.from_ansi(session(command, TYPED)))
    console.save_svg(str(out / "play.svg"), title="klrl play")


def main() -> None:
    """Take both."""
    OUT.mkdir(parents=True, exist_ok=True)
    take_board(FOLDER / "index.html", OUT)
    take_game(OUT)


if __name__ == "__main__":
    main()
