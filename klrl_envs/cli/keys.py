"""Keys of a keyboard, as they are pressed."""

from __future__ import annotations

from collections.abc import Iterator

import typer

ARROWS = {"\x1b[A": 0, "\x1b[B": 1, "\x1b[D": 2, "\x1b[C": 3, "\xe0H": 0, "\xe0P": 1, "\xe0K": 2, "\xe0M": 3}
"""Up, down, left and right, as terminals and as Windows send them."""
STOP = ("q", "\x03", "\x04")


def read_arrows() -> Iterator[int | str]:
    """0 to 3 for the arrows up, down, left, right, "u" for that key, and "q" at last, for it or Ctrl-C."""
    while True:
        try:
            key = typer.getchar()
        except (KeyboardInterrupt, EOFError):
            key = "q"
        key = key.replace("\x1bO", "\x1b[")  # what terminals send in their other mode
        if key in STOP:
            yield "q"
            return
        if key in ARROWS:
            yield ARROWS[key]
        elif key == "u":
            yield "u"
